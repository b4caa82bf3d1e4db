"""Wall-clock nanoseconds to ISO 8601 texts and back."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo
    from typing import Any

SECOND_NS = 1_000_000_000
TICK_NS = 1_000  # to which times are exact that were read from texts
# An offset that is the same at both ends of a quarter of an hour is so all the time: no zone changes it twice in one.
_QUARTER_NS = 900 * SECOND_NS
_NEVER_NS = -(10**30)
_LAST_NS = 253_402_214_400 * SECOND_NS  # a day before the year 10000, which no datetime of any zone can tell

# Three digits each, looked up: twice as fast as formatting six.
_DIGITS = [a + b + c for a in "0123456789" for b in "0123456789" for c in "0123456789"]


class ClockFace:
    """Writes instants as a clock on the wall shows them: local time, or the time of ``tz`` with its offset.

    Instants come from the monotonic clock. Where the wall clock was set, or the machine slept, ``steps`` tells from
    which instant on the wall clock was how far away: pairs in nanoseconds, ascending.

    It keeps the text of the second that it wrote last, which makes it many times as fast as ``datetime.isoformat``;
    so it belongs to one thread at a time.
    """

    def __init__(self, tz: tzinfo | None = None, steps: tuple[tuple[int, int], ...] = ()) -> None:
        self.tz = tz
        self.steps = steps
        self.step_ns = steps[-1][1] if steps else 0
        self._text = self._suffix = ""
        self._second_ns = self._from_ns = self._until_ns = _NEVER_NS  # the second, and where the offset is valid
        self._offset_ns = 0

    def text(self, instant_ns: int) -> str:
        """Return the text of an instant, given in nanoseconds since the epoch."""
        if self.steps:
            instant_ns += self.step_at(instant_ns)
        rest_ns = instant_ns - self._second_ns
        if not 0 <= rest_ns < SECOND_NS:
            rest_ns = self._turn_to(instant_ns, instant_ns)
        micro = rest_ns // 1000
        return f"{self._text}{_DIGITS[micro // 1000]}{_DIGITS[micro % 1000]}{self._suffix}"

    def text_after(self, start_ns: int, elapsed_ns: int) -> str:
        """Return the text of the moment ``elapsed_ns`` after ``start_ns``.

        Without a zone it stays on the clock face of the start: if summer time ends in between, the two texts
        still differ by the elapsed time.
        """
        if self.steps:
            start_ns += self.step_at(start_ns)
        end_ns = start_ns + elapsed_ns
        rest_ns = end_ns - self._second_ns
        if not 0 <= rest_ns < SECOND_NS or start_ns < self._from_ns:
            rest_ns = self._turn_to(end_ns, start_ns if self.tz is None else end_ns)
        micro = rest_ns // 1000
        return f"{self._text}{_DIGITS[micro // 1000]}{_DIGITS[micro % 1000]}{self._suffix}"

    def copy(self) -> ClockFace:
        """Return a clock face for another thread."""
        return ClockFace(self.tz, self.steps)

    def step_at(self, instant_ns: int) -> int:
        """Return how far the wall clock was away at an instant, in nanoseconds."""
        index = bisect_right(self.steps, (instant_ns, _LAST_NS))
        return self.steps[index - 1][1] if index else 0

    def instant_at(self, wall_ns: int) -> int:
        """Return the instant at which the wall clock told this time."""
        instants = [wall_ns, *(wall_ns - step_ns for _, step_ns in self.steps)]
        bounds = [-_LAST_NS, *(since_ns for since_ns, _ in self.steps), _LAST_NS]
        # The latest of those at which it did.
        for index in reversed(range(len(instants))):
            if bounds[index] <= instants[index] < bounds[index + 1]:
                return instants[index]
        # It never did, so far as is known: the clock was set before somebody noticed, and this was in between.
        return next(
            instants[index]
            for index in range(1, len(instants))
            if instants[index] < bounds[index] <= instants[index - 1]
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ClockFace, (self.tz, self.steps)

    def offset_at(self, instant_ns: int) -> int:
        """Return by how much the text of an instant is ahead of it, in nanoseconds, as :func:`to_utc_ns` reads it."""
        step_ns = self.step_at(instant_ns)
        return step_ns if self.tz is not None else step_ns + self._offset_at(instant_ns + step_ns)[0]

    def written_offset(self, instant_ns: int) -> int:
        """Return the offset of the text of an instant that was just written."""
        step_ns = self.step_at(instant_ns) if self.steps else 0
        return step_ns if self.tz is not None else step_ns + self._offset_ns

    def only_offset(self, first_ns: int, last_ns: int) -> int | None:
        """Return the offset of all texts from the first to the last instant, None if there are several."""
        offset_ns = self.offset_at(first_ns)
        if self.steps:
            return None
        if self.tz is None:  # no zone has another offset for less than a day
            days = range(first_ns, last_ns, 86_400 * SECOND_NS)
            if len(days) > 10_000 or any(self.offset_at(day) != offset_ns for day in (*days, last_ns)):
                return None
        return offset_ns

    def _turn_to(self, instant_ns: int, face_ns: int) -> int:
        """Write the second of an instant with the offset valid at ``face_ns``, and return the instant's rest of it."""
        from_ns, until_ns, offset_ns, suffix = self._from_ns, self._until_ns, self._offset_ns, self._suffix
        if not from_ns <= face_ns < until_ns:
            from_ns = face_ns - face_ns % _QUARTER_NS
            until_ns = from_ns + _QUARTER_NS
            offset_ns, suffix = self._offset_at(from_ns)
            if self._offset_at(until_ns - SECOND_NS) != (offset_ns, suffix):  # it changes in the middle of this quarter
                from_ns = face_ns - face_ns % SECOND_NS
                until_ns = from_ns + SECOND_NS
                offset_ns, suffix = self._offset_at(from_ns)
        rest_ns = instant_ns % SECOND_NS
        second_ns = instant_ns - rest_ns
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime((second_ns + offset_ns) // SECOND_NS))
        if not from_ns <= instant_ns < until_ns:
            second_ns = _NEVER_NS  # written with the offset of another time: not for others in this second
        # No call from here on: an interrupt must not leave one without the other.
        self._from_ns, self._until_ns, self._offset_ns, self._suffix = from_ns, until_ns, offset_ns, suffix
        self._second_ns, self._text = second_ns, text
        return rest_ns

    def _offset_at(self, instant_ns: int) -> tuple[int, str]:
        """Return the offset from UTC, in nanoseconds and as it is written."""
        instant_s = instant_ns // SECOND_NS
        if self.tz is None:
            return time.localtime(instant_s).tm_gmtoff * SECOND_NS, ""
        from datetime import datetime, timedelta

        moment = datetime.fromtimestamp(instant_s, self.tz)
        return round((moment.utcoffset() or timedelta()).total_seconds()) * SECOND_NS, moment.isoformat()[19:]


def to_ns(text: object) -> int | None:
    """Return the nanoseconds since the epoch of an ISO 8601 text, naive times taken as local, or None.

    None stands for whatever is no such text: a record may have been edited by hand.

    >>> to_ns("1970-01-01T00:00:01.500000+00:00")
    1500000000
    >>> to_ns("yesterday") is None
    True
    """
    from datetime import datetime  # a quarter of what importing this package would cost, and often not needed

    try:
        instant_ns = round(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    except OSError as error:  # some systems know no local time before 1970
        if type(error) is not OSError:  # a TimeoutError comes out of a signal handler
            raise
        return None
    return instant_ns if instant_ns < _LAST_NS else None


def any_to_ns(time_: Any) -> int | None:
    """Return the nanoseconds since the epoch of seconds, a datetime or its text, or None.

    >>> any_to_ns(1.5), any_to_ns("1970-01-01T00:00:01.500000+00:00"), any_to_ns("soon")
    (1500000000, 1500000000, None)
    """
    if type(time_) is float or type(time_) is int:
        return round(time_ * SECOND_NS) if abs(time_) * SECOND_NS < _LAST_NS else None
    try:
        return to_ns(time_ if type(time_) is str else time_.isoformat())
    except Exception:
        return None


def to_utc_ns(text: object) -> int | None:
    """Return what :func:`to_ns` does, but take a time without an offset as UTC: its face, whatever the zone.

    >>> to_utc_ns("1970-01-01T00:00:01.500000"), to_utc_ns("1970-01-01T01:00:01.500000+01:00")
    (1500000000, 1500000000)
    """
    seconds = _whole_seconds(text)
    if seconds is not None:
        return seconds * SECOND_NS
    from datetime import datetime, timezone

    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is not None:
        return to_ns(text)
    return to_ns(moment.replace(tzinfo=timezone.utc).isoformat()) if 1 < moment.year < 9999 else None


def _whole_seconds(text: object) -> int | None:
    """Return the seconds since the epoch of a time as trackers write it, in UTC, None for any other text.

    Without ``datetime``, which cannot be imported any more while the interpreter shuts down.
    """
    if type(text) is not str or len(text) != 19 or text[4::3] != "--T::" or not text.isascii():
        return None
    digits = text[:4] + text[5:7] + text[8:10] + text[11:13] + text[14:16] + text[17:]
    if not digits.isdigit():
        return None
    year, month, day, *clock = (int(digits[begin:end]) for begin, end in _PLACES)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (1 < year < 9999 and 1 <= month <= 12 and 1 <= day <= (29 if leap and month == 2 else _DAYS[month - 1])):
        return None
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 59:
        return None
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162  # from the year 1 to 1970
    days += sum(_DAYS[: month - 1]) + (leap and month > 2) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second


_PLACES = (0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)
_DAYS = 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31


def has_offset(text: object) -> bool:
    """Tell whether this is a time with an offset, as trackers write it.

    >>> has_offset("2026-01-31T12:00:00.000000+01:00"), has_offset("2026-01-31T12:00:00.000000")
    (True, False)
    """
    return type(text) is str and ("+" in text[19:] or "-" in text[19:] or text.endswith("Z"))


def quick(read: Callable[[object], int | None]) -> Callable[[object], int | None]:
    """Return a function that does what :func:`to_ns` or :func:`to_utc_ns` does, and remembers the seconds it has read.

    The records of a run share many of them, which makes it twice as fast.

    >>> read = quick(to_ns)
    >>> read("1970-01-01T00:00:01.500000+00:00"), read("yesterday")
    (1500000000, None)
    """
    seconds_ns: dict[str, int | None] = {}

    def read_quickly(text: object) -> int | None:
        # As trackers write it: "2026-01-31T23:59:59.000000", perhaps with an offset as in "+02:00".
        if type(text) is str and len(text) in (26, 32) and text[19] == "." and text.isascii():
            micro, second = text[20:26], text[:19] + text[26:]
            second_ns = seconds_ns.get(second)
            if second_ns is None:
                second_ns = seconds_ns[second] = read(second)
            if second_ns is not None and micro.isdecimal():
                return second_ns + int(micro) * 1000
        return read(text)

    return read_quickly


def later_text(text: Any, elapsed_ns: int) -> str | None:
    """Return the time so long after a time, in the form that has.

    >>> later_text("2026-01-31T23:59:59.500000+01:00", 1_500_000_000), later_text("soon", 1)
    ('2026-02-01T00:00:01.000000+01:00', None)
    """
    from datetime import datetime, timedelta

    try:
        moment = datetime.fromisoformat(text) + timedelta(microseconds=elapsed_ns // 1000)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment.isoformat(timespec="microseconds")


class Offsets:
    """By how much the texts of a run's records are ahead of the run's own clock, by the ids of the records.

    A time without an offset does not tell: the hour in which summer time ends comes twice, and a file is read in any
    zone. Nor does a clock that was set. The pairs are the first id, and the nanoseconds from there on (None for
    unknown), ascending: for times without an offset, and for those with one.
    """

    __slots__ = ("_greatest", "of_aware", "of_naive")

    def __init__(
        self, of_naive: Iterable[tuple[int, int | None]] = (), of_aware: Iterable[tuple[int, int | None]] = ()
    ) -> None:
        self.of_naive = [*of_naive]
        self.of_aware = [*of_aware]
        self._greatest = [max([0, *(number for number, _ in pairs)]) for pairs in (self.of_naive, self.of_aware)]

    def copy(self) -> Offsets:
        """Return a copy that does not change with this one."""
        copy = Offsets(self.of_naive, self.of_aware)
        copy._greatest = [*self._greatest]
        return copy

    def pairs(self, is_aware: bool) -> list[tuple[int, int | None]]:
        """Return the pairs for one kind of texts."""
        return self.of_aware if is_aware else self.of_naive

    def at(self, number: int, is_aware: bool) -> int | None:
        """Return the offset for an id, None if nothing is known."""
        pairs = self.of_aware if is_aware else self.of_naive
        if not pairs or number >= pairs[-1][0]:
            return pairs[-1][1] if pairs else None
        index = bisect_right(pairs, number, key=itemgetter(0))
        return pairs[index - 1][1] if index else None

    def note(self, number: int, offset_ns: int | None, is_aware: bool) -> None:
        """Remember the offset for an id, and for those after it until the next that was noted."""
        pairs = self.of_aware if is_aware else self.of_naive
        if number > self._greatest[is_aware]:
            self._greatest[is_aware] = number
            if not pairs or offset_ns != pairs[-1][1]:
                pairs.append((number, offset_ns))
            return
        before, after = self.at(number, is_aware), self.at(number + 1, is_aware)  # ids out of order
        if before != offset_ns:
            first = bisect_left(pairs, number, key=itemgetter(0))
            past = bisect_left(pairs, number + 2, key=itemgetter(0))
            pairs[first:past] = [
                (number, offset_ns),
                *([(number + 1, after)] if number < self._greatest[is_aware] else []),
            ]

    def extend(self, other: Offsets, first: int) -> None:
        """Add what is known of greater ids; of those from ``first`` on nothing was known before."""
        for is_aware in (False, True):
            mine, pairs = self.pairs(is_aware), [pair for pair in other.pairs(is_aware) if pair[0] > first]
            if mine or other.pairs(is_aware):
                self.note(first, other.at(first, is_aware), is_aware)
            for number, offset_ns in pairs:
                self.note(number, offset_ns, is_aware)

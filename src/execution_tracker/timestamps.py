"""Wall-clock nanoseconds to ISO 8601 texts and back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

SECOND_NS = 1_000_000_000
# An offset that is the same at both ends of a quarter of an hour is so all the time: no zone changes it twice in one.
_QUARTER_NS = 900 * SECOND_NS
_NEVER_NS = -(10**30)
_LAST_NS = 253_402_214_400 * SECOND_NS  # a day before the year 10000, which no datetime of any zone can tell

# Three digits each, looked up: twice as fast as formatting six.
_DIGITS = [a + b + c for a in "0123456789" for b in "0123456789" for c in "0123456789"]


class ClockFace:
    """Writes instants as a clock on the wall shows them: local time, or the time of ``tz`` with its offset.

    It keeps the text of the second that it wrote last, which makes it many times as fast as ``datetime.isoformat``;
    so it belongs to one thread at a time.
    """

    def __init__(self, tz: tzinfo | None = None) -> None:
        self.tz = tz
        self._text = self._suffix = ""
        self._second_ns = self._from_ns = self._until_ns = _NEVER_NS  # the second, and where the offset is valid
        self._offset_ns = 0

    def text(self, instant_ns: int) -> str:
        """Return the text of an instant, given in nanoseconds since the epoch."""
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
        end_ns = start_ns + elapsed_ns
        rest_ns = end_ns - self._second_ns
        if not 0 <= rest_ns < SECOND_NS or start_ns < self._from_ns:
            rest_ns = self._turn_to(end_ns, start_ns if self.tz is None else end_ns)
        micro = rest_ns // 1000
        return f"{self._text}{_DIGITS[micro // 1000]}{_DIGITS[micro % 1000]}{self._suffix}"

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


def instant_reader() -> Callable[[object], int | None]:
    """Return a function that does what :func:`to_ns` does, and remembers the seconds that it has read.

    The records of a run share many of them, which makes it twice as fast.

    >>> read = instant_reader()
    >>> read("1970-01-01T00:00:01.500000+00:00"), read("yesterday")
    (1500000000, None)
    """
    seconds_ns: dict[str, int | None] = {}

    def read(text: object) -> int | None:
        # As trackers write it: "2026-01-31T23:59:59.000000", perhaps with an offset as in "+02:00".
        if type(text) is str and len(text) in (26, 32) and text[19] == "." and text.isascii():
            micro, second = text[20:26], text[:19] + text[26:]
            second_ns = seconds_ns.get(second)
            if second_ns is None:
                second_ns = seconds_ns[second] = to_ns(second)
            if second_ns is not None and micro.isdecimal():
                return second_ns + int(micro) * 1000
        return to_ns(text)

    return read

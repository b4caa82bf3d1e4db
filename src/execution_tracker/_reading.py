"""Records to rows: the one border at which values from outside are read.

Whatever is odd in a record that was loaded, assigned or edited is dealt with here; behind it a time is a whole number
of nanoseconds or None, an id is a whole number that no other has, and a status can be counted. Nearly all records are
alike, so columns are looked at as a whole before their values are, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count, repeat
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any

from execution_tracker._run import (
    AT_NS,
    CAUSED_BY,
    DATA,
    ELAPSED_NS,
    EMITTER,
    ERROR,
    EVENT_ID,
    EVENT_RECORD,
    EVENT_WIDTH,
    EXECUTION_ID,
    NAME,
    PARAMS,
    PARENT_ID,
    RECORD,
    RESULT,
    SOURCE,
    START_NS,
    STATUS,
    TARGET,
    WIDTH,
    WORKER,
    Record,
    hashable,
)
from execution_tracker.plain import are_all
from execution_tracker.timestamps import SECOND_NS, has_offset, quick, to_ns, to_utc_ns

if TYPE_CHECKING:
    from execution_tracker.timestamps import Offsets

_LONGEST_S = 1e11  # three thousand years: longer ones are nobody's
_LAST_ID = 2**53  # all programs that read JSON know whole numbers below


class Ids:
    """Gives out whole numbers, each once, to any number of threads."""

    __slots__ = ("_count", "give")

    def __init__(self, first: int = 1) -> None:
        self._count = count(first)
        self.give: Callable[[], int] = self._count.__next__

    @property
    def issued(self) -> int:
        """The least number that was not given out yet."""
        return int(repr(self._count)[len("count(") : -1])  # nothing else tells without taking it

    def reserve(self, number: int) -> int:
        """Keep so many numbers for the caller, and return the one before them."""
        while True:
            first = self.issued
            fresh = count(first + number)
            give = fresh.__next__
            for issued in self._count:  # pragma: no branch - takes one, and nothing comes in from there to the change
                if issued == first:
                    self._count = fresh
                    self.give = give
                    return first - 1
                break

    def skip(self, highest: int) -> None:
        """Give out none up to this one any more."""
        if highest < self.issued:
            return
        fresh = count(highest + 1)
        give = fresh.__next__
        for issued in self._count:  # pragma: no branch - as above
            if issued <= highest:
                self._count = fresh
                self.give = give
            break


class Columns(dict[str, list[Any]]):
    """What records have under each key, None where they have nothing; looked up once, when it is first asked for."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def __missing__(self, key: str) -> list[Any]:
        column = self[key] = [*map(dict.get, self.records, repeat(key))]
        return column


def columns_for_numbers(records: list[Record]) -> Columns:
    """Return the columns that numbers are computed from, though the records change from now on."""
    columns = Columns(records)
    for key in ("execution_id", "start_time", "end_time", "execution_time", "parent_id", "status"):
        columns[key]
    return columns


def rows_of(
    executions: dict[Any, Columns],
    events: Columns,
    offsets: tuple[Offsets, Offsets],
    ids: tuple[Ids, Ids],
    known: Known | None = None,
    numbers_only: bool = False,
) -> tuple[dict[Any, list[Any]], list[Any]]:
    """Read records.

    Args:
        executions: The columns of the execution records of each routine. One without an id of its own gets one.
        events: Those of the event records, likewise.
        offsets: What is known of their times.
        ids: Where ids for those come from that have none.
        known: What was read before of the same lists.
        numbers_only: Whether columns are left empty that no number is computed from.

    Returns:
        The rows of each routine, and those of the events.
    """
    given = [number for columns in executions.values() for number in columns["execution_id"]]
    given_to_events = events["event_id"]
    # Old files have no ids. Their naive times are local, hour by hour; in ours, one offset holds unless more is known.
    read = _Reader(is_old=int not in map(type, given) and int not in map(type, given_to_events))
    numbers, begin = _own_ids(given, ids[0]), 0
    routines: dict[Any, list[Any]] = {}
    for routine_id, columns in executions.items():
        own = numbers[begin : begin + len(columns["execution_id"])]
        begin += len(own)
        times = read.times_of(columns, own, offsets[0], {} if known is None else known.setdefault(routine_id, {}))
        routines[routine_id] = _execution_rows(columns, own, *times, numbers_only)
    rows = _event_rows(events, _own_ids(given_to_events, ids[1]), offsets[1], read)
    if read.only_ns is not None:
        for each in offsets:
            if not each.of_naive:
                each.note(0, read.only_ns, is_aware=False)
    return routines, rows


# What was read before, by routine: the columns that its records had, and what was made of them.
Known = dict[Any, dict[str, list[Any]]]


def give_ids(records: list[Record], key: str, ids: Ids) -> None:
    """Give an id to each record that has none, or one that an earlier record has."""
    different = [*{id(record): record for record in records}.values()]
    given = [record.get(key) for record in different]
    for record, before, number in zip(different, given, _own_ids(given, ids), strict=True):
        if before is not number:
            record[key] = number


def _own_ids(given: list[Any], ids: Ids) -> list[int]:
    """Return an id for each record: the given one, unless that is none, or an earlier record has it."""
    if given and are_all(int, given) and min(given) > 0 and max(given) < _LAST_ID and len(set(given)) == len(given):
        ids.skip(max(given))
        return given
    seen: set[int] = set()
    own: list[int] = []
    for number in given:
        if type(number) is int and 0 < number < _LAST_ID and number not in seen:
            seen.add(number)
            own.append(number)
        else:
            own.append(0)
    if seen:
        ids.skip(max(seen))
    return [number or ids.give() for number in own]


class _Reader:
    """Reads times. Those of old files are local, hour by hour; of others that are not known, one offset holds."""

    def __init__(self, is_old: bool) -> None:
        self._local = quick(to_ns)
        self._face = quick(to_utc_ns)
        self._is_old = is_old
        self.only_ns: int | None = None  # by how much naive times are ahead of which nothing is known

    def times_of(
        self, columns: Columns, numbers: list[int], offsets: Offsets, known: dict[str, list[Any]]
    ) -> tuple[list[int | None], list[int | None]]:
        """Return when executions started, and how long they took.

        Args:
            columns: What the records have.
            numbers: Their ids.
            offsets: What is known of their times.
            known: What this gave before for these records. It is still so if they have the very same texts.
        """
        texts = [columns[key] for key in ("start_time", "end_time", "execution_time")]
        if known and all(_are_same(column, before) for column, before in zip(texts, known["texts"], strict=True)):
            return known["starts"], known["times"]
        starts, ends = (self.column(column, numbers, offsets) for column in texts[:2])
        times = [*map(_time_ns, texts[2])]
        for index, (start_ns, end_ns, time_ns) in enumerate(zip(starts, ends, times, strict=True)):
            if start_ns is None or end_ns is None:
                continue
            if time_ns is None:
                times[index] = max(end_ns - start_ns, 1)
            # The texts were cut to the microsecond: so much later it must have begun.
            elif 0 < end_ns - time_ns - start_ns < 1000:
                starts[index] = end_ns - time_ns
        known |= {"texts": texts, "starts": starts, "times": times}
        return starts, times

    def column(self, texts: list[Any], numbers: list[int], offsets: Offsets) -> list[int | None]:
        """Return the instants of the texts in the records with these ids, None for what is no time."""
        known = [text for text in texts if text is not None]
        if not known:
            return [None] * len(texts)
        offset_ns = self._only_offset(known[0], numbers, offsets) if are_all(str, known) else None
        seconds_ns = None if offset_ns is None else self._seconds(known)
        if offset_ns is None or seconds_ns is None:
            return [
                None if text is None else self._instant(text, number, offsets)
                for text, number in zip(texts, numbers, strict=True)
            ]
        return [None if text is None else seconds_ns[text[:19]] + int(text[20:]) * 1000 - offset_ns for text in texts]

    def _only_offset(self, text: Any, numbers: list[int], offsets: Offsets) -> int | None:
        """Return the one offset of all naive times in these records, None if there may be others."""
        pairs = offsets.of_naive
        if len(pairs) == 1 and min(numbers) >= pairs[0][0]:
            return pairs[0][1]
        if pairs or self._is_old:
            return None
        self._instant(text, 0, offsets)  # by which it is known
        return self.only_ns

    def _seconds(self, texts: list[Any]) -> dict[str, int] | None:
        """Return the seconds in naive times as trackers write them, None if there are others among the texts."""
        if set(map(len, texts)) != {26} or set(map(itemgetter(19), texts)) != {"."}:
            return None
        digits = "".join(map(itemgetter(slice(20, None)), texts))
        seconds = set(map(itemgetter(slice(19)), texts))
        seconds_ns = {second: self._face(second) for second in seconds}
        is_usual = digits.isascii() and digits.isdigit() and None not in seconds_ns.values()
        return seconds_ns if is_usual else None  # type: ignore[return-value]

    def _instant(self, text: Any, number: int, offsets: Offsets) -> int | None:
        face_ns = self._face(text)
        if face_ns is None:
            return None
        is_aware = has_offset(text)
        offset_ns = offsets.at(number, is_aware)
        if offset_ns is not None:
            return face_ns - offset_ns
        if is_aware:
            return face_ns
        local_ns = self._local(text)
        if self._is_old or local_ns is None:
            return local_ns
        if self.only_ns is None:
            self.only_ns = face_ns - local_ns
        return face_ns - self.only_ns


def _are_same(values: list[Any], before: list[Any]) -> bool:
    """Tell whether two lists have the very same items, without asking one of them."""
    return len(values) == len(before) and all(map(is_, values, before))


def _execution_rows(
    columns: Columns,
    numbers: list[int],
    starts: list[int | None],
    times: list[int | None],
    numbers_only: bool,
) -> list[Any]:
    rows: list[Any] = [None] * (WIDTH * len(numbers))
    rows[START_NS::WIDTH] = starts
    rows[EXECUTION_ID::WIDTH] = numbers
    parents = columns["parent_id"]
    if not are_all(type(None), parents):
        rows[PARENT_ID::WIDTH] = [
            None if parent is number or parent == number else parent
            for parent, number in zip(map(_id, parents), numbers, strict=True)
        ]
    rows[STATUS::WIDTH] = _hashable_column(columns["status"])
    rows[ELAPSED_NS::WIDTH] = times
    if numbers_only:
        return rows
    causes, workers = columns["caused_by"], columns["worker"]
    if not are_all(type(None), causes):
        rows[CAUSED_BY::WIDTH] = [causes_of(caused_by, _LAST_ID) for caused_by in causes]
    rows[WORKER::WIDTH] = workers if are_all(str, workers) else [*map(_text, workers)]
    rows[PARAMS::WIDTH] = columns["params"]
    rows[RESULT::WIDTH] = columns["result"]
    rows[ERROR::WIDTH] = columns["error"]
    rows[RECORD::WIDTH] = columns.records
    return rows


def _event_rows(events: Columns, numbers: list[int], offsets: Offsets, read: _Reader) -> list[Any]:
    rows: list[Any] = [None] * (EVENT_WIDTH * len(numbers))
    rows[AT_NS::EVENT_WIDTH] = read.column(events["timestamp"], numbers, offsets)
    rows[SOURCE::EVENT_WIDTH] = _hashable_column(events["source_routine_id"])
    rows[NAME::EVENT_WIDTH] = events["event_name"]
    rows[TARGET::EVENT_WIDTH] = _hashable_column(events["target_routine_id"])
    rows[DATA::EVENT_WIDTH] = events["data"]
    rows[EVENT_ID::EVENT_WIDTH] = numbers
    rows[EMITTER::EVENT_WIDTH] = [*map(_id, events["execution_id"])]
    rows[EVENT_RECORD::EVENT_WIDTH] = events.records
    return rows


def _hashable_column(values: list[Any]) -> list[Any]:
    return values if are_all(str, values) else [*map(hashable, values)]


def _time_ns(seconds: Any) -> int | None:
    if (type(seconds) is float or type(seconds) is int) and 0 <= seconds < _LONGEST_S:
        return max(round(seconds * SECOND_NS), 1)
    return None


def _id(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < _LAST_ID else None


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def tuple_of(caused_by: Any) -> tuple[Any, ...] | None:
    """Return the causes that a caller gives as they are now, None for what is no list or set of any."""
    kind = type(caused_by)
    return tuple(caused_by) if kind is list or kind is tuple or kind is set or kind is frozenset else None


def causes_of(caused_by: Any, issued: int) -> Any:
    """Return the ids of events as a row has them: those that are ids, each once."""
    if type(caused_by) is int:
        return caused_by if 0 < caused_by < issued else None
    if type(caused_by) is not list and type(caused_by) is not tuple:
        return None
    known = tuple(dict.fromkeys(each for each in caused_by if type(each) is int and 0 < each < issued))
    return known[0] if len(known) == 1 else known or None


def parent_of(parent_id: Any, execution_id: int) -> int | None:
    """Return the id of a parent as a row has it, None for what is no id, or was not given out before its child's."""
    return parent_id if type(parent_id) is int and 0 < parent_id < execution_id else None


def nested_times(routines: Iterable[list[Any]]) -> dict[int, int]:
    """Return by the id of each execution what those took that ran inside it, in nanoseconds."""
    nested_ns: dict[int, int] = {}
    for rows in routines:
        parents = rows[PARENT_ID::WIDTH]
        if any(parents):
            for parent_id, elapsed_ns in zip(parents, rows[ELAPSED_NS::WIDTH], strict=True):
                if parent_id is not None and elapsed_ns is not None:
                    nested_ns[parent_id] = nested_ns.get(parent_id, 0) + elapsed_ns
    return nested_ns

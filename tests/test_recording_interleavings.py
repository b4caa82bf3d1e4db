"""Whatever comes in at each single point at which CPython lets something in: all of them, one after the other.

Signal handlers, other threads and forks come in after a call or a jump back, and finalizers up to Python 3.11 also
where a container is made. A trace function counts these points in the tracker's own code, and has something come in at
one of them. Each test looks at some of its thousands of points; at more with ``EXECUTION_TRACKER_POINTS=100``.
"""

from __future__ import annotations

import copy
import dis
import gc
import inspect
import json
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from zlib import crc32

import pytest

import execution_tracker
from execution_tracker import ExecutionTracker, _recording, _storage
from execution_tracker._metrics import metrics_of
from execution_tracker._reading import nested_times

pytestmark = pytest.mark.once
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

HOME = Path(execution_tracker.__file__).parent
OWN_CODE = {str(path) for path in [*HOME.glob("_*.py"), HOME / "timestamps.py", HOME / "collector.py"]}
BEGIN_NS = 1_768_478_400 * 10**9
MOST_POINTS = int(os.environ.get("EXECUTION_TRACKER_POINTS", "3"))  # about as many for each test
LATER = "CALL", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "POP_JUMP_BACKWARD"  # what others come in after
JUMPS = ("POP_JUMP_IF",) if sys.version_info < (3, 11) else ()  # after which they do if it jumps
MAKES = ("BUILD_", "GET_ITER", "BINARY_SUBSCR", "BINARY_SLICE") if sys.version_info < (3, 12) else ()


# --- points ---


@cache
def points_in(code: CodeType, finalizers: bool) -> tuple[frozenset[int], frozenset[int]]:
    """Give the offsets of instructions after which others come in, and of those in which finalizers do."""
    instructions = [*dis.get_instructions(code)]
    if code.co_flags & inspect.CO_GENERATOR:  # what is raised where one is closed would get lost
        return frozenset(), frozenset()
    later = frozenset(each.offset for each in instructions if each.opname.startswith(LATER))
    makes = frozenset(each.offset for each in instructions if finalizers and MAKES and each.opname.startswith(MAKES))
    return later, makes


@cache
def jumps_in(code: CodeType) -> frozenset[int]:
    """Give the offsets of instructions after which others come in if they jump."""
    return frozenset(each.offset for each in dis.get_instructions(code) if JUMPS and each.opname.startswith(JUMPS))


class Points:
    """Counts the points that some work comes to, and has something come in at one of them."""

    def __init__(self, at: int = -1, come_in: Callable[[], Any] = lambda: None, finalizers: bool = False) -> None:
        self.at, self.come_in, self.finalizers = at, come_in, finalizers
        self.passed = 0

    def __call__(self, work: Callable[[], Any]) -> None:
        usual = sys.gettrace()
        gc.disable()
        sys.settrace(self._trace)
        try:
            work()
        finally:
            sys.settrace(usual)
            gc.enable()

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename not in OWN_CODE:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        later, makes = points_in(frame.f_code, self.finalizers)
        jumps = jumps_in(frame.f_code)
        is_point = not frame.f_code.co_flags & inspect.CO_GENERATOR  # where the function begins
        falls_to = -1  # the next instruction, if the last one was a jump

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal is_point, falls_to
            place = frame.f_lasti
            if event == "exception":
                is_point, falls_to = False, -1
            elif event == "opcode":
                if is_point or place in makes or falls_to not in (-1, place):
                    self._pass()
                is_point = place in later
                falls_to = place + 2 if place in jumps else -1
            return local

        return local

    def _pass(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            sys.settrace(None)  # nothing else is to be seen
            self.come_in()


def some_points(work: Callable[[], Any], finalizers: bool) -> range:
    """Give the numbers of the points at which something is to come in: others in each test, the same in each run."""
    counting = Points(finalizers=finalizers)
    counting(work)
    step = max(counting.passed // MOST_POINTS, 1)
    return range(1 + crc32(os.environ["PYTEST_CURRENT_TEST"].encode()) % step, counting.passed + 1, step)


# --- runs ---


def in_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work, name="other")
    thread.start()
    thread.join()


def calls(tracker: ExecutionTracker) -> Iterator[Callable[[], Any]]:
    """Give calls of every kind, one after the other, whose executions and events each have a name of their own."""
    start, end, event = tracker.record_routine_start, tracker.record_routine_end, tracker.record_event
    ids: dict[str, int] = {}

    def start_as(name: str, routine_id: Any = "a", **facts: Any) -> None:
        ids[name] = start(routine_id, {"name": name}, **facts)

    def event_as(name: str, source: Any, *rest: Any, **facts: Any) -> None:
        ids[name] = event(source, name, *rest, **facts)

    yield lambda: start_as("first")
    yield lambda: event_as("sent", "a", "b", {"size": 1})
    yield lambda: start_as("second", caused_by=[ids["sent"]])
    yield lambda: in_thread(lambda: start_as("third", ("b", 1)))
    yield lambda: start_as("fourth", ("b", 1), parent_id=ids["second"])
    yield lambda: event_as("of the fourth", ("b", 1))
    yield lambda: in_thread(lambda: event_as("of the third", ("b", 1)))
    yield lambda: start_as("sixth", ("b", 1), parent_id=ids["third"])
    yield lambda: end(("b", 1), result={"name": "sixth"})
    yield lambda: end(("b", 1), "failed", error="no")
    yield lambda: end("a", result={"name": "second"})
    yield lambda: end("a", "late", result={"name": "second, again"}, execution_id=ids["second"])
    yield lambda: end("unknown", result=5)
    yield lambda: end(("b", 1), result={"name": "third"}, execution_id=ids["third"])
    yield lambda: end(("b", 1), "late", execution_id=ids["fourth"])
    yield lambda: tracker.record_execution(
        "c", 1.0, 2.0, params={"name": "elsewhere"}, parent_id=ids["first"], worker="w"
    )
    yield lambda: end("a", result={"name": "first"})
    yield lambda: start_as("fifth", "c", caused_by=[ids["sent"], ids["of the third"]])
    yield lambda: end("a", "later still")
    yield lambda: event_as("of nobody", "a")


def record_all(tracker: ExecutionTracker) -> None:
    for call in calls(tracker):
        call()


def leave_to_readers(tracker: ExecutionTracker) -> None:
    """Record in such a way that all is left in the log, as where recorders lose their patience."""
    vars(tracker)["_fold_now"] = lambda: None
    record_all(tracker)
    del vars(tracker)["_fold_now"]
    assert len(tracker._log) > 100


def loaded(tracker: ExecutionTracker) -> None:
    """Have records from outside, one of which never ended."""
    other = ExecutionTracker()
    for name in ("old", "old and open"):
        other.record_routine_start("a", {"name": name})
    other.record_event("a", "old event")
    other.record_routine_end("a", "lost", result={"name": "old"}, execution_id=1)
    tracker.deserialize(json.loads(json.dumps(other.serialize())))


def told(tracker: ExecutionTracker) -> dict[str, Any]:
    """Give what a run tells apart from times, with names in the place of ids, and without what came in."""
    run = json.loads(json.dumps(tracker.serialize(), allow_nan=False))
    records = [record for of_routine in run["routine_executions"].values() for record in of_routine]
    ids = [record["execution_id"] for record in records]
    assert len({*ids}) == len(ids)
    event_ids = [event["event_id"] for event in run["event_flow"]]
    assert len({*event_ids}) == len(event_ids)
    names = {record["execution_id"]: record["params"].get("name") for record in records} | {None: None}
    sent = {event["event_id"]: event["event_name"] for event in run["event_flow"]}
    timeless = {"start_time", "end_time", "execution_time", "timestamp", "event_id"}

    def plain(record: dict[str, Any], **named: Any) -> dict[str, Any]:
        is_timed = [key for key in ("end_time", "execution_time") if record.get(key)]
        return {**{key: value for key, value in record.items() if key not in timeless}, **named, "timed": is_timed}

    executions = {
        routine_id: [
            plain(
                record,
                execution_id=names[record["execution_id"]],
                parent_id=names.get(record.get("parent_id"), "?"),
                caused_by=[sent.get(cause, "?") for cause in record.get("caused_by", [])],
            )
            for record in of_routine
        ]
        for routine_id, of_routine in run["routine_executions"].items()
        if routine_id != "come in"
    }
    events = [
        plain(event, execution_id=names.get(event.get("execution_id"), "?"))
        for event in run["event_flow"]
        if event["source_routine_id"] != "come in"
    ]
    return {"executions": executions, "events": events}


def counted(tracker: ExecutionTracker) -> dict[str, Any]:
    """Give the counts of a run, which nothing that was dropped is missing in."""
    numbers = tracker.get_performance_metrics()
    return {
        "unmatched_ends": numbers["unmatched_ends"],
        "statuses": {name: each["status_counts"] for name, each in numbers["routines"].items() if name != "come in"},
    }


def check_numbers(tracker: ExecutionTracker) -> None:
    """What was computed bit by bit is what comes out at once, and times of those inside are what records tell."""
    assert tracker.get_performance_metrics() == metrics_of("", tracker._run())
    run = tracker._run()
    if tracker._fold.max_records is None:
        assert tracker._fold.nested_ns == pytest.approx(nested_times(each.rows for each in run.routines.values()))
    tracker._check()


# --- what comes in ---


class Guest:
    """Something that records, and does something else, in the middle of other work."""

    def __init__(self, tracker: ExecutionTracker, do: Callable[[Guest], Any]) -> None:
        self.tracker, self.do = tracker, do
        self.came = 0
        self.held: list[Any] = []
        self.answers: list[Any] = []

    def __call__(self) -> None:
        self.came += 1
        tracker = self.tracker
        execution_id = tracker.record_routine_start("come in", {"came": self.came})
        tracker.record_event("come in", "came in")
        self.do(self)
        tracker.record_routine_end("come in", result={"came": self.came}, execution_id=execution_id)

    def check(self) -> None:
        """All that it recorded is there once, and what it held is what there is."""
        run = json.loads(json.dumps(self.tracker.serialize()))
        records = run["routine_executions"].get("come in", [])
        assert [(each["params"], each["result"]) for each in records] == [
            ({"came": n + 1},) * 2 for n in range(self.came)
        ]
        sent = [event["event_name"] for event in run["event_flow"] if event["source_routine_id"] == "come in"]
        assert sent == ["came in"] * self.came
        if self.held:
            assert self.held[0] is self.tracker.routine_executions
            assert self.held[1] is self.tracker.event_flow


def does_nothing(guest: Guest) -> None:
    pass


def reads(guest: Guest) -> None:
    numbers = guest.tracker.get_performance_metrics()
    for each in numbers["routines"].values():
        assert sum(each["status_counts"].values()) == each["total_executions"]
    json.dumps(guest.tracker.serialize())


def takes(guest: Guest) -> None:
    guest.held = [guest.tracker.routine_executions, guest.tracker.event_flow]
    guest.tracker.get_flow_performance()


def puts_executions(guest: Guest) -> None:
    """Put another container with the same records in the place of the one that there is."""
    other_executions_in(guest.tracker)
    guest.held = [guest.tracker.routine_executions, guest.tracker.event_flow]


def puts_events(guest: Guest) -> None:
    other_events_in(guest.tracker)
    guest.held = [guest.tracker.routine_executions, guest.tracker.event_flow]


def copies(guest: Guest) -> None:
    for twin in (copy.copy(guest.tracker), pickle.loads(pickle.dumps(guest.tracker))):
        check_numbers(twin)


GUESTS = [reads, takes, puts_executions, puts_events, copies]


@pytest.fixture(autouse=True)
def always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each run take the same way, however slow the machine is: all in one second of the clock."""
    readings: list[int] = []

    def perf_counter_ns() -> int:
        readings.append(1000 * len(readings))
        return readings[-1]

    monkeypatch.setattr(_storage, "_PATIENCE_S", 0.0001)
    monkeypatch.setattr(_recording, "perf_counter_ns", perf_counter_ns)
    monkeypatch.setattr(_recording, "time_ns", lambda: BEGIN_NS + 1000 * len(readings))


# --- work that is interrupted ---


class Interrupted(BaseException):
    """What a signal handler raises, like KeyboardInterrupt."""


def interrupt() -> None:
    raise Interrupted


def numbers_of(tracker: ExecutionTracker) -> None:
    tracker.get_performance_metrics()


def records_of(tracker: ExecutionTracker) -> None:
    assert tracker.routine_executions


def data_of(tracker: ExecutionTracker) -> None:
    tracker.serialize()


def copy_of(tracker: ExecutionTracker) -> None:
    copy.copy(tracker)


def other_executions_in(tracker: ExecutionTracker) -> None:
    tracker.routine_executions = {**tracker.routine_executions}


def other_events_in(tracker: ExecutionTracker) -> None:
    tracker.event_flow = [*tracker.event_flow]


READS = [numbers_of, records_of, data_of, copy_of]
WRITES = [other_executions_in, other_events_in]


def interrupted(tracker: ExecutionTracker) -> None:
    """Have a fold end in the middle of an entry."""
    at = 150
    while tracker._fold.entry is None:
        with pytest.raises(Interrupted):
            Points(at, interrupt)(partial(numbers_of, tracker))
        at = 20  # somewhat later than where it ended before


BEFORE: dict[str, list[Callable[[ExecutionTracker], Any]]] = {
    "unread": [leave_to_readers],
    "read": [record_all, numbers_of, leave_to_readers],
    "loaded": [loaded, leave_to_readers],
    "live": [lambda tracker: tracker.event_flow, leave_to_readers],
    "loaded and live": [loaded, lambda tracker: tracker.event_flow, leave_to_readers],
    "interrupted": [leave_to_readers, interrupted],
    "live and interrupted": [lambda tracker: tracker.event_flow, leave_to_readers, interrupted],
}


def made(before: str, max_records: int | None = None) -> ExecutionTracker:
    tracker = ExecutionTracker(max_records=max_records)
    for step in BEFORE[before]:
        step(tracker)
    return tracker


@pytest.mark.parametrize("max_records", [None, 1])
@pytest.mark.parametrize("work", READS)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("do", GUESTS)
def test_whoever_comes_in_while_others_read_changes_nothing_else(
    before: str, work: Callable[[Any], Any], do: Callable[[Guest], Any], max_records: int | None
) -> None:
    """A signal handler or a finalizer records and does something else, once, at each point."""
    usual = made(before, max_records)
    work(usual)
    expected_counts, expected = counted(usual), told(usual)
    for at in some_points(partial(work, made(before, max_records)), finalizers=True):
        tracker = made(before, max_records)
        guest = Guest(tracker, do)
        Points(at, guest, finalizers=True)(partial(work, tracker))
        assert guest.came == 1
        assert counted(tracker) == expected_counts, at
        assert told(tracker)["executions"] == expected["executions"], at
        if max_records is None:
            assert told(tracker)["events"] == expected["events"], at
            guest.check()
        check_numbers(tracker)


@pytest.mark.parametrize("work", WRITES)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("do", GUESTS)
def test_whoever_comes_in_while_containers_are_put_in_breaks_nothing(
    before: str, work: Callable[[Any], Any], do: Callable[[Guest], Any]
) -> None:
    """What is recorded before they are in place is in those that were; all else is as without."""
    usual = made(before)
    work(usual)
    expected = told(usual)
    for at in some_points(partial(work, made(before)), finalizers=True):
        tracker = made(before)
        guest = Guest(tracker, do)
        Points(at, guest, finalizers=True)(partial(work, tracker))
        assert guest.came == 1
        assert told(tracker) == expected, at
        unmatched = (
            tracker.get_performance_metrics()["unmatched_ends"] - usual.get_performance_metrics()["unmatched_ends"]
        )
        assert 0 <= unmatched <= 1  # that of the guest, whose start is in the containers of before
        check_numbers(tracker)


@pytest.mark.parametrize("max_records", [None, 1])
@pytest.mark.parametrize("work", [*READS, *WRITES])
@pytest.mark.parametrize("before", BEFORE)
def test_an_exception_out_of_a_handler_while_others_read_changes_nothing(
    before: str, work: Callable[[Any], Any], max_records: int | None
) -> None:
    """It reaches the reader, and whoever reads then finds everything."""
    usual = made(before, max_records)
    work(usual)
    expected_counts, expected = counted(usual), told(usual)
    for at in some_points(partial(work, made(before, max_records)), finalizers=False):
        tracker = made(before, max_records)
        with pytest.raises(Interrupted):
            Points(at, interrupt)(partial(work, tracker))
        with suppress(Interrupted):  # and again, unless there is less left to do
            Points(at // 2 + 1, interrupt)(partial(work, tracker))
        work(tracker)
        assert counted(tracker) == expected_counts, at
        assert told(tracker) == expected, at
        check_numbers(tracker)


@pytest.mark.parametrize("max_records", [None, 1])
@pytest.mark.parametrize("before", ["held", "loaded and held", "bounded"])
@pytest.mark.parametrize("do", [*GUESTS, None])
def test_whoever_comes_in_while_others_record_changes_nothing_else(
    before: str, do: Callable[[Guest], Any] | None, max_records: int | None
) -> None:
    """Each call is folded at once: it is recorded once, also where a handler raises as soon as it is."""

    def fresh() -> ExecutionTracker:
        tracker = ExecutionTracker(max_records=3 if before == "bounded" else max_records)
        if before == "loaded and held":
            loaded(tracker)
        if before != "bounded":
            assert tracker.event_flow is not None
        return tracker

    def state(tracker: ExecutionTracker) -> tuple[Any, Any]:
        return counted(tracker), told(tracker)["executions"]

    usual, states = fresh(), []
    for call in calls(usual):
        states.append(state(copy.copy(usual)))
        call()
    states.append(state(copy.copy(usual)))
    expected = state(usual)
    for number in range(len(states) - 1):
        counting = [*calls(tracker := fresh())]
        for call in counting[:number]:
            call()
        for at in some_points(counting[number], finalizers=do is not None):
            tracker = fresh()
            run = [*calls(tracker)]
            for call in run[:number]:
                call()
            if do is None:
                with pytest.raises(Interrupted):
                    Points(at, interrupt)(run[number])
                assert state(copy.copy(tracker)) in states[number : number + 2], (number, at)
            else:
                guest = Guest(tracker, do)
                Points(at, guest, finalizers=True)(run[number])
                for call in run[number + 1 :]:
                    call()
                assert state(tracker) == expected, (number, at)
                if guest.held:
                    assert guest.held[0] is tracker.routine_executions
            check_numbers(tracker)


ONE_MORE = {
    "event_flow": [
        {
            "timestamp": "2026-01-31T12:00:00.000000",
            "source_routine_id": "a",
            "event_name": "one",
            "target_routine_id": None,
            "data": {},
        }
    ]
}


@pytest.mark.parametrize("work", [*READS, *WRITES])
@pytest.mark.parametrize("before", BEFORE)
def test_another_run_is_taken_over_while_others_read(before: str, work: Callable[[Any], Any]) -> None:
    """Executions stay, events are those of the other run, and the containers are those that are filled."""

    def executions_of(tracker: ExecutionTracker) -> list[Any]:
        of_routines = told(tracker)["executions"].values()
        return [{**record, "caused_by": None} for of_routine in of_routines for record in of_routine]

    expected = executions_of(made(before))

    def take_over(guest: Guest) -> None:
        guest.tracker.deserialize(ONE_MORE)

    for at in some_points(partial(work, made(before)), finalizers=True):
        tracker = made(before)
        guest = Guest(tracker, take_over)
        Points(at, guest, finalizers=True)(partial(work, tracker))
        assert executions_of(tracker) == expected, at
        executions, events = tracker.routine_executions, tracker.event_flow
        tracker.record_event("last", "sent")
        assert events[-1]["source_routine_id"] == "last"
        assert executions is tracker.routine_executions
        check_numbers(tracker)


@pytest.mark.parametrize("before", BEFORE)
def test_an_exception_out_of_a_handler_while_another_run_is_taken_over_leaves_all_or_nothing(before: str) -> None:
    """What is held goes on to be filled, unless the other run is there."""

    def fresh() -> ExecutionTracker:
        tracker = made(before)
        assert tracker.event_flow
        return tracker

    expected = told(fresh())
    for at in some_points(partial(fresh().deserialize, ONE_MORE), finalizers=False):
        tracker = fresh()
        held = tracker.event_flow
        with pytest.raises(Interrupted):
            Points(at, interrupt)(partial(tracker.deserialize, ONE_MORE))
        tracker.record_event("last", "sent")
        assert tracker.serialize()["event_flow"][-1]["source_routine_id"] == "last"
        if tracker.serialize()["event_flow"][0]["event_name"] != "one":
            assert held[-1]["source_routine_id"] == "last"
            del tracker.event_flow[-1]
            assert told(tracker) == expected, at
        check_numbers(tracker)


# --- payloads, statuses and ids with code of their own ---


class Freed:
    """A payload or a status; somebody comes in where it is freed."""

    def __init__(self, name: str, come_in: Callable[[], Any]) -> None:
        self.name, self.come_in = name, come_in

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        raise TypeError("there is only one of it")

    def __del__(self) -> None:
        self.come_in()


def replaces_results(tracker: ExecutionTracker, come_in: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    start, end = tracker.record_routine_start, tracker.record_routine_end
    first = start("a", {"name": "first"})
    parent = start("c", {"name": "parent"})
    child = start("b", {"name": "child"}, parent_id=parent)
    end("a", Freed("well", come_in), Freed("result", come_in), Freed("error", come_in), execution_id=first)
    end("b", Freed("well", come_in), Freed("result", come_in), Freed("error", come_in), execution_id=child)
    yield tracker.get_flow_performance
    end("b", "late", {"name": "child"}, "none", execution_id=child)
    end("a", "late", {"name": "first"}, "none")
    yield tracker.get_flow_performance
    end("c", execution_id=parent)


def drops(tracker: ExecutionTracker, come_in: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    start, end = tracker.record_routine_start, tracker.record_routine_end
    for number in range(5):
        start("a", {"name": number, "freed": Freed("params", come_in)})
        end("a", Freed("well", come_in), Freed("result", come_in))
        tracker.record_event("a", f"sent {number}", data=Freed("data", come_in))
        end("unknown", result=Freed("unmatched", come_in))
        yield tracker.get_flow_performance


@pytest.mark.parametrize("max_records", [None, 1])
@pytest.mark.parametrize("before", ["unread", "live", "loaded"])
@pytest.mark.parametrize("frees", [replaces_results, drops])
@pytest.mark.parametrize("do", GUESTS)
def test_whoever_comes_in_where_something_is_freed_changes_nothing_else(
    frees: Callable[..., Any], do: Callable[[Guest], Any], before: str, max_records: int | None
) -> None:
    """Results, errors, statuses and data that are replaced or dropped come in when they go."""

    def after(do: Callable[[Guest], Any] | None) -> tuple[Any, Guest]:
        tracker = ExecutionTracker(max_records=max_records)
        guest = Guest(tracker, do or does_nothing)
        if before == "live":
            assert tracker.event_flow == []
        elif before == "loaded":
            loaded(tracker)
        usual: list[bool] = []
        for work in frees(tracker, lambda: usual or not do or guest()):
            work()
        usual.append(True)  # no more guests
        found = counted(tracker), told(tracker)["executions"]
        check_numbers(tracker)
        return found, guest

    expected, _ = after(None)
    found, guest = after(do)
    assert found == expected
    assert guest.came
    if max_records is None:
        guest.check()


class Asked:
    """A routine id or a status; somebody comes in where it is asked for its hash, or whether it is another one."""

    def __init__(self, name: str, asked: Callable[[], Any]) -> None:
        self.name, self.asked = name, asked

    def __hash__(self) -> int:
        self.asked()
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        self.asked()
        return isinstance(other, Asked) and other.name == self.name

    def __repr__(self) -> str:
        return self.name


class Questions:
    """Counts how often something is asked, and has a guest come in at one of the questions."""

    def __init__(self) -> None:
        self.count = 0
        self.at = 0
        self.guest: Callable[[], Any] = lambda: None

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.guest()


@pytest.mark.parametrize("max_records", [None, 1])
@pytest.mark.parametrize("live", [False, True], ids=["unread", "live"])
@pytest.mark.parametrize("do", GUESTS)
def test_whoever_comes_in_where_an_id_is_asked_changes_nothing_else(
    do: Callable[[Guest], Any], live: bool, max_records: int | None
) -> None:
    """Their __hash__ and __eq__ may do whatever they like, in the middle of each of the tracker's own dicts."""

    def after(at: int) -> tuple[Any, Guest, int]:
        tracker = ExecutionTracker(max_records=max_records)
        questions, guest = Questions(), Guest(tracker, do)
        questions.at, questions.guest = at, guest
        if live:
            assert tracker.event_flow == []

        def asked(name: str) -> Asked:
            return Asked(name, questions)

        first = tracker.record_routine_start(asked("a"), {"name": "first"})
        tracker.record_event(asked("a"), "sent", asked("b"))
        second = tracker.record_routine_start(asked("b"), {"name": "second"}, parent_id=first)
        tracker.record_routine_end(asked("b"), asked("well"), {"name": "second"})
        third = tracker.record_routine_start(asked("b"), {"name": "third"})
        tracker.record_routine_end(asked("b"), asked("late"), execution_id=second)
        tracker.record_routine_end(asked("b"), asked("well"), execution_id=third)
        tracker.record_routine_end(asked("a"), asked("well"))
        tracker.record_routine_end(asked("unknown"))
        tracker.get_performance_metrics()
        count = questions.count
        questions.at = 0
        found = counted(tracker), told(tracker)["executions"]
        check_numbers(tracker)
        return found, guest, count

    expected, _, count = after(0)
    for at in range(1, count + 1):
        found, guest, _ = after(at)
        assert found == expected, at
        assert guest.came == 1
        if max_records is None:
            guest.check()


# --- forks ---


def fork_in_another_thread(tracker: ExecutionTracker, answers: list[Any]) -> None:
    """Have another thread fork right now, and keep what its child finds."""

    def find() -> Any:
        tracker.record_routine_start("come in")
        found = counted(tracker), told(tracker)
        check_numbers(tracker)
        held = tracker.routine_executions["come in"]
        tracker.record_routine_end("come in")
        assert [record["status"] for record in held] == ["completed"]
        return found

    def fork() -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                try:
                    answer = find()
                except BaseException as error:
                    answer = f"{type(error).__name__}: {error}"
                os.write(writing, json.dumps(answer).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            answers.append(json.loads(pipe.read()))
        os.waitpid(pid, 0)

    in_thread(fork)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("max_records", [None, 1])
@pytest.mark.parametrize("work", [numbers_of, records_of, other_events_in])
@pytest.mark.parametrize("before", BEFORE)
def test_a_child_has_everything_as_of_the_fork_at_whatever_point_another_thread_is(
    before: str, work: Callable[[Any], Any], max_records: int | None
) -> None:
    usual = made(before, max_records)
    expected = json.loads(json.dumps([counted(usual), told(usual)]))
    for at in some_points(partial(work, made(before, max_records)), finalizers=False):
        tracker = made(before, max_records)
        answers: list[Any] = []
        Points(at, partial(fork_in_another_thread, tracker, answers))(partial(work, tracker))
        assert answers == [expected], at
        assert [counted(tracker), told(tracker)] == expected


@needs_fork
@pytest.mark.parametrize("work", [numbers_of, records_of, other_events_in])
@pytest.mark.parametrize("before", BEFORE)
def test_a_child_that_goes_on_in_the_middle_has_everything_once(before: str, work: Callable[[Any], Any]) -> None:
    """A finalizer or a handler forks, and both go back to what they were doing."""
    usual = made(before)
    work(usual)
    expected = json.loads(json.dumps([counted(usual), told(usual)]))
    for at in some_points(partial(work, made(before)), finalizers=True):
        tracker = made(before)
        reading, writing = os.pipe()
        parent = os.getpid()

        try:
            Points(at, os.fork, finalizers=True)(partial(work, tracker))
            found: Any = [counted(tracker), told(tracker)]
            check_numbers(tracker)
        except BaseException as error:
            if os.getpid() == parent:
                raise
            found = f"{type(error).__name__}: {error}"
        if os.getpid() != parent:
            try:
                os.write(writing, json.dumps(found).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            assert json.loads(pipe.read()) == expected, at
        os.wait()
        assert found == expected, at

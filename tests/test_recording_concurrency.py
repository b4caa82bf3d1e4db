"""Threads, tasks, finalizers, signal handlers and forks that come in at any moment."""

from __future__ import annotations

import asyncio
import copy
import dis
import gc
import inspect
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from execution_tracker import ExecutionTracker, folding, recording

Record = dict[str, Any]

pytestmark = pytest.mark.usefixtures("many_switches")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")

LONG_S = 60  # for what comes at once unless it hangs

OPEN_KEYS = ["routine_id", "start_time", "params", "status"]
ENDED_KEYS = [*OPEN_KEYS, "end_time", "result", "execution_time"]


def in_threads(*works: Callable[[], Any]) -> None:
    """Run all at once, each in a thread, and raise what the first of them raised."""
    barrier = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            barrier.wait(LONG_S)
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[None]:
    """Do some work over and over in another thread, at least once; raise what it raised."""
    errors: list[BaseException] = []
    once, enough = threading.Event(), threading.Event()

    def run() -> None:
        try:
            while not (once.is_set() and enough.is_set()):
                work()
                once.set()
        except BaseException as error:
            errors.append(error)
            once.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
        assert once.wait(LONG_S)
    finally:
        enough.set()
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorders wait for each other however slow the machine is, so that each sees its own call at once."""
    monkeypatch.setattr(recording, "_PATIENCE_S", LONG_S)


@pytest.fixture(params=[False, True], ids=["unread", "live"])
def tracker(request: pytest.FixtureRequest) -> ExecutionTracker:
    """A tracker whose containers nobody holds, and one whose containers somebody holds."""
    tracker = ExecutionTracker()
    if request.param:
        assert tracker.routine_executions == {}
    return tracker


def all_records(tracker: ExecutionTracker) -> list[Record]:
    return [record for records in tracker.routine_executions.values() for record in records]


def assert_whole(records: list[Record]) -> None:
    """Each record is open or ended, nothing in between, and its result is what its start was given."""
    for record in records:
        if record["status"] == "running":
            assert list(record) == OPEN_KEYS
        else:
            assert list(record) == ENDED_KEYS
            assert record["result"] == record["params"]
            assert record["execution_time"] > 0


# --- commits ---


def commit_lines(lines: list[str], first: int) -> Iterator[int]:
    """Give the numbers of the lines that belong to a commit: those after the comment, down to where a block ends."""
    indent: str | None = None
    for number, line in enumerate(lines, start=first):
        if line.strip() == "# commit":
            indent = line[: line.index("#")]
        elif indent is not None:
            if re.match(indent + "[^ ]", line) and not re.match(" *(for|return)", line):
                yield number
            else:
                indent = None
            if line.strip() == "self._entry = None":
                indent = None


@pytest.mark.parametrize(("name", "least"), [("_fold_event", 2), ("_fold_start", 4), ("_fold_end", 10), ("_drop", 6)])
def test_a_commit_has_no_call_and_no_jump(name: str, least: int) -> None:
    method = getattr(folding.Fold, name)
    commit = set(commit_lines(*inspect.getsourcelines(method)))
    assert len(commit) >= least
    line_at = dict(dis.findlinestarts(method.__code__))
    number = 0
    for instruction in dis.get_instructions(method):
        number = line_at.get(instruction.offset) or number
        if number in commit:
            assert not re.search("CALL|JUMP|ITER|BUILD_SLICE", instruction.opname), (name, number, instruction)


# --- threads ---


def test_no_call_is_lost_doubled_or_paired_with_anothers_start_while_readers_read(tracker: ExecutionTracker) -> None:
    rounds = 150

    def engine(name: str) -> Callable[[], None]:
        def work() -> None:
            for number in range(rounds):
                outer, inner = [name, number, "outer"], [name, number, "inner"]
                tracker.record_routine_start("shared", outer)
                tracker.record_routine_start("shared", inner)
                tracker.record_event(name, number)
                tracker.record_routine_end("shared", result=inner)
                execution_id = tracker.record_routine_start(name, outer)
                tracker.record_routine_end("shared", result=outer)
                tracker.record_routine_end(name, result=outer, execution_id=execution_id)

        return work

    def read() -> None:
        run = json.loads(json.dumps(tracker.serialize(), allow_nan=False))
        for records in run["routine_executions"].values():
            assert_whole(records)
        metrics = tracker.get_performance_metrics()
        assert metrics["unmatched_ends"] == 0
        tracker.get_flow_performance()
        tracker.get_routine_performance("shared")

    names = [f"engine {number}" for number in range(8)]
    with meanwhile(read):
        in_threads(*map(engine, names))

    records = all_records(tracker)
    assert_whole(records)
    assert {record["status"] for record in records} == {"completed"}
    assert sorted(record["params"] for record in tracker.routine_executions["shared"]) == sorted(
        [name, number, which] for name in names for number in range(rounds) for which in ("outer", "inner")
    )
    for name in names:
        assert [record["params"][1] for record in tracker.routine_executions[name]] == list(range(rounds))
        events = [event["event_name"] for event in tracker.event_flow if event["source_routine_id"] == name]
        assert events == list(range(rounds))
    tracker._check()


@pytest.mark.usefixtures("patient")
def test_every_thread_sees_its_own_calls_at_once_in_containers_that_it_holds() -> None:
    tracker = ExecutionTracker()
    executions, events = tracker.routine_executions, tracker.event_flow

    def engine(name: str) -> Callable[[], None]:
        def work() -> None:
            for number in range(200):
                tracker.record_routine_start(name, {"number": number})
                assert len(executions[name]) == number + 1
                assert executions[name][-1]["status"] == "running"
                tracker.record_routine_end(name)
                assert executions[name][-1]["status"] == "completed"
                tracker.record_event(name, number)
                latest = next(event for event in reversed(events) if event["source_routine_id"] == name)
                assert latest["event_name"] == number

        return work

    with meanwhile(tracker.serialize):
        in_threads(*map(engine, "abcdef"))
    tracker._check()


@pytest.mark.usefixtures("patient")
def test_a_recorder_waits_for_the_fold_that_has_taken_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = ExecutionTracker()
    executions = tracker.routine_executions
    fold_now = tracker._fold_now
    appended = {"folder": threading.Event(), "recorder": threading.Event()}
    may_fold = {"folder": threading.Event(), "recorder": threading.Event()}
    folding, has_returned = threading.Event(), threading.Event()
    seen: list[bool] = []

    def stop_and_fold() -> None:
        name = threading.current_thread().name
        appended[name].set()
        assert may_fold[name].wait(LONG_S)
        fold_now()

    class Slow:
        def __hash__(self) -> int:
            folding.set()
            has_returned.wait(0.5)  # not for ever, since the recorder is to wait for this
            return 1

    def record() -> None:
        tracker.record_routine_start("a")
        seen.append("a" in executions)
        has_returned.set()

    monkeypatch.setattr(tracker, "_fold_now", stop_and_fold)
    folder = threading.Thread(target=tracker.record_event, args=(Slow(), "c"), name="folder")
    recorder = threading.Thread(target=record, name="recorder")
    folder.start()
    assert appended["folder"].wait(LONG_S)
    recorder.start()
    assert appended["recorder"].wait(LONG_S)
    may_fold["folder"].set()
    assert folding.wait(LONG_S)
    may_fold["recorder"].set()
    folder.join()
    recorder.join()
    assert seen == [True]


def test_whoever_takes_the_containers_while_others_record_misses_nothing() -> None:
    for _ in range(30):
        tracker = ExecutionTracker()
        held: list[list[Record]] = []

        def engine(tracker: ExecutionTracker = tracker) -> None:
            for number in range(30):
                tracker.record_event("a", number)

        def reader(tracker: ExecutionTracker = tracker, held: list[list[Record]] = held) -> None:
            held.append(tracker.event_flow)

        in_threads(engine, engine, reader)
        assert len(held[0]) == 60  # without another look at the tracker


def test_an_execution_id_ends_its_execution_in_whatever_order_and_thread(tracker: ExecutionTracker) -> None:
    started = [(tracker.record_routine_start("a", {"number": number}), {"number": number}) for number in range(1000)]
    random.Random(0).shuffle(started)

    def engine(share: list[tuple[int, Record]]) -> Callable[[], None]:
        def work() -> None:
            for execution_id, params in share:
                tracker.record_routine_end("a", result=params, execution_id=execution_id)

        return work

    with meanwhile(tracker.get_performance_metrics):
        in_threads(*[engine(started[number::5]) for number in range(5)])
    records = tracker.routine_executions["a"]
    assert len(records) == 1000
    assert {record["status"] for record in records} == {"completed"}
    assert_whole(records)
    tracker._check()


def test_copies_made_while_others_record_are_whole(tracker: ExecutionTracker) -> None:
    ways = [lambda: pickle.loads(pickle.dumps(tracker)), lambda: copy.copy(tracker), lambda: copy.deepcopy(tracker)]

    def engine() -> None:
        for number in range(200):
            params = {"number": number}
            tracker.record_routine_start("a", params)
            tracker.record_event("a", number)
            tracker.record_routine_end("a", result=params)

    def read() -> None:
        for way in ways:
            twin = way()
            assert_whole(all_records(twin))
            names = [event["event_name"] for event in twin.event_flow]
            assert names == list(range(len(names)))
            executions = len(all_records(twin))
            assert len(names) <= executions <= len(names) + 1
            twin.record_routine_start("twin")
            twin.record_routine_end("a", "ended in the twin")
            twin._check()

    with meanwhile(read):
        in_threads(engine)
    assert [record["status"] for record in tracker.routine_executions["a"]] == ["completed"] * 200
    assert "twin" not in tracker.routine_executions
    tracker._check()


# --- tasks ---


def test_five_hundred_tasks_of_one_routine_each_end_their_own_execution(tracker: ExecutionTracker) -> None:
    async def task(number: int, may_end: asyncio.Event) -> None:
        params = {"number": number}
        tracker.record_routine_start("a", params)
        await may_end.wait()
        tracker.record_routine_end("a", result=params)

    async def run() -> None:
        may_end = [asyncio.Event() for _ in range(500)]
        tasks = [asyncio.create_task(task(number, event)) for number, event in enumerate(may_end)]
        await asyncio.sleep(0)
        random.Random(0).shuffle(may_end)
        for event in may_end:
            event.set()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    records = tracker.routine_executions["a"]
    assert [record["params"]["number"] for record in records] == list(range(500))
    assert {record["status"] for record in records} == {"completed"}
    assert_whole(records)
    tracker._check()


# --- finalizers ---


@pytest.fixture
def eager_collector() -> Iterator[None]:
    """The garbage collector comes in as often as it can."""
    usual = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*usual)


@pytest.mark.usefixtures("eager_collector")
def test_finalizers_that_record_and_read_in_the_middle_of_a_fold_lose_nothing(tracker: ExecutionTracker) -> None:
    finalized: list[int] = []
    look: list[Callable[[], Any]] = [
        tracker.get_performance_metrics,
        tracker.serialize,
        lambda: tracker.routine_executions,
    ]

    def come_in(*_: object) -> None:
        number = len(finalized)
        finalized.append(number)
        tracker.record_routine_start(f"finalizer {number}", {"number": number})
        tracker.record_event("finalizer", number)
        tracker.record_routine_end(f"finalizer {number}", result={"number": number})
        look[number % 3]()

    class Finalized:
        def __init__(self, in_cycle: bool) -> None:
            self.cycle = self if in_cycle else None

        def __del__(self) -> None:
            come_in()

    class Watched:
        def __init__(self) -> None:
            self.cycle = self

    watches = []
    for number in range(100):
        tracker.record_routine_start("a", {"number": number})
        tracker.record_routine_end("unknown", result=Finalized(in_cycle=number % 2 == 0))  # dropped in the fold
        Finalized(in_cycle=True)
        watched = Watched()
        watches.append(weakref.ref(watched, come_in))
        tracker.record_event("a", number)
        tracker.record_routine_end("a", result={"number": number})
        if number % 10 == 0:
            tracker.get_flow_performance()
    del watched
    gc.collect()
    tracker.get_flow_performance()
    gc.collect()

    records = all_records(tracker)
    assert len(finalized) == 300
    assert [record["params"]["number"] for record in tracker.routine_executions["a"]] == list(range(100))
    events = [event["event_name"] for event in tracker.event_flow if event["source_routine_id"] == "a"]
    assert events == list(range(100))
    events = [event["event_name"] for event in tracker.event_flow if event["source_routine_id"] == "finalizer"]
    assert sorted(events) == list(range(300))  # one came in the middle of another
    assert len(records) == 400
    assert {record["status"] for record in records} == {"completed"}
    assert_whole(records)
    assert tracker.get_performance_metrics()["unmatched_ends"] == 100
    tracker._check()


def test_readers_find_room_for_finalizers_that_record_new_routines() -> None:
    tracker = ExecutionTracker()
    for number in range(2000):  # enough that copying them wakes the collector
        tracker.record_routine_start(f"routine {number}")
    assert len(tracker.routine_executions) == 2000
    finalized: list[int] = []

    class Finalized:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            finalized.append(1)
            tracker.record_routine_start(f"finalizer {len(finalized)}")

    for read in [tracker.get_flow_performance, tracker.serialize, lambda: copy.copy(tracker)] * 5:
        Finalized()
        read()
    gc.collect()
    assert len(tracker.routine_executions) == 2000 + 15


@contextmanager
def hanging_in_a_fold(tracker: ExecutionTracker, wait: Callable[[], Any]) -> Iterator[None]:
    """Have another thread hang in the middle of a fold, where it asks an id for its hash."""
    inside = threading.Event()

    class Hanging:
        def __hash__(self) -> int:
            inside.set()
            wait()
            return 1

    assert tracker.event_flow == []
    thread = threading.Thread(target=tracker.record_event, args=(Hanging(), "hangs"))
    thread.start()
    assert inside.wait(LONG_S)
    yield
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_a_recorder_does_not_wait_for_a_fold_that_hangs() -> None:
    tracker = ExecutionTracker()
    may_go_on = threading.Event()
    with hanging_in_a_fold(tracker, lambda: may_go_on.wait(LONG_S)):
        recorder = threading.Thread(target=lambda: [tracker.record_event("a", number) for number in range(3)])
        recorder.start()
        recorder.join(LONG_S / 2)
        assert not recorder.is_alive()
        may_go_on.set()
    assert [event["event_name"] for event in tracker.event_flow] == ["hangs", 0, 1, 2]
    tracker._check()


def test_a_fold_that_waits_for_a_lock_of_a_recorder_gets_it() -> None:
    tracker = ExecutionTracker()
    lock = threading.Lock()

    def take_lock() -> None:
        assert lock.acquire(timeout=LONG_S)
        lock.release()

    lock.acquire()
    with hanging_in_a_fold(tracker, take_lock):
        tracker.record_event("a", "recorded")
        lock.release()
    assert [event["event_name"] for event in tracker.event_flow] == ["hangs", "recorded"]


def test_what_a_recorder_left_to_a_slow_reader_is_in_the_containers_when_that_has_done() -> None:
    tracker = ExecutionTracker()
    events = tracker.event_flow

    class Slow(dict[str, Any]):
        """A record that takes long to take over, with a recorder that comes in meanwhile."""

        def __contains__(self, key: object) -> bool:
            recorder = threading.Thread(target=tracker.record_event, args=("a", "meanwhile"))
            recorder.start()
            recorder.join()
            return super().__contains__(key)

    tracker.routine_executions = {"a": [Slow()]}
    assert [event["event_name"] for event in events] == ["meanwhile"]


# --- signal handlers ---


class Interrupted(BaseException):
    """What a signal handler raises, like KeyboardInterrupt."""


@contextmanager
def timer(handler: Callable[[], Any]) -> Iterator[Callable[[float], None]]:
    """Give a function that has the handler come in so many seconds from now, or somewhat later."""
    usual = signal.signal(signal.SIGALRM, lambda *_: handler())
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(0.01)  # for a signal that is on its way
        signal.signal(signal.SIGALRM, usual)


@needs_timer
def test_a_signal_handler_that_records_and_reads_in_the_middle_of_a_fold_loses_nothing(
    tracker: ExecutionTracker,
) -> None:
    handled: list[int] = []
    enough: list[bool] = []
    delays = random.Random(0)

    def come_in() -> None:
        if len(handled) < 400 and not enough:
            number = len(handled)
            handled.append(number)
            tracker.record_routine_start("handler", {"number": number})
            tracker.record_event("handler", number)
            tracker.record_routine_end("handler", result={"number": number})
            if number % 20 == 0:
                tracker.get_flow_performance()
            if number > 200:
                assert tracker.event_flow is not None
            set_timer(delays.uniform(1e-6, 2e-4))

    with timer(come_in) as set_timer:
        set_timer(1e-5)
        number = 0
        while len(handled) < 400 and number < 200_000:
            tracker.record_routine_start("a", {"number": number})
            tracker.record_event("a", number)
            tracker.record_routine_end("a", result={"number": number})
            number += 1
            if number % 50 == 0:
                tracker.get_flow_performance()
                set_timer(1e-5)  # again, as CPython 3.11 overlooks a signal now and then on a busy machine
        enough.append(True)

    numbers = {
        source: (
            [record["params"]["number"] for record in tracker.routine_executions[source]],
            [event["event_name"] for event in tracker.event_flow if event["source_routine_id"] == source],
        )
        for source in ("a", "handler")
    }
    assert numbers["a"] == ([*range(number)], [*range(number)])
    assert [*map(sorted, numbers["handler"])] == [sorted(handled)] * 2  # it may come in upon itself
    records = all_records(tracker)
    assert {record["status"] for record in records} == {"completed"}
    assert_whole(records)
    tracker._check()


@contextmanager
def interruptions(interruption: type[BaseException], longest_s: float) -> Iterator[Callable[[Callable[[], Any]], bool]]:
    """Give a function that does some work while a signal handler raises, and tells whether the work was done before.

    The garbage collector is kept away, since others' callbacks in it would swallow what a handler raises.
    """
    delays = random.Random(0)
    due: list[bool] = []

    def come_in() -> None:
        if due:
            due.clear()
            raise interruption

    gc.disable()
    try:
        with timer(come_in) as set_timer:

            def is_done(work: Callable[[], Any]) -> bool:
                try:
                    due.append(True)
                    set_timer(delays.uniform(1e-6, longest_s))
                    work()
                    due.clear()
                except interruption:
                    return False
                return True

            yield is_done
    finally:
        gc.enable()


def interrupted_runs(routine_id: Any, interruption: type[BaseException]) -> Iterator[tuple[ExecutionTracker, int]]:
    """Read some hundred runs, interrupted at random, and give them with the number of their rounds."""
    with interruptions(interruption, longest_s=2e-4) as is_done:
        for _ in range(250):
            tracker = ExecutionTracker()
            for number in range(40):
                outer, inner = {"number": number}, {"inside": number}
                tracker.record_routine_start(routine_id, outer)
                tracker.record_event(routine_id, number)
                tracker.record_routine_start(routine_id, inner)
                tracker.record_routine_end(routine_id, result=inner)
                tracker.record_routine_end(routine_id, result=outer)
                if number % 10 == 0:
                    tracker.record_routine_end("unknown")
            for _ in range(30):
                if is_done(tracker.get_flow_performance):
                    break
            yield tracker, 40


@needs_timer
@pytest.mark.parametrize(("routine_id", "interruption"), [("a", Interrupted), ("a", TimeoutError), (5, TimeoutError)])
def test_an_exception_out_of_a_signal_handler_costs_no_entry_and_doubles_none(
    routine_id: Any, interruption: type[BaseException]
) -> None:
    for tracker, count in interrupted_runs(routine_id, interruption):
        records = tracker.routine_executions[routine_id]
        expected = [params for number in range(count) for params in ({"number": number}, {"inside": number})]
        assert [record["params"] for record in records] == expected
        assert [event["event_name"] for event in tracker.event_flow] == list(range(count))
        assert {record["status"] for record in records} == {"completed"}
        assert_whole(records)
        assert tracker.get_performance_metrics()["unmatched_ends"] == 4
        tracker._check()


@needs_timer
def test_an_exception_out_of_a_signal_handler_changes_no_time(far_from_greenwich: Callable[[], list[str]]) -> None:
    for tracker, _ in interrupted_runs("a", Interrupted):
        read = set(far_from_greenwich())
        starts = [record["start_time"] for record in tracker.routine_executions["a"]]
        timestamps = [event["timestamp"] for event in tracker.event_flow]
        assert read.issuperset(starts)
        assert read.issuperset(timestamps)
        assert len({*starts, *timestamps}) == len(starts) + len(timestamps)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Have a clock that shows a new second, and mostly a new quarter of an hour, whenever somebody looks.

    The fixture gives the texts of what it has shown, in a zone of which UTC is clearly told apart.
    """
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    readings: list[int] = []

    def time_ns() -> int:
        readings.append(1_768_478_400 * 10**9 + len(readings) % 3000 * 700_000_001_000)
        return readings[-1]

    def shown() -> list[str]:
        return [
            datetime.fromtimestamp(reading // 10**9).strftime("%Y-%m-%dT%H:%M:%S.") + f"{reading % 10**9 // 1000:06}"
            for reading in readings[-300:]
        ]

    monkeypatch.setattr(recording, "time_ns", time_ns)
    yield shown
    monkeypatch.undo()
    time.tzset()


@needs_timer
def test_an_exception_out_of_a_signal_handler_leaves_no_lock_behind() -> None:
    tracker = ExecutionTracker()
    assert tracker.event_flow == []

    def record() -> None:
        for _ in range(10_000):
            tracker.record_event("a", "b")

    with interruptions(Interrupted, longest_s=5e-5) as is_done:
        for _ in range(1500):
            is_done(record)
            tracker.event_flow = []
    reader = threading.Thread(target=tracker.get_flow_performance, daemon=True)
    reader.start()
    reader.join(10)
    assert not reader.is_alive()


# --- forks ---


def in_child(work: Callable[[], Any]) -> Any:
    """Fork, and return what the work gives in the child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LONG_S)
            try:
                answer = work()
            except BaseException as error:
                answer = f"{type(error).__name__}: {error}"
            os.write(writing, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    assert answer, "the child hangs"
    return json.loads(answer)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_has_everything_as_of_the_fork_though_another_thread_was_folding(tracker: ExecutionTracker) -> None:
    class Dropped:
        def __del__(self) -> None:
            for _ in range(20):  # other threads come in here
                pass

    def work() -> None:
        tracker.record_routine_start("other")
        tracker.record_routine_end("unknown", result=Dropped())
        tracker.record_routine_end("other")

    def child() -> list[Any]:
        tracker.record_event("a", "child")
        ended = [record["status"] for record in tracker.routine_executions.get("a", [])]
        other = [record["status"] for record in tracker.routine_executions.get("other", [])]
        tracker._check()
        return [[event["event_name"] for event in tracker.event_flow], ended, other[:-1]]

    def read() -> None:
        work()
        tracker.get_flow_performance()

    with meanwhile(read):
        for number in range(60):
            tracker.record_event("a", number)
            tracker.record_routine_start("a")
            tracker.record_routine_end("a")
            events, ended, other = in_child(child)
            assert events == [*range(number + 1), "child"]
            assert ended == ["completed"] * (number + 1)
            assert set(other) <= {"completed"}
    tracker._check()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("dropped_by", ["an unmatched end", "a late end"])
@pytest.mark.parametrize("read_before", [False, True])
def test_a_fork_while_a_finalizer_of_the_fold_runs_doubles_nothing(dropped_by: str, read_before: bool) -> None:
    tracker = ExecutionTracker()
    inside, may_go_on = threading.Event(), threading.Event()

    class Dropped:
        def __del__(self) -> None:
            if threading.current_thread() is folder:
                inside.set()
                may_go_on.wait(LONG_S)

    def seen() -> list[Any]:
        run = tracker.get_performance_metrics()
        names = [event["event_name"] for event in tracker.event_flow]
        return [run["status_counts"], run["unmatched_ends"], names]

    folder = threading.Thread(target=tracker.get_flow_performance)
    tracker.record_event("a", 0)
    tracker.record_routine_start("a")
    tracker.record_routine_end("unknown" if dropped_by == "an unmatched end" else "a", result=Dropped())
    if read_before:
        tracker.get_flow_performance()
    tracker.record_routine_end("a", "ended", result="another")
    for number in range(1, 5):
        tracker.record_event("a", number)
    folder.start()
    while folder.is_alive() and not inside.wait(0.01):  # until it hangs in the finalizer, or had nothing to drop
        pass
    of_child = in_child(seen)
    may_go_on.set()
    folder.join()
    assert seen() == [{"ended": 1}, int(dropped_by == "an unmatched end"), [0, 1, 2, 3, 4]]
    assert of_child == seen()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_threads_that_a_child_starts_agree_on_its_lock() -> None:
    def child() -> list[int]:
        def work() -> None:
            for number in range(30):
                tracker.record_event("a", number)

        in_threads(work, work, work, work)
        return [event["event_name"] for event in tracker.event_flow]

    for _ in range(100):
        tracker = ExecutionTracker()
        assert tracker.event_flow == []
        assert sorted(in_child(child)) == sorted([*range(30)] * 4)


# --- the end of a tracker ---


def test_a_tracker_is_freed_with_its_last_reference() -> None:
    tracker = ExecutionTracker()

    def engine(tracker: ExecutionTracker) -> None:
        for number in range(10):
            tracker.record_routine_start("a", {"number": number})
            tracker.record_event("a", number)
        tracker.record_routine_end("a")

    async def task(tracker: ExecutionTracker) -> None:
        engine(tracker)

    in_threads(partial(engine, tracker), partial(engine, tracker))
    tracker.get_performance_metrics()
    asyncio.run(task(tracker))
    tracker.serialize()
    assert len(tracker.event_flow) == 30
    engine(tracker)
    pickle.dumps(tracker)
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(tracker)
        del tracker
        assert gone() is None
    finally:
        gc.enable()


RECORD = """
import atexit, os, sys, threading
from execution_tracker import ExecutionTracker

def record(tracker, say=os.write):
    execution_id = tracker.record_routine_start("a", {"number": 1})
    tracker.record_event("a", "b")
    tracker.record_routine_end("a", execution_id=execution_id)
    tracker.get_performance_metrics()
    assert tracker.routine_executions["a"][-1]["status"] == "completed"
    tracker.record_routine_start("a")
    tracker.serialize()
    say(1, b"recorded")
"""

WITH_A_FINALIZER = """
class Finalized:
    def __init__(self):
        self.tracker = ExecutionTracker()

    def __del__(self, record=record):
        record(self.tracker)

one = Finalized()
"""

WITH_A_FINALIZER_IN_A_CYCLE = """
one.cycle = one
"""

# By then modules have lost their names. All that can be asked is silence.
WITH_A_FINALIZER_AFTER_EVERYTHING_ELSE = """
sys.one = one
"""

WITH_AN_EXIT_FUNCTION = """
atexit.register(record, ExecutionTracker())
"""

WITH_THREADS_THAT_RECORD_ON = """
tracker = ExecutionTracker()
record(tracker)

def work():
    while True:
        tracker.record_event("a", "b")

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
"""


@pytest.mark.parametrize(
    ("end", "output"),
    [
        pytest.param(WITH_A_FINALIZER, "recorded", id="finalizer"),
        pytest.param(WITH_A_FINALIZER + WITH_A_FINALIZER_IN_A_CYCLE, "recorded", id="cycle"),
        pytest.param(WITH_A_FINALIZER + WITH_A_FINALIZER_AFTER_EVERYTHING_ELSE, "", id="after everything else"),
        pytest.param(WITH_AN_EXIT_FUNCTION, "recorded", id="exit function"),
        pytest.param(WITH_THREADS_THAT_RECORD_ON, "recorded", id="threads"),
    ],
)
def test_a_tracker_works_while_the_interpreter_shuts_down(end: str, output: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", RECORD + end]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONG_S)
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout in (output, "recorded")

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
from itertools import pairwise
from typing import Any

import pytest

from execution_tracker import ExecutionTracker, _recording, _storage
from execution_tracker._folding import Fold
from execution_tracker._live_folding import LiveFold
from execution_tracker._metrics import metrics_of
from execution_tracker._reading import Ids
from execution_tracker._row_folding import RowFold

Record = dict[str, Any]

pytestmark = pytest.mark.usefixtures("many_switches")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")

LONG_S = 60  # for what comes at once unless it hangs

OPEN_KEYS = ["routine_id", "start_time", "params", "status"]
ENDED_KEYS = [*OPEN_KEYS, "end_time", "result", "execution_time"]
FACTS = ["execution_id", "parent_id", "caused_by", "worker"]


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
    monkeypatch.setattr(_storage, "_PATIENCE_S", LONG_S)


@pytest.fixture(params=[False, True], ids=["unread", "live"])
def tracker(request: pytest.FixtureRequest) -> ExecutionTracker:
    """A tracker whose containers nobody holds, and one whose containers somebody holds."""
    tracker = ExecutionTracker()
    if request.param:
        assert tracker.routine_executions == {}
    return tracker


@contextmanager
def left_to_readers(tracker: ExecutionTracker) -> Iterator[None]:
    """Have recorders leave all in the log, as if each had lost its patience with another one."""
    vars(tracker)["_fold_now"] = lambda: None
    yield
    del vars(tracker)["_fold_now"]


def all_records(tracker: ExecutionTracker) -> list[Record]:
    return [record for records in tracker.routine_executions.values() for record in records]


def assert_whole(records: list[Record]) -> None:
    """Each record is open or ended, nothing in between, and its result is what its start was given."""
    for record in records:
        facts = [key for key in FACTS if key in record]
        assert {"execution_id", "worker"} <= {*facts}
        if record["status"] == "running":
            assert list(record) == [*OPEN_KEYS, *facts]
        else:
            assert list(record) == [*ENDED_KEYS, *facts]
            assert record["result"] == record["params"]
            assert record["execution_time"] > 0
    ids = [record["execution_id"] for record in records]
    assert len({*ids}) == len(ids)


# --- commits ---


CHANGES = "STORE_(ATTR|SUBSCR)|DELETE_SUBSCR|INPLACE|BINARY_OP"  # of what others can see

COMMITS = {
    (Fold, "_take"): 1,
    (RowFold, "_fold_each"): 3,
    (RowFold, "_close"): 1,
    (RowFold, "_close_with_care"): 1,
    (RowFold, "_update"): 1,
    (RowFold, "_drop"): 1,
    (RowFold, "_drop_of"): 1,
    (LiveFold, "_fold_event"): 1,
    (LiveFold, "_fold_start"): 1,
    (LiveFold, "_fold_end"): 2,
    (LiveFold, "_drop"): 1,
    (LiveFold, "_drop_record"): 1,
}


def commits(method: Callable[..., Any]) -> Iterator[list[int]]:
    """Give the numbers of the lines of each commit: those after the comment, down to where nothing is left to do."""
    lines, first = inspect.getsourcelines(method)
    commit: list[int] | None = None
    indent = ""
    for number, line in enumerate(lines, start=first):
        text = line.strip()
        if text == "# commit":
            commit, indent = [], line[: line.index("#")]
        elif commit is not None:
            if re.match(indent + "[^ #]", line) and not re.match("return|if by_owner", text):
                commit.append(number)
            else:
                yield commit
                commit = None
            if commit and text == "self.entry = None":
                yield commit
                commit = None
    if commit:
        yield commit


def instructions(method: Callable[..., Any], lines: list[int]) -> list[dis.Instruction]:
    """Give what is executed on these lines, up to the last thing that is stored or deleted."""
    line_at = dict(dis.findlinestarts(method.__code__))
    found: list[dis.Instruction] = []
    number = 0
    for instruction in dis.get_instructions(method):
        number = line_at.get(instruction.offset) or number
        if number in lines:
            found.append(instruction)
    while found and not re.match("STORE|DELETE", found[-1].opname):
        found.pop()
    return found


@pytest.mark.parametrize(("cls", "name"), COMMITS)
def test_a_commit_has_no_call_and_no_jump(cls: Any, name: str) -> None:
    """Nothing comes in between the first and the last thing that a commit changes."""
    method = getattr(cls, name)
    found = list(commits(method))
    assert len(found) == COMMITS[cls, name]
    for lines in found:
        straight = instructions(method, lines)
        changes = [i for i, each in enumerate(straight) if re.match(CHANGES, each.opname)]
        assert len(changes) >= 2
        for instruction in straight:
            assert not re.search("CALL|JUMP|ITER|YIELD|WITH", instruction.opname), (name, instruction)
        # Up to Python 3.11 garbage may be collected, and finalizers run, where a container is made.
        for instruction in straight[changes[0] :]:
            assert not re.search("BUILD|LIST|MAP|SET_|SLICE", instruction.opname), (name, instruction)


def test_every_commit_is_looked_at() -> None:
    """No other method of a fold claims to have one."""
    for cls in (Fold, RowFold, LiveFold):
        for name, method in vars(cls).items():
            if inspect.isfunction(method) and "# commit" in inspect.getsource(method):
                assert (cls, name) in COMMITS


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


def test_no_id_is_given_twice_while_another_run_is_taken_over() -> None:
    """Ids of the run that comes in are not those of calls that others make meanwhile."""
    other = ExecutionTracker()
    for number in range(1000):
        other.record_routine_start("old", {"number": number})
        other.record_event("old", number)
    data = other.serialize()
    for _ in range(5):
        tracker = ExecutionTracker()

        def record(tracker: ExecutionTracker = tracker) -> None:
            for number in range(10):
                params = {"number": number}
                execution_id = tracker.record_routine_start("new", params)
                tracker.record_event("new", number, execution_id=execution_id)
                tracker.record_routine_end("new", result=params, execution_id=execution_id)
            time.sleep(0.0001)  # leaves time to the other

        with meanwhile(record):
            tracker.deserialize(data)
        ids = [record["execution_id"] for record in all_records(tracker)]
        event_ids = [event["event_id"] for event in tracker.event_flow]
        assert len({*ids}) == len(ids)
        assert len({*event_ids}) == len(event_ids)
        assert {record["status"] for record in tracker.routine_executions["old"]} == {"running"}
        for record_ in tracker.routine_executions.get("new", []):
            assert record_.get("result", record_["params"]) == record_["params"]


@pytest.mark.parametrize("ask", [lambda ids: ids.reserve(2), lambda ids: ids.skip(3)])
def test_ids_that_others_are_given_in_between_are_not_given_again(ask: Callable[[Ids], Any]) -> None:
    class Raced(Ids):
        """Others are given ids as soon as it was looked how many there were."""

        @property
        def issued(self) -> int:
            issued = super().issued
            while others and self.give() < others[-1]:
                pass
            others.clear()
            return issued

    ids, others = Raced(), [5]
    ask(ids)
    assert not others
    assert ids.give() > 5


@pytest.mark.parametrize("at", ["while it is built", "before what is left was folded"])
def test_records_are_held_of_a_run_that_is_loaded_meanwhile(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ExecutionTracker("loaded")
    loaded.record_routine_start("of the file")
    data = loaded.serialize()
    tracker = ExecutionTracker("nightly")
    tracker.record_routine_start("a")

    def build(before: Fold, live: Any = _storage._live) -> Fold:
        if at == "while it is built":
            if not isinstance(before, LiveFold) and before.tables.keys() == {"a"}:
                tracker.deserialize(data)  # as a signal handler may
        else:
            monkeypatch.undo()
            fold_log = tracker._fold_log

            def come_in() -> None:
                del tracker._fold_log
                tracker.deserialize(data)
                fold_log()

            tracker._fold_log = come_in
        return live(before)

    monkeypatch.setattr(_storage, "_live", build)
    executions = tracker.routine_executions
    assert [*executions] == ["of the file"]
    executions["of the file"].clear()
    assert tracker.routine_executions == {"of the file": []}


def test_ids_are_given_once_though_others_are_skipped_and_kept_meanwhile() -> None:
    for _ in range(20):
        ids = Ids()
        given: list[list[int]] = [[] for _ in range(3)]

        def give(numbers: list[int], ids: Ids = ids) -> None:
            numbers.extend(ids.give() for _ in range(2000))

        def skip(ids: Ids = ids) -> None:
            for number in range(100):
                ids.skip(ids.issued + number % 3)

        kept: list[int] = []

        def keep(ids: Ids = ids, kept: list[int] = kept) -> None:
            for _ in range(100):
                base = ids.reserve(2)
                kept.extend([base + 1, base + 2])

        in_threads(*[partial(give, numbers) for numbers in given], skip, keep)
        numbers = [number for each in (*given, kept) for number in each]
        assert len({*numbers}) == len(numbers)


def test_a_thread_that_records_before_it_has_a_name_gets_it(tracker: ExecutionTracker) -> None:
    """The collector may come in while a thread starts, and a finalizer record before threading knows of the thread."""

    class Early(threading.Thread):
        def _set_ident(self) -> None:  # the first thing that it calls
            tracker.record_routine_start("early")
            super()._set_ident()  # type: ignore[misc]

        def run(self) -> None:
            tracker.record_routine_start("a")
            tracker.record_event("early", "sent")

    for number in range(3):
        thread = Early(name=f"engine {number}")
        thread.start()
        thread.join()
    assert [record["worker"] for record in tracker.routine_executions["a"]] == ["engine 0", "engine 1", "engine 2"]
    assert [event["execution_id"] for event in tracker.event_flow] == [1, 3, 5]  # it is still the same thread


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


# --- facts ---


class Expected:
    """What engines know of their calls: by the ids that they got, the facts that the records must tell."""

    def __init__(self, tracker: ExecutionTracker) -> None:
        self.tracker = tracker
        self.emitters: dict[int, int | None] = {}
        self.executions: dict[int, tuple[int | None, list[int] | None, str, Any]] = {}

    def emit(self, source: str, emitter: int | None, given: int | None = None) -> int:
        event_id = self.tracker.record_event(source, "sent", "shared", execution_id=given)
        self.emitters[event_id] = emitter
        return event_id

    def started(self, execution_id: int, parent: int | None, payload: Any, causes: list[int] | None = None) -> int:
        self.executions[execution_id] = parent, causes, threading.current_thread().name, payload
        return execution_id

    def start(self, payload: Any, parent: int | None, routine_id: str = "shared", **facts: Any) -> int:
        causes = facts.get("caused_by")
        execution_id = self.tracker.record_routine_start(routine_id, payload, **facts)
        return self.started(execution_id, parent, payload, [causes] if type(causes) is int else causes)

    def end(self, payload: Any, routine_id: str = "shared", **by_id: int) -> None:
        self.tracker.record_routine_end(routine_id, result=payload, **by_id)

    def steps(self, who: str, parent: int | None = None) -> Iterator[None]:
        """Record the calls of one engine inside of an execution; others may come in at each yield."""
        outer, inner, tracked, child = ([who, which] for which in ("outer", "inner", "tracked", "child"))
        first = self.start(outer, parent)
        yield
        sent = self.emit("shared", first)
        second = self.start(inner, parent, caused_by=sent)
        yield
        self.emit("shared", second)
        self.emit("shared", first, given=first)
        yield
        self.end(inner)
        yield
        again = self.emit("shared", first)
        self.emit("never started", None)
        with self.tracker.track("shared", tracked, caused_by=[sent, again]) as execution:
            block = self.started(execution.execution_id or 0, parent, tracked, [sent, again])
            execution.result = tracked
            yield
            self.emit("shared", block)
            self.emit("shared", first, given=first)
            third = self.start(child, block, "child")
            yield
            self.emit("child", third)
            self.emit("shared", block)  # though the routine's latest one is another
            fourth = self.start(inner, first, parent_id=first)
            yield
            self.emit("shared", block)
            self.emit("shared", fourth, given=fourth)
            with self.tracker.track("child", tracked) as nested:
                within = self.started(nested.execution_id or 0, block, tracked)
                nested.result = tracked
                yield
                self.emit("child", within)
                self.emit(
                    "shared", fourth
                )  # the block is of another routine, so it is the latest of the thread or task
            yield
            self.end(inner, execution_id=fourth)
            self.end(child, "child", execution_id=third)
        self.emit("shared", first)
        yield
        self.end(outer)

    def check(self, records: dict[Any, list[Record]], events: list[Record]) -> None:
        assert {event["event_id"]: event.get("execution_id") for event in events} == self.emitters
        found = {
            record["execution_id"]: (
                record.get("parent_id"),
                record.get("caused_by"),
                record["worker"],
                record["params"],
            )
            for of_routine in records.values()
            for record in of_routine
            if record["routine_id"] != "outside"
        }
        assert found == self.executions
        for of_routine in records.values():
            assert {record["status"] for record in of_routine} == {"completed"}
            assert_whole([record for record in of_routine if record["routine_id"] != "outside"])


def record_everywhere(expected: Expected, rounds: int) -> None:
    """Have eight threads, a hundred tasks, and threads that tasks wait for record in one routine at once."""

    def engine(who: str) -> Callable[[], None]:
        def work() -> None:
            for number in range(rounds):
                for _ in expected.steps(f"{who}, {number}"):
                    pass

        return work

    async def task(who: str, parent: int | None) -> None:
        for _ in expected.steps(who, parent):
            await asyncio.sleep(0)

    def in_thread(who: str, parent: int | None) -> None:
        for _ in expected.steps(who, parent):
            pass

    async def tasks() -> None:
        made = [asyncio.create_task(task(f"task {number}", None)) for number in range(50)]
        with expected.tracker.track("outside") as outside:
            parent = outside.execution_id
            made += [asyncio.create_task(task(f"inside {number}", parent)) for number in range(50)]
            made += [
                asyncio.create_task(asyncio.to_thread(in_thread, f"to thread {number}", parent)) for number in range(4)
            ]
            await made[-1]
        await asyncio.gather(*made)

    in_threads(*[engine(f"engine {number}") for number in range(8)], lambda: asyncio.run(tasks()))


@pytest.mark.parametrize("read", [False, True], ids=["left alone", "read"])
def test_each_fact_is_the_right_one_whoever_records_at_once(tracker: ExecutionTracker, read: bool) -> None:
    """Emitters, causes, parents and workers of threads and tasks that record in one routine, in and out of blocks."""
    expected = Expected(tracker)

    def reader() -> None:
        tracker.get_performance_metrics()
        tracker.serialize()

    if read:
        with meanwhile(reader):
            record_everywhere(expected, rounds=3)
    else:
        record_everywhere(expected, rounds=3)
    run = json.loads(json.dumps(tracker.serialize(), allow_nan=False))
    expected.check(run["routine_executions"], run["event_flow"])
    expected.check(tracker.routine_executions, tracker.event_flow)
    tracker._check()


def test_whoever_takes_the_containers_while_all_record_finds_each_fact_in_them() -> None:
    for _ in range(5):
        tracker = ExecutionTracker()
        expected = Expected(tracker)
        held: list[Any] = []

        def hold(tracker: ExecutionTracker = tracker, held: list[Any] = held) -> None:
            time.sleep(0.02)
            held.extend([tracker.routine_executions, tracker.event_flow])

        in_threads(partial(record_everywhere, expected, rounds=1), hold)
        expected.check(held[0], held[1])
        assert held[0] is tracker.routine_executions
        tracker._check()


def test_the_only_open_execution_emits_whoever_sends(tracker: ExecutionTracker) -> None:
    """An event is that of an execution of another thread if no other is open, and of nobody if there are several."""
    expected = Expected(tracker)
    first = expected.start(["first"], None)
    in_threads(*[lambda: [expected.emit("shared", first) for _ in range(50)]] * 4)
    second = expected.start(["second"], None)
    in_threads(*[lambda: [expected.emit("shared", None) for _ in range(50)]] * 4)
    expected.emit("shared", second)
    expected.end(["first"], execution_id=first)
    in_threads(*[lambda: [expected.emit("shared", second) for _ in range(50)]] * 4)
    expected.end(["second"])
    expected.check(tracker.routine_executions, tracker.event_flow)


# --- numbers ---


def assert_one_moment(numbers: dict[str, Any], threads: int) -> None:
    """Numbers of a run of engines that each start, emit, start inside, and end, go together."""
    routines = numbers["routines"].values()
    for each in (numbers, *routines):
        ended = each["total_executions"] - each["running"]
        assert each["completed"] + each["failed"] == ended >= 0
        assert sum(each["status_counts"].values()) == each["total_executions"]
        assert (each["total_execution_time"] > 0) is (ended > 0)
        assert (each["min_execution_time"] > 0) is (ended > 0)
        assert 0 <= each["self_execution_time"] <= each["total_execution_time"]
        least, middle, most = (each[f"{name}_execution_time"] for name in ("min", "median", "max"))
        assert least <= middle <= most
    for key in ("total_executions", "running", "completed", "failed"):
        assert numbers[key] == sum(each[key] for each in routines)
    outer = numbers["routines"].get("outer", {"total_executions": 0, "running": 0})
    inner = numbers["routines"].get("inner", {"total_executions": 0, "running": 0})
    assert 0 <= outer["total_executions"] - numbers["total_events"] <= threads
    assert 0 <= numbers["total_events"] - inner["total_executions"] <= threads
    assert 0 <= inner["running"] <= outer["running"] <= threads
    assert numbers["unmatched_ends"] == 0
    assert numbers["running"] <= 2 * threads


@pytest.mark.parametrize("max_records", [None, 20])
@pytest.mark.parametrize("nested", ["flat", "nested", "nested later"])
@pytest.mark.parametrize("live", [False, True], ids=["unread", "live"])
def test_a_reader_gets_the_numbers_of_one_moment_again_and_again(
    live: bool, nested: str, max_records: int | None
) -> None:
    tracker = ExecutionTracker(max_records=max_records)
    if live:
        assert tracker.event_flow == []
    threads, rounds = 4, 100 if live or max_records else 300
    seen: list[dict[str, Any]] = []
    ways: list[Callable[[], Any]] = [
        tracker.get_flow_performance,
        lambda: tracker.get_routine_performance("outer"),
        lambda: metrics_of("", tracker._run()),
    ]

    def engine() -> None:
        for number in range(rounds):
            is_nested = nested == "nested" or (nested == "nested later" and number > rounds // 2)
            outer = tracker.record_routine_start("outer")
            tracker.record_event("outer", "sent")
            inner = tracker.record_routine_start("inner", parent_id=outer if is_nested else None)
            tracker.record_routine_end("inner", "failed" if number % 5 == 0 else "completed", execution_id=inner)
            tracker.record_routine_end("outer", execution_id=outer if number % 2 else None)

    def read() -> None:
        seen.append(tracker.get_performance_metrics())
        ways[len(seen) % 3]()

    with meanwhile(read):
        in_threads(*[engine] * threads)
    seen.append(tracker.get_performance_metrics())
    for numbers in seen:
        assert_one_moment(numbers, threads)
    for before, after in pairwise(seen):
        for key in ("total_executions", "completed", "failed", "total_events", "total_execution_time", "wall_time"):
            assert before[key] <= after[key]
    last = seen[-1]
    assert (last["total_executions"], last["running"]) == (2 * threads * rounds, 0)
    assert last == metrics_of("", tracker._run())
    flow = tracker.get_flow_performance()
    assert {**last, **flow} == {**last, "avg_routine_time": flow["avg_routine_time"]}
    assert tracker.get_routine_performance("outer") == last["routines"]["outer"]
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


class Slow(str):
    """A status or text that takes long to read: somebody records meanwhile, in this thread or another one."""

    def __new__(cls, tracker: ExecutionTracker, in_thread: bool) -> Slow:
        self = super().__new__(cls, "slow")
        self.tracker, self.in_thread, self.asked = tracker, in_thread, 0
        return self

    def __hash__(self) -> int:
        self.asked += 1
        if self.asked < 5:
            if self.in_thread:
                in_threads(partial(self.tracker.record_event, "a", "meanwhile"))
            else:
                self.tracker.record_event("a", "meanwhile")
        return super().__hash__()


@pytest.mark.parametrize("in_thread", [False, True], ids=["inside", "in another thread"])
@pytest.mark.parametrize(
    "read",
    [
        lambda tracker: tracker.get_performance_metrics(),
        lambda tracker: tracker.get_flow_performance(),
        lambda tracker: tracker.serialize(),
        lambda tracker: copy.copy(tracker),
        lambda tracker: setattr(tracker, "routine_executions", {**tracker.routine_executions}),
    ],
    ids=["metrics", "flow", "serialize", "copy", "put"],
)
def test_what_a_recorder_left_to_a_slow_reader_is_in_the_containers_when_that_has_done(
    read: Callable[[ExecutionTracker], Any], in_thread: bool
) -> None:
    tracker = ExecutionTracker()
    events = tracker.event_flow
    slow = Slow(tracker, in_thread)
    tracker.routine_executions = {"a": [{"routine_id": "a", "start_time": "?", "params": {}, "status": slow}]}
    read(tracker)
    assert [event["event_name"] for event in events] == ["meanwhile"] * min(slow.asked, 4)
    assert not tracker._log


def test_finalizers_that_take_the_containers_wherever_the_collector_comes_in_lose_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to Python 3.11 it comes in wherever a container is made, in the middle of copying the log, say."""
    kept: list[Any] = []
    usual = gc.get_threshold()
    fold_entries = Fold._fold_entries
    due: list[int] = []

    def fold_what_is_left(fold: Fold) -> None:
        """Do so before the log is copied, and have the collector come in soon, when a few more containers are made."""
        fold_entries(fold)
        if due:
            kept.extend([] for _ in range(200))  # leaves none that Python could use again
            gc.set_threshold(gc.get_count()[0] + due.pop())
            gc.enable()

    monkeypatch.setattr(Fold, "_fold_entries", fold_what_is_left)
    for threshold in range(40):
        tracker = ExecutionTracker()
        for number in range(500):
            tracker.record_event("a", number)

        class Finalized:
            def __init__(self) -> None:
                self.cycle = self

            def __del__(self, tracker: ExecutionTracker = tracker) -> None:
                events = tracker.event_flow
                tracker.record_event("a", "finalized")
                assert tracker.event_flow is events

        gc.disable()
        try:
            Finalized()
            due.append(threshold)
            tracker.get_flow_performance()
        finally:
            gc.set_threshold(*usual)
            gc.enable()
        gc.collect()
        assert [event["event_name"] for event in tracker.event_flow] == [*range(500), "finalized"]
        tracker._check()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python's own calls take room on the stack of C")
@pytest.mark.parametrize(
    "call",
    [
        lambda tracker: tracker.record_routine_start("a"),
        lambda tracker: tracker.record_routine_end("b"),
        lambda tracker: tracker.record_event("a", "sent"),
        lambda tracker: tracker.record_execution("a", 1.0, 2.0),
    ],
    ids=["start", "end", "event", "execution"],
)
def test_a_call_without_room_on_the_stack_is_recorded_or_raises_and_never_both(call: Callable[[Any], Any]) -> None:
    tracker = ExecutionTracker()
    assert tracker.event_flow == []  # somebody holds the records, so each call folds
    returned = 0

    def at_depth(depth: int) -> None:
        nonlocal returned
        if depth:
            at_depth(depth - 1)
        else:
            call(tracker)
            returned += 1

    for depth in range(sys.getrecursionlimit() - 120, sys.getrecursionlimit()):
        try:
            at_depth(depth)
        except RecursionError:
            break
    metrics = tracker.get_performance_metrics()
    assert returned == metrics["total_executions"] + metrics["total_events"] + metrics["unmatched_ends"] > 0
    tracker._check()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python's own calls take room on the stack of C")
def test_recorders_without_room_on_the_stack_leave_no_trap_behind() -> None:
    """Each leaves its call to the next one. However many there were, the next one with more room finds all."""
    tracker = ExecutionTracker()
    events = tracker.event_flow
    tries: list[int] = []

    def at_depth(depth: int, work: Callable[[], Any]) -> None:
        if depth:
            at_depth(depth - 1, work)
        else:
            work()

    def record() -> None:
        tries.append(tracker.record_event("a", "sent"))
        if tracker._log:  # no room here
            tries.extend(tracker.record_event("a", "sent") for _ in range(30_000))

    def come_closer() -> None:
        for depth in range(sys.getrecursionlimit() - 60, sys.getrecursionlimit()):
            try:
                at_depth(depth, record)
            except RecursionError:
                break

    usual = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=come_closer)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(usual)
    assert len(tries) > 30_000
    tracker.record_event("a", "last")
    assert [event["event_id"] for event in events[:-1]] == tries
    assert events[-1]["event_name"] == "last"
    tracker._check()


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


def look(tracker: ExecutionTracker) -> Any:
    return tracker.get_flow_performance()


def take(tracker: ExecutionTracker) -> Any:
    return tracker.routine_executions


def interrupted_runs(
    routine_id: Any, interruption: type[BaseException], read: Callable[[ExecutionTracker], Any], live: bool = False
) -> Iterator[tuple[ExecutionTracker, int]]:
    """Read some hundred runs, interrupted at random, and give them with the number of their rounds."""
    with interruptions(interruption, longest_s=5e-4 if live or read is take else 2e-4) as is_done:
        for _ in range(250):
            tracker = ExecutionTracker()
            if live:
                assert tracker.event_flow == []
            with left_to_readers(tracker):
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
                if is_done(partial(read, tracker)):
                    break
            yield tracker, 40


@needs_timer
@pytest.mark.parametrize("live", [False, True], ids=["unread", "live"])
@pytest.mark.parametrize("read", [look, take])
@pytest.mark.parametrize(
    ("routine_id", "interruption"),
    [("a", Interrupted), ("a", TimeoutError), (5, TimeoutError), (("a", 5), TimeoutError)],
)
def test_an_exception_out_of_a_signal_handler_costs_no_entry_and_doubles_none(
    routine_id: Any, interruption: type[BaseException], read: Callable[[ExecutionTracker], Any], live: bool
) -> None:
    for tracker, count in interrupted_runs(routine_id, interruption, read, live):
        records = tracker.routine_executions[routine_id]
        expected = [params for number in range(count) for params in ({"number": number}, {"inside": number})]
        assert [record["params"] for record in records] == expected
        assert [record["execution_id"] for record in records] == [*range(1, 2 * count + 1)]
        assert [event["event_name"] for event in tracker.event_flow] == list(range(count))
        assert [event["execution_id"] for event in tracker.event_flow] == [*range(1, 2 * count + 1, 2)]
        assert {record["status"] for record in records} == {"completed"}
        assert_whole(records)
        assert [*tracker.routine_executions] == [routine_id]
        assert tracker.get_performance_metrics()["unmatched_ends"] == 4
        tracker._check()


@needs_timer
@pytest.mark.parametrize("live", [False, True], ids=["unread", "live"])
def test_an_exception_out_of_a_signal_handler_changes_no_time(
    far_from_greenwich: Callable[[], list[str]], live: bool
) -> None:
    for tracker, _ in interrupted_runs("a", Interrupted, take, live):
        read = set(far_from_greenwich())
        records = tracker.routine_executions["a"]
        times = [record[key] for record in records for key in ("start_time", "end_time")]
        times += [event["timestamp"] for event in tracker.event_flow]
        assert read.issuperset(times)
        assert len({*times}) == len(times)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Have clocks that show a new second, and mostly a new quarter of an hour, whenever somebody looks.

    The fixture gives the texts of what they have shown, in a zone of which UTC is clearly told apart.
    """
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    readings: list[int] = []
    begin_ns = 1_768_478_400 * 10**9

    def perf_counter_ns() -> int:
        readings.append(len(readings) * 700_000_001_000)
        return readings[-1]

    def time_ns() -> int:
        return begin_ns + len(readings) * 700_000_001_000  # what the other clock is about to show

    def shown() -> list[str]:
        return [
            datetime.fromtimestamp((begin_ns + reading) // 10**9).strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{reading % 10**9 // 1000:06}"
            for reading in readings[-300:]
        ]

    monkeypatch.setattr(_recording, "perf_counter_ns", perf_counter_ns)
    monkeypatch.setattr(_recording, "time_ns", time_ns)
    yield shown
    monkeypatch.undo()
    time.tzset()


@needs_timer
def test_an_exception_out_of_a_signal_handler_reaches_whoever_records_an_event_inside_a_block() -> None:
    """It is not taken for one of ids that cannot be compared."""
    tracker = ExecutionTracker()
    delays = random.Random(0)
    due: list[int] = []
    caught: list[int] = []

    def come_in() -> None:
        if due:
            due.clear()
            raise TimeoutError

    def record_until_then() -> None:
        due.append(1)
        set_timer(delays.uniform(1e-6, 5e-5))
        while due:
            tracker.record_event("b", "sent")
            set_timer(1e-6)  # again, as CPython overlooks a signal now and then

    with timer(come_in) as set_timer, tracker.track("a"):
        for number in range(2000):
            try:  # around one call: not every jump of a loop is inside of the try that is around it
                record_until_then()
            except TimeoutError:
                caught.append(number)
            tracker._log.clear()
    assert caught == [*range(2000)]


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
def test_a_fork_while_a_finalizer_of_the_fold_runs_doubles_nothing(
    tracker: ExecutionTracker, dropped_by: str, read_before: bool
) -> None:
    inside, may_go_on = threading.Event(), threading.Event()

    class Dropped:
        def __del__(self) -> None:
            if threading.current_thread() is folder:
                inside.set()
                may_go_on.wait(LONG_S)

    def seen() -> list[Any]:
        run = tracker.get_performance_metrics()
        names = [event["event_name"] for event in tracker.event_flow]
        (record,) = tracker.routine_executions["a"]
        return [run["status_counts"], run["unmatched_ends"], names, record["result"], record["execution_id"]]

    folder = threading.Thread(target=tracker.get_flow_performance)
    with left_to_readers(tracker):
        tracker.record_event("a", 0)
        execution_id = tracker.record_routine_start("a")
        tracker.record_routine_end("unknown" if dropped_by == "an unmatched end" else "a", result=Dropped())
        if read_before:
            tracker.get_flow_performance()
        tracker.record_routine_end("a", "ended", result="another", execution_id=execution_id)
        for number in range(1, 5):
            tracker.record_event("a", number)
    folder.start()
    while folder.is_alive() and not inside.wait(0.01):  # until it hangs in the finalizer, or had nothing to drop
        pass
    of_child = in_child(seen)
    may_go_on.set()
    folder.join()
    unmatched = int(dropped_by == "an unmatched end")
    assert seen() == [{"ended": 1}, unmatched, [0, 1, 2, 3, 4], "another", execution_id]
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

"""Which execution an end closes: the five rules of the contract, against a model that is too plain to be wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from execution_tracker import ExecutionTracker, recording
from execution_tracker.pairing import Pairing

Record = dict[str, Any]
Work = Callable[[], Any]

SECOND_NS = 10**9
NOON_NS = 1_768_478_400 * SECOND_NS  # in the middle of a month in which no zone changes its offset
MISSING_ID = 10**9


# --- who calls ---


class ThreadOwner:
    """A thread that stays and makes one call each time it is told to."""

    def __init__(self) -> None:
        self._works: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._works.get()) is not None:
            work, answer = item
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)
            del item, work, answer

    def do(self, work: Work) -> Any:
        answer: Future[Any] = Future()
        self._works.put((work, answer))
        return answer.result(60)

    def stop(self) -> None:
        self._works.put(None)
        self._thread.join()


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Work) -> Any:
        """Have the loop make a call outside of any task: its thread is the owner."""
        answer: Future[Any] = Future()

        def run() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return answer.result(60)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class TaskOwner:
    """A task that stays and makes one call each time it is told to."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._works: asyncio.Queue[tuple[Work, Future[Any]] | None] = loop.do(asyncio.Queue)
        self._run_ended = asyncio.run_coroutine_threadsafe(self._run(), loop.loop)

    async def _run(self) -> None:
        while (item := await self._works.get()) is not None:
            work, answer = item
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)
            del item, work, answer

    def do(self, work: Work) -> Any:
        answer: Future[Any] = Future()
        self._loop.loop.call_soon_threadsafe(self._works.put_nowait, (work, answer))
        return answer.result(60)

    def stop(self) -> None:
        self._loop.loop.call_soon_threadsafe(self._works.put_nowait, None)
        self._run_ended.result(60)


class ThisThread:
    def do(self, work: Work) -> Any:
        return work()


# --- the model ---


class Execution:
    """A record as it should be, and what the rules need to know of it."""

    def __init__(self, record: Record, owner: object, wall_ns: int, mono_ns: int | None) -> None:
        self.record = record
        self.owner = owner
        self.wall_ns = wall_ns
        self.mono_ns = mono_ns  # None where it is gone
        self.is_open = "end_time" not in record
        self.known_as: int | None = None


class Model:
    """What the tracker should hold: each rule is a search through plain lists."""

    def __init__(self) -> None:
        self.executions: dict[Any, list[Execution]] = {}
        self.events: list[Record] = []
        self.unmatched_ends = 0

    def start(self, routine_id: Any, params: Any, owner: object, wall_ns: int, mono_ns: int) -> Execution:
        record = {
            "routine_id": routine_id,
            "start_time": text(wall_ns),
            "params": params or {},
            "status": "running",
        }
        execution = Execution(record, owner, wall_ns, mono_ns)
        self.executions.setdefault(routine_id, []).append(execution)
        return execution

    def end(
        self, routine_id: Any, outcome: Record, execution_id: object, owner: object, wall_ns: int, mono_ns: int
    ) -> None:
        execution = self.closed_by(routine_id, execution_id, owner)
        if execution is None:
            self.unmatched_ends += 1
            return
        if execution.is_open and execution.mono_ns is not None:
            start_ns = execution.wall_ns
            elapsed_ns = max(mono_ns - execution.mono_ns, 1)
        else:
            start_ns = execution.wall_ns // 1000 * 1000
            elapsed_ns = max(wall_ns - start_ns, 1)
        execution.is_open = False
        execution.record["status"] = outcome["status"]
        execution.record["end_time"] = text(start_ns, elapsed_ns)
        for key in ["result", "error"]:
            if outcome[key] is not None:
                execution.record[key] = outcome[key]
        execution.record["execution_time"] = elapsed_ns / SECOND_NS

    def closed_by(self, routine_id: Any, execution_id: object, owner: object) -> Execution | None:
        for executions in self.executions.values():
            for execution in executions:
                if type(execution_id) is int and execution.known_as == execution_id:
                    return execution  # rule 1
        of_routine = self.executions.get(routine_id, [])
        for execution in reversed(of_routine):
            if execution.is_open and execution.owner is owner:
                return execution  # rule 2
        for execution in reversed(of_routine):
            if execution.is_open:
                return execution  # rule 3
        return of_routine[-1] if of_routine else None  # rules 4 and 5

    def load(self) -> None:
        """Forget what is not in the records."""
        for executions in self.executions.values():
            for execution in executions:
                execution.owner = execution.mono_ns = execution.known_as = None

    def records(self) -> dict[Any, list[Record]]:
        return {key: [execution.record for execution in executions] for key, executions in self.executions.items()}


def text(wall_ns: int, elapsed_ns: int = 0) -> str:
    """Return the local time so many nanoseconds after a moment, on the clock face of that moment."""
    second, rest_ns = divmod(wall_ns, SECOND_NS)
    more_seconds, rest_ns = divmod(rest_ns + elapsed_ns, SECOND_NS)
    moment = datetime.fromtimestamp(second) + timedelta(seconds=more_seconds, microseconds=rest_ns // 1000)
    return moment.isoformat(timespec="microseconds")


# --- free sequences ---

routine_ids = st.sampled_from(["a", "b", 4])
payloads = st.sampled_from([None, {}, {"x": 1}, "text", 0, [1]])
outcomes = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["completed", "failed", "skipped", None]),
        "result": st.sampled_from([None, 0, {"y": 2}, "result"]),
        "error": st.sampled_from([None, "", "boom"]),
    }
)


class Calls(RuleBasedStateMachine):
    """Any calls by any owners in any order, with clocks that are set and readers that come in between."""

    owners: ClassVar[list[Any]] = []
    loop: ClassVar[Loop]
    clock: ClassVar[dict[str, int]] = {}

    @initialize()
    def begin(self) -> None:
        self.tracker = ExecutionTracker("flow")
        self.model = Model()
        self.ids: list[int] = []
        self.clock.update(wall_ns=NOON_NS, mono_ns=NOON_NS // 7)

    def teardown(self) -> None:
        if hasattr(self, "tracker"):
            self.compare(self.tracker.routine_executions, self.tracker.event_flow)
            self.tracker._check()

    # calls

    @rule(owner=st.integers(0, 8), routine_id=routine_ids, params=payloads)
    def start(self, owner: int, routine_id: Any, params: Any) -> None:
        caller = self.owners[owner]
        execution = self.model.start(routine_id, params, caller, **self.clock)
        execution.known_as = caller.do(lambda: self.tracker.record_routine_start(routine_id, params))
        assert type(execution.known_as) is int
        assert execution.known_as not in self.ids
        self.ids.append(execution.known_as)

    def end(self, owner: int, routine_id: Any, outcome: Record, execution_id: Any) -> None:
        caller = self.owners[owner]
        self.model.end(routine_id, outcome, execution_id, caller, **self.clock)
        answer = caller.do(
            lambda: (
                self.tracker.record_routine_end(routine_id, **outcome, execution_id=execution_id)
                if execution_id is not None
                else self.tracker.record_routine_end(routine_id, **outcome)
            )
        )
        assert answer is None

    @rule(owner=st.integers(0, 8), routine_id=routine_ids, outcome=outcomes)
    def end_without_id(self, owner: int, routine_id: Any, outcome: Record) -> None:
        self.end(owner, routine_id, outcome, None)

    @precondition(lambda self: self.ids)
    @rule(owner=st.integers(0, 8), routine_id=routine_ids, outcome=outcomes, back=st.integers(0, 30))
    def end_with_an_id_given_out(self, owner: int, routine_id: Any, outcome: Record, back: int) -> None:
        self.end(owner, routine_id, outcome, self.ids[-1 - back % len(self.ids)])

    @rule(
        owner=st.integers(0, 8),
        routine_id=routine_ids,
        outcome=outcomes,
        execution_id=st.sampled_from([0, -1, MISSING_ID, True, False, "1", 1.0, (1,), [1]]),
    )
    def end_with_what_is_no_id(self, owner: int, routine_id: Any, outcome: Record, execution_id: Any) -> None:
        self.end(owner, routine_id, outcome, execution_id)

    @rule(owner=st.integers(0, 8), source=routine_ids, to=st.none() | routine_ids, data=payloads)
    def event(self, owner: int, source: Any, to: Any, data: Any) -> None:
        self.owners[owner].do(lambda: self.tracker.record_event(source, "e", to, data))
        self.model.events.append(
            {
                "timestamp": text(self.clock["wall_ns"]),
                "source_routine_id": source,
                "event_name": "e",
                "target_routine_id": to,
                "data": data or {},
            }
        )

    # clocks and owners

    @rule(ns=st.integers(0, 3 * SECOND_NS), wall_ns=st.just(0) | st.integers(-3600 * SECOND_NS, 3600 * SECOND_NS))
    def time_passes_and_the_wall_clock_is_set(self, ns: int, wall_ns: int) -> None:
        self.clock["mono_ns"] += ns
        self.clock["wall_ns"] += ns + wall_ns

    @rule(owner=st.integers(1, 7))
    def a_thread_or_task_ends_and_another_starts(self, owner: int) -> None:
        self.owners[owner].stop()
        self.owners[owner] = ThreadOwner() if owner < 5 else TaskOwner(self.loop)

    # readers

    def compare(self, executions: dict[Any, list[Record]], events: list[Record]) -> None:
        expected = self.model.records()
        assert executions == expected
        assert events == self.model.events
        for routine_id, records in executions.items():
            for record, expected_record in zip(records, expected[routine_id], strict=True):
                assert list(record) == list(expected_record)

    def serialized(self) -> Record:
        """Return the run after a trip through JSON, which makes a text of a key that is a number."""
        run: Record = json.loads(json.dumps(self.tracker.serialize(), allow_nan=False))
        executions = run["routine_executions"]
        run["routine_executions"] = {4 if key == "4" else key: records for key, records in executions.items()}
        return run

    def look_at_numbers(self) -> None:
        records = [record for records in self.model.records().values() for record in records]
        metrics = self.tracker.get_performance_metrics()
        assert metrics["unmatched_ends"] == self.model.unmatched_ends
        assert metrics["total_executions"] == len(records)
        assert metrics["completed"] == sum(record["status"] == "completed" for record in records)
        for routine_id, executions in self.model.executions.items():
            performance = self.tracker.get_routine_performance(routine_id)
            assert (performance or {"total_executions": 0})["total_executions"] == len(executions)

    @rule(where=st.sampled_from(["containers", "serialized", "numbers"]))
    def read(self, where: str) -> None:
        if where == "containers":
            self.compare(self.tracker.routine_executions, self.tracker.event_flow)
        elif where == "serialized":
            run = self.serialized()
            self.compare(run["routine_executions"], run["event_flow"])
        else:
            self.look_at_numbers()

    # the whole state

    @rule(way=st.sampled_from(["pickle", "copy", "deepcopy", "serialize"]))
    def go_on_with_a_copy(self, way: str) -> None:
        if way == "serialize":
            self.tracker.deserialize(self.serialized())
        elif way == "pickle":
            self.tracker = pickle.loads(pickle.dumps(self.tracker))
        else:
            self.tracker = getattr(copy, way)(self.tracker)
        self.model.load()

    @rule(dropped=st.sets(st.integers(0, 20)), reverse=st.booleans())
    def assign_containers_with_some_of_the_records(self, dropped: set[int], reverse: bool) -> None:
        def kept(items: list[Any]) -> list[Any]:
            items = [item for number, item in enumerate(items) if number not in dropped]
            return items[::-1] if reverse else items

        executions = self.tracker.routine_executions
        self.tracker.routine_executions = {key: kept(records) for key, records in executions.items()}
        self.tracker.event_flow = kept(self.tracker.event_flow)
        self.model.executions = {key: kept(executions) for key, executions in self.model.executions.items()}
        self.model.events = kept(self.model.events)

    @rule(routine_id=routine_ids, new_id=routine_ids)
    def move_the_records_of_a_routine_to_another(self, routine_id: Any, new_id: Any) -> None:
        if routine_id in self.model.executions and routine_id != new_id:
            executions = dict(self.tracker.routine_executions)
            for containers in (executions, self.model.executions):
                containers[new_id] = [*containers.get(new_id, []), *containers.pop(routine_id)]
            self.tracker.routine_executions = executions


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The clocks that the tracker reads, in nanoseconds."""
    clock = {"wall_ns": NOON_NS, "mono_ns": NOON_NS // 7}
    monkeypatch.setattr(recording, "time_ns", lambda: clock["wall_ns"])
    monkeypatch.setattr(recording, "perf_counter_ns", lambda: clock["mono_ns"])
    return clock


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture
def owners(loop: Loop) -> Iterator[list[Any]]:
    """This thread, four others, three tasks of a loop, and the loop's own thread."""
    owners: list[Any] = [ThisThread(), *[ThreadOwner() for _ in range(4)], *[TaskOwner(loop) for _ in range(3)], loop]
    yield owners
    for owner in owners[1:8]:
        owner.stop()


def test_any_calls_by_any_owners_leave_what_the_rules_say(clock: dict[str, int], loop: Loop, owners: list[Any]) -> None:
    class CallsOfThese(Calls):
        pass

    CallsOfThese.clock, CallsOfThese.loop, CallsOfThese.owners = clock, loop, owners
    profile = settings(max_examples=150, stateful_step_count=50, deadline=None, report_multiple_bugs=False)
    run_state_machine_as_test(CallsOfThese, settings=profile)


# --- one by one ---


@pytest.fixture
def tracker() -> ExecutionTracker:
    return ExecutionTracker()


def statuses(tracker: ExecutionTracker, routine_id: Any = "a") -> list[Any]:
    return [record["status"] for record in tracker.routine_executions[routine_id]]


def in_new_thread(work: Work) -> int:
    """Do it in a thread that ends with it, and return the ident of that thread."""
    idents: list[int] = []
    thread = threading.Thread(target=lambda: idents.append((work(), threading.get_ident())[1]))
    thread.start()
    thread.join()
    return idents[0]


def test_rule_1_an_id_closes_its_execution_whatever_else_is_open(tracker: ExecutionTracker) -> None:
    first = tracker.record_routine_start("a")
    tracker.record_routine_start("a")
    tracker.record_routine_end("a", "ended", execution_id=first)
    assert statuses(tracker) == ["ended", "running"]


def test_rule_1_an_id_closes_its_execution_whatever_routine_is_named(tracker: ExecutionTracker) -> None:
    execution_id = tracker.record_routine_start("a")
    tracker.record_routine_start("b")
    tracker.record_routine_end("b", "ended", execution_id=execution_id)
    tracker.record_routine_end("b", "ended, too")
    assert (statuses(tracker, "a"), statuses(tracker, "b")) == (["ended"], ["ended, too"])
    tracker._check()


def test_rule_1_the_id_of_an_execution_that_has_ended_updates_that_one(tracker: ExecutionTracker) -> None:
    first = tracker.record_routine_start("a")
    tracker.record_routine_end("a", result="kept")
    tracker.record_routine_start("a")
    tracker.record_routine_end("a", "failed", error="late", execution_id=first)
    assert statuses(tracker) == ["failed", "running"]
    record = tracker.routine_executions["a"][0]
    assert (record["result"], record["error"]) == ("kept", "late")
    tracker._check()


@pytest.mark.parametrize("execution_id", [None, 0, -1, MISSING_ID, True, "1", 1.0, [1]])
def test_an_id_that_was_not_given_out_is_ignored(tracker: ExecutionTracker, execution_id: Any) -> None:
    tracker.record_routine_start("b")
    tracker.record_routine_start("a")
    tracker.record_routine_end("a", "ended", execution_id=execution_id)
    assert (statuses(tracker, "a"), statuses(tracker, "b")) == (["ended"], ["running"])


def test_rule_2_an_end_closes_the_latest_that_the_same_thread_started(tracker: ExecutionTracker) -> None:
    tracker.record_routine_start("a", "outer")
    tracker.record_routine_start("a", "inner")
    in_new_thread(lambda: tracker.record_routine_start("a", "other"))
    tracker.record_routine_end("a", "ended first")
    tracker.record_routine_end("a", "ended second")
    assert statuses(tracker) == ["ended second", "ended first", "running"]


def test_rule_2_an_end_closes_the_latest_that_the_same_task_started(tracker: ExecutionTracker) -> None:
    async def task(name: str) -> None:
        tracker.record_routine_start("a")
        await asyncio.sleep(0)
        tracker.record_routine_end("a", name)

    async def run() -> None:
        await asyncio.gather(task("one"), task("two"), task("three"))

    asyncio.run(run())
    assert statuses(tracker) == ["one", "two", "three"]


def test_rule_3_an_end_of_a_stranger_closes_the_latest(tracker: ExecutionTracker) -> None:
    tracker.record_routine_start("a")
    tracker.record_routine_start("a")
    in_new_thread(lambda: tracker.record_routine_end("a", "ended"))
    assert statuses(tracker) == ["running", "ended"]


def test_rule_3_a_thread_is_a_stranger_though_the_system_gives_it_the_ident_of_a_dead_one() -> None:
    for _ in range(100):
        tracker = ExecutionTracker()
        dead = in_new_thread(lambda tracker=tracker: tracker.record_routine_start("a"))  # type: ignore[misc]
        tracker.record_routine_start("a")
        stranger = in_new_thread(lambda tracker=tracker: tracker.record_routine_end("a", "ended"))  # type: ignore[misc]
        assert statuses(tracker) == ["running", "ended"]
        if dead == stranger:
            return
    pytest.fail("no ident was used again: this test shows nothing")


def test_rule_3_a_loaded_record_that_never_ended_is_open(tracker: ExecutionTracker, clock: dict[str, int]) -> None:
    tracker.deserialize(
        {
            "routine_executions": {
                "a": [
                    {"routine_id": "a", "start_time": text(NOON_NS), "params": {}, "status": "running"},
                    {"routine_id": "a", "start_time": text(NOON_NS), "params": {}, "status": "running"},
                ]
            }
        }
    )
    clock["wall_ns"] += 2 * SECOND_NS
    tracker.record_routine_end("a")
    record = tracker.routine_executions["a"][1]
    assert (record["execution_time"], record["end_time"]) == (2.0, text(NOON_NS + 2 * SECOND_NS))
    assert statuses(tracker) == ["running", "completed"]
    tracker.record_routine_end("a", "closed, too")
    assert statuses(tracker) == ["closed, too", "completed"]
    tracker._check()


def test_rule_3_a_start_of_the_same_thread_comes_before_a_loaded_record(tracker: ExecutionTracker) -> None:
    tracker.record_routine_start("a")
    loaded = {"routine_id": "a", "start_time": text(NOON_NS), "params": {}, "status": "running"}
    tracker.routine_executions = {"a": [*tracker.routine_executions["a"], loaded]}
    tracker.record_routine_end("a", "first")
    tracker.record_routine_end("a", "second")
    assert statuses(tracker) == ["first", "second"]
    tracker._check()


def test_rule_4_a_late_end_updates_the_latest_record(tracker: ExecutionTracker) -> None:
    for status in ["one", "two"]:
        tracker.record_routine_start("a")
        tracker.record_routine_end("a", status)
    tracker.record_routine_end("a", "failed", error="late")
    assert statuses(tracker) == ["one", "failed"]
    assert tracker.get_performance_metrics()["unmatched_ends"] == 0


def test_rule_4_a_late_end_lengthens_the_execution_over_those_that_ran_meanwhile(
    tracker: ExecutionTracker, clock: dict[str, int]
) -> None:
    for routine_id in ["a", "b"]:
        tracker.record_routine_start(routine_id)
        clock["wall_ns"] += SECOND_NS
        clock["mono_ns"] += SECOND_NS
        tracker.record_routine_end(routine_id)
    assert tracker.get_performance_metrics()["peak_concurrency"] == 1
    tracker.record_routine_end("a", "failed")
    assert tracker.routine_executions["a"][0]["execution_time"] == 2.0
    assert tracker.get_performance_metrics()["peak_concurrency"] == 2


def test_rule_5_an_end_without_any_record_is_counted_and_nothing_else(tracker: ExecutionTracker) -> None:
    tracker.record_routine_start("b")
    tracker.record_routine_end("a")
    assert list(tracker.routine_executions) == ["b"]
    tracker.routine_executions["a"] = []
    tracker.record_routine_end("a")
    assert tracker.routine_executions["a"] == []
    assert statuses(tracker, "b") == ["running"]
    assert tracker.get_performance_metrics()["unmatched_ends"] == 2


# --- containers and records that come from outside or are edited ---


def test_records_of_a_run_keep_their_ids_and_monotonic_starts_in_assigned_containers(
    tracker: ExecutionTracker, clock: dict[str, int]
) -> None:
    ids = [tracker.record_routine_start("a") for _ in range(3)]
    tracker.record_routine_end("a", execution_id=ids[1])
    tracker.routine_executions = {"a": tracker.routine_executions["a"][::-1]}
    clock["wall_ns"] -= 3600 * SECOND_NS
    clock["mono_ns"] += SECOND_NS
    tracker.record_routine_end("a", "first", execution_id=ids[0])
    tracker.record_routine_end("a", "second", execution_id=ids[1])
    assert statuses(tracker) == ["running", "second", "first"]
    assert tracker.routine_executions["a"][2]["execution_time"] == 1.0
    tracker._check()


def test_an_open_execution_whose_routine_gets_another_name_is_closed_by_that_name(tracker: ExecutionTracker) -> None:
    execution_id = tracker.record_routine_start("old")
    tracker.record_routine_start("old")
    tracker.routine_executions = {"new": tracker.routine_executions["old"]}
    tracker.record_routine_end("new", "by name")
    tracker.record_routine_end("old", "by id", execution_id=execution_id)
    tracker.record_routine_start("old")
    tracker.record_routine_end("old", "new start")
    assert (statuses(tracker, "new"), statuses(tracker, "old")) == (["by id", "by name"], ["new start"])
    tracker._check()


def test_the_id_of_an_execution_that_is_in_no_assigned_container_is_unknown(tracker: ExecutionTracker) -> None:
    gone = tracker.record_routine_start("a")
    tracker.routine_executions = {}
    tracker.record_routine_start("b")
    tracker.record_routine_end("b", "ended", execution_id=gone)
    assert statuses(tracker, "b") == ["ended"]
    tracker._check()


@pytest.mark.parametrize("is_known", [True, False])
def test_a_record_that_stands_twice_in_a_list_is_closed_once(tracker: ExecutionTracker, is_known: bool) -> None:
    twice = {"routine_id": "a", "start_time": text(NOON_NS), "params": {}, "status": "running"}
    if is_known:
        tracker.record_routine_start("a")
        twice = tracker.routine_executions["a"][0]
    tracker.routine_executions = {"a": [twice, twice]}
    tracker.record_routine_end("a", "ended")
    tracker._check()
    tracker.record_routine_start("a")
    tracker.record_routine_end("a", "own")
    tracker.record_routine_end("a", "late")
    assert statuses(tracker) == ["ended", "ended", "late"]


def test_a_record_that_stands_in_two_lists_stays_in_nobodys_way(tracker: ExecutionTracker) -> None:
    tracker.record_routine_start("a")
    twice = tracker.routine_executions["a"][0]
    tracker.routine_executions = {"a": [twice], "b": [twice]}
    for routine_id in "abab":
        tracker.record_routine_end(routine_id)
        tracker.record_routine_start(routine_id)
        tracker.record_routine_end(routine_id, f"own {routine_id}")
        assert statuses(tracker, routine_id)[-1] == f"own {routine_id}"
    assert twice["status"] == "completed"
    tracker._check()


def test_a_list_of_records_replaced_by_hand_gets_the_later_calls(tracker: ExecutionTracker) -> None:
    tracker.record_routine_start("a", "before")
    by_hand: list[Record] = []
    tracker.routine_executions["a"] = by_hand
    tracker.record_routine_start("a", "after")
    tracker.record_routine_end("a", "ended")
    assert [(record["params"], record["status"]) for record in by_hand] == [("after", "ended")]


def test_a_routine_deleted_by_hand_starts_anew(tracker: ExecutionTracker) -> None:
    execution_id = tracker.record_routine_start("a", "before")
    del tracker.routine_executions["a"]
    tracker.record_routine_end("a", execution_id=execution_id)
    tracker.record_routine_start("a", "after")
    tracker.record_routine_end("a", "ended")
    assert [(record["params"], record["status"]) for record in tracker.routine_executions["a"]] == [("after", "ended")]


def test_records_added_by_hand_can_be_closed_by_a_late_end(tracker: ExecutionTracker, clock: dict[str, int]) -> None:
    record = {"routine_id": "a", "start_time": text(NOON_NS), "params": {}, "status": "running"}
    tracker.routine_executions["a"] = [record]
    clock["wall_ns"] += SECOND_NS
    tracker.record_routine_end("a", "ended")
    assert (record["status"], record["execution_time"]) == ("ended", 1.0)


@pytest.mark.parametrize("start_time", [None, "yesterday", 5, "9999-12-31T23:59:59.999999"])
def test_a_record_whose_start_was_edited_can_still_be_closed(tracker: ExecutionTracker, start_time: Any) -> None:
    tracker.record_routine_start("a")
    tracker.record_routine_end("a")
    record = tracker.routine_executions["a"][0]
    record["start_time"] = start_time
    del record["execution_time"]
    tracker.record_routine_end("a", "late")
    assert record["status"] == "late"
    assert record.get("execution_time", 1) > 0


def test_an_open_record_without_its_start_is_closed_by_the_monotonic_clock(
    tracker: ExecutionTracker, clock: dict[str, int]
) -> None:
    tracker.record_routine_start("a")
    del tracker.routine_executions["a"][0]["start_time"]
    clock["mono_ns"] += SECOND_NS
    tracker.record_routine_end("a")
    assert tracker.routine_executions["a"][0]["execution_time"] == 1.0


@pytest.mark.parametrize("broken", [None, "text", {}, [None], [5, "text"]])
def test_what_is_no_list_of_records_does_not_stop_an_end(tracker: ExecutionTracker, broken: Any) -> None:
    tracker.record_routine_start("a")
    tracker.routine_executions["b"] = broken
    tracker.record_routine_end("b")
    tracker.record_routine_start("b")
    tracker.record_routine_end("b", "ended")
    tracker.record_routine_end("a", "ended")
    assert tracker.routine_executions["b"][-1]["status"] == "ended"
    assert statuses(tracker) == ["ended"]


def test_containers_may_grow_while_they_are_adopted() -> None:
    executions: dict[Any, list[Record]] = {"a": [{"routine_id": "a"}, {"routine_id": "a"}], "b": [{}]}

    def next_id() -> int:  # as another thread might, between any two steps
        executions[f"new {len(executions)}"] = []
        return len(executions)

    adopted = Pairing().adopt(executions, next_id)
    assert sorted(map(len, adopted.open_of_routine.values())) == [1, 2]


def test_a_record_that_stands_twice_in_a_list_hides_none_behind_it() -> None:
    tracker = ExecutionTracker()
    one, other = ({"routine_id": "a", "start_time": "2026-01-31T12:00:00", "status": "running"} for _ in range(2))
    tracker.routine_executions = {"a": [one, one, other]}
    for status in ("ended first", "ended second"):
        tracker.record_routine_end("a", status)
    assert (one["status"], other["status"]) == ("ended second", "ended first")
    tracker._check()


def test_what_is_no_list_of_records_can_be_assigned_and_holds_no_start() -> None:
    tracker = ExecutionTracker()
    executions: dict[str, Any] = {"a": None, "b": "text", "c": [None, {"routine_id": "c"}]}
    tracker.routine_executions = executions
    for routine_id in "abc":
        tracker.record_routine_end(routine_id, "ended")
    assert executions["a"] is None
    assert executions["c"][1]["status"] == "ended"
    assert tracker.get_performance_metrics()["unmatched_ends"] == 2

"""Which execution an end closes: the five rules of the contract, against a model that is too plain to be wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from callers import Loop, TaskOwner, ThisThread, ThreadOwner, Work
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from execution_tracker import ExecutionTracker, _metrics
from execution_tracker import _recording as recording
from execution_tracker._reading import Ids

Record = dict[str, Any]

SECOND_NS = 10**9
NOON_NS = 1_768_478_400 * SECOND_NS  # in the middle of a month in which no zone changes its offset
MISSING_ID = 10**9


# --- the model ---

KEYS = ["end_time", "result", "error", "execution_time", "execution_id", "parent_id", "caused_by", "worker"]
ODD = [0, -1, MISSING_ID, True, False, "1", 1.0, (1,), [1]]  # what is no id


class Execution:
    """A record as it should be, and what the rules need to know of it."""

    def __init__(self, record: Record, owner: object, at_ns: int) -> None:
        self.record = record
        self.owner = owner
        self.at_ns = at_ns  # on the clock of the model
        self.end_ns = 0
        self.is_exact = True  # whether the monotonic start is known
        self.is_open = True

    @property
    def id(self) -> int:
        number: int = self.record["execution_id"]
        return number


class Model:
    """What the tracker should hold: each rule is a search through plain lists."""

    def __init__(self, clock: dict[str, int], max_records: int | None) -> None:
        self.clock = clock
        self.max_records = max_records
        self.executions: dict[Any, list[Execution]] = {}
        self.events: list[Record] = []
        self.event_times_ns: list[int] = []
        self.unmatched_ends = self.dropped_executions = self.dropped_events = 0
        self.given_out = self.events_given_out = 0
        self.step_ns = 0
        self.set_anchor()

    # the clock: monotonic, from an anchor; texts follow the wall clock in steps of a second or more

    def set_anchor(self) -> None:
        self.anchor_ns = self.clock["wall_ns"] - self.clock["mono_ns"] - self.step_ns

    def go_on_in_a_copy(self) -> None:
        """Set another anchor, but never go back behind what was recorded."""
        every = [each for executions in self.executions.values() for each in executions]
        latest_ns = max([0, *self.event_times_ns, *(max(each.at_ns, each.end_ns) for each in every)])
        self.set_anchor()
        self.anchor_ns = max(self.anchor_ns, latest_ns // 1000 * 1000 - self.clock["mono_ns"])

    @property
    def now_ns(self) -> int:
        return self.clock["mono_ns"] + self.anchor_ns

    # calls

    def start(self, routine_id: Any, params: Any, caller: Any, parent_id: object, caused_by: Any) -> None:
        step_ns = self.clock["wall_ns"] - self.now_ns
        if abs(step_ns - self.step_ns) >= SECOND_NS:
            self.step_ns = step_ns // 1000 * 1000
        self.given_out += 1
        record: Record = {
            "routine_id": routine_id,
            "start_time": text(self.now_ns + self.step_ns),
            "params": params or {},
            "status": "running",
            "execution_id": self.given_out,
        }
        if type(parent_id) is int and 0 < parent_id < self.given_out:
            record["parent_id"] = parent_id
        given = [caused_by] if type(caused_by) is int else caused_by if type(caused_by) in (list, tuple) else []
        causes = [each for each in given if type(each) is int and 0 < each <= self.events_given_out]
        if causes:
            record["caused_by"] = list(dict.fromkeys(causes))
        record["worker"] = caller.name
        self.executions.setdefault(routine_id, []).append(Execution(record, caller, self.now_ns))

    def end(self, routine_id: Any, outcome: Record, execution_id: object, caller: object) -> None:
        execution = self.closed_by(routine_id, execution_id, caller)
        if execution is None:
            self.unmatched_ends += 1
            return
        record = execution.record
        start_ns = execution.at_ns if execution.is_exact else execution.at_ns // 1000 * 1000
        elapsed_ns = max(self.now_ns - start_ns, 1)
        execution.end_ns = start_ns + elapsed_ns
        execution.is_open = execution.is_exact = False
        known = {key: record.pop(key) for key in KEYS if key in record}
        shown_ns = to_ns(record["start_time"]) + (start_ns % 1000) + elapsed_ns
        known |= {"end_time": text(shown_ns), "execution_time": elapsed_ns / SECOND_NS}
        known |= {key: outcome[key] for key in ("result", "error") if outcome[key] is not None}
        record |= {"status": outcome["status"], **{key: known[key] for key in KEYS if key in known}}

    def closed_by(self, routine_id: Any, execution_id: object, caller: object) -> Execution | None:
        if type(execution_id) is int and 0 < execution_id <= self.given_out:  # rule 1
            every = [each for executions in self.executions.values() for each in executions]
            return next((each for each in every if each.id == execution_id), None)
        of_routine = self.executions.get(routine_id, [])
        opened = [each for each in of_routine if each.is_open]
        for each in reversed(opened):
            if each.owner is caller:
                return each  # rule 2
        return [*of_routine[-1:], *opened][-1] if of_routine else None  # rules 3, 4 and 5

    def event(self, source: Any, target: Any, data: Any, execution_id: object, caller: object) -> None:
        self.events_given_out += 1
        record = {
            "timestamp": text(self.now_ns + self.step_ns),
            "source_routine_id": source,
            "event_name": "e",
            "target_routine_id": target,
            "data": data or {},
            "event_id": self.events_given_out,
        }
        emitter: object = None
        if execution_id is not None:
            if type(execution_id) is int and 0 < execution_id <= self.given_out:
                emitter = execution_id
        else:
            opened = [each for each in self.executions.get(source, []) if each.is_open]
            own = [each for each in opened if each.owner is caller]
            emitter = own[-1].id if own else opened[0].id if len(opened) == 1 else None
        self.event_times_ns.append(self.now_ns)
        self.events.append(record if emitter is None else {**record, "execution_id": emitter})

    # the whole state

    def drop(self) -> None:
        if self.max_records is None:
            return
        for executions in self.executions.values():
            ended = sorted((each for each in executions if not each.is_open), key=lambda each: each.end_ns)
            gone = ended[: max(len(ended) - self.max_records, 0)]
            executions[:] = [each for each in executions if each not in gone]
            self.dropped_executions += len(gone)
        excess = max(len(self.events) - self.max_records, 0)
        self.dropped_events += excess
        del self.events[:excess], self.event_times_ns[:excess]

    def make_ids_greater(self) -> None:
        """Do as a tracker does that loads its own run: each id that it gave out before is gone."""
        base, event_base = self.given_out, self.events_given_out
        for records in self.records().values():
            for record in records:
                for key in ("execution_id", "parent_id"):
                    if key in record:
                        record[key] += base
                if "caused_by" in record:
                    record["caused_by"] = [event_id + event_base for event_id in record["caused_by"]]
        for record in self.events:
            record["event_id"] += event_base
            if "execution_id" in record:
                record["execution_id"] += base

    def take_the_wall_clock(self) -> None:
        """Go on as after loading: on a clock that agrees with the wall clock at the end of the run."""
        for executions in self.executions.values():
            for execution in executions:
                execution.at_ns += self.step_ns
                execution.end_ns += self.step_ns
        self.event_times_ns = [at_ns + self.step_ns for at_ns in self.event_times_ns]
        self.step_ns = 0
        self.set_anchor()

    def load(self) -> None:
        """Forget what is not in the records."""
        for executions in self.executions.values():
            for execution in executions:
                execution.owner = None
                execution.is_exact = False
                if execution.is_open:
                    execution.at_ns -= execution.at_ns % 1000

    def records(self) -> dict[Any, list[Record]]:
        return {key: [execution.record for execution in executions] for key, executions in self.executions.items()}


def text(wall_ns: int) -> str:
    """Return the local time of a moment."""
    second, rest_ns = divmod(wall_ns, SECOND_NS)
    return (datetime.fromtimestamp(second) + timedelta(microseconds=rest_ns // 1000)).isoformat(timespec="microseconds")


def to_ns(local: str) -> int:
    moment = datetime.fromisoformat(local)
    return round(moment.replace(microsecond=0).timestamp()) * SECOND_NS + moment.microsecond * 1000


# --- free sequences ---

routine_ids = st.sampled_from(["a", "b", 4])
payloads = st.sampled_from([None, {}, {"x": 1}, "text", [1]])
outcomes = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["completed", "failed", "skipped", None]),
        "result": st.sampled_from([None, 0, {"y": 2}, "result"]),
        "error": st.sampled_from([None, "", "boom"]),
    }
)
ids = st.none() | st.integers(1, 12) | st.sampled_from(ODD)  # see `known`
# Each end comes after the one before: of two at one moment nobody can say which is the newer one.
steps = st.integers(1, 3 * SECOND_NS) | st.integers(1, 2000)


class Calls(RuleBasedStateMachine):
    """Any calls by any owners in any order, with clocks that are set and readers that come in between."""

    owners: ClassVar[list[Any]] = []
    loop: ClassVar[Loop]
    clock: ClassVar[dict[str, int]] = {}

    @initialize(max_records=st.sampled_from([None, None, 0, 1, 2]))
    def begin(self, max_records: int | None) -> None:
        self.clock.update(wall_ns=NOON_NS, mono_ns=NOON_NS // 7)
        self.tracker = ExecutionTracker("flow", max_records=max_records)
        self.model = Model(self.clock, max_records)
        self.is_live = False

    def teardown(self) -> None:
        if hasattr(self, "tracker"):
            self.compare_containers()
            self.tracker._check()

    def known(self, number: Any, given_out: int) -> Any:
        """Return the id that a number of `ids` stands for: nobody can name one before it is given out."""
        if type(number) is list:
            return [self.known(each, given_out) for each in number]
        return 1 + number % given_out if type(number) is int and 0 < number < MISSING_ID and given_out else number

    def called(self) -> None:
        if self.is_live:
            self.model.drop()

    # calls

    @rule(owner=st.integers(0, 8), routine_id=routine_ids, params=payloads, parent=ids, causes=ids | st.lists(ids))
    def start(self, owner: int, routine_id: Any, params: Any, parent: Any, causes: Any) -> None:
        self.time_passes_and_the_wall_clock_is_set(1000, 0)  # what was in this microsecond cannot be told from after it
        caller = self.owners[owner]
        parent, causes = self.known(parent, self.model.given_out), self.known(causes, self.model.events_given_out)
        if not self.model.events_given_out or not self.model.given_out:
            parent = causes = None
        self.model.start(routine_id, params, caller, parent, causes)
        facts = {"parent_id": parent, "caused_by": causes}
        number = caller.do(lambda: self.tracker.record_routine_start(routine_id, params, **facts))
        assert number == self.model.given_out
        self.called()

    @rule(owner=st.integers(0, 8), routine_id=routine_ids, outcome=outcomes, execution_id=ids, ns=steps)
    def end(self, owner: int, routine_id: Any, outcome: Record, execution_id: Any, ns: int) -> None:
        self.time_passes_and_the_wall_clock_is_set(ns, 0)
        execution_id = self.known(execution_id, self.model.given_out) if self.model.given_out else None
        caller = self.owners[owner]
        self.model.end(routine_id, outcome, execution_id, caller)
        given = {} if execution_id is None else {"execution_id": execution_id}
        assert caller.do(lambda: self.tracker.record_routine_end(routine_id, **outcome, **given)) is None
        self.called()

    @rule(owner=st.integers(0, 8), source=routine_ids, to=st.none() | routine_ids, data=payloads, execution_id=ids)
    def event(self, owner: int, source: Any, to: Any, data: Any, execution_id: Any) -> None:
        execution_id = self.known(execution_id, self.model.given_out) if self.model.given_out else None
        caller = self.owners[owner]
        self.model.event(source, to, data, execution_id, caller)
        number = caller.do(lambda: self.tracker.record_event(source, "e", to, data, execution_id=execution_id))
        assert number == self.model.events_given_out
        self.called()

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

    def compare_containers(self) -> None:
        self.model.drop()
        self.is_live = True
        self.compare(self.tracker.routine_executions, self.tracker.event_flow)

    def serialized(self) -> Record:
        """Return the run after a trip through JSON, which makes a text of a key that is a number."""
        self.model.drop()
        run: Record = json.loads(json.dumps(self.tracker.serialize(), allow_nan=False))
        for runs in (run["routine_executions"], run["performance_metrics"].get("lifetime", {}).get("routines", {})):
            if "4" in runs:
                items = [(4 if key == "4" else key, value) for key, value in runs.items()]
                runs.clear()
                runs.update(items)
        return run

    def look_at_numbers(self) -> None:
        self.model.drop()
        records = [record for records in self.model.records().values() for record in records]
        metrics = self.tracker.get_performance_metrics()
        assert metrics == _metrics.metrics_of("flow", self.tracker._run())
        assert metrics["unmatched_ends"] == self.model.unmatched_ends
        assert metrics["dropped_executions"] == self.model.dropped_executions
        assert metrics["dropped_events"] == self.model.dropped_events
        assert metrics["total_executions"] == len(records) + self.model.dropped_executions
        assert metrics["total_events"] == len(self.model.events) + self.model.dropped_events
        if self.model.max_records is None:
            assert metrics["completed"] == sum(record["status"] == "completed" for record in records)
            times = [record["execution_time"] for record in records if "execution_time" in record]
            assert metrics["total_execution_time"] == pytest.approx(sum(times))

    @rule(where=st.sampled_from(["containers", "serialized", "numbers"]))
    def read(self, where: str) -> None:
        if where == "containers":
            self.compare_containers()
        elif where == "serialized":
            run = self.serialized()
            self.compare(run["routine_executions"], run["event_flow"])
        else:
            self.look_at_numbers()

    # the whole state

    @rule(way=st.sampled_from(["pickle", "copy", "deepcopy", "serialize"]))
    def go_on_with_a_copy(self, way: str) -> None:
        self.model.drop()
        if way == "serialize":
            numbers = self.tracker.get_performance_metrics()
            self.tracker.deserialize(self.serialized())
            assert self.tracker.get_performance_metrics() == numbers
            self.model.take_the_wall_clock()
            self.model.make_ids_greater()
            self.model.given_out = self.tracker._ids[0].issued - 1
            self.model.events_given_out = self.tracker._ids[1].issued - 1
        else:
            if way == "pickle":
                assert pickle.dumps(self.tracker) == pickle.dumps(self.tracker)
                self.tracker = pickle.loads(pickle.dumps(self.tracker))
            else:
                self.tracker = getattr(copy, way)(self.tracker)
            self.model.go_on_in_a_copy()
        self.is_live = False
        self.model.load()

    @rule(dropped=st.sets(st.integers(0, 20)), reverse=st.booleans())
    def assign_containers_with_some_of_the_records(self, dropped: set[int], reverse: bool) -> None:
        def kept(items: list[Any]) -> list[Any]:
            items = [item for number, item in enumerate(items) if number not in dropped]
            return items[::-1] if reverse else items

        self.compare_containers()
        executions = self.tracker.routine_executions
        self.tracker.routine_executions = {key: kept(records) for key, records in executions.items()}
        self.tracker.event_flow = kept(self.tracker.event_flow)
        self.model.executions = {key: kept(executions) for key, executions in self.model.executions.items()}
        self.model.events, self.model.event_times_ns = kept(self.model.events), kept(self.model.event_times_ns)

    @rule(routine_id=routine_ids, new_id=routine_ids)
    def move_the_records_of_a_routine_to_another(self, routine_id: Any, new_id: Any) -> None:
        if routine_id in self.model.executions and routine_id != new_id and self.model.max_records is None:
            self.compare_containers()
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
    profile = settings(
        max_examples=3 * settings().max_examples // 2, stateful_step_count=50, deadline=None, report_multiple_bugs=False
    )
    run_state_machine_as_test(CallsOfThese, settings=profile)


# --- one by one ---


@pytest.fixture
def tracker(clock: dict[str, int]) -> ExecutionTracker:
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
    clock["mono_ns"] += 2 * SECOND_NS
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


def test_the_id_of_an_execution_that_is_in_no_assigned_container_is_gone(tracker: ExecutionTracker) -> None:
    gone = tracker.record_routine_start("a")
    tracker.routine_executions = {}
    tracker.record_routine_start("a")
    tracker.record_routine_start("b")
    for routine_id in "ab":
        tracker.record_routine_end(routine_id, "ended", execution_id=gone)
    assert (statuses(tracker, "a"), statuses(tracker, "b")) == (["running"], ["running"])
    assert tracker.get_performance_metrics()["unmatched_ends"] == 2
    tracker._check()


def test_a_block_whose_execution_is_in_no_assigned_container_ends_no_other(tracker: ExecutionTracker) -> None:
    with tracker.track("a") as gone:
        tracker.routine_executions = {}
        tracker.record_routine_start("a")
        gone.result = "old"
    assert [record.get("result") for record in tracker.routine_executions["a"]] == [None]
    assert statuses(tracker) == ["running"]


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
    clock["mono_ns"] += SECOND_NS
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


def test_containers_may_grow_while_they_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = ExecutionTracker()
    executions: dict[Any, list[Record]] = {"a": [{"routine_id": "a"}, {"routine_id": "a"}], "b": [{}]}

    class Growing(Ids):
        def skip(self, highest: int) -> None:  # as another thread might, between any two steps
            executions[f"new {len(executions)}"] = []

    monkeypatch.setattr(tracker._fold, "ids", (Growing(), Growing()))
    tracker.routine_executions = executions
    assert sorted(len(table.open) for table in tracker._fold.tables.values()) == [1, 2]


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

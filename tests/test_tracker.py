"""The class as engines and serilux use it."""

from __future__ import annotations

import asyncio
import copy
import enum
import inspect
import json
import pickle
import threading
import time
import weakref
from datetime import tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import serilux

from execution_tracker import ExecutionTracker, InvalidRunError, snapshot
from execution_tracker.payloads import json_safe

DUPLICATES = [copy.copy, copy.deepcopy, lambda tracker: pickle.loads(pickle.dumps(tracker))]
FIELDS = ["flow_id", "routine_executions", "event_flow", "performance_metrics"]


def recorded() -> ExecutionTracker:
    tracker = ExecutionTracker("nightly")
    first = tracker.record_routine_start("parse", {"path": "a.md"})
    tracker.record_routine_start("parse", {"path": "b.md"})
    tracker.record_event("parse", "parsed", "count", {"words": 3})
    tracker.record_routine_end("parse", result=3, execution_id=first)
    tracker.record_routine_end("load", "failed", error="never started")
    return tracker


@serilux.register_serializable
class HoldingFlow(serilux.Serializable):  # type: ignore[misc]
    """A flow that holds its tracker as routilux's does."""

    def __init__(self) -> None:
        super().__init__()
        self.add_serializable_fields(["execution_tracker", "trackers"])
        self.execution_tracker: ExecutionTracker | None = None
        self.trackers: list[ExecutionTracker] = []


def test_it_is_registered_with_serilux_under_upstreams_name() -> None:
    assert serilux.SerializableRegistry.get_class("ExecutionTracker") is ExecutionTracker


def test_the_fields_are_upstreams_four_in_a_fixed_order() -> None:
    assert ExecutionTracker().fields_to_serialize == FIELDS
    assert list(recorded().serialize()) == ["_type", *FIELDS]


def test_serilux_can_pass_its_own_arguments() -> None:
    assert list(inspect.signature(ExecutionTracker.deserialize).parameters) == ["self", "data", "strict", "registry"]
    tracker = recorded()
    assert tracker.serialize(max_depth=50, _current_depth=3) == tracker.serialize()


def test_a_new_tracker_is_truthy_since_engines_ask() -> None:
    assert ExecutionTracker()


def test_a_run_serialized_and_read_back_is_the_same() -> None:
    tracker = recorded()
    tracker.get_performance_metrics()
    data = json.loads(json.dumps(tracker.serialize(), allow_nan=False))
    back = ExecutionTracker()
    back.deserialize(data)
    assert back.serialize() == data
    assert back.routine_executions == tracker.routine_executions
    assert back.event_flow == tracker.event_flow
    back._check()


def test_serialized_data_is_independent_of_the_tracker() -> None:
    tracker = recorded()
    data = tracker.serialize()
    before = copy.deepcopy(data)
    tracker.record_routine_end("parse")
    tracker.routine_executions["parse"][0]["params"]["path"] = "changed"
    assert data == before


def test_a_deserialized_tracker_is_independent_of_the_data() -> None:
    data = recorded().serialize()
    before = copy.deepcopy(data)
    tracker = ExecutionTracker()
    tracker.deserialize(data)
    tracker.record_routine_end("parse")
    tracker.record_event("parse", "late")
    assert data == before


def test_a_flow_with_a_tracker_inside_is_serialized_and_read_back() -> None:
    flow = HoldingFlow()
    flow.execution_tracker = recorded()
    flow.trackers = [recorded(), ExecutionTracker("empty")]
    back = HoldingFlow()
    back.deserialize(json.loads(json.dumps(flow.serialize())))
    assert isinstance(back.execution_tracker, ExecutionTracker)
    assert back.execution_tracker.routine_executions == flow.execution_tracker.routine_executions
    assert [tracker.flow_id for tracker in back.trackers] == ["nightly", "empty"]


def test_a_field_that_is_missing_keeps_what_the_tracker_has() -> None:
    tracker = recorded()
    tracker.deserialize({"flow_id": "renamed"})
    assert tracker.flow_id == "renamed"
    assert len(tracker.event_flow) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the run: expected an object, found a list"),
        ({"event_flow": {}}, "event_flow: expected a list, found an object"),
        ({"event_flow": [{}, 5]}, "event_flow[1]: expected an object, found a number"),
        ({"routine_executions": {"a": [{}, "x"]}}, "routine_executions['a'][1]: expected an object, found a string"),
        ({"routine_executions": {"a": None}}, "routine_executions['a']: expected a list, found null"),
        ({"performance_metrics": True}, "performance_metrics: expected an object, found a boolean"),
    ],
)
def test_what_is_no_run_is_refused_with_its_place_and_changes_nothing(data: Any, message: str) -> None:
    tracker = recorded()
    before = tracker.serialize()
    with pytest.raises(InvalidRunError) as caught:
        tracker.deserialize(data)
    assert str(caught.value) == message
    assert tracker.serialize() == before


def test_an_unknown_field_is_refused_only_if_strict() -> None:
    tracker = ExecutionTracker()
    tracker.deserialize({"flow_id": "x", "extra": 1})
    with pytest.raises(InvalidRunError, match="unknown field 'extra'"):
        tracker.deserialize({"flow_id": "y", "extra": 1}, strict=True)
    assert tracker.flow_id == "x"


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_copy_has_the_same_run_and_goes_its_own_way(duplicate: Any) -> None:
    tracker = recorded()
    tracker.note = "kept"  # type: ignore[attr-defined]
    other = duplicate(tracker)
    assert (other.flow_id, other.note) == ("nightly", "kept")
    assert other.serialize() == tracker.serialize()
    other.record_routine_end("parse", "failed")
    assert [record["status"] for record in tracker.routine_executions["parse"]] == ["completed", "running"]
    assert [record["status"] for record in other.routine_executions["parse"]] == ["completed", "failed"]
    assert other.get_performance_metrics()["unmatched_ends"] == 1
    other._check()


def with_facts() -> ExecutionTracker:
    """A run in which one thing led to the other."""
    tracker = ExecutionTracker("nightly")
    with tracker.track("main") as main:
        with tracker.track("parse"):
            parsed = [tracker.record_event("parse", "parsed", "count") for _ in range(2)]
        with tracker.track("count", caused_by=parsed):
            tracker.record_event("count", "counted", execution_id=main.execution_id)
    tracker.record_routine_start("open", parent_id=main.execution_id)
    return tracker


def facts_of(tracker: ExecutionTracker) -> tuple[list[Any], list[Any]]:
    records = [record for records in tracker.routine_executions.values() for record in records]
    keys = "routine_id", "execution_id", "parent_id", "caused_by", "worker"
    executions = [{key: record.get(key) for key in keys} for record in records]
    return executions, [(event["event_id"], event.get("execution_id")) for event in tracker.event_flow]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_copy_has_the_ids_and_links_of_the_original_and_gives_out_ids_of_its_own(duplicate: Any, live: bool) -> None:
    tracker = with_facts()
    assert not live or tracker.routine_executions
    other = duplicate(tracker)
    executions, events = facts_of(other)
    assert (executions, events) == facts_of(tracker)
    assert [(execution["execution_id"], execution["parent_id"]) for execution in executions] == [
        (1, None),
        (2, 1),
        (3, 1),
        (4, 1),
    ]
    assert executions[2]["caused_by"] == [1, 2]
    assert events == [(1, 2), (2, 2), (3, 1)]
    for each in (tracker, other):
        assert each.record_routine_start("new") == 5
        assert each.record_event("new", "e") == 4
    other.record_routine_end("open", "ended in the copy", execution_id=4)
    assert other.routine_executions["open"][0]["status"] == "ended in the copy"
    assert tracker.routine_executions["open"][0]["status"] == "running"
    other._check()


@pytest.mark.parametrize("live", [False, True])
def test_pickling_twice_gives_the_same_bytes_and_uses_up_no_id(live: bool) -> None:
    tracker = with_facts()
    assert not live or tracker.routine_executions
    assert pickle.dumps(tracker) == pickle.dumps(tracker)
    assert (tracker.record_routine_start("new"), tracker.record_event("new", "e")) == (5, 4)


class BadRowError(Exception):
    """It pickles, and cannot be unpickled: as nearly all errors with arguments of their own."""

    def __init__(self, path: str, line: int) -> None:
        super().__init__(f"{path}:{line}")


class NeverPickled:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise KeyError("never")

    def __repr__(self) -> str:
        return "<what is never pickled>"


def odd_payloads() -> list[Any]:
    lock = threading.Lock()
    return [
        lock,
        {"lock": lock, "n": 1},
        [{"inner": lock}],
        (letter for letter in "abc"),
        lambda: None,
        NeverPickled(),
        BadRowError("a.csv", 3),
        type("Local", (), {})(),
    ]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("duplicate", DUPLICATES[1:])
def test_a_payload_that_cannot_be_copied_travels_as_its_text(duplicate: Any, live: bool) -> None:
    tracker = ExecutionTracker("nightly")
    assert not live or tracker.routine_executions == {}
    payloads = odd_payloads()
    for payload in payloads:
        execution = tracker.record_routine_start("a", payload)
        tracker.record_event("a", "e", data=payload)
        tracker.record_routine_end("a", "failed", payload, payload, execution_id=execution)
    other = duplicate(tracker)
    assert other.flow_id == "nightly"
    for index, payload in enumerate(payloads):
        record, event = other.routine_executions["a"][index], other.event_flow[index]
        places = [record["params"], record["result"], record["error"], event["data"]]
        assert json_safe(places) == [json_safe(payload)] * 4
    assert other.serialize() == tracker.serialize()
    other._check()


def test_one_odd_payload_leaves_the_others_what_they_are() -> None:
    tracker = ExecutionTracker()
    error = ValueError("no")
    for payload in (threading.Lock(), {"n": 1}, {1, 2}, error):
        tracker.record_event("a", "e", data=payload)
    for duplicate in DUPLICATES[1:]:
        _, plain, sets, errors = (event["data"] for event in duplicate(tracker).event_flow)
        assert (plain, sets, type(errors), errors.args) == ({"n": 1}, {1, 2}, ValueError, ("no",))
        assert errors is not error


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_ids_names_and_statuses_that_cannot_be_pickled_cost_no_copy(duplicate: Any) -> None:
    class Status(enum.Enum):
        DONE = 1

    def routine() -> None: ...

    tracker = ExecutionTracker(max_records=1)
    for _ in range(3):
        execution = tracker.record_routine_start(routine)
        tracker.record_event(routine, Status.DONE, routine)
        tracker.record_routine_end(routine, Status.DONE, execution_id=execution)
    other = duplicate(tracker)
    found, expected = other.get_performance_metrics(), tracker.get_performance_metrics()
    for key in ("total_executions", "total_routines", "total_events", "dropped_executions", "total_execution_time"):
        assert found[key] == expected[key]
    assert [*found["status_counts"].values()] == [3]
    (routine_id,) = other.routine_executions
    (event,) = other.event_flow
    assert event["source_routine_id"] == event["target_routine_id"] == routine_id
    other._check()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("duplicate", DUPLICATES[1:])
def test_a_payload_that_leads_back_to_its_tracker_leads_to_the_copy_in_a_copy(duplicate: Any, live: bool) -> None:
    tracker = ExecutionTracker("nightly")
    assert not live or tracker.event_flow == []
    tracker.record_event("a", "e", data={"tracker": tracker})
    tracker.record_event("a", "e", data=tracker)
    other = duplicate(tracker)
    inner, direct = (event["data"] for event in other.event_flow)
    assert inner["tracker"] is other
    assert direct is other


def test_a_deep_copy_has_the_text_of_a_payload_that_cannot_be_copied_and_copies_of_the_others() -> None:
    shared = ["shared"]
    tracker = ExecutionTracker()
    tracker.record_event("a", "e", data={"shared": shared, "lock": threading.Lock()})
    tracker.record_event("a", "e", data={"shared": shared})
    first, second = (event["data"] for event in copy.deepcopy(tracker).event_flow)
    assert first["lock"].startswith("<unlocked _thread.lock")
    assert (first["shared"], second["shared"]) == (shared, shared)
    assert second["shared"] is not shared


def test_a_deep_copy_takes_no_longer_than_its_payloads() -> None:
    tracker = ExecutionTracker()
    for number in range(20_000):
        tracker.record_event("a", "e", data={"number": number})
    begin = time.perf_counter()
    copy.deepcopy([event["data"] for event in copy.copy(tracker).event_flow])
    middle = time.perf_counter()
    copy.deepcopy(tracker)
    assert time.perf_counter() - middle < 20 * (middle - begin)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("max_records", [None, 1])
def test_every_id_that_was_given_out_before_is_gone_with_its_records(live: bool, max_records: int | None) -> None:
    tracker = ExecutionTracker(max_records=max_records)
    assert not live or tracker.routine_executions == {}
    first = tracker.record_routine_start("a")
    tracker.routine_executions = {}
    second = tracker.record_routine_start("a")
    tracker.record_routine_end("a", "old", execution_id=first)
    assert [record["status"] for record in tracker.routine_executions["a"]] == ["running"]
    tracker.record_routine_end("a", "new", execution_id=second)
    assert tracker.routine_executions["a"][0]["status"] == "new"
    assert tracker.get_performance_metrics()["unmatched_ends"] == 1
    tracker.deserialize({"routine_executions": {"b": [{"routine_id": "b", "status": "running"}]}, "event_flow": []})
    tracker.record_routine_end("b", "old", execution_id=first)
    tracker.record_routine_end("b", "old", execution_id=second)
    assert tracker.routine_executions["b"][0]["status"] == "running"


def test_an_open_execution_of_a_file_is_not_taken_for_one_that_runs_here() -> None:
    tracker = ExecutionTracker()
    with tracker.track("a") as execution:
        known = {"routine_id": "a", "status": "running", "execution_id": execution.execution_id}
        tracker.deserialize({"routine_executions": {"a": [known]}, "event_flow": []})
        tracker.record_routine_start("inner")
    assert tracker.routine_executions["a"][0]["status"] == "running"
    assert tracker.routine_executions["a"][0]["execution_id"] != tracker.routine_executions["inner"][0].get("parent_id")


def test_nothing_keeps_a_tracker_alive_that_has_given_out_records_and_was_in_blocks_and_tasks() -> None:
    tracker = with_facts()
    held = tracker.routine_executions, tracker.event_flow

    async def use(tracker: ExecutionTracker) -> None:
        async with tracker.track("a"):
            await asyncio.gather(*[asyncio.to_thread(tracker.record_routine_start, "b") for _ in range(3)])

    asyncio.run(use(tracker))
    tracker.get_performance_metrics()
    gone = weakref.ref(tracker)
    del tracker
    assert gone() is None
    assert held[0]["a"]


def test_nothing_keeps_a_tracker_alive_whose_block_is_around_a_task_that_lives_on() -> None:
    async def run() -> None:
        tracker = ExecutionTracker()
        done = asyncio.Event()
        with tracker.track("a"):
            task = asyncio.create_task(done.wait())
            await asyncio.sleep(0)
        gone = weakref.ref(tracker)
        del tracker
        assert gone() is None
        done.set()
        await task

    asyncio.run(run())


# --- subclasses that serilux knows ---


@serilux.register_serializable
class TeamTracker(ExecutionTracker):
    """A tracker with a field of its own."""

    def __init__(self, flow_id: str = "", team: str = "") -> None:
        super().__init__(flow_id)
        self.add_serializable_fields(["team"])
        self.team = team


def of_a_team() -> TeamTracker:
    tracker = TeamTracker("nightly", "data")
    with tracker.track("a", {"n": 1}):
        tracker.record_event("a", "e")
    return tracker


def test_a_registered_subclass_keeps_its_type_and_its_fields_in_data(tmp_path: Path) -> None:
    tracker = of_a_team()
    data = json.loads(json.dumps(tracker.serialize()))
    assert list(data) == ["_type", *FIELDS, "team"]
    assert (data["_type"], data["team"]) == ("TeamTracker", "data")
    back = TeamTracker()
    back.deserialize(data, strict=True)
    assert (back.team, back.serialize()) == ("data", data)
    tracker.save(tmp_path / "run.json")
    assert (tmp_path / "run.json").read_text() == json.dumps(tracker.serialize())
    loaded = TeamTracker.load(tmp_path / "run.json")
    assert (loaded.team, loaded.serialize()) == ("data", data)
    plain = ExecutionTracker.load(tmp_path / "run.json")  # a reader that knows nothing of teams
    assert plain.routine_executions == tracker.routine_executions


def test_a_field_of_a_subclass_that_serilux_cannot_write_is_written_as_text() -> None:
    class Broken(serilux.Serializable):
        def serialize(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no form")

        def __repr__(self) -> str:
            return "<Broken>"

    data = TeamTracker("nightly", Broken()).serialize()  # type: ignore[arg-type]
    assert data["team"].startswith("<Broken: ")
    assert json.loads(json.dumps(data)) == data


def test_a_registered_subclass_in_a_flow_comes_back_as_itself() -> None:
    flow = HoldingFlow()
    flow.execution_tracker = of_a_team()
    back = HoldingFlow()
    back.deserialize(json.loads(json.dumps(flow.serialize())))
    assert type(back.execution_tracker) is TeamTracker
    assert back.execution_tracker.team == "data"
    assert back.execution_tracker.routine_executions == flow.execution_tracker.routine_executions


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_a_copy_of_a_registered_subclass_has_its_type_and_its_fields(duplicate: Any) -> None:
    tracker = of_a_team()
    other = duplicate(tracker)
    assert (type(other), other.team, sorted(other.fields_to_serialize)) == (
        TeamTracker,
        "data",
        sorted([*FIELDS, "team"]),
    )
    assert other.serialize() == tracker.serialize()


@pytest.mark.parametrize("data", [{"_type": "Flow", "flow_id": "f"}, {"_type": "Flow"}, {"_type": None, "x": 1}])
def test_data_of_another_type_without_any_records_is_refused(data: Any) -> None:
    tracker = recorded()
    before = tracker.serialize()
    with pytest.raises(InvalidRunError, match=r"^the run: expected an ExecutionTracker, found data of the type "):
        tracker.deserialize(data)
    assert tracker.serialize() == before


def test_data_of_another_type_with_records_is_taken() -> None:
    tracker = ExecutionTracker()
    tracker.deserialize({"_type": "TheirTracker", "event_flow": [{"event_name": "e"}]})
    assert tracker.event_flow[0]["event_name"] == "e"


def test_a_subclass_can_override_and_extend() -> None:
    class Loud(ExecutionTracker):
        def record_event(self, *args: Any, **kwargs: Any) -> None:
            self.heard = args
            super().record_event(*args, **kwargs)

    tracker = Loud("x")
    tracker.record_event("a", "e")
    assert tracker.heard == ("a", "e")
    assert tracker.serialize()["_type"] == "ExecutionTracker"


@pytest.mark.parametrize(
    ("attribute", "value"), [("routine_executions", []), ("routine_executions", None), ("event_flow", {})]
)
def test_assigning_another_type_to_a_container_is_a_clear_error(attribute: str, value: Any) -> None:
    tracker = recorded()
    with pytest.raises(InvalidRunError, match=f"{attribute}: expected a"):
        setattr(tracker, attribute, value)
    assert tracker.event_flow


def test_performance_of_an_unknown_or_empty_routine_is_none() -> None:
    tracker = recorded()
    tracker.routine_executions["empty"] = []
    assert tracker.get_routine_performance("unknown") is None
    assert tracker.get_routine_performance("empty") is None
    assert tracker.get_routine_performance(["unhashable"]) is None


def test_reading_numbers_does_not_make_the_containers_live() -> None:
    tracker = recorded()
    tracker.get_performance_metrics()
    tracker.serialize()
    copy.copy(tracker)
    tracker.record_event("a", "later")
    assert tracker._log  # still recorded without a fold
    assert len(tracker.event_flow) == 2


def test_concurrent_readers_and_recorders_agree_on_every_total() -> None:
    tracker = ExecutionTracker()
    done = threading.Event()

    def record() -> None:
        for _ in range(300):
            tracker.record_routine_end("a", execution_id=tracker.record_routine_start("a"))

    def read() -> None:
        while not done.is_set():
            numbers = tracker.get_performance_metrics()
            assert sum(numbers["status_counts"].values()) == numbers["total_executions"]

    recorders = [threading.Thread(target=record) for _ in range(4)]
    reader = threading.Thread(target=read)
    for thread in [*recorders, reader]:
        thread.start()
    for thread in recorders:
        thread.join()
    done.set()
    reader.join()
    assert tracker.get_performance_metrics()["completed"] == 1200


def test_a_read_ends_though_a_thread_records_without_a_pause() -> None:
    tracker = ExecutionTracker()
    done = threading.Event()

    def record() -> None:
        while not done.is_set():
            tracker.record_event("a", "e")

    recorder = threading.Thread(target=record)
    recorder.start()
    total = tracker.get_flow_performance()["total_events"]
    done.set()
    recorder.join()
    assert tracker.get_flow_performance()["total_events"] >= total


@pytest.mark.parametrize(
    ("setting", "value"),
    [("capture", snapshot), ("capture", "password"), ("tz", "Europe/Berlin"), ("tz", ZoneInfo)],
)
def test_a_setting_that_would_fail_at_the_first_record_is_refused_at_once(setting: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^{setting}: expected .*; found "):
        ExecutionTracker(**{setting: value})  # type: ignore[arg-type]


def test_a_time_zone_that_does_not_tell_its_offset_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"^tz: expected a time zone that tells its offset; found "):
        ExecutionTracker(tz=tzinfo())

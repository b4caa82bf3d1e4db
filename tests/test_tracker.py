"""The class as engines and serilux use it."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import threading
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import serilux

from execution_tracker import ExecutionTracker, InvalidRunError, snapshot

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


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda tracker: pickle.loads(pickle.dumps(tracker))])
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


def test_ids_given_out_by_the_original_mean_nothing_to_a_copy() -> None:
    tracker = ExecutionTracker()
    given = tracker.record_routine_start("a")
    other = copy.copy(tracker)
    other.record_routine_start("b")
    other.record_routine_end("b", execution_id=given)
    assert other.routine_executions["a"][0]["status"] == "running"
    assert other.routine_executions["b"][0]["status"] == "completed"


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

"""The same calls to upstream's tracker and to ours: records and numbers have to be the same.

Both read one clock, which passes microseconds, so times have to be equal as well; only upstream leaves out the
microseconds where they are zero. A routine has at most one open execution at a time: where executions overlap,
upstream closes the wrong ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker, InvalidRunError
from execution_tracker import _recording as recording

UPSTREAM_KEYS = [
    *("routine_id", "start_time", "params", "status", "end_time", "result", "error", "execution_time"),
    *("timestamp", "source_routine_id", "event_name", "target_routine_id", "data"),
]

Record = dict[str, Any]
Call = tuple[str, dict[str, Any]]

NOON_US = 1_768_478_400 * 10**6  # in the middle of a month in which no zone changes its offset


class Clock:
    """One clock for both: for upstream in the place of the class ``datetime``, for us in that of the functions."""

    now_us = NOON_US

    def now(self, tz: None = None) -> datetime:
        return datetime.fromtimestamp(self.now_us // 10**6).replace(microsecond=self.now_us % 10**6)

    def now_ns(self) -> int:
        return self.now_us * 1000

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime, name)


@pytest.fixture
def clock(upstream_class: Any, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setitem(upstream_class.record_event.__globals__, "datetime", clock)
    monkeypatch.setattr(recording, "time_ns", clock.now_ns)
    monkeypatch.setattr(recording, "perf_counter_ns", clock.now_ns)
    return clock


# --- calls ---

routine_ids = st.sampled_from(["a", "b", "c", "", "ä", 7, None, ("x", 1)])
statuses = st.sampled_from(["completed", "failed", "running", "skipped", "", None, 3])
# Not 0, False, 0.0, which upstream takes for nothing, too.
payloads = st.sampled_from([None, {}, [], (), "", {"x": 1}, [None], "text", 5, True, {"y": {"z": []}}])
errors = st.sampled_from([None, "", "boom", 0, ValueError])

starts = st.fixed_dictionaries({"routine_id": routine_ids}, optional={"params": payloads})
ends = st.fixed_dictionaries(
    {"routine_id": routine_ids}, optional={"status": statuses, "result": payloads, "error": errors}
)
events = st.fixed_dictionaries(
    {"source_routine_id": routine_ids, "event_name": st.sampled_from(["done", "", 5])},
    optional={"target_routine_id": routine_ids, "data": payloads},
)
microseconds = st.one_of(st.integers(1, 50), st.integers(1, 5_000_000), st.just(1_000_000))
calls = st.one_of(
    st.tuples(st.just("record_routine_start"), starts),
    st.tuples(st.just("record_routine_end"), ends),
    st.tuples(st.just("record_event"), events),
    st.tuples(st.just("wait"), microseconds.map(lambda count: {"microseconds": count})),
    st.tuples(st.sampled_from(["get_flow_performance", "routine_executions"]), st.just({})),
    st.tuples(st.just("get_routine_performance"), st.fixed_dictionaries({"routine_id": routine_ids})),
)


def one_open_at_a_time(sequence: list[Call]) -> Iterator[Call]:
    """Leave out each start of a routine that is open."""
    opened = set()
    for name, arguments in sequence:
        if name == "record_routine_start":
            if arguments["routine_id"] in opened:
                continue
            opened.add(arguments["routine_id"])
        elif name == "record_routine_end":
            opened.discard(arguments["routine_id"])
        yield name, arguments


# --- what has to be the same ---


def in_our_form(record: Record) -> Record:
    """Write the microseconds of upstream's times where they are zero."""
    return {
        key: f"{value}.000000" if key in ("start_time", "end_time", "timestamp") and len(value) == 19 else value
        for key, value in record.items()
    }


def assert_same_records(ours: Any, theirs: Any) -> None:
    assert list(ours.routine_executions) == list(theirs.routine_executions)
    for routine_id, records in theirs.routine_executions.items():
        assert_same_list(ours.routine_executions[routine_id], records)
    assert_same_list(ours.event_flow, theirs.event_flow)


def assert_same_list(ours: list[Record], theirs: list[Record]) -> None:
    assert len(ours) == len(theirs)
    for our_record, their_record in zip(ours, map(in_our_form, theirs), strict=True):
        # Ours come after them. Upstream adds the result of a late end at the end.
        assert [key for key in our_record if key in UPSTREAM_KEYS] == sorted(their_record, key=UPSTREAM_KEYS.index)
        for key, value in their_record.items():
            if key == "execution_time":
                assert our_record[key] == pytest.approx(value, abs=1e-9)
            else:
                assert our_record[key] == value
                assert type(our_record[key]) is type(value)


def assert_same_routine_performance(ours: Any, theirs: Any) -> None:
    if theirs is None:
        assert ours is None
        return
    assert theirs.keys() == {
        *("total_executions", "completed", "failed", "success_rate"),
        *("avg_execution_time", "min_execution_time", "max_execution_time"),
    }
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, abs=1e-9)


def assert_same_flow_performance(ours: Any, theirs: Any, executions: dict[Any, list[Record]]) -> None:
    assert ours.keys() == theirs.keys()
    for key in ("total_routines", "total_events", "avg_routine_time"):
        assert ours[key] == pytest.approx(theirs[key], abs=1e-9)
    # Upstream adds up the averages of the routines here. The contract wants the sum of all execution times.
    times = [record.get("execution_time", 0) for records in executions.values() for record in records]
    assert ours["total_execution_time"] == pytest.approx(sum(times))


@settings(
    max_examples=4 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sequence=st.lists(calls, max_size=40))
def test_the_same_calls_leave_the_same_records_and_numbers(
    sequence: list[Call], upstream_class: Any, clock: Clock
) -> None:
    clock.now_us = NOON_US
    ours, theirs = ExecutionTracker("flow"), upstream_class("flow")
    for name, arguments in one_open_at_a_time(sequence):
        if name == "wait":
            clock.now_us += arguments["microseconds"]
        elif name == "routine_executions":
            assert_same_records(ours, theirs)
        elif name == "get_routine_performance":
            assert_same_routine_performance(
                ours.get_routine_performance(**arguments), theirs.get_routine_performance(**arguments)
            )
        elif name == "get_flow_performance":
            assert_same_flow_performance(
                ours.get_flow_performance(), theirs.get_flow_performance(), theirs.routine_executions
            )
        else:
            clock.now_us += 1  # upstream has executions that take no time, ours take a nanosecond at least
            assert getattr(theirs, name)(**arguments) is None
            getattr(ours, name)(**arguments)
    for routine_id in [*theirs.routine_executions, "unknown"]:
        assert_same_routine_performance(
            ours.get_routine_performance(routine_id), theirs.get_routine_performance(routine_id)
        )
    assert_same_flow_performance(ours.get_flow_performance(), theirs.get_flow_performance(), theirs.routine_executions)
    assert_same_records(ours, theirs)
    ours._check()


@pytest.mark.usefixtures("clock")
def test_positional_arguments_mean_the_same(upstream_class: Any) -> None:
    trackers = ExecutionTracker("flow"), upstream_class("flow")
    for tracker in trackers:
        tracker.record_routine_start("a", {"x": 1})
        tracker.record_event("a", "done", "b", {"y": 2})
        tracker.record_routine_end("a", "failed", {"z": 3}, "boom")
    ours, theirs = trackers
    del ours.routine_executions["a"][0]["execution_time"], theirs.routine_executions["a"][0]["execution_time"]
    assert_same_records(ours, theirs)


@pytest.mark.usefixtures("clock")
def test_what_upstream_serialized_is_read_as_the_same_run(upstream_class: Any) -> None:
    theirs = upstream_class("flow")
    theirs.record_routine_start("a", {"x": 1})
    theirs.record_event("a", "done", "b", {"y": 2})
    theirs.record_routine_end("a", "failed", {"z": 3}, "boom")
    theirs.record_routine_start("a")
    ours = ExecutionTracker()
    ours.deserialize(theirs.serialize())
    assert ours.flow_id == "flow"
    for ours_, theirs_ in (
        (ours.routine_executions["a"], theirs.routine_executions["a"]),
        (ours.event_flow, theirs.event_flow),
    ):
        for our_record, their_record in zip(ours_, theirs_, strict=True):
            assert {key: our_record[key] for key in their_record} == their_record
    for tracker in (ours, theirs):
        tracker.record_routine_end("a")
    for our_record, their_record in zip(ours.routine_executions["a"], theirs.routine_executions["a"], strict=True):
        assert {key for key in our_record if key in UPSTREAM_KEYS} == set(their_record)


# --- where the contract differs on purpose: if upstream is repaired there, these tell ---


def test_a_wall_clock_that_is_set_back_makes_upstreams_time_negative_and_not_ours(
    upstream_class: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monotonic_ns = iter([0, 0, 10**9])  # when it is made, at the start and at the end
    monkeypatch.setattr(recording, "perf_counter_ns", lambda: next(monotonic_ns))
    ours, theirs = ExecutionTracker(), upstream_class("flow")
    for tracker in (ours, theirs):
        clock.now_us = NOON_US
        tracker.record_routine_start("a")
        clock.now_us = NOON_US - 5_000_000
        tracker.record_routine_end("a")
    assert theirs.routine_executions["a"][0]["execution_time"] == -5.0
    assert ours.routine_executions["a"][0]["execution_time"] == 1.0


@pytest.mark.usefixtures("clock")
def test_of_overlapping_executions_upstream_closes_the_newest_twice_and_we_close_each(upstream_class: Any) -> None:
    ours, theirs = ExecutionTracker(), upstream_class("flow")
    for tracker in (ours, theirs):
        tracker.record_routine_start("a")
        tracker.record_routine_start("a")
        tracker.record_routine_end("a", "inner")
        tracker.record_routine_end("a", "outer")
    assert [record["status"] for record in theirs.routine_executions["a"]] == ["running", "outer"]
    assert [record["status"] for record in ours.routine_executions["a"]] == ["outer", "inner"]


def test_an_id_that_is_no_key_makes_upstream_raise_and_is_recorded_here(upstream_class: Any) -> None:
    ours, theirs = ExecutionTracker(), upstream_class("flow")
    with pytest.raises(TypeError, match="unhashable"):
        theirs.record_routine_start(["a"])
    ours.record_routine_start(["a"])
    assert list(ours.routine_executions) == ["['a']"]


def test_upstream_adds_up_averages_and_we_add_up_execution_times(upstream_class: Any, clock: Clock) -> None:
    ours, theirs = ExecutionTracker(), upstream_class("flow")
    for seconds in (1, 3):
        for tracker in (ours, theirs):
            tracker.record_routine_start("a")
        clock.now_us += seconds * 10**6
        for tracker in (ours, theirs):
            tracker.record_routine_end("a")
    assert theirs.get_flow_performance()["total_execution_time"] == 2.0
    assert ours.get_flow_performance()["total_execution_time"] == 4.0


def test_a_payload_that_is_no_json_costs_upstreams_run_and_not_ours(upstream_class: Any) -> None:
    ours, theirs = ExecutionTracker(), upstream_class("flow")
    cycle: dict[str, Any] = {}
    cycle["itself"] = cycle
    for tracker in (ours, theirs):
        tracker.record_routine_start("a", {"day": date(2026, 1, 31)})
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps(theirs.serialize())
    for tracker in (ours, theirs):
        tracker.record_routine_start("a", cycle)
    with pytest.raises(RecursionError):
        theirs.serialize()
    assert json.loads(json.dumps(ours.serialize())) == ours.serialize()


def test_upstream_imports_what_a_payload_names_and_we_do_not(
    upstream_class: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_in_a_payload.py").write_text("def function(): pass\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    payload = {"_type": "callable", "callable_type": "function", "module": "named_in_a_payload", "name": "function"}
    run = {"routine_executions": {"a": [{"params": payload}]}}
    ours = ExecutionTracker()
    ours.deserialize(run)
    assert ours.routine_executions["a"][0]["params"] == payload
    assert "named_in_a_payload" not in sys.modules
    upstream_class("flow").deserialize(run)
    assert sys.modules.pop("named_in_a_payload")


def test_upstream_takes_over_what_is_no_run_and_we_refuse_it(upstream_class: Any) -> None:
    ours, theirs = ExecutionTracker(), upstream_class("flow")
    theirs.deserialize({"routine_executions": 5})
    assert theirs.routine_executions == 5
    with pytest.raises(InvalidRunError):
        ours.deserialize({"routine_executions": 5})
    assert ours.routine_executions == {}

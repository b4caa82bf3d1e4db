"""What a tracker with ``max_records`` keeps, and what it still knows of the rest."""

from __future__ import annotations

import copy
import pickle
import time
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker
from execution_tracker._folding import ENTRY_WIDTH
from execution_tracker._run import EVENT_WIDTH, WIDTH

LIFETIME = [
    *("total_executions", "completed", "failed", "running", "status_counts", "success_rate"),
    *("total_execution_time", "avg_execution_time", "min_execution_time", "max_execution_time"),
]


def record_some(tracker: ExecutionTracker, count: int, routine_id: str = "a") -> None:
    for number in range(count):
        tracker.record_routine_start(routine_id, {"number": number})
        tracker.record_event(routine_id, "e", None, {"number": number})
        tracker.record_routine_end(routine_id, "failed" if number % 3 == 0 else "completed")


def numbers_of(records: list[dict[str, Any]], payload: str) -> list[int]:
    return [record[payload]["number"] for record in records]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("max_records", [0, 1, 5])
def test_the_newest_ended_executions_and_events_are_kept(max_records: int, live: bool) -> None:
    tracker = ExecutionTracker(max_records=max_records)
    held = tracker.routine_executions if live else None
    record_some(tracker, 12)
    kept = list(range(12))[12 - max_records :]
    assert numbers_of(tracker.routine_executions["a"], "params") == kept
    assert numbers_of(tracker.event_flow, "data") == kept
    assert held is None or held is tracker.routine_executions
    tracker._check()


def test_each_routine_has_its_own_limit() -> None:
    tracker = ExecutionTracker(max_records=2)
    record_some(tracker, 5, "a")
    record_some(tracker, 1, "b")
    assert {routine_id: len(records) for routine_id, records in tracker.routine_executions.items()} == {"a": 2, "b": 1}


def test_open_executions_are_never_dropped_and_still_end() -> None:
    tracker = ExecutionTracker(max_records=1)
    first = tracker.record_routine_start("a", {"number": -1})
    record_some(tracker, 4)
    assert numbers_of(tracker.routine_executions["a"], "params") == [-1, 3]
    tracker.record_routine_end("a", execution_id=first)
    assert numbers_of(tracker.routine_executions["a"], "params") == [-1]  # the newest by its end
    assert tracker.get_performance_metrics()["completed"] == 3


@pytest.mark.parametrize("live", [False, True])
def test_what_ended_last_is_kept_whenever_it_began(live: bool) -> None:
    tracker = ExecutionTracker(max_records=2)
    assert not live or tracker.routine_executions == {}
    long = tracker.record_routine_start("a", {"number": -1})
    record_some(tracker, 3)
    tracker.record_routine_end("a", "failed", error="boom", execution_id=long)
    assert numbers_of(tracker.routine_executions["a"], "params") == [-1, 2]
    tracker.record_execution("a", 1e9, 1e9 + 1, params={"number": 5})
    assert numbers_of(tracker.routine_executions["a"], "params") == [-1, 2]
    assert tracker.get_performance_metrics()["dropped_executions"] == 3
    tracker._check()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["completed", "failed", "odd"])), max_size=60),
    st.integers(0, 4),
)
def test_lifetime_numbers_are_those_of_a_tracker_that_keeps_everything(
    calls: list[tuple[str, str]], max_records: int
) -> None:
    all_kept, bounded = ExecutionTracker(), ExecutionTracker(max_records=max_records)
    for routine_id, status in calls:
        for tracker in (all_kept, bounded):
            tracker.record_routine_end(routine_id, status, execution_id=tracker.record_routine_start(routine_id))
            tracker.record_event(routine_id, "e")
    # The clocks differ, so the times of one are given to the other before it drops anything.
    records = [record for records in all_kept.routine_executions.values() for record in records]
    bounded = ExecutionTracker(max_records=max_records)
    bounded.deserialize(all_kept.serialize())
    expected, found = all_kept.get_performance_metrics(), bounded.get_performance_metrics()
    for key in LIFETIME:
        assert found[key] == pytest.approx(expected[key], abs=1e-9)
    for routine_id, routine in expected["routines"].items():
        for key in LIFETIME:
            assert found["routines"][routine_id][key] == pytest.approx(routine[key], abs=1e-9)
    assert found["total_events"] == len(calls)
    assert found["wall_time"] == expected["wall_time"]
    kept = sum(map(len, bounded.routine_executions.values()))
    assert found["dropped_executions"] == len(records) - kept
    assert found["dropped_events"] == max(0, len(calls) - max_records)


def test_averages_of_the_flow_count_what_was_dropped() -> None:
    tracker = ExecutionTracker(max_records=1)
    record_some(tracker, 9)
    routine = tracker.get_routine_performance("a")
    assert routine is not None
    flow = tracker.get_flow_performance()
    assert (flow["total_events"], routine["total_executions"]) == (9, 9)
    assert flow["total_execution_time"] == pytest.approx(routine["total_execution_time"])
    assert flow["avg_routine_time"] == pytest.approx(routine["avg_execution_time"])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda tracker: pickle.loads(pickle.dumps(tracker))])
def test_copies_keep_the_limit_and_the_lifetime_numbers_and_go_their_own_way(duplicate: Any) -> None:
    tracker = ExecutionTracker(max_records=2)
    record_some(tracker, 5)
    other = duplicate(tracker)
    record_some(other, 5)
    assert other.get_performance_metrics()["total_executions"] == 10
    assert tracker.get_performance_metrics()["total_executions"] == 5
    assert len(other.routine_executions["a"]) == 2


def test_an_unread_log_is_folded_before_it_gets_long() -> None:
    tracker = ExecutionTracker(max_records=3)
    for _ in range(30_000):
        tracker.record_event("a", "e")
    assert len(tracker._log) < 5000 * ENTRY_WIDTH
    assert len(tracker._fold.events) < 100 * EVENT_WIDTH
    assert tracker.get_performance_metrics()["total_events"] == 30_000


def test_whoever_comes_in_while_events_are_dropped_finds_each_of_them_counted_once() -> None:
    tracker = ExecutionTracker(max_records=3)
    seen: list[int] = []

    class Data:
        def __del__(self) -> None:
            run = tracker._run()
            seen.append(run.event_count + run.dropped_events)

    assert tracker.event_flow == []
    for _ in range(10):
        tracker.record_event("a", "b", None, Data())
    assert seen == [4, 5, 6, 7, 8, 9, 10]


def test_nothing_is_kept_of_records_that_are_gone() -> None:
    bounded, cleared = ExecutionTracker(max_records=10), ExecutionTracker(max_records=10)
    assert cleared.routine_executions == {}
    for _ in range(6):
        for tracker in (bounded, cleared):
            for _ in range(300):
                with tracker.track("a"), tracker.track("b"):
                    pass
        cleared.routine_executions.clear()
    for tracker in (bounded, cleared):
        tracker.get_performance_metrics()
        fold = tracker._fold
        assert sum(len(table.rows) + len(table.open) for table in fold.tables.values()) <= 20 * WIDTH
        assert len(fold.nested_ns) <= 20
        tracker._check()


def test_records_edited_by_hand_are_dropped_like_others() -> None:
    tracker = ExecutionTracker(max_records=1)
    tracker.record_routine_start("a")
    tracker.record_routine_end("a")
    tracker.routine_executions["a"][0].update(start_time="?", end_time=None, execution_time="long", status=["odd"])
    tracker.routine_executions["a"].append(5)  # type: ignore[arg-type]
    record_some(tracker, 2)
    assert tracker.routine_executions["a"][0] == 5
    assert numbers_of(tracker.routine_executions["a"][1:], "params") == [1]


@pytest.mark.parametrize("execution_time", [2, 0.5, 1e300, 10**400, -1e300, float("inf"), float("nan"), "long"])
def test_a_dropped_record_counts_for_as_long_as_it_did_before(execution_time: Any) -> None:
    record = {"status": "completed", "end_time": "?", "execution_time": execution_time}
    kept, dropping = ExecutionTracker(), ExecutionTracker(max_records=0)
    for tracker in (kept, dropping):
        tracker.deserialize({"routine_executions": {"a": [record]}, "event_flow": []})
        tracker.record_event("a", "e")
    assert dropping.get_performance_metrics()["dropped_executions"] == 1
    for key in LIFETIME:
        assert dropping.get_performance_metrics()[key] == kept.get_performance_metrics()[key]


@pytest.mark.parametrize("max_records", [-1, 1.5, "10"])
def test_a_limit_that_is_no_number_is_refused_with_what_is_expected(max_records: Any) -> None:
    with pytest.raises(ValueError, match="max_records: expected a whole number from 0 on"):
        ExecutionTracker(max_records=max_records)


def test_a_late_end_of_a_record_from_a_file_is_counted_once_when_it_is_dropped() -> None:
    finished = ExecutionTracker()
    record_some(finished, 1)
    tracker = ExecutionTracker(max_records=1)
    tracker.deserialize(finished.serialize())
    tracker.record_routine_end("a", "late")
    record_some(tracker, 2, "a")
    assert numbers_of(tracker.routine_executions["a"], "params") == [1]
    assert tracker.get_performance_metrics()["status_counts"] == {"late": 1, "failed": 1, "completed": 1}
    tracker._check()


def test_a_dropped_execution_keeps_nothing_alive() -> None:
    class Payload:
        pass

    payload = Payload()
    gone = weakref.ref(payload)
    tracker = ExecutionTracker(max_records=1)
    tracker.record_routine_start("a", payload)
    del payload
    tracker.record_routine_end("a")
    record_some(tracker, 1)
    assert len(tracker.routine_executions["a"]) == 1
    assert gone() is None


@pytest.mark.parametrize("assigned", [False, True])
def test_an_end_with_the_id_of_a_dropped_execution_closes_no_other(assigned: bool) -> None:
    tracker = ExecutionTracker(max_records=1)
    dropped = tracker.record_routine_start("a")
    tracker.record_routine_end("a")
    record_some(tracker, 1)
    still_open = tracker.record_routine_start("a")
    assert len(tracker.routine_executions["a"]) == 2
    if assigned:
        tracker.routine_executions = dict(tracker.routine_executions)
    tracker.record_routine_end("a", "late", execution_id=dropped)
    numbers = tracker.get_performance_metrics()
    assert (numbers["running"], numbers["unmatched_ends"]) == (1, 1)
    tracker.record_routine_end("a", execution_id=still_open)
    assert tracker.routine_executions["a"][-1]["status"] == "completed"
    tracker._check()


def test_assigned_records_leave_the_span_of_the_dropped_ones() -> None:
    tracker = ExecutionTracker(max_records=1)
    for _ in range(3):
        record_some(tracker, 1)
        time.sleep(0.01)
    before = tracker.get_performance_metrics()
    tracker.routine_executions = dict(tracker.routine_executions)
    assert tracker.get_performance_metrics()["wall_time"] == before["wall_time"] > 0.02


def test_dropping_a_record_from_a_file_takes_no_id_from_another() -> None:
    finished = ExecutionTracker()
    record_some(finished, 1)
    tracker = ExecutionTracker(max_records=2)
    tracker.deserialize(finished.serialize())
    first = tracker.record_routine_start("a", {"number": 10})
    tracker.record_routine_end("a")
    tracker.record_routine_start("a", {"number": 11})
    tracker.record_routine_end("a")
    assert numbers_of(tracker.routine_executions["a"], "params") == [10, 11]
    tracker.record_routine_end("a", "late", execution_id=first)
    assert [record["status"] for record in tracker.routine_executions["a"]] == ["late", "completed"]


@pytest.mark.parametrize("max_records", [None, 20_000])
def test_an_id_still_finds_its_execution_after_many_thousand_others(max_records: int | None) -> None:
    tracker = ExecutionTracker(max_records=max_records)
    first = tracker.record_routine_start("a")
    tracker.record_routine_end("a")
    for _ in range(12_000):
        tracker.record_routine_start("b")
        tracker.record_routine_end("b")
    tracker.record_routine_start("a")
    tracker.record_routine_end("a")
    tracker.get_flow_performance()
    tracker.record_routine_end("a", "late", execution_id=first)
    assert [record["status"] for record in tracker.routine_executions["a"]] == ["late", "completed"]
    tracker._check()


def test_a_list_that_was_replaced_by_hand_stops_nobody() -> None:
    tracker = ExecutionTracker(max_records=1)
    executions: dict[str, Any] = tracker.routine_executions
    tracker.record_routine_start("a")
    executions["a"] = "broken"
    tracker.record_routine_end("a")
    assert executions == {"a": "broken"}
    record_some(tracker, 3)
    assert numbers_of(executions["a"], "params") == [2]


def test_records_that_were_put_in_by_hand_and_look_open_are_not_dropped() -> None:
    tracker = ExecutionTracker(max_records=0)
    executions = tracker.routine_executions
    executions["a"] = [{"status": "by hand"}, {"status": "by hand"}]
    record_some(tracker, 3)
    assert [record["status"] for record in executions["a"] if record["status"] == "by hand"] == ["by hand"] * 2
    assert tracker.get_performance_metrics()["total_events"] == 3


def test_children_that_outlast_their_dropped_parents_leave_nothing_behind() -> None:
    tracker = ExecutionTracker(max_records=5)
    for _ in range(300):
        parent = tracker.record_routine_start("parent")
        child = tracker.record_routine_start("child", parent_id=parent)
        tracker.record_routine_end("parent", execution_id=parent)
        for _ in range(6):
            with tracker.track("parent"):
                pass
        tracker.get_flow_performance()
        tracker.record_routine_end("child", execution_id=child)
        tracker.get_flow_performance()
    assert len(tracker._fold.nested_ns) < 100


def test_an_end_with_an_id_that_is_gone_is_looked_for_in_all_rows() -> None:
    tracker = ExecutionTracker(max_records=100)
    gone = tracker.record_routine_start("a")
    tracker.record_routine_end("a", execution_id=gone)
    record_some(tracker, 200)
    assert tracker.get_performance_metrics()["dropped_executions"] == 101
    tracker.record_routine_end("a", "late", execution_id=gone)
    assert tracker.get_performance_metrics()["unmatched_ends"] == 1

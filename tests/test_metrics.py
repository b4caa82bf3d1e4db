"""Numbers against plain models: numpy for percentiles, a sweep for concurrency."""

from __future__ import annotations

import json
import math
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker, metrics
from execution_tracker.folding import Snapshot
from execution_tracker.retention import Dropped

EPOCH = datetime(2026, 3, 1, 12)
FOUR_DIGITS = st.integers(0, 9999)


def text(microseconds: int) -> str:
    return (EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


def ended(start: int, end: int, routine_id: str = "a", status: str = "completed") -> dict[str, Any]:
    return {
        "routine_id": routine_id,
        "start_time": text(start),
        "params": {},
        "status": status,
        "end_time": text(end),
        "execution_time": (end - start) / 1e6,
    }


def running(start: int, routine_id: str = "a") -> dict[str, Any]:
    return {"routine_id": routine_id, "start_time": text(start), "params": {}, "status": "running"}


def snapshot(executions: dict[str, Any], events: list[Any]) -> Snapshot:
    return Snapshot(executions, events, Dropped(), 0, None)


def run(*records: dict[str, Any]) -> dict[str, Any]:
    executions: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        executions.setdefault(record["routine_id"], []).append(record)
    return metrics.run_metrics("flow", snapshot(executions, []))


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    ascending = sorted(values)
    expected = float(numpy.percentile(ascending, percent))
    assert metrics.percentile(ascending, percent) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(FOUR_DIGITS, st.integers(1, 9999)), max_size=40))
def test_all_statistics_of_a_routine_are_those_of_its_records(spans: list[tuple[int, int]]) -> None:
    records = [ended(start, start + length) for start, length in spans]
    performance = metrics.routine_performance(records)
    if not records:
        assert performance is None
        return
    times = [record["execution_time"] for record in records]
    assert performance is not None
    assert performance["total_executions"] == performance["completed"] == len(records)
    assert performance["total_execution_time"] == math.fsum(times)
    assert performance["min_execution_time"] == min(times)
    assert performance["max_execution_time"] == max(times)
    assert performance["avg_execution_time"] == pytest.approx(numpy.mean(times))
    assert performance["median_execution_time"] == pytest.approx(numpy.median(times))
    assert performance["p95_execution_time"] == pytest.approx(numpy.percentile(times, 95))
    assert performance["p99_execution_time"] == pytest.approx(numpy.percentile(times, 99))


def swept_concurrency(spans: list[tuple[int, float]]) -> int:
    """Count at each start who is there: those who began earlier or with it, and have not ended by then."""
    most = 0
    for index, (moment, own_end) in enumerate(spans):
        others = sum(
            1
            for other, (start, end) in enumerate(spans)
            if other != index and end > moment and (start < moment or (start == moment < own_end and end > start))
        )
        most = max(most, 1 + others)
    return most


@given(st.lists(st.tuples(st.integers(0, 30), st.one_of(st.integers(0, 12), st.just(math.inf))), max_size=15))
def test_peak_concurrency_is_that_of_a_sweep(spans: list[tuple[int, float]]) -> None:
    records = [running(start) if length == math.inf else ended(start, start + int(length)) for start, length in spans]
    assert run(*records)["peak_concurrency"] == swept_concurrency([(start, start + length) for start, length in spans])


@pytest.mark.parametrize(
    ("records", "peak"),
    [
        ([], 0),
        ([running(0)], 1),
        ([ended(0, 5), ended(5, 9)], 1),  # ends at the moment another starts
        ([ended(0, 5), ended(4, 9)], 2),
        ([running(0), ended(7, 8), ended(9, 9)], 2),
        ([ended(0, 0), ended(0, 0)], 1),
        ([ended(0, 9), ended(4, 4)], 2),  # shorter than a tick of the clock
        ([ended(4, 9), ended(4, 4)], 1),
        ([ended(0, 1), ended(0, 9), ended(1, 9), ended(4, 4)], 3),
        ([ended(0, 4), ended(4, 4)], 1),
    ],
)
def test_peak_concurrency_of_known_runs(records: list[dict[str, Any]], peak: int) -> None:
    assert run(*records)["peak_concurrency"] == peak


def test_peak_concurrency_and_wall_time_hold_across_zones_and_forms_of_time() -> None:
    berlin = {**ended(0, 1), "start_time": "2026-03-01T12:00:00.000000+01:00", "end_time": "2026-03-01T12:00:04+01:00"}
    utc = {**ended(0, 1), "start_time": "2026-03-01T11:00:03.500000+00:00", "end_time": "2026-03-01T11:00:05+00:00"}
    numbers = run(berlin, utc)
    assert (numbers["peak_concurrency"], numbers["wall_time"]) == (2, 5.0)


def test_times_with_an_offset_among_local_ones_are_taken_as_the_moments_they_are() -> None:
    def lasting_a_second(begin: float, zone: timezone | None = None) -> dict[str, Any]:
        moments = (datetime.fromtimestamp(begin + second, zone) for second in (0, 1))
        start, end = (moment.isoformat(timespec="microseconds") for moment in moments)
        return {**ended(0, 1), "start_time": start, "end_time": end}

    foreign = lasting_a_second(0.5, timezone(timedelta(hours=3)))
    assert run(lasting_a_second(0), foreign, lasting_a_second(18_000))["peak_concurrency"] == 2


@pytest.mark.parametrize("odd", [(math.inf, -math.inf), (math.nan, 1), (Decimal(2), True), (1e308, 1e308), ("x", None)])
def test_what_is_no_time_costs_no_other_its_time(odd: tuple[Any, Any]) -> None:
    times = (0.5, *odd, 2)
    numbers = run(*({**ended(0, 1_000_000), "execution_time": time} for time in times))
    known = [time for time in times if type(time) in (int, float) and abs(time) < 1e100]
    assert numbers["total_execution_time"] == sum(known)
    assert numbers["max_execution_time"] == 2


def test_numbers_too_large_to_add_up_cost_no_metrics() -> None:
    huge = [{**ended(0, 1), "execution_time": time} for time in (1e308, 1e308, 10**400)]
    numbers = metrics.run_metrics("flow", snapshot({"a": huge[:1], "b": huge[1:]}, []))
    assert (numbers["total_executions"], numbers["total_execution_time"]) == (3, 0.0)


def test_an_empty_run_gives_zeros() -> None:
    numbers = ExecutionTracker("empty").get_performance_metrics()
    assert numbers.pop("flow_id") == "empty"
    assert all(value in (0, {}, []) for value in numbers.values())
    assert set(ExecutionTracker().get_flow_performance().values()) == {0}


def test_wall_time_throughput_and_event_rate_are_per_second_of_the_whole_run() -> None:
    executions = {"a": [ended(0, 1_000_000)], "b": [ended(2_000_000, 4_000_000, "b"), running(3_000_000, "b")]}
    numbers = metrics.run_metrics("flow", snapshot(executions, [{}] * 6))
    assert numbers["wall_time"] == 4.0
    assert numbers["throughput"] == 0.5
    assert numbers["event_rate"] == 1.5


def test_bottlenecks_are_the_routines_by_their_share_largest_first() -> None:
    numbers = run(ended(0, 10), ended(0, 30, "b"))
    assert [item["routine_id"] for item in numbers["bottlenecks"]] == ["b", "a"]
    assert [item["share"] for item in numbers["bottlenecks"]] == [pytest.approx(0.75), pytest.approx(0.25)]


def test_bottlenecks_of_a_run_in_which_nothing_ended_have_no_share() -> None:
    assert run(running(0))["bottlenecks"] == [{"routine_id": "a", "total_execution_time": 0.0, "share": 0.0}]


def test_a_run_that_ended_before_it_began_lasted_no_time() -> None:
    assert run(ended(5_000_000, 2_000_000))["wall_time"] == 0.0


def test_throughput_counts_executions_that_were_dropped() -> None:
    tracker = ExecutionTracker(max_records=1)
    for _ in range(5):
        with tracker.track("a"):
            time.sleep(0.001)
    numbers = tracker.get_performance_metrics()
    assert numbers["throughput"] == 5 / numbers["wall_time"]


def test_every_status_is_counted_and_the_counts_add_up() -> None:
    numbers = run(ended(0, 1), ended(1, 2, status="failed"), ended(2, 3, status="skipped"), running(4))
    assert numbers["status_counts"] == {"completed": 1, "failed": 1, "skipped": 1, "running": 1}
    assert (numbers["completed"], numbers["failed"], numbers["running"]) == (1, 1, 1)
    assert numbers["success_rate"] == 0.25


def test_flow_performance_sums_all_times_and_averages_the_routines_averages() -> None:
    executions = {"a": [ended(0, 2_000_000), ended(0, 4_000_000)], "b": [ended(0, 1_000_000, "b")], "c": [running(0)]}
    assert metrics.flow_performance(snapshot(executions, [{}])) == {
        "total_routines": 3,
        "total_events": 1,
        "total_execution_time": 7.0,
        "avg_routine_time": 2.0,
    }


@pytest.mark.parametrize(
    "edit",
    [
        {"start_time": "yesterday"},
        {"start_time": 5},
        {"end_time": "later"},
        {"execution_time": "long"},
        {"execution_time": math.nan},
        {"execution_time": math.inf},
        {"execution_time": 1e308},
        {"execution_time": 10**400},
        {"status": ["odd"]},
        {"status": None},
    ],
)
def test_records_edited_by_hand_still_give_metrics(edit: dict[str, Any]) -> None:
    numbers = run(ended(0, 1_000_000), {**ended(0, 2_000_000), **edit})
    assert numbers["total_executions"] == 2
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers


def test_an_odd_status_costs_no_other_its_count() -> None:
    numbers = run(*({**ended(0, 1_000_000), "status": status} for status in ("failed", ["odd"], "failed", "completed")))
    assert (numbers["failed"], numbers["completed"]) == (2, 1)
    assert numbers["status_counts"] == {"failed": 2, "['odd']": 1, "completed": 1}
    numbers = run(ended(0, 1_000_000), {"routine_id": "a", "start_time": text(0)})
    assert numbers["status_counts"] == {"completed": 1, "null": 1}


def test_records_without_any_key_still_give_metrics() -> None:
    numbers = metrics.run_metrics("flow", snapshot({"a": [{}]}, [{}]))
    assert (numbers["total_executions"], numbers["wall_time"], numbers["peak_concurrency"]) == (1, 0.0, 0)


def test_metrics_are_json_safe_whatever_the_ids_and_statuses_are() -> None:
    tracker = ExecutionTracker()
    for routine_id in (1, "1", None, ("a", 2), b"raw"):
        tracker.record_routine_start(routine_id)
        tracker.record_routine_end(routine_id, status=3)
    numbers = tracker.get_performance_metrics()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert numbers["total_routines"] == len(numbers["routines"]) == 5


@pytest.mark.parametrize("where", ["flow_id", "routine_id", "status"])
def test_metrics_are_json_safe_where_a_text_has_no_form_in_utf_8(where: str) -> None:
    odd = "\ud83d\ude00"  # two halves that JSON would join
    tracker = ExecutionTracker(odd if where == "flow_id" else "")
    tracker.record_routine_start(odd if where == "routine_id" else "a")
    tracker.record_routine_end(odd if where == "routine_id" else "a", odd if where == "status" else "completed")
    numbers = tracker.get_performance_metrics()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers


def test_metrics_are_kept_in_performance_metrics() -> None:
    tracker = ExecutionTracker()
    assert tracker.performance_metrics == {}
    numbers = tracker.get_performance_metrics()
    assert tracker.performance_metrics == numbers


@given(st.lists(st.sampled_from(["start", "end", "event"]), max_size=40))
def test_a_sequential_run_gives_the_same_numbers_from_the_fold_and_from_its_records(calls: list[str]) -> None:
    tracker = ExecutionTracker()
    for call in calls:
        if call == "event":
            tracker.record_event("a", "e")
        elif call == "start":
            with_end = tracker.record_routine_start("a")
            tracker.record_routine_end("a", execution_id=with_end)
        else:
            tracker.record_routine_end("unknown")
    numbers = tracker.get_performance_metrics()
    recorded = tracker._snapshot()
    assert recorded.sequential_ns is not None
    assert numbers == metrics.run_metrics("", recorded._replace(sequential_ns=None))


def test_records_added_by_hand_to_a_live_list_count_in_wall_time_and_concurrency() -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_end("a", execution_id=tracker.record_routine_start("a"))
    tracker.routine_executions["a"] += [ended(0, 2_000_000), ended(1_000_000, 3_000_000)]
    numbers = tracker.get_performance_metrics()
    assert numbers["peak_concurrency"] == 2
    assert numbers["wall_time"] >= 3.0

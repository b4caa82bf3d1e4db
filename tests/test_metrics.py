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
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from execution_tracker import ExecutionTracker, _metrics, _recording

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


def tracker_of(executions: dict[str, Any], events: list[Any] | None = None) -> ExecutionTracker:
    tracker = ExecutionTracker()
    tracker.deserialize({"flow_id": "flow", "routine_executions": executions, "event_flow": events or []})
    return tracker


def run(*records: dict[str, Any]) -> dict[str, Any]:
    executions: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        executions.setdefault(record["routine_id"], []).append(record)
    return tracker_of(executions).get_performance_metrics()


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    ascending = sorted(values)
    expected = float(numpy.percentile(ascending, percent))
    assert _metrics.percentile(ascending, percent) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(FOUR_DIGITS, st.integers(1, 9999)), max_size=40))
def test_all_statistics_of_a_routine_are_those_of_its_records(spans: list[tuple[int, int]]) -> None:
    records = [ended(start, start + length) for start, length in spans]
    performance = tracker_of({"a": records}).get_routine_performance("a")
    if not records:
        assert performance is None
        return
    times = [record["execution_time"] for record in records]
    assert performance is not None
    assert performance["total_executions"] == performance["completed"] == len(records)
    assert performance["total_execution_time"] == pytest.approx(math.fsum(times), rel=1e-12)
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
    berlin = {
        **ended(0, 4_000_000),
        "start_time": "2026-03-01T12:00:00.000000+01:00",
        "end_time": "2026-03-01T12:00:04+01:00",
    }
    utc = {
        **ended(0, 1_500_000),
        "start_time": "2026-03-01T11:00:03.500000+00:00",
        "end_time": "2026-03-01T11:00:05+00:00",
    }
    numbers = run(berlin, utc)
    assert (numbers["peak_concurrency"], numbers["wall_time"]) == (2, 5.0)


def test_times_with_an_offset_among_local_ones_are_taken_as_the_moments_they_are() -> None:
    def lasting_a_second(begin: float, zone: timezone | None = None) -> dict[str, Any]:
        moments = (datetime.fromtimestamp(begin + second, zone) for second in (0, 1))
        start, end = (moment.isoformat(timespec="microseconds") for moment in moments)
        return {**ended(0, 1_000_000), "start_time": start, "end_time": end}

    foreign = lasting_a_second(0.5, timezone(timedelta(hours=3)))
    assert run(lasting_a_second(0), foreign, lasting_a_second(18_000))["peak_concurrency"] == 2


@pytest.mark.parametrize("odd", [(math.inf, -math.inf), (math.nan, 1), (Decimal(2), True), (1e308, 1e308), ("x", None)])
def test_what_is_no_time_costs_no_other_its_time(odd: tuple[Any, Any]) -> None:
    numbers = run(*({**ended(0, 1_500_000), "execution_time": time} for time in (0.5, *odd, 2)))
    known = [time if type(time) in (int, float) and abs(time) < 1e100 else 1.5 for time in odd]  # as the texts tell
    assert numbers["total_execution_time"] == sum(known) + 2.5
    assert numbers["max_execution_time"] == 2


def test_numbers_too_large_to_add_up_cost_no_metrics() -> None:
    huge = [{**ended(0, 1), "execution_time": time} for time in (1e308, 1e308, 10**400)]
    numbers = tracker_of({"a": huge[:1], "b": huge[1:]}).get_performance_metrics()
    assert (numbers["total_executions"], numbers["total_execution_time"]) == (3, 3e-6)


def test_an_empty_run_gives_zeros() -> None:
    numbers = ExecutionTracker("empty").get_performance_metrics()
    assert numbers.pop("flow_id") == "empty"
    assert all(value in (0, {}, []) for value in numbers.values())
    assert set(ExecutionTracker().get_flow_performance().values()) == {0}


def test_wall_time_throughput_and_event_rate_are_per_second_of_the_whole_run() -> None:
    executions = {"a": [ended(0, 1_000_000)], "b": [ended(2_000_000, 4_000_000, "b"), running(3_000_000, "b")]}
    numbers = tracker_of(executions, [{}] * 6).get_performance_metrics()
    assert numbers["wall_time"] == 4.0
    assert numbers["throughput"] == 0.5
    assert numbers["event_rate"] == 1.5


def test_bottlenecks_are_the_routines_by_their_share_largest_first() -> None:
    numbers = run(ended(0, 10), ended(0, 30, "b"))
    assert [item["routine_id"] for item in numbers["bottlenecks"]] == ["b", "a"]
    assert [item["share"] for item in numbers["bottlenecks"]] == [pytest.approx(0.75), pytest.approx(0.25)]


def test_bottlenecks_of_a_run_in_which_nothing_ended_have_no_share() -> None:
    assert run(running(0))["bottlenecks"] == [
        {"routine_id": "a", "total_execution_time": 0.0, "self_execution_time": 0.0, "share": 0.0}
    ]


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
    assert tracker_of(executions, [{}]).get_flow_performance() == {
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
    numbers = tracker_of({"a": [{}]}, [{}]).get_performance_metrics()
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


# --- executions inside others ---


def nested(number: int, parent: int | None, record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "execution_id": number} | ({} if parent is None else {"parent_id": parent})


def test_what_ran_inside_an_execution_is_taken_off_its_own_time() -> None:
    numbers = run(
        nested(1, None, ended(0, 10_000_000, "pipeline")),
        nested(2, 1, ended(0, 4_000_000, "load")),
        nested(3, 1, ended(4_000_000, 10_000_000, "fit")),
        nested(4, 3, ended(5_000_000, 6_000_000, "load")),
    )
    own = {name: routine["self_execution_time"] for name, routine in numbers["routines"].items()}
    assert own == {"pipeline": 0.0, "load": 5.0, "fit": 5.0}
    assert numbers["self_execution_time"] == 10.0
    assert numbers["total_execution_time"] == 21.0
    assert [item["share"] for item in numbers["bottlenecks"]] == [0.5, 0.5, 0.0]
    assert (numbers["peak_concurrency"], numbers["avg_concurrency"]) == (1, 1.0)


def test_own_time_is_never_below_nothing_though_children_outlast_their_parent() -> None:
    numbers = run(nested(1, None, ended(0, 1_000_000)), nested(2, 1, ended(0, 5_000_000, "b")))
    assert numbers["routines"]["a"]["self_execution_time"] == 0.0
    assert numbers["peak_concurrency"] == 1


def test_a_child_that_ends_after_its_parent_was_counted_is_taken_off_later() -> None:
    tracker = ExecutionTracker()
    parent = tracker.record_routine_start("a")
    children = [tracker.record_routine_start("b", parent_id=parent) for _ in range(3)]
    tracker.record_routine_end("b", execution_id=children[0])
    tracker.record_routine_end("a", execution_id=parent)
    tracker.get_performance_metrics()
    for child in children[1:]:
        tracker.record_routine_end("b", execution_id=child)
        assert tracker.get_performance_metrics() == _metrics.metrics_of("", tracker._run())


def test_parents_that_lead_round_in_a_circle_still_give_numbers() -> None:
    numbers = run(
        nested(1, 2, ended(0, 4)), nested(2, 1, ended(1, 5)), nested(3, 3, ended(1, 5)), nested(4, 99, ended(2, 9))
    )
    assert numbers["total_executions"] == 4
    assert numbers["self_execution_time"] >= 0


def swept_leaves(spans: list[tuple[int, int | None, int | None]]) -> int:
    """Count after each start who runs without a child that runs."""
    most = 0
    for moment in {start for start, _, _ in spans}:
        there = [
            index for index, (start, end, _) in enumerate(spans) if start <= moment and (end is None or moment < end)
        ]
        parents = {spans[index][2] for index in there}
        most = max(most, sum(index not in parents for index in there))
    return most


class Polls(RuleBasedStateMachine):
    """Reading the numbers again and again gives what reading them once does, and what the records say."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.now_us = 1_768_478_400 * 10**6
        for name in ("time_ns", "perf_counter_ns"):
            self.patch.setattr(_recording, name, lambda: self.now_us * 1000)
        self.tracker = ExecutionTracker()
        self.open: list[int] = []
        self.spans: list[Any] = []
        self.first_us = self.now_us

    def teardown(self) -> None:
        self.patch.undo()

    @rule(routine=st.sampled_from("ab"), parent=st.none() | st.integers(0, 9), takes=st.integers(0, 3))
    def start(self, routine: str, parent: int | None, takes: int) -> None:
        parent_id = self.open[-1 - parent % len(self.open)] if parent is not None and self.open else None
        self.open.append(self.tracker.record_routine_start(routine, parent_id=parent_id))
        self.spans.append([self.now_us, None, None if parent_id is None else parent_id - 1])
        self.now_us += takes

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), takes=st.integers(1, 3), status=st.sampled_from(["completed", "failed"]))
    def end(self, which: int, takes: int, status: str) -> None:
        execution_id = self.open.pop(-1 - which % len(self.open))
        self.now_us += takes
        self.tracker.record_routine_end("a", status, execution_id=execution_id)
        self.spans[execution_id - 1][1] = self.now_us

    @rule(ago=st.integers(0, 30), took=st.integers(1, 5))
    def record_what_ran_before(self, ago: int, took: int) -> None:
        start_us = self.now_us - ago
        self.tracker._record_ended("c", start_us * 1000, took * 1000)
        self.spans.append([start_us, start_us + took, None])

    @precondition(lambda self: self.spans)
    @rule(which=st.integers(0, 30))
    def end_late(self, which: int) -> None:
        index = which % len(self.spans)
        if self.spans[index][1] is not None:
            self.now_us += 1
            self.tracker.record_routine_end("a", "late", execution_id=index + 1)
            self.spans[index][1] = max(self.now_us, self.spans[index][0] + 1)

    @rule()
    def read(self) -> None:
        numbers = self.tracker.get_performance_metrics()
        assert numbers == _metrics.metrics_of("", self.tracker._run())
        loaded = ExecutionTracker()
        loaded.deserialize(json.loads(json.dumps(self.tracker.serialize())))
        assert numbers == loaded.get_performance_metrics()
        times = [end - start for start, end, _ in self.spans if end is not None]
        assert numbers["total_execution_time"] == pytest.approx(sum(times) / 1e6)
        assert numbers["running"] == len(self.spans) - len(times)
        assert numbers["peak_concurrency"] == swept_leaves(self.spans)
        own = sum(
            max(end - start - sum(e - s for s, e, parent in self.spans if parent == index and e is not None), 0)
            for index, (start, end, _) in enumerate(self.spans)
            if end is not None
        )
        assert numbers["self_execution_time"] == pytest.approx(own / 1e6, abs=1e-12)
        ends = [end for _, end, _ in self.spans if end is not None]
        starts = [start for start, _, _ in self.spans]
        assert numbers["wall_time"] == pytest.approx((max(ends) - min(starts)) / 1e6 if ends else 0.0)

    @rule()
    def hold_the_records(self) -> None:
        if len(self.spans) > 20:
            assert self.tracker.routine_executions


TestPolls = Polls.TestCase


def test_records_added_by_hand_to_a_live_list_count_in_wall_time_and_concurrency() -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_end("a", execution_id=tracker.record_routine_start("a"))
    tracker.routine_executions["a"] += [ended(0, 2_000_000), ended(1_000_000, 3_000_000)]
    numbers = tracker.get_performance_metrics()
    assert numbers["peak_concurrency"] == 2
    assert numbers["wall_time"] >= 3.0

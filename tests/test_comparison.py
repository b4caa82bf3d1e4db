"""What two runs tell of each routine, and when that is worse than it may be."""

from __future__ import annotations

import random
from typing import Any

import pytest
from runs import execution, run

from execution_tracker import ExecutionTracker
from execution_tracker._comparison import KINDS, Limits, judged, kind_of, worst_first
from execution_tracker.analysis import compare


def recorded(times: dict[str, list[float]], failed: dict[str, int] | None = None) -> ExecutionTracker:
    """Return a run with completed executions that took so many seconds, and so many that failed at once."""
    tracker = ExecutionTracker()
    for name, took in times.items():
        for seconds in took:
            tracker.record_execution(name, 0, seconds)
    for name, count in (failed or {}).items():
        for _ in range(count):
            tracker.record_execution(name, 0, 0.001, "failed", error="ValueError: no")
    return tracker


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["routine_id"] for row in rows]


def gate(before: ExecutionTracker, after: ExecutionTracker, **limits: Any) -> tuple[list[str], list[str], bool]:
    """Return which routines are too slow, which fail too often, and whether the second run passes."""
    verdict = judged(compare(before, after), Limits(**limits))
    return names(verdict.slower), names(verdict.failing), verdict.passed


# --- what compare tells ---


def test_a_row_tells_counts_and_the_times_of_what_completed() -> None:
    before = recorded({"load": [1, 2, 6]}, {"load": 2})
    after = recorded({"load": [2, 4, 12]})
    after.record_routine_start("load")
    (row,) = compare(before, after)
    assert row == {
        "routine_id": "load",
        "change": "both",
        "before": {
            "total_executions": 5,
            "completed": 3,
            "failed": 2,
            "running": 0,
            "status_counts": {"completed": 3, "failed": 2},
            "success_rate": 0.6,
            "timed_executions": 3,
            "avg_execution_time": 3.0,
            "min_execution_time": 1.0,
            "max_execution_time": 6.0,
            "median_execution_time": 2.0,
            "p95_execution_time": pytest.approx(5.6),
        },
        "after": {
            "total_executions": 4,
            "completed": 3,
            "failed": 0,
            "running": 1,
            "status_counts": {"completed": 3, "running": 1},
            "success_rate": 0.75,
            "timed_executions": 3,
            "avg_execution_time": 6.0,
            "min_execution_time": 2.0,
            "max_execution_time": 12.0,
            "median_execution_time": 4.0,
            "p95_execution_time": pytest.approx(11.2),
        },
        "ratio": {
            "avg_execution_time": 2.0,
            "median_execution_time": 2.0,
            "p95_execution_time": pytest.approx(2.0),
        },
    }


def test_failures_that_are_fast_make_no_routine_faster() -> None:
    before, after = recorded({"load": [1.0] * 100}), recorded({"load": [3.0] * 40}, {"load": 60})
    (row,) = compare(before, after)
    assert row["ratio"]["median_execution_time"] == 3.0
    assert gate(before, after, max_slowdown=1.5) == (["load"], [], False)


@pytest.mark.parametrize("status", ["failed", "cancelled", "skipped", None])
def test_where_nothing_completed_there_are_no_times_and_no_ratio(status: Any) -> None:
    before, after = recorded({"load": [1]}), ExecutionTracker()
    after.record_execution("load", 0, 5, status)
    (row,) = compare(before, after)
    assert row["after"]["total_executions"] == 1
    assert (row["after"]["timed_executions"], row["after"]["median_execution_time"]) == (0, None)
    assert set(row["ratio"].values()) == {None}


def test_a_routine_that_ran_in_one_of_the_runs_is_new_or_gone() -> None:
    gone, new = compare(recorded({"a": [1]}), recorded({"b": [1]}))
    assert (gone["routine_id"], gone["change"], gone["after"]) == ("a", "gone", None)
    assert (new["routine_id"], new["change"], new["before"]) == ("b", "new", None)
    assert set(gone["ratio"].values()) == set(new["ratio"].values()) == {None}


def test_routines_are_matched_by_their_ids_as_files_have_them() -> None:
    before = ExecutionTracker()
    before.record_routine_start(7)
    after = ExecutionTracker()
    after.deserialize(before.serialize())
    assert [(row["routine_id"], row["change"]) for row in compare(before, after)] == [("7", "both")]


def test_what_was_dropped_counts_but_has_no_times() -> None:
    bounded = ExecutionTracker(max_records=2)
    for second in range(5):
        bounded.record_execution("a", second, second + second + 1)
    (row,) = compare(bounded, bounded)
    assert (row["before"]["completed"], row["before"]["timed_executions"]) == (5, 2)
    assert row["before"]["avg_execution_time"] == 4.5


def test_a_status_or_an_id_that_cannot_be_compared_is_no_completed_one() -> None:
    class Angry:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            raise ValueError("no")

    tracker = ExecutionTracker()
    tracker.record_execution(Angry(), 0, 1, Angry())  # type: ignore[arg-type]
    (row,) = compare(tracker, tracker)
    assert (row["before"]["completed"], row["before"]["timed_executions"]) == (0, 0)


# --- the gate ---


def test_a_median_is_too_slow_beyond_so_many_times_and_not_at_them() -> None:
    before, after = recorded({"load": [1.0] * 5}), recorded({"load": [2.0] * 5})
    assert gate(before, after, max_slowdown=2) == ([], [], True)
    assert gate(before, after, max_slowdown=1.99) == (["load"], [], False)
    assert gate(before, after) == ([], [], True)
    assert gate(after, before, max_slowdown=1.99) == ([], [], True)


@pytest.mark.parametrize(("count_before", "count_after", "passed"), [(5, 5, False), (4, 99, True), (99, 4, True)])
def test_a_median_needs_enough_executions_in_both_runs(count_before: int, count_after: int, passed: bool) -> None:
    before, after = recorded({"load": [1.0] * count_before}), recorded({"load": [9.0] * count_after}, {"load": 50})
    assert gate(before, after, max_slowdown=2)[2] is passed
    assert gate(before, after, max_slowdown=2, min_count=4)[2] is False


def test_medians_that_are_close_are_the_same_whatever_their_ratio() -> None:
    before, after = recorded({"tiny": [1e-5] * 9}), recorded({"tiny": [9.9e-4] * 9})
    assert gate(before, after, max_slowdown=2) == ([], [], True)
    assert gate(before, after, max_slowdown=2, min_time=0.0005) == (["tiny"], [], False)


def test_the_slowest_of_those_that_are_too_slow_comes_first() -> None:
    before = recorded({name: [1.0] * 5 for name in "abc"})
    after = recorded({"a": [2.0] * 5, "b": [4.0] * 5, "c": [3.0] * 5}, {"c": 9})
    assert gate(before, after, max_slowdown=1.5)[0] == ["b", "c", "a"]


def test_sixty_of_a_hundred_that_fail_fast_are_too_many() -> None:
    before, after = recorded({"load": [1.0] * 100}), recorded({"load": [1.0] * 40}, {"load": 60})
    assert gate(before, after, max_failed=59.9) == ([], ["load"], False)
    assert gate(before, after, max_failed=60) == ([], [], True)
    assert gate(before, after, max_slowdown=1.5) == ([], [], True)


def test_a_routine_that_hangs_did_not_end_more_often() -> None:
    before, after = recorded({"load": [1.0]}), ExecutionTracker()
    after.record_routine_start("load")
    assert gate(before, after, max_failed=0) == ([], ["load"], False)


def test_what_failed_as_often_before_is_no_worse() -> None:
    before, after = recorded({"load": [1.0] * 2}, {"load": 1}), recorded({"load": [1.0] * 20}, {"load": 10})
    assert gate(before, after, max_failed=0) == ([], [], True)


def test_a_new_routine_that_fails_is_worse_and_one_that_is_gone_is_not() -> None:
    whole, both = recorded({"a": [1.0]}), recorded({"a": [1.0]}, {"b": 3})
    assert gate(whole, both, max_failed=10) == ([], ["b"], False)
    assert gate(both, whole, max_failed=10) == ([], [], True)


@pytest.mark.parametrize("limits", [{"max_slowdown": 2}, {"max_failed": 5}])
def test_runs_with_no_routine_in_common_pass_no_limit(limits: Any) -> None:
    one, other = recorded({"a": [1.0] * 5}), recorded({"b": [1.0] * 5})
    assert gate(one, other, **limits) == ([], [], False)
    assert gate(ExecutionTracker(), ExecutionTracker(), **limits) == ([], [], False)
    assert gate(one, other) == ([], [], True)


def test_equal_code_of_tiny_routines_passes_in_200_random_pairs() -> None:
    """And the limits on counts and times are why: without them many of the same pairs fail."""
    chance = random.Random(12)

    def tiny_run() -> ExecutionTracker:
        return recorded(
            {
                name: [min(chance.lognormvariate(-11, 1), 0.02) for _ in range(chance.randint(3, 8))]
                for name in ("parse", "split", "count")
            }
        )

    pairs = [(tiny_run(), tiny_run()) for _ in range(200)]
    assert [gate(*pair, max_slowdown=1.5, max_failed=0)[2] for pair in pairs] == [True] * 200
    assert sum(gate(*pair, max_slowdown=1.5, min_count=1, min_time=0)[2] for pair in pairs) < 150


# --- the order of rows ---


def test_rows_are_of_one_kind_each_and_the_worst_come_first() -> None:
    steady = {name: [1.0] * 5 for name in ("failing", "slower", "same", "few", "faster", "gone")}
    before = recorded(steady | {"few": [1.0]})
    del steady["gone"]
    after = recorded(steady | {"slower": [2.0] * 5, "few": [9.0], "faster": [0.5] * 5, "new": [1.0]}, {"failing": 1})
    rows = worst_first(compare(before, after), Limits())
    assert names(rows) == ["failing", "slower", "new", "same", "few", "faster", "gone"]
    assert [kind_of(row, Limits()) for row in rows] == [*KINDS]


def test_of_rows_that_fail_more_the_one_that_fails_most_comes_first() -> None:
    before = recorded({name: [1.0] * 10 for name in "abc"})
    after = recorded({name: [1.0] * 10 for name in "abc"}, {"a": 1, "b": 9, "c": 5})
    assert names(worst_first(compare(before, after), Limits())) == ["b", "c", "a"]


def test_records_from_files_that_took_no_time_are_compared_all_the_same() -> None:
    instant, long = run([execution("a", 0, 0)] * 5), run([execution("a", 0, 1)] * 5)
    assert gate(instant, long, max_slowdown=2) == (["a"], [], False)

"""What the analysis says of runs whose graph is known, and the laws that hold for any run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker
from execution_tracker.analysis import compare, critical_path, event_edges, timeline

BEGIN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def at(second: float) -> str:
    return (BEGIN + timedelta(seconds=second)).isoformat(timespec="microseconds")


def execution(routine_id: Any, start: float, end: float | None) -> dict[str, Any]:
    record = {"routine_id": routine_id, "start_time": at(start), "params": {}, "status": "running"}
    if end is None:
        return record
    return {**record, "status": "completed", "end_time": at(end), "execution_time": float(end - start)}


def event(source: Any, second: float, target: Any = None, name: str = "done") -> dict[str, Any]:
    return {
        "timestamp": at(second),
        "source_routine_id": source,
        "event_name": name,
        "target_routine_id": target,
        "data": {},
    }


def run(executions: list[tuple[Any, float, float | None]], events: list[dict[str, Any]] = []) -> ExecutionTracker:  # noqa: B006
    """Return a tracker with (routine id, start, end) and events in seconds after the begin."""
    tracker = ExecutionTracker()
    routines: dict[Any, list[dict[str, Any]]] = {}
    for routine_id, start, end in executions:
        routines.setdefault(routine_id, []).append(execution(routine_id, start, end))
    tracker.deserialize({"routine_executions": routines, "event_flow": events})
    return tracker


def path_of(tracker: ExecutionTracker) -> list[tuple[Any, float]]:
    return [(step["routine_id"], step["wait_time"]) for step in critical_path(tracker)]


# --- which execution an event feeds ---


def fed(tracker: ExecutionTracker) -> list[tuple[float, Any, float] | None]:
    """Return the second of each event, and routine id and start of the execution that it fed."""
    executions, emissions = timeline(tracker)
    begin_ns = BEGIN.timestamp() * 1e9
    return [
        None
        if emission.fed is None
        else (
            (emission.at_ns - begin_ns) / 1e9,
            executions[emission.fed].routine_id,
            (executions[emission.fed].start_ns - begin_ns) / 1e9,
        )
        for emission in emissions
    ]


def test_an_event_feeds_the_first_execution_of_its_target_that_starts_at_or_after_it() -> None:
    tracker = run([("b", 1, 2), ("b", 3, 4), ("b", 5, 6)], [event("a", 3, "b")])
    assert fed(tracker) == [(3, "b", 3)]


def test_each_event_of_a_source_feeds_another_execution() -> None:
    tracker = run([("b", 5, 6), ("b", 7, 8)], [event("a", 1, "b"), event("a", 2, "b", "other"), event("a", 3, "b")])
    assert fed(tracker) == [(1, "b", 5), (2, "b", 7), None]


def test_events_of_several_sources_may_feed_one_execution() -> None:
    tracker = run([("c", 5, 6)], [event("a", 1, "c"), event("b", 2, "c")])
    assert fed(tracker) == [(1, "c", 5), (2, "c", 5)]


def test_events_count_in_the_order_of_their_times_whatever_their_place_in_the_list() -> None:
    tracker = run([("b", 5, 6), ("b", 7, 8)], [event("a", 2, "b"), event("a", 1, "b")])
    assert fed(tracker) == [(1, "b", 5), (2, "b", 7)]


def test_no_execution_feeds_itself_within_one_tick_of_the_clock() -> None:
    tracker = run([("a", 1, 1), ("a", 2, 3)], [event("a", 1, "a")])
    assert fed(tracker) == [(1, "a", 2)]


def test_events_without_target_or_with_an_unknown_one_feed_none() -> None:
    assert fed(run([("a", 1, 2)], [event("a", 1), event("a", 1, "nobody")])) == [None, None]


def test_an_event_came_from_the_execution_that_still_ran() -> None:
    executions, (emission,) = timeline(run([("a", 0, 9), ("a", 1, 2), ("a", 4, 5)], [event("a", 3, "b")]))
    assert emission.source is not None
    assert executions[emission.source].record["start_time"] == at(0)


def test_an_event_at_the_very_end_came_from_the_execution_that_ends() -> None:
    executions, (emission,) = timeline(run([("a", 0, 3), ("a", 1, 2)], [event("a", 3, "b")]))
    assert emission.source is not None
    assert executions[emission.source].record["start_time"] == at(0)


def test_an_event_that_came_too_late_is_that_of_the_latest_execution_before_it() -> None:
    executions, (emission,) = timeline(run([("a", 0, 1), ("a", 1, 2), ("a", 4, 5)], [event("a", 3, "b")]))
    assert emission.source is not None
    assert executions[emission.source].record["start_time"] == at(1)


def test_ids_that_are_no_texts_join_before_and_after_a_file() -> None:
    tracker = ExecutionTracker()
    for routine_id, target in [(1, 2), (2, None)]:
        tracker.record_routine_start(routine_id)
        tracker.record_event(routine_id, "done", target)
        tracker.record_routine_end(routine_id)
    loaded = ExecutionTracker()
    loaded.deserialize(tracker.serialize())
    assert [step["routine_id"] for step in critical_path(tracker)] == [1, 2]
    assert [step["routine_id"] for step in critical_path(loaded)] == ["1", "2"]


def test_records_that_have_no_readable_time_are_left_out() -> None:
    tracker = run([("a", 0, 1), ("a", 2, 3)], [event("a", 0, "a"), event("a", 1, "a")])
    tracker.routine_executions["a"][0]["start_time"] = "yesterday"
    del tracker.event_flow[0]["timestamp"]
    executions, emissions = timeline(tracker)
    assert [execution.record["start_time"] for execution in executions] == [at(2)]
    assert [emission.event["timestamp"] for emission in emissions] == [at(1)]


@pytest.mark.parametrize(
    ("fields", "elapsed_ns"),
    [
        ({"execution_time": 1.234567891}, 1_234_567_891),
        ({"execution_time": -1}, 2_000_000_000),
        ({"execution_time": float("nan")}, 2_000_000_000),
        ({"execution_time": "long"}, 2_000_000_000),
        ({"execution_time": True}, 2_000_000_000),
        ({"execution_time": 1e10}, 2_000_000_000),
        ({"execution_time": None, "end_time": at(0)}, 0),
        ({"execution_time": None, "end_time": None}, None),
    ],
)
def test_an_execution_took_its_execution_time_or_else_what_its_texts_tell(fields: Any, elapsed_ns: int | None) -> None:
    tracker = run([("a", 1, 3)])
    tracker.routine_executions["a"][0].update(fields)
    assert timeline(tracker).executions[0].elapsed_ns == elapsed_ns


def test_ids_in_records_may_be_anything() -> None:
    tracker = run([("a", 0, 1)], [event(["un", "hashable"], 0, {"x": 1}), event("a", 0, ["a"])])
    assert [edge["source_routine_id"] for edge in event_edges(tracker)] == ["['un', 'hashable']", "a"]


# --- the critical path ---


def test_a_chain_is_its_own_critical_path() -> None:
    tracker = run(
        [("a", 0, 1), ("b", 2, 4), ("c", 4.5, 6)],
        [event("a", 1, "b"), event("b", 4, "c")],
    )
    assert critical_path(tracker)[1] == {
        "routine_id": "b",
        "start_time": at(2),
        "end_time": at(4),
        "execution_time": 2.0,
        "wait_time": 1.0,
    }
    assert path_of(tracker) == [("a", 0), ("b", 1), ("c", 0.5)]


def test_a_diamond_goes_over_the_side_that_came_last() -> None:
    tracker = run(
        [("a", 0, 1), ("fast", 1, 2), ("slow", 1, 5), ("join", 5, 6)],
        [event("a", 1, "fast"), event("a", 1, "slow"), event("fast", 2, "join"), event("slow", 5, "join")],
    )
    assert path_of(tracker) == [("a", 0), ("slow", 0), ("join", 0)]


def test_a_fan_out_ends_with_its_slowest_execution() -> None:
    tracker = run(
        [("a", 0, 3), ("b", 1, 9), ("b", 2, 4), ("b", 3, 5)],
        [event("a", 0.5, "b"), event("a", 2, "b"), event("a", 3, "b")],
    )
    assert path_of(tracker) == [("a", 0), ("b", 0.5)]


def test_a_retry_that_no_event_fed_begins_the_path() -> None:
    tracker = run([("a", 0, 1), ("b", 1, 2), ("b", 3, 4), ("c", 4, 5)], [event("a", 1, "b"), event("b", 4, "c")])
    assert path_of(tracker) == [("b", 0), ("c", 0)]


def test_a_loop_is_followed_round_by_round() -> None:
    rounds = [(routine, second, second + 1) for second, routine in enumerate("abababa")]
    events = [event(a, second + 1, "b" if a == "a" else "a") for a, second, _ in rounds]
    assert [routine for routine, _ in path_of(run(rounds, events))] == list("abababa")


def test_an_execution_that_waited_for_its_turn_follows_the_latest_event_whoever_sent_it() -> None:
    workers = [(f"worker {number}", 0, 1) for number in range(3)]
    merges = [("merge", 1 + number, 2 + number) for number in range(3)]
    several_sources = run(workers + merges, [event(name, 1, "merge") for name, _, _ in workers])
    assert [second and second[2] for second in fed(several_sources)] == [1, 1, 1]
    assert path_of(several_sources) == [("worker 2", 0), ("merge", 2)]
    one_source = run([("worker", 0, 1), *merges], [event("worker", 1, "merge")] * 3)
    assert path_of(one_source) == [("worker", 0), ("merge", 2)]


def test_an_execution_more_than_there_were_events_begins_the_path() -> None:
    executions = [("a", 0, 1), ("x", 0, 1), ("b", 2, 3), ("b", 3, 4), ("b", 5, 6)]
    events = [event("a", 1, "b"), event("x", 1, "b"), event("a", 6, "b")]
    assert path_of(run(executions, events)) == [("b", 0)]
    assert path_of(run(executions[:-1], events)) == [("x", 0), ("b", 2)]


def test_no_execution_waits_for_its_own_event_left_over_or_not() -> None:
    assert path_of(run([("a", 0, 0)], [event("a", 0, "a")])) == [("a", 0)]


def test_an_event_from_nobody_known_is_no_step_of_the_path() -> None:
    tracker = run([("a", 0, 1), ("b", 3, 4)], [event("a", 1, "b"), event("timer", 2, "b")])
    assert path_of(tracker) == [("a", 0), ("b", 2)]
    assert path_of(run([("b", 3, 4)], [event("timer", 2, "b")])) == [("b", 0)]


def test_the_path_stays_in_the_flow_that_ended_last() -> None:
    tracker = run([("a", 0, 1), ("b", 1, 2), ("x", 0, 1), ("y", 1, 3)], [event("a", 1, "b"), event("x", 1, "y")])
    assert path_of(tracker) == [("x", 0), ("y", 0)]


def test_an_execution_without_events_is_a_path_of_its_own() -> None:
    assert path_of(run([("a", 0, 2), ("b", 0, 1)])) == [("a", 0)]


def test_an_unfinished_execution_can_be_a_step_but_not_the_last() -> None:
    tracker = run([("a", 0, None), ("b", 1, 2)], [event("a", 0.5, "b"), event("b", 2, "a")])
    path = critical_path(tracker)
    assert [step["routine_id"] for step in path] == ["a", "b"]
    assert path[0]["end_time"] is None
    assert path[0]["execution_time"] is None


def test_executions_that_fed_each_other_within_one_tick_are_no_endless_path() -> None:
    assert path_of(run([("a", 0, 0), ("b", 0, 0)], [event("a", 0, "b"), event("b", 0, "a")])) == [("a", 0), ("b", 0)]


@pytest.mark.parametrize("executions", [[], [("a", 0, None)]])
def test_a_run_in_which_nothing_ended_has_no_path(executions: list[Any]) -> None:
    assert critical_path(run(executions, [event("a", 0, "a")])) == []


# --- edges ---


def test_an_edge_counts_its_events_and_their_waits() -> None:
    tracker = run(
        [("b", 2, 3), ("b", 5, 6)], [event("a", 1, "b"), event("a", 2, "b"), event("a", 9, "b"), event("a", 9, "c")]
    )
    edges = event_edges(tracker)
    assert edges[0] == {
        "source_routine_id": "a",
        "event_name": "done",
        "target_routine_id": "b",
        "count": 3,
        "first": at(1),
        "last": at(9),
        "rate": 2 / 8,
        "fed": 2,
        "median_wait_time": 2.0,
        "max_wait_time": 3.0,
    }
    assert (edges[1]["rate"], edges[1]["fed"], edges[1]["median_wait_time"]) == (0.0, 0, 0.0)


def test_a_run_without_events_has_no_edges() -> None:
    assert event_edges(run([("a", 0, 1)])) == []


# --- comparison ---


def test_compare_tells_ratios_and_what_is_new_or_gone() -> None:
    before = run([("a", 0, 1), ("a", 0, 3), ("gone", 0, 1), ("open", 0, None), ("opened", 0, 1)])
    after = run([("a", 0, 4), ("new", 0, 1), ("open", 0, 1), ("opened", 0, None)])
    both, gone, still_open, opened, new = compare(before, after)
    assert (both["routine_id"], both["change"], gone["change"], new["change"]) == ("a", "both", "gone", "new")
    assert both["before"] == before.get_routine_performance("a")
    assert both["after"] == after.get_routine_performance("a")
    assert both["ratio"] == pytest.approx(
        {"avg_execution_time": 2.0, "median_execution_time": 2.0, "p95_execution_time": 4 / 2.9}
    )
    for row in (gone, new, still_open, opened):
        assert set(row["ratio"].values()) == {None}
    assert gone["after"] is new["before"] is None


def test_compare_matches_ids_as_files_have_them() -> None:
    before = ExecutionTracker()
    before.record_routine_start(7)
    after = ExecutionTracker()
    after.deserialize(before.serialize())
    assert [(row["routine_id"], row["change"]) for row in compare(before, after)] == [("7", "both")]


def test_compare_counts_what_was_dropped() -> None:
    bounded, whole = ExecutionTracker(max_records=1), ExecutionTracker()
    for tracker in (bounded, whole):
        for _ in range(3):
            tracker.record_routine_start("a")
            tracker.record_routine_end("a")
    (row,) = compare(bounded, whole)
    assert row["before"]["total_executions"] == row["after"]["total_executions"] == 3


def test_the_analysis_does_not_make_the_tracker_live() -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    tracker.record_event("a", "done", "a")
    tracker.record_routine_end("a")
    critical_path(tracker), event_edges(tracker), compare(tracker, tracker)
    assert not tracker._live


# --- laws ---

seconds = st.integers(0, 8)
names = st.sampled_from("abc")
runs = st.builds(
    run,
    st.lists(st.tuples(names, seconds, st.none() | seconds)).map(
        lambda executions: [(name, start, end and start + end) for name, start, end in executions]
    ),
    st.lists(st.builds(event, names, seconds, st.none() | names, st.sampled_from(["done", "more"]))),
)


@given(runs)
def test_events_feed_what_the_rule_of_the_contract_says(tracker: ExecutionTracker) -> None:
    executions, emissions = timeline(tracker)
    fed_by: set[tuple[Any, int]] = set()
    for emission in emissions:
        source, target = emission.event["source_routine_id"], emission.event["target_routine_id"]
        candidates = [
            position
            for position, execution in enumerate(executions)
            if execution.routine_id == target
            and execution.start_ns >= emission.at_ns
            and position != emission.source
            and (source, position) not in fed_by
        ]
        # Of those that start at one moment, any may be the first.
        first = min((executions[position].start_ns for position in candidates), default=None)
        assert (emission.fed is None) == (first is None)
        if emission.fed is not None:
            assert emission.fed in candidates
            assert executions[emission.fed].start_ns == first
            fed_by.add((source, emission.fed))


@given(runs)
def test_events_come_from_the_latest_execution_that_still_ran(tracker: ExecutionTracker) -> None:
    executions, emissions = timeline(tracker)
    for emission in emissions:
        started = [
            position
            for position, execution in enumerate(executions)
            if execution.routine_id == emission.event["source_routine_id"] and execution.start_ns <= emission.at_ns
        ]
        running = [p for p in started if (end_ns := executions[p].end_ns) is None or end_ns >= emission.at_ns]
        assert emission.source == max(running or started, default=None)


@given(runs)
def test_the_steps_of_a_critical_path_follow_each_other_up_to_the_last_end(tracker: ExecutionTracker) -> None:
    path = critical_path(tracker)
    ends = [
        record["end_time"]
        for records in tracker.routine_executions.values()
        for record in records
        if "end_time" in record
    ]
    assert bool(path) == bool(ends)
    if path:
        assert path[-1]["end_time"] == max(ends)
        assert path[0]["wait_time"] == 0
    for step, following in pairwise(path):
        assert following["wait_time"] >= 0
        assert step["start_time"] <= following["start_time"]
        emitted = datetime.fromisoformat(following["start_time"]) - timedelta(seconds=following["wait_time"])
        assert datetime.fromisoformat(step["start_time"]) <= emitted


@given(runs)
def test_every_event_is_in_one_edge(tracker: ExecutionTracker) -> None:
    edges = event_edges(tracker)
    assert sum(edge["count"] for edge in edges) == len(tracker.event_flow)
    assert sum(edge["fed"] for edge in edges) == sum(
        emission.fed is not None for emission in timeline(tracker).emissions
    )

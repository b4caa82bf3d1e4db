"""What the analysis says of runs whose graph is known, and the laws that hold for any run."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker
from execution_tracker._timeline import Timeline
from execution_tracker.analysis import compare, critical_path, event_edges

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


# --- which execution an event led to ---


def in_seconds(time_ns: int) -> float:
    return (time_ns - BEGIN.timestamp() * 1e9) / 1e9


def led(tracker: ExecutionTracker) -> list[tuple[float, Any, float, bool]]:
    """Return for each link the second of its event, routine and start of its execution, and whether it is inferred."""
    timeline = Timeline(tracker._run())
    executions, emissions, links = timeline.executions, timeline.emissions, timeline.links
    return [
        (
            in_seconds(emissions[emission].at_ns),
            executions[position].routine_id,
            in_seconds(executions[position].start_ns),
            is_inferred,
        )
        for emission, position, is_inferred in links
    ]


def emitters(tracker: ExecutionTracker) -> list[float | None]:
    """Return for each event the start of the execution that emitted it."""
    timeline = Timeline(tracker._run())
    return [
        None if emission.source is None else in_seconds(timeline.executions[emission.source].start_ns)
        for emission in timeline.emissions
    ]


def test_a_routine_that_ran_as_often_as_events_came_takes_them_one_by_one() -> None:
    tracker = run([("b", 1, 2), ("b", 3, 4), ("b", 5, 6)], [event("a", 3, "b"), event("a", 3.5, "b", "other")])
    assert led(tracker) == [(3, "b", 3, True), (3.5, "b", 5, True)]


def test_a_routine_that_ran_less_often_takes_all_that_had_come_by_its_start() -> None:
    events = [event("a", second, "b") for second in (1, 2, 3, 6, 9)]
    tracker = run([("b", 5, 6), ("b", 7, 8)], events)
    assert led(tracker) == [(1, "b", 5, True), (2, "b", 5, True), (3, "b", 5, True), (6, "b", 7, True)]


def test_events_of_several_sources_may_lead_to_one_execution() -> None:
    tracker = run([("c", 5, 6)], [event("a", 1, "c"), event("b", 2, "c")])
    assert led(tracker) == [(1, "c", 5, True), (2, "c", 5, True)]


def test_events_count_in_the_order_of_their_times_whatever_their_place_in_the_list() -> None:
    tracker = run([("b", 5, 6), ("b", 7, 8)], [event("a", 2, "b"), event("a", 1, "b")])
    assert led(tracker) == [(1, "b", 5, True), (2, "b", 7, True)]


def test_no_execution_leads_to_itself_within_one_tick_of_the_clock() -> None:
    tracker = run([("a", 1, 1), ("a", 2, 3)], [event("a", 1, "a")])
    assert led(tracker) == [(1, "a", 2, True)]
    assert led(run([("a", 0, 0)], [event("a", 0, "a"), event("a", 0, "a")])) == []  # nor does any of those left over


def test_events_without_target_or_with_an_unknown_one_lead_nowhere() -> None:
    assert led(run([("a", 1, 2)], [event("a", 1), event("a", 1, "nobody")])) == []


def test_a_recorded_cause_is_taken_as_it_is_and_keeps_others_from_guessing() -> None:
    tracker = run([("b", 5, 6), ("b", 7, 8), ("b", 9, 10)], [event("a", second, "b") for second in (1, 2, 3)])
    tracker.routine_executions["b"][0]["caused_by"] = [3]
    tracker.routine_executions["b"][1]["caused_by"] = [1, 3, 99]
    assert led(tracker) == [(1, "b", 7, False), (2, "b", 9, True), (3, "b", 5, False), (3, "b", 7, False)]


@pytest.mark.parametrize("dropped", ["executions", "events"])
def test_nothing_is_inferred_where_the_other_end_may_have_been_dropped(dropped: str) -> None:
    tracker = ExecutionTracker(max_records=1)
    tracker.record_event("a", "done", "b")
    tracker.record_execution("b", 1e9, 1e9 + 1)
    if dropped == "executions":
        tracker.record_execution("b", 2e9, 2e9 + 1)
    else:
        tracker.record_event("a", "done")
        tracker.record_event("a", "done", "b")
    tracker.record_routine_start("b")
    assert led(tracker) == []
    edge = event_edges(tracker)[0]
    assert (edge["count"], edge["caused"], edge["max_wait_time"]) == (1, 0, None)


def test_an_event_of_an_old_file_came_from_the_only_execution_of_its_source_that_ran() -> None:
    executions = [("a", 0, 9), ("a", 1, 2), ("a", 4, 5)]
    tracker = run(executions, [event("a", second, "b") for second in (0, 1.5, 3, 4.5, 9, 9.5)])
    assert emitters(tracker) == [0, None, 0, None, 0, None]


def test_the_recorded_emitter_of_an_event_is_never_guessed() -> None:
    tracker = ExecutionTracker()
    first = tracker.record_routine_start("a")
    tracker.record_routine_start("a")
    tracker.record_event("a", "done", execution_id=first)
    threading.Thread(target=tracker.record_event, args=("a", "done")).run()
    other = threading.Thread(target=tracker.record_event, args=("a", "done"))
    other.start()
    other.join()
    loaded = ExecutionTracker()
    loaded.deserialize(tracker.serialize())
    for each in (tracker, loaded):
        assert [emission.source for emission in Timeline(each._run()).emissions] == [0, 1, None]


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
    timeline = Timeline(tracker._run())
    assert [timeline.execution_texts(execution)[0] for execution in timeline.executions] == [at(2)]
    assert [timeline.emission_text(emission) for emission in timeline.emissions] == [at(1)]


@pytest.mark.parametrize(
    ("fields", "elapsed_ns"),
    [
        ({"execution_time": 1.234567891}, 1_234_567_891),
        ({"execution_time": -1}, 2_000_000_000),
        ({"execution_time": float("nan")}, 2_000_000_000),
        ({"execution_time": "long"}, 2_000_000_000),
        ({"execution_time": True}, 2_000_000_000),
        ({"execution_time": 1e12}, 2_000_000_000),
        ({"execution_time": None, "end_time": at(0)}, 1),
        ({"execution_time": None, "end_time": None}, None),
    ],
)
def test_an_execution_took_its_execution_time_or_else_what_its_texts_tell(fields: Any, elapsed_ns: int | None) -> None:
    tracker = run([("a", 1, 3)])
    tracker.routine_executions["a"][0].update(fields)
    assert Timeline(tracker._run()).executions[0].elapsed_ns == elapsed_ns


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
        "execution_id": 2,
        "start_time": at(2),
        "end_time": at(4),
        "execution_time": 2.0,
        "wait_time": 1.0,
        "link": "event",
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


def test_a_step_waits_for_what_came_last_of_its_cause_its_parent_and_its_worker() -> None:
    tracker = ExecutionTracker()

    def ran(routine: str, start: float, end: float, worker: str, **facts: Any) -> int:
        begin = BEGIN.timestamp()
        return tracker.record_execution(routine, begin + start, begin + end, worker=worker, **facts)

    parent = ran("pipeline", 0, 10, "w1")
    ran("load", 1, 4, "w1", parent_id=parent)
    ran("other", 0, 5, "w2")
    fit = ran("fit", 6, 9, "w1", parent_id=parent)
    ran("save", 7, 12, "w2", parent_id=fit)
    ran("last", 12, 13, "w2")
    assert [(step["routine_id"], step["link"], step["wait_time"]) for step in critical_path(tracker)] == [
        ("pipeline", None, 0.0),
        ("load", "parent", 0.0),
        ("fit", "worker", 0.0),  # meanwhile the worker ran the parent of both
        ("save", "parent", 0.0),
        ("last", "worker", 0.0),
    ]


def test_a_recorded_cause_comes_before_an_inferred_one_and_a_worker_of_the_same_moment() -> None:
    tracker = run([("a", 0, 1), ("b", 1, 2), ("c", 2, 3)], [event("a", 1, "c"), event("b", 2, "x")])
    for records in tracker.routine_executions.values():
        records[0]["worker"] = "w"
    for number, each in enumerate(tracker.event_flow, start=1):
        each["execution_id"] = number
    assert [step["link"] for step in critical_path(tracker)] == [None, "worker", "worker"]
    tracker.routine_executions["c"][0]["caused_by"] = [2]
    assert [step["link"] for step in critical_path(tracker)] == [None, "worker", "caused_by"]


def test_of_ends_that_tie_the_path_is_the_same_each_time() -> None:
    tracker = ExecutionTracker()
    with tracker.track("main"), tracker.track("handle"):
        pass
    end = max(step["end_time"] for step in critical_path(tracker))
    for records in tracker.routine_executions.values():
        records[0]["end_time"] = end
    assert [step["routine_id"] for step in critical_path(tracker)] == ["main", "handle"]


def test_a_loop_is_followed_round_by_round() -> None:
    rounds = [(routine, second, second + 1) for second, routine in enumerate("abababa")]
    events = [event(a, second + 1, "b" if a == "a" else "a") for a, second, _ in rounds]
    assert [routine for routine, _ in path_of(run(rounds, events))] == list("abababa")


def test_three_mappers_lead_to_the_reducer_that_waited_for_the_last() -> None:
    tracker = run(
        [("map", 0, 0.3), ("map", 0, 0.1), ("map", 0, 0.05), ("reduce", 0.3005, 0.4)],
        [event("map", 0.3, "reduce"), event("map", 0.1, "reduce"), event("map", 0.05, "reduce")],
    )
    for number, each in enumerate(tracker.event_flow, start=1):
        each["execution_id"] = number
    assert [(name, round(wait, 6)) for name, wait in path_of(tracker)] == [("map", 0), ("reduce", 0.0005)]
    (edge,) = event_edges(tracker)
    assert (edge["count"], edge["caused"], edge["inferred"]) == (3, 3, 3)


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
        [("b", 2, 3), ("b", 5, 6)], [event("a", 1, "b"), event("a", 4, "b"), event("a", 9, "b"), event("a", 9, "c")]
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
        "caused": 2,
        "inferred": 2,
        "median_wait_time": 1.0,
        "max_wait_time": 1.0,
    }
    assert (edges[1]["rate"], edges[1]["caused"], edges[1]["median_wait_time"]) == (0.0, 0, None)


def test_a_start_before_its_cause_was_told_by_another_clock_and_has_no_wait() -> None:
    tracker = ExecutionTracker()
    cause = tracker.record_event("a", "sent", "b")
    tracker.record_execution("b", 100.0, 101.0, caused_by=cause)
    (edge,) = event_edges(tracker)
    assert (edge["caused"], edge["median_wait_time"], edge["max_wait_time"]) == (1, None, None)


def test_a_run_without_events_has_no_edges() -> None:
    assert event_edges(run([("a", 0, 1)])) == []


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
        lambda executions: [(name, start, None if took is None else start + took) for name, start, took in executions]
    ),
    st.lists(st.builds(event, names, seconds, st.none() | names, st.sampled_from(["done", "more"]))),
)


@given(runs)
def test_links_are_what_the_rules_of_the_contract_say(tracker: ExecutionTracker) -> None:
    timeline = Timeline(tracker._run())
    executions, emissions, links = timeline.executions, timeline.emissions, timeline.links
    expected = set()
    for source in "abc":
        for target in "abc":
            came = [
                index
                for index, each in enumerate(emissions)
                if (each.source_routine_id, each.target_routine_id) == (source, target)
            ]
            free = [position for position, each in enumerate(executions) if each.routine_id == target]
            if len(free) >= len(came):  # one by one, oldest first
                for index in came:
                    while free and (
                        executions[free[0]].start_ns < emissions[index].at_ns or free[0] == emissions[index].source
                    ):
                        del free[0]
                    expected |= {(index, position, True) for position in free[:1]}
                    del free[:1]
            else:  # all that had come by its start
                for position in free:
                    by_then = [index for index in came if emissions[index].at_ns <= executions[position].start_ns]
                    expected |= {(index, position, True) for index in by_then if emissions[index].source != position}
                    came = [index for index in came if index not in by_then]
    assert set(links) == expected


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
    assert sum(edge["caused"] for edge in edges) == len({link.emission for link in Timeline(tracker._run()).links})

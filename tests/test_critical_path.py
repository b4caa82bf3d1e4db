"""The critical path of known engines, and of any run against an obvious search."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker
from execution_tracker._critical_path import RANKED, path_of
from execution_tracker._timeline import Timeline
from execution_tracker.analysis import critical_path

BEGIN = 1_700_000_000


# --- any run ---

moments = st.integers(0, 12)
known = st.none() | st.integers(1, 12)
executions = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        moments,
        st.none() | st.integers(0, 5),  # how long it took
        known,  # its parent
        st.none() | st.lists(st.integers(1, 12), max_size=2),  # its causes
        st.sampled_from([None, "w1", "w2"]),
    ),
    max_size=12,
)
events = st.lists(st.tuples(st.sampled_from("abc"), moments, st.none() | st.sampled_from("abc"), known), max_size=12)


def run(executions: list[Any], events: list[Any], unit: float) -> ExecutionTracker:
    tracker = ExecutionTracker()
    for source, _, target, emitter in events:
        tracker.record_event(source, "done", target, execution_id=emitter or -1)
    records, flow = tracker.routine_executions, tracker.event_flow
    for event, (_, at, _, emitter) in zip(flow, events, strict=True):
        event["timestamp"] = text(at * unit)
        if emitter is not None:
            event["execution_id"] = emitter
    for routine, start, took, parent_id, caused_by, worker in executions:
        begin = BEGIN + start * unit
        tracker.record_execution(routine, begin, begin + (took or 0) * unit, caused_by=caused_by, worker=worker)
        record = records[routine][-1]
        if parent_id is not None:
            record["parent_id"] = parent_id
        if took is None:
            del record["end_time"], record["execution_time"]
    return tracker


def text(second: float) -> str:
    tracker = ExecutionTracker()
    tracker.record_execution("a", BEGIN + second, BEGIN + second)
    start_time: str = tracker.routine_executions["a"][0]["start_time"]
    return start_time


def obvious_path(timeline: Timeline) -> list[tuple[int, str | None]]:
    """Look at everything for each step."""
    every = timeline.executions

    def us(moment_ns: int | None) -> int:
        assert moment_ns is not None
        return moment_ns // 1000

    def inside(position: int) -> list[int]:
        own = every[position]
        return [
            child
            for child, each in enumerate(every)
            if each.parent_id == own.execution_id and each.end_ns is not None and each.end_ns <= (own.end_ns or 0)
        ]

    ended = [(each.end_ns, position) for position, each in enumerate(every) if each.end_ns is not None]
    if not ended:
        return []
    position = max(ended)[1]
    seen = set()
    while position not in seen and inside(position):
        seen.add(position)
        position = max(inside(position), key=lambda child: (every[child].end_ns, child))
    path: list[tuple[int, str | None]] = []
    while position not in [step for step, _ in path]:
        own = every[position]
        candidates = []
        led = [timeline.emissions[link.emission] for link in timeline.links if link.execution == position]
        inferred = [link.is_inferred for link in timeline.links if link.execution == position]
        came = [
            (us(each.at_ns), each.source)
            for each in led
            if each.source is not None
            and us(each.at_ns) <= us(own.start_ns)
            and us(every[each.source].start_ns) <= us(each.at_ns)
        ]
        if came:
            candidates.append((came[-1][0], RANKED.index("event" if inferred[0] else "caused_by"), came[-1][1]))
        for other, each in enumerate(every):
            if each.execution_id == own.parent_id and us(each.start_ns) <= us(own.start_ns):
                candidates.append((us(each.start_ns), RANKED.index("parent"), other))
        before = [
            (us(each.end_ns), other)
            for other, each in enumerate(every[:position])
            if each.worker == own.worker is not None and each.end_ns is not None and us(each.end_ns) <= us(own.start_ns)
        ]
        if before:
            candidates.append((max(before)[0], RANKED.index("worker"), max(before)[1]))
        if not candidates:
            path.append((position, None))
            break
        _, rank, source = max(candidates)
        path.append((position, RANKED[rank]))
        position = source
    path.reverse()
    return [(path[0][0], None), *path[1:]]


@given(executions, events, st.sampled_from([1.0, 1e-3, 1e-6]))
def test_the_path_is_what_an_obvious_search_finds(executions: list[Any], events: list[Any], unit: float) -> None:
    timeline = Timeline(run(executions, events, unit)._run())
    assert [(step.position, step.link) for step in path_of(timeline)] == obvious_path(timeline)


# --- engines ---


def explained(tracker: ExecutionTracker) -> float:
    """Return the part of the run in which an execution on the path ran."""
    timeline = Timeline(tracker._run())
    spans = sorted((each.start_ns, each.end_ns or 0) for each in map(timeline.execution, positions(timeline)))
    worked_ns = until_ns = 0
    for start_ns, end_ns in spans:
        worked_ns += max(end_ns - max(start_ns, until_ns), 0)
        until_ns = max(until_ns, end_ns)
    return worked_ns / (tracker.get_performance_metrics()["wall_time"] * 1e9)


def positions(timeline: Timeline) -> list[int]:
    return [step.position for step in path_of(timeline)]


def chained(tracker: ExecutionTracker) -> list[tuple[Any, str | None]]:
    return [(step["routine_id"], step["link"]) for step in critical_path(tracker)]


def test_the_path_through_a_pool_goes_over_busy_workers_back_to_the_start() -> None:
    tracker = ExecutionTracker()

    def work(number: int) -> None:
        with tracker.track("work"):
            time.sleep(0.01)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(10)))
    steps = chained(tracker)
    assert len(steps) == 5
    assert {link for _, link in steps[1:]} == {"worker"}
    assert explained(tracker) > 0.9


def test_the_path_through_queues_follows_the_causes_that_the_engine_recorded() -> None:
    tracker, items = ExecutionTracker(), queue.SimpleQueue[Any]()

    def consume() -> None:
        while (cause := items.get()) is not None:
            with tracker.track("slow", caused_by=cause):
                time.sleep(0.02)

    thread = threading.Thread(target=consume)
    thread.start()
    for _ in range(3):
        with tracker.track("fast"):
            time.sleep(0.005)
            items.put(tracker.record_event("fast", "made", "slow"))
    items.put(None)
    thread.join()
    assert chained(tracker) == [("fast", None), ("slow", "caused_by"), ("slow", "worker"), ("slow", "worker")]
    assert explained(tracker) > 0.9


def test_the_path_through_nested_calls_ends_in_what_ran_last_inside() -> None:
    tracker = ExecutionTracker()
    with tracker.track("pipeline"):
        with tracker.track("load"):
            time.sleep(0.01)
        with tracker.track("fit"), tracker.track("epoch"):
            time.sleep(0.01)
    assert chained(tracker) == [("pipeline", None), ("load", "parent"), ("fit", "worker"), ("epoch", "parent")]
    assert explained(tracker) > 0.9


def test_the_path_through_tasks_goes_over_the_slowest_of_those_that_ran_side_by_side() -> None:
    tracker = ExecutionTracker()

    async def fetch(second: float) -> None:
        async with tracker.track(f"fetch {second}"):
            await asyncio.sleep(second)

    async def main() -> None:
        async with tracker.track("main"):
            await asyncio.gather(fetch(0.01), fetch(0.05), fetch(0.02))

    asyncio.run(main())
    assert chained(tracker) == [("main", None), ("fetch 0.05", "parent")]


def test_a_retry_follows_the_try_before_it() -> None:
    tracker = ExecutionTracker()
    for number in range(3):
        with tracker.track("upload", {"try": number}) as execution:
            execution.status = "completed" if number == 2 else "failed"
    assert chained(tracker) == [("upload", None), ("upload", "worker"), ("upload", "worker")]


def test_of_events_from_several_sources_the_last_one_counts() -> None:
    executions = [("a", 0, 5, None, None, None), ("b", 0, 3, None, None, None), ("c", 6, 1, None, None, None)]
    tracker = run(executions, [("a", 1, "c", 1), ("a", 5, "c", 1), ("b", 3, "c", 2)], 1.0)
    assert chained(tracker) == [("a", None), ("c", "event")]


def test_of_several_causes_the_last_one_counts_whatever_their_order() -> None:
    ran = [("a", 0, 5, None, None, None), ("b", 0, 3, None, None, None), ("c", 6, 1, None, [1, 2], None)]
    tracker = run(ran, [("a", 5, "c", 1), ("b", 3, "c", 2)], 1.0)
    assert chained(tracker) == [("a", None), ("c", "caused_by")]
    del tracker.event_flow[0]  # edited by hand: one of the causes is gone
    assert chained(tracker) == [("b", None), ("c", "caused_by")]


def test_an_execution_that_had_not_started_has_emitted_nothing() -> None:
    ran = [("a", 5, 1, None, None, None), ("b", 7, 1, None, None, None)]
    tracker = run(ran, [("a", 1, "b", 1)], 1.0)  # edited by hand
    assert chained(tracker) == [("b", None)]
    tracker.routine_executions["b"][0]["caused_by"] = [1]
    assert chained(tracker) == [("b", None)]
    tracker.event_flow[0]["timestamp"] = text(6)
    assert chained(tracker) == [("a", None), ("b", "caused_by")]

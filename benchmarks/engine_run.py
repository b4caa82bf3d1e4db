"""What a run of an engine costs: executions that overlap, with ids, events, and numbers that are read meanwhile.

    pip install . && pip install --no-deps routilux==0.10.0 && python benchmarks/engine_run.py

Ten routines, of which five executions are always open; each ends by its id and emits one event. Payloads are shared.
Upstream records the same calls one after another, as it knows no ids. All take turns in one run, round by round, and
the garbage collector stays on, as in a host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from measuring import CLOCKS, OURS, THEIRS, Clock, Comparison, machine, parser_of, timed, traced
from subjects import ROUTINES, Upstream

from execution_tracker import ExecutionTracker

PARAMS, RESULT, DATA = {"path": "docs/page.md"}, {"words": 120}, {"n": 1}
OPEN = 5
NEW = 1_000

EXECUTION = "A start with params and an end with a result"
EVENT = "An event with data"
OURS_GIVEN = f"{OURS}, its execution given"
METRICS = "Record, and all metrics"
LIVE = "Record, all metrics, and the live records"
AGAIN = "All metrics once more"
POLL = f"A poll after {NEW:,} new records"
OF_LIVE = "All metrics of live records"
OF_LOADED = "All metrics of a loaded run"
KEPT = "Memory after the metrics"
PEAK = "Memory on the way, at most"

THEIR_RECORDING = f"{THEIRS}, recording"
THEIR_NUMBERS = f"{THEIRS}, its four numbers"
FIRST_READ = f"{OURS}, the first read"


def executions(tracker: Any, count: int, with_id: bool) -> Any:
    start, end = tracker.record_routine_start, tracker.record_routine_end
    for number in range(count):
        routine_id = ROUTINES[number % 10]
        execution_id = start(routine_id, PARAMS)
        if with_id:
            end(routine_id, "completed", RESULT, execution_id=execution_id)
        else:
            end(routine_id, "completed", RESULT)
    return tracker


def events(tracker: Any, count: int, **given: Any) -> Any:
    record = tracker.record_event
    for number in range(count):
        record(ROUTINES[number % 10], "done", "routine-1", DATA, **given)
    return tracker


def engine_run(count: int, tracker: ExecutionTracker | None = None) -> ExecutionTracker:
    """Record executions of which five are always open, each with an event, and return the tracker."""
    tracker = ExecutionTracker() if tracker is None else tracker
    start, emit, end = tracker.record_routine_start, tracker.record_event, tracker.record_routine_end
    started: list[tuple[str, int]] = []
    for number in range(count):
        routine_id = ROUTINES[number % 10]
        execution_id = start(routine_id, PARAMS)
        emit(routine_id, "done", ROUTINES[(number + 1) % 10], DATA, execution_id=execution_id)
        started.append((routine_id, execution_id))
        if len(started) == OPEN:
            first, first_id = started.pop(0)
            end(first, "completed", RESULT, execution_id=first_id)
    for routine_id, execution_id in started:
        end(routine_id, "completed", RESULT, execution_id=execution_id)
    return tracker


def upstream_run(count: int) -> Any:
    """Record as many executions and events on upstream, one after another."""
    tracker = Upstream()
    for number in range(count):
        routine_id = ROUTINES[number % 10]
        tracker.record_routine_start(routine_id, PARAMS)
        tracker.record_event(routine_id, "done", ROUTINES[(number + 1) % 10], DATA)
        tracker.record_routine_end(routine_id, "completed", RESULT)
    return tracker


def measured_run(count: int) -> ExecutionTracker:
    tracker = engine_run(count)
    tracker.get_performance_metrics()
    return tracker


def live_run(count: int) -> Any:
    tracker = measured_run(count)
    return tracker, tracker.routine_executions, tracker.event_flow


def loaded(tracker: ExecutionTracker) -> ExecutionTracker:
    copy = ExecutionTracker()
    copy.deserialize(tracker.serialize())
    return copy


def one_round(count: int, clock: Clock) -> dict[tuple[str, str], float]:
    """Return seconds by title and subject."""
    taken: dict[tuple[str, str], float] = {}

    def take(title: str, name: str, work: Callable[[], Any]) -> Any:
        taken[title, name], made = timed(work, clock)
        return made

    take(EXECUTION, OURS, lambda: executions(ExecutionTracker(), count, with_id=True))
    take(EXECUTION, THEIRS, lambda: executions(Upstream(), count, with_id=False))
    take(EVENT, OURS, lambda: events(ExecutionTracker(), count))
    take(EVENT, OURS_GIVEN, lambda: events(ExecutionTracker(), count, execution_id=1))
    take(EVENT, THEIRS, lambda: events(Upstream(), count))
    theirs = take(METRICS, THEIR_RECORDING, lambda: upstream_run(count))
    take(METRICS, OURS, lambda: measured_run(count))
    taken[LIVE, THEIR_RECORDING] = taken[METRICS, THEIR_RECORDING]
    take(LIVE, OURS, lambda: live_run(count))
    take(AGAIN, THEIR_NUMBERS, theirs.get_flow_performance)
    del theirs
    for title in (OF_LIVE, OF_LOADED):
        taken[title, THEIR_NUMBERS] = taken[AGAIN, THEIR_NUMBERS]
    ours = engine_run(count)
    take(POLL, FIRST_READ, ours.get_performance_metrics)
    take(AGAIN, OURS, ours.get_performance_metrics)
    engine_run(NEW // 2, ours)
    take(POLL, OURS, ours.get_performance_metrics)
    of_file = loaded(ours)
    of_file.get_performance_metrics()
    take(OF_LOADED, OURS, of_file.get_performance_metrics)
    del of_file
    assert ours.routine_executions
    ours.get_performance_metrics()
    take(OF_LIVE, OURS, ours.get_performance_metrics)
    return taken


def measure(count: int, rounds: int, clock: Clock) -> list[Comparison]:
    """Compare what a run of an engine costs, and what reading it does."""
    values: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for (title, name), seconds in one_round(count, clock).items():
            values.setdefault(title, {}).setdefault(name, []).append(seconds)
    comparisons = []
    for title, of_title in values.items():
        unit, calls = ("µs", count) if title in (EXECUTION, EVENT) else ("ms", 1)
        comparisons.append(Comparison(title, of_title, _baselines(of_title), unit, calls))
    ours, theirs = traced(partial(measured_run, count)), traced(partial(upstream_run, count))
    for title, our_size, their_size in zip((KEPT, PEAK), ours, theirs, strict=True):
        sizes = {OURS: [float(our_size)], THEIRS: [float(their_size)]}
        comparisons.append(Comparison(title, sizes, (THEIRS,), "bytes", count))
    return comparisons


def _baselines(values: dict[str, list[float]]) -> tuple[str, ...]:
    return tuple(name for name in values if name in (THEIRS, THEIR_RECORDING, THEIR_NUMBERS, FIRST_READ))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="executions, and as many events")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}\n{options.count:,} executions, {options.rounds} rounds, {options.time} time")
    for comparison in measure(options.count, options.rounds, CLOCKS[options.time]):
        print(f"\n{comparison.title}\n\n{comparison.table()}", flush=True)


if __name__ == "__main__":
    main()

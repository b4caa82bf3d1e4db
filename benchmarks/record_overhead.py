"""What recording, the first read and the metrics cost: this library, upstream, others, and the limit.

    pip install '.[bench]' && pip install --no-deps routilux==0.10.0 && python benchmarks/record_overhead.py

All take turns in one run, round by round, and the garbage collector stays on, as in a host. The limit is a bare
`list.extend` with what a call has to keep and the same clocks.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns, time_ns
from typing import Any

from measuring import CLOCKS, LIMIT, OURS, THEIRS, Clock, Comparison, Work, interleaved, machine, parser_of
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from subjects import ROUTINES, Upstream, event, start_end
from viztracer import VizTracer

from execution_tracker import ExecutionTracker

Subject = Callable[[int], Any]

TRACK = f"{OURS}, track"
VIZTRACER = "VizTracer"
OTEL = "OpenTelemetry"
OTEL_KEPT = "OpenTelemetry, spans kept"

EXECUTION = "A start and an end"
WITH_PARAMS = "A start with params and an end"
EVENT = "An event"
FIRST_READ = "Start, end, event, and the first read of all"
METRICS = "All metrics"
OUR_METRICS = f"{OURS}, all metrics"
THEIR_METRICS = f"{THEIRS}, get_flow_performance"


def track(count: int) -> Any:
    tracker = ExecutionTracker()
    for number in range(count):
        with tracker.track(ROUTINES[number % 20]):
            pass
    return tracker


def execution_limit(count: int) -> Any:
    log: list[Any] = []
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        log.extend(("start", routine_id, None, 1, None, perf_counter_ns(), None, None, None, time_ns()))
        log.extend(("completed", routine_id, None, None, None, perf_counter_ns(), None, None, None, None))
    return log


def viztracer(count: int) -> VizTracer:
    tracer = VizTracer(tracer_entries=count, verbose=0)
    # It profiles all of the process as soon as it is made, started or not, which would slow down everybody.
    sys.setprofile(None)
    threading.setprofile(None)
    return tracer


def execution_viztracer(count: int) -> Any:
    tracer = viztracer(count)
    for number in range(count):
        with tracer.log_event(ROUTINES[number % 20]):
            pass
    return tracer


def execution_spans(count: int) -> Any:
    start = TracerProvider().get_tracer("benchmark").start_span
    for number in range(count):
        start(ROUTINES[number % 20]).end()


def start_end_with_params(tracker: Any, count: int) -> Any:
    start, end = tracker.record_routine_start, tracker.record_routine_end
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        start(routine_id, {"n": number})
        end(routine_id)
    return tracker


def params_limit(count: int) -> Any:
    log: list[Any] = []
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        log.extend(("start", routine_id, {"n": number}, 1, None, perf_counter_ns(), None, None, None, time_ns()))
        log.extend(("completed", routine_id, None, None, None, perf_counter_ns(), None, None, None, None))
    return log


def params_spans(provider: TracerProvider, count: int) -> Any:
    start = provider.get_tracer("benchmark").start_span
    for number in range(count):
        start(ROUTINES[number % 20], attributes={"n": number}).end()
    return provider


def keeping_provider() -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    return provider


def event_limit(count: int) -> Any:
    log: list[Any] = []
    for _ in range(count):
        log.extend(("event", "routine-1", None, None, None, perf_counter_ns(), "done", "routine-2", 1, None))
    return log


def name_viztracer(count: int) -> Any:
    log = (tracer := viztracer(count)).log_instant
    for _ in range(count):
        log("done")
    return tracer


def event_viztracer(count: int) -> Any:
    log = (tracer := viztracer(count)).log_instant
    for _ in range(count):
        log("done", {"source": "routine-1", "target": "routine-2"})
    return tracer


def event_span(count: int) -> Any:
    limits = SpanLimits(max_events=count)
    span = TracerProvider(span_limits=limits).get_tracer("benchmark").start_span("routine-1")
    for _ in range(count):
        span.add_event("done", {"target": "routine-2"})
    return span


def everything_and_read(tracker: Any, count: int) -> Any:
    event(start_end(tracker, count), count)
    return tracker.routine_executions, tracker.event_flow


def overlapping(count: int) -> ExecutionTracker:
    """Record executions of which four are always open, and as many events."""
    tracker = ExecutionTracker()
    open_ids: list[tuple[str, int]] = []
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        open_ids.append((routine_id, tracker.record_routine_start(routine_id)))
        if len(open_ids) == 4:
            first, execution_id = open_ids.pop(0)
            tracker.record_routine_end(first, execution_id=execution_id)
    event(tracker, count)
    return tracker


def loaded(tracker: ExecutionTracker) -> ExecutionTracker:
    copy = ExecutionTracker()
    copy.deserialize(tracker.serialize())
    return copy


SUBJECTS: dict[str, dict[str, Subject]] = {
    EXECUTION: {
        LIMIT: execution_limit,
        OURS: lambda count: start_end(ExecutionTracker(), count),
        TRACK: track,
        THEIRS: lambda count: start_end(Upstream(), count),
        VIZTRACER: execution_viztracer,
        OTEL: execution_spans,
    },
    WITH_PARAMS: {
        LIMIT: params_limit,
        OURS: lambda count: start_end_with_params(ExecutionTracker(), count),
        THEIRS: lambda count: start_end_with_params(Upstream(), count),
        OTEL: lambda count: params_spans(TracerProvider(), count),
        OTEL_KEPT: lambda count: params_spans(keeping_provider(), count),
    },
    EVENT: {
        LIMIT: event_limit,
        OURS: lambda count: event(ExecutionTracker(), count),
        THEIRS: lambda count: event(Upstream(), count),
        VIZTRACER: event_viztracer,
        f"{VIZTRACER}, the name alone": name_viztracer,
        OTEL: event_span,
    },
    FIRST_READ: {
        OURS: lambda count: everything_and_read(ExecutionTracker(), count),
        THEIRS: lambda count: everything_and_read(Upstream(), count),
    },
}


def measure_recording(count: int, rounds: int, clock: Clock) -> list[Comparison]:
    """Compare what it costs to record, with and without the first read."""
    comparisons = []
    for title, subjects in SUBJECTS.items():
        works: dict[str, Work] = {name: partial(subject, count) for name, subject in subjects.items()}
        baselines = tuple(name for name in (THEIRS, LIMIT) if name in subjects)
        comparisons.append(Comparison(title, interleaved(works, rounds, clock), baselines, "µs", count))
    return comparisons


def measure_metrics(count: int, rounds: int, clock: Clock) -> Comparison:
    """Compare the metrics of runs that were read before with upstream's one method for all routines."""
    ours, theirs = (event(start_end(make(), count), count) for make in (ExecutionTracker, Upstream))
    runs = {
        OUR_METRICS: ours,
        f"{OUR_METRICS}, four executions at once": overlapping(count),
        f"{OUR_METRICS}, loaded run": loaded(ours),
    }
    for run in runs.values():
        run.get_performance_metrics()
    works = {name: run.get_performance_metrics for name, run in runs.items()}
    times = interleaved({THEIR_METRICS: theirs.get_flow_performance, **works}, rounds, clock)
    return Comparison(METRICS, times, (THEIR_METRICS,), "ms")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="calls in one round")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    clock = CLOCKS[options.time]
    print(f"{machine()}\n{options.count:,} calls a round, {options.rounds} rounds, {options.time} time")
    for comparison in measure_recording(options.count, options.rounds, clock):
        print(f"\n{comparison.title}\n\n{comparison.table()}", flush=True)
    comparison = measure_metrics(options.count, options.rounds, clock)
    print(f"\n{comparison.title} of {options.count:,} executions and as many events\n\n{comparison.table()}")


if __name__ == "__main__":
    main()

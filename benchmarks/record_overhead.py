"""What recording costs: this library, upstream, OpenTelemetry's SDK, and the limit, interleaved in one run.

Run it with ``python benchmarks/record_overhead.py`` after ``pip install execution-tracker opentelemetry-sdk`` and
``pip install --no-deps routilux==0.10.0``. The garbage collector stays on, as in a host.
"""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns, time_ns
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from upstream import load_upstream  # the class as it is on the index, unregistered

from execution_tracker import ExecutionTracker

Upstream = load_upstream()
ROUTINES = [f"routine-{number}" for number in range(20)]
Work = Callable[[int], Any]


def start_end(tracker: Any, count: int) -> Any:
    start, end = tracker.record_routine_start, tracker.record_routine_end
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        start(routine_id)
        end(routine_id)
    return tracker


def event(tracker: Any, count: int) -> Any:
    record = tracker.record_event
    for _ in range(count):
        record("routine-1", "done", "routine-2")
    return tracker


def everything_and_read(tracker: Any, count: int) -> Any:
    event(start_end(tracker, count), count)
    return tracker.routine_executions, tracker.event_flow


def start_end_spans(count: int) -> Any:
    from opentelemetry.sdk.trace import TracerProvider

    start = TracerProvider().get_tracer("benchmark").start_span
    for number in range(count):
        start(ROUTINES[number % 20]).end()


def event_spans(count: int) -> Any:
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider

    limits = SpanLimits(max_events=count)
    add_event = TracerProvider(span_limits=limits).get_tracer("benchmark").start_span("routine-1").add_event
    for _ in range(count):
        add_event("done")


def start_end_limit(count: int) -> Any:
    log: list[Any] = []
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        log.extend(("start", routine_id, None, None, 1, None, time_ns(), perf_counter_ns()))
        log.extend(("completed", routine_id, None, None, None, None, time_ns(), perf_counter_ns()))
    return log


def event_limit(count: int) -> Any:
    log: list[Any] = []
    for _ in range(count):
        log.extend(("event", "routine-1", "done", "routine-2", None, None, time_ns(), None))
    return log


def interleaved(works: dict[str, Work], count: int, rounds: int) -> dict[str, list[float]]:
    """Time each work in turn, round by round, and return its times in seconds; garbage is collected in between."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            gc.collect()
            begin = perf_counter()
            kept = work(count)
            times[name].append(perf_counter() - begin)
            del kept
    return times


def memory_per_call(make: Callable[[], Any], count: int) -> float:
    tracemalloc.start()
    kept = event(start_end(make(), count), count)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return size / count / 3


def metrics_works(count: int) -> dict[str, Work]:
    ours, theirs = (event(start_end(make(), count), count) for make in (ExecutionTracker, Upstream))
    ours.get_performance_metrics()
    return {
        "upstream get_flow_performance": lambda _: theirs.get_flow_performance(),
        "all metrics": lambda _: ours.get_performance_metrics(),
    }


def table(title: str, times: dict[str, list[float]], count: int, baselines: list[str]) -> None:
    print(f"\n{title}")
    print(f"  {'':32}{'median':>10}{'min':>10}{'max':>10}" + "".join(f"{'/ ' + name:>18}" for name in baselines))
    for name, taken in times.items():
        each = [f"{value / count * 1e9:>8.0f}ns" for value in (median(taken), min(taken), max(taken))]
        ratios = [f"{median(taken) / median(times[other]):>18.2f}" for other in baselines]
        print(f"  {name:32}{''.join(each)}{''.join(ratios)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="calls in one round")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    count, rounds = arguments.count, arguments.rounds
    print(f"CPython {platform.python_version()}, {platform.machine()}, {count:,} calls a round, {rounds} rounds")
    works: dict[str, Work] = {
        "upstream": lambda n: start_end(Upstream(), n),
        "limit": start_end_limit,
        "OpenTelemetry": start_end_spans,
        "execution-tracker": lambda n: start_end(ExecutionTracker(), n),
    }
    table("start + end", interleaved(works, count, rounds), count, ["upstream", "limit"])
    works = {
        "upstream": lambda n: event(Upstream(), n),
        "limit": event_limit,
        "OpenTelemetry": event_spans,
        "execution-tracker": lambda n: event(ExecutionTracker(), n),
    }
    table("event", interleaved(works, count, rounds), count, ["upstream", "limit"])
    works = {
        "upstream": lambda n: everything_and_read(Upstream(), n),
        "execution-tracker": lambda n: everything_and_read(ExecutionTracker(), n),
    }
    table("start + end + event + first read", interleaved(works, count, rounds), count, ["upstream"])
    works = metrics_works(count)
    table("metrics", interleaved(works, count, rounds), count, ["upstream get_flow_performance"])
    ours, theirs = memory_per_call(ExecutionTracker, count), memory_per_call(Upstream, count)
    print(
        f"\nmemory per call before the first read: {ours:.0f} bytes; upstream {theirs:.0f}; ratio {ours / theirs:.2f}"
    )


if __name__ == "__main__":
    main()

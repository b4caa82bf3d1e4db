"""What a record costs as a run grows, at each step of its life, here and in upstream; and the memory that it takes.

    pip install '.[html]' && pip install --no-deps routilux==0.10.0 && python benchmarks/growth.py

Half of the records are executions, each with an event that feeds the next one. Both libraries take turns, round by
round; the larger the run, the fewer the rounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import CLOCKS, OURS, THEIRS, Clock, Comparison, machine, number, parser_of, table, timed, traced
from subjects import Upstream, chain, event, start_end, upstream_load, upstream_save

from execution_tracker import ExecutionTracker
from execution_tracker.analysis import critical_path
from execution_tracker.report.html import write_html

SIZES = (1_000, 10_000, 100_000, 1_000_000)
RECORDS_A_STEP = 300_000  # which several rounds may take together

RECORDING = "recording"
READ_TOO = "recording and first read"
METRICS = "metrics"
SAVING = "saving"
LOADING = "loading"
PATH = "critical path"
HTML = "HTML page"
MEMORY_UNREAD = "memory before the first read"
MEMORY_READ = "memory after it"

Step = Callable[[str, Callable[[], Any]], Any]
Curves = dict[str, dict[int, Comparison]]


def our_life(count: int, path: Path, step: Step) -> None:
    tracker = step(RECORDING, lambda: chain(ExecutionTracker("run"), count))
    step(READ_TOO, lambda: (tracker.routine_executions, tracker.event_flow))
    tracker = chain(ExecutionTracker("run"), count)
    tracker.get_flow_performance()  # folds the log, but takes no record into the user's hands
    step(METRICS, tracker.get_performance_metrics)
    step(SAVING, lambda: tracker.save(path))
    step(LOADING, lambda: ExecutionTracker.load(path))
    step(PATH, lambda: critical_path(tracker))
    step(HTML, lambda: write_html(tracker, path))


def their_life(count: int, path: Path, step: Step) -> None:
    tracker = step(RECORDING, lambda: chain(Upstream("run"), count))
    step(READ_TOO, lambda: (tracker.routine_executions, tracker.event_flow))
    step(METRICS, tracker.get_flow_performance)
    step(SAVING, lambda: upstream_save(tracker, path))
    step(LOADING, lambda: upstream_load(path))


def lived(life: Callable[[int, Path, Step], None], count: int, clock: Clock) -> dict[str, float]:
    """Return the seconds that each step of a run's life takes."""
    seconds: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        seconds[name], made = timed(work, clock)
        return made

    with tempfile.TemporaryDirectory() as folder:
        life(count, Path(folder, "run"), step)
    seconds[READ_TOO] += seconds[RECORDING]
    return seconds


def bare(tracker: Any, count: int) -> Any:
    return event(start_end(tracker, count), count)


def read(tracker: Any) -> Any:
    tracker.get_flow_performance()
    return tracker


def memory(count: int) -> dict[str, dict[str, list[float]]]:
    """Return the bytes that executions and events without payloads take."""
    theirs = float(traced(lambda: bare(Upstream(), count))[0])
    unread = float(traced(lambda: bare(ExecutionTracker(), count))[0])
    after = float(traced(lambda: read(bare(ExecutionTracker(), count)))[0])
    return {MEMORY_UNREAD: {OURS: [unread], THEIRS: [theirs]}, MEMORY_READ: {OURS: [after], THEIRS: [theirs]}}


def measure(sizes: tuple[int, ...], rounds: int, clock: Clock) -> Curves:
    """Return a comparison for each step and each number of records."""
    curves: Curves = {}
    lived(our_life, 10, clock)  # imports what the steps import
    for size in sizes:
        values: dict[str, dict[str, list[float]]] = {}
        for _ in range(max(1, min(rounds, RECORDS_A_STEP // size))):
            for name, life in [(OURS, our_life), (THEIRS, their_life)]:
                for step, seconds in lived(life, size // 2, clock).items():
                    values.setdefault(step, {}).setdefault(name, []).append(seconds)
        for step, taken in (values | memory(size // 2)).items():
            unit = "bytes" if step in (MEMORY_UNREAD, MEMORY_READ) else "µs"
            baselines = (THEIRS,) if THEIRS in taken else ()
            curves.setdefault(step, {})[size] = Comparison(step, taken, baselines, unit, size)
    return curves


def cost_table(curves: Curves) -> str:
    """Return a table of what a record costs: a row for each step, a column for each number of records."""
    rows = []
    for step, by_size in curves.items():
        unit = next(iter(by_size.values())).unit
        rows.append([f"{step}, {unit}", *(number(one.each(OURS).middle) for one in by_size.values())])
    return table(_head(curves), rows)


def ratio_table(curves: Curves) -> str:
    """Return a table of ratios to upstream, of the steps that upstream has."""
    rows = [
        [step, *(one.ratio(OURS, THEIRS).text() for one in by_size.values())]
        for step, by_size in curves.items()
        if all(one.baselines for one in by_size.values())
    ]
    return table(_head(curves), rows)


def _head(curves: Curves) -> list[str]:
    return ["records", *(f"{size:,}" for size in next(iter(curves.values())))]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="records")
    parser.add_argument("--rounds", type=int, default=5, help="at most")
    options = parser.parse_args()
    print(f"{machine()}\n{options.time} time")
    curves = measure(tuple(options.sizes), options.rounds, CLOCKS[options.time])
    print(f"\nwhat a record costs\n\n{cost_table(curves)}\n\nof upstream's cost\n\n{ratio_table(curves)}")


if __name__ == "__main__":
    main()

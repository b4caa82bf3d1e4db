"""What it costs to serialize, save and load a run: this library and upstream's way, interleaved in one run.

Run it with ``python benchmarks/persistence.py`` after ``pip install execution-tracker`` and
``pip install --no-deps routilux==0.10.0``; ``--records 1000000`` for a long run. The garbage collector stays on, as in
a host. Memory is the peak above what the tracker itself takes, as ``tracemalloc`` counts it, in a pass of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from upstream import load_upstream  # the class as it is on the index, unregistered

from execution_tracker import ExecutionTracker

Upstream = load_upstream()
ROUTINES = [f"routine-{number}" for number in range(20)]


def filled(tracker: Any, count: int) -> Any:
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        tracker.record_routine_start(routine_id, {"path": "docs/page.md", "n": number})
        tracker.record_event(routine_id, "done", ROUTINES[(number + 1) % 20], {"n": number})
        tracker.record_routine_end(routine_id, result={"words": number})
    tracker.get_flow_performance()  # so that what was recorded is folded
    return tracker


def upstream_save(tracker: Any, path: Path) -> None:
    with open(path, "w") as file:
        json.dump(tracker.serialize(), file)


def upstream_load(path: Path) -> Any:
    tracker = Upstream()
    with open(path) as file:
        tracker.deserialize(json.load(file))
    return tracker


def seconds(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    gc.collect()
    begin = clock()
    work()
    return clock() - begin


def peak_bytes(work: Callable[[], Any]) -> int:
    gc.collect()
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000, help="executions, and as many events")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="processor time instead of wall time, on a busy machine")
    parser.add_argument("--memory", action="store_true", help="the peak of memory, too, which takes minutes")
    options = parser.parse_args()
    clock = process_time if options.cpu else perf_counter
    ours, theirs = filled(ExecutionTracker("run"), options.records), filled(Upstream("run"), options.records)
    with tempfile.TemporaryDirectory() as folder:
        our_path, their_path = Path(folder, "ours.json"), Path(folder, "theirs.json")
        pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "serialize": (ours.serialize, theirs.serialize),
            "save": (lambda: ours.save(our_path), lambda: upstream_save(theirs, their_path)),
            "load": (lambda: ExecutionTracker.load(our_path), lambda: upstream_load(their_path)),
        }
        times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
        for _ in range(options.rounds):
            for name, works in pairs.items():
                for work, list_ in zip(works, times[name], strict=True):
                    list_.append(seconds(work, clock))
        kind = "processor" if options.cpu else "wall"
        print(f"CPython {platform.python_version()}, {options.records:,} executions and events, {kind} time, medians")
        print(f"{'':10} {'ours s':>8} {'upstream':>8} {'ratio':>6}")
        for name in pairs:
            our_s, their_s = map(median, times[name])
            print(f"{name:10} {our_s:8.2f} {their_s:8.2f} {our_s / their_s:6.2f}", flush=True)
        if options.memory:
            print(f"{'':10} {'ours MB':>8} {'upstream':>8} {'ratio':>6}")
            for name, works in pairs.items():
                our_mb, their_mb = (peak_bytes(work) / 1e6 for work in works)
                print(f"{name:10} {our_mb:8.1f} {their_mb:8.1f} {our_mb / their_mb:6.2f}", flush=True)


if __name__ == "__main__":
    main()

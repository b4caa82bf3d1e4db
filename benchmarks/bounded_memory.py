"""How much memory a tracker with `max_records` takes as the records come, though nobody reads it.

    python benchmarks/bounded_memory.py --records 20000000

Linux only: it reads the resident memory of its process from `/proc`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from measuring import machine, number, table

from execution_tracker import ExecutionTracker

ROUTINES = [f"routine-{turn}" for turn in range(10)]
STEPS = 5


def resident_mb() -> float:
    """Return the resident memory of this process in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure(records: int, tracker: ExecutionTracker) -> Iterator[list[str]]:
    """Record executions and events, and tell the memory and the time of a record now and then."""
    yield ["0", f"{resident_mb():.1f}", ""]
    start = perf_counter()
    for step in range(STEPS):
        for turn in range(records // 2 // STEPS):
            routine_id = ROUTINES[turn % 10]
            execution = tracker.record_routine_start(routine_id, {"number": turn})
            tracker.record_event(routine_id, "done", None, {"number": turn})
            tracker.record_routine_end(routine_id, execution_id=execution)
        done = records * (step + 1) // STEPS
        yield [f"{done:,}", f"{resident_mb():.1f}", number((perf_counter() - start) / done * 1e6)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5_000_000, help="half executions, half events")
    parser.add_argument("--max-records", type=int, default=10_000)
    options = parser.parse_args()
    tracker = ExecutionTracker("bounded", max_records=options.max_records)
    rows = measure(options.records, tracker)
    print(f"{machine()}; max_records={options.max_records:,}\n")
    print(table(["records", "resident MB", "µs a record"], rows))
    numbers = tracker.get_performance_metrics()
    print(f"\nof its whole life: {numbers['total_executions']:,} executions, {numbers['total_events']:,} events")


if __name__ == "__main__":
    main()

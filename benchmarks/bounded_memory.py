"""How much memory a tracker with ``max_records`` takes, at each million of records, though nobody reads it.

Run it with ``python benchmarks/bounded_memory.py [--millions 5] [--max-records 10000]`` on Linux.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from time import perf_counter

from execution_tracker import ExecutionTracker

ROUTINES = [f"routine-{number}" for number in range(10)]
MILLION = 1_000_000


def resident_mb() -> float:
    """Return the resident memory of this process in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, default=5, help="records (one execution and one event are two)")
    parser.add_argument("--max-records", type=int, default=10_000)
    arguments = parser.parse_args()
    tracker = ExecutionTracker("bounded", max_records=arguments.max_records)
    print(f"CPython {platform.python_version()}, max_records={arguments.max_records:,}")
    print(f"  {'records':>12}  {'resident':>10}  {'per record':>10}")
    print(f"  {0:>12,}  {resident_mb():>7.1f} MB")
    start = perf_counter()
    for number in range(arguments.millions * MILLION // 2):
        routine_id = ROUTINES[number % 10]
        execution = tracker.record_routine_start(routine_id, {"number": number})
        tracker.record_event(routine_id, "done", None, {"number": number})
        tracker.record_routine_end(routine_id, execution_id=execution)
        if (2 * number + 2) % MILLION == 0:
            per_record_us = (perf_counter() - start) / (2 * number + 2) * 1e6
            print(f"  {2 * number + 2:>12,}  {resident_mb():>7.1f} MB  {per_record_us:>7.2f} us")
    numbers = tracker.get_performance_metrics()
    print(f"executions of its whole life: {numbers['total_executions']:,}; events: {numbers['total_events']:,}")


if __name__ == "__main__":
    main()

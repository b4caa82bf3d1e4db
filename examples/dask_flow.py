"""Look for the largest gap between primes on a Dask cluster, and see where the time goes on all workers together.

    pip install 'execution-tracker[dask]'
    python examples/dask_flow.py [LIMIT]

Each call on a worker records the steps inside it with a tracker of its own, and sends that back with its result. Dask
knows nothing of the steps, but when and where each call ran; ``track_cluster`` records that. Merged they are one run.
"""

import sys
from collections import Counter
from itertools import pairwise
from math import isqrt
from typing import Any

from distributed import Client, LocalCluster

from execution_tracker import ExecutionTracker, merge
from execution_tracker.integrations.dask import track_cluster

WORKERS = 2
PARTS = 8

Gap = tuple[int, int]  # its length, and the prime before it


def main(limit: int) -> None:
    calls = ExecutionTracker()
    bounds = [limit * part // PARTS for part in range(PARTS + 1)]
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        track_cluster(client, calls),
    ):
        found = client.gather(client.map(search, bounds[:-1], bounds[1:]))
    gaps, steps = zip(*found, strict=True)
    length, prime = max(gaps)
    print(f"The largest gap between primes in parts of the numbers below {limit:,} is {length}, after {prime:,}.\n")
    print_report(merge([calls, *steps], flow_id="prime gaps"))


# The flow, on the workers: sieve -> measure


def search(start: int, stop: int) -> tuple[Gap, ExecutionTracker]:
    """Return the largest gap between primes from ``start`` to ``stop``, and what was recorded on the way."""
    tracker = ExecutionTracker()
    sieving = tracker.record_routine_start("sieve", {"start": start, "stop": stop})
    primes = sieve(start, stop)
    tracker.record_event("sieve", "primes", "measure", {"count": len(primes)})
    tracker.record_routine_end("sieve", execution_id=sieving)
    measuring = tracker.record_routine_start("measure", {"start": start, "stop": stop})
    gap = measure(primes)
    tracker.record_routine_end("measure", result=gap, execution_id=measuring)
    return gap, tracker


def sieve(start: int, stop: int) -> list[int]:
    start = max(start, 2)
    is_prime = bytearray([1]) * max(stop - start, 0)
    for factor in range(2, isqrt(stop) + 1):
        first = max(factor * factor, -(-start // factor) * factor) - start
        is_prime[first::factor] = bytes(len(range(first, len(is_prime), factor)))
    return [start + offset for offset, flag in enumerate(is_prime) if flag]


def measure(primes: list[int]) -> Gap:
    return max(((after - prime, prime) for prime, after in pairwise(primes)), default=(0, 0))


# The report


def print_report(tracker: ExecutionTracker) -> None:
    metrics: dict[str, Any] = tracker.get_performance_metrics()
    calls = tracker.routine_executions["search"]
    by_worker = Counter(record["params"]["worker"] for record in calls)
    print(f"{metrics['flow_id']}: {metrics['wall_time']:.3f} s, at most {metrics['peak_concurrency']} at once")
    print(f"{len(calls)} calls on {len(by_worker)} workers, {metrics['total_events']} events\n")
    print("routine  executions  failed   median ms    total ms")
    for bottleneck in metrics["bottlenecks"]:
        routine_id = bottleneck["routine_id"]
        routine = metrics["routines"][routine_id]
        counts = f"{routine['total_executions']:>11} {routine['failed']:>7}"
        median, total = (routine[f"{name}_execution_time"] * 1000 for name in ("median", "total"))
        print(f"{routine_id:<7} {counts} {median:>11,.3f} {total:>11,.3f}")


if __name__ == "__main__":  # Dask's worker processes import this file
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)

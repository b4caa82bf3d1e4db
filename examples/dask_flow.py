"""Look for the largest gap between primes on a Dask cluster, and see where the time goes on all workers together.

    pip install 'execution-tracker[dask]'
    python examples/dask_flow.py [LIMIT]

Each worker has a tracker of its own, which records the steps of the calls that run there; at the end they are fetched.
Dask knows nothing of the steps, but when and where each call ran; ``track_cluster`` records that. Merged they are one
run.
"""

import sys
from collections import Counter
from itertools import pairwise
from math import isqrt
from typing import Any

from distributed import Client, LocalCluster, Worker, get_worker

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
        length, prime = max(client.gather(client.map(search, bounds[:-1], bounds[1:])))
        steps = client.run(lambda dask_worker: tracker_of(dask_worker))  # by the addresses of the workers
    print(f"The largest gap between primes in parts of the numbers below {limit:,} is {length}, after {prime:,}.\n")
    print_report(merge([calls, *steps.values()], flow_id="prime gaps"))


# The flow, on the workers: sieve -> measure


def search(start: int, stop: int) -> Gap:
    """Return the largest gap between primes from ``start`` to ``stop``."""
    tracker, part = tracker_of(get_worker()), {"start": start, "stop": stop}
    with tracker.track("sieve", part):
        primes = sieve(start, stop)
        found = tracker.record_event("sieve", "primes", "measure", {"count": len(primes)})
    with tracker.track("measure", part, caused_by=found) as execution:
        execution.result = gap = measure(primes)
    return gap


def tracker_of(worker: Worker) -> ExecutionTracker:
    """Return the tracker of a worker, which lasts as long as the worker does."""
    return vars(worker).setdefault("tracker", ExecutionTracker(worker.address))


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
    by_worker = Counter(record["worker"] for record in calls)
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

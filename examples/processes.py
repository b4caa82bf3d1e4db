"""Track work in several processes: each call brings back a tracker of its own, and together they are one run.

    python examples/processes.py

Numbers are looked through for primes in parts, each in a process of a pool.
"""

import os
from concurrent.futures import ProcessPoolExecutor

from execution_tracker import ExecutionTracker, merge


def main() -> None:
    parts = [range(first, first + 2_000) for first in range(0, 10_000, 2_000)]
    with ProcessPoolExecutor(2) as pool:
        counts, trackers = zip(*pool.map(search, parts), strict=True)
    run = merge(trackers, flow_id="primes")
    print(f"{sum(counts)} primes below 10,000")
    for record in run.routine_executions["search"]:
        print(f"{record['params']['first']:>5} on: {record['result']} primes")
    print(run)


def search(numbers: range) -> tuple[int, ExecutionTracker]:
    """Return the number of primes, and what was recorded on the way."""
    tracker = ExecutionTracker()
    with tracker.track("search", {"first": numbers.start, "process": os.getpid()}) as execution:
        execution.result = sum(map(is_prime, numbers))
    return execution.result, tracker


def is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))


if __name__ == "__main__":  # the processes of the pool may import this file
    main()

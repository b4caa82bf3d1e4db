"""Track asyncio tasks: many executions of one routine at once, one that fails, one that is cancelled.

    python examples/asyncio_tasks.py

Pages are fetched at the same time, each by a task of its own, from a server that is made up. One page is missing, and
one takes so long that it is given up. What runs inside a block of `track` has that execution as its parent.
"""

import asyncio
from collections.abc import AsyncIterator

from execution_tracker import ExecutionTracker

PAGES = {"home": 0.02, "news": 0.03, "help": 0.01, "archive": 60.0}  # seconds that each takes
PATIENCE_S = 1.0

tracker = ExecutionTracker("fetch pages")


async def main() -> None:
    await asyncio.gather(*(fetch_in_time(name) for name in [*PAGES, "missing"]))
    report()


async def fetch_in_time(name: str) -> None:
    try:
        fetched = await asyncio.wait_for(fetch(name), PATIENCE_S)
    except (LookupError, asyncio.TimeoutError):
        return  # the tracker knows
    async with tracker.track("store", {"name": name}, caused_by=fetched):
        await asyncio.sleep(0.005)


async def fetch(name: str) -> int:
    """Fetch a page and return the id of the event that says so."""
    async with tracker.track("fetch", {"name": name}) as execution:
        execution.result = words = len([word async for word in read(name)])
        return tracker.record_event("fetch", "fetched", "store", {"name": name, "words": words})


@tracker.tracked()
async def read(name: str) -> AsyncIterator[str]:
    """Yield the words of a page, as they come over the network."""
    if name not in PAGES:
        raise LookupError(f"there is no page {name}")
    for word in ["words", "about", name]:
        await asyncio.sleep(PAGES[name] / 3)
        yield word


def report() -> None:
    metrics = tracker.get_performance_metrics()
    print(f"{metrics['total_executions']} executions, at most {metrics['peak_concurrency']} at once\n")
    for record in tracker.routine_executions["fetch"]:
        outcome = record.get("error") or f"{record['result']} words"
        print(f"fetch({record['params']['name']}) {record['status']} after {record['execution_time']:.3f} s: {outcome}")


if __name__ == "__main__":
    asyncio.run(main())

"""Track the functions of an ordinary program: decorate them, and ask afterwards what ran, failed and was slow.

    python examples/plain_functions.py

A small shop works off its orders. Each function is one routine of the run; the methods and the generator need nothing
special. Where a block of code is no function, `track` records it.
"""

from collections.abc import Iterator

from execution_tracker import ExecutionTracker

ORDERS = ["3 tea", "1 coffee", "two milk", "5 tea", "2 cake", "4 coffee"]

tracker = ExecutionTracker("shop")


def main() -> None:
    store = Store({"tea": 7, "coffee": 9, "milk": 2})
    for number, line in enumerate(orders(ORDERS), start=1):
        try:
            handle(store, line)
        except (ValueError, LookupError) as error:
            print(f"order {number} is refused: {error}")
    with tracker.track("take stock") as execution:
        execution.result = store.stock
    report()


@tracker.tracked()
def orders(lines: list[str]) -> Iterator[str]:
    """Read the orders one by one; the execution lasts until the last one has been taken."""
    for line in lines:
        yield line.strip()


@tracker.tracked()
def handle(store: "Store", line: str) -> int:
    quantity, article = parse(line)
    return store.take(article, quantity)


@tracker.tracked()
def parse(line: str) -> tuple[int, str]:
    quantity, article = line.split()
    return int(quantity), article


class Store:
    def __init__(self, stock: dict[str, int]) -> None:
        self.stock = stock

    @tracker.tracked()
    def take(self, article: str, quantity: int) -> int:
        """Return how much is left."""
        if quantity > self.stock.get(article, 0):
            raise LookupError(f"there is not enough {article}")
        self.stock[article] -= quantity
        return self.stock[article]


def report() -> None:
    print("\nroutine       executions  failed    total ms")
    for routine_id, routine in tracker.get_performance_metrics()["routines"].items():
        total_ms = routine["total_execution_time"] * 1000
        print(f"{routine_id:<12} {routine['total_executions']:>11} {routine['failed']:>7} {total_ms:>11.3f}")
    print()
    for record in tracker.routine_executions["Store.take"]:
        arguments = ", ".join(f"{name}={value!r}" for name, value in record["params"].items())
        print(f"take({arguments}) -> {record.get('result', record.get('error'))}")


if __name__ == "__main__":
    main()

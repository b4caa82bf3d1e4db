"""See what every routine of a routilux flow did, on the engines with slot handlers (0.8.1 to 0.11.0).

    pip install execution-tracker 'routilux==0.11.0' 'serilux==0.3.1'
    python examples/routilux_old.py

The flow reads orders, prices each, and books those that have a price. At first the orders cannot be read, so that a
retry is needed, and one is for a product that nobody knows. (0.8.1 and 0.9.0 can be instrumented, too; only the end of
a run is awaited in another way there.)
"""

import logging

from routilux import ErrorHandler, ErrorStrategy, Flow, JobState, Routine

from execution_tracker import ExecutionTracker
from execution_tracker.integrations.routilux import instrument

ORDERS = [("bolt", 400), ("nut", 250), ("anvil", 1), ("bolt", 50)]
PRICES = {"bolt": 0.12, "nut": 0.08}


class Read(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("trigger", handler=self.read)
        self.define_event("order", ["product", "quantity"])
        self.failures_left = 1

    def read(self, day: str) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise ConnectionError(f"the orders of {day} cannot be read yet")
        for product, quantity in ORDERS:
            self.emit("order", product=product, quantity=quantity)


class Price(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("order", handler=self.price)
        self.define_event("priced", ["product", "amount"])

    def price(self, product: str, quantity: int) -> None:
        self.emit("priced", product=product, amount=PRICES[product] * quantity)


class Book(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.define_slot("priced", handler=self.book)

    def book(self, product: str, amount: float) -> str:
        return f"{product}: {amount:.2f}"


def main() -> None:
    logging.disable()  # the engine tells of each failure at length
    flow = Flow("orders")
    flow.add_routine(Read(), "read")
    flow.add_routine(Price(), "price")
    flow.add_routine(Book(), "book")
    flow.connect("read", "order", "price", "order")
    flow.connect("price", "priced", "book", "priced")
    flow.routines["read"].set_error_handler(ErrorHandler(ErrorStrategy.RETRY, max_retries=2, retry_delay=0.01))

    tracker = instrument(flow)
    job_state = flow.execute("read", entry_params={"day": "Monday"})
    # On a busy machine the engine takes a pause for the end, unless it looks five times in more than its 0.25 seconds.
    JobState.wait_for_completion(flow, job_state, timeout=30, stability_delay=0.2)
    flow.shutdown()
    print_run(tracker)


def print_run(tracker: ExecutionTracker) -> None:
    metrics = tracker.get_performance_metrics()
    print(f"{metrics['total_executions']} executions, {metrics['failed']} failed, {metrics['total_events']} events")
    for routine_id, records in tracker.routine_executions.items():
        for record in records:
            outcome = record.get("error") or record.get("result") or record["status"]
            print(f"{routine_id:<6} {record['execution_time'] * 1000:8.3f} ms  {record['params']} -> {outcome}")


if __name__ == "__main__":
    main()

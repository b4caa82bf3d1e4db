"""See what every routine of a routilux flow did, on the engine of today (1.1), whose runtime runs many posts at once.

    pip install execution-tracker 'routilux==1.1.0'
    python examples/routilux_new.py

Four reports are posted at the same time. Each is fetched, which takes a while, and counted; one of them is empty.
"""

import logging
import time

from routilux import Flow, Routine, Runtime, WorkerState, get_flow_registry

from execution_tracker import ExecutionTracker
from execution_tracker.integrations.routilux import instrument

REPORTS = {"north": "five six seven", "east": "eight nine", "south": "", "west": "ten"}


def one_at_a_time(slots, worker_state):
    """Activate a routine for each piece of data that comes."""
    data = {name: [slot.consume_one_new()] for name, slot in slots.items() if slot.get_unconsumed_count()}
    return bool(data), data, "data came"


class Fetch(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.add_slot("name")
        self.add_event("text", ["name", "text"])
        self.set_activation_policy(one_at_a_time)

    def logic(self, names: list[dict], policy_message: str, worker_state: WorkerState) -> None:
        time.sleep(0.2)
        name = names[0]["name"]
        self.emit("text", worker_state=worker_state, name=name, text=REPORTS[name])


class Count(Routine):
    def __init__(self) -> None:
        super().__init__()
        self.add_slot("text")
        self.set_activation_policy(one_at_a_time)

    def logic(self, texts: list[dict], policy_message: str, worker_state: WorkerState) -> int:
        if not texts[0]["text"]:
            raise ValueError(f"the report of the {texts[0]['name']} is empty")
        return len(texts[0]["text"].split())


def main() -> None:
    logging.disable()  # the engine tells of each failure at length
    flow = Flow("reports")
    flow.add_routine(Fetch(), "fetch")
    flow.add_routine(Count(), "count")
    flow.connect("fetch", "text", "count", "text")
    get_flow_registry().register(flow)

    tracker = instrument(flow)
    with Runtime(thread_pool_size=4) as runtime:
        for name in REPORTS:
            runtime.post("reports", "fetch", "name", {"name": name})
        runtime.wait_until_all_workers_idle(timeout=30)
    print_run(tracker)


def print_run(tracker: ExecutionTracker) -> None:
    metrics = tracker.get_performance_metrics()
    print(
        f"{metrics['total_executions']} executions in {metrics['wall_time']:.2f} s, "
        f"up to {metrics['peak_concurrency']} at once, {metrics['failed']} failed, {metrics['total_events']} events"
    )
    for routine_id, records in tracker.routine_executions.items():
        for record in records:
            outcome = record.get("error") or record.get("result") or record["status"]
            print(f"{routine_id:<6} {record['execution_time'] * 1000:8.3f} ms  {record['params']} -> {outcome}")


if __name__ == "__main__":
    main()

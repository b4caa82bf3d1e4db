"""Runs flows on an old routilux, with its own tracker and then with ours, and prints as JSON what they recorded.

``test_integrations_routilux.py`` starts it in an environment that has such a routilux.
"""

import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import routilux
from records import without_clock
from routilux import ErrorHandler, ErrorStrategy, Flow, JobState, Routine
from serilux import SerializableRegistry, register_serializable


class Step(Routine):
    """Takes a number and hands on what ``step`` makes of it."""

    def __init__(self):
        super().__init__()
        self.define_slot("trigger", handler=self.handle)
        self.define_slot("input", handler=self.handle)
        self.define_event("output", ["number"])

    def __call__(self, **kwargs):  # how 0.8.1 and 0.9.0 enter a flow; later versions use the slot "trigger"
        self.handle(**kwargs)

    def handle(self, number=0, **_kwargs):
        self.emit("output", number=self.step(number))

    def step(self, number):
        return number + 1


@register_serializable
class Plain(Step):
    """Counts on."""


class Failing(Step):
    def step(self, number):
        raise ValueError(f"cannot take {number}")


class Flaky(Step):
    """Fails twice, then works."""

    failures_left = 2

    def step(self, number):
        if self.failures_left:
            self.failures_left -= 1
            raise ConnectionError(f"down, {self.failures_left} more to come")
        return number + 1


@register_serializable
class FlowWithTracker(Flow):
    """A flow that is saved together with what was recorded."""

    def __init__(self, flow_id=None):
        super().__init__(flow_id)
        self.add_serializable_fields(["execution_tracker"])


def linear(flow):
    return connected(flow, {"load": Plain, "parse": Plain, "store": Plain}, ("load", "parse"), ("parse", "store"))


def fan_out(flow):
    return connected(flow, {"load": Plain, "left": Plain, "right": Plain}, ("load", "left"), ("load", "right"))


def failing(flow):
    return connected(flow, {"load": Failing, "parse": Plain}, ("load", "parse"))


def failing_downstream(flow):
    return connected(flow, {"load": Plain, "parse": Failing, "store": Plain}, ("load", "parse"), ("parse", "store"))


def retried(flow, max_retries=3):
    flow.set_error_handler(ErrorHandler(ErrorStrategy.RETRY, max_retries=max_retries, retry_delay=0.001))
    return connected(flow, {"load": Flaky, "parse": Plain}, ("load", "parse"))


def retried_in_vain(flow):
    return retried(flow, max_retries=1)


def concurrent(flow):
    flow.set_execution_strategy("concurrent", max_workers=4)
    workers = [f"worker {number}" for number in range(6)]
    edges = [edge for worker in workers for edge in (("load", worker), (worker, "merge"))]
    return connected(flow, dict.fromkeys(["load", *workers, "merge"], Plain), *edges)


SCENARIOS = [linear, fan_out, failing, failing_downstream, retried, retried_in_vain, concurrent]


def connected(flow, routines, *edges):
    for routine_id, routine_class in routines.items():
        flow.add_routine(routine_class(), routine_id)
    for source, target in edges:
        flow.connect(source, "output", target, "input")
    return flow


def run(flow):
    """Run the flow to its end."""
    job_state = flow.execute("load", entry_params={"number": 1})
    if hasattr(JobState, "wait_for_completion"):
        JobState.wait_for_completion(flow, job_state, timeout=30)
    else:
        flow.wait_for_completion(timeout=30)
    flow.shutdown()
    return flow


def run_all():
    """Run all scenarios at once, since the engine mostly waits, and return the flows by name."""
    flows = [scenario(Flow(scenario.__name__)) for scenario in SCENARIOS]
    with ThreadPoolExecutor(len(flows)) as pool:
        return {flow.flow_id: flow for flow in pool.map(run, flows)}


def recorded(flow):
    """Return the records of a flow in a form that is the same for every run of it."""
    names = {routine._id: routine_id for routine_id, routine in flow.routines.items()}
    events = [without_clock(event) for event in flow.execution_tracker.event_flow]
    for event in events:
        event["source_routine_id"] = names[event["source_routine_id"]]
        event["target_routine_id"] = names.get(event["target_routine_id"])
        event["data"] = {key: item if key == "number" else type(item).__name__ for key, item in event["data"].items()}
    return {
        "flow_id": flow.execution_tracker.flow_id,
        "executions": {
            routine_id: [without_clock(record) for record in records]
            for routine_id, records in flow.execution_tracker.routine_executions.items()
        },
        "events": sorted(events, key=json.dumps),  # threads race
    }


def saved_and_read_back():
    """Save a flow with its tracker as JSON, read it back, and return what each of the two trackers holds."""
    flow = run(linear(FlowWithTracker("kept")))
    restored = FlowWithTracker()
    restored.deserialize(json.loads(json.dumps(flow.serialize(), allow_nan=False)))
    run_data = flow.execution_tracker.serialize()
    return {
        "routines": sorted(restored.routines),
        "class": type(restored.execution_tracker).__module__,
        "before": run_data,
        "before_as_json": json.loads(json.dumps(run_data, allow_nan=False)),
        "after": restored.execution_tracker.serialize(),
        "payloads": [sorted(event["data"]) for event in restored.execution_tracker.event_flow],
    }


def main():
    logging.disable()
    upstream = {name: recorded(flow) for name, flow in run_all().items()}

    from execution_tracker.integrations.routilux import install

    install()
    flows = run_all()
    document = {
        "version": routilux.__version__,
        "registered": SerializableRegistry.get_class("ExecutionTracker").__module__,
        "classes": sorted({type(flow.execution_tracker).__module__ for flow in flows.values()}),
        "upstream": upstream,
        "ours": {name: recorded(flow) for name, flow in flows.items()},
        "metrics": {name: flow.execution_tracker.get_performance_metrics() for name, flow in flows.items()},
        "saved": saved_and_read_back(),
    }
    json.dump(document, sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main()

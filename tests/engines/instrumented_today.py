"""Runs instrumented flows on the routilux of today, 1.1, and prints as JSON what was recorded and what happened.

``test_integrations_routilux.py`` starts it in an environment that has such a routilux.
"""

import json
import logging
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import routilux
from records import cleaned, emitters, joined
from routilux import ErrorHandler, ErrorStrategy, Flow, NullExecutionHooks, Routine, Runtime, get_flow_registry

from execution_tracker import ExecutionTracker
from execution_tracker.integrations.routilux import instrument, uninstrument

PARTS = {}


def main():
    logging.disable()
    routilux.set_execution_hooks(HOOKS)
    with ThreadPoolExecutor() as pool:  # the engine mostly waits
        parts = {name: pool.submit(part) for name, part in PARTS.items()}
        document = {name: part.result() for name, part in parts.items()}
    document["hooks"] = {
        "still set": routilux.get_execution_hooks() is HOOKS,
        "called": sorted(HOOKS.called),
    }
    json.dump({"version": routilux.__version__, **document}, sys.stdout, allow_nan=False)


def part(function):
    PARTS[function.__name__] = function
    return function


class Hooks(NullExecutionHooks):
    """Hooks of somebody else."""

    def __init__(self):
        self.called = set()

    def on_routine_start(self, routine_id, worker_state, job_context=None):
        self.called.add("on_routine_start")
        return True

    def on_routine_end(self, routine_id, worker_state, job_context=None, status="completed", error=None):
        self.called.add(f"on_routine_end {status}")

    def on_event_emit(self, event, source_routine_id, worker_state, job_context=None, data=None):
        self.called.add("on_event_emit")
        return True


HOOKS = Hooks()


# --- flows ---


def when_data_comes(slots, _worker_state):
    data = {name: slot.consume_all_new() for name, slot in slots.items()}
    return any(data.values()), data, "data came"


def each_time(slots, _worker_state):
    data = {name: [slot.consume_one_new()] for name, slot in slots.items() if slot.get_unconsumed_count()}
    return bool(data), data, "one came"


class Step(Routine):
    """Takes numbers and hands on what ``step`` makes of each."""

    def __init__(self, policy=when_data_comes):
        super().__init__()
        self.add_slot("input")
        self.add_event("output", ["number"])
        self.set_activation_policy(policy)

    def logic(self, points, policy_message=None, worker_state=None):
        for point in points:
            self.emit("output", worker_state=worker_state, number=self.step(point["number"]))

    def step(self, number):
        return number + 1


class Failing(Step):
    def step(self, number):
        raise ValueError(f"cannot take {number}")


def connected(flow, routines, *edges):
    for routine_id, routine in routines.items():
        flow.add_routine(routine, routine_id)
    for source, target in edges:
        flow.connect(source, "output", target, "input")
    get_flow_registry().register(flow)
    return flow


def linear(name):
    return connected(
        Flow(name), {"load": Step(), "parse": Step(), "store": Step()}, ("load", "parse"), ("parse", "store")
    )


def run(flow, *numbers, ended):
    """Post each number to the flow's routine "load" and wait until ``ended()`` holds, or has not for long."""
    with Runtime(thread_pool_size=4) as runtime:
        workers = [runtime.post(flow.flow_id, "load", "input", {"number": number})[0] for number in numbers]
        until(ended)
        until(lambda: all(executor_of(worker)._is_complete() for worker in workers))
    return workers


def executor_of(worker):
    return worker._executor


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def has_ended(tracker, routine_id, times):
    def ended():
        records = tracker.routine_executions.get(routine_id, [])
        return len(records) == times and all(record["status"] != "running" for record in records)

    return ended


# --- what is recorded ---


@part
def chain():
    flow = linear("chain")
    tracker = instrument(flow)
    run(flow, 1, ended=has_ended(tracker, "store", 1))
    return {
        **cleaned(tracker),
        **joined(tracker),
        "is the attribute": flow.execution_tracker is tracker,
        "flow id": tracker.flow_id,
    }


@part
def four_at_once():
    """Post four times; all four executions of the entry wait for each other."""
    together = threading.Barrier(4, timeout=30)

    class Meeting(Step):
        def step(self, number):
            together.wait()
            time.sleep(0.05)
            return number

    flow = connected(Flow("four"), {"load": Meeting(each_time), "parse": Step(each_time)}, ("load", "parse"))
    tracker = instrument(flow)
    run(flow, 1, 2, 3, 4, ended=has_ended(tracker, "parse", 4))
    metrics = tracker.get_performance_metrics()
    numbers = {
        record["execution_id"]: record["params"]["input"][0]["number"] for record in tracker.routine_executions["load"]
    }
    return {
        "statuses": [record["status"] for record in tracker.routine_executions["load"]],
        "emitted by": [
            [event["data"]["number"], numbers[event["execution_id"]]]
            for event in tracker.event_flow
            if event["source_routine_id"] == "load"
        ],
        "numbers": sorted(numbers.values()),
        "times": [record["execution_time"] for record in tracker.routine_executions["load"]],
        "peak": metrics["peak_concurrency"],
        "running": metrics["running"],
        "events": sorted(event["data"]["number"] for event in tracker.event_flow if event["target_routine_id"]),
        **joined(tracker),
    }


@part
def fan_out_with_failure():
    routines = {"load": Step(), "left": Failing(), "right": Step()}
    flow = connected(Flow("fan out"), routines, ("load", "left"), ("load", "right"))
    tracker = instrument(flow)
    run(flow, 1, ended=lambda: has_ended(tracker, "left", 1)() and has_ended(tracker, "right", 1)())
    return {**cleaned(tracker), **joined(tracker)}


@part
def payloads():
    """Two slots, logic that was set, a result, and objects of the engine in what is emitted and returned."""

    class Two(Routine):
        def __init__(self):
            super().__init__()
            self.add_slot("input")
            self.add_slot("more")
            self.add_event("output")
            self.set_activation_policy(when_data_comes)
            self.set_logic(lambda *points, worker_state, **_: self.work(worker_state))

        def work(self, worker_state):
            self.emit(
                "output",
                worker_state=worker_state,
                word="two",
                state=worker_state,
                context=self.get_execution_context(),
            )
            return worker_state

    routines = {"load": Two(), "count": Step()}
    routines["count"].set_logic(lambda points, **_: len(points))
    flow = connected(Flow("payloads"), routines, ("load", "count"))
    tracker = instrument(flow)
    run(flow, 1, ended=has_ended(tracker, "count", 1))
    return cleaned(tracker)


@part
def without_logic():
    """A routine that has none is no matter of ours, nor of the engine's."""

    class Sink(Routine):
        def __init__(self):
            super().__init__()
            self.add_slot("input")
            self.set_activation_policy(when_data_comes)

    flow = connected(Flow("without logic"), {"load": Step(), "sink": Sink()}, ("load", "sink"))
    tracker = instrument(flow)
    run(flow, 1, ended=has_ended(tracker, "load", 1))
    return [counts(tracker), [event["target_routine_id"] for event in tracker.event_flow]]


@part
def names():
    """Hand on data with names that somebody on the way may have, too."""

    class Naming(Step):
        def logic(self, points, policy_message=None, worker_state=None):
            self.emit("output", worker_state=worker_state, **points[0])

    data = dict.fromkeys(["event", "routine", "slot", "listener", "work", "args", "kwargs", "context", "points"], 1)
    flow = connected(Flow("names"), {"load": Naming(), "parse": Naming()}, ("load", "parse"))
    tracker = instrument(flow)
    with Runtime(thread_pool_size=1) as runtime:
        runtime.post("names", "load", "input", data)
        until(has_ended(tracker, "parse", 1))
    (load,), (parse,) = tracker.routine_executions.values()
    params = [load["params"]["input"], parse["params"]["input"]]
    return [*(found == [data] for found in params), *(event["data"] == data for event in tracker.event_flow)]


# --- the engine does as without us ---


@part
def outcomes():
    """Return for each way to handle errors what the engine makes of a failure, not instrumented and instrumented."""
    found = {}
    for strategy in ErrorStrategy:
        for place in ("load", "parse"):
            names = [f"{strategy.value} {place} {kind}" for kind in ("plain", "tracked")]
            found[f"{strategy.value} {place}"] = [outcome(strategy, place, name) for name in names]
    return found


def outcome(strategy, place, name):
    done = threading.Event()

    class Telling(Failing):
        def step(self, number):
            done.set()
            return super().step(number)

    routines = {"load": Step(), "parse": Step(), place: Telling()}
    flow = connected(Flow(name), routines, ("load", "parse"))
    flow.set_error_handler(ErrorHandler(strategy, max_retries=1, retry_delay=0.001))
    if name.endswith("tracked"):
        instrument(flow)
    (worker,) = run(flow, 1, ended=done.is_set)
    return {
        "status": worker.status.value,
        "states": {routine_id: state.get("status") for routine_id, state in sorted(worker.routine_states.items())},
        "history": sorted([record.routine_id, record.event_name] for record in worker.execution_history),
    }


@part
def broken_tracker():
    """A tracker that raises does not hurt the flow."""

    class Broken(ExecutionTracker):
        def record_routine_start(self, *args, **kwargs):
            raise RuntimeError("no")

        record_routine_end = record_event = record_routine_start

    class Last(Step):
        def step(self, number):
            done.set()
            return number

    done = threading.Event()
    flow = connected(Flow("broken"), {"load": Step(), "parse": Last()}, ("load", "parse"))
    instrument(flow, Broken())
    run(flow, 1, ended=done.is_set)
    return done.is_set()


# --- which tracker, which flow ---


@part
def two_flows():
    flows = [linear(name) for name in ("a", "b")]
    trackers = [instrument(flow) for flow in flows]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda flow, tracker: run(flow, 1, ended=has_ended(tracker, "store", 1)), flows, trackers))
    return {tracker.flow_id: [counts(tracker), len(tracker.event_flow)] for tracker in trackers}


@part
def shared_routine():
    seen = threading.Event()

    class Shared(Step):
        def step(self, number):
            if number == 2:
                seen.set()
            return number

    shared = Shared()
    flows = [connected(Flow("shares"), {"load": shared}), connected(Flow("shares too"), {"load": shared})]
    first, second = map(instrument, flows)
    run(flows[0], 1, ended=has_ended(first, "load", 1))
    run(flows[1], 1, ended=has_ended(second, "load", 1))
    uninstrument(flows[0])
    run(flows[1], 1, ended=has_ended(second, "load", 2))
    run(flows[0], 2, ended=seen.is_set)  # nobody listens to that any more
    uninstrument(flows[1])
    return {"counts": [counts(first), counts(second)], "undressed": type(shared) is Shared}


@part
def switched_trackers():
    flow, one, other, mine = linear("switched"), ExecutionTracker("1"), ExecutionTracker("2"), ExecutionTracker("3")
    given_back = [instrument(flow, one), instrument(flow), instrument(flow, other), instrument(flow)]
    run(flow, 1, ended=has_ended(other, "store", 1))
    flow.execution_tracker = mine
    run(flow, 1, 2, ended=has_ended(mine, "store", 2))
    return {
        "given back": [[one, other].index(tracker) for tracker in given_back],
        "counts": [counts(one), counts(other), counts(mine)],
    }


@part
def late_event():
    """Emit in an execution while the flow records on another tracker already."""
    first, second = ExecutionTracker("first"), ExecutionTracker("second")

    class Switching(Step):
        def step(self, number):
            instrument(flow, second)
            return number

    flow = connected(Flow("late event"), {"load": Switching()})
    instrument(flow, first)
    run(flow, 1, ended=has_ended(first, "load", 1))
    return {tracker.flow_id: emitters(tracker) for tracker in (first, second)}


def counts(tracker):
    return {routine_id: len(records) for routine_id, records in sorted(tracker.routine_executions.items())}


@part
def late_parts():
    """Add a routine once the flow is instrumented, and an event to one that was there."""
    flow = linear("late")
    tracker = instrument(flow)
    flow.add_routine(Step(), "audit")
    flow.connect("store", "output", "audit", "input")
    run(flow, 1, ended=has_ended(tracker, "audit", 1))
    first = counts(tracker)
    flow.routines["store"].add_event("done", ["number"])
    flow.routines["store"].set_logic(emits_twice(flow.routines["store"]))
    instrument(flow)
    run(flow, 1, ended=has_ended(tracker, "audit", 2))
    return [first, sorted(event["event_name"] for event in tracker.event_flow)]


def emits_twice(routine):
    def logic(points, policy_message=None, worker_state=None):
        routine.emit("done", worker_state=worker_state, number=0)
        routine.emit("output", worker_state=worker_state, number=0)

    return logic


# --- what stays as it was ---


def number_of(points, **_context):
    return len(points)


@part
def restored():
    flow = linear("restored")
    flow.routines["store"].set_logic(number_of)
    routines = list(flow.routines.values())
    things = [flow, *routines, *(event for routine in routines for event in routine._events.values())]
    classes, states, data = [type(thing) for thing in things], [dict(vars(thing)) for thing in things], flow.serialize()
    tracker = instrument(flow)
    during = {
        "serialized": flow.serialize() == data,
        "states": [dict(vars(thing)) for thing in things] == states,
        "__class__": [thing.__class__ for thing in things] == classes,
        "logic": flow.routines["store"]._logic is number_of and flow.routines["load"]._logic is None,
    }
    run(flow, 1, ended=has_ended(tracker, "store", 1))
    recorded, data = counts(tracker), flow.serialize()
    uninstrument(flow)
    uninstrument(flow)
    after = {
        "serialized": flow.serialize() == data,
        "states": [dict(vars(thing)) for thing in things] == states,
        "classes": [type(thing) for thing in things] == classes,
        "attribute is gone": not hasattr(flow, "execution_tracker"),
    }
    seen = threading.Event()
    flow.routines["store"].set_logic(lambda *_, **__: seen.set())
    run(flow, 1, ended=seen.is_set)
    after["no more records"] = counts(tracker) == recorded
    return {"during": during, "after": after, "counts": recorded}


if __name__ == "__main__":
    main()

"""Runs instrumented flows on an old routilux, 0.8.1 to 0.11.0, and prints as JSON what was recorded and what happened.

``test_integrations_routilux.py`` starts it in an environment that has such a routilux.
"""

import json
import logging
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import routilux
from records import cleaned, emitters, joined
from routilux import ErrorHandler, ErrorStrategy, Flow, JobState
from scenarios import SCENARIOS, Failing, Flaky, FlowWithTracker, Plain, Step, connected, linear, run
from serilux import register_serializable

from execution_tracker import ExecutionTracker
from execution_tracker.integrations.routilux import install, instrument, uninstrument


def main():
    logging.disable()
    with ThreadPoolExecutor() as pool:  # the engine mostly waits
        parts = {
            part.__name__: pool.submit(part)
            for part in [
                scenarios,
                payloads,
                names,
                outcomes,
                retried_downstream,
                trackers_of_runs,
                switched_trackers,
                late_event,
                two_flows,
                shared_routine,
                late_parts,
                calls_by_hand,
                records_by_hand,
                restored,
                saved,
                broken_tracker,
                interrupted,
            ]
        }
        document = {name: part.result() for name, part in parts.items()}
    document["installed"] = installed()
    json.dump({"version": routilux.__version__, **document}, sys.stdout, allow_nan=False)


def scenarios():
    flows = [scenario(Flow(scenario.__name__)) for scenario in SCENARIOS]
    trackers = [instrument(flow) for flow in flows]
    with ThreadPoolExecutor(len(flows)) as pool:
        list(pool.map(run, flows))
    return {
        flow.flow_id: {
            **cleaned(tracker),
            "is the attribute": flow.execution_tracker is tracker,
            **joined(tracker),
        }
        for flow, tracker in zip(flows, trackers, strict=True)
    }


# --- payloads ---


class Taking(Step):
    """Has slots whose handlers take their data in each of the ways that the engine knows."""

    def __init__(self):
        super().__init__()
        self.define_slot("whole", handler=self.take_whole)
        self.define_slot("one", handler=self.take_one)
        self.define_slot("some", handler=self.take_some)
        self.define_slot("nothing", handler=max)  # the engine cannot find out how to call it

    def take_whole(self, data):
        return len(data)

    def take_one(self, number):
        return number * 10

    def take_some(self, number, word="none"):
        return [number, word]


class Leaking(Step):
    """Hands on objects of the engine, and returns one."""

    def handle(self, number=0, **_kwargs):
        self.emit("output", number=number, word="two", state=JobState("leaked"), flow_of_it=self._current_flow)
        return self._current_flow


class Naming(Step):
    """Takes and emits data whatever their names."""

    def __init__(self):
        super().__init__()
        self.get_slot("trigger").handler = self.get_slot("input").handler = self.handle_all

    def __call__(self, **data):
        self.handle_all(**data)

    def handle_all(self, **data):
        self.emit("output", **data)


def names():
    """Hand on data with names that somebody on the way may have, too."""
    data = dict.fromkeys(["event", "routine", "slot", "listener", "work", "args", "kwargs", "handler", "points"], 1)
    flow = connected(Flow("names"), {"load": Naming, "parse": Naming}, ("load", "parse"))
    tracker = instrument(flow)
    executed(flow, data)
    (load,), (parse,) = tracker.routine_executions.values()
    return [
        found == data for found in (load["params"], parse["params"], *(each["data"] for each in tracker.event_flow))
    ]


def payloads():
    flow = Flow("payloads")
    flow.add_routine(Leaking(), "load")
    flow.add_routine(Taking(), "take")
    for slot in ("whole", "one", "some", "nothing", "input"):
        flow.connect("load", "output", "take", slot)
    tracker = instrument(flow)
    run(flow)
    records = [record for records in tracker.routine_executions.values() for record in records]
    taken = [record for record in records if record["routine_id"] == "take"]
    return {
        "load": [[record["params"], record.get("result")] for record in records if record["routine_id"] == "load"],
        "take": sorted(([record["params"], record.get("result")] for record in taken), key=json.dumps),
        "events": [event["data"] for event in tracker.event_flow if event["source_routine_id"] == "load"],
    }


# --- the engine does as without us ---


def outcomes():
    """Return for each way to handle errors what the engine makes of a failure, not instrumented and instrumented."""
    cases = [
        (strategy.value, place, routine)
        for strategy in ErrorStrategy
        for place in ("load", "parse")
        for routine in (Failing, Flaky)
    ]
    with ThreadPoolExecutor(2 * len(cases)) as pool:
        plain = pool.map(lambda case: outcome(*case, lambda flow: None), cases)
        tracked = pool.map(lambda case: outcome(*case, instrument), cases)
        pairs = zip(plain, tracked, strict=True)
        return {
            f"{strategy} {place} {routine.__name__}": pair
            for (strategy, place, routine), pair in zip(cases, pairs, strict=True)
        }


def outcome(strategy, place, routine, prepare):
    routines = {"load": Plain, "parse": Plain, "store": Plain, place: routine}
    flow = connected(Flow(f"{strategy} {place}"), routines, ("load", "parse"), ("parse", "store"))
    handler = ErrorHandler(ErrorStrategy(strategy), max_retries=3, retry_delay=0.001)
    flow.routines[place].set_error_handler(handler)
    prepare(flow)
    job_state = executed(flow)
    names = {routine._id: routine_id for routine_id, routine in flow.routines.items()}
    return {
        "status": str(job_state.status),
        "states": {
            names.get(routine_id, routine_id): {key: state.get(key) for key in ("status", "error", "retry_count")}
            for routine_id, state in job_state.routine_states.items()
        },
        "history": sorted(
            [names.get(record.routine_id, record.routine_id), record.event_name, sorted(record.data)]
            for record in job_state.execution_history
        ),
        "retries": handler.retry_count,
    }


def retried_downstream():
    """Return what is recorded of a routine in the middle that fails twice and is to be retried."""
    flow = connected(
        Flow("retried"), {"load": Plain, "parse": Flaky, "store": Plain}, ("load", "parse"), ("parse", "store")
    )
    flow.routines["parse"].set_error_handler(ErrorHandler(ErrorStrategy.RETRY, max_retries=3, retry_delay=0.001))
    tracker = instrument(flow)
    executed(flow)
    return {id_: [record["status"] for record in records] for id_, records in tracker.routine_executions.items()}


def executed(flow, entry_params=None):
    job_state = flow.execute("load", entry_params=entry_params or {"number": 1})
    if hasattr(JobState, "wait_for_completion"):
        JobState.wait_for_completion(flow, job_state, timeout=30)
    else:
        flow.wait_for_completion(timeout=30)
    flow.shutdown()
    return job_state


def broken_tracker():
    """A tracker that raises does not hurt the flow."""

    class Broken(ExecutionTracker):
        def record_routine_start(self, *args, **kwargs):
            raise RuntimeError("no")

        record_routine_end = record_event = record_routine_start

    flow = linear(Flow("broken"))
    instrument(flow, Broken())
    return str(executed(flow).status)


def interrupted():
    """Return what is recorded of a handler that is left by something that is no error, and what comes out of it."""

    class Leaving(Step):
        def step(self, number):
            raise KeyboardInterrupt

    flow = connected(Flow("interrupted"), {"load": Leaving})
    tracker = instrument(flow)
    try:
        flow.execute("load")
    except KeyboardInterrupt as error:
        came = type(error).__name__
    flow.shutdown(wait=False)
    return [came, *[[record["status"], record["error"]] for record in tracker.routine_executions["load"]]]


# --- which tracker ---


def counts(tracker):
    return {routine_id: len(records) for routine_id, records in tracker.routine_executions.items()}


def trackers_of_runs():
    flow, given, seen = linear(Flow("runs")), ExecutionTracker("given"), []

    class Looking(Plain):
        def step(self, number):
            seen.append(flow.execution_tracker)
            return number

    flow.add_routine(Looking(), "look")
    flow.connect("load", "output", "look", "input")
    first = instrument(flow)
    run(flow)
    after_first = flow.execution_tracker
    run(flow)
    second = flow.execution_tracker
    instrument(flow, given)
    run(flow)
    run(flow)
    return {
        "first is the one given back": after_first is first,
        "second is another": second is not first,
        "counts": [counts(first), counts(second), counts(given)],
        "given is the attribute": flow.execution_tracker is given,
        "seen by routines": [[first, second, given].index(tracker) for tracker in seen],
        "flow ids": [first.flow_id, second.flow_id, given.flow_id],
    }


def switched_trackers():
    flow, one, other, mine = linear(Flow("switched")), ExecutionTracker("1"), ExecutionTracker("2"), ExecutionTracker()
    given_back = [instrument(flow, one), instrument(flow), instrument(flow, other), instrument(flow)]
    flow.execution_tracker = mine
    assigned = flow.execution_tracker is mine and instrument(flow) is mine
    flow.execution_tracker = "no tracker"
    assigned = assigned and flow.execution_tracker is mine
    instrument(flow, other)
    run(flow)
    return {
        "given back": [[one, other].index(tracker) for tracker in given_back],
        "assigned": assigned,
        "counts": [counts(one), counts(other), counts(mine)],
    }


def late_event():
    """Emit in an execution while the flow records on another tracker already."""
    first, second = ExecutionTracker("first"), ExecutionTracker("second")

    class Switching(Plain):
        def step(self, number):
            instrument(flow, second)
            return number

    flow = connected(Flow("late event"), {"load": Switching})
    instrument(flow, first)
    run(flow)
    return {tracker.flow_id: emitters(tracker) for tracker in (first, second)}


def installed():
    """Instrument a flow of an engine that makes trackers of our class."""
    install()
    flow = linear(Flow("installed"))
    run(flow)
    tracker = instrument(flow)
    run(flow)
    found = [flow.execution_tracker is tracker, counts(tracker), len(tracker.event_flow)]
    uninstrument(flow)
    run(flow)
    return [*found, flow.execution_tracker is not tracker, counts(flow.execution_tracker)]


# --- which flow ---


def two_flows():
    flows = [linear(Flow(name)) for name in ("a", "b")]
    for flow in flows:
        flow.routines[f"only in {flow.flow_id}"] = flow.routines.pop("store")
    trackers = [instrument(flow) for flow in flows]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, flows))
    return {tracker.flow_id: [counts(tracker), len(tracker.event_flow)] for tracker in trackers}


def shared_routine():
    """Run, one after the other, two flows that have one routine in common, under different names."""
    shared, flows = Plain(), [Flow("a"), Flow("b")]
    for flow in flows:
        flow.add_routine(shared, "load" if flow.flow_id == "a" else "other")
    flows[1].add_routine(Plain(), "load")
    flows[1].connect("load", "output", "other", "input")
    first, second = [instrument(flow) for flow in flows]
    run(flows[0])
    run(flows[1])
    uninstrument(flows[0])
    run(flows[0])
    run(flows[1])
    third = flows[1].execution_tracker
    uninstrument(flows[1])
    return {"counts": [counts(first), counts(second), counts(third)], "undressed": type(shared) is Plain}


def late_parts():
    """Add routines, slots and events once the flow is instrumented."""
    flow = linear(Flow("late"))
    tracker = instrument(flow)
    flow.add_routine(Plain(), "audit")
    flow.connect("store", "output", "audit", "input")
    store = flow.routines["store"]
    store.define_event("done", ["number"])
    store.define_slot("again", handler=lambda number: store.emit("done", number=number))
    flow.connect("audit", "output", "store", "again")
    run(flow)
    store.get_slot("input").handler = lambda number: "replaced"
    run(flow)
    return {**cleaned(tracker), "replaced": flow.execution_tracker.routine_executions["store"][0]["result"]}


def records_by_hand():
    """Leave an execution open in the middle of one of the same routine."""

    class Recording(Plain):
        def step(self, number):
            flow.execution_tracker.record_routine_start("load", {"by": "hand"})
            return number

    flow = connected(Flow("records by hand"), {"load": Recording})
    tracker = instrument(flow)
    run(flow)
    records = tracker.routine_executions["load"]
    return [[record["params"], record["status"], record.get("parent_id")] for record in records]


def calls_by_hand():
    """Call a routine, which is no matter of the engine's, and give data to a slot, which is."""
    flow = linear(Flow("by hand"))
    tracker = instrument(flow)
    flow.routines["load"](number=1)
    flow.routines["store"].get_slot("input").receive({"number": 7})
    return [record["params"] for records in tracker.routine_executions.values() for record in records]


# --- what stays as it was ---


def everything_in(flow):
    routines = list(flow.routines.values())
    slots = [slot for routine in routines for slot in routine._slots.values()]
    events = [event for routine in routines for event in routine._events.values()]
    return [flow, *routines, *slots, *events, *flow.connections]


def restored():
    flow = linear(Flow("restored"))
    things = everything_in(flow)
    classes, states = [type(thing) for thing in things], [dict(vars(thing)) for thing in things]
    data, pickled = flow.serialize(), pickle.dumps(flow.routines["load"])
    handlers = [slot.handler for slot in flow.routines["load"]._slots.values()]
    instrument(flow)
    during = {
        "serialized": flow.serialize() == data,
        "pickled": pickle.dumps(flow.routines["load"]) == pickled,
        "unpickled": type(pickle.loads(pickle.dumps(flow.routines["load"]))) is Plain,
        "states": [dict(vars(thing)) for thing in things] == states,
        "handlers": [slot.handler for slot in flow.routines["load"]._slots.values()] == handlers,
        "__class__": [thing.__class__ for thing in things] == classes,
        "isinstance": all(isinstance(thing, kind) for thing, kind in zip(things, classes, strict=True)),
        "dressed": type(flow) is not Flow,
    }
    uninstrument(flow)
    uninstrument(flow)
    after = {
        "serialized": flow.serialize() == data,
        "pickled": pickle.dumps(flow.routines["load"]) == pickled,
        "states": [dict(vars(thing)) for thing in things] == states,
        "classes": [type(thing) for thing in things] == classes,
    }
    tracker = instrument(flow)
    del flow.routines["store"]
    run(flow)
    flow.routines["store"] = things[3]
    uninstrument(flow)
    after["removed parts"] = [type(thing) for thing in things] == classes
    after["tracker stays"] = flow.execution_tracker is tracker
    recorded = counts(tracker)
    run(flow)
    after["no more records"] = counts(tracker) == recorded
    after["engine's own tracker again"] = type(flow.execution_tracker).__module__
    return {"during": during, "after": after, "counts": recorded}


@register_serializable
class Waiting(Plain):
    """Lets the others go on only when it is told."""

    def __init__(self):
        super().__init__()
        self.started, self.told = threading.Event(), threading.Event()

    def step(self, number):
        self.started.set()
        self.told.wait(30)
        return number


def saved():
    """Save an instrumented flow with its tracker, in the middle of its run and after it, and read it back."""
    flow = linear(FlowWithTracker("saved"))
    waiting = Waiting()
    flow.add_routine(waiting, "wait")
    flow.connect("store", "output", "wait", "input")
    tracker = instrument(flow)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, flow)
        waiting.started.wait(30)
        during = json.loads(json.dumps(flow.serialize()["execution_tracker"]))
        waiting.told.set()
        running.result()
    after = json.loads(json.dumps(flow.serialize()))
    restored = FlowWithTracker()
    restored.deserialize(after)
    read_back = restored.execution_tracker  # of the class that has the name, which is the engine's without install()
    return {
        "during": {id_: [record["status"] for record in kept] for id_, kept in during["routine_executions"].items()},
        "read back": read_back.routine_executions == tracker.serialize()["routine_executions"],
        "events": [len(read_back.event_flow), len(tracker.event_flow)],
    }


if __name__ == "__main__":
    main()

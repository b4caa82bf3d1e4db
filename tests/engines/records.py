"""What the scripts here say of a tracker."""

import json

CLOCK_READINGS = {"start_time", "end_time", "execution_time", "timestamp"}
FACTS = {"execution_id", "parent_id", "caused_by", "worker", "event_id"}  # which upstream's records have not


def without_clock(record):
    """Return a record in a form that is the same for every run."""
    return {
        key: "a clock reading" if key in CLOCK_READINGS else value for key, value in record.items() if key not in FACTS
    }


def cleaned(tracker):
    """Return the records in a form that is the same for every run."""
    return {
        "executions": {
            routine_id: [without_clock(record) for record in records]
            for routine_id, records in sorted(tracker.routine_executions.items())
        },
        "events": sorted(map(without_clock, tracker.event_flow), key=json.dumps),  # threads race
    }


def emitters(tracker):
    """Return for each event the routine that emitted it, and that of the execution that it names."""
    records = [record for records in tracker.routine_executions.values() for record in records]
    routine_of = {record["execution_id"]: record["routine_id"] for record in records}
    return [[event["source_routine_id"], routine_of.get(event.get("execution_id"))] for event in tracker.event_flow]


def joined(tracker):
    """Return what is known of how executions hang together.

    How many events to a routine led to no execution of it, how many name no execution of their source, each pair of
    parent and child, and the routines on the critical path.
    """
    from execution_tracker.analysis import critical_path, event_edges  # not before the engine is imported

    edges = [edge for edge in event_edges(tracker) if edge["target_routine_id"] is not None]
    records = [record for records in tracker.routine_executions.values() for record in records]
    routine_of = {record["execution_id"]: record["routine_id"] for record in records}
    return {
        "led nowhere": sum(edge["count"] - edge["caused"] for edge in edges),
        "of nobody": sum(source != emitter for source, emitter in emitters(tracker)),
        "nested": sorted(
            [routine_of[record["parent_id"]], record["routine_id"]] for record in records if "parent_id" in record
        ),
        "path": [step["routine_id"] for step in critical_path(tracker)],
    }

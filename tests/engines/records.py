"""What the scripts here say of a tracker."""

import json

CLOCK_READINGS = {"start_time", "end_time", "execution_time", "timestamp"}


def without_clock(record):
    return {key: "a clock reading" if key in CLOCK_READINGS else value for key, value in record.items()}


def cleaned(tracker):
    """Return the records in a form that is the same for every run."""
    return {
        "executions": {
            routine_id: [without_clock(record) for record in records]
            for routine_id, records in sorted(tracker.routine_executions.items())
        },
        "events": sorted(map(without_clock, tracker.event_flow), key=json.dumps),  # threads race
    }


def joined(tracker):
    """Return how many events to a routine fed no execution of it, and the routines on the critical path."""
    from execution_tracker.analysis import critical_path, timeline  # not before the engine is imported

    emissions = timeline(tracker).emissions
    unfed = sum(sent.fed is None for sent in emissions if sent.event["target_routine_id"] is not None)
    return {"unfed": unfed, "path": [step["routine_id"] for step in critical_path(tracker)]}

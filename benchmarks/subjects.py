"""What is measured: the runs that are recorded, and upstream's way to record, save and load them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from upstream import load_upstream  # the class as it is on the index, unregistered

Upstream = load_upstream()
ROUTINES = [f"routine-{number}" for number in range(20)]


def start_end(tracker: Any, count: int) -> Any:
    """Record executions without payloads, one after the other, and return the tracker."""
    start, end = tracker.record_routine_start, tracker.record_routine_end
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        start(routine_id)
        end(routine_id)
    return tracker


def event(tracker: Any, count: int) -> Any:
    """Record events without payloads, and return the tracker."""
    record = tracker.record_event
    for _ in range(count):
        record("routine-1", "done", "routine-2")
    return tracker


def chain(tracker: Any, count: int) -> Any:
    """Record executions with payloads, each with an event that feeds the next, and return the tracker."""
    for number in range(count):
        routine_id = ROUTINES[number % 20]
        tracker.record_routine_start(routine_id, {"path": "docs/page.md", "n": number})
        tracker.record_event(routine_id, "done", ROUTINES[(number + 1) % 20], {"n": number})
        tracker.record_routine_end(routine_id, result={"words": number})
    return tracker


def upstream_save(tracker: Any, path: Path) -> None:
    """Write a run as upstream's users do."""
    with open(path, "w") as file:
        json.dump(tracker.serialize(), file)


def upstream_load(path: Path) -> Any:
    """Read a run as upstream's users do."""
    tracker = Upstream()
    with open(path) as file:
        tracker.deserialize(json.load(file))
    return tracker

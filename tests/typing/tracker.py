"""What type checkers make of code that records, reads, saves and loads."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from serilux import Serializable
from typing_extensions import assert_type

from execution_tracker import ExecutionTracker, InvalidRunError, TrackerError, merge, snapshot
from execution_tracker.tracking import Execution


class Nightly(ExecutionTracker):
    """A tracker of the user's own."""

    host = ""


tracker = ExecutionTracker("nightly", capture=snapshot(redact="password"), max_records=10, tz=timezone.utc)
ExecutionTracker()
ExecutionTracker(capture=repr)
ExecutionTracker(capture=lambda payload: {"kept": payload})
as_serilux_sees_it: Serializable = tracker

# Ids and payloads may be anything.
execution = tracker.record_routine_start(("load", 3), {"path": Path("a.md")})
assert_type(execution, int)
event = tracker.record_event("load", "loaded", None, data=[1, 2])
assert_type(event, int)
tracker.record_event("load", "loaded", execution_id=execution)
child = tracker.record_routine_start("load", parent_id=execution, caused_by=event)
tracker.record_routine_start("load", parent_id=None, caused_by=[event, event])
tracker.record_routine_start("load", caused_by=(event, event))
tracker.record_routine_end("load", "failed", error="ValueError: no", execution_id=execution)
tracker.record_routine_end("load", result=object())
moment = datetime(2026, 1, 31, tzinfo=timezone.utc)
assert_type(tracker.record_execution("load", 1.5, 2), int)
tracker.record_execution("load", moment, moment, "failed", error="no", parent_id=child, caused_by=event, worker="w")

assert_type(tracker.flow_id, str)
assert_type(tracker.routine_executions, dict[Any, list[dict[str, Any]]])
assert_type(tracker.event_flow, list[dict[str, Any]])
assert_type(tracker.performance_metrics, dict[str, Any])
assert_type(tracker.routine_executions["load"][0]["execution_time"], Any)
tracker.routine_executions = {"load": [{"routine_id": "load"}]}
tracker.event_flow = []

assert_type(tracker.get_flow_performance(), dict[str, Any])
assert_type(tracker.get_performance_metrics(), dict[str, Any])
performance = tracker.get_routine_performance("load")
assert_type(performance, dict[str, Any] | None)
if performance is not None:
    print(performance["completed"])

with tracker.track("load", {"path": "a.md"}) as block:
    assert_type(block, Execution)
    block.result = 120
    block.status, block.error = "skipped", None
    assert_type(block.execution_id, int | None)
    tracker.record_event("load", "loaded", execution_id=block.execution_id)
    tracker.record_routine_start("part", parent_id=block.execution_id)


async def in_a_task() -> None:
    async with tracker.track("load", caused_by=[event]) as block:
        assert_type(block, Execution)


assert_type(tracker.serialize(), dict[str, Any])
tracker.deserialize(tracker.serialize(), strict=True)
tracker.save("run.json")
tracker.save(b"run.json")
tracker.save(Path("run.json.gz"))

# A subclass stays one.
assert_type(ExecutionTracker.load("run.json"), ExecutionTracker)
assert_type(Nightly.load(Path("run.json")), Nightly)
assert_type(copy.copy(Nightly()), Nightly)

assert_type(merge([tracker, Nightly()]), ExecutionTracker)
assert_type(merge((ExecutionTracker() for _ in range(3)), flow_id="nightly"), ExecutionTracker)
assert_type(snapshot(["password", "token"], max_string=9, max_items=9, max_depth=9)({"a": 1}), Any)

try:
    ExecutionTracker.load("run.json")
except InvalidRunError as error:
    as_tracker_error: TrackerError = error
    as_value_error: ValueError = error

# Each of these is a mistake that a checker finds: where it does not, the comment itself is an error.
ExecutionTracker("nightly", print)  # type: ignore[call-arg]
ExecutionTracker(max_records="10")  # type: ignore[arg-type]
ExecutionTracker(tz="UTC")  # type: ignore[arg-type]
ExecutionTracker(capture={})  # type: ignore[arg-type]
tracker.record_routine_start()  # type: ignore[call-arg]
tracker.record_routine_end("load", "completed", None, None, execution)  # type: ignore[call-arg]
tracker.record_routine_end("load", execution_id="1")  # type: ignore[arg-type]
tracker.record_routine_start("load", None, execution)  # type: ignore[call-arg]
tracker.record_routine_start("load", caused_by="1")  # type: ignore[arg-type]
tracker.record_event("load", "loaded", None, None, execution)  # type: ignore[call-arg]
tracker.record_execution("load")  # type: ignore[call-arg]
tracker.record_execution("load", 1, 2, worker=7)  # type: ignore[arg-type]
tracker.save(7)  # type: ignore[arg-type]
merge(tracker)  # type: ignore[arg-type]
merge(["run.json"])  # type: ignore[list-item]
snapshot(redact=7)  # type: ignore[arg-type]

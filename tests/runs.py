"""Runs whose times are known to the microsecond, for the tests of what is shown of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from execution_tracker import ExecutionTracker

BEGIN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def at(second: float) -> str:
    return (BEGIN + timedelta(seconds=second)).isoformat(timespec="microseconds")


def execution(routine_id: Any, start: float, end: float | None, error: Any = None) -> dict[str, Any]:
    record = {"routine_id": routine_id, "start_time": at(start), "params": {}, "status": "running"}
    if end is None:
        return record
    ended = {**record, "status": "completed", "end_time": at(end), "execution_time": float(end - start)}
    return ended if error is None else {**ended, "status": "failed", "error": error}


def event(source: Any, second: float, target: Any = None, name: Any = "done") -> dict[str, Any]:
    return {
        "timestamp": at(second),
        "source_routine_id": source,
        "event_name": name,
        "target_routine_id": target,
        "data": {},
    }


def run(executions: list[dict[str, Any]], events: list[dict[str, Any]] | None = None, flow_id: Any = "nightly") -> Any:
    tracker = ExecutionTracker()
    routines: dict[str, list[dict[str, Any]]] = {}
    for record in executions:
        routines.setdefault(record["routine_id"], []).append(record)
    tracker.deserialize({"flow_id": flow_id, "routine_executions": routines, "event_flow": events or []})
    return tracker


def story() -> ExecutionTracker:
    """Three files are fetched; two are parsed, one of them with a failure; the last load still runs."""
    tracker = run(
        [
            execution("fetch", 0, 1.5),
            execution("fetch", 0.5, 2.25),
            execution("fetch", 1, 4),
            execution("parse", 1.75, 2.5),
            execution("parse", 4.5, 5.25, "SyntaxError: unexpected end of file\n  in b.csv, line 12"),
            execution("parse", 5.25, 65),
            execution("load", 66, 190.5),
            execution("load", 190, None),
        ],
        [
            event("fetch", 1.5, "parse", "fetched"),
            event("fetch", 2.25, "parse", "fetched"),
            event("fetch", 4, "parse", "fetched"),
            event("parse", 2.5, "load", "parsed"),
            event("parse", 65, "load", "parsed"),
        ],
    )
    tracker.record_routine_end("report")
    return tracker

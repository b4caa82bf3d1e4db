"""Runs whose times are known to the microsecond, for the tests of what is shown of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from execution_tracker import ExecutionTracker

BEGIN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def at(second: float) -> str:
    return (BEGIN + timedelta(seconds=second)).isoformat(timespec="microseconds")


def execution(routine_id: Any, start: float, end: float | None, error: Any = None, **facts: Any) -> dict[str, Any]:
    record = {"routine_id": routine_id, "start_time": at(start), "params": {}, "status": "running"}
    if end is None:
        return record | facts
    ended = {**record, "status": "completed", "end_time": at(end), "execution_time": float(end - start)}
    return (ended if error is None else {**ended, "status": "failed", "error": error}) | facts


def event(source: Any, second: float, target: Any = None, name: Any = "done", **facts: Any) -> dict[str, Any]:
    return {
        "timestamp": at(second),
        "source_routine_id": source,
        "event_name": name,
        "target_routine_id": target,
        "data": {},
        **facts,
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
            execution("fetch", 0, 1.5, execution_id=1),
            execution("fetch", 0.5, 2.25, execution_id=2),
            execution("fetch", 1, 4, execution_id=3),
            execution("parse", 1.75, 2.5, execution_id=4, caused_by=[1]),
            execution(
                *("parse", 4.5, 5.25, "SyntaxError: unexpected end of file\n  in b.csv, line 12"),
                execution_id=5,
                caused_by=[2],
            ),
            execution("parse", 5.25, 65, execution_id=6, caused_by=[3]),
            execution("load", 66, 190.5, execution_id=7),
            execution("load", 190, None, execution_id=8),
        ],
        [
            event("fetch", 1.5, "parse", "fetched", event_id=1, execution_id=1),
            event("fetch", 2.25, "parse", "fetched", event_id=2, execution_id=2),
            event("fetch", 4, "parse", "fetched", event_id=3, execution_id=3),
            event("parse", 2.5, "load", "parsed", event_id=4, execution_id=4),
            event("parse", 65, "load", "parsed", event_id=5, execution_id=6),
        ],
    )
    tracker.record_routine_end("report")
    return tracker


# Texts that are times, in several forms and zones, and texts that only look so.
_ZONES = st.sampled_from([None, timezone.utc, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/St_Johns")])
_MOMENTS = st.datetimes(datetime(2026, 10, 24), datetime(2026, 10, 26))
TIMES = st.one_of(
    st.builds(
        lambda moment, zone, timespec: moment.replace(tzinfo=zone).isoformat(timespec=timespec),
        _MOMENTS | st.sampled_from([datetime(2026, 10, 25, 2, 30, 0, 5)]),
        _ZONES,
        st.sampled_from(["microseconds"] * 3 + ["seconds", "milliseconds"]),
    ),
    st.sampled_from([None, "", "?", 5, "2026-10-25T02:30:00.0000x0", "2026-10-25T99:30:00.000000"]),
    st.sampled_from(["2026-10-25T02:30:00Z000000", "2026-10-25T02:30:00.00000\N{ARABIC-INDIC DIGIT ONE}"]),
    st.from_regex(r"2026-10-25T02:30:00[.,][0-9]{3}[0-9+]{3}([+-]0[0-9]:00|[0-9+Z]{6})?", fullmatch=True),
    st.text(min_size=26, max_size=26).map(lambda text: text[:19] + "." + text[20:]),
)

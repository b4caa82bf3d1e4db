"""What Perfetto's engine makes of an exported run, and what the file holds."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import perfetto
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker
from execution_tracker._timeline import Timeline
from execution_tracker.export.chrome_trace import to_chrome_trace, write_chrome_trace

BEGIN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
BEGIN_NS = int(BEGIN.timestamp()) * 10**9

SLICES = """
    select s.id, s.ts, s.dur, s.depth, s.name, s.category, s.track_id, coalesce(h.name, t.name) as track, s.parent_id,
        extract_arg(s.arg_set_id, 'args.status') as status, extract_arg(s.arg_set_id, 'args.error') as error,
        extract_arg(s.arg_set_id, 'args.execution_id') as execution_id
    from slice s join track t on t.id = s.track_id
    left join thread_track k on k.id = t.id left join thread h using (utid) order by s.id"""
FLOWS = """
    select slice_out, slice_in, extract_arg(arg_set_id, 'cat') as category, extract_arg(arg_set_id, 'name') as name
    from flow order by id"""
DEFECTS = "select name, value from stats where value > 0 and severity != 'info'"
PROCESSES = "select name from process where pid = 1"
COUNTS = "select (select count(*) from slice) as slices, (select count(*) from flow) as flows"


def at(microsecond: float) -> str:
    return (BEGIN + timedelta(microseconds=microsecond)).isoformat(timespec="microseconds")


def execution(routine_id: Any, start: float, end: float | None, **fields: Any) -> dict[str, Any]:
    record = {"routine_id": routine_id, "start_time": at(start), "params": {}, "status": "running"}
    if end is not None:
        record |= {"status": "completed", "end_time": at(end), "execution_time": (end - start) / 1e6}
    return record | fields


def event(
    source: Any, microsecond: float, target: Any = None, name: Any = "done", data: Any = None, by: int | None = None
) -> dict[str, Any]:
    """Return the record of an event that the execution with this id emitted, if that is known."""
    record = {
        "timestamp": at(microsecond),
        "source_routine_id": source,
        "event_name": name,
        "target_routine_id": target,
        "data": data or {},
    }
    return record if by is None else record | {"execution_id": by}


def run(executions: list[dict[str, Any]], events: list[dict[str, Any]] = []) -> ExecutionTracker:  # noqa: B006
    """Return a run; executions and events have the ids 1, 2, … in this order."""
    tracker = ExecutionTracker("nightly")
    routines: dict[Any, list[dict[str, Any]]] = {}
    for number, record in enumerate(executions, 1):
        routines.setdefault(record["routine_id"], []).append(record | {"execution_id": number})
    events = [record | {"event_id": number} for number, record in enumerate(events, 1)]
    tracker.deserialize({"routine_executions": routines, "event_flow": events})
    return tracker


def timeline(tracker: ExecutionTracker) -> Timeline:
    return Timeline(tracker._run())


class Shown:
    """A trace as Perfetto shows it."""

    def __init__(self, slices: list[perfetto.Row], flows: list[perfetto.Row], process: str, defects: Any) -> None:
        self.slices = {row["id"]: row for row in slices}
        self.executions = [row for row in slices if row["status"] is not None]
        self.instants = [row for row in slices if row["status"] is None]
        self.flows = flows
        self.process = process
        self.defects = defects

    def execution_of(self, slice_id: int) -> perfetto.Row:
        """Return the execution that a slice lies in, or the slice if it lies in none."""
        row = self.slices[slice_id]
        while row["status"] is None and row["parent_id"] is not None:
            row = self.slices[row["parent_id"]]
        return row

    def arrows(self) -> Counter[tuple[Any, ...]]:
        """Count arrows by (source, target, category, name)."""
        return Counter(
            (
                self.execution_of(row["slice_out"])["name"],
                self.execution_of(row["slice_in"])["name"],
                row["category"],
                row["name"],
            )
            for row in self.flows
        )


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[ExecutionTracker]], list[Shown]]:
    def shown(trackers: list[ExecutionTracker]) -> list[Shown]:
        folder = tmp_path_factory.mktemp("traces")
        paths = [folder / f"{number}.json" for number in range(len(trackers))]
        for tracker, path in zip(trackers, paths, strict=True):
            write_chrome_trace(tracker, path)
        return [
            Shown(slices, flows, processes[0]["name"], defects)
            for slices, flows, processes, defects in ask(paths, SLICES, FLOWS, PROCESSES, DEFECTS)
        ]

    return shown


def ask(paths: list[Path], *statements: str) -> list[list[list[perfetto.Row]]]:
    try:
        return perfetto.query(paths, *statements)
    except perfetto.PerfettoMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


# --- known runs, which the engine reads in one go ---

A_RUN = {
    "overlapping": run([execution("a", 0, 10), execution("a", 5, 20), execution("a", 6, 8), execution("b", 6, 8)]),
    "nested": run(
        [
            execution("main", 0, 50, worker="MainThread"),
            execution("load", 1, 50, worker="MainThread", parent_id=1),
            execution("parse", 2, 3, worker="MainThread", parent_id=2),
            execution("pool", 2, 60, worker="pool-1", parent_id=1),
            execution("nobody", 4, 5, parent_id=4),
        ]
    ),
    "inside": run(
        [
            execution("outer", 0, 50, worker="x"),
            execution("inner", 5, 20, worker="x", parent_id=1),
            execution("first", 12, 13, worker="y", caused_by=[1]),
            execution("second", 31, 32, worker="y", caused_by=[2]),
        ],
        [event("outer", 10, by=1), event("outer", 30, by=1)],
    ),
    "sequential": run([execution("a", start, start + 10) for start in range(0, 100, 10)]),
    "unfinished": run([execution("a", 0, None), execution("a", 5, None), execution("a", 6, 9)], [event("a", 8, by=2)]),
    "short": run([execution("a", 0, 1, execution_time=1.234567e-3), execution("a", 5000, 5000, execution_time=1e-9)]),
    "long": run([execution("a", 0, 1), execution("a", 90 * 86_400e6, 90 * 86_400e6, execution_time=1.23e-7)]),
    "failed": run([execution("a", 0, 10, status="failed", error="ValueError: no"), execution("a", 20, 30)]),
    "chain": run(
        [execution("a", 0, 10), execution("b", 12, 20), execution("c", 20, 30)],
        [event("a", 7, "b", by=1), event("b", 20, "c", by=2), event("c", 25, None, "lost", by=3)],
    ),
    "fan": run(
        [execution("a", 0, 10), execution("b", 5, 9), execution("c", 8, 10), execution("join", 11, 12)],
        [
            event("a", 4, "b", by=1),
            event("a", 4, "c", by=1),
            event("b", 9, "join", by=2),
            event("c", 10, "join", by=3),
            event("a", 6, "join", by=1),
        ],
    ),
    "recorded": run(
        [
            execution("a", 0, 10, worker="pool-1"),
            execution("b", 12, 20, caused_by=[1], parent_id=1),
            execution("b", 13, 30, caused_by=[1, 2]),
            execution("c", 14, 18, caused_by=[2, 3]),
            execution("d", 14, 15, caused_by=[4]),
        ],
        [*(event("a", micro, by=1) for micro in (7, 8, 16, 20)), event("a", 30, "c", by=1)],
    ),
    "one tick": run(
        [execution("a", 0, 0, worker="x"), execution("b", 0, 5, worker="y"), execution("c", 0, 0, worker="z")],
        [event("a", 0, "b", by=1), event("b", 0, "a", by=2), event("b", 0, "c", by=2), event("c", 0, "b", by=3)],
    ),
    "outside": run(
        [execution("a", 10, 20), execution("b", 50, 60)], [event("main", 5, "a"), event("a", 40, "b", by=1)]
    ),
    "cut": run(
        [execution("a", 0, 2, execution_time=1.5e-6), execution("b", 3, 4)],
        [event("a", 0, by=1), event("a", 2, "b", by=1)],
    ),
    "odd ids": run(
        [
            *(execution(name, start, 5) for name, start in ((None, 0), ("", 2), ("größe", 0))),
            execution("\ud800", 0, 5, worker="\ud800"),
        ],
        [event(None, 1, "", "", by=1)],
    ),
    "empty": ExecutionTracker(),
    "events only": run([], [event("a", 3, "b"), event("a", 4, "b")]),
    "edited": run(
        [
            execution("backwards", 10, 3),
            execution("no time", 10, 20, execution_time=None),
            execution("text", 10, 20, execution_time="long"),
            execution("nan", 10, 20, execution_time=float("nan")),
            execution("endless", 10, 20, execution_time=1e300),
            {"routine_id": "bare", "start_time": at(0)},
            {"routine_id": "nothing"},
        ],
        [{}, {"timestamp": at(1)}, event(["un"], 5, {"hash": "able"}, ["name"]), event("bare", 3, "backwards")],
    ),
    "eras": run(
        [
            execution("ancient", 0, 20, start_time="0001-01-01T00:00:00+00:00"),
            execution("a", 0, 20),
            execution("far", 0, 20, start_time="9999-12-30T00:00:00+00:00", end_time=5),
        ]
    ),
    "payloads": run(
        [execution("a", 0, 10, params={"n": 2**200, "x": float("inf"), "": [[[[[[]]]]]]}, result=b"\0", error={1: 2})],
        [event("a", 1, "a", "e" * 10_000, {"deep": "x" * 10_000, "a.b[c]": {"d": None}})],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(show: Any) -> dict[str, Shown]:
    return dict(zip(A_RUN, show(list(A_RUN.values())), strict=True))


def slices(shown: Shown) -> list[tuple[Any, ...]]:
    return sorted((row["name"], row["ts"] / 1e3, row["dur"] / 1e3) for row in shown.executions)


def lanes(tracker: ExecutionTracker) -> dict[str, list[str]]:
    """Return the executions of each lane, as texts with what is around them: ``outer/inner``."""
    events = to_chrome_trace(tracker)["traceEvents"]
    names = {each["tid"]: each["args"]["name"] for each in events if each["name"] == "thread_name"}
    assert len(names) == len({*names.values()})
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for tid, name in names.items():
        around: list[tuple[float, str]] = []
        for each in (each for each in events if each["ph"] == "X" and each["tid"] == tid):
            while around and around[-1][0] <= each["ts"] + 1e-4:
                around.pop()
            if around:
                assert each["ts"] + each["dur"] <= around[-1][0] + 1e-4
            around.append((each["ts"] + each["dur"], each["name"]))
            found[name].append("/".join(name for _, name in around))
    return found


def test_the_engine_finds_no_defect_in_any_trace(shown: dict[str, Shown]) -> None:
    assert {name: each.defects for name, each in shown.items()} == {name: [] for name in A_RUN}


def test_the_engine_shows_lanes_by_worker_with_children_inside_their_parents(shown: dict[str, Shown]) -> None:
    found = {(row["name"], row["track"], row["depth"]) for row in shown["nested"].executions}
    assert found == {
        ("main", "MainThread", 0),
        ("load", "MainThread", 1),
        ("parse", "MainThread", 2),
        ("pool", "pool-1", 0),
        ("nobody", "no worker", 0),
    }


def test_each_worker_has_a_lane_and_another_where_its_executions_overlap() -> None:
    tracker = run(
        [
            execution("a", 0, 10, worker="x"),
            execution("b", 5, 20, worker="x"),
            execution("c", 5, 6, worker="y"),
            execution("d", 7, 8, worker="x"),
            execution("e", 8, 9, worker="x"),
            execution("f", 12, 30, worker="x"),
            execution("g", 0, 1),
            execution("h", 0, 1),
        ]
    )
    assert lanes(tracker) == {
        "x": ["a", "f"],
        "x (2)": ["b"],
        "x (3)": ["d", "e"],
        "no worker": ["g"],
        "no worker (2)": ["h"],
        "y": ["c"],
    }


def test_only_children_lie_inside_other_executions() -> None:
    tracker = run(
        [
            execution("main", 0, 100, worker="x"),
            execution("long task", 1, 50, worker="x", parent_id=1),
            execution("short task", 2, 10, worker="x", parent_id=1),  # in its time, but not in its call
            execution("call", 3, 4, worker="x", parent_id=3),
            execution("next", 60, 70, worker="x", parent_id=1),
            execution("elsewhere", 61, 62, worker="y", parent_id=5),
            execution("outlives", 90, 120, worker="x", parent_id=1),
            execution("late", 130, 140, worker="x", parent_id=1),
        ]
    )
    assert lanes(tracker) == {
        "x": ["main", "main/long task", "main/next", "late"],
        "x (2)": ["short task", "short task/call", "outlives"],
        "y": ["elsewhere"],
    }


def test_tasks_of_asyncio_that_overlap_have_a_lane_each_with_their_own_calls_inside() -> None:
    tracker = ExecutionTracker()

    async def task(seconds: float) -> None:
        with tracker.track("task"):
            await asyncio.sleep(seconds)
            with tracker.track("call"):
                await asyncio.sleep(seconds)

    async def all_tasks() -> None:
        await asyncio.gather(*map(task, (0.03, 0.02, 0.01)))

    asyncio.run(all_tasks())
    name = threading.current_thread().name
    assert lanes(tracker) == {each: ["task", "task/call"] for each in (name, f"{name} (2)", f"{name} (3)")}


@pytest.mark.parametrize("ids", [[1, 2, 3], [3, 2, 1], [2, 3, 1]])
def test_a_parent_is_outside_though_all_began_and_ended_at_once(ids: list[int]) -> None:
    facts = zip(ids, "abc", ({}, {"parent_id": ids[0]}, {"parent_id": ids[1]}), strict=True)
    records = [execution(name, 0, 5, worker="x", execution_id=number, **parent) for number, name, parent in facts]
    tracker = ExecutionTracker()
    tracker.deserialize({"routine_executions": {each["routine_id"]: [each] for each in records}, "event_flow": []})
    assert lanes(tracker) == {"x": ["a", "a/b", "a/b/c"]}


def test_parents_that_lead_round_in_a_circle_do_no_harm() -> None:
    parents = {"a": 2, "b": 3, "c": 1, "d": 4}
    circle = [execution(name, 0, 5, worker="x", parent_id=parent) for name, parent in parents.items()]
    assert lanes(run(circle)) == {"x": ["c", "c/b", "c/b/a"], "x (2)": ["d"]}


def test_what_is_nested_deeper_than_viewers_show_goes_on_in_another_lane() -> None:
    deep = [execution("a", number, 1000 - number, worker="x", parent_id=number or None) for number in range(450)]
    assert {name: len(each) for name, each in lanes(run(deep)).items()} == {"x": 200, "x (2)": 200, "x (3)": 50}


def test_times_that_a_file_has_cut_break_no_lane(shown: dict[str, Shown], tmp_path: Path) -> None:
    tracker = ExecutionTracker()
    for _ in range(300):
        with tracker.track("outer"), tracker.track("inner"):
            pass
    tracker.save(tmp_path / "run.json")
    name = threading.current_thread().name
    assert lanes(ExecutionTracker.load(tmp_path / "run.json")) == {name: ["outer", "outer/inner"] * 300}


def test_a_child_lies_inside_a_parent_of_a_few_nanoseconds_though_a_file_has_cut_both() -> None:
    parent = execution("outer", 0, 1, worker="x", execution_time=999e-9)  # which began at 0.9, the child at 1.1
    child = execution("inner", 1, 1, worker="x", execution_time=300e-9, parent_id=1)
    assert lanes(run([parent, child])) == {"x": ["outer", "outer/inner"]}


def test_running_executions_last_as_long_as_the_run_and_say_that_they_run(shown: dict[str, Shown]) -> None:
    found = {(row["ts"], row["dur"], row["category"], row["status"]) for row in shown["unfinished"].executions}
    running = {(ns, 9000 - ns, "execution,running", "running") for ns in (0, 5000)}
    assert found == running | {(6000, 3000, "execution", "completed")}


def test_durations_are_exact_to_the_nanosecond(shown: dict[str, Shown]) -> None:
    assert slices(shown["short"]) == [("a", 0, 1234.567), ("a", 5000, 0.001)]
    assert slices(shown["long"])[1] == ("a", 90 * 86_400e6, 0.123)


def test_failed_executions_keep_the_name_and_have_a_category_and_their_error(shown: dict[str, Shown]) -> None:
    failed, completed = shown["failed"].executions
    assert (failed["name"], failed["category"], failed["status"]) == ("a", "execution,failed", "failed")
    assert (failed["error"], completed["error"]) == ("ValueError: no", None)
    assert completed["category"] == "execution"


def test_an_arrow_leads_from_the_emitter_of_an_event_to_the_execution_that_it_led_to(shown: dict[str, Shown]) -> None:
    assert shown["chain"].arrows() == Counter([("a", "b", "inferred", "done"), ("b", "c", "inferred", "done")])


def test_an_event_that_led_nowhere_is_an_instant_in_its_execution(shown: dict[str, Shown]) -> None:
    (lost,) = (row for row in shown["chain"].instants if row["name"] == "lost")
    assert (lost["ts"], lost["dur"]) == (25_000, 0)
    assert shown["chain"].execution_of(lost["id"])["name"] == "c"


def test_each_event_that_led_to_an_execution_has_an_arrow_of_its_own(shown: dict[str, Shown]) -> None:
    pairs = [("a", "b"), ("a", "c"), ("b", "join"), ("c", "join"), ("a", "join")]
    assert shown["fan"].arrows() == Counter((source, target, "inferred", "done") for source, target in pairs)


def test_an_event_has_an_arrow_to_each_execution_that_it_caused(shown: dict[str, Shown]) -> None:
    caused = [("a", "b"), ("a", "b"), ("a", "b"), ("a", "c")]  # the other events came after what they caused
    assert shown["recorded"].arrows() == Counter(
        [*((source, target, "caused_by", "done") for source, target in caused), ("a", "b", "parent", "parent")]
    )


def test_arrows_leave_the_emitter_though_a_call_inside_it_runs_meanwhile(shown: dict[str, Shown]) -> None:
    assert shown["inside"].arrows() == Counter(
        [("outer", "first", "caused_by", "done"), ("outer", "second", "caused_by", "done")]
    )
    tails = [each["ts"] for each in to_chrome_trace(A_RUN["inside"])["traceEvents"] if each["ph"] == "s"]
    assert tails == [0, 30]  # at the event, unless the call is on top then


def test_a_parent_on_another_worker_has_an_arrow_to_its_child(shown: dict[str, Shown]) -> None:
    assert shown["nested"].arrows() == Counter(
        [("main", "pool", "parent", "parent"), ("pool", "nobody", "parent", "parent")]
    )


def test_arguments_tell_the_facts_and_which_links_are_inferred() -> None:
    def told(tracker: ExecutionTracker) -> dict[tuple[str, str], Any]:
        events = to_chrome_trace(tracker)["traceEvents"]
        return {(each["ph"], each["name"]): each["args"] for each in events if each["ph"] in "Xi"}

    executions = [execution("a", 0, 9, worker="pool-1"), execution("b", 5, 6, parent_id=1, caused_by=[1])]
    done = {"source_routine_id": "a", "target_routine_id": "b", "event_id": 1, "execution_id": 1}
    assert told(run(executions, [event("a", 4, "b", by=1)])) == {
        ("X", "a"): {"status": "completed", "execution_id": 1, "worker": "pool-1"},
        ("i", "done"): done,
        ("X", "b"): {"status": "completed", "execution_id": 2, "parent_id": 1, "caused_by": [1]},
    }
    del executions[1]["caused_by"]
    assert told(run(executions, [event("a", 4, "b", by=1)]))["i", "done"] == done | {"inferred": True}
    assert told(run(executions, [event("a", 7, "b", by=1)]))["i", "done"] == done


def test_arrows_are_there_even_if_all_happens_in_one_tick(shown: dict[str, Shown]) -> None:
    pairs = [("a", "b"), ("b", "c")]  # back in time there is none
    assert shown["one tick"].arrows() == Counter((source, target, "inferred", "done") for source, target in pairs)
    assert slices(shown["one tick"]) == [("a", 0, 0.001), ("b", 0, 5), ("c", 0, 0.001)]


def test_events_outside_of_an_execution_have_a_lane_of_their_own(shown: dict[str, Shown]) -> None:
    assert shown["outside"].arrows() == Counter([("done", "a", "inferred", "done"), ("done", "b", "inferred", "done")])
    assert {(row["track"], row["category"], row["depth"]) for row in shown["outside"].instants} == {
        ("events", "event", 0)
    }


def test_events_at_the_very_ends_stay_inside_though_texts_cut_times(shown: dict[str, Shown]) -> None:
    assert shown["cut"].arrows() == Counter([("a", "b", "inferred", "done")])
    assert [row["depth"] for row in shown["cut"].instants] == [1, 1]


@pytest.mark.parametrize("number", [2**53 + 1, 2**64 - 1, 10**30, -(10**30), 2**200])
def test_no_digit_of_an_integer_is_lost(number: int) -> None:
    params = {"n": number, "deep": [{"n": number}], "narrow": 2**53}
    tracker = run([execution("a", 0, 9, params=params)], [event("a", 1, data={"n": number}, by=1)])
    found = {each["ph"]: each.get("args") for each in to_chrome_trace(tracker)["traceEvents"]}
    assert found["X"]["params"] == {"n": str(number), "deep": [{"n": str(number)}], "narrow": 2**53}
    assert found["i"]["data"] == {"n": str(number)}


def test_ids_that_are_no_texts_or_empty_are_shown(shown: dict[str, Shown]) -> None:
    assert {row["name"] for row in shown["odd ids"].executions} == {"null", "[No name]", "größe", r"\\ud800"}
    (fed,) = shown["odd ids"].arrows()
    assert fed == ("null", "[No name]", "inferred", None)


def test_a_run_without_executions_is_an_empty_trace(shown: dict[str, Shown]) -> None:
    assert (shown["empty"].slices, shown["empty"].process) == ({}, "run")
    assert [row["name"] for row in shown["events only"].instants] == ["done", "done"]
    assert shown["events only"].flows == []


def test_records_edited_by_hand_are_shown_as_far_as_they_can_be_read(shown: dict[str, Shown]) -> None:
    durations = {row["name"]: row["dur"] for row in shown["edited"].executions}
    assert durations["backwards"] == 1
    assert {durations[name] for name in ("no time", "text", "nan", "endless")} <= {9_999, 10_000}  # a file cut starts


def test_times_that_are_eras_apart_lose_no_execution(shown: dict[str, Shown]) -> None:
    assert {row["name"] for row in shown["eras"].executions} == {"ancient", "a", "far"}


def test_the_process_is_named_by_the_flow(shown: dict[str, Shown]) -> None:
    assert shown["chain"].process == "nightly"


# --- any run ---

moments = st.integers(0, 5)
names = st.sampled_from("abc")
spans = st.none() | st.integers(-2, 6) | st.floats(0, 6).map(lambda micro: round(micro, 3))


ids = st.lists(st.integers(1, 14), max_size=3, unique=True)


workers = st.none() | st.sampled_from("xy")


def made(name: str, start: int, span: float | None, fine: bool, **facts: Any) -> dict[str, Any]:
    record = execution(name, start, None if span is None else start + span, **facts)
    return record if fine else {key: record[key] for key in record if key != "execution_time"}


runs = st.builds(
    run,
    st.lists(
        st.builds(made, names, moments, spans, st.booleans())
        | st.builds(
            made, names, moments, spans, st.booleans(), caused_by=ids, parent_id=st.integers(1, 4), worker=workers
        ),
        min_size=4,
        max_size=12,
    ),
    st.lists(
        st.builds(event, names | st.just("main"), moments, st.none() | names, by=st.none() | st.integers(1, 14)),
        min_size=4,
        max_size=12,
    ),
)


def forward(line: Timeline) -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]:
    """Count the arrows that there must be, and those that there may be, by category and target.

    Arrows do not lead back in time; of what began at one moment nobody knows what was first.
    """
    must: Counter[tuple[str, int]] = Counter()
    may: Counter[tuple[str, int]] = Counter()
    positions = {each.execution_id: each for each in line.executions}
    pairs: list[tuple[str, int, Any]] = []
    for link in line.links:
        emission = line.emissions[link.emission]
        source = None if emission.source is None else line.executions[emission.source]
        is_inside = source and source.start_ns - 1000 < emission.at_ns < (source.end_ns or 10**30) + 1000
        from_ns = source.start_ns if source and is_inside else emission.at_ns
        pairs.append(("inferred" if link.is_inferred else "caused_by", from_ns, line.executions[link.execution]))
    for each in line.executions:
        parent = positions.get(each.parent_id or 0)
        if parent and parent.worker != each.worker:
            pairs.append(("parent", parent.start_ns, each))
        elif parent and parent is not each:
            may["parent", each.execution_id] += 1  # not inside, since both overlap others
    for category, from_ns, led in pairs:
        if from_ns < led.start_ns:
            must[category, led.execution_id] += 1
        elif from_ns == led.start_ns:
            may[category, led.execution_id] += 1
    return must, may


def test_the_engine_shows_every_execution_and_every_arrow_of_any_run(show: Any) -> None:
    trackers: list[ExecutionTracker] = []

    @settings(max_examples=40, database=None, derandomize=True, phases=[Phase.generate])
    @given(runs)
    def make(tracker: ExecutionTracker) -> None:
        trackers.append(tracker)

    make()  # first all, since it takes seconds to start the engine
    arrows = nested = 0
    for tracker, shown in zip(trackers, show(trackers), strict=True):
        line = timeline(tracker)
        moments = [each.start_ns for each in line.executions] + [each.at_ns for each in line.emissions]
        moments += [each.end_ns for each in line.executions if each.end_ns is not None]
        begin_ns, last_ns = min(moments), max(moments)
        assert shown.defects == []
        assert sorted(row["execution_id"] for row in shown.executions) == sorted(
            each.execution_id for each in line.executions
        )
        by_id = {each.execution_id: each for each in line.executions}
        for row in shown.executions:
            each = by_id[row["execution_id"]]
            assert row["name"] == each.routine_id
            assert abs(begin_ns + row["ts"] - each.start_ns) < 1000
            assert abs(begin_ns + row["ts"] + row["dur"] - (each.end_ns or last_ns)) < 1000
            assert re.sub(r" \(\d+\)$", "", row["track"]) == (each.worker or "no worker")
            if row["parent_id"] is not None:
                assert shown.slices[row["parent_id"]]["execution_id"] == each.parent_id
                nested += 1
        must, may = forward(line)
        found: Counter[tuple[str, int]] = Counter()
        sources = ((line.emissions[link.emission].source, link.execution) for link in line.links)
        emitters = {
            (line.executions[source].execution_id, line.executions[target].execution_id)
            for source, target in sources
            if source is not None
        }
        for row in shown.flows:
            source, target = shown.execution_of(row["slice_out"]), shown.execution_of(row["slice_in"])
            found[row["category"], target["execution_id"]] += 1
            if row["category"] == "parent":
                assert by_id[target["execution_id"]].parent_id == source["execution_id"]
            elif source["status"] is not None:
                assert (source["execution_id"], target["execution_id"]) in emitters
        assert must - found == Counter()
        assert found - must - may == Counter()
        assert len(shown.instants) == len(line.emissions)
        arrows += len(shown.flows)
    assert arrows > 100
    assert nested > 5


# --- speedscope, which reads complete slices only, and ties ends to starts by sums of floating-point numbers ---


def imported(paths: list[Path]) -> list[dict[str, Any]]:
    """Return what speedscope's own importer makes of traces."""
    command, node = shutil.which("speedscope"), shutil.which("node")
    if command is None or node is None:
        pytest.skip("speedscope is not installed: npm install --global speedscope")
    folder = Path(command).resolve().parents[1] / "dist" / "release"
    script = Path(__file__).with_name("speedscope_import.js")
    done = subprocess.run([node, script, folder, *paths], capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def nested_run(seed: int) -> ExecutionTracker:
    """Return a run with calls inside of calls, whose times are no whole microseconds and often the same."""
    tracker, draw = ExecutionTracker("nested"), Random(seed)

    def call(start_ns: int, end_ns: int, depth: int, parent: int | None) -> None:
        while start_ns < end_ns:
            until_ns = min(end_ns, start_ns + draw.choice((333, 10_007, end_ns - start_ns)))
            start, end = (datetime.fromtimestamp(ns / 1e9, timezone.utc) for ns in (start_ns, until_ns))
            made = tracker.record_execution("a", start, end, parent_id=parent, worker="x")
            if depth:
                call(start_ns, until_ns, depth - 1, made)
            start_ns = until_ns

    call(BEGIN_NS, BEGIN_NS + 100_003, 3, None)
    return tracker


def test_speedscope_shows_every_execution_inside_its_parent(tmp_path: Path) -> None:
    trackers = [*A_RUN.values(), *map(nested_run, range(20))]
    trackers = [tracker for tracker in trackers if tracker.get_performance_metrics()["total_executions"]]
    paths = [tmp_path / f"{number}.json" for number in range(len(trackers))]
    for tracker, path in zip(trackers, paths, strict=True):
        write_chrome_trace(tracker, path)
    for tracker, answer in zip(trackers, imported(paths), strict=True):
        # It may take ends at one moment in another order, but leaves nothing open, and ends nothing that is not.
        assert [each for each in answer["warnings"] if "still open" in each or "Doing nothing" in each] == []
        slices = [each for each in to_chrome_trace(tracker)["traceEvents"] if each["ph"] == "X"]
        calls = [call for profile in answer["profiles"] if "events" not in profile["name"] for call in profile["calls"]]
        found = {json.loads(name[name.index(" {") :])["execution_id"]: (end - start) for name, start, end, _ in calls}
        assert len(calls) == len(found) == len(slices)
        assert all(abs(found[each["args"]["execution_id"]] - each["dur"]) < 1e-3 for each in slices)


@pytest.mark.parametrize("seed", range(20))
def test_the_sums_that_viewers_compare_keep_the_order_of_slices(seed: int) -> None:
    slices = [each for each in to_chrome_trace(nested_run(seed))["traceEvents"] if each["ph"] == "X"]
    for tid in {each["tid"] for each in slices}:
        open_until: list[float] = []
        for each in (each for each in slices if each["tid"] == tid):
            while open_until and open_until[-1] <= each["ts"]:
                open_until.pop()
            end = each["ts"] + each["dur"]
            assert not open_until or end <= open_until[-1]
            open_until.append(end)


# --- the file ---


def recorded(count: int) -> ExecutionTracker:
    tracker = ExecutionTracker("big")
    for number in range(count):
        routine_id = f"r{number % 10}"
        tracker.record_routine_start(routine_id, {"path": "notes.md", "n": number})
        tracker.record_event(routine_id, "done", f"r{(number + 1) % 10}", {"n": number})
        tracker.record_routine_end(routine_id, result={"words": number})
    return tracker


@pytest.mark.once
def test_the_engine_loads_100_000_executions_of_which_none_is_lost(tmp_path: Path) -> None:
    tracker = recorded(100_000)
    began = time.process_time()
    write_chrome_trace(tracker, tmp_path / "trace.json.gz")
    assert time.process_time() - began < 30  # a few seconds, on a machine that has nothing else to do
    ((counts,), defects) = ask([tmp_path / "trace.json.gz"], COUNTS, DEFECTS)[0]
    assert counts["flows"] == len(timeline(tracker).links) > 99_000
    assert counts["slices"] >= 200_000
    assert defects == []


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
@pytest.mark.parametrize("tracker", [*A_RUN.values(), recorded(150)], ids=[*A_RUN, "recorded"])
def test_a_file_holds_the_trace_as_strict_json(tmp_path: Path, name: str, tracker: ExecutionTracker) -> None:
    write_chrome_trace(tracker, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    text = gzip.decompress(content) if name.endswith(".gz") else content
    assert json.loads(text, parse_constant=refuse) == to_chrome_trace(tracker)
    assert os.listdir(tmp_path) == [name]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.json"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no room"):
        write_chrome_trace(recorded(3), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["trace.json"]


def test_times_are_relative_and_the_metadata_tell_when_the_run_began() -> None:
    trace = to_chrome_trace(run([execution("a", 7, 8)], [event("main", 5, "a")]))
    assert [event.get("ts") for event in trace["traceEvents"]] == [0, 0, 0, 0, 0, 0, 2, 2]
    assert trace["otherData"] == {
        "flow_id": "nightly",
        "start_time": at(5),
        "start_time_ns": BEGIN_NS + 5000,
        "dropped_executions": 0,
        "dropped_events": 0,
    }


def test_a_run_that_was_recorded_here_begins_at_nanoseconds_since_the_epoch() -> None:
    before_ns = time.time_ns()
    metadata = to_chrome_trace(recorded(1))["otherData"]
    assert before_ns - 10**9 < metadata["start_time_ns"] < time.time_ns() + 10**9
    begun_s = datetime.fromisoformat(metadata["start_time"]).timestamp()
    assert abs(begun_s - metadata["start_time_ns"] / 1e9) < 1e-5


def test_the_metadata_tell_what_was_dropped() -> None:
    tracker = ExecutionTracker(max_records=1)
    for _ in range(3):
        tracker.record_routine_start("a")
        tracker.record_event("a", "done")
        tracker.record_routine_end("a")
    metadata = to_chrome_trace(tracker)["otherData"]
    assert (metadata["dropped_executions"], metadata["dropped_events"]) == (2, 2)


def test_arguments_are_bounded_and_leave_out_what_is_empty() -> None:
    tracker = run(
        [execution("a", 0, 9, params={"text": "x" * 999, "nan": float("nan")}, result=[*range(99)])],
        [event("a", 1, "b", data={1: {"x": {2}}}, by=1)],
    )
    *_, begun, emitted = to_chrome_trace(tracker)["traceEvents"]
    assert begun["args"]["params"] == {"text": "x" * 200 + "… (+799 characters)", "nan": "nan"}
    assert begun["args"]["result"] == [*range(20), "… (+79 items)"]
    assert begun["args"].keys() == {"params", "status", "result", "execution_id"}
    data = {"1": {"x": [2]}}
    assert emitted["args"] == {
        "source_routine_id": "a",
        "target_routine_id": "b",
        "data": data,
        "event_id": 1,
        "execution_id": 1,
    }
    *_, begun, emitted = to_chrome_trace(run([execution("a", 0, None)], [event("a", 1)]))["traceEvents"]
    assert begun["args"] == {"status": "running", "execution_id": 1}
    assert emitted["args"] == {"source_routine_id": "a", "event_id": 1}


def test_the_export_does_not_make_the_tracker_live(tmp_path: Path) -> None:
    tracker = recorded(2)
    to_chrome_trace(tracker)
    write_chrome_trace(tracker, tmp_path / "trace.json")
    assert not tracker._live

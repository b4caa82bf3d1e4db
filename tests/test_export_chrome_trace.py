"""What Perfetto's engine makes of an exported run, and what the file holds."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import perfetto
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker
from execution_tracker.analysis import Execution, timeline
from execution_tracker.export.chrome_trace import to_chrome_trace, write_chrome_trace

BEGIN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
BEGIN_NS = int(BEGIN.timestamp()) * 10**9

SLICES = """
    select s.id, s.ts, s.dur, s.depth, s.name, s.category, s.track_id, t.name as track, s.parent_id,
        extract_arg(s.arg_set_id, 'args.status') as status, extract_arg(s.arg_set_id, 'args.error') as error
    from slice s join track t on t.id = s.track_id order by s.id"""
FLOWS = "select slice_out, slice_in from flow order by id"
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


def event(source: Any, microsecond: float, target: Any = None, name: Any = "done", data: Any = None) -> dict[str, Any]:
    return {
        "timestamp": at(microsecond),
        "source_routine_id": source,
        "event_name": name,
        "target_routine_id": target,
        "data": data or {},
    }


def run(executions: list[dict[str, Any]], events: list[dict[str, Any]] = []) -> ExecutionTracker:  # noqa: B006
    tracker = ExecutionTracker("nightly")
    routines: dict[Any, list[dict[str, Any]]] = {}
    for record in executions:
        routines.setdefault(record["routine_id"], []).append(record)
    tracker.deserialize({"routine_executions": routines, "event_flow": events})
    return tracker


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
        """Count arrows by (source, microsecond, target, microsecond)."""
        ends = [(self.execution_of(row["slice_out"]), row["slice_out"], row["slice_in"]) for row in self.flows]
        return Counter(
            (
                source["name"],
                self.slices[out]["ts"] / 1e3,
                self.execution_of(into)["name"],
                self.slices[into]["ts"] / 1e3,
            )
            for source, out, into in ends
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
    "sequential": run([execution("a", start, start + 10) for start in range(0, 100, 10)]),
    "unfinished": run([execution("a", 0, None), execution("a", 5, None), execution("a", 6, 9)], [event("a", 8)]),
    "short": run([execution("a", 0, 1, execution_time=1.234567e-3), execution("a", 5000, 5000, execution_time=1e-9)]),
    "long": run([execution("a", 0, 1), execution("a", 90 * 86_400e6, 90 * 86_400e6 + 1, execution_time=1.23e-7)]),
    "failed": run([execution("a", 0, 10, status="failed", error="ValueError: no"), execution("a", 20, 30)]),
    "chain": run(
        [execution("a", 0, 10), execution("b", 12, 20), execution("c", 20, 30)],
        [event("a", 7, "b"), event("b", 20, "c"), event("c", 25, None, "lost")],
    ),
    "fan": run(
        [execution("a", 0, 10), execution("b", 5, 9), execution("c", 8, 10), execution("join", 11, 12)],
        [event("a", 4, "b"), event("a", 4, "c"), event("b", 9, "join"), event("c", 10, "join"), event("a", 6, "join")],
    ),
    "one tick": run(
        [execution("a", 0, 0), execution("b", 0, 5), execution("c", 0, 0)],
        [event("a", 0, "b"), event("b", 0, "a"), event("b", 0, "c"), event("c", 0, "b")],
    ),
    "outside": run([execution("a", 10, 20), execution("b", 50, 60)], [event("main", 5, "a"), event("a", 40, "b")]),
    "cut": run([execution("a", 0, 2, execution_time=1.5e-6), execution("b", 3, 4)], [event("a", 2, "b")]),
    "odd ids": run(
        [execution(None, 0, 5), execution("", 2, 5), execution("größe", 0, 5), execution("\ud800", 0, 5)],
        [event(None, 1, "", "")],
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


def test_the_engine_finds_no_defect_in_any_trace(shown: dict[str, Shown]) -> None:
    assert {name: each.defects for name, each in shown.items()} == {name: [] for name in A_RUN}


def test_overlapping_executions_lie_below_each_other_in_the_rows_of_their_routine(shown: dict[str, Shown]) -> None:
    overlapping = shown["overlapping"]
    assert slices(overlapping) == [("a", 0, 10), ("a", 5, 15), ("a", 6, 2), ("b", 6, 2)]
    assert {(row["track"], row["depth"]) for row in overlapping.executions} == {("a", 0), ("b", 0)}
    assert len({row["track_id"] for row in overlapping.executions}) == 4


def test_executions_that_follow_each_other_at_once_share_a_row(shown: dict[str, Shown]) -> None:
    assert len(shown["sequential"].executions) == 10
    assert len({row["track_id"] for row in shown["sequential"].executions}) == 1


def test_unfinished_executions_have_no_end_and_say_that_they_run(shown: dict[str, Shown]) -> None:
    found = {(row["ts"], row["dur"], row["category"], row["status"]) for row in shown["unfinished"].executions}
    running = {(ns, -1, "execution,running", "running") for ns in (0, 5000)}
    assert found == running | {(6000, 3000, "execution", "completed")}


def test_durations_are_exact_to_the_nanosecond(shown: dict[str, Shown]) -> None:
    assert slices(shown["short"]) == [("a", 0, 1234.567), ("a", 5000, 0.001)]
    assert slices(shown["long"])[1] == ("a", 90 * 86_400e6, 0.123)


def test_failed_executions_keep_the_name_and_have_a_category_and_their_error(shown: dict[str, Shown]) -> None:
    failed, completed = shown["failed"].executions
    assert (failed["name"], failed["category"], failed["status"]) == ("a", "execution,failed", "failed")
    assert (failed["error"], completed["error"]) == ("ValueError: no", None)
    assert completed["category"] == "execution"


def test_an_arrow_leads_from_an_event_in_its_execution_to_the_execution_that_it_fed(shown: dict[str, Shown]) -> None:
    chain = shown["chain"]
    assert chain.arrows() == Counter([("a", 7, "b", 12), ("b", 20, "c", 20)])
    assert all(chain.slices[row["slice_in"]]["status"] for row in chain.flows)
    assert {chain.slices[row["slice_out"]]["name"] for row in chain.flows} == {"done"}


def test_an_event_that_fed_none_is_an_instant_in_its_execution(shown: dict[str, Shown]) -> None:
    (lost,) = (row for row in shown["chain"].instants if row["name"] == "lost")
    assert (lost["ts"], lost["dur"], lost["track"]) == (25_000, 0, "c")
    assert shown["chain"].execution_of(lost["id"])["name"] == "c"


def test_each_event_that_fed_an_execution_has_an_arrow_of_its_own(shown: dict[str, Shown]) -> None:
    to_others = [("a", 4, "b", 5), ("a", 4, "c", 8)]
    to_join = [("b", 9, "join", 11), ("c", 10, "join", 11), ("a", 6, "join", 11)]
    assert shown["fan"].arrows() == Counter(to_others + to_join)


def test_arrows_are_there_even_if_all_happens_in_one_tick(shown: dict[str, Shown]) -> None:
    pairs = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    assert shown["one tick"].arrows() == Counter((source, 0, target, 0) for source, target in pairs)
    assert slices(shown["one tick"]) == [("a", 0, 0), ("b", 0, 5), ("c", 0, 0)]


def test_events_outside_of_an_execution_have_a_row_of_their_own(shown: dict[str, Shown]) -> None:
    assert shown["outside"].arrows() == Counter([("done", 0, "a", 5), ("done", 35, "b", 45)])
    assert {(row["track"], row["category"], row["depth"]) for row in shown["outside"].instants} == {
        ("done", "event", 0)
    }


def test_an_event_at_the_very_end_stays_inside_though_the_clock_cuts_starts_short(shown: dict[str, Shown]) -> None:
    assert shown["cut"].arrows() == Counter([("a", 1.5, "b", 3)])


def test_ids_that_are_no_texts_or_empty_are_shown(shown: dict[str, Shown]) -> None:
    assert {row["name"] for row in shown["odd ids"].executions} == {"null", "[No name]", "größe", r"\\ud800"}
    (fed,) = shown["odd ids"].arrows()
    assert fed == ("null", 1, "[No name]", 2)


def test_a_run_without_executions_is_an_empty_trace(shown: dict[str, Shown]) -> None:
    assert (shown["empty"].slices, shown["empty"].process) == ({}, "run")
    assert [row["name"] for row in shown["events only"].instants] == ["done", "done"]
    assert shown["events only"].flows == []


def test_records_edited_by_hand_are_shown_as_far_as_they_can_be_read(shown: dict[str, Shown]) -> None:
    durations = {row["name"]: row["dur"] for row in shown["edited"].executions}
    assert durations["backwards"] == 0
    assert {durations[name] for name in ("no time", "text", "nan", "endless")} == {10_000}


def test_times_that_are_eras_apart_lose_no_execution(shown: dict[str, Shown]) -> None:
    assert {row["name"] for row in shown["eras"].executions} == {"ancient", "a", "far"}


def test_the_process_is_named_by_the_flow(shown: dict[str, Shown]) -> None:
    assert shown["chain"].process == "nightly"


# --- any run ---

moments = st.integers(0, 5)
names = st.sampled_from("abc")
spans = st.none() | st.integers(-2, 6) | st.floats(0, 6).map(lambda micro: round(micro, 3))


def made(name: str, start: int, span: float | None, fine: bool) -> dict[str, Any]:
    record = execution(name, start, None if span is None else start + span)
    return record if fine else {key: record[key] for key in record if key != "execution_time"}


runs = st.builds(
    run,
    st.lists(st.builds(made, names, moments, spans, st.booleans()), min_size=4, max_size=12),
    st.lists(st.builds(event, names | st.just("main"), moments, st.none() | names), min_size=4, max_size=12),
)


def end_of(execution: Execution) -> float | None:
    return None if execution.elapsed_ns is None else execution.start_ns + execution.elapsed_ns


def test_the_engine_shows_every_execution_and_every_arrow_of_any_run(show: Any) -> None:
    trackers: list[ExecutionTracker] = []

    @settings(max_examples=40, database=None, derandomize=True, phases=[Phase.generate])
    @given(runs)
    def make(tracker: ExecutionTracker) -> None:
        trackers.append(tracker)

    make()  # first all, since it takes seconds to start the engine
    for tracker, shown in zip(trackers, show(trackers), strict=True):
        executions, emissions = timeline(tracker)
        begin_ns = min([each.start_ns for each in executions] + [each.at_ns for each in emissions], default=0)
        assert shown.defects == []
        assert Counter((row["name"], row["ts"], row["dur"]) for row in shown.executions) == Counter(
            (each.routine_id, each.start_ns - begin_ns, -1 if each.elapsed_ns is None else each.elapsed_ns)
            for each in executions
        )
        expected: Counter[tuple[Any, ...]] = Counter()
        for emission in emissions:
            if emission.fed is None:
                continue
            at_ns, source, fed = emission.at_ns, emission.event["event_name"], executions[emission.fed]
            if emission.source is not None:
                end_ns = end_of(executions[emission.source])
                if end_ns is None or at_ns < end_ns + 1000:
                    at_ns = at_ns if end_ns is None else min(at_ns, end_ns)
                    source = executions[emission.source].routine_id
            expected[source, (at_ns - begin_ns) / 1e3, fed.routine_id, (fed.start_ns - begin_ns) / 1e3] += 1
        assert shown.arrows() == expected
        arrivals = len(shown.flows) - sum(shown.slices[row["slice_in"]]["status"] is not None for row in shown.flows)
        assert len(shown.instants) == len(emissions) + arrivals


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
    fed = sum(emission.fed is not None for emission in timeline(tracker).emissions)
    assert counts["flows"] == fed > 99_000
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
    assert [event.get("ts") for event in trace["traceEvents"]] == [None, 0, 2, 3]
    assert trace["otherData"] == {
        "flow_id": "nightly",
        "start_time": at(5),
        "start_time_ns": BEGIN_NS + 5000,
        "dropped_executions": 0,
        "dropped_events": 0,
    }


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
        [event("a", 1, "b", data={1: {"x": {2}}})],
    )
    _, begun, emitted, _ = to_chrome_trace(tracker)["traceEvents"]
    assert begun["args"]["params"] == {"text": "x" * 200 + "… (+799 characters)", "nan": "nan"}
    assert begun["args"]["result"] == [*range(20), "… (+79 items)"]
    assert begun["args"].keys() == {"params", "status", "result"}
    assert emitted["args"] == {"source_routine_id": "a", "target_routine_id": "b", "data": {"1": {"x": [2]}}}
    _, begun, emitted = to_chrome_trace(run([execution("a", 0, None)], [event("a", 1)]))["traceEvents"]
    assert begun["args"] == {"status": "running"}
    assert emitted["args"] == {"source_routine_id": "a"}


def test_the_export_does_not_make_the_tracker_live(tmp_path: Path) -> None:
    tracker = recorded(2)
    to_chrome_trace(tracker)
    write_chrome_trace(tracker, tmp_path / "trace.json")
    assert not tracker._live

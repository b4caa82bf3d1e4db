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
from execution_tracker._timeline import Link, Timeline, timeline_of
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
    return timeline_of(tracker._run())


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
        [execution("a", 0, 0), execution("b", 0, 5), execution("c", 0, 0)],
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
        [execution(None, 0, 5), execution("", 2, 5), execution("größe", 0, 5), execution("\ud800", 0, 5)],
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


def test_an_arrow_leads_from_an_event_in_its_execution_to_the_execution_that_it_led_to(shown: dict[str, Shown]) -> None:
    chain = shown["chain"]
    assert chain.arrows() == Counter([("a", 7, "b", 12), ("b", 20, "c", 20)])
    assert all(chain.slices[row["slice_in"]]["status"] for row in chain.flows)
    assert {chain.slices[row["slice_out"]]["name"] for row in chain.flows} == {"done"}


def test_an_event_that_led_nowhere_is_an_instant_in_its_execution(shown: dict[str, Shown]) -> None:
    (lost,) = (row for row in shown["chain"].instants if row["name"] == "lost")
    assert (lost["ts"], lost["dur"], lost["track"]) == (25_000, 0, "c")
    assert shown["chain"].execution_of(lost["id"])["name"] == "c"


def test_each_event_that_led_to_an_execution_has_an_arrow_of_its_own(shown: dict[str, Shown]) -> None:
    to_others = [("a", 4, "b", 5), ("a", 4, "c", 8)]
    to_join = [("b", 9, "join", 11), ("c", 10, "join", 11), ("a", 6, "join", 11)]
    assert shown["fan"].arrows() == Counter(to_others + to_join)


def test_an_event_has_an_arrow_to_each_execution_that_it_caused(shown: dict[str, Shown]) -> None:
    to_b = [("a", 7, "b", 12), ("a", 7, "b", 13), ("a", 8, "b", 13)]
    assert shown["recorded"].arrows() - Counter(to_b) == Counter(
        [("a", 8, "c", 14), ("done", 16, "c", 16), ("done", 20, "done", 20)]  # the last two came after what they caused
    )


def test_arguments_tell_the_facts_and_which_causes_are_inferred() -> None:
    def told(tracker: ExecutionTracker) -> dict[tuple[str, str], Any]:
        events = to_chrome_trace(tracker)["traceEvents"]
        return {(each["ph"], each["name"]): each["args"] for each in events if each["ph"] in "bn" and "args" in each}

    executions = [execution("a", 0, 9, worker="pool-1"), execution("b", 5, 6, parent_id=1, caused_by=[1])]
    assert told(run(executions, [event("a", 4, "b", by=1)])) == {
        ("b", "a"): {"status": "completed", "execution_id": 1, "worker": "pool-1"},
        ("n", "done"): {"source_routine_id": "a", "target_routine_id": "b", "execution_id": 1},
        ("b", "b"): {"status": "completed", "execution_id": 2, "parent_id": 1},
    }
    del executions[1]["caused_by"]
    assert told(run(executions, [event("a", 4, "b", by=1)]))["n", "done"]["inferred"] is True
    assert "inferred" not in told(run(executions, [event("a", 7, "b", by=1)]))["n", "done"]


def test_arrows_are_there_even_if_all_happens_in_one_tick(shown: dict[str, Shown]) -> None:
    pairs = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    assert shown["one tick"].arrows() == Counter((source, 0, target, 0) for source, target in pairs)
    assert slices(shown["one tick"]) == [("a", 0, 0.001), ("b", 0, 5), ("c", 0, 0.001)]


def test_events_outside_of_an_execution_have_a_row_of_their_own(shown: dict[str, Shown]) -> None:
    assert shown["outside"].arrows() == Counter([("done", 0, "a", 5), ("done", 35, "b", 45)])
    assert {(row["track"], row["category"], row["depth"]) for row in shown["outside"].instants} == {
        ("done", "event", 0)
    }


def test_events_at_the_very_ends_stay_inside_though_texts_cut_times(shown: dict[str, Shown]) -> None:
    assert shown["cut"].arrows() == Counter([("a", 2, "b", 3)])
    assert [row["depth"] for row in shown["cut"].instants] == [1, 1]


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
    assert durations["backwards"] == 1
    assert {durations[name] for name in ("no time", "text", "nan", "endless")} == {10_000}


def test_times_that_are_eras_apart_lose_no_execution(shown: dict[str, Shown]) -> None:
    assert {row["name"] for row in shown["eras"].executions} == {"ancient", "a", "far"}


def test_the_process_is_named_by_the_flow(shown: dict[str, Shown]) -> None:
    assert shown["chain"].process == "nightly"


# --- any run ---

moments = st.integers(0, 5)
names = st.sampled_from("abc")
spans = st.none() | st.integers(-2, 6) | st.floats(0, 6).map(lambda micro: round(micro, 3))


ids = st.lists(st.integers(1, 14), max_size=3, unique=True)


def made(name: str, start: int, span: float | None, fine: bool, **facts: Any) -> dict[str, Any]:
    record = execution(name, start, None if span is None else start + span, **facts)
    return record if fine else {key: record[key] for key in record if key != "execution_time"}


runs = st.builds(
    run,
    st.lists(
        st.builds(made, names, moments, spans, st.booleans())
        | st.builds(made, names, moments, spans, st.booleans(), caused_by=ids, parent_id=st.integers(1, 14)),
        min_size=4,
        max_size=12,
    ),
    st.lists(
        st.builds(event, names | st.just("main"), moments, st.none() | names, by=st.none() | st.integers(1, 14)),
        min_size=4,
        max_size=12,
    ),
)


def arrow_of(link: Link, timeline: Timeline) -> tuple[str, int, str, int]:
    """Return between which slices an arrow is to be, and when."""
    emission, led = timeline.emissions[link.emission], timeline.executions[link.execution]
    at_ns, source = emission.at_ns, emission.event_name
    if emission.source is not None:
        emitter = timeline.executions[emission.source]
        end_ns = at_ns if emitter.end_ns is None else emitter.end_ns
        if emitter.start_ns - 1000 < at_ns < end_ns + 1000:
            at_ns, source = max(emitter.start_ns, min(at_ns, end_ns)), emitter.routine_id
    into_ns = max(at_ns, led.start_ns)
    is_inside = into_ns == led.start_ns or led.end_ns is None or into_ns < led.end_ns
    return source, at_ns, led.routine_id if is_inside else emission.event_name, into_ns


def test_the_engine_shows_every_execution_and_every_arrow_of_any_run(show: Any) -> None:
    trackers: list[ExecutionTracker] = []

    @settings(max_examples=40, database=None, derandomize=True, phases=[Phase.generate])
    @given(runs)
    def make(tracker: ExecutionTracker) -> None:
        trackers.append(tracker)

    make()  # first all, since it takes seconds to start the engine
    arrows = 0
    for tracker, shown in zip(trackers, show(trackers), strict=True):
        line = timeline(tracker)
        begin_ns = min([each.start_ns for each in line.executions] + [each.at_ns for each in line.emissions], default=0)
        assert shown.defects == []
        assert Counter((row["name"], row["ts"], row["dur"]) for row in shown.executions) == Counter(
            (each.routine_id, each.start_ns - begin_ns, -1 if each.elapsed_ns is None else each.elapsed_ns)
            for each in line.executions
        )
        assert shown.arrows() == Counter(
            (source, (at_ns - begin_ns) / 1e3, target, (into_ns - begin_ns) / 1e3)
            for source, at_ns, target, into_ns in (arrow_of(link, line) for link in line.links)
        )
        arrivals = len(shown.flows) - sum(shown.slices[row["slice_in"]]["status"] is not None for row in shown.flows)
        assert len(shown.instants) == len(line.emissions) + arrivals
        arrows += len(shown.flows)
    assert arrows > 100


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
    assert [event.get("ts") for event in trace["traceEvents"]] == [None, 0, 2, 3]
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
    _, begun, emitted, _ = to_chrome_trace(tracker)["traceEvents"]
    assert begun["args"]["params"] == {"text": "x" * 200 + "… (+799 characters)", "nan": "nan"}
    assert begun["args"]["result"] == [*range(20), "… (+79 items)"]
    assert begun["args"].keys() == {"params", "status", "result", "execution_id"}
    data = {"1": {"x": [2]}}
    assert emitted["args"] == {"source_routine_id": "a", "target_routine_id": "b", "data": data, "execution_id": 1}
    _, begun, emitted = to_chrome_trace(run([execution("a", 0, None)], [event("a", 1)]))["traceEvents"]
    assert begun["args"] == {"status": "running", "execution_id": 1}
    assert emitted["args"] == {"source_routine_id": "a"}


def test_the_export_does_not_make_the_tracker_live(tmp_path: Path) -> None:
    tracker = recorded(2)
    to_chrome_trace(tracker)
    write_chrome_trace(tracker, tmp_path / "trace.json")
    assert not tracker._live

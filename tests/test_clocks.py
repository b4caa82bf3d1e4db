"""What clocks and zones may do to a run: change its texts, and no number, no order and no path."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clock import FakeClock, local_zone, utc_s

from execution_tracker import ExecutionTracker, merge
from execution_tracker._run import START_NS, WIDTH
from execution_tracker.analysis import critical_path, event_edges

ZONES = ["Europe/Berlin", "America/New_York", "UTC"]
MOMENTS = {
    "a day in summer": utc_s(2026, 7, 1, 12),
    "end of summer time in Berlin": utc_s(2026, 10, 25, 0, 50),
    "end of summer time in New York": utc_s(2026, 11, 1, 5, 50),
    "begin of summer time in Berlin": utc_s(2026, 3, 29, 0, 50),
    "begin of summer time in New York": utc_s(2026, 3, 8, 6, 50),
}
DAY = 86_400.0


def record_an_hour(tracker: ExecutionTracker, clock: FakeClock, jump: float = 0.0) -> None:
    """Six times a, which works for five minutes and hands over to b, all in one long execution."""
    long = tracker.record_routine_start("long")
    for number in range(6):
        with tracker.track("a"):
            clock.pass_time(300, jump=jump if number == 2 else 0.0)
            done = tracker.record_event("a", "done", "b")
        clock.pass_time(200, jump=jump if number == 3 else 0.0)
        with tracker.track("b", caused_by=done):
            clock.pass_time(100)
    tracker.record_routine_end("long", execution_id=long)


def facts_of(tracker: ExecutionTracker) -> dict[str, Any]:
    """Return what does not depend on texts."""
    tracker._check()
    metrics = tracker.get_performance_metrics()
    facts = {key: value for key, value in metrics.items() if key not in ("flow_id", "bottlenecks", "routines")}
    facts |= {f"{name} {key}": value for name, routine in metrics["routines"].items() for key, value in routine.items()}
    facts["bottlenecks"] = [row["routine_id"] for row in metrics["bottlenecks"]]
    if not metrics["dropped_executions"]:
        facts["path"] = [(step["routine_id"], step["execution_id"], step["link"]) for step in critical_path(tracker)]
        facts |= {f"step {index}": step["wait_time"] for index, step in enumerate(critical_path(tracker))}
    for edge in event_edges(tracker):
        facts |= {f"edge {key}": value for key, value in edge.items() if key not in ("first", "last")}
    return facts


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, float):
            assert found[key] == pytest.approx(value, rel=1e-9, abs=5e-6), key
        else:
            assert found[key] == value, key


def deserialized(data: Any) -> ExecutionTracker:
    tracker = ExecutionTracker()
    tracker.deserialize(data)
    return tracker


def through_a_file(tracker: ExecutionTracker) -> ExecutionTracker:
    return deserialized(json.loads(json.dumps(tracker.serialize())))


def made_live(tracker: ExecutionTracker) -> ExecutionTracker:
    other = copy.copy(tracker)
    assert other.routine_executions is not None
    return other


# Whatever can become of a run before somebody looks at its numbers.
WAYS: dict[str, list[Callable[[ExecutionTracker], ExecutionTracker]]] = {
    "nothing": [],
    "copy": [copy.copy],
    "deep copy": [copy.deepcopy],
    "pickle": [lambda tracker: pickle.loads(pickle.dumps(tracker))],
    "live": [made_live],
    "merge": [lambda tracker: merge([tracker])],
    "merge of merges": [lambda tracker: merge([tracker]), lambda tracker: merge([ExecutionTracker(), tracker])],
}


def everything_that_may_become_of(tracker: ExecutionTracker) -> Iterator[tuple[str, ExecutionTracker]]:
    for name, steps in WAYS.items():
        other = tracker
        for step in steps:
            other = step(other)
        yield name, other


@pytest.fixture(scope="module")
def expected() -> dict[int | None, dict[str, Any]]:
    """The facts of the hour, on clocks that agree, in a zone without summer time."""
    found: dict[int | None, dict[str, Any]] = {}
    with pytest.MonkeyPatch.context() as patch, local_zone("UTC"):
        for max_records in (None, 0, 2):
            clock = FakeClock(patch)
            tracker = ExecutionTracker(max_records=max_records)
            record_an_hour(tracker, clock)
            found[max_records] = facts_of(tracker)
    return found


def test_the_hour_is_what_it_should_be(expected: dict[int | None, dict[str, Any]]) -> None:
    facts = expected[None]
    assert (facts["wall_time"], facts["total_execution_time"], facts["peak_concurrency"]) == (3600, 6000, 2)
    assert [routine_id for routine_id, *_ in facts["path"]] == ["a", "b"] * 6
    assert (facts["edge count"], facts["edge caused"], facts["edge inferred"]) == (6, 6, 0)
    assert facts["edge median_wait_time"] == facts["edge max_wait_time"] == 200
    assert {max_records: each["dropped_executions"] for max_records, each in expected.items()} == {None: 0, 0: 13, 2: 8}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("jump", [0.0, -0.05, 0.9, 3600.0, -5 * DAY])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("max_records", [None, 0, 2])
def test_no_clock_and_no_zone_changes_a_fact(
    monkeypatch: pytest.MonkeyPatch,
    expected: dict[int | None, dict[str, Any]],
    moment: str,
    jump: float,
    live: bool,
    max_records: int | None,
) -> None:
    for zone in ZONES[:2]:
        for tz in (None, ZoneInfo("Europe/Berlin")):
            with local_zone(zone):
                clock = FakeClock(monkeypatch, MOMENTS[moment])
                tracker = ExecutionTracker(tz=tz, max_records=max_records)
                assert not live or tracker.routine_executions == {}
                record_an_hour(tracker, clock, jump)
                made = dict(everything_that_may_become_of(tracker))
                data = {name: json.loads(json.dumps(made[name].serialize())) for name in ("nothing", "live", "merge")}
                pickled = pickle.dumps(tracker)
            for other in made.values():
                assert_same(facts_of(other), expected[max_records])
            for elsewhere in ZONES:
                with local_zone(elsewhere):
                    assert_same(facts_of(pickle.loads(pickled)), expected[max_records])
                    for each in data.values():
                        assert_same(facts_of(deserialized(each)), expected[max_records])
            with local_zone("Asia/Kolkata"):
                loaded = deserialized(data["nothing"])
                for other in (loaded, made_live(loaded), merge([loaded, ExecutionTracker()])):
                    assert_same(facts_of(through_a_file(other)), expected[max_records])


# --- steps of the wall clock ---


@pytest.mark.parametrize("jump", [-0.05, 0.999, -0.999])
@pytest.mark.parametrize("tz", [None, timezone.utc])
def test_a_small_step_does_not_show_in_the_texts(monkeypatch: pytest.MonkeyPatch, jump: float, tz: Any) -> None:
    clock = FakeClock(monkeypatch, utc_s(2026, 7, 1, 12))
    tracker = ExecutionTracker(tz=tz)
    for _ in range(2):
        with tracker.track("a"):
            clock.pass_time(1, jump=jump)
        jump = 0.0
    first, second = tracker.routine_executions["a"]
    assert first["end_time"] == second["start_time"]


@pytest.mark.parametrize("jump", [-3600, 2 * DAY, 1, -1])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("tz", [None, timezone.utc])
def test_a_large_step_shows_in_the_texts_from_the_next_start_on(
    monkeypatch: pytest.MonkeyPatch, jump: float, live: bool, tz: Any
) -> None:
    clock = FakeClock(monkeypatch, utc_s(2026, 7, 1, 12))
    tracker = ExecutionTracker(tz=tz)
    assert not live or tracker.routine_executions == {}

    def told(text: str) -> float:
        return datetime.fromisoformat(text).timestamp() - utc_s(2026, 7, 1, 12)

    with local_zone("UTC"):
        with tracker.track("a"):
            clock.pass_time(1, jump=jump)
            tracker.record_event("a", "not told yet")
        clock.pass_time(1)
        with tracker.track("b"):
            tracker.record_event("b", "told")
            clock.pass_time(1)
        for other in (tracker, through_a_file(tracker), merge([tracker]), copy.deepcopy(tracker)):
            (first,), (second,) = other.routine_executions["a"], other.routine_executions["b"]
            assert (told(first["start_time"]), told(first["end_time"])) == (0, 1)
            assert (told(second["start_time"]), told(second["end_time"])) == (2 + jump, 3 + jump)
            assert [told(event["timestamp"]) for event in other.event_flow] == [1, 2 + jump]
            assert (first["execution_time"], second["execution_time"]) == (1.0, 1.0)
            assert other.get_performance_metrics()["wall_time"] == 3.0


def test_a_run_that_is_loaded_after_a_step_goes_on_at_the_time_of_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    with local_zone("Europe/Berlin"):
        clock = FakeClock(monkeypatch, utc_s(2026, 7, 1, 12))
        tracker = ExecutionTracker()
        with tracker.track("a"):
            clock.pass_time(10, jump=-7200)
        with tracker.track("a"):
            clock.pass_time(10)
        tracker.record_routine_start("open")
        clock.pass_time(10)
        loaded = through_a_file(tracker)
        loaded.record_routine_end("open")
        clock.pass_time(10)
        with loaded.track("a"):
            clock.pass_time(10)
        for other in (loaded, through_a_file(loaded), merge([loaded])):
            metrics = other.get_performance_metrics()
            assert (metrics["wall_time"], metrics["peak_concurrency"]) == (50.0, 1)
            assert other.routine_executions["open"][0]["execution_time"] == 10.0
            assert [record["execution_time"] for record in other.routine_executions["a"]] == [10.0] * 3


@pytest.mark.parametrize("tick_ms", [1.0, 15.6])
@pytest.mark.parametrize("coarse", ["wall clock", "both clocks"])
@pytest.mark.parametrize("live", [False, True])
def test_clocks_that_tick_seldom_make_no_overlap_and_no_wrong_emitter(
    monkeypatch: pytest.MonkeyPatch, tick_ms: float, coarse: str, live: bool
) -> None:
    clock = FakeClock(monkeypatch)
    tick_ns = round(tick_ms * 10**6)

    def ticking(clock_ns: Callable[[], int]) -> Callable[[], int]:
        return lambda: clock_ns() // tick_ns * tick_ns

    monkeypatch.setattr("execution_tracker._recording.time_ns", ticking(lambda: clock.wall_ns))
    if coarse == "both clocks":
        monkeypatch.setattr("execution_tracker._recording.perf_counter_ns", ticking(lambda: clock.mono_ns))
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    for _ in range(200):
        for routine_id in ("a", "b"):
            with tracker.track(routine_id):
                clock.pass_time(0.0003)
                tracker.record_event(routine_id, "done", "a" if routine_id == "b" else "b")
            clock.pass_time(0.0001)
    for other in (tracker, through_a_file(tracker), merge([tracker]), through_a_file(merge([tracker]))):
        metrics = other.get_performance_metrics()
        assert metrics["peak_concurrency"] == 1
        assert metrics["wall_time"] == pytest.approx(0.16, abs=2 * tick_ms / 1000)
        records = [record for records in other.routine_executions.values() for record in records]
        ids = {record["execution_id"]: record["routine_id"] for record in records}
        assert [event["execution_id"] for event in other.event_flow] == list(range(1, 401))
        assert all(ids[event["execution_id"]] == event["source_routine_id"] for event in other.event_flow)


# --- the ends of summer time ---


@pytest.mark.parametrize("live", [False, True])
def test_an_execution_over_the_end_of_summer_time_takes_as_long_as_it_took(
    monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    with local_zone("Europe/Berlin"):
        clock = FakeClock(monkeypatch, utc_s(2026, 10, 25, 0, 59, 50))
        tracker = ExecutionTracker()
        assert not live or tracker.routine_executions == {}
        with tracker.track("a"):
            clock.pass_time(20)
        for other in (tracker, through_a_file(tracker), merge([through_a_file(tracker)])):
            assert other.get_performance_metrics()["wall_time"] == 20.0
            record = other.routine_executions["a"][0]
            assert record["end_time"] == "2026-10-25T03:00:10.000000"  # on the clock face of the start


@pytest.mark.parametrize("live", [False, True])
def test_executions_over_the_begin_of_summer_time_overlap_as_they_did(
    monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    with local_zone("America/New_York"):
        clock = FakeClock(monkeypatch, utc_s(2026, 3, 8, 6, 50))  # 01:50
        tracker = ExecutionTracker()
        assert not live or tracker.routine_executions == {}
        with tracker.track("long"):
            clock.pass_time(15 * 60)
            with tracker.track("other", None):
                clock.pass_time(35 * 60)
        tracker.record_execution("beside", utc_s(2026, 3, 8, 7, 5), utc_s(2026, 3, 8, 7, 10))  # 03:05
        for other in (tracker, through_a_file(tracker), merge([through_a_file(tracker)])):
            assert other.routine_executions["other"][0]["start_time"] == "2026-03-08T03:05:00.000000"
            metrics = other.get_performance_metrics()
            assert (metrics["wall_time"], metrics["peak_concurrency"]) == (3000.0, 2)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_run_in_the_winter_hour_alone_stays_where_it_was_in_its_own_zone(
    monkeypatch: pytest.MonkeyPatch, live: bool, way: str
) -> None:
    with local_zone("Europe/Berlin"):
        clock = FakeClock(monkeypatch, utc_s(2026, 10, 25, 1, 10))  # 02:10 for the second time
        early, late = ExecutionTracker(), ExecutionTracker()
        assert not live or early.routine_executions == {}
        for tracker in (early, late):
            with tracker.track("a"):
                clock.pass_time(60)
            tracker.record_event("a", "e")
            clock.pass_time(3600)
        other = dict(everything_that_may_become_of(early))[way]
        for _ in range(2):
            other = through_a_file(other)
            assert merge([late, other]).get_performance_metrics()["wall_time"] == 3720.0
        assert other.event_flow[0]["timestamp"] == "2026-10-25T02:11:00.000000"


@pytest.mark.parametrize("moment", [utc_s(2026, 10, 25, 0, 30), utc_s(2026, 10, 25, 1, 30)])
def test_events_alone_stay_where_they_were(monkeypatch: pytest.MonkeyPatch, moment: float) -> None:
    with local_zone("Europe/Berlin"):
        clock = FakeClock(monkeypatch, moment)
        tracker = ExecutionTracker()
        tracker.record_event("a", "e", "b")
        clock.pass_time(7200)
        later = through_a_file(tracker)
        with later.track("b"):
            clock.pass_time(1)
        (edge,) = event_edges(later)
        assert edge["max_wait_time"] == 7200.0


def test_ids_that_are_numbered_anew_keep_their_times(
    monkeypatch: pytest.MonkeyPatch, expected: dict[int | None, dict[str, Any]]
) -> None:
    for zone, jump in (("Europe/Berlin", 0.0), ("UTC", 3600.0)):
        for tz in (None, timezone.utc):
            with local_zone(zone):
                clock = FakeClock(monkeypatch, MOMENTS["end of summer time in Berlin"])
                tracker = ExecutionTracker(tz=tz)
                for ids in tracker._ids:
                    ids.skip(2**53 - 50)
                record_an_hour(tracker, clock, jump)
                merged = merge([tracker, ExecutionTracker()])
                for other in (merged, through_a_file(merged), through_a_file(merge([through_a_file(tracker)]))):
                    assert_same(facts_of(other), expected[None])


# --- what files of others tell ---


def test_a_file_without_ids_is_read_in_local_time_hour_by_hour() -> None:
    executions = [
        {"routine_id": "a", "start_time": f"2026-10-25T{hour:02}:30:00", "status": "running"} for hour in (1, 3)
    ]
    for zone, seconds in (("Europe/Berlin", 3 * 3600), ("UTC", 2 * 3600)):
        with local_zone(zone):
            loaded = deserialized({"routine_executions": {"a": copy.deepcopy(executions)}, "event_flow": []})
            starts = loaded._run().routines["a"].rows[START_NS::WIDTH]
            assert starts[1] - starts[0] == seconds * 10**9


def test_a_run_of_one_offset_is_read_in_the_zone_of_the_reader_with_its_durations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with local_zone("Asia/Kolkata"):
        clock = FakeClock(monkeypatch, utc_s(2026, 10, 24, 20))  # 01:30, and no change of anything
        tracker = ExecutionTracker()
        for _ in range(4):
            with tracker.track("a"):
                clock.pass_time(3600)
        data = json.loads(json.dumps(tracker.serialize()))
    assert "lifetime" not in data["performance_metrics"]
    for zone in ZONES:
        with local_zone(zone):
            metrics = deserialized(data).get_performance_metrics()
            assert (metrics["wall_time"], metrics["peak_concurrency"]) == (4 * 3600.0, 1)


def test_what_ran_elsewhere_keeps_its_times_over_a_step_and_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    with local_zone("Europe/Berlin"):
        for tz in (None, ZoneInfo("Europe/Berlin")):
            clock = FakeClock(monkeypatch, utc_s(2026, 10, 25, 0, 30))
            tracker = ExecutionTracker(tz=tz)
            for number, jump in enumerate((0, -7200, 7200, 3600)):
                clock.pass_time(600, jump=jump)
                tracker.record_routine_start("here")
                clock.pass_time(10)
                start = datetime.fromtimestamp(clock.wall_ns / 1e9, timezone.utc) - timedelta(seconds=5)
                tracker.record_execution("elsewhere", start, start + timedelta(seconds=3), params=number)
            for other in (tracker, through_a_file(tracker), merge([tracker])):
                here, elsewhere = other.routine_executions["here"], other.routine_executions["elsewhere"]
                assert [record["execution_time"] for record in elsewhere] == [3.0] * 4
                for one, two in zip(here, elsewhere, strict=True):
                    later = datetime.fromisoformat(two["start_time"]) - datetime.fromisoformat(one["start_time"])
                    assert later == timedelta(seconds=5)
                rows = {name: routine.rows for name, routine in other._run().routines.items()}
                starts = zip(rows["here"][START_NS::WIDTH], rows["elsewhere"][START_NS::WIDTH], strict=True)
                assert [two - one for one, two in starts] == [5 * 10**9] * 4


@pytest.mark.parametrize("jump", [3600, 2 * DAY])
def test_what_ran_elsewhere_before_a_step_was_noticed_is_not_in_the_future(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    clock = FakeClock(monkeypatch)
    tracker = ExecutionTracker()
    with tracker.track("here"):
        clock.pass_time(60)
    clock.pass_time(0, jump=jump)
    clock.pass_time(10)
    with tracker.track("here"):  # which notices the step
        clock.pass_time(10)
    tracker.record_execution("elsewhere", clock.wall_ns / 1e9 - 15, clock.wall_ns / 1e9 - 5)
    for other in (tracker, merge([tracker]), copy.deepcopy(tracker)):
        metrics = other.get_performance_metrics()
        assert (metrics["wall_time"], metrics["peak_concurrency"]) == (80.0, 2)


# --- times that never were ---


def test_a_start_that_is_no_time_leaves_its_record_out_of_the_wall_time_and_no_other() -> None:
    times = ["0000-00-00T00:00:00.000000", "2026-07-01T00:00:00.000000", "2026-07-01T00:01:00.000000"]
    records = [{"routine_id": "a", "start_time": text, "status": "completed", "execution_time": 30.0} for text in times]
    loaded = deserialized({"routine_executions": {"a": records}, "event_flow": []})
    metrics = loaded.get_performance_metrics()
    assert (metrics["total_executions"], metrics["total_execution_time"], metrics["wall_time"]) == (3, 90.0, 90.0)

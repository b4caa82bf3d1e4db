"""One tracker of many: everything that the parts hold, in the order of time, and the sums of what they know."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from clock import local_zone
from hypothesis import given
from hypothesis import strategies as st
from runs import TIMES

from execution_tracker import ExecutionTracker, merge
from execution_tracker._run import (
    CAUSED_BY,
    ELAPSED_NS,
    EMITTER,
    EVENT_ID,
    EVENT_RECORD,
    EVENT_WIDTH,
    EXECUTION_ID,
    PARAMS,
    PARENT_ID,
    RECORD,
    STATUS,
    WIDTH,
    emitted_ids,
)
from execution_tracker.timestamps import to_ns

Record = dict[str, Any]


def recorded(flow_id: str = "", **settings: Any) -> ExecutionTracker:
    tracker = ExecutionTracker(flow_id, **settings)
    first = tracker.record_routine_start("parse", {"path": "a.md"})
    tracker.record_routine_start("parse", {"path": "b.md"})
    tracker.record_event("parse", "parsed", "count", {"words": 3})
    tracker.record_routine_end("parse", result=3, execution_id=first)
    tracker.record_routine_end("load", "failed", error="never started")
    return tracker


def with_starts(*starts: Any, routine_id: str = "a") -> ExecutionTracker:
    tracker = ExecutionTracker()
    tracker.routine_executions = {routine_id: [{"start_time": start} for start in starts]}
    return tracker


def starts_of(tracker: ExecutionTracker, routine_id: str = "a") -> list[Any]:
    return [record.get("start_time") for record in tracker.routine_executions[routine_id]]


@pytest.fixture
def berlin() -> Iterator[None]:
    with local_zone("Europe/Berlin"):
        yield


def test_of_no_trackers_an_empty_one_is_made() -> None:
    merged = merge([], "nightly")
    assert merged.serialize() == ExecutionTracker("nightly").serialize()
    assert merge(iter([])).flow_id == ""


def test_records_of_all_come_in_the_order_of_time() -> None:
    trackers = [ExecutionTracker() for _ in range(3)]
    for number in range(12):
        tracker = trackers[number % 3]
        with tracker.track("a", {"number": number}):
            tracker.record_event("a", "e", "b", {"number": number})
    merged = merge(trackers, "all")
    assert merged.flow_id == "all"
    assert [record["params"]["number"] for record in merged.routine_executions["a"]] == list(range(12))
    assert [event["data"]["number"] for event in merged.event_flow] == list(range(12))
    merged._check()


def test_records_are_copies_and_payloads_are_the_same_objects() -> None:
    tracker = recorded()
    merged = merge([tracker])
    before = copy.deepcopy(merged.serialize())
    inputs = tracker.serialize()
    assert merged.routine_executions["parse"][0]["params"] is tracker.routine_executions["parse"][0]["params"]
    tracker.record_routine_end("parse")
    tracker.record_event("parse", "late")
    assert merged.serialize() == before
    merged.record_routine_end("parse", "failed")
    merged.record_routine_start("new")
    merged.routine_executions["parse"][0]["status"] = "changed"
    merged.event_flow[0]["data"] = "changed"
    inputs["routine_executions"]["parse"][1] |= tracker.serialize()["routine_executions"]["parse"][1]
    inputs["event_flow"].append(tracker.serialize()["event_flow"][1])
    assert tracker.serialize() == inputs


def test_merging_leaves_recording_as_cheap_as_it_was() -> None:
    tracker = recorded()
    merged = merge([tracker])
    assert not tracker._live
    assert not merged._live


def test_the_garbage_collector_rests_while_records_are_copied_but_not_while_trackers_are_awaited() -> None:
    trackers = [ExecutionTracker(), ExecutionTracker()]
    for number in range(5000):
        trackers[number % 2].record_event("a", "e", "b", number)
    collecting: list[bool] = []
    collections: list[str] = []

    def arriving() -> Iterator[ExecutionTracker]:
        for tracker in trackers:
            tracker._run()
            collecting.append(gc.isenabled())
            yield tracker
        gc.collect()
        gc.callbacks.append(note)

    def note(phase: str, _: object) -> None:
        collections.append(phase)

    try:
        merged = merge(arriving())
        assert len(collections) <= 2  # one, as soon as it may again
    finally:
        gc.callbacks.remove(note)
    assert collecting == [True, True]
    assert gc.isenabled()
    assert merged.get_performance_metrics()["total_events"] == 5000


@pytest.mark.usefixtures("many_switches")
def test_records_that_come_in_while_they_are_merged_are_taken_or_left_as_a_whole() -> None:
    tracker = ExecutionTracker()

    def record() -> None:
        for _ in range(2000):
            with tracker.track("a"):
                tracker.record_event("a", "e")

    recorder = threading.Thread(target=record)
    recorder.start()
    merged = [merge([tracker, tracker]) for _ in range(5)]
    recorder.join()
    merged.append(merge([tracker]))
    for each in merged:
        each._check()
        rows = each._run().routines["a"].rows if "a" in each._run().routines else []
        for status, elapsed_ns in zip(rows[STATUS::WIDTH], rows[ELAPSED_NS::WIDTH], strict=True):
            assert (status == "completed") == (elapsed_ns is not None)
    assert merged[-1].get_performance_metrics()["completed"] == 2000


def test_an_open_execution_stays_open_and_ends_once() -> None:
    merged = merge([recorded(), recorded()])
    assert merged.get_performance_metrics()["running"] == 2
    merged.record_routine_end("parse", "failed")
    assert [record["status"] for record in merged.routine_executions["parse"]].count("failed") == 1
    assert merged.routine_executions["parse"][-1]["execution_time"] > 0
    new = merged.record_routine_start("parse")
    merged.record_routine_end("parse", result="new", execution_id=new)
    assert merged.routine_executions["parse"][-1]["result"] == "new"
    merged.record_routine_end("parse")
    assert merged.get_performance_metrics()["running"] == 0
    assert merged.get_performance_metrics()["total_executions"] == 5
    merged._check()


def test_a_tracker_that_comes_twice_counts_twice() -> None:
    tracker = recorded()
    merged = merge([tracker, tracker])
    metrics = merged.get_performance_metrics()
    assert (metrics["total_executions"], metrics["total_events"], metrics["unmatched_ends"]) == (4, 2, 2)
    merged.record_routine_end("parse", "failed")
    assert merged.get_performance_metrics()["running"] == 1


def test_trackers_from_processes_and_files_are_merged(tmp_path: Path) -> None:
    trackers = [recorded(), recorded(tz=timezone.utc), recorded(max_records=0)]
    trackers[0].save(tmp_path / "run.json.gz")
    back = [ExecutionTracker.load(tmp_path / "run.json.gz"), *pickle.loads(pickle.dumps(trackers[1:]))]
    merged, expected = merge(back), merge(trackers)
    assert merged.serialize() == expected.serialize()
    assert merged.get_performance_metrics()["dropped_executions"] == 1


def test_a_merged_tracker_is_saved_and_loaded_with_its_lifetime(tmp_path: Path) -> None:
    merged = merge([recorded(max_records=0), recorded(max_records=0)])
    merged.save(tmp_path / "run.json")
    metrics = ExecutionTracker.load(tmp_path / "run.json").get_performance_metrics()
    assert metrics == merged.get_performance_metrics()
    assert (metrics["dropped_executions"], metrics["dropped_events"], metrics["unmatched_ends"]) == (2, 2, 2)


def test_a_part_whose_dropped_executions_have_no_times_does_not_lower_the_minimum() -> None:
    with_times, without = ExecutionTracker(max_records=0), ExecutionTracker(max_records=0)
    without.routine_executions = {"parse": [{"end_time": "?", "status": "completed"}]}
    without.record_event("parse", "e")
    with with_times.track("parse"):
        pass
    for parts in ([with_times, without], [without, with_times]):
        metrics = merge(parts).get_performance_metrics()
        assert (metrics["total_executions"], metrics["dropped_executions"]) == (2, 2)
        assert 0 < metrics["min_execution_time"] == metrics["max_execution_time"] == metrics["avg_execution_time"]


def test_subclasses_are_merged_into_a_plain_tracker() -> None:
    class Mine(ExecutionTracker):
        pass

    mine = Mine()
    mine.record_event("a", "e")
    assert type(merge(tracker for tracker in [mine])) is ExecutionTracker


@pytest.mark.parametrize(
    ("thing", "found"), [({}, "a dict"), ("run.json", "a str"), (None, "a NoneType"), (ExecutionTracker, "a type")]
)
def test_what_is_no_tracker_is_refused_with_its_place_and_what_to_do(thing: Any, found: str) -> None:
    with pytest.raises(TypeError) as caught:
        merge([ExecutionTracker(), ExecutionTracker(), thing])
    assert str(caught.value) == (
        f"trackers[2]: expected an ExecutionTracker, found {found}; load files with ExecutionTracker.load"
    )


def test_records_and_ids_of_any_sort_are_kept() -> None:
    first, second = ExecutionTracker(), ExecutionTracker()
    first.routine_executions = {("a", 1): [{}, {"start_time": []}, 5], None: "no list", "b": []}  # type: ignore[list-item, dict-item]
    second.routine_executions = {("a", 1): [{"status": ["odd"]}], 1: [{"start_time": "\ud800" * 26}]}
    second.event_flow = [{"timestamp": 5}, None]  # type: ignore[list-item]
    merged = merge([first, second])
    assert merged.routine_executions == {
        ("a", 1): [
            {"execution_id": 1},
            {"start_time": [], "execution_id": 2},
            {"status": ["odd"], "execution_id": 3},
        ],
        "b": [],
        1: [{"start_time": "\ud800" * 26, "execution_id": 4}],
    }
    assert merged.event_flow == [{"timestamp": 5, "event_id": 1}]
    json.dumps(merged.serialize())


# --- the order of time ---


@pytest.mark.usefixtures("berlin")
def test_times_are_compared_as_instants_whatever_zones_they_are_written_in() -> None:
    in_order = [
        "2026-07-01T03:30:00.000000+05:30",  # 22:00 in UTC the day before
        "2026-07-01T00:30:00.000000",  # local: 22:30
        "2026-06-30T22:45:00+00:00",
        "2026-06-30T16:00:00.000000-07:00",  # 23:00
        "2026-07-01T01:30:00",  # local: 23:30
        "2026-06-30T23:30:00.000001+00:00",
    ]
    assert sorted(in_order) != in_order
    merged = merge([with_starts(*in_order[1::2]), with_starts(*in_order[::2])])
    assert starts_of(merged) == in_order


@pytest.mark.usefixtures("berlin")
def test_times_around_a_change_of_summer_time_are_compared_as_instants() -> None:
    before, after = "2026-10-25T02:59:00.000000+02:00", "2026-10-25T02:01:00.000000+01:00"
    assert starts_of(merge([with_starts(after), with_starts(before)])) == [before, after]


def test_equal_times_stay_in_the_order_of_the_trackers_and_of_their_records() -> None:
    trackers = [ExecutionTracker() for _ in range(3)]
    for index, tracker in enumerate(trackers):
        start = f"2026-07-01T{index:02}:00:00.000000+{index:02}:00"
        tracker.routine_executions = {"a": [{"start_time": start, "params": (index, number)} for number in range(3)]}
    merged = merge(trackers)
    assert [record["params"] for record in merged.routine_executions["a"]] == [
        (i, n) for i in range(3) for n in range(3)
    ]


def test_records_without_a_readable_time_come_first() -> None:
    merged = merge([with_starts("2026-07-01T00:00:00.000000", "?"), with_starts(None, "1960-01-01T00:00:00.000000")])
    assert starts_of(merged) == ["?", None, "1960-01-01T00:00:00.000000", "2026-07-01T00:00:00.000000"]


# --- ids and links ---


def linked(name: str, max_records: int | None = None) -> ExecutionTracker:
    """A run whose params and data say which execution each link leads to."""
    tracker = ExecutionTracker(max_records=max_records)
    with tracker.track("main", {"me": f"{name} main"}):
        for number in range(3):
            with tracker.track("parse", {"me": f"{name} parse {number}", "parent": f"{name} main"}):
                event = tracker.record_event("parse", "e", "count", {"me": f"{name} event {number}"})
            with tracker.track("count", {"me": f"{name} count {number}", "parent": f"{name} main"}, caused_by=event):
                pass
    tracker.record_routine_start("late", {"me": f"{name} late"}, caused_by=[1, 3])
    return tracker


def links_of(tracker: ExecutionTracker) -> dict[str, Any]:
    """Return what each execution and event is linked to, by the names in params and data."""
    run = tracker._run()
    rows = [item for routine in run.routines.values() for item in routine.rows]
    ids = rows[EXECUTION_ID::WIDTH]
    names = dict(zip(ids, (params["me"] for params in rows[PARAMS::WIDTH]), strict=True))
    event_ids = run.events[EVENT_ID::EVENT_WIDTH]
    assert (len({*ids}), len({*event_ids})) == (len(ids), len(event_ids))
    data = [event["data"]["me"] for event in copy.copy(tracker).event_flow]
    event_names = dict(zip(event_ids, data, strict=True))
    links: dict[str, Any] = {}
    for number, parent, causes in zip(ids, rows[PARENT_ID::WIDTH], rows[CAUSED_BY::WIDTH], strict=True):
        links[names[number]] = names.get(parent), [event_names.get(cause) for cause in emitted_ids(causes)]
    emitters = run.events[EMITTER::EVENT_WIDTH]
    return links | {name: names.get(emitter) for name, emitter in zip(data, emitters, strict=True)}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_ids_are_unique_and_links_lead_where_they_led(live: bool, is_loaded: bool) -> None:
    parts = [linked("first"), linked("second"), linked("third")]
    expected = links_of(parts[0]) | links_of(parts[1]) | links_of(parts[2])
    assert expected["second count 1"] == ("second main", ["second event 1"])
    assert expected["third late"] == (None, ["third event 0", "third event 2"])
    assert expected["first event 2"] == "first parse 2"
    for part in parts:
        assert not live or part.routine_executions
    if is_loaded:
        parts = [through_a_file(part) for part in parts]
    merged = merge(parts)
    for other in (merged, merge([merge(parts[:1]), merge(parts[1:])]), merge([merged, ExecutionTracker()])):
        assert links_of(other) == expected
        assert links_of(through_a_file(other)) == expected
        assert links_of(pickle.loads(pickle.dumps(other))) == expected
        assert other.routine_executions["late"][2]["caused_by"]
        assert links_of(other) == expected
        other._check()


def through_a_file(tracker: ExecutionTracker) -> ExecutionTracker:
    back = ExecutionTracker()
    back.deserialize(json.loads(json.dumps(tracker.serialize())))
    return back


def test_a_merged_tracker_gives_out_ids_that_nobody_has() -> None:
    merged = merge([linked("first"), linked("second")])
    taken = {
        record["execution_id"] for records in merged.serialize()["routine_executions"].values() for record in records
    }
    events = {event["event_id"] for event in merged.serialize()["event_flow"]}
    for _ in range(3):
        assert merged.record_routine_start("new") not in taken
        assert merged.record_event("new", "e") not in events


def test_links_to_what_was_dropped_lead_to_nothing_else() -> None:
    bounded, other = linked("bounded", max_records=1), linked("other")
    for parts in ([bounded, other], [other, bounded], [bounded, bounded], [other, bounded, other]):
        merged = merge(parts)
        for each in (merged, through_a_file(merged)):
            links = links_of(each)
            for name in links:
                links_to = links[name] if isinstance(links[name], tuple) else (links[name], [])
                for found in (links_to[0], *links_to[1]):
                    assert found is None or found.split()[0] == name.split()[0]
    assert links_of(merged)["bounded count 2"] == ("bounded main", ["bounded event 2"])


def test_records_with_ids_of_any_sort_are_merged_without_a_link_to_a_stranger() -> None:
    odd = ExecutionTracker()
    ids = [1, 1, True, 1.0, "1", None, [], 0, -1, 2**53, 2**63, 10**400]
    records = [
        {"routine_id": "a", "params": {"me": f"odd {n}"}, "execution_id": each, "parent_id": each, "caused_by": each}
        for n, each in enumerate(ids)
    ]
    events = [
        {"event_name": "e", "data": {"me": f"odd event {n}"}, "event_id": each, "execution_id": each}
        for n, each in enumerate(ids)
    ]
    odd.deserialize({"routine_executions": {"a": records}, "event_flow": events})
    for parts in ([linked("first"), odd], [odd, linked("first")], [odd, odd]):
        for merged in (merge(parts), through_a_file(merge(parts)), through_a_file(merge([merge(parts)]))):
            links = {name: link for name, link in links_of(merged).items() if name.startswith("odd")}
            for name, link in links.items():
                for found in (link,) if not isinstance(link, tuple) else (link[0], *link[1]):
                    assert found is None or found.startswith("odd"), name
            assert links["odd 0"] == (None, ["odd event 0"])
            assert links["odd 1"] == ("odd 0", ["odd event 0"])
            assert links["odd event 0"] == links["odd event 1"] == "odd 0"
            merged._check()


@pytest.mark.parametrize("greatest", [2**53 - 1, 2**62, 2**63 - 1])
def test_ids_as_great_as_they_can_be_cost_no_link_of_others(greatest: int) -> None:
    great = ExecutionTracker()
    great.deserialize(
        {
            "routine_executions": {"a": [{"params": {"me": "great"}, "execution_id": greatest}]},
            "event_flow": [{"data": {"me": "great event"}, "event_id": greatest, "execution_id": greatest}],
        }
    )
    great.record_routine_start(
        "a", {"me": "great child"}, parent_id=great.record_routine_start("a", {"me": "great parent"})
    )
    expected = links_of(linked("first")) | {"great child": ("great parent", [])}
    for parts in ([great, linked("first"), great], [linked("first"), great]):
        for merged in (merge(parts), through_a_file(merge(parts)), through_a_file(through_a_file(merge(parts)))):
            found = links_of(merged)
            assert {name: found[name] for name in expected} == expected


def test_self_times_of_the_parts_add_up() -> None:
    parts = [linked("first"), linked("second", max_records=1), through_a_file(linked("third"))]
    expected = sum(part.get_performance_metrics()["self_execution_time"] for part in parts)
    for merged in (merge(parts), through_a_file(merge(parts)), merge([merge(parts[:2]), *parts[2:]])):
        assert merged.get_performance_metrics()["self_execution_time"] == pytest.approx(expected, abs=1e-7)


# --- the law ---


@st.composite
def trackers(draw: st.DrawFn) -> ExecutionTracker:
    """A tracker that has read a run, and dropped of it what is too much."""
    tracker = ExecutionTracker(max_records=draw(st.sampled_from([None, None, 0, 1, 3])))
    executions = draw(st.dictionaries(st.sampled_from("abc"), st.lists(execution_records(), max_size=5)))
    events = [{"timestamp": text, "data": number} for number, text in enumerate(draw(st.lists(TIMES, max_size=5)))]
    tracker.deserialize({"routine_executions": executions, "event_flow": events})
    for _ in range(draw(st.integers(0, 2))):
        tracker.record_routine_end("unknown")
    return tracker


@st.composite
def execution_records(draw: st.DrawFn) -> Record:
    record: Record = {"start_time": draw(TIMES), "params": draw(st.integers(0, 99)), "status": "running"}
    if draw(st.booleans()):
        start_ns = to_ns(record["start_time"])
        seconds = draw(st.integers(1, 10**7)) / 1000
        ended = datetime.fromtimestamp((start_ns or 0) // 10**9, timezone.utc) + timedelta(seconds=seconds)
        record["status"] = draw(st.sampled_from(["completed", "failed", "odd"]))
        record["end_time"] = ended.isoformat()
        if draw(st.integers(0, 3)):
            record["execution_time"] = seconds
    return record


SUMS = ["total_executions", "completed", "failed", "running", "total_execution_time"]
FLOW_SUMS = [*SUMS, "total_events", "dropped_executions", "dropped_events", "unmatched_ends"]


def assert_sums(found: dict[str, Any], parts: list[dict[str, Any]], sums: list[str]) -> None:
    for key in sums:
        assert found[key] == pytest.approx(sum(part[key] for part in parts), abs=1e-6), key
    assert found["status_counts"] == sum((Counter(part["status_counts"]) for part in parts), Counter())
    ended = [part for part in parts if part["avg_execution_time"]]
    assert found["min_execution_time"] == min((part["min_execution_time"] for part in ended), default=0)
    count = sum(round(part["total_execution_time"] / part["avg_execution_time"]) for part in ended)
    assert found["avg_execution_time"] == pytest.approx(found["total_execution_time"] / count if count else 0, abs=1e-9)
    assert found["max_execution_time"] == max((part["max_execution_time"] for part in ended), default=0)


def records_of(tracker: ExecutionTracker) -> tuple[dict[Any, list[Record]], list[Record]]:
    """Return the records without their ids, which are other ones in a merged tracker."""
    run = tracker._run()
    executions = {
        routine_id: [without_ids(record) for record in routine.rows[RECORD::WIDTH]]
        for routine_id, routine in run.routines.items()
    }
    return executions, [without_ids(event) for event in run.events[EVENT_RECORD::EVENT_WIDTH]]


def without_ids(record: Record) -> Record:
    return {key: value for key, value in record.items() if key not in ("execution_id", "event_id")}


@given(st.lists(trackers(), max_size=4), st.integers(0, 4))
def test_a_merged_tracker_is_the_sum_of_its_parts(parts: list[ExecutionTracker], split: int) -> None:
    before = [part.serialize() for part in parts]
    merged = merge(iter(parts))
    merged._check()
    assert [part.serialize() for part in parts] == before

    metrics, metrics_of_parts = merged.get_performance_metrics(), [part.get_performance_metrics() for part in parts]
    assert_sums(metrics, metrics_of_parts, FLOW_SUMS)
    for routine_id, routine in metrics["routines"].items():
        of_parts = [part["routines"][routine_id] for part in metrics_of_parts if routine_id in part["routines"]]
        assert_sums(routine, of_parts, SUMS)
    assert metrics["wall_time"] >= max((part["wall_time"] for part in metrics_of_parts), default=0)

    executions, events = records_of(merged)
    for routine_id, records in executions.items():
        all_of_it = [record for part in parts for record in records_of(part)[0].get(routine_id, [])]
        assert_in_order(records, all_of_it, "start_time")
    assert_in_order(events, [event for part in parts for event in records_of(part)[1]], "timestamp")

    in_two_steps = merge([merge(parts[:split]), merge(parts[split:])])
    assert in_two_steps.serialize() == merge(parts).serialize()


def assert_in_order(found: list[Record], all_of_it: list[Record], key: str) -> None:
    # sorted is stable, so this says where equal and unreadable times go, too.
    instants = {id(record): to_ns(record[key]) for record in all_of_it}
    unreadable = [record for record in all_of_it if instants[id(record)] is None]
    readable = [record for record in all_of_it if instants[id(record)] is not None]
    assert found == unreadable + sorted(readable, key=lambda record: instants[id(record)])  # type: ignore[arg-type, return-value]

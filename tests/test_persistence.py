"""Runs in files: what goes out, what comes back, what is refused, and what happens when writing fails."""

from __future__ import annotations

import copy
import datetime
import errno
import gzip
import json
import math
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker, InvalidRunError, TrackerError, files, merge
from execution_tracker.analysis import critical_path, event_edges
from execution_tracker.payloads import json_safe
from execution_tracker.persistence import Fields

SRC = str(Path(files.__file__).parent.parent)


class Hostile:
    def serialize(self) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Key(str):
    __slots__ = ()


class KindWithoutHash(type):
    def __eq__(cls, other: object) -> bool:
        return cls is other


class OfKindWithoutHash(metaclass=KindWithoutHash):
    """An object that can be a key, though its type cannot."""


def recorded(count: int = 3, **options: Any) -> ExecutionTracker:
    tracker = ExecutionTracker("nightly", **options)
    for number in range(count):
        for routine_id in ("a", "b"):
            tracker.record_routine_start(routine_id, {"path": "x.md", "n": number})
            tracker.record_event(routine_id, "done", "b", {"n": number})
            tracker.record_routine_end(routine_id, result={"words": number})
    tracker.record_routine_start("a")
    return tracker


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def refused(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InvalidRunError) as caught:
        ExecutionTracker.load(path)
    assert isinstance(caught.value, TrackerError)
    return str(caught.value)


def run_with(**fields: Any) -> dict[str, Any]:
    return {"flow_id": "f", "routine_executions": {}, "event_flow": [], "performance_metrics": {}} | fields


# --- round trips ---


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_a_saved_run_comes_back_whole(tmp_path: Path, name: str) -> None:
    tracker = recorded(200)
    tracker.get_performance_metrics()
    tracker.save(tmp_path / name)
    assert ExecutionTracker.load(tmp_path / name).serialize() == tracker.serialize()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("tracker", [ExecutionTracker(), recorded(), recorded(250), recorded(9, max_records=2)])
def test_a_file_holds_what_json_dumps_writes_for_serialize(tmp_path: Path, tracker: ExecutionTracker) -> None:
    path = tmp_path / "run.json"
    tracker.save(path)
    assert path.read_text() == json.dumps(tracker.serialize())


def test_a_path_can_be_a_text_bytes_or_a_path_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ø.json"
    for same in (path, str(path), os.fsencode(path)):
        recorded().save(same)
        assert ExecutionTracker.load(same).flow_id == "nightly"
        path.unlink()
    with pytest.raises(TypeError):
        recorded().save(5)  # type: ignore[arg-type]


def test_a_small_file_that_unpacks_to_more_than_a_run_could_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json.gz"
    path.write_bytes(gzip.compress(b" " * 60_000_000))
    with pytest.raises(InvalidRunError, match="unpacks to more than 50000000 bytes"):
        ExecutionTracker.load(path)


def test_files_from_several_zones_tell_the_same_moments(tmp_path: Path) -> None:
    hours = {"utc": 0, "kolkata": 5.5, "nome": -9}
    durations = set()
    for name, offset in hours.items():
        zone = datetime.timezone(datetime.timedelta(hours=offset))
        tracker = ExecutionTracker(name, tz=zone)
        tracker.record_routine_start("a")
        tracker.record_routine_end("a")
        record = tracker.routine_executions["a"][0]
        for key, moment in (("start_time", 1), ("end_time", 3)):
            record[key] = datetime.datetime.fromtimestamp(moment, zone).isoformat(timespec="microseconds")
        record["execution_time"] = 2.0
        tracker.save(tmp_path / name)
        loaded = ExecutionTracker.load(tmp_path / name)
        assert loaded.routine_executions == tracker.routine_executions
        durations.add(loaded.get_performance_metrics()["wall_time"])
    assert durations == {2.0}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("tz", [None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=5.5))])
@pytest.mark.parametrize("tz_of_loader", [None, datetime.timezone.utc])
def test_a_loaded_execution_ends_in_the_form_that_its_start_has(live: bool, tz: Any, tz_of_loader: Any) -> None:
    tracker = ExecutionTracker(tz=tz)
    tracker.record_routine_start("a")
    other = ExecutionTracker(tz=tz_of_loader)
    other.deserialize(tracker.serialize())
    assert not live or other.routine_executions
    other.record_routine_end("a")
    record = other.routine_executions["a"][0]
    start, end = (datetime.datetime.fromisoformat(record[key]) for key in ("start_time", "end_time"))
    assert start.utcoffset() == end.utcoffset() == (tz and tz.utcoffset(None))
    assert record["execution_time"] == pytest.approx((end - start).total_seconds(), abs=2e-6)
    assert 0 < record["execution_time"] < 60
    assert [*record][-2:] == ["execution_id", "worker"]


def test_a_name_in_gz_is_compressed_and_read_under_any_name(tmp_path: Path) -> None:
    recorded(100).save(tmp_path / "run.json.gz")
    recorded(100).save(tmp_path / "run.json")
    assert (tmp_path / "run.json.gz").stat().st_size < (tmp_path / "run.json").stat().st_size / 4
    assert json.loads(gzip.decompress((tmp_path / "run.json.gz").read_bytes()))["flow_id"] == "nightly"
    (tmp_path / "run.json.gz").rename(tmp_path / "other")
    assert ExecutionTracker.load(tmp_path / "other").flow_id == "nightly"


def test_a_subclass_loads_as_itself(tmp_path: Path) -> None:
    class Mine(ExecutionTracker):
        pass

    recorded().save(tmp_path / "run.json")
    assert type(Mine.load(tmp_path / "run.json")) is Mine


def test_a_loaded_run_goes_on(tmp_path: Path) -> None:
    recorded(1).save(tmp_path / "run.json")
    tracker = ExecutionTracker.load(tmp_path / "run.json")
    tracker.record_routine_end("a", "failed")
    assert [record["status"] for record in tracker.routine_executions["a"]] == ["completed", "failed"]
    tracker._check()


def test_ids_that_are_no_texts_keep_apart_however_long_they_are() -> None:
    tracker = ExecutionTracker()
    long = "x" * 5_000_000
    for routine_id in (1, "1", *((long, number) for number in range(15))):
        tracker.record_routine_start(routine_id, {"id": routine_id if type(routine_id) is int else 0})
    names = [*tracker.serialize()["routine_executions"]]
    assert names[:2] == ["1", "1 (2)"]
    assert [name[-4:] for name in names[2:]] == [f", {number}]"[-4:] for number in range(15)]


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_upstream_reads_what_save_wrote(tmp_path: Path, upstream_class: Any, name: str) -> None:
    tracker = recorded(5, max_records=2)
    tracker.save(tmp_path / name)
    with gzip.open(tmp_path / name) if name.endswith(".gz") else open(tmp_path / name, "rb") as file:
        upstream = upstream_class()
        upstream.deserialize(json.load(file))
    assert upstream.routine_executions == tracker.routine_executions
    assert upstream.event_flow == tracker.event_flow
    assert upstream.get_routine_performance("b")["completed"] == 2


def test_what_upstream_wrote_loads(tmp_path: Path, upstream_class: Any) -> None:
    upstream = upstream_class("old")
    upstream.record_routine_start("a", {"n": 1})
    upstream.record_event("a", "done", "b", {"n": 1})
    upstream.record_routine_end("a", result={"n": 2})
    upstream.record_routine_start("a")
    upstream.routine_executions["a"][0]["start_time"] = "2024-05-01T10:00:00"  # when the microseconds were 0
    path = tmp_path / "run.json"
    with path.open("w") as file:
        json.dump(upstream.serialize(), file)
    tracker = ExecutionTracker.load(path)
    executions, events = upstream.routine_executions["a"], upstream.event_flow
    assert tracker.routine_executions == {
        "a": [record | {"execution_id": number} for number, record in enumerate(executions, 1)]
    }
    assert tracker.event_flow == [event | {"event_id": number} for number, event in enumerate(events, 1)]
    assert tracker.flow_id == "old"
    assert tracker.get_performance_metrics()["wall_time"] > 0
    assert (tracker.record_routine_start("a"), tracker.record_event("a", "e")) == (3, 2)


def test_serilux_alone_reads_a_file(tmp_path: Path) -> None:
    script = """
import json, sys, serilux
@serilux.register_serializable
class ExecutionTracker(serilux.Serializable):
    def __init__(self):
        super().__init__()
        self.add_serializable_fields(["flow_id", "routine_executions", "event_flow", "performance_metrics"])
tracker = serilux.Serializable.deserialize_item(json.load(open(sys.argv[1])))
print(tracker.flow_id, len(tracker.routine_executions["a"]), len(tracker.event_flow))
"""
    recorded(3).save(tmp_path / "run.json")
    command = [sys.executable, "-c", script, str(tmp_path / "run.json")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["nightly", "4", "6"]


# --- payloads ---

HOSTILE = [
    Hostile(),
    {"t": (1, 2), 3: {4, 5}, None: b"x", Key("k"): Key("v"), "nan": math.nan},
    {"": "\ud800", "\udfff": 1},
    [math.inf, -math.inf, 10**5000, 2**64, -(2**64)],
    deep(100_000),
    {"when": datetime.datetime(2024, 1, 1), "code": len, "error": ValueError("x")},
    {"_type": "os.path.join", "x": {"_type": "ExecutionTracker"}},
    {"text": "x" * 5000, "n": 1.5},
    {str(number): number for number in range(1000)},
    "plain",
    7,
    OfKindWithoutHash(),
    {OfKindWithoutHash(): [OfKindWithoutHash()]},
]


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("among_plain_ones", [0, 150])
def test_whatever_was_recorded_serializes_and_saves_as_json(
    tmp_path: Path, payload: Any, among_plain_ones: int
) -> None:
    tracker = recorded(among_plain_ones)
    execution = tracker.record_routine_start(("tuple", 1), payload)
    tracker.record_routine_end(("tuple", 1), payload, payload, payload, execution_id=execution)
    tracker.record_event("a", payload, Hostile(), payload)
    tracker.record_event(payload, "e", payload, payload)
    data = tracker.serialize()
    numbers = tracker.get_performance_metrics()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    tracker.performance_metrics = {}
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    tracker.save(tmp_path / "run.json")
    assert ExecutionTracker.load(tmp_path / "run.json").serialize() == data


class Flow:
    """A payload that is saved together with the tracker that recorded it."""

    def __init__(self, tracker: ExecutionTracker) -> None:
        self.tracker = tracker

    def serialize(self) -> Any:
        return {"tracker": self.tracker.serialize()}


@pytest.mark.parametrize("payload_of", [lambda tracker: tracker, Flow, lambda tracker: [{"flow": Flow(tracker)}]])
def test_a_payload_that_leads_back_to_its_tracker_ends_there(tmp_path: Path, payload_of: Any) -> None:
    tracker, other = ExecutionTracker("nightly"), ExecutionTracker("other")
    other.record_event("b", "e", data=tracker)
    for _ in range(500):
        tracker.record_event("a", "e", data=payload_of(tracker))
    tracker.record_event("a", "e", data=other)
    data = tracker.serialize()
    assert len(data["event_flow"]) == 501
    empty = ExecutionTracker("nightly").serialize()
    assert json.dumps(data["event_flow"][0]["data"]).count(json.dumps(empty)) == 1
    assert data["event_flow"][500]["data"]["event_flow"][0]["data"] == empty
    tracker.save(tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text()) == data


def test_a_signal_handler_that_comes_in_while_a_run_is_written_gets_all_of_it() -> None:
    tracker = recorded()
    assert tracker._written(lambda _: tracker.serialize()) == tracker.serialize()
    assert not tracker._writers


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"])
keys = st.text(max_size=3) | st.integers() | st.none() | st.characters(categories=["Cs"]) | st.builds(Key)
payloads = st.recursive(
    leaves | st.binary(max_size=3) | st.builds(Hostile) | st.just(Key("x")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(st.lists(payloads, max_size=6), st.lists(st.dictionaries(keys, payloads, max_size=3), max_size=4))
@settings(max_examples=3 * settings().max_examples // 2, deadline=None)
def test_a_fast_copy_of_records_is_json_safe_and_independent(values: list[Any], edited: list[dict[Any, Any]]) -> None:
    tracker = ExecutionTracker()
    for value in values:
        tracker.record_event("a", "e", data=value)
    tracker.event_flow.extend(edited)
    data = tracker.serialize()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert "".join(files.run_text(Fields("", {}), tracker._run())) == json.dumps(data)


@pytest.mark.parametrize(
    ("plain", "odd"),
    [
        ("text", "\ud83d\ude00"),
        ("text", "é\ud800"),
        (1, 10**5000),
        (1, -(10**5000)),
        (1.5, math.nan),
        (1.5, -math.inf),
        ({"k": 1}, {"\ud83d\ude00": 1}),
        ({"k": "x"}, {"k": "\ud83d\ude00"}),
        ({"k": 1}, {Key("k"): 1}),
        (True, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_values_are_made_safe_among_many_of_their_type_as_they_would_be_alone(plain: Any, odd: Any) -> None:
    for others in (plain, odd):
        payloads = [{"value": odd if number == 250 else others} for number in range(300)]
        tracker = ExecutionTracker()
        for payload in payloads:
            tracker.record_event("a", "e", data=payload)
        events = tracker.serialize()["event_flow"]
        assert [event["data"] for event in events] == list(map(json_safe, payloads))
        assert json.loads(json.dumps(events, ensure_ascii=False).encode()) == events


def test_a_serialized_run_is_independent_of_the_tracker() -> None:
    tracker = ExecutionTracker()
    payload = {"inner": {"n": 1}, "list": [1]}
    tracker.record_event("a", "e", data=payload)
    tracker.record_event("a", "e", data={"inner": {"n": 1}, "list": [1]})
    tracker.record_event("a", "flat", data=(flat := {"inner": {"n": 1}}))
    data = tracker.serialize()
    before = copy.deepcopy(data)
    payload["inner"]["n"] = 2  # type: ignore[index]
    flat["inner"]["n"] = 2
    flat["more"] = {}
    tracker.event_flow[0]["event_name"] = "other"
    assert data == before
    data["event_flow"][2]["data"]["inner"]["n"] = 3
    assert tracker.event_flow[2]["data"]["inner"] == {"n": 2}


def test_a_payload_with_a_type_comes_back_as_the_dict_it_was(tmp_path: Path) -> None:
    payload = {"_type": "never_imported.Thing", "x": {"_type": "ExecutionTracker", "flow_id": 1}}
    tracker = ExecutionTracker()
    tracker.record_event("a", "e", data=payload)
    tracker.save(tmp_path / "run.json")
    before = set(sys.modules)
    assert ExecutionTracker.load(tmp_path / "run.json").event_flow[0]["data"] == payload
    assert "never_imported" not in set(sys.modules) - before


# --- ids and links ---


def linked(**options: Any) -> ExecutionTracker:
    """A run in which one thing led to the other."""
    tracker = ExecutionTracker("nightly", **options)
    with tracker.track("main") as main:
        for _ in range(3):
            with tracker.track("parse"):
                parsed = [tracker.record_event("parse", "parsed", "count") for _ in range(2)]
            with tracker.track("count", caused_by=parsed):
                tracker.record_event("count", "counted", execution_id=main.execution_id)
    tracker.record_routine_start("open", parent_id=main.execution_id, caused_by=parsed[0])
    tracker.record_execution("elsewhere", 1_700_000_000, 1_700_000_001, parent_id=main.execution_id, worker="machine 7")
    return tracker


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("options", [{}, {"tz": datetime.timezone.utc}, {"max_records": 2}], ids=repr)
def test_ids_links_and_workers_survive_a_file(tmp_path: Path, name: str, live: bool, options: dict[str, Any]) -> None:
    tracker = linked(**options)
    assert not live or tracker.routine_executions
    tracker.save(tmp_path / name)
    loaded = ExecutionTracker.load(tmp_path / name)
    assert loaded.serialize()["routine_executions"] == tracker.serialize()["routine_executions"]
    assert loaded.serialize()["event_flow"] == tracker.serialize()["event_flow"]
    assert loaded.routine_executions == tracker.routine_executions
    assert loaded.event_flow == tracker.event_flow
    found, expected = loaded.get_performance_metrics(), tracker.get_performance_metrics()
    for key in ("self_execution_time", "total_execution_time", "peak_concurrency", "dropped_executions"):
        assert found[key] == pytest.approx(expected[key], abs=2e-6)
    last = loaded.routine_executions["count"][-1]
    assert (last["parent_id"], last["caused_by"], last["execution_id"]) == (1, [7, 8], 7)
    assert loaded.event_flow[-1]["execution_id"] == 1
    assert loaded.routine_executions["elsewhere"][0]["worker"] == "machine 7"
    assert (loaded.record_routine_start("new"), loaded.record_event("new", "e")) == (10, 10)
    loaded.record_routine_end("open", "ended by its id", execution_id=8)
    assert loaded.routine_executions["open"][0]["status"] == "ended by its id"
    loaded._check()


def in_seconds(start: int, end: int | None = None, **facts: Any) -> dict[str, Any]:
    record = {"routine_id": "a", "start_time": f"2026-07-01T00:00:{start:02}.000000", "params": {}, "status": "running"}
    if end is None:
        return record | facts
    ended = {
        "status": "completed",
        "end_time": f"2026-07-01T00:00:{end:02}.000000",
        "execution_time": float(end - start),
    }
    return record | ended | facts


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("records", "self_times", "peak"),
    [
        ([in_seconds(0, 9, execution_id=1, parent_id=1)], 9, 1),
        ([in_seconds(0, 9, execution_id=1, parent_id=2), in_seconds(1, 8, execution_id=2, parent_id=1)], 2, 1),
        (
            [
                in_seconds(0, 9, execution_id=1, parent_id=3),
                in_seconds(1, 8, execution_id=2, parent_id=1),
                in_seconds(2, 7, execution_id=3, parent_id=2),
            ],
            4,
            1,
        ),
        ([in_seconds(0, execution_id=1, parent_id=2), in_seconds(1, execution_id=2, parent_id=1)], 0, 1),
        ([in_seconds(0, 9, execution_id=2, parent_id=5), in_seconds(5, 8, execution_id=5)], 9, 2),
        ([in_seconds(0, 9, parent_id=77), in_seconds(1, 8, parent_id=2**62), in_seconds(2, 3, parent_id=True)], 17, 3),
        ([in_seconds(0, 9, execution_id=1), in_seconds(1, 8, execution_id=1, parent_id=1)], 9, 1),
        ([in_seconds(0, 9, parent_id=[1]), in_seconds(1, 8, parent_id="1"), in_seconds(2, 4, parent_id=-1)], 18, 3),
    ],
    ids=["own parent", "two", "three", "open", "later parent", "gone", "twice", "no id"],
)
def test_parents_that_cannot_be_give_numbers_all_the_same(
    live: bool, records: list[dict[str, Any]], self_times: float, peak: int
) -> None:
    tracker = ExecutionTracker()
    tracker.deserialize(run_with(routine_executions={"a": records}))
    assert not live or tracker.routine_executions
    for each in (tracker, merge([tracker]), copy.copy(tracker)):
        numbers = each.get_performance_metrics()
        assert (numbers["self_execution_time"], numbers["peak_concurrency"]) == (self_times, peak)
        assert numbers["total_executions"] == len(records)
        assert len(critical_path(each)) <= len(records)
        each.record_routine_end("a", execution_id=each.record_routine_start("a", parent_id=1))
        each._check()
    data = tracker.serialize()
    again = ExecutionTracker()
    again.deserialize(data)
    assert again.serialize()["routine_executions"] == data["routine_executions"]


ODD_IDS = [1, 1, True, 1.0, "1", "", None, (), [], {}, math.nan, 0, -1, 2**63, 10**400, Hostile()]


@pytest.mark.parametrize("live", [False, True])
def test_each_record_has_an_id_of_its_own_whatever_was_written_there_by_hand(live: bool) -> None:
    tracker = ExecutionTracker()
    tracker.routine_executions = {
        routine_id: [{"routine_id": routine_id, "execution_id": each, "parent_id": each} for each in ODD_IDS]
        for routine_id in ("a", "b")
    }
    tracker.event_flow = [{"event_name": "e", "event_id": each, "execution_id": each} for each in ODD_IDS]
    if not live:
        tracker = copy.copy(tracker)
    for records, key in ((tracker.routine_executions["a"], "execution_id"), (tracker.event_flow, "event_id")):
        for record, odd in zip(records, ODD_IDS, strict=True):
            record[key] = odd  # once more, with the records in hand
    for count in range(2):
        data = tracker.serialize()
        records = [record for records in data["routine_executions"].values() for record in records]
        for each, key in ((records, "execution_id"), (data["event_flow"], "event_id")):
            ids = [record[key] for record in each]
            assert len({*ids}) == len(each)
            assert all(type(number) is int and 0 < number < 2**63 for number in ids)
        assert len(records) == tracker.get_performance_metrics()["total_executions"] == 2 * len(ODD_IDS) + count
        new = tracker.record_routine_start("new"), tracker.record_event("new", "e")
    assert (tracker.routine_executions["new"][1]["execution_id"], tracker.event_flow[-1]["event_id"]) == new
    tracker._check()


class Refusing:
    """A value that answers no question."""

    def refuse(self, *_: Any) -> Any:
        raise RuntimeError("no")

    __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __getitem__ = __lt__ = __gt__ = __index__ = refuse  # type: ignore[assignment]
    __repr__ = refuse


ODD_VALUES = [
    Refusing(),
    numpy.arange(3),
    True,
    None,
    math.nan,
    math.inf,
    10**400,
    "9999-12-31T23:59:59.999999",
    "0000-00-00T00:00:00.000000",
    "." * 26,
    ["."] * 26,
    b"2026-07-01T00:00:00.000000",
    {},
]
KEYS = [
    *("routine_id", "start_time", "end_time", "execution_time", "status", "params", "result", "error"),
    *("execution_id", "parent_id", "caused_by", "worker"),
    *("timestamp", "source_routine_id", "event_name", "target_routine_id", "data", "event_id"),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("max_records", [None, 1])
def test_whatever_is_written_into_a_record_by_hand_the_others_are_read(key: str, max_records: int | None) -> None:
    for odd in ODD_VALUES:
        tracker = linked(max_records=max_records)
        count = tracker.get_performance_metrics()["total_executions"]
        for records in (*tracker.routine_executions.values(), tracker.event_flow):
            records[0][key] = records[-1][key] = odd
        again = ExecutionTracker(max_records=max_records)
        again.routine_executions, again.event_flow = tracker.routine_executions, tracker.event_flow
        for each in (tracker, again):
            numbers = each.get_performance_metrics()
            assert each is again or numbers["total_executions"] == count
            assert numbers["wall_time"] >= 0
            critical_path(each), event_edges(each), merge([each, each]), copy.deepcopy(each)
            each.record_routine_end("main", execution_id=each.record_routine_start("main"))
            each.record_routine_end("main", "late")
            data = each.serialize()
            assert json.loads(json.dumps(data, allow_nan=False)) == data
            ExecutionTracker().deserialize(data)
            each._check()


def test_records_that_are_taken_out_and_put_in_again_by_hand_keep_their_ids() -> None:
    tracker = linked()
    parse = tracker.routine_executions.pop("parse")
    assert tracker.get_performance_metrics()["total_executions"] == 6
    tracker.routine_executions["parse"] = parse[1:]
    kept = [record["execution_id"] for record in parse[1:]]
    assert [record["execution_id"] for record in tracker.serialize()["routine_executions"]["parse"]] == kept
    assert [record["execution_id"] for record in merge([tracker]).routine_executions["parse"]] == kept


def test_odd_ids_of_routines_come_back_as_their_texts_and_keep_apart(tmp_path: Path) -> None:
    tracker = ExecutionTracker()
    ids = [1, "1", None, "null", (), "[]", math.nan, "nan", ("a", 1), b"x", 2.5, ""]
    for routine_id in ids:
        with tracker.track(routine_id, {"id": repr(routine_id)}):
            tracker.record_event(routine_id, "e", routine_id)
    for routine_id in (True, 1.0):  # equal to 1: the same routine
        with tracker.track(routine_id, {"id": "1"}):
            pass
    tracker.save(tmp_path / "run.json")
    loaded = ExecutionTracker.load(tmp_path / "run.json")
    assert len(loaded.routine_executions) == len(ids)
    by_name = {name: {record["params"]["id"] for record in each} for name, each in loaded.routine_executions.items()}
    assert all(len(params) == 1 for params in by_name.values())
    for each in (tracker, loaded, merge([loaded])):
        numbers = each.get_performance_metrics()
        assert (numbers["total_executions"], numbers["total_routines"]) == (len(ids) + 2, len(ids))
        assert numbers["peak_concurrency"] == 1
        assert [event["execution_id"] for event in each.event_flow] == list(range(1, len(ids) + 1))


# --- the whole life ---


@pytest.mark.parametrize("through_a_file", [True, False])
def test_numbers_of_dropped_records_survive(tmp_path: Path, through_a_file: bool) -> None:
    tracker = recorded(50, max_records=3)
    for status in (None, True, 1.5, "failed"):
        tracker.record_routine_start("odd")
        tracker.record_routine_end("odd", status)
    for _ in range(3):
        tracker.record_routine_start("odd")
        tracker.record_routine_end("odd")
    tracker.record_routine_end("unknown")
    expected = tracker.get_performance_metrics()
    assert expected["dropped_executions"] > 0
    assert expected["dropped_events"] == 97
    if through_a_file:
        tracker.save(tmp_path / "run.json")
        loaded = ExecutionTracker.load(tmp_path / "run.json")
    else:
        loaded = ExecutionTracker()
        loaded.deserialize(tracker.serialize())
    assert loaded.performance_metrics == expected
    assert loaded.serialize() == tracker.serialize()
    found = loaded.get_performance_metrics()
    for name in ("total_executions", "status_counts", "dropped_executions", "dropped_events", "unmatched_ends"):
        assert found[name] == expected[name]
    for name in ("total_execution_time", "min_execution_time", "max_execution_time", "wall_time"):
        assert found[name] == pytest.approx(expected[name], rel=1e-9, abs=2e-6)


def test_a_plain_run_has_plain_metrics() -> None:
    assert recorded().serialize()["performance_metrics"] == {}


LIKE_OURS = {"unmatched_ends": 7, "events": 7, "first_start_ns": None, "last_end_ns": None, "routines": {}}


@pytest.mark.parametrize("theirs", [3, None, {}, {"mine": 1}, [LIKE_OURS], LIKE_OURS], ids=repr)
@pytest.mark.parametrize("keys", [["lifetime"], ["lifetime", "lifetime (2)", "lifetimes"]])
@pytest.mark.parametrize("max_records", [None, 1])
def test_a_users_own_lifetime_is_kept_and_not_taken_for_ours(theirs: Any, keys: list[str], max_records: Any) -> None:
    tracker = recorded(max_records=max_records)
    tracker.performance_metrics = {"mine": 1} | dict.fromkeys(keys, theirs)
    for _ in range(2):
        expected = copy.copy(tracker).get_performance_metrics()
        again = ExecutionTracker()
        again.deserialize(json.loads(json.dumps(tracker.serialize())))
        assert again.performance_metrics == tracker.performance_metrics
        found = copy.copy(again).get_performance_metrics()
        for name in ("total_executions", "total_events", "unmatched_ends", "dropped_executions", "dropped_events"):
            assert found[name] == expected[name]
        tracker = again
        tracker.record_routine_end("unknown")


def test_another_run_brings_its_own_past() -> None:
    tracker = recorded(9, max_records=1)
    tracker.record_routine_end("unknown")
    tracker.deserialize(run_with())
    metrics = tracker.get_performance_metrics()
    assert (metrics["dropped_executions"], metrics["dropped_events"], metrics["unmatched_ends"]) == (0, 0, 0)


def test_ids_that_meet_in_one_text_keep_their_numbers_apart() -> None:
    tracker = ExecutionTracker(max_records=0)
    for routine_id in (1, "1", "1", 1, 1):
        tracker.record_routine_end(routine_id, execution_id=tracker.record_routine_start(routine_id))
    again = ExecutionTracker()
    again.deserialize(tracker.serialize())
    totals = [again.get_routine_performance(id_)["total_executions"] for id_ in again.routine_executions]  # type: ignore[index]
    assert totals == [3, 2]


def with_clock(lifetime: dict[str, Any], name: str, pairs: Any) -> dict[str, Any]:
    return lifetime | {"clock": lifetime["clock"] | {name: pairs}}


def bounded() -> ExecutionTracker:
    """A run that drops, and in which one thing runs inside another."""
    tracker = recorded(5, max_records=1)
    with tracker.track("c"), tracker.track("c"):
        pass
    return tracker


LIFETIME = bounded().serialize()["performance_metrics"]["lifetime"]
OF_A = LIFETIME["routines"]["a"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda lifetime: lifetime | {"events": -1}, "['events']"),
        (lambda lifetime: lifetime | {"events": True}, "['events']"),
        (lambda lifetime: lifetime | {"unmatched_ends": "1"}, "['unmatched_ends']"),
        (lambda lifetime: lifetime | {"first_start_ns": 1.5}, "['first_start_ns']"),
        (lambda lifetime: lifetime | {"last_end_ns": 10**301}, "['last_end_ns']"),
        (lambda lifetime: lifetime | {"routines": []}, "['routines']: expected an object, found a list"),
        (lambda lifetime: lifetime | {"routines": {"a": 1}}, "['routines']['a']: expected an object, found a number"),
        (
            lambda lifetime: lifetime | {"events": -1},
            "['events']: expected a whole number from 0 on, found -1",
        ),
        (
            lambda lifetime: lifetime | {"events": 10**5000},
            "['events']: expected a smaller number, found <int",
        ),
        (lambda lifetime: lifetime | {"first_start_ns": 10**300}, "['first_start_ns']"),
        (lambda lifetime: lifetime | {"routines": {"a": OF_A | {"ended": 99}}}, "['ended']"),
        (
            lambda lifetime: lifetime | {"routines": {"a": {key: OF_A[key] for key in OF_A if key != "ended"}}},
            "['routines']['a']: no field 'ended'",
        ),
        (lambda lifetime: lifetime | {"routines": {"a": OF_A | {"total_ns": None}}}, "['total_ns']"),
        (lambda lifetime: lifetime | {"routines": {"a": OF_A | {"total_ns": -1}}}, "['total_ns']"),
        (lambda lifetime: lifetime | {"routines": {"a": OF_A | {"self_ns": 10**300}}}, "['self_ns']"),
        (lambda lifetime: lifetime | {"routines": {"a": OF_A | {"status_counts": {}}}}, "_counts']"),
        (lambda lifetime: lifetime | {"routines": {"a": OF_A | {"status_counts": [[1]]}}}, "_counts']"),
        (lambda lifetime: lifetime | {"routines": {"a": OF_A | {"status_counts": [["x", 10**300]]}}}, "_counts']"),
        (lambda lifetime: lifetime | {"nested_ns": {}}, "['nested_ns']: expected a list, found an object"),
        (lambda lifetime: lifetime | {"nested_ns": [[1, None]]}, "['nested_ns'][0]"),
        (lambda lifetime: lifetime | {"nested_ns": [[1, 1], [2, -1]]}, "['nested_ns'][1]"),
        (lambda lifetime: lifetime | {"nested_ns": [["1", 1]]}, "['nested_ns'][0]"),
        (lambda lifetime: lifetime | {"clock": []}, "['clock']: expected an object, found a list"),
        *(
            (lambda lifetime, name=name, pairs=pairs: with_clock(lifetime, name, pairs), f"['clock'][{name!r}]")
            for name in LIFETIME["clock"]
            for pairs in ({}, None, [5], [[1]], [[1, "x"]], [[None, 1]], [[1, 10**30]], [[-1, 0]])
        ),
    ],
)
def test_a_lifetime_with_a_value_that_is_none_is_refused(change: Any, place: str) -> None:
    tracker = recorded()
    before = tracker.serialize()
    with pytest.raises(InvalidRunError) as caught:
        tracker.deserialize(run_with(performance_metrics={"lifetime": change(LIFETIME)}))
    assert str(caught.value).startswith("performance_metrics['lifetime']")
    assert place in str(caught.value)
    assert tracker.serialize() == before


# --- what is refused ---


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"routine_executions": []}, "routine_executions: expected an object, found a list"),
        ({"routine_executions": {"a": {}}}, "routine_executions['a']: expected a list, found an object"),
        (
            {"routine_executions": {"a": [{}, {}, {}, "x"]}},
            "routine_executions['a'][3]: expected an object, found a string",
        ),
        ({"event_flow": None}, "event_flow: expected a list, found null"),
        ({"event_flow": [{}, True]}, "event_flow[1]: expected an object, found a boolean"),
        ({"performance_metrics": 1.5}, "performance_metrics: expected an object, found a number"),
    ],
)
def test_an_error_names_file_and_place_and_nothing_changes(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    path = tmp_path / "run.json"
    assert refused(path, json.dumps(run_with(**fields))) == f"{path}: {message}"
    tracker = recorded()
    before, held = tracker.serialize(), tracker.routine_executions
    with pytest.raises(InvalidRunError) as caught:
        tracker.deserialize(run_with(**fields))
    assert str(caught.value) == message
    assert tracker.serialize() == before
    assert tracker.routine_executions is held


def test_data_that_is_deserialized_is_not_changed() -> None:
    data = recorded(5, max_records=1).serialize()
    before = copy.deepcopy(data)
    tracker = ExecutionTracker()
    tracker.deserialize(data)
    tracker.record_routine_end("a")
    tracker.record_routine_start("a")
    tracker.record_event("a", "e")
    assert tracker.get_performance_metrics()["running"] == 1  # what was recorded is folded now
    assert data == before


@pytest.mark.parametrize("content", ["{}", '{"_type": "Flow", "flow_id": "f"}', "[]", "3", "null", '"run"'])
def test_json_that_is_no_run_is_refused(tmp_path: Path, content: str) -> None:
    assert "run.json: the run: " in refused(tmp_path / "run.json", content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe\xfd",
        b"{" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"routine_executions": {}, "event_flow": [' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
        json.dumps(run_with())[:-1].encode(),
        (json.dumps(run_with()) + "x").encode(),
        b"\x1f\x8b",
        b"\x1f\x8b" + b"x" * 50,
        gzip.compress(json.dumps(run_with()).encode())[:-5],
        gzip.compress(json.dumps(run_with()).encode())[:-9] + b"x" * 9,
        gzip.compress(json.dumps(run_with()).encode()) + b"x",
        gzip.compress(b"{"),
        json.dumps(run_with(flow_id="é"), ensure_ascii=False).encode("latin-1"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path / "run.json", content).startswith(f"{tmp_path / 'run.json'}: ")


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python reads numbers of any length")
def test_a_number_of_too_many_digits_is_refused(tmp_path: Path) -> None:
    assert "not JSON" in refused(tmp_path / "run.json", '{"flow_id": %s}' % ("9" * 1_000_000))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_that_an_editor_saved_in_another_unicode_form_loads(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(json.dumps(run_with(flow_id="é"), ensure_ascii=False).encode(encoding))
    assert ExecutionTracker.load(path).flow_id == "é"


def test_json_beyond_the_standard_loads_as_python_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(
        '{"flow_id": 1, "flow_id": 2, "routine_executions": {}, "event_flow": [{"data": NaN}, {"x": 1e999}]}'
    )
    tracker = ExecutionTracker.load(path)
    assert tracker.flow_id == 2
    assert tracker.serialize()["event_flow"] == [{"data": "nan", "event_id": 1}, {"x": "inf", "event_id": 2}]


def test_what_the_system_refuses_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ExecutionTracker.load(tmp_path / "missing.json")
    with pytest.raises((IsADirectoryError, PermissionError)):
        ExecutionTracker.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        recorded().save(tmp_path)
    with pytest.raises(FileNotFoundError):
        recorded().save(tmp_path / "missing" / "run.json")
    with pytest.raises(OSError, match=r"run\.json"):
        recorded().save(tmp_path / "run.json" / ".." / "run.json" / "x" / "y")
    assert os.listdir(tmp_path) == []


GOOD = json.dumps(bounded().serialize()).encode()
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def is_a_tracker_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        tracker = ExecutionTracker.load(path)
    except InvalidRunError:
        return
    tracker._check()
    for each in (tracker, merge([tracker, tracker])):
        numbers = each.get_performance_metrics()
        assert (
            min(value for value in numbers.values() if type(value) in (int, float) and value is not numbers["flow_id"])
            >= 0
        )
        critical_path(each), event_edges(each)
        each.record_routine_end("a")
        data = each.serialize()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        ExecutionTracker().deserialize(data)
        each._check()


@given(st.data(), st.booleans())
@settings(
    max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_to_the_bytes_gives_a_tracker_or_the_error(
    tmp_path: Path, data: st.DataObject, packed: bool
) -> None:
    content = bytearray(gzip.compress(GOOD, mtime=0) if packed else GOOD)
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    if data.draw(st.booleans()):
        del content[first:last]
    is_a_tracker_or_refused(tmp_path / "run.json", bytes(content))


@given(st.data(), junk)
@settings(
    max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_value_in_the_place_of_another_gives_a_tracker_or_the_error(
    tmp_path: Path, data: st.DataObject, value: Any
) -> None:
    run: Any = json.loads(GOOD)
    place = run
    for _ in range(6):
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not place[key] or not isinstance(place[key], (dict, list)) or data.draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    place[key] = value
    is_a_tracker_or_refused(tmp_path / "run.json", json.dumps(run).encode())


# --- writing ---


def test_a_new_file_gets_the_rights_that_open_gives_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    usual = os.umask(0o027)
    try:
        recorded().save(tmp_path / "new.json")
        (tmp_path / "plain").touch()
    finally:
        os.umask(usual)
    assert (tmp_path / "new.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new.json").chmod(0o604)
    recorded().save(tmp_path / "new.json")
    assert stat.S_IMODE((tmp_path / "new.json").stat().st_mode) == (0o604 if os.name == "posix" else 0o666)


@pytest.mark.skipif(os.name != "posix", reason="links and devices as POSIX has them")
def test_links_are_followed_and_devices_stay_devices(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("first.json", "second.json"):
        (tmp_path / name).symlink_to(Path("real", "run.json"))
        recorded().save(tmp_path / name)  # the first dangles
        assert (tmp_path / name).is_symlink()
    assert ExecutionTracker.load(tmp_path / "real" / "run.json").flow_id == "nightly"
    assert os.listdir(tmp_path / "real") == ["run.json"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        recorded().save(tmp_path / "loop")
    (tmp_path / "null").symlink_to("/dev/null")
    recorded().save(tmp_path / "null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="this system has no /dev/fd")
def test_a_pipe_is_written_to_under_the_name_that_the_system_gives_it() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as file:
        recorded().save(f"/dev/fd/{writing}")
        os.close(writing)
        assert len(json.loads(file.read())["event_flow"]) == 6


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_keeps_its_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.touch()
    os.chown(path, 1234, 5678)
    path.chmod(0o640)
    recorded().save(path)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o640)


def test_a_file_is_saved_where_its_owner_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    path = tmp_path / "run.json"
    path.touch()
    monkeypatch.setattr(os, "chown", refuse, raising=False)
    recorded().save(path)
    assert ExecutionTracker.load(path).flow_id == "nightly"


@pytest.mark.parametrize("name", ["new/", "folder/", "folder"])
def test_the_name_of_a_folder_is_no_name_for_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=name):
        recorded().save(f"{tmp_path}/{name}")
    assert os.listdir(tmp_path) == ["folder"]


def test_the_longest_names_can_be_saved(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 127):
        recorded().save(tmp_path / name)
        assert ExecutionTracker.load(tmp_path / name).flow_id == "nightly"


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod", "write"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), KeyboardInterrupt(), SystemExit(3)])
def test_a_failure_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    path = tmp_path / "run.json"
    ExecutionTracker("old").save(path)
    if failing == "write":
        monkeypatch.setattr(files, "_write", fail)
    else:
        monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)):
        recorded().save(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["run.json"]
    assert ExecutionTracker.load(path).flow_id == "old"


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / name
    ExecutionTracker("old").save(path)
    tracker = recorded(20_000)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, usual[1]))
    try:
        with pytest.raises(OSError, match="large"):
            tracker.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.listdir(tmp_path) == [name]
    assert ExecutionTracker.load(path).flow_id == "old"


SAVING = """
import sys
from execution_tracker import ExecutionTracker
tracker = ExecutionTracker(sys.argv[2])
for number in range(int(sys.argv[3])):
    tracker.record_event("a", "e", "b", {"n": number})
print(flush=True)
for _ in range(int(sys.argv[4])):
    tracker.save(sys.argv[1])
"""


def saving(path: Path, flow_id: str, events: int, times: int) -> subprocess.Popen[bytes]:
    """Start a process that saves; return once it does."""
    command = [sys.executable, "-c", SAVING, str(path), flow_id, str(events), str(times)]
    path_variable = os.pathsep.join([SRC, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path_variable})
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_a_process_killed_while_it_saves_leaves_a_whole_file_and_the_next_save_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    ExecutionTracker("first").save(path)
    litter = 0
    for number in range(6):
        with saving(path, str(number), 20_000, 10_000) as process:
            time.sleep(random.uniform(0, 0.15))
            process.kill()
        loaded = ExecutionTracker.load(path)
        assert loaded.flow_id == "first" or len(loaded.event_flow) == 20_000
        litter += len(os.listdir(tmp_path)) - 1
        recorded().save(tmp_path / "other.json")  # which is not its business
        ExecutionTracker("first").save(path)
        assert sorted(os.listdir(tmp_path)) == ["other.json", "run.json"]
    assert litter <= 12


@pytest.mark.skipif(files.fcntl is None, reason="this system has no locks that end with their process")
def test_a_save_removes_what_nobody_writes_any_more_and_nothing_else(tmp_path: Path) -> None:
    litter, in_use, pipe = (tmp_path / f".run.json.{digit * 16}.saving" for digit in "abc")
    litter.touch()
    os.mkfifo(pipe)  # nobody would ever open its other end
    with open(in_use, "wb") as file:
        assert files._lock(file, wait=True)
        recorded().save(tmp_path / "run.json")
        assert sorted(os.listdir(tmp_path)) == [in_use.name, pipe.name, "run.json"]


@pytest.mark.skipif(files.fcntl is None, reason="this system has no locks that end with their process")
def test_a_new_file_that_another_process_takes_for_litter_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = files._lock, []

    def remove_and_lock(file: Any, wait: bool) -> bool:
        if wait and not taken:
            taken.append(file.name)
            os.unlink(file.name)
        return lock(file, wait)

    monkeypatch.setattr(files, "_lock", remove_and_lock)
    recorded().save(tmp_path / "run.json")
    assert taken
    assert os.listdir(tmp_path) == ["run.json"]


@pytest.mark.parametrize("system", ["Windows", "a file system without locks"])
def test_a_run_is_saved_where_files_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    if system == "Windows":
        monkeypatch.setattr(files, "fcntl", None)
    elif files.fcntl is not None:

        def flock(*_: Any) -> None:
            raise OSError(errno.ENOLCK, "no locks available")

        monkeypatch.setattr(files.fcntl, "flock", flock)
    path, kept = tmp_path / "run.json", tmp_path / f".run.json.{'a' * 16}.saving"
    kept.touch()  # it may be in use, as nobody can tell
    for flow_id in ("old", "new"):
        ExecutionTracker(flow_id).save(path)
        assert ExecutionTracker.load(path).flow_id == flow_id
    assert sorted(os.listdir(tmp_path)) == [kept.name, "run.json"]


def test_two_processes_can_save_to_one_path(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with saving(path, "one", 2_000, 40) as one, saving(path, "two", 2_000, 40) as two:
        while one.poll() is None or two.poll() is None:
            if path.exists():
                assert len(ExecutionTracker.load(path).event_flow) == 2_000
        assert (one.returncode, two.returncode) == (0, 0)
    assert os.listdir(tmp_path) == ["run.json"]


def test_every_end_in_a_file_has_its_start_while_others_record(tmp_path: Path) -> None:
    tracker = ExecutionTracker()
    stop = threading.Event()

    def record() -> None:
        while not stop.wait(0.0005):
            tracker.record_routine_end("a", result={"n": 1}, execution_id=tracker.record_routine_start("a", {"n": 1}))

    threads = [threading.Thread(target=record) for _ in range(3)]
    for thread in threads:
        thread.start()
    sizes = []
    try:
        for _ in range(10):
            tracker.save(tmp_path / "run.json")
            records = ExecutionTracker.load(tmp_path / "run.json").routine_executions.get("a", [])
            sizes.append(len(records))
            for record_ in records:
                assert record_["start_time"]
                ended = {"end_time", "execution_time", "result"} & record_.keys()
                assert len(ended) == (0 if record_["status"] == "running" else 3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sizes == sorted(sizes)


def test_saving_and_loading_leave_the_garbage_collector_as_it_was(tmp_path: Path) -> None:
    import gc

    usual = gc.isenabled()
    try:
        for switch in (gc.enable, gc.disable):
            switch()
            before = gc.isenabled()
            recorded().save(tmp_path / "run.json")
            ExecutionTracker.load(tmp_path / "run.json")
            assert gc.isenabled() is before
    finally:
        (gc.enable if usual else gc.disable)()


def test_records_of_a_subclass_of_dict_are_taken_over_as_plain_ones() -> None:
    tracker = ExecutionTracker()
    tracker.deserialize({"event_flow": [OrderedDict(event_name="e"), {"event_name": "f"}]})
    assert tracker.event_flow == [{"event_name": "e", "event_id": 1}, {"event_name": "f", "event_id": 2}]
    assert {type(event) for event in tracker.event_flow} == {dict}


def test_any_number_of_long_routine_ids_is_serialized() -> None:
    tracker = ExecutionTracker()
    tracker.routine_executions = {f"{number:0800}": [] for number in range(100_000)}  # more than one payload may take
    assert len(tracker.serialize()["routine_executions"]) == 100_000


def test_metrics_of_any_number_of_routines_are_written_whole() -> None:
    tracker = ExecutionTracker(("night", 1))  # type: ignore[arg-type]
    for number in range(12_000):
        for routine_id in (("x" * 2800, number), f"{number:02800}"):
            tracker.record_routine_end(routine_id, None, execution_id=tracker.record_routine_start(routine_id))
    metrics = tracker.get_performance_metrics()
    written = tracker.serialize()["performance_metrics"]
    assert written == metrics
    assert written["flow_id"] == ["night", 1]
    assert len(written["routines"]) == len(written["bottlenecks"]) == 24_000
    assert all(routine["status_counts"] == {"null": 1} for routine in written["routines"].values())
    assert {row["routine_id"] for row in written["bottlenecks"]} == {*written["routines"]}

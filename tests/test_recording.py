"""Records as engines and upstream's users know them."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy
import pytest

from execution_tracker import ExecutionTracker, snapshot
from execution_tracker._folding import ENTRY_WIDTH


class FakeClock:
    """Stands in for the wall clock and the monotonic clock, which move apart as a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_ns = 1_750_000_000 * 10**9
        self.mono_ns = 5_000
        monkeypatch.setattr("execution_tracker._recording.time_ns", lambda: self.wall_ns)
        monkeypatch.setattr("execution_tracker._recording.perf_counter_ns", lambda: self.mono_ns)

    def pass_time(self, seconds: float, *, jump: float = 0.0) -> None:
        self.wall_ns += round((seconds + jump) * 1e9)
        self.mono_ns += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    return FakeClock(monkeypatch)


def seconds_between(record: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(record[key]) for key in ("start_time", "end_time"))
    return (end - start).total_seconds()


def test_an_execution_record_has_the_contracts_keys_in_its_order() -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    (record,) = tracker.routine_executions["a"]
    assert list(record) == ["routine_id", "start_time", "params", "status", "execution_id", "worker"]
    tracker.record_routine_end("a", "failed", result=1, error="boom")
    keys = [
        *("routine_id", "start_time", "params", "status", "end_time", "result", "error", "execution_time"),
        *("execution_id", "worker"),
    ]
    assert list(record) == keys
    event = tracker.record_event("a", "done", "b")
    for live in (True, False):
        tracker = tracker if live else ExecutionTracker()
        parent = tracker.record_routine_start("a")
        event = tracker.record_event("a", "done", "b")
        tracker.record_routine_start("b", parent_id=parent, caused_by=event)
        tracker.record_routine_end("b", "failed", result=1, error="boom")
        tracker.record_routine_end("b", "late", result=2)
        assert list(tracker.routine_executions["b"][0]) == [*keys[:-1], "parent_id", "caused_by", "worker"]


def test_an_event_record_has_the_contracts_keys_in_its_order() -> None:
    tracker = ExecutionTracker()
    tracker.record_event("a", "done")
    (event,) = tracker.event_flow
    keys = ["timestamp", "source_routine_id", "event_name", "target_routine_id", "data", "event_id"]
    assert list(event) == keys
    assert (event["target_routine_id"], event["data"]) == (None, {})
    tracker.record_routine_start("a")
    tracker.record_event("a", "done")
    assert list(tracker.event_flow[1]) == [*keys, "execution_id"]


def test_result_and_error_are_kept_unless_they_are_none() -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    tracker.record_routine_end("a", result=0, error="")
    (record,) = tracker.routine_executions["a"]
    assert (record["result"], record["error"]) == (0, "")


def test_times_have_six_digits_even_on_the_full_second(clock: FakeClock) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    tracker.record_event("a", "e")
    assert tracker.routine_executions["a"][0]["start_time"].endswith(".000000")
    assert tracker.event_flow[0]["timestamp"].endswith(".000000")


@pytest.mark.parametrize("jump", [-7200.0, 0.0, 86_400.0])
def test_a_wall_clock_that_is_set_during_an_execution_does_not_change_its_time(clock: FakeClock, jump: float) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    clock.pass_time(2.5, jump=jump)
    tracker.record_routine_end("a")
    (record,) = tracker.routine_executions["a"]
    assert record["execution_time"] == 2.5
    assert seconds_between(record) == 2.5


def test_an_execution_that_takes_no_time_takes_a_nanosecond(clock: FakeClock) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    tracker.record_routine_end("a")
    assert tracker.routine_executions["a"][0]["execution_time"] == 1e-9


def test_a_late_end_takes_the_difference_of_the_wall_times(clock: FakeClock) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    clock.pass_time(1.0)
    tracker.record_routine_end("a")
    clock.pass_time(2.0)
    tracker.record_routine_end("a", "failed", error="found later")
    (record,) = tracker.routine_executions["a"]
    assert (record["status"], record["error"], record["execution_time"]) == ("failed", "found later", 3.0)


def test_a_loaded_record_that_never_ended_takes_the_difference_of_the_wall_times(clock: FakeClock) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    loaded = ExecutionTracker()
    loaded.deserialize(tracker.serialize())
    clock.pass_time(4.0)
    loaded.record_routine_end("a")
    assert loaded.routine_executions["a"][0]["execution_time"] == 4.0
    clock.pass_time(1.0, jump=-100)  # the wall clock went on as the monotonic one did, so far as anybody knows
    loaded.record_routine_end("a", "failed")
    assert loaded.routine_executions["a"][0]["execution_time"] == 5.0


def test_a_loaded_record_that_starts_in_the_future_takes_a_nanosecond(clock: FakeClock) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    clock.pass_time(0, jump=-100)
    loaded = ExecutionTracker()
    loaded.deserialize(tracker.serialize())
    loaded.record_routine_end("a")
    assert loaded.routine_executions["a"][0]["execution_time"] == 1e-9


def test_a_record_whose_start_was_edited_away_ends_without_an_execution_time() -> None:
    tracker = ExecutionTracker()
    tracker.deserialize({"routine_executions": {"a": [{"start_time": "long ago", "status": "running"}]}})
    tracker.record_routine_end("a")
    (record,) = tracker.routine_executions["a"]
    assert record["status"] == "completed"
    assert "end_time" in record
    assert "execution_time" not in record


def test_live_containers_show_every_later_call() -> None:
    tracker = ExecutionTracker()
    executions, events = tracker.routine_executions, tracker.event_flow
    tracker.record_routine_start("a")
    records = executions["a"]
    (record,) = records
    tracker.record_event("a", "e")
    tracker.record_routine_end("a")
    assert record["status"] == "completed"
    assert len(events) == 1
    assert executions is tracker.routine_executions
    assert events is tracker.event_flow


def test_assigned_containers_are_the_live_ones_from_then_on() -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("old")
    executions: dict[Any, Any] = {}
    events: list[Any] = []
    tracker.routine_executions = executions
    tracker.event_flow = events
    tracker.record_routine_start("a")
    tracker.record_event("a", "e")
    assert list(executions) == ["a"]
    assert len(events) == 1


def test_payloads_are_kept_by_reference() -> None:
    tracker = ExecutionTracker()
    params, result, data = {"n": 1}, [1], {"n": 2}
    tracker.record_routine_start("a", params)
    tracker.record_event("a", "e", None, data)
    tracker.record_routine_end("a", result=result)
    record = tracker.routine_executions["a"][0]
    assert record["params"] is params
    assert record["result"] is result
    assert tracker.event_flow[0]["data"] is data


@pytest.mark.parametrize("empty", [None, {}, [], ""])
def test_an_empty_payload_is_an_empty_dict_of_its_own(empty: Any) -> None:
    tracker = ExecutionTracker()
    for _ in range(2):
        tracker.record_routine_start("a", empty)
        tracker.record_event("a", "e", None, empty)
    first, second = tracker.routine_executions["a"]
    assert first["params"] == second["params"] == {}
    assert first["params"] is not second["params"]
    assert [event["data"] for event in tracker.event_flow] == [{}, {}]


class Hostile:
    """Raises from whatever it is asked."""

    def __init__(self, *methods: str) -> None:
        self.methods = methods

    def _refuse(self, method: str, default: Any) -> Any:
        if method in self.methods:
            raise ValueError(method)
        return default

    def __repr__(self) -> str:
        return str(self._refuse("repr", "Hostile()"))

    def __hash__(self) -> int:
        return int(self._refuse("hash", 7))

    def __eq__(self, other: object) -> bool:
        return bool(self._refuse("eq", self is other))

    def __bool__(self) -> bool:
        return bool(self._refuse("bool", True))


@pytest.mark.parametrize(
    ("routine_id", "key"),
    [
        (["a", 1], "['a', 1]"),
        ({}, "{}"),
        (Hostile("hash"), "Hostile()"),
        (Hostile("hash", "repr"), "<Hostile>"),
        (None, None),
        (7, 7),
        (("a", 1), ("a", 1)),
    ],
)
def test_any_routine_id_is_recorded_as_given_or_as_its_repr(routine_id: Any, key: Any) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start(routine_id)
    tracker.record_event(routine_id, "e", routine_id)
    tracker.record_routine_end(routine_id)
    (record,) = tracker.routine_executions[key]
    assert (record["routine_id"], record["status"]) == (key, "completed")
    assert tracker.event_flow[0]["source_routine_id"] == key
    assert tracker.event_flow[0]["target_routine_id"] == key


@pytest.mark.parametrize("live", [False, True])
def test_an_id_that_refuses_to_be_compared_is_recorded_under_its_repr(live: bool) -> None:
    class NoTruth(Hostile):
        def __eq__(self, other: object) -> Any:
            return numpy.arange(3)

        __hash__ = Hostile.__hash__

    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    for call in ("before", Hostile("eq"), Hostile("eq"), NoTruth(), "after"):
        tracker.record_routine_start(call)
        tracker.record_event(call, "e", call)
        tracker.record_routine_end(call)
    assert {key: len(records) for key, records in tracker.routine_executions.items()} == {
        "before": 1,
        "Hostile()": 3,
        "after": 1,
    }
    assert tracker.get_performance_metrics()["completed"] == 5
    assert [event.get("execution_id") for event in tracker.event_flow] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("live", [False, True])
def test_an_id_that_refuses_to_be_compared_with_some_others_costs_no_call(live: bool) -> None:
    class Choosy(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            if type(other) is Choosy and other is not self:
                raise ValueError("eq")
            return self is other

        def __hash__(self) -> int:
            return hash("a")

    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    for call in (Choosy("a"), Choosy("a"), "b"):
        tracker.record_routine_start(call)
        tracker.record_event(call, "e")
        tracker.record_routine_end(call)
    assert tracker.get_performance_metrics()["completed"] == 3
    assert len(tracker.event_flow) == 3


def test_an_id_whose_hash_changes_costs_no_call() -> None:
    class Id:
        number = 1

        def __hash__(self) -> int:
            return self.number

    tracker, routine_id = ExecutionTracker(), Id()
    assert tracker.routine_executions == {}
    execution = tracker.record_routine_start(routine_id)
    routine_id.number = 2
    tracker.record_routine_end(routine_id, execution_id=execution)
    tracker.record_event("a", "e")
    assert [record["status"] for records in tracker.routine_executions.values() for record in records] == ["completed"]
    assert len(tracker.serialize()["event_flow"]) == 1


@pytest.mark.parametrize("payload", [numpy.arange(3), Hostile("bool", "repr"), 5, "text", object()])
def test_any_payload_is_recorded(payload: Any) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a", payload)
    tracker.record_event("a", "e", "b", payload)
    tracker.record_routine_end("a", payload, payload, payload, execution_id=payload)
    record = tracker.routine_executions["a"][0]
    assert record["params"] is record["result"] is tracker.event_flow[0]["data"] is payload
    assert record["status"] is payload or record["status"] == repr(payload)  # an array cannot be counted


@pytest.mark.parametrize("payload", [0, False, 0.0, numpy.array(0), numpy.array([0.0]), range(0)])
def test_what_is_no_empty_container_is_kept_and_not_evaluated(payload: Any) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a", payload)
    tracker.record_event("a", "e", "b", payload)
    assert tracker.routine_executions["a"][0]["params"] is tracker.event_flow[0]["data"] is payload


@pytest.mark.parametrize("empty", [{}, [], "", b"", (), set(), frozenset()])
def test_an_empty_payload_is_an_empty_dict(empty: Any) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a", empty)
    tracker.record_event("a", "e", "b", empty)
    tracker.record_routine_end("a", result=empty)
    record = tracker.routine_executions["a"][0]
    assert record["params"] == tracker.event_flow[0]["data"] == {}
    assert record["result"] is empty


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("container", [dict, list])
def test_a_payload_is_empty_or_not_at_the_moment_of_the_call(container: Any, captured: bool) -> None:
    tracker, payload = ExecutionTracker(capture=(lambda value: value) if captured else None), container()
    tracker.record_routine_start("a", payload)
    tracker.record_event("a", "e", "b", payload)
    payload.update(x=1) if container is dict else payload.append(1)
    assert tracker.routine_executions["a"][0]["params"] == tracker.event_flow[0]["data"] == {}


def test_a_capture_takes_no_time_of_the_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0

    def capture(payload: Any) -> Any:
        nonlocal now_ns
        now_ns += 5 * 10**9
        return payload

    monkeypatch.setattr("execution_tracker._recording.perf_counter_ns", lambda: now_ns)
    tracker = ExecutionTracker(capture=capture)
    tracker.record_routine_start("a", {"slow": 1})
    tracker.record_routine_end("a", result={"slow": 2})
    assert tracker.routine_executions["a"][0]["execution_time"] == 1e-9


@pytest.mark.parametrize("live", [False, True])
def test_what_an_id_records_while_it_is_folded_is_seen_by_who_holds_the_records(live: bool) -> None:
    class Recording:
        asked = False

        def __hash__(self) -> int:
            if not self.asked:
                self.asked = True
                tracker.record_event(Recording() if endless else "id", "asked")
            return 1

    tracker = ExecutionTracker()
    endless = False
    events = tracker.event_flow if live else None
    tracker.record_event(Recording(), "emitted", "b")
    events = tracker.event_flow if events is None else events
    assert [event["event_name"] for event in events] == ["emitted", "asked"]
    endless = True
    tracker.record_event(Recording(), "emitted", "b")
    assert len(events) > 9
    assert len(tracker._log) == ENTRY_WIDTH  # the last of those that would go on for ever


def test_a_container_broken_by_hand_does_not_stop_recording() -> None:
    tracker = ExecutionTracker()
    tracker.routine_executions["a"] = 5  # type: ignore[assignment]
    tracker.routine_executions["b"] = [None]  # type: ignore[list-item]
    tracker.record_routine_end("a")
    tracker.record_routine_end("b")
    tracker.record_routine_start("a")
    assert tracker.routine_executions["a"][0]["status"] == "running"
    assert tracker.get_performance_metrics()["unmatched_ends"] == 2


def test_capture_is_called_on_each_payload_and_what_it_gives_is_kept() -> None:
    tracker = ExecutionTracker(capture=lambda payload: {"seen": payload})
    tracker.record_routine_start("a", {"n": 1})
    tracker.record_event("a", "e", None, {"n": 2})
    tracker.record_routine_end("a", result={"n": 3}, error="left alone")
    (record,) = tracker.routine_executions["a"]
    assert record["params"] == {"seen": {"n": 1}}
    assert record["result"] == {"seen": {"n": 3}}
    assert record["error"] == "left alone"
    assert tracker.event_flow[0]["data"] == {"seen": {"n": 2}}


def test_what_is_not_given_is_not_captured() -> None:
    tracker = ExecutionTracker(capture=lambda payload: pytest.fail("called"))
    tracker.record_routine_start("a")
    tracker.record_event("a", "e")
    tracker.record_routine_end("a")
    assert tracker.routine_executions["a"][0]["params"] == {}


@pytest.mark.parametrize(("error", "reason"), [(ValueError("no room"), "ValueError: no room"), (Hostile("repr"), "")])
def test_a_capture_that_raises_leaves_its_reason(error: Any, reason: str) -> None:
    def capture(payload: Any) -> Any:
        raise error if isinstance(error, Exception) else TypeError(error)

    tracker = ExecutionTracker(capture=capture)
    tracker.record_routine_start("a", {"n": 1})
    params = tracker.routine_executions["a"][0]["params"]
    assert params.startswith(f"<capture failed: {reason}")
    assert params.endswith(">")


def test_a_capture_may_record() -> None:
    def capture(payload: Any) -> Any:
        tracker.record_event("capture", "called")
        return payload

    tracker = ExecutionTracker(capture=capture)
    assert tracker.event_flow == []
    tracker.record_routine_start("a", {"n": 1})
    assert [event["event_name"] for event in tracker.event_flow] == ["called"]


# --- what ran elsewhere ---


def test_what_ran_elsewhere_has_the_times_that_were_taken_there(clock: FakeClock) -> None:
    tracker = ExecutionTracker(capture=lambda payload: [payload], tz=timezone.utc)
    day_s = clock.wall_ns / 1e9 - 86_400
    event = tracker.record_event("b", "done")
    assert tracker.record_execution("a", day_s, day_s + 2.5, "failed", "params", "result", "boom") == 1
    ran_later = datetime.fromtimestamp(day_s + 1, timezone.utc)
    tracker.record_execution("a", ran_later, ran_later.isoformat(), parent_id=1, caused_by=[event], worker="w-7")
    first, second = tracker.routine_executions["a"]
    tracker.record_execution("b", clock.wall_ns / 1e9, clock.wall_ns / 1e9 + 1)
    assert first == {
        "routine_id": "a",
        "start_time": "2025-06-14T15:06:40.000000+00:00",
        "params": ["params"],
        "status": "failed",
        "end_time": "2025-06-14T15:06:42.500000+00:00",
        "result": ["result"],
        "error": "boom",
        "execution_time": 2.5,
        "execution_id": 1,
    }
    assert second["execution_time"] == 1e-9  # never 0
    assert {key: second[key] for key in ("execution_id", "parent_id", "caused_by", "worker")} == {
        "execution_id": 2,
        "parent_id": 1,
        "caused_by": [event],
        "worker": "w-7",
    }
    assert list(tracker.routine_executions) == ["a", "b"]
    assert tracker.get_performance_metrics()["peak_concurrency"] == 1  # the second ran inside the first


@pytest.mark.parametrize("live", [False, True])
def test_what_ran_elsewhere_ends_nothing_else(live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    execution = tracker.record_routine_start("a")
    tracker.record_execution("a", 1e9, 1e9 + 1)
    tracker.record_routine_end("a", "failed", execution_id=execution)
    assert [record["status"] for record in tracker.routine_executions["a"]] == ["failed", "completed"]
    tracker._check()


@pytest.mark.parametrize("time", [None, "soon", float("nan"), float("inf"), 1e300, 10**400, [], True])
def test_what_ran_elsewhere_is_recorded_whatever_its_times_are(time: Any, clock: FakeClock) -> None:
    tracker = ExecutionTracker()
    tracker.record_execution("a", time, time)
    tracker.record_execution("a", time, clock.wall_ns / 1e9)
    tracker.record_execution("a", clock.wall_ns / 1e9, time)
    tracker.record_execution("a", clock.wall_ns / 1e9, clock.wall_ns / 1e9 - 5)
    assert [record["execution_time"] for record in tracker.routine_executions["a"]] == [1e-9] * 4
    assert {record["start_time"] for record in tracker.routine_executions["a"]} == {
        tracker._fold.clock.text(clock.wall_ns)
    }


# --- facts ---


@pytest.mark.parametrize("live", [False, True])
def test_an_event_comes_from_the_execution_that_is_given_or_whose_block_is_around(live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    first, second = tracker.record_routine_start("a"), tracker.record_routine_start("a")
    emitters = [first, second, first]
    tracker.record_event("a", "given", execution_id=first)
    tracker.record_event("a", "latest of this thread")
    tracker.record_routine_end("a", execution_id=second)
    tracker.record_event("a", "the only one")
    with tracker.track("a") as outer, tracker.track("b"):
        tracker.record_event("a", "the latest, as the innermost block is of another routine")
        tracker.record_event("c", "nobody")
        emitters += [outer.execution_id, None]
        with tracker.track("a") as inner:
            tracker.record_event("a", "the innermost")
            tracker.record_event("a", "given", execution_id=first)
            emitters += [inner.execution_id, first]
    assert [event.get("execution_id") for event in tracker.event_flow] == emitters


@pytest.mark.parametrize("live", [False, True])
def test_an_event_of_another_thread_comes_from_nobody_if_two_are_open(live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    execution = tracker.record_routine_start("a")

    def elsewhere(work: Any) -> None:
        thread = threading.Thread(target=work, name="elsewhere")
        thread.start()
        thread.join()

    elsewhere(lambda: tracker.record_event("a", "of the only one"))
    tracker.record_routine_start("a")
    elsewhere(lambda: tracker.record_event("a", "of one of two"))
    elsewhere(lambda: tracker.record_routine_start("b"))
    assert [event.get("execution_id") for event in tracker.event_flow] == [execution, None]
    assert [tracker.routine_executions[key][0]["worker"] for key in "ab"] == ["MainThread", "elsewhere"]


def test_nested_blocks_make_parents_and_bare_starts_do_not() -> None:
    tracker = ExecutionTracker()
    bare = tracker.record_routine_start("bare")
    with tracker.track("outer") as outer:
        with tracker.track("inner"):
            tracker.record_routine_start("leaf")
        tracker.record_routine_start("leaf")
        tracker.record_routine_start("leaf", parent_id=bare)
        with ExecutionTracker().track("of another tracker"):
            tracker.record_routine_start("leaf")
    tracker.record_routine_start("leaf")
    assert [record.get("parent_id") for record in tracker.routine_executions["leaf"]] == [3, 2, bare, 2, None]
    assert tracker.routine_executions["inner"][0]["parent_id"] == outer.execution_id == 2
    assert "parent_id" not in tracker.routine_executions["outer"][0]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("odd", [0, -1, 10**9, 2**70, True, "1", 1.0, [1], {}, (), None, numpy.int64(1), float("nan")])
def test_what_is_no_id_is_no_fact(odd: Any, live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    for _ in range(2):
        tracker.record_routine_start("a")
        tracker.record_event("a", "e", "b")
    tracker.record_routine_start("b", parent_id=odd, caused_by=odd)
    tracker.record_routine_start("b", parent_id=4, caused_by=[odd, 2, odd, 2, 1])  # its own id is not its parent's
    tracker.record_event("c", "e", execution_id=odd)
    first, second = tracker.routine_executions["b"]
    assert "parent_id" not in first
    assert first.get("caused_by", [1]) == [1]  # as a list of a single one was given
    assert "parent_id" not in second
    assert second["caused_by"] == [2, 1]
    assert "execution_id" not in tracker.event_flow[2]
    assert tracker.get_performance_metrics()["running"] == 4


def test_causes_are_those_at_the_call() -> None:
    tracker = ExecutionTracker()
    causes = [tracker.record_event("a", "e", "b") for _ in range(3000)]
    tracker.record_routine_start("b", caused_by=causes)
    tracker.record_routine_start("b", caused_by=tuple(causes))
    causes.clear()
    assert [record["caused_by"] for record in tracker.routine_executions["b"]] == [[*range(1, 3001)]] * 2


def test_a_status_that_cannot_be_counted_is_recorded_as_its_repr() -> None:
    tracker = ExecutionTracker(max_records=0)
    for status in ([1], Hostile("hash"), Hostile("eq"), numpy.arange(2), "completed"):
        tracker.record_routine_start("a")
        tracker.record_routine_end("a", status)
    assert tracker.get_performance_metrics()["status_counts"] == {
        "[1]": 1,
        "Hostile()": 2,
        "array([0, 1])": 1,
        "completed": 1,
    }


# --- clocks ---


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("step", [-0.9, -0.05, 0.5])
def test_a_small_step_of_the_wall_clock_changes_nothing(clock: FakeClock, step: float, live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    for jump in (0.0, step, 0.0):
        tracker.record_routine_start("a")
        clock.pass_time(0.25)
        tracker.record_routine_end("a")
        clock.pass_time(0.0, jump=jump)
    starts = [datetime.fromisoformat(record["start_time"]) for record in tracker.routine_executions["a"]]
    assert [(start - starts[0]).total_seconds() for start in starts] == [0.0, 0.25, 0.5]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_large_step_of_the_wall_clock_shows_in_the_texts_from_the_next_start_on_and_in_no_duration(
    clock: FakeClock, step: float, live: bool
) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    tracker.record_routine_start("a")
    clock.pass_time(1.0, jump=step)
    tracker.record_event("a", "before the next start")
    tracker.record_routine_end("a")
    clock.pass_time(1.0)
    tracker.record_routine_start("a")
    tracker.record_event("a", "after it")
    clock.pass_time(1.0)
    tracker.record_routine_end("a")
    metrics = tracker.get_performance_metrics()
    assert (metrics["wall_time"], metrics["peak_concurrency"], metrics["total_execution_time"]) == (3.0, 1, 2.0)
    first, second = tracker.routine_executions["a"]
    start = datetime.fromisoformat(first["start_time"])
    moments = [first["end_time"], second["start_time"], second["end_time"]]
    moments += [event["timestamp"] for event in tracker.event_flow]
    seconds = [(datetime.fromisoformat(moment) - start).total_seconds() for moment in moments]
    assert seconds == [1.0, 2.0 + step, 3.0 + step, 1.0, 2.0 + step]
    loaded = ExecutionTracker()
    loaded.deserialize(json.loads(json.dumps(tracker.serialize())))
    assert loaded.routine_executions == tracker.routine_executions
    assert loaded.get_performance_metrics() == metrics


def test_snapshot_keeps_what_a_payload_was_when_it_was_recorded() -> None:
    tracker = ExecutionTracker(capture=snapshot(redact="password"))
    params = {"password": "hunter2", "rows": [1]}
    tracker.record_routine_start("a", params)
    params["rows"] = [1, 2, 3]
    assert tracker.routine_executions["a"][0]["params"] == {"password": "[redacted]", "rows": [1]}


def test_with_a_zone_times_carry_its_offset(clock: FakeClock) -> None:
    tracker = ExecutionTracker(tz=ZoneInfo("Asia/Kolkata"))
    tracker.record_routine_start("a")
    clock.pass_time(1.5)
    tracker.record_routine_end("a")
    tracker.record_event("a", "e")
    (record,) = tracker.routine_executions["a"]
    assert record["start_time"].endswith("+05:30")
    assert record["end_time"] == tracker.event_flow[0]["timestamp"]
    assert seconds_between(record) == 1.5


def test_an_execution_whose_start_cannot_be_read_ends_twice_without_a_time() -> None:
    written = ExecutionTracker("nightly")
    written.record_routine_start("a")
    data = written.serialize()
    data["routine_executions"]["a"][0]["start_time"] = "at noon"
    tracker = ExecutionTracker()
    tracker.deserialize(data)
    for status in ("completed", "failed"):
        tracker.record_routine_end("a", status, execution_id=1)
        assert tracker.get_routine_performance("a")["status_counts"] == {status: 1}
    (record,) = tracker.routine_executions["a"]
    assert (record["start_time"], record["status"]) == ("at noon", "failed")
    assert "execution_time" not in record


def test_what_an_interrupted_fold_had_taken_is_released_by_the_next_though_nothing_is_new(monkeypatch: Any) -> None:
    tracker = ExecutionTracker()
    tracker.record_routine_start("a", {"large": "payload"})

    def interrupted(fold: Any, entries: Any) -> None:
        if fold.chunk:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(tracker._fold), "_fold_each", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tracker.get_flow_performance()
    assert tracker._fold.chunk != []
    assert tracker.get_flow_performance()["total_routines"] == 1
    assert tracker._fold.chunk == []

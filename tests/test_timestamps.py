"""Clock readings to texts and back."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from clock import local_zone, utc_s
from hypothesis import given
from hypothesis import strategies as st
from runs import TIMES

from execution_tracker.timestamps import (
    ClockFace,
    Offsets,
    any_to_ns,
    has_offset,
    later_text,
    quick,
    to_ns,
    to_utc_ns,
)

NANOSECONDS = st.integers(0, 4_000_000_000 * 10**9)


@pytest.fixture
def berlin() -> Iterator[None]:
    with local_zone("Europe/Berlin"):
        yield


@given(st.lists(NANOSECONDS, max_size=5))
def test_the_text_of_an_instant_is_the_local_time_that_datetime_gives(instants: list[int]) -> None:
    clock = ClockFace()
    for instant_ns in instants:
        moment = datetime.fromtimestamp(instant_ns // 10**9).replace(microsecond=instant_ns // 1000 % 10**6)
        assert clock.text(instant_ns) == moment.isoformat(timespec="microseconds")


@given(st.lists(NANOSECONDS, max_size=5), st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]))
def test_with_a_zone_the_text_is_its_time_with_the_offset(instants: list[int], name: str) -> None:
    zone = ZoneInfo(name)
    clock = ClockFace(zone)
    for instant_ns in instants:
        moment = datetime.fromtimestamp(instant_ns // 10**9, zone).replace(microsecond=instant_ns // 1000 % 10**6)
        assert clock.text(instant_ns) == moment.isoformat(timespec="microseconds")


@given(NANOSECONDS, st.integers(1, 10**14))
def test_the_end_is_the_start_plus_the_elapsed_time(start_ns: int, elapsed_ns: int) -> None:
    clock = ClockFace()
    start = datetime.fromisoformat(clock.text(start_ns))
    end = datetime.fromisoformat(clock.text_after(start_ns, elapsed_ns))
    assert abs((end - start) - timedelta(microseconds=elapsed_ns // 1000)) <= timedelta(microseconds=1)


# Changes of the offset that are not on a quarter of an hour, or not even on a full minute.
ODD_CHANGES = [
    ("Africa/Monrovia", datetime(1972, 1, 7, 0, 44, 30)),
    ("America/St_Johns", datetime(2011, 3, 13, 3, 31)),
    ("America/Goose_Bay", datetime(1987, 4, 5, 4, 1)),
    ("Antarctica/Casey", datetime(2022, 10, 1, 16, 1)),
    ("Asia/Gaza", datetime(2010, 3, 26, 22, 1)),
    ("Pacific/Guam", datetime(1976, 8, 21, 15, 1)),
    ("Pacific/Kiritimati", datetime(1979, 10, 1, 10, 40)),
]


@given(st.sampled_from(ODD_CHANGES), st.lists(st.tuples(st.integers(-1000, 1000), st.integers(0, 10**12)), max_size=20))
def test_at_an_odd_minute_the_offset_changes_as_in_datetime(
    change: tuple[str, datetime], near: list[tuple[int, int]]
) -> None:
    name, moment = change
    zone = ZoneInfo(name)
    with local_zone(name):
        local, zoned = ClockFace(), ClockFace(zone)
        for seconds, elapsed_ns in near:
            instant_ns = (round(moment.replace(tzinfo=timezone.utc).timestamp()) + seconds) * 10**9
            start = datetime.fromtimestamp(instant_ns // 10**9)
            end = start + timedelta(microseconds=elapsed_ns // 1000)
            assert local.text(instant_ns) == start.isoformat(timespec="microseconds")
            assert local.text_after(instant_ns, elapsed_ns) == end.isoformat(timespec="microseconds")
            start = datetime.fromtimestamp(instant_ns // 10**9, zone)
            end = datetime.fromtimestamp((instant_ns + elapsed_ns) // 10**9, zone)
            end = end.replace(microsecond=(instant_ns + elapsed_ns) // 1000 % 10**6)
            assert zoned.text(instant_ns) == start.isoformat(timespec="microseconds")
            assert zoned.text_after(instant_ns, elapsed_ns) == end.isoformat(timespec="microseconds")


@pytest.mark.usefixtures("berlin")
def test_an_end_after_the_change_from_summer_time_stays_on_the_clock_face_of_the_start() -> None:
    start_ns = round(datetime(2026, 10, 25, 0, 59, 59, tzinfo=timezone.utc).timestamp()) * 10**9
    clock = ClockFace()
    assert clock.text(start_ns) == "2026-10-25T02:59:59.000000"
    assert clock.text(start_ns + 2 * 10**9) == "2026-10-25T02:00:01.000000"  # the clock on the wall
    assert clock.text_after(start_ns, 2 * 10**9) == "2026-10-25T03:00:01.000000"
    assert clock.text(start_ns + 2 * 10**9) == "2026-10-25T02:00:01.000000"


def test_with_a_zone_an_end_after_the_change_has_the_offset_of_its_own_moment() -> None:
    start_ns = round(datetime(2026, 10, 25, 0, 59, 59, tzinfo=timezone.utc).timestamp()) * 10**9
    clock = ClockFace(ZoneInfo("Europe/Berlin"))
    assert clock.text(start_ns) == "2026-10-25T02:59:59.000000+02:00"
    assert clock.text_after(start_ns, 2 * 10**9) == "2026-10-25T02:00:01.000000+01:00"


@given(NANOSECONDS)
def test_a_text_with_an_offset_gives_back_its_instant_to_the_microsecond(instant_ns: int) -> None:
    assert to_ns(ClockFace(ZoneInfo("Asia/Kolkata")).text(instant_ns)) == instant_ns // 1000 * 1000


def test_a_naive_text_is_local_time() -> None:
    instant_ns = time.time_ns()
    assert to_ns(ClockFace().text(instant_ns)) == instant_ns // 1000 * 1000


def test_what_a_signal_handler_raises_is_not_taken_for_a_text_that_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(datetime):
        def timestamp(self) -> float:
            raise error

    monkeypatch.setattr("datetime.datetime", Interrupted)
    error: OSError = TimeoutError("out of a signal handler")
    with pytest.raises(TimeoutError):
        to_ns("2026-01-01")
    error = OSError(22, "the system knows no such local time")
    assert to_ns("2026-01-01") is None


@pytest.mark.parametrize("text", [None, 5, "", "yesterday", "2026-13-01T00:00:00", b"2026-01-01", [], "0001-01-01"])
def test_what_is_no_time_gives_none(text: object) -> None:
    assert to_ns(text) is None or text == "0001-01-01"


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.999999", "9999-12-31T00:00:01+00:00"])
def test_a_time_so_late_that_some_zone_is_in_the_year_10000_is_none(text: str) -> None:
    assert to_ns(text) is None
    assert ClockFace(timezone(timedelta(hours=23, minutes=59))).text(to_ns("9999-12-30T23:59:59+00:00") or 0)


@pytest.mark.parametrize("read", [to_ns, to_utc_ns])
@given(times=st.lists(TIMES, max_size=20))
def test_the_quick_reading_of_times_is_the_slow_one(read: Callable[[object], int | None], times: list[Any]) -> None:
    assert list(map(quick(read), times)) == list(map(read, times))


# --- times of every form ---


@given(NANOSECONDS, st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]))
def test_the_face_of_a_naive_time_is_the_same_in_every_zone(instant_ns: int, name: str) -> None:
    text = ClockFace(timezone.utc).text(instant_ns).removesuffix("+00:00")
    with local_zone(name):
        assert to_utc_ns(text) == instant_ns // 1000 * 1000
        assert to_utc_ns(ClockFace(ZoneInfo(name)).text(instant_ns)) == to_ns(ClockFace(timezone.utc).text(instant_ns))


@given(TIMES)
def test_a_time_has_an_offset_where_datetime_finds_one(text: Any) -> None:
    try:
        expected = datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return
    assert has_offset(text) is expected


@pytest.mark.parametrize(
    ("time", "instant_ns"),
    [
        (1.5, 1_500_000_000),
        (-2, -2_000_000_000),
        (datetime(1970, 1, 1, 0, 0, 1, 500_000, timezone.utc), 1_500_000_000),
        ("1970-01-01T00:00:01.500000+00:00", 1_500_000_000),
        (pd.Timestamp(1_500_000_000, tz="UTC"), 1_500_000_000),
        *((odd, None) for odd in (True, None, "soon", "", b"1970-01-01", [], object(), 1e300, math.nan, math.inf)),
        (10**400, None),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc), None),
    ],
    ids=repr,
)
def test_a_time_is_seconds_a_datetime_or_a_text_and_whatever_else_is_none(time: Any, instant_ns: int | None) -> None:
    assert any_to_ns(time) == instant_ns


@given(TIMES, st.integers(1, 10**14))
def test_a_later_time_has_the_form_of_the_earlier_one(text: Any, elapsed_ns: int) -> None:
    later = later_text(text, elapsed_ns)
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        assert later is None
        return
    assert later is not None
    assert later[19] == "."
    assert datetime.fromisoformat(later) - moment == timedelta(microseconds=elapsed_ns // 1000)
    assert datetime.fromisoformat(later).utcoffset() == moment.utcoffset()


def test_what_comes_after_the_year_9999_is_no_time() -> None:
    assert later_text("9999-12-31T23:59:59.999999", 10**9) is None


# --- a wall clock that was set ---

STEPS = st.lists(st.tuples(st.integers(1, 10**12), st.integers(-(10**11), 10**11)), max_size=4)  # in microseconds


def with_steps(steps: list[tuple[int, int]], tz: Any = None) -> ClockFace:
    begin = 1_750_000_000 * 10**9
    return ClockFace(tz, tuple(sorted({begin + since * 1000: step * 1000 for since, step in steps}.items())))


@given(STEPS, st.lists(st.integers(0, 2 * 10**15), max_size=8), st.sampled_from([None, timezone.utc]))
def test_the_texts_tell_what_the_wall_clock_told(steps: list[tuple[int, int]], after: list[int], tz: Any) -> None:
    clock, plain = with_steps(steps, tz), ClockFace(tz)
    for rest_ns in after:
        instant_ns = 1_750_000_000 * 10**9 + rest_ns
        step_ns = next((step for since, step in reversed(clock.steps) if since <= instant_ns), 0)
        assert clock.step_at(instant_ns) == step_ns
        assert clock.text(instant_ns) == plain.text(instant_ns + step_ns)
        assert clock.text_after(instant_ns, rest_ns) == plain.text_after(instant_ns + step_ns, rest_ns)
        assert pickle.loads(pickle.dumps(clock)).text(instant_ns) == clock.copy().text(instant_ns)
        assert clock.text(clock.instant_at(instant_ns + step_ns)) == clock.text(instant_ns)


def test_a_step_holds_until_the_next_one() -> None:
    second, hour = 10**9, 3600 * 10**9
    clock = ClockFace(None, ((100 * second, -hour), (110 * second, 0), (200 * second, hour)))
    assert clock.instant_at(95 * second) == 95 * second
    assert clock.instant_at(105 * second - hour) == 105 * second
    assert clock.instant_at(150 * second) == 150 * second
    assert clock.instant_at(205 * second + hour) == 205 * second
    assert clock.instant_at(195 * second + hour) == 195 * second  # which the clock never showed


@given(STEPS, st.lists(st.integers(0, 2 * 10**15), max_size=8), st.sampled_from(["Europe/Berlin", "America/St_Johns"]))
def test_a_text_less_its_offset_is_the_instant(steps: list[tuple[int, int]], after: list[int], name: str) -> None:
    with local_zone(name):
        for tz in (None, ZoneInfo(name)):
            clock = with_steps(steps, tz)
            for rest_ns in after:
                instant_ns = 1_790_000_000 * 10**9 + rest_ns  # summer time ends in between
                face_ns = to_utc_ns(clock.text(instant_ns))
                assert clock.written_offset(instant_ns) == clock.offset_at(instant_ns)
                assert face_ns is not None
                assert abs(face_ns - clock.offset_at(instant_ns) - instant_ns) < 1000


def test_one_offset_holds_unless_the_clock_was_set_or_summer_time_began_or_ended() -> None:
    hour = 3600 * 10**9
    with local_zone("Europe/Berlin"):
        change = round(utc_s(2026, 10, 25, 1)) * 10**9
        assert ClockFace().only_offset(change - hour, change - 1) == 2 * hour
        assert ClockFace().only_offset(change, change + 90 * 24 * hour) == hour
        assert ClockFace().only_offset(change - hour, change) is None
        assert ClockFace().only_offset(change - hour, change + 365 * 24 * hour) is None
        assert ClockFace().only_offset(0, 10**10 * 10**9) is None  # so long that it is not looked at
        assert ClockFace(ZoneInfo("Europe/Berlin")).only_offset(change - hour, change) == 0
        assert ClockFace(None, ((change, hour),)).only_offset(change - hour, change + hour) is None


# --- what is known of texts by their ids ---

NOTES = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([None, 0, 1, 2]), st.booleans()), max_size=12)


@given(NOTES)
def test_the_offset_that_was_noted_last_for_an_id_is_known_for_it(notes: list[tuple[int, int | None, bool]]) -> None:
    offsets = Offsets()
    known: dict[tuple[int, bool], int | None] = {}
    for number, offset_ns, is_aware in notes:
        offsets.note(number, offset_ns, is_aware)
        known[number, is_aware] = offset_ns
        for (each, kind), expected in known.items():
            assert offsets.at(each, kind) == expected
    for is_aware in (False, True):
        numbers = [number for number, _ in offsets.pairs(is_aware)]
        assert numbers == sorted({*numbers})


@given(NOTES, NOTES)
def test_what_is_known_of_two_runs_is_known_of_both_as_one(
    first: list[tuple[int, int | None, bool]], second: list[tuple[int, int | None, bool]]
) -> None:
    one, other, both = Offsets(), Offsets(), Offsets()
    for offsets, notes, base in ((one, first, 0), (other, second, 20)):
        for number, offset_ns, is_aware in notes:
            offsets.note(number + base, offset_ns, is_aware)
        both.extend(offsets, base + 1)
    for number in range(1, 33):
        for is_aware in (False, True):
            assert both.at(number, is_aware) == (one if number < 21 else other).at(number, is_aware)


@pytest.mark.parametrize("text", ["2026-01-01T00:00:6x", "2026-01-01 00:00:60"])
def test_what_is_no_text_of_a_leap_second_cannot_be_read(text: str) -> None:
    assert to_utc_ns(text) is None

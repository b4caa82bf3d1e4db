"""Clock readings to texts and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import TIMES

from execution_tracker.timestamps import ClockFace, instant_reader, to_ns

NANOSECONDS = st.integers(0, 4_000_000_000 * 10**9)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


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


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ODD_CHANGES), st.lists(st.tuples(st.integers(-1000, 1000), st.integers(0, 10**12)), max_size=20))
def test_at_an_odd_minute_the_offset_changes_as_in_datetime(
    local_zone: Callable[[str], None], change: tuple[str, datetime], near: list[tuple[int, int]]
) -> None:
    name, moment = change
    local_zone(name)
    zone = ZoneInfo(name)
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


@given(st.lists(TIMES, max_size=20))
def test_the_quick_reading_of_times_is_that_of_to_ns(times: list[Any]) -> None:
    assert list(map(instant_reader(), times)) == list(map(to_ns, times))

"""How durations, rates, counts and texts from outside are written, at every magnitude."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_tracker.report import _units as units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1e-10, "0 ns"),
        (1e-7, "100 ns"),
        (9.996e-7, "1.0 µs"),
        (99.94e-6, "99.9 µs"),
        (99.96e-6, "100 µs"),
        (999.4e-6, "999 µs"),
        (999.6e-6, "1.0 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (125.4, "2 min 5 s"),
        (3599.6, "1 h"),
        (86_399, "1 d"),
        (3 * 86_400 + 7_300, "3 d 2 h"),
        (400 * 86_400, "400 d"),
        (1e300, "1e+295 d"),
        (-0.5, "-500 ms"),
        (float("nan"), "-"),
        (float("inf"), "-"),
        (10**400, "-"),
        (True, "-"),
        (None, "-"),
        ("3", "-"),
    ],
)
def test_a_duration_reads_well_at_every_magnitude(seconds: Any, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "text"), [(0, "0%"), (1e-9, "<1%"), (0.0099, "<1%"), (0.01, "1%"), (0.994, "99%"), (1, "100%")]
)
def test_a_percentage_is_zero_only_if_the_part_is(part: float, text: str) -> None:
    assert units.percentage(part) == text


def test_spaces_that_do_not_break_a_line_are_plain_ones() -> None:
    assert units.name_of("a\u00a0b\u202fc\u3000d\u200de") == "a b c de"


@given(st.floats(1e-9, 1e9))
def test_a_duration_takes_eleven_characters_at_most(seconds: float) -> None:
    text = units.duration(seconds)
    assert len(text) <= 11
    assert not re.search(r"\b(1000 (ns|µs|ms)|60 min|24 h|60(\.0)? s)\b", text)


@given(st.text())
def test_a_printable_text_is_one_line_and_bounded(text: str) -> None:
    shown = units.printable(text, 50)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert len(shown) <= 50 * len("\\U0010ffff")
    if text.isprintable() and len(text) <= 50:
        assert shown == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0, "-"), (1e9, "1,000,000,000/s"), (99.94, "99.9/s"), (99.96, "100/s"), (0.5, "30.0/min"), (1e-3, "3.6/h")],
)
def test_a_rate_is_told_in_the_unit_that_makes_it_one_or_more(per_second: float, text: str) -> None:
    assert units.rate(per_second) == text


def test_of_many_things_the_first_are_named_and_the_rest_counted() -> None:
    assert units.some([*"abcde"]) == "a, b, c, d, e"
    assert units.some([*"abcdefg"]) == "a, b, c, d, e, 2 more"

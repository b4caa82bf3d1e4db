"""How the reports write durations, rates, counts, and names and texts from outside; ``units.js`` writes them alike."""

from __future__ import annotations

from math import isfinite
from typing import Any

from execution_tracker import _timeline
from execution_tracker.payloads import json_safe
from execution_tracker.timestamps import SECOND_NS

UNKNOWN = "-"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


# --- numbers ---


def duration(seconds: Any) -> str:
    """Return a time as a person would say it.

    >>> [duration(seconds) for seconds in (1e-7, 0.00123, 3.4, 125, 3 * 86400 + 7200, "soon")]
    ['100 ns', '1.2 ms', '3.4 s', '2 min 5 s', '3 d 2 h', '-']
    """
    try:
        seconds = float(seconds) if type(seconds) in (float, int) else float("nan")
    except OverflowError:
        return UNKNOWN
    if not isfinite(seconds):
        return UNKNOWN
    if seconds < 0:  # edited by hand
        return f"-{duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        if (whole := round(seconds * 1e9)) < 1000:
            return f"{whole} ns"
        for factor, unit in ((1e6, "µs"), (1e3, "ms")):
            if round(seconds * factor) < 1000:
                return f"{_three_digits(seconds * factor)} {unit}"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    if (whole := round(seconds)) < _HOUR:
        return _two_units(whole, _MINUTE, "min", "s")
    if (whole := round(seconds / _MINUTE)) * _MINUTE < _DAY:
        return _two_units(whole, 60, "h", "min")
    days = seconds / _DAY
    if days >= 100:
        return f"{days:,.0f} d" if days < 1e6 else f"{days:.0e} d"
    return _two_units(round(seconds / _HOUR), 24, "d", "h")


def duration_of(time_ns: int) -> str:
    """Return a time in nanoseconds as :func:`duration` does one in seconds."""
    return duration(time_ns / SECOND_NS)


def _three_digits(value: float) -> str:
    return f"{value:.1f}" if round(value, 1) < 100 else f"{value:.0f}"


def _two_units(whole: int, size: int, unit: str, smaller: str) -> str:
    large, small = divmod(whole, size)
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"


def rate(per_second: float) -> str:
    """Return how often something happens, in the unit that makes it a number to read.

    >>> rate(1234.5), rate(0.25), rate(0.0)
    ('1,234/s', '15.0/min', '-')
    """
    for factor, unit in ((1, "s"), (60, "min"), (_HOUR, "h"), (_DAY, "d")):
        if per_second * factor >= 1:
            per_unit = per_second * factor
            return f"{per_unit:.1f}/{unit}" if round(per_unit, 1) < 100 else f"{per_unit:,.0f}/{unit}"
    return UNKNOWN


def percentage(part: float) -> str:
    """Return a fraction as a percentage that is zero only if the fraction is.

    >>> percentage(0.625), percentage(0.0004), percentage(0.0)
    ('62%', '<1%', '0%')
    """
    return "<1%" if 0 < part < 0.01 else f"{part:.0%}"


def times(ratio: float) -> str:
    """Return a ratio of two times.

    >>> times(0.5), times(1234.5)
    ('0.50x', '1,234x')
    """
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:,.0f}x" if ratio < 1e7 else f"{ratio:.0e}x"


def counted(count: int, thing: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "execution"), counted(1200, "execution")
    ('1 execution', '1,200 executions')
    """
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def some(things: list[str]) -> str:
    """Return the first things of a list, and how many more there are.

    >>> some(["a", "b"]), some(["a"] * 7)
    ('a, b', 'a, a, a, a, a, 2 more')
    """
    return ", ".join([*things[:5], *([f"{len(things) - 5:,} more"] if len(things) > 5 else [])])


# --- texts from outside ---


def printable(text: str, limit: int = 200) -> str:
    r"""Return a text on one line, without a character that moves the cursor or turns the direction of reading.

    >>> print(printable("two\nlines \x1b[31m"))
    two\nlines \x1b[31m
    """
    if len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-(limit - limit // 2 - 1) :]}"
    if text.isprintable():
        return text
    return "".join(map(_harmless, text))


def _harmless(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\u200c\u200d":  # joiners: terminals, and rich, do not agree on how wide the joined are
        return ""
    if character in "\u00a0\u202f\u3000":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def name_of(routine_id: Any, limit: int = 200) -> str:
    """Return the text that a file has for the id of a routine, or for the name of an event, to print.

    >>> name_of("parse"), name_of(5), name_of(" ")
    ('parse', '5', '(no name)')
    """
    name = _timeline.name_of(routine_id)
    return printable(name, limit) if name.strip() else "(no name)"


def whole_text(value: Any) -> str:
    """Return any value as a text, an empty one for None."""
    return value if type(value) is str else "" if value is None else str(json_safe(value))


def text_of(value: Any, limit: int = 200) -> str:
    """Return any value as a text on one line, its spaces and newlines as single spaces, to print."""
    return printable(" ".join(whole_text(value)[:10_000].split()), limit)

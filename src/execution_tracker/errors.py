"""What can go wrong, as one tree of exceptions, and how a message says what was found instead."""

from __future__ import annotations

from typing import Any

from execution_tracker.descriptions import described

_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


class TrackerError(Exception):
    """The base of what this library raises where a run, a file or another program is not as it must be.

    A wrong argument is a ``TypeError`` or ``ValueError``, as everywhere in Python.
    """


class InvalidRunError(TrackerError, ValueError):
    """Data or a file is not a recorded run; the message names the place and what was expected there."""


class NotATrackerError(TrackerError, TypeError):
    """What takes a tracker got something else; if that is the path of a file, the message says how to load it."""


def expect(value: Any, kind: type, place: str) -> None:
    """Raise an InvalidRunError that names the place, unless the value is of that kind.

    >>> expect([], dict, "event_flow[3]")
    Traceback (most recent call last):
    execution_tracker.errors.InvalidRunError: event_flow[3]: expected an object, found a list
    """
    if not isinstance(value, kind):
        raise InvalidRunError(f"{place}: expected {_json_name(kind)}, found {_json_name(type(value))}")


def _json_name(kind: type) -> str:
    if issubclass(kind, (int, float)) and kind is not bool:
        return "a number"
    return _JSON_NAMES.get(kind, kind.__name__)


def short(value: Any) -> str:
    """Return a value's ``repr``, cut to a hundred characters."""
    text = described(value)
    return text if len(text) <= 100 else f"{text[:99]}…"

"""Runs in the forms that trace viewers and tracing back ends read."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from execution_tracker.payloads import as_key, snapshot

if TYPE_CHECKING:
    from execution_tracker._timeline import Emission, Execution

_MAX_STRING, _MAX_ITEMS = 200, 20  # as in snapshot()
_WIDEST = 2**53  # up to which all readers of JSON keep every digit

_snapshot = snapshot()


def filled(row: Execution | Emission, *names: str) -> dict[str, Any]:
    """Return fields of an execution or event by their names, as :func:`bounded` has them, without what is empty."""
    facts = {}
    for name in names:
        value = getattr(row, name)
        if value is not None and (safe := bounded(value)) is not None and safe != {}:
            facts[name] = safe
    return facts


def bounded(value: Any) -> Any:
    """Return a copy of a value as :func:`~execution_tracker.snapshot` makes it, but with texts for large integers.

    >>> bounded({"n": [2**53, 2**53 + 1]})
    {'n': [9007199254740992, '9007199254740993']}
    """
    if _is_short(value):
        return value
    if type(value) is dict and len(value) <= _MAX_ITEMS:  # most payloads, ten times as fast as any other
        copy = value.copy()
        if all(map(_is_short, copy.values())) and all(type(name) is str and _is_short(name) for name in copy):
            return copy
    return _with_digits(_snapshot(value))


def text(value: object) -> str:
    """Return a bounded text for an id or a name of any type, an empty one for None."""
    return "" if value is None else as_key(bounded(value))


def _is_short(value: Any) -> bool:
    """Tell whether a value is a scalar that stays as it is."""
    kind = type(value)
    if kind is str:
        return bool(len(value) <= _MAX_STRING and value.isascii())
    if kind is int:
        return bool(-_WIDEST <= value <= _WIDEST)
    return value is None or kind is bool or (kind is float and isfinite(value))


def _with_digits(safe: Any) -> Any:
    """Return a JSON-safe value with texts for the integers that a reader of JSON would round."""
    kind = type(safe)
    if kind is int:
        return safe if -_WIDEST <= safe <= _WIDEST else str(safe)
    if kind is dict:
        return {name: _with_digits(item) for name, item in safe.items()}
    return [_with_digits(item) for item in safe] if kind is list else safe

"""Runs in the forms that trace viewers and tracing back ends read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execution_tracker.payloads import as_key, snapshot

if TYPE_CHECKING:
    from execution_tracker._timeline import Emission, Execution

bounded = snapshot()


def filled(row: Execution | Emission, *names: str) -> dict[str, Any]:
    """Return fields of an execution or event by their names, JSON-safe and bounded, without what is empty."""
    given = ((name, getattr(row, name)) for name in names)
    return {name: safe for name, value in given if value is not None and (safe := bounded(value)) not in (None, {})}


def text(value: object) -> str:
    """Return a bounded text for an id or a name of any type, an empty one for None."""
    return "" if value is None else as_key(bounded(value))

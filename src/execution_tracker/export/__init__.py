"""Runs in the forms that trace viewers and tracing back ends read."""

from __future__ import annotations

from typing import Any

from execution_tracker.payloads import as_key, snapshot

bounded = snapshot()


def filled(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return what a record holds under these keys, JSON-safe and bounded, without what is empty."""
    given = ((key, record.get(key)) for key in keys)
    return {key: safe for key, value in given if value is not None and (safe := bounded(value)) not in (None, {})}


def text(value: object) -> str:
    """Return a bounded text for an id or a name of any type, an empty one for None."""
    return "" if value is None else as_key(bounded(value))

"""What can go wrong, as one tree of exceptions."""

from __future__ import annotations


class TrackerError(Exception):
    """The base of every error that this library raises on purpose."""


class InvalidRunError(TrackerError, ValueError):
    """Data or a file is not a recorded run; the message names the place and what was expected there."""

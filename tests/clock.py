"""Made-up clocks and local zones, for the tests of what is recorded and shown of times."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import pytest


def utc_s(*moment: int) -> float:
    """Return the seconds since the epoch of a moment in UTC."""
    return datetime(*moment, tzinfo=timezone.utc).timestamp()


class FakeClock:
    """The clocks that a tracker reads: both stand still until time passes here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wall_s: float = 1_750_000_000) -> None:
        self.wall_ns = round(wall_s * 10**9)
        self.mono_ns = 5_000
        monkeypatch.setattr("execution_tracker._recording.time_ns", lambda: self.wall_ns)
        monkeypatch.setattr("execution_tracker._recording.perf_counter_ns", lambda: self.mono_ns)

    def pass_time(self, seconds: float, *, jump: float = 0.0) -> None:
        """Go on; the wall clock goes ``jump`` seconds further than the monotonic one."""
        self.mono_ns += round(seconds * 10**9)
        self.wall_ns += round((seconds + jump) * 10**9)


@contextmanager
def local_zone(name: str) -> Iterator[None]:
    """Be in another zone for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()

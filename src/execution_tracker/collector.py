"""The garbage collector, kept from looking again and again at containers that are being built and will stay."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import TypeVar

Built = TypeVar("Built")

_pausing = threading.Lock()


def built_at_once(build: Callable[[], Built]) -> Built:
    """Return what a function builds, while no garbage is collected.

    Nearly all of a large run's containers are kept, yet each few hundred new ones have the collector look for garbage
    among them, and now and then among all that the program has: half of the time that it takes to load a run.

    One thread at a time pauses the collector, and only if it is on; it is on again however the function ends.
    """
    pausing = _pausing
    if not gc.isenabled() or not pausing.acquire(blocking=False):
        return build()
    # A signal handler that raises right here leaves the lock taken: later runs are built more slowly, that is all.
    try:
        gc.disable()
        return build()
    finally:
        gc.enable()
        pausing.release()


def _resume_in_child() -> None:
    """Collect garbage in a child that was forked while another thread had paused the collector."""
    global _pausing
    if _pausing.locked():
        _pausing = threading.Lock()
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resume_in_child)

"""The routilux flow engine, which has a tracker of its own in versions 0.8.1 to 0.11.0."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from serilux import SerializableRegistry

from execution_tracker.errors import TrackerError
from execution_tracker.tracker import ExecutionTracker


def install() -> None:
    """Put our ``ExecutionTracker`` where routilux 0.8.1 to 0.11.0 looks for its own.

    From then on the engine makes one of ours for every run, as ``flow.execution_tracker``, and serilux's registry has
    ours under the name. It does not matter whether routilux was imported before, and a second call changes nothing.
    Only code that already took the class out of routilux keeps what it took.

    Raises:
        TrackerError: routilux is not installed, or is a version without a tracker (0.11.1 and later).

    Imports routilux, unless that has happened.

    Example::

        from execution_tracker.integrations.routilux import install
        from routilux import Flow

        install()
        flow = Flow("nightly")
        ...  # add routines and connect them
        flow.execute("load")
        print(flow.execution_tracker.get_performance_metrics()["failed"])
    """
    try:
        routilux: Any = import_module("routilux")
    except ModuleNotFoundError as error:
        if error.name != "routilux":
            raise
        raise TrackerError(
            "routilux is not installed; install it with: pip install 'routilux>=0.8.1,<=0.11.0' 'serilux==0.3.1'"
        ) from None
    if not hasattr(routilux, "ExecutionTracker"):
        raise TrackerError(
            f"routilux {getattr(routilux, '__version__', '')} has no execution tracker to replace; "
            "install 0.8.1 to 0.11.0, or record with an ExecutionTracker of your own"
        )
    upstream: Any = import_module("routilux.execution_tracker")
    routilux.ExecutionTracker = upstream.ExecutionTracker = ExecutionTracker
    SerializableRegistry.registry[ExecutionTracker.__name__] = ExecutionTracker

"""The routilux flow engine, which had a tracker of its own in versions 0.8.1 to 0.11.0, and has none today."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from serilux import SerializableRegistry

from execution_tracker.errors import TrackerError
from execution_tracker.integrations import _routilux_hooks as hooks
from execution_tracker.tracker import ExecutionTracker

if TYPE_CHECKING:
    from execution_tracker.integrations._dressing import Pattern


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
    routilux = _imported("pip install 'routilux>=0.8.1,<=0.11.0' 'serilux==0.3.1'")
    if not hasattr(routilux, "ExecutionTracker"):
        raise TrackerError(
            f"routilux {getattr(routilux, '__version__', '')} has no execution tracker to replace; "
            "install 0.8.1 to 0.11.0, or track its flows with instrument()"
        )
    upstream: Any = import_module("routilux.execution_tracker")
    routilux.ExecutionTracker = upstream.ExecutionTracker = ExecutionTracker
    SerializableRegistry.registry[ExecutionTracker.__name__] = ExecutionTracker


def instrument(flow: Any, tracker: ExecutionTracker | None = None) -> ExecutionTracker:
    """Track every routine of a flow from first to last, on routilux 0.8.1 to 1.1.

    Each call of a slot's handler, on the engine of today of a routine's logic, becomes an execution with its arguments,
    result, failure (``TypeName: message``) and true times; a retry is an execution of its own, and so is a call inside
    of another, as a child of that. Each event becomes one record for each slot that it goes to, and names the execution
    that emitted it. Ids are those of the flow. Live objects of the engine, such as the job state,
    are left out of params and data. What an old engine records by itself does not come on top.

    Args:
        flow: The flow. A second call changes nothing, except that it takes another tracker, if one is given, and looks
            for slots and events that routines defined since. Routines that are added later are tracked without that.
        tracker: What to record on, for all runs. By default the flow gets a tracker of its own; an old engine makes a
            new one for every run after the first.

    Returns:
        The tracker, which is also ``flow.execution_tracker``.

    Raises:
        TrackerError: routilux is not installed or of a version that is not known, this is not one of its flows, or the
            tracker is not an ``ExecutionTracker``.

    The flow serializes as before, and errors are handled as before. See :func:`uninstrument`.

    Example::

        from execution_tracker.integrations.routilux import instrument
        from routilux import Flow

        flow = Flow("nightly")
        ...  # add routines and connect them
        tracker = instrument(flow)
        ...  # run it
        print(tracker.get_performance_metrics()["bottlenecks"])
    """
    patterns = _patterns(flow)
    if tracker is not None and not isinstance(tracker, ExecutionTracker):
        raise TrackerError(f"expected an ExecutionTracker of execution_tracker; found {type(tracker).__name__}")
    known = hooks.listener_of(flow)
    listener = known or hooks.Listener(flow, patterns)
    try:
        listener.listen()
    except Exception as error:
        if known is None:
            listener.leave()
        raise TrackerError(f"{flow!r} cannot be instrumented: {error}") from error
    if tracker is not None:
        listener.use(tracker, for_all_runs=True)
    return listener.tracker


def uninstrument(flow: Any) -> None:
    """Undo :func:`instrument`: the flow and all that is in it are as they were before.

    Args:
        flow: The flow. One that is not instrumented stays as it is.

    Calls that run meanwhile are recorded to their end. An old engine should not be in the middle of a run: it would
    record the rest on the tracker, in its own way. Its flow keeps the tracker of the last run until the next.
    """
    listener = hooks.listener_of(flow)
    if listener is not None:
        listener.leave()


def _patterns(flow: Any) -> dict[str, Pattern]:
    """Return how the objects of this flow are to be dressed."""
    routilux = _imported("pip install 'routilux==1.1.0'")
    version = getattr(routilux, "__version__", "")
    if not isinstance(flow, getattr(routilux, "Flow", ())):
        raise TrackerError(f"expected a flow of routilux {version}; found {type(flow).__name__}")
    if hasattr(routilux, "ExecutionTracker"):
        return hooks.OLD if hasattr(routilux.Slot, "call_handler") else hooks.OLDEST
    calls_logic = getattr(getattr(routilux, "Runtime", None), "_check_routine_activation", None)
    if getattr(calls_logic, "__module__", None) == hooks.RUNTIME:
        return hooks.TODAY
    raise TrackerError(f"routilux {version} is not known; instrument() works with 0.8.1 to 1.1")


def _imported(pip_install: str) -> Any:
    try:
        return import_module("routilux")
    except ModuleNotFoundError as error:
        if error.name != "routilux":
            raise
        raise TrackerError(f"routilux is not installed; install it with: {pip_install}") from None

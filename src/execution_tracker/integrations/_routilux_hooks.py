"""How the two kinds of routilux engines are listened to.

The old engine (0.8.1 to 0.11.0) calls ``slot.handler``; 0.8.1 enters a flow by calling the routine itself. The engine
of today (1.1) calls ``routine._logic``, or ``routine.logic`` where that is None. All deliver with ``event.emit``.

The objects of a flow are dressed (see ``_dressing``), so that the engine finds calls that record in these places. The
engine is told by the module in which its code stands; serilux and everybody else finds what is really there.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from execution_tracker.integrations._dressing import dress, owners_of, undress
from execution_tracker.tracker import ExecutionTracker

if TYPE_CHECKING:
    from execution_tracker.integrations._dressing import Pattern


class _Running(NamedTuple):
    """The execution inside which code runs. It keeps no tracker alive, as contexts may be copied and kept."""

    listener: ref[Listener]
    tracker: ref[ExecutionTracker]
    routine_id: Any
    execution_id: int


_running: ContextVar[_Running | None] = ContextVar("execution_tracker_routilux", default=None)


class Listener:
    """Records what one flow does."""

    def __init__(self, flow: Any, patterns: dict[str, Pattern]) -> None:
        self.flow = flow
        self.tracker = ExecutionTracker(flow.flow_id)
        self._patterns = patterns
        self._dressed: list[Any] = []
        self._for_all_runs = False
        self._for_next_run = True

    def use(self, tracker: ExecutionTracker, *, for_all_runs: bool = False) -> None:
        """Record on this tracker from now on, for good or until an old engine makes one for its next run."""
        self.tracker = tracker
        self._for_all_runs = for_all_runs
        self._for_next_run = False

    def begin_run(self) -> None:
        """Do as an old engine, which makes a tracker for every run; the first has one already."""
        if not (self._for_all_runs or self._for_next_run):
            self.tracker = ExecutionTracker(self.flow.flow_id)
        self._for_next_run = False
        _quietly(self.listen)

    def listen(self) -> None:
        """Dress all that the flow has now."""
        self._dress("flow", self.flow)
        for routine in list(self.flow.routines.values()):
            self.listen_to(routine)

    def listen_to(self, routine: Any) -> None:
        """Dress a routine, its slots and its events."""
        self._dress("routine", routine)
        for slot in list(routine._slots.values()):
            self._dress("slot", slot)
        for event in list(routine._events.values()):
            self._dress("event", event)

    def _dress(self, kind: str, thing: Any) -> None:
        if kind in self._patterns and self not in owners_of(thing):
            dress(thing, self, self._patterns[kind])
            self._dressed.append(thing)

    def leave(self) -> None:
        """Undress everything, also what the flow has no more."""
        for thing in self._dressed:
            undress(thing, self)

    def execute(
        self,
        routine: Any,
        params: Callable[[], Any],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call the function as one execution of the routine."""
        routine_id = _quietly(self.flow._get_routine_id, routine)
        if routine_id is None:  # it is in the flow no more
            return function(*args, **kwargs)
        tracker = self.tracker  # the next run may begin before this ends
        block = _quietly(tracker.track, routine_id, _quietly(params))
        if block is None or _quietly(block.__enter__) is None:
            return function(*args, **kwargs)
        outer = _running.get()
        _running.set(_Running(ref(self), ref(tracker), routine_id, block.execution_id))
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _quietly(block.__exit__, type(error), error, None)
            raise
        finally:
            _running.set(outer)
        block.result = None if _is_engines(result) else result
        _quietly(block.__exit__, None, None, None)
        return result

    def emitted(self, event: Any, slots: Callable[[], list[Any]], data: dict[str, Any]) -> None:
        """Record an event for each slot that gets it, before it does: what it feeds starts after it."""
        _quietly(self._record_event, event, slots, data)

    def _record_event(self, event: Any, slots: Callable[[], list[Any]], data: dict[str, Any]) -> None:
        source, *targets = (self.flow._get_routine_id(part.routine) for part in (event, *slots()))
        tracker, execution_id = self._emitter(source)
        kept = _without_engines(data)
        for target in targets or [None]:
            tracker.record_event(source, event.name, target, kept, execution_id=execution_id)

    def _emitter(self, source: Any) -> tuple[ExecutionTracker, int | None]:
        """Return the execution of the source inside which this is called, if it is one, and what it is recorded on."""
        running = _running.get()
        is_inside = running is not None and running.listener() is self and running.routine_id == source
        if running is None or not is_inside or (tracker := running.tracker()) is None:
            return self.tracker, None
        return tracker, running.execution_id


def listener_of(flow: Any) -> Listener | None:
    """Return who listens to the flow."""
    return next(iter(owners_of(flow)), None)


def _caller() -> Any:
    """Return the name of the module whose code asked the one that calls this."""
    return sys._getframe(2).f_globals.get("__name__")


def _quietly(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what the work gives, None if it fails: nothing here may hurt the flow."""
    try:
        return work(*args, **kwargs)
    except Exception:
        return None


# --- the flow, on any engine ---


class _Deaf:
    """What an old engine records on: a part of what we record, under other ids."""

    def record_routine_start(self, *_: Any, **__: Any) -> None:
        pass

    record_routine_end = record_event = record_routine_start


RUNTIME = "routilux.core.runtime"  # the module that calls the logic of routines

_deaf = _Deaf()
_RECORDERS = {"routilux.flow", "routilux.flow.execution", "routilux.routine", "routilux.routine_mixins"}


def flow_members(base: Any, listeners: tuple[Listener, ...]) -> dict[str, Any]:
    (listener,) = listeners

    def get_tracker(flow: Any) -> Any:
        return _deaf if _caller() in _RECORDERS else listener.tracker

    def set_tracker(flow: Any, tracker: Any) -> None:
        if _caller() in _RECORDERS:
            listener.begin_run()
            tracker = listener.tracker
        elif isinstance(tracker, ExecutionTracker):
            listener.use(tracker)
        flow.__dict__["execution_tracker"] = tracker  # what is found there when nobody listens any more

    def add_routine(flow: Any, routine: Any, *args: Any, **kwargs: Any) -> Any:
        routine_id = base.add_routine(flow, routine, *args, **kwargs)
        _quietly(listener.listen_to, routine)
        return routine_id

    return {"execution_tracker": property(get_tracker, set_tracker), "add_routine": add_routine}


# --- 0.8.1 to 0.11.0 ---


def _of_flow(listeners: tuple[Listener, ...], flow: Any) -> Listener | None:
    """Return the listener of the flow that runs; a routine may be in several, and can be called outside of any."""
    return next((listener for listener in listeners if flow is None or listener.flow is flow), None)


def slot_members(base: Any, listeners: tuple[Listener, ...]) -> dict[str, Any]:
    latest: Any = None, None

    def get_handler(slot: Any) -> Any:
        nonlocal latest
        handler = slot.__dict__["handler"]
        if handler is None or _caller() != "routilux.slot":
            return handler
        known, tracked = latest
        if known is not handler:  # the engine reads it four times for each call
            tracked = tracked_handler(slot, handler)
            latest = handler, tracked
        return tracked

    def tracked_handler(slot: Any, handler: Callable[..., Any]) -> Any:
        signature = _quietly(inspect.signature, handler)
        if signature is None:  # the engine asks for it, too, and does not get so far as to call the handler
            return handler
        names = tuple(signature.parameters)

        def tracked(*args: Any, **kwargs: Any) -> Any:
            listener = _of_flow(listeners, getattr(slot.routine, "_current_flow", None))
            if listener is None:
                return handler(*args, **kwargs)
            return listener.execute(slot.routine, lambda: _by_name(names, args, kwargs), handler, args, kwargs)

        tracked.__signature__ = signature  # type: ignore[attr-defined]
        return tracked

    def set_handler(slot: Any, handler: Any) -> None:
        slot.__dict__["handler"] = handler

    return {"handler": property(get_handler, set_handler)}


def called_routine_members(base: Any, listeners: tuple[Listener, ...]) -> dict[str, Any]:
    def call(routine: Any, /, *args: Any, **kwargs: Any) -> Any:
        listener = _of_flow(listeners, getattr(routine, "_current_flow", None))
        entered = functools.partial(base.__call__, routine)
        if listener is None or _caller() != "routilux.flow":
            return entered(*args, **kwargs)
        return listener.execute(routine, lambda: _without_engines(kwargs), entered, args, kwargs)

    return {"__call__": call}


def old_event_members(base: Any, listeners: tuple[Listener, ...]) -> dict[str, Any]:
    def emit(event: Any, /, flow: Any = None, **data: Any) -> Any:
        running = getattr(event.routine, "_current_flow", None) if flow is None else flow
        listener = _of_flow(listeners, running)
        if listener is not None:
            listener.emitted(event, lambda: event.connected_slots, data)
        return base.emit(event, flow=flow, **data)

    return {"emit": emit}


# --- 1.1 ---


def _of_worker(listeners: tuple[Listener, ...], worker_state: Any) -> Listener | None:
    flow_id = getattr(worker_state, "flow_id", None)
    return next((listener for listener in listeners if listener.flow.flow_id == flow_id), None)


def logic_members(base: Any, listeners: tuple[Listener, ...]) -> dict[str, Any]:
    def get_logic(routine: Any) -> Any:
        logic = routine.__dict__.get("_logic")
        if _caller() != RUNTIME:
            return logic
        if logic is None:
            logic = getattr(routine, "logic", None)
        if not callable(logic):
            return logic

        def tracked(*points: Any, **context: Any) -> Any:
            listener = _of_worker(listeners, context.get("worker_state"))
            if listener is None:
                return logic(*points, **context)
            return listener.execute(routine, lambda: _consumed(routine, points), logic, points, context)

        return tracked

    def set_logic(routine: Any, logic: Any) -> None:
        routine.__dict__["_logic"] = logic

    return {"_logic": property(get_logic, set_logic)}


def new_event_members(base: Any, listeners: tuple[Listener, ...]) -> dict[str, Any]:
    def emit(event: Any, /, runtime: Any, worker_state: Any, **data: Any) -> Any:
        listener = _of_worker(listeners, worker_state)
        if listener is not None:
            listener.emitted(event, lambda: slots_of(listener.flow, event), data)
        return base.emit(event, runtime=runtime, worker_state=worker_state, **data)

    def slots_of(flow: Any, event: Any) -> list[Any]:
        connections = flow.get_connections_for_event(event)
        return [connection.target_slot for connection in connections if connection.target_slot is not None]

    return {"emit": emit}


# --- payloads ---


def _is_engines(value: Any) -> bool:
    """Tell whether a value is a live object of the engine: a flow, a job state, a context."""
    kind = type(value)  # isinstance would ask the value
    if issubclass(kind, BaseException | Enum):
        return False
    return any(str(each.__module__).partition(".")[0] == "routilux" for each in kind.__mro__)


def _without_engines(payload: Any) -> Any:
    if type(payload) is dict:
        return {key: value for key, value in payload.items() if not _is_engines(value)}
    return None if _is_engines(payload) else payload


def _by_name(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    by_position = dict(zip(names, map(_without_engines, args), strict=False))
    return _without_engines({**by_position, **kwargs})


def _consumed(routine: Any, points: tuple[Any, ...]) -> dict[str, Any]:
    """Return what a policy took out of the slots, by their names."""
    taken = zip(routine._slots, points, strict=False)
    return {name: list(map(_without_engines, of_slot)) if type(of_slot) is list else of_slot for name, of_slot in taken}


OLD: dict[str, Pattern] = {"flow": flow_members, "slot": slot_members, "event": old_event_members}
OLDEST: dict[str, Pattern] = {**OLD, "routine": called_routine_members}
TODAY: dict[str, Pattern] = {"flow": flow_members, "routine": logic_members, "event": new_event_members}

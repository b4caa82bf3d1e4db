"""The calls that engines make.

A ``record_*`` call appends one entry of ten scalars to a flat list and returns; the entry is folded into rows when
somebody looks. It is cheap and needs no lock, because in CPython ``list.extend`` with a tuple, copying a list and
``del log[:n]`` are atomic, and because scalars in a flat list do not wake the garbage collector, as a tuple kept for
each call would.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from execution_tracker import _callers
from execution_tracker._callers import Thread, block_of, current_blocks, current_task_or, modules, this_thread
from execution_tracker._copying import copied_run, deep_copied_run, latest_ns, picklable_run
from execution_tracker._folding import EVENT, START
from execution_tracker._reading import tuple_of
from execution_tracker._row_folding import fold_of
from execution_tracker._run import are_equal, is_empty
from execution_tracker._storage import Storage
from execution_tracker.payloads import json_safe
from execution_tracker.timestamps import SECOND_NS, any_to_ns

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from execution_tracker._run import Run


def _anchor_ns() -> int:
    return time_ns() - perf_counter_ns()


class Recording(Storage):
    """What was recorded so far, and the calls that record more: the base of ``ExecutionTracker``."""

    def __init__(
        self,
        capture: Callable[[Any], Any] | None = None,
        max_records: int | None = None,
        tz: tzinfo | None = None,
    ) -> None:
        Storage.__init__(self, max_records, tz, _anchor_ns)
        self._execution_ids, self._event_ids = self._ids
        self._latest_id = 0  # an id that was given out, and so were those below
        self._mark = object()  # by which blocks of track know that they are this tracker's
        self._capture = capture

    # --- what engines call ---

    def record_routine_start(
        self,
        routine_id: Any,
        params: Any = None,
        *,
        parent_id: int | None = None,
        caused_by: int | list[int] | tuple[int, ...] | None = None,
    ) -> int:
        """Record that an execution of a routine starts now.

        Args:
            routine_id: The routine, normally a text. An id that cannot be hashed or compared is recorded under its
                ``repr``.
            params: What it was called with, kept by reference.
            parent_id: The id of the execution inside which it runs. By default that of the innermost
                :meth:`~ExecutionTracker.track` block around the call. What is no id of an earlier execution is left
                out.
            caused_by: The ids of the events that started it, as :meth:`record_event` returned them; one or several.
                What is no id of an event is left out.

        Returns:
            The id of this execution, for ``record_routine_end(…, execution_id=…)``. Ids count from 1.

        Never raises. Well under a microsecond, without a lock, unless somebody holds the records or ``max_records``
        bounds them: then recorders fold, and a call takes a few microseconds.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker("nightly")
        >>> execution = tracker.record_routine_start("parse", {"path": "a.md"})
        >>> tracker.record_routine_end("parse", execution_id=execution)
        >>> tracker.routine_executions["parse"][0]["status"]
        'completed'
        """
        if params is not None and (type(params) is not dict or not params or self._capture is not None):
            params = self._kept(params)
        if parent_id is None and current_blocks.get():
            block = block_of(self._mark)
            parent_id = None if block is None else block.execution_id
        if caused_by is not None and type(caused_by) is not int:
            caused_by = tuple_of(caused_by)  # the engine may go on with its list
        execution_id = self._latest_id = self._execution_ids.give()
        thread = this_thread.caller
        owner: object = thread
        if ("asyncio" in modules and _callers.running_loop() is not None) or (
            "trio" in modules and _callers.running_library.name == "trio"
        ):
            owner = current_task_or(thread)
        wall_ns = time_ns()
        self._log.extend(
            (START, routine_id, params, execution_id, owner, perf_counter_ns(), parent_id, caused_by, thread, wall_ns)
        )
        if self._eager:
            try:  # noqa: SIM105 - suppress() takes room, too
                self._fold_now()
            except RecursionError:  # no room on the stack, not even for this call: the entry waits for the next one
                pass
        return execution_id

    def record_routine_end(
        self,
        routine_id: Any,
        status: Any = "completed",
        result: Any = None,
        error: Any = None,
        *,
        execution_id: int | None = None,
    ) -> None:
        """Record that an execution of a routine ends now.

        It closes the execution with that id. Without one it closes the routine's latest open execution that the same
        thread, or task of asyncio or trio, started, else the latest open one. If none is open it updates the routine's
        latest record, and if there is none either it is counted as an unmatched end.

        Args:
            routine_id: The routine, as given at the start.
            status: How it ended, a text; ``"completed"`` and ``"failed"`` are counted by the metrics. An id goes by its
                name, ``execution_id=``: a number in this place is a status.
            result: What it gave, kept by reference; left out of the record if None.
            error: What went wrong, as a text; left out of the record if None.
            execution_id: What :meth:`record_routine_start` returned. One that was never given out is as good as none;
                one of an execution that is gone is counted as an unmatched end.

        Never raises; as cheap as :meth:`record_routine_start`.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> _ = tracker.record_routine_start("load")
        >>> tracker.record_routine_end("load", "failed", error="no such file")
        >>> tracker.routine_executions["load"][0]["error"]
        'no such file'
        """
        mono_ns = perf_counter_ns()  # first: a capture is no part of the execution
        if result is not None and self._capture is not None:
            result = self._captured(result)
        owner: object = None
        if not (type(execution_id) is int and 0 < execution_id <= self._latest_id):  # else nobody asks who calls
            owner = this_thread.caller
            if ("asyncio" in modules and _callers.running_loop() is not None) or (
                "trio" in modules and _callers.running_library.name == "trio"
            ):
                owner = current_task_or(owner)
        self._log.extend((status, routine_id, result, execution_id, owner, mono_ns, error, None, None, None))
        if self._eager:
            try:  # noqa: SIM105 - suppress() takes room, too
                self._fold_now()
            except RecursionError:  # no room on the stack, not even for this call: the entry waits for the next one
                pass

    def record_event(
        self,
        source_routine_id: Any,
        event_name: Any,
        target_routine_id: Any = None,
        data: Any = None,
        *,
        execution_id: int | None = None,
    ) -> int:
        """Record that a routine emits an event now.

        Args:
            source_routine_id: The routine that emits it.
            event_name: The name of the event.
            target_routine_id: The routine that receives it, None if unknown.
            data: What it carries, kept by reference.
            execution_id: The id of the execution that emits it. By default that of the innermost
                :meth:`~ExecutionTracker.track` block around the call, if it is of the source; else the latest open one
                of the source that the same thread or task started; else the only open one, if it is.

        Returns:
            The id of the event, for ``record_routine_start(…, caused_by=…)``. Ids count from 1.

        Never raises; cheaper than :meth:`record_routine_start`, and cheapest with an ``execution_id``.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> parsed = tracker.record_event("parse", "parsed", "count", {"words": 120})
        >>> _ = tracker.record_routine_start("count", caused_by=parsed)
        >>> tracker.event_flow[0]["data"], tracker.routine_executions["count"][0]["caused_by"]
        ({'words': 120}, [1])
        """
        if data is not None and (type(data) is not dict or not data or self._capture is not None):
            data = self._kept(data)
        owner: object = None
        if execution_id is None:
            if current_blocks.get():
                execution_id = self._emitter_of(source_routine_id)
            owner = this_thread.caller
            if ("asyncio" in modules and _callers.running_loop() is not None) or (
                "trio" in modules and _callers.running_library.name == "trio"
            ):
                owner = current_task_or(owner)
        event_id = self._event_ids.give()
        self._log.extend(
            (
                EVENT,
                source_routine_id,
                data,
                execution_id,
                owner,
                perf_counter_ns(),
                event_name,
                target_routine_id,
                event_id,
                None,
            )
        )
        if self._eager:
            try:  # noqa: SIM105 - suppress() takes room, too
                self._fold_now()
            except RecursionError:  # no room on the stack, not even for this call: the entry waits for the next one
                pass
        return event_id

    def record_execution(
        self,
        routine_id: Any,
        start: float | datetime,
        end: float | datetime,
        status: Any = "completed",
        params: Any = None,
        result: Any = None,
        error: Any = None,
        *,
        parent_id: int | None = None,
        caused_by: int | list[int] | tuple[int, ...] | None = None,
        worker: str | None = None,
    ) -> int:
        """Record an execution that ran elsewhere, or before, with the times that were taken there.

        Args:
            routine_id: The routine.
            start: When it started: seconds since the epoch, a datetime, or its ISO 8601 text. What is none of these
                stands for the end, or for now.
            end: When it ended. What is no time, or before the start, stands for the start.
            status: How it ended.
            params: What it was called with, kept by reference.
            result: What it gave, kept by reference.
            error: What went wrong, as a text.
            parent_id: The id of the execution inside which it ran; none by default.
            caused_by: The ids of the events that started it.
            worker: The name of the thread, process or machine where it ran.

        Returns:
            The id of this execution.

        Never raises. Durations are never below a nanosecond.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> _ = tracker.record_execution("parse", 1_700_000_000.0, 1_700_000_002.5, worker="machine-7")
        >>> tracker.routine_executions["parse"][0]["execution_time"]
        2.5
        """
        start_ns, end_ns = any_to_ns(start), any_to_ns(end)
        if start_ns is None:
            start_ns = time_ns() if end_ns is None else end_ns
        elapsed_ns = 1 if end_ns is None else end_ns - start_ns
        return self._record_ended(
            routine_id, start_ns, elapsed_ns, status, params, result, error, parent_id, caused_by, worker
        )

    def _record_ended(
        self,
        routine_id: Any,
        start_ns: int,
        elapsed_ns: int,
        status: Any = "completed",
        params: Any = None,
        result: Any = None,
        error: Any = None,
        parent_id: Any = None,
        caused_by: Any = None,
        worker: Any = None,
    ) -> int:
        """Record an execution that ran elsewhere; ``start_ns`` counts from the epoch."""
        if params is not None:
            params = self._kept(params)
        if result is not None and self._capture is not None:
            result = self._captured(result)
        if caused_by is not None and type(caused_by) is not int:
            caused_by = tuple_of(caused_by)
        execution_id = self._execution_ids.give()
        fold = self._fold
        if abs(self._anchor_ns() - fold.anchor_ns - fold.clock.step_ns) >= SECOND_NS:
            self._fold_now(is_due=True)  # when the wall clock was set stands in the log
            fold = self._fold
        mono_ns = fold.clock.instant_at(start_ns) - fold.anchor_ns
        thread = Thread(worker if type(worker) is str else None)
        start = START, routine_id, params, execution_id, None, mono_ns, parent_id, caused_by, thread, None
        end = status, routine_id, result, execution_id, None, mono_ns + elapsed_ns, error, None, None, None
        self._log.extend(start + end)  # at once: nothing can come between
        if self._eager:
            self._fold_now()
        return execution_id

    def _emitter_of(self, source_routine_id: Any) -> int | None:
        """Return the id of the innermost block around the call, if it is one of the source."""
        block = block_of(self._mark)
        return block.execution_id if block is not None and are_equal(block.routine_id, source_routine_id) else None

    def _kept(self, payload: Any) -> Any:
        """Return what is kept of params or data: None if they are empty now, though they may be filled later."""
        if self._capture is not None:
            payload = self._captured(payload)
        return None if is_empty(payload) else payload

    def _captured(self, payload: Any) -> Any:
        """Return what ``capture`` makes of a payload, or a text that says why it failed."""
        try:
            return self._capture(payload)  # type: ignore[misc]  # callers know that there is one
        except Exception as error:
            return f"<capture failed: {json_safe(error)}>"

    # --- copies ---

    def __getstate__(self) -> dict[str, Any]:
        """Return records, settings and whatever a subclass added; owners and clocks mean nothing to another process."""
        return self._state(picklable_run(self._run(), Recording))

    def __copy__(self) -> Recording:
        twin = self.__class__.__new__(self.__class__)
        twin.__setstate__(self._state(copied_run(self._run())))
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Recording:
        twin = memo[id(self)] = self.__class__.__new__(self.__class__)
        state = self._state(self._run())
        added = copy.deepcopy(state["added"], memo)
        run = deep_copied_run(copied_run(state["run"]), memo)
        twin.__setstate__({**state, "added": added, "run": run})
        return twin

    def _state(self, run: Run) -> dict[str, Any]:
        own = vars(Recording())
        return {
            "added": {name: value for name, value in vars(self).items() if name not in own},
            "settings": (self._capture, self._fold.max_records, self._fold.clock.tz),
            "issued": (self._ids[0].issued, self._ids[1].issued),
            "run": run,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Recording.__init__(self, *state["settings"])
        vars(self).update(state["added"])
        for ids, issued in zip(self._ids, state["issued"], strict=True):
            ids.skip(issued - 1)
        fold, run = self._fold, state["run"]
        # Its clock goes on where it was, or later: never before what was recorded.
        anchor_ns = max(fold.anchor_ns - run.clock.step_ns, latest_ns(run) - perf_counter_ns())
        self._fold = fold_of(run, anchor_ns, self._ids, fold.max_records)

"""The log that engines write, and the records that readers see.

A ``record_*`` call appends one entry of eight scalars to a flat list and returns; the entry is folded into records when
somebody looks. It is cheap and needs no lock, because in CPython ``list.extend`` with a tuple, ``log[:]`` and
``del log[:n]`` are atomic, and because scalars in a flat list do not wake the garbage collector, as a tuple kept for
each call would.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from execution_tracker import owners
from execution_tracker.collector import built_at_once
from execution_tracker.errors import InvalidRunError
from execution_tracker.folding import ENTRY_WIDTH, EVENT, START, Fold, Snapshot
from execution_tracker.owners import this_thread
from execution_tracker.pairing import Record
from execution_tracker.payloads import asking, json_safe
from execution_tracker.plain import are_all
from execution_tracker.retention import Dropped

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import TypeVar

    Written = TypeVar("Written")

# How long a recorder waits for another thread that folds. Only foreign code can make it wait so long: a finalizer that
# runs inside the fold and itself waits for a lock that the recorder holds. The entry is folded later then.
_PATIENCE_S = 0.05

# A log of this length is folded without the garbage collector, and even if nobody reads it where max_records bounds it.
_LONG_LOG = 4096 * ENTRY_WIDTH

_FOLDS = 10  # how often a recorder folds at most, if each fold finds the log longer

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Recording:
    """What was recorded so far, and the three calls that record more: the base of ``ExecutionTracker``."""

    def __init__(
        self, capture: Callable[[Any], Any] | None = None, max_records: int | None = None, tz: tzinfo | None = None
    ) -> None:
        self._log: list[Any] = []
        self._next_id = count(1).__next__
        self._capture = capture
        self._fold = Fold(tz, max_records)
        self._live = False  # whether the records may be in somebody's hands
        self._eager = max_records is not None  # whether a recorder has to look if it is to fold
        self._locks: dict[int, Any] = {}  # by the number of forks that led to this process
        self._folding_since = -1  # the number of forks at which the running fold began
        self._writers: set[int] = set()  # threads that are writing this run

    # --- what engines call ---

    def record_routine_start(self, routine_id: Any, params: Any = None) -> int:
        """Record that an execution of a routine starts now.

        Args:
            routine_id: The routine, normally a text. An unhashable id is recorded under its ``repr``.
            params: What it was called with, kept by reference.

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
        execution_id = self._next_id()
        owner = this_thread.owner if owners.running_loop() is None else owners.running_task_or_thread()
        self._log.extend((START, routine_id, params, None, execution_id, owner, time_ns(), perf_counter_ns()))
        if self._eager:
            self._fold_now()
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
        thread or asyncio task started, else the latest open one. If none is open it updates the routine's latest
        record, and if there is none either it is counted as an unmatched end.

        Args:
            routine_id: The routine, as given at the start.
            status: How it ended; ``"completed"`` and ``"failed"`` are counted by the metrics.
            result: What it gave, kept by reference; left out of the record if None.
            error: What went wrong, as a text; left out of the record if None.
            execution_id: What :meth:`record_routine_start` returned. An unknown one is as good as none; one of an
                execution that was dropped is counted as an unmatched end.

        Never raises; as cheap as :meth:`record_routine_start`.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> _ = tracker.record_routine_start("load")
        >>> tracker.record_routine_end("load", "failed", error="no such file")
        >>> tracker.routine_executions["load"][0]["error"]
        'no such file'
        """
        wall_ns, mono_ns = time_ns(), perf_counter_ns()  # first: a capture is no part of the execution
        if result is not None and self._capture is not None:
            result = self._captured(result)
        owner = this_thread.owner if owners.running_loop() is None else owners.running_task_or_thread()
        self._log.extend((status, routine_id, result, error, execution_id, owner, wall_ns, mono_ns))
        if self._eager:
            self._fold_now()

    def record_event(
        self, source_routine_id: Any, event_name: Any, target_routine_id: Any = None, data: Any = None
    ) -> None:
        """Record that a routine emits an event now.

        Args:
            source_routine_id: The routine that emits it.
            event_name: The name of the event.
            target_routine_id: The routine that receives it, None if unknown.
            data: What it carries, kept by reference.

        Never raises; cheaper than :meth:`record_routine_start`.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> tracker.record_event("parse", "parsed", "count", {"words": 120})
        >>> tracker.event_flow[0]["data"]
        {'words': 120}
        """
        if data is not None and (type(data) is not dict or not data or self._capture is not None):
            data = self._kept(data)
        self._log.extend((EVENT, source_routine_id, event_name, target_routine_id, data, None, time_ns(), None))
        if self._eager:
            self._fold_now()

    def _record_ended(
        self, routine_id: Any, params: Any, status: Any, error: Any, start_ns: int, elapsed_ns: int
    ) -> None:
        """Record an execution that ran and ended elsewhere, with the times that were taken there.

        Args:
            routine_id: The routine.
            params: What it was called with.
            status: How it ended.
            error: What went wrong, as a text, or None.
            start_ns: When it started, in nanoseconds since the epoch.
            elapsed_ns: How long it took, in nanoseconds.
        """
        if self._capture is not None:
            params = self._captured(params)
        execution_id = self._next_id()
        self._fold.expect_overlap()  # on the wall clock, whatever stands next to it in the log
        start = START, routine_id, params, None, execution_id, None, start_ns, 0
        end = status, routine_id, None, error, execution_id, None, start_ns + elapsed_ns, elapsed_ns
        self._log.extend(start + end)  # at once: no end without an id can come between and close this execution
        if self._eager:
            self._fold_now()

    def _kept(self, payload: Any) -> Any:
        """Return what is kept of params or data: None if they are empty now, though they may be filled later."""
        if self._capture is not None:
            payload = self._captured(payload)
        try:
            return payload or None
        except Exception:  # an array has no truth value
            return payload

    def _captured(self, payload: Any) -> Any:
        """Return what ``capture`` makes of a payload, or a text that says why it failed."""
        try:
            return self._capture(payload)  # type: ignore[misc]  # callers know that there is one
        except Exception as error:
            return f"<capture failed: {json_safe(error)}>"

    # --- what readers see ---

    @property
    def routine_executions(self) -> dict[Any, list[Record]]:
        """The execution records of each routine, oldest first, as live containers."""
        self._go_live()
        return self._fold.executions

    @routine_executions.setter
    def routine_executions(self, executions: dict[Any, list[Record]]) -> None:
        if not isinstance(executions, dict):
            raise InvalidRunError(
                f"routine_executions: expected a dict of lists of records, found {type(executions).__name__}"
            )
        self._replace(executions, None)
        self._go_live()

    @property
    def event_flow(self) -> list[Record]:
        """The event records, oldest first, as a live list."""
        self._go_live()
        return self._fold.events

    @event_flow.setter
    def event_flow(self, events: list[Record]) -> None:
        if not isinstance(events, list):
            raise InvalidRunError(f"event_flow: expected a list of records, found {type(events).__name__}")
        self._replace(None, events)
        self._go_live()

    def _go_live(self) -> None:
        """Fold what was recorded, and have each later call folded at once: its records may be in a caller's hands."""
        with self._lock:
            self._fold_log()
            # Recorders look at the flag after they have appended. Who saw it unset has appended before the next fold.
            self._live = True
            self._eager = True
            self._fold_log()
        self._fold_now()  # what was recorded meanwhile, in the middle of that fold

    def _replace(
        self,
        executions: dict[Any, list[Record]] | None,
        events: list[Record] | None,
        dropped: Dropped | None = None,
        unmatched_ends: int | None = None,
    ) -> None:
        """Fold what was recorded, then hold these containers and counts; None keeps what is there."""
        with self._lock:
            self._fold_log()
            self._fold.replace(executions, events, self._next_id)
            if dropped is not None:
                self._fold.dropped = dropped
            if unmatched_ends is not None:
                self._fold.unmatched_ends = unmatched_ends
        self._fold_now()

    def _snapshot(self) -> Snapshot:
        """Fold, and return what there is, less what users broke by hand."""
        with self._lock:
            self._fold_log()
            # A finalizer that reads while these copies are made must not fold: it might drop what is being copied.
            outer, self._folding_since = self._folding_since, _forks
            try:
                snapshot = self._fold.snapshot()
            finally:
                self._folding_since = outer
        if not self._live:
            return snapshot
        self._fold_now()
        return snapshot._replace(
            executions={routine_id: _dicts(records) for routine_id, records in snapshot.executions.items()},
            events=_dicts(snapshot.events),
            sequential_ns=None,  # who holds the records may have changed them
        )

    def _written(self, write: Callable[[Snapshot], Written]) -> Written:
        """Return what is written of this run: nothing in a payload that leads back here while that goes on."""
        thread = threading.get_ident()
        if asking.depth and thread in self._writers:  # not a signal handler, which is to get all
            return write(Fold().snapshot())
        is_outermost = thread not in self._writers
        self._writers.add(thread)
        try:
            return write(self._snapshot())
        finally:
            if is_outermost:
                self._writers.discard(thread)

    # --- the fold, by one thread at a time ---

    def _fold_now(self) -> None:
        """Fold on behalf of a recorder, if that is due: briefly, and without an error."""
        if not self._live and len(self._log) < _LONG_LOG:
            return
        lock = self._lock
        if lock._is_owned():  # a finalizer or a signal handler in the middle of a fold, which goes on afterwards
            return
        # Even if the log is empty: another thread may have taken the entry and not folded it yet. And again: a
        # finalizer may have recorded during the fold, or another thread have lost its patience. But not for ever,
        # as there may be ids whose own code records whenever it is asked something.
        for _ in range(_FOLDS):
            try:
                if not lock.acquire(timeout=_PATIENCE_S):
                    return
                self._fold_log()
            except (RecursionError, MemoryError):
                return  # the entry waits in the log for a caller with more room
            finally:
                # A signal handler may raise as soon as the lock is acquired, before anything could be remembered of it.
                try:  # noqa: SIM105 - another handler may come in where suppress() is called
                    lock.release()
                except RuntimeError:  # it was not acquired
                    pass
            if not self._log:
                return

    def _fold_log(self) -> None:
        """Fold every entry of the log, unless this thread is doing that already. The lock must be held.

        The lock lets the same thread in a second time: a finalizer or a signal handler may read in the middle of a
        fold. It sees what has been folded so far.
        """
        if self._folding_since == _forks:
            return
        self._folding_since = _forks
        try:
            if len(self._log) < _LONG_LOG:
                self._fold.fold(self._log)
            else:
                built_at_once(lambda: self._fold.fold(self._log))
        finally:
            self._folding_since = -1

    @property
    def _lock(self) -> Any:
        # After a fork nobody is there to release the parent's lock: each process has one of its own.
        return self._locks.get(_forks) or self._locks.setdefault(_forks, threading.RLock())

    # --- copies ---

    def __getstate__(self) -> dict[str, Any]:
        """Return records, settings and whatever a subclass added; owners and clocks mean nothing to another process."""
        snapshot = self._snapshot()
        own = vars(Recording())
        return {
            "added": {name: value for name, value in vars(self).items() if name not in own},
            "settings": (self._capture, self._fold.max_records, self._fold.clock.tz),
            "first_id": self._next_id(),  # ids given out before must stay unknown to the copy
            "executions": {id_: [record.copy() for record in records] for id_, records in snapshot.executions.items()},
            "events": [event.copy() for event in snapshot.events],
            "unmatched_ends": snapshot.unmatched_ends,
            "dropped": snapshot.dropped,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Recording.__init__(self, *state["settings"])
        vars(self).update(state["added"])
        self._next_id = count(state["first_id"]).__next__
        self._fold.unmatched_ends = state["unmatched_ends"]
        self._fold.dropped = state["dropped"]
        self._replace(state["executions"], state["events"])

    def _check(self) -> None:
        """Assert the invariants of the state while nobody folds; for tests."""
        assert self._folding_since == -1
        assert len(self._log) % ENTRY_WIDTH == 0
        self._fold.check()


def _dicts(records: list[Any]) -> list[Record]:
    if are_all(dict, records):
        return records
    return [record for record in records if isinstance(record, dict)]

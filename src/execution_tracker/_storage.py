"""What was recorded, behind one lock: the log that the fold takes up, and what readers see of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from execution_tracker._copying import copied_run, greatest_ids, moved
from execution_tracker._folding import ENTRY_WIDTH, Fold, entries_of
from execution_tracker._live_folding import LiveFold, holding, live
from execution_tracker._metrics import Measured, Numbers
from execution_tracker._reading import Ids
from execution_tracker._row_folding import RowFold, fold_of
from execution_tracker._run import Record, Run
from execution_tracker.collector import built_at_once
from execution_tracker.errors import InvalidRunError
from execution_tracker.payloads import asking
from execution_tracker.timestamps import ClockFace

if TYPE_CHECKING:
    from datetime import tzinfo
    from typing import TypeVar

    Result = TypeVar("Result")

# How long a recorder waits for another thread that folds. Only foreign code can make it wait so long: a finalizer that
# runs inside the fold and itself waits for a lock that the recorder holds. The entry is folded later then.
_PATIENCE_S = 0.05

# A log of this length is folded even if nobody reads it, where max_records bounds it.
_LONG_LOG = 4096 * ENTRY_WIDTH

_FOLDS = 10  # how often a recorder folds at most, if each fold finds the log longer

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _live(fold: Fold) -> LiveFold:
    return fold if isinstance(fold, LiveFold) else built_at_once(lambda: live(fold))


class Storage:
    """The log, the fold of it, and the lock around the fold."""

    def __init__(self, max_records: int | None, tz: tzinfo | None, anchor_ns: Callable[[], int]) -> None:
        self._anchor_ns = anchor_ns  # tells what the wall clock is ahead of the monotonic clock now
        self._log: list[Any] = []
        self._ids = Ids(), Ids()  # of executions and of events
        self._fold: Fold = RowFold(ClockFace(tz), self._anchor_ns(), self._ids, max_records)
        self._live = self._fold.is_live  # whether the records may be in somebody's hands
        self._eager = self._fold.is_eager  # whether a recorder has to look if it is to fold
        self._locks: dict[int, Any] = {}  # by the number of forks that led to this process
        self._folding_since = -1  # the number of forks at which the running fold began
        self._writers: set[int] = set()  # threads that are writing this run

    # --- what readers see ---

    @property
    def routine_executions(self) -> dict[Any, list[Record]]:
        """The execution records of each routine, oldest first, as live containers."""
        return self._go_live().executions

    @routine_executions.setter
    def routine_executions(self, executions: dict[Any, list[Record]]) -> None:
        if not isinstance(executions, dict):
            raise InvalidRunError(
                f"routine_executions: expected a dict of lists of records, found {type(executions).__name__}"
            )
        self._hold(executions, None)

    @property
    def event_flow(self) -> list[Record]:
        """The event records, oldest first, as a live list."""
        return self._go_live().events

    @event_flow.setter
    def event_flow(self, events: list[Record]) -> None:
        if not isinstance(events, list):
            raise InvalidRunError(f"event_flow: expected a list of records, found {type(events).__name__}")
        self._hold(None, events)

    def _go_live(self) -> LiveFold:
        """Fold what was recorded, and have each later call folded at once: its records may be in a caller's hands."""
        with self._lock:
            # Recorders look at the flag after they have appended. Who saw it unset has appended before the next fold.
            self._replace_fold(_live)
            self._fold_log()
            while not isinstance(fold := self._fold, LiveFold):  # a signal handler has loaded another run
                self._replace_fold(_live)
        self._fold_now()  # what was recorded meanwhile, in the middle of that fold
        return fold

    def _hold(self, executions: dict[Any, list[Record]] | None, events: list[Record] | None) -> None:
        """Hold these containers from now on; None keeps those that there are."""
        with self._lock:
            self._replace_fold(lambda fold: holding(_live(fold), executions, events))
            self._fold_log()
        self._fold_now()

    def _take(self, run: Run, *, keeps_executions: bool = False, keeps_events: bool = False) -> None:
        """Fold what was recorded, then go on with another run, or a part of it; nobody holds its records.

        Every id that was given out before is gone: the run's own are made greater.
        """

        def fold_with(before: Fold) -> Fold:
            keeps = keeps_executions, keeps_events
            bases = [0, 0]
            for index, (ids, greatest) in enumerate(zip(self._ids, greatest_ids(run, (0, 0)), strict=True)):
                if keeps[index]:
                    ids.skip(greatest)
                elif greatest:
                    bases[index] = ids.reserve(greatest)
            taken = moved(copied_run(run), *bases) if any(bases) else run
            if not (keeps_executions or keeps_events):
                clock, anchor_ns = ClockFace(before.clock.tz), self._anchor_ns()
                return fold_of(taken._replace(clock=clock), anchor_ns, self._ids, before.max_records)
            kept = copied_run(before.run())
            if keeps_executions:
                mixed = kept._replace(events=taken.events, offsets=(kept.offsets[0], taken.offsets[1]))
            else:
                mixed = taken._replace(
                    events=kept.events,
                    dropped_events=kept.dropped_events,
                    offsets=(taken.offsets[0], kept.offsets[1]),
                    clock=kept.clock,
                )
            return fold_of(mixed, before.anchor_ns, self._ids, before.max_records)

        with self._lock:
            self._replace_fold(fold_with)

    def _replace_fold(self, build: Callable[[Fold], Fold]) -> None:
        """Fold what was recorded, then go on with the fold that is built of this one; the lock must be held.

        This may happen in the middle of a fold, out of a finalizer or a signal handler. The fold that is replaced then
        ends without another commit, and the new one folds the rest of its entries. And others may come in while the
        new one is built, and replace the fold themselves.
        """
        self._fold_log()
        outer, self._folding_since = self._folding_since, _forks  # nobody folds into the old one meanwhile
        try:
            while True:
                before = self._fold
                after = build(before)
                if after is before:
                    return
                rest, taken, everything = before.rest(), before.chunk, slice(None)
                items = iter(rest)
                entries = entries_of(items)
                if self._fold is before:
                    # commit
                    after.chunk = rest
                    after.items = items
                    after.entries = entries
                    after.issued = before.issued
                    after.entry = before.entry
                    before.entry = None
                    before.is_over = True
                    self._fold = after
                    self._live = after.is_live
                    self._eager = after.is_eager
                    del taken[everything]
                    break
            if outer == _forks:
                after.fold(self._log)
        finally:
            self._folding_since = outer

    def _run(self) -> Run:
        """Return one moment of what there is, less what users broke by hand."""
        reading: Callable[[], Run] = self._read(lambda fold: fold.reading())
        return reading()

    def _measure(self, measure: Callable[[Numbers, Any], Result]) -> Result:
        """Return something that is computed from the numbers of this run."""

        def read(fold: LiveFold | RowFold) -> Callable[[], Result]:
            if isinstance(fold, LiveFold):  # who holds the records may have changed them
                measuring = fold.measuring()
                return lambda: measure_anew(measuring())
            # A finalizer or a signal handler may ask in the middle of this, or raise.
            numbers, fold.numbers = fold.numbers or Numbers(), None
            numbers.update(fold)
            result = measure(numbers, fold)
            fold.numbers = numbers
            return lambda: result

        def measure_anew(measured: Measured) -> Result:
            numbers = Numbers()
            numbers.update(measured)
            return measure(numbers, measured)

        return self._read(read)()

    def _read(self, read: Callable[[Any], Result]) -> Result:
        """Return what is read of everything that was recorded."""
        with self._lock:
            self._fold_log()
            # A finalizer that reads while this goes on must not fold: it might change what is being read.
            outer, self._folding_since = self._folding_since, _forks
            try:
                result = read(self._fold)
            finally:
                self._folding_since = outer
        if self._live:
            self._fold_now()  # what was recorded meanwhile
        return result

    def _written(self, write: Callable[[Run], Result]) -> Result:
        """Return what is written of this run: nothing in a payload that leads back here while that goes on."""
        thread = threading.get_ident()
        if asking.depth and thread in self._writers:  # not a signal handler, which is to get all
            return write(RowFold(ClockFace(), 0, self._ids).run())
        is_outermost = thread not in self._writers
        self._writers.add(thread)
        try:
            return write(self._run())
        finally:
            if is_outermost:
                self._writers.discard(thread)

    # --- the fold, by one thread at a time ---

    def _fold_now(self, is_due: bool = False) -> None:
        """Fold on behalf of a recorder, if that is due: briefly, and without an error."""
        if not (is_due or self._live) and len(self._log) < _LONG_LOG:
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
                self._fold_log(is_read=self._live)
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

    def _fold_log(self, is_read: bool = True) -> None:
        """Fold every entry of the log, unless this thread is doing that already. The lock must be held.

        The lock lets the same thread in a second time: a finalizer or a signal handler may read in the middle of a
        fold. It sees what has been folded so far.
        """
        if self._folding_since == _forks:
            return
        self._folding_since = _forks
        try:
            self._fold.fold(self._log, is_read)
        finally:
            self._folding_since = -1

    @property
    def _lock(self) -> Any:
        # After a fork nobody is there to release the parent's lock: each process has one of its own.
        return self._locks.get(_forks) or self._locks.setdefault(_forks, threading.RLock())

    def _check(self) -> None:
        """Assert the invariants of the state while nobody folds; for tests."""
        assert self._folding_since == -1
        assert len(self._log) % ENTRY_WIDTH == 0
        self._fold.check()

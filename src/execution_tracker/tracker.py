"""The class that a flow engine holds."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from serilux import Serializable, SerializableRegistry

from execution_tracker import _metrics, persistence, tracking
from execution_tracker._recording import Recording
from execution_tracker._run import hashable
from execution_tracker.payloads import json_safe, snapshot
from execution_tracker.registration import register
from execution_tracker.timestamps import ClockFace

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo
    from os import PathLike
    from typing import ParamSpec, TypeVar

    Params = ParamSpec("Params")
    Result = TypeVar("Result")
    Tracker = TypeVar("Tracker", bound="ExecutionTracker")


@register
class ExecutionTracker(Recording, Serializable):
    """Keeps what a flow did: its executions, its events, and numbers computed from them on demand.

    Args:
        flow_id: The name of the flow.
        capture: Called on each payload (params, result, data) as it is recorded; what it returns is kept in its place.
            See :func:`~execution_tracker.snapshot`. By default payloads are kept by reference.
        max_records: Keep only so many ended executions of each routine, those that ended last, and the newest so many
            events. Counts, totals, averages, minima and maxima stay those of the whole life. By default everything is
            kept.
        tz: The time zone of the records' times, which then carry their offset. By default they are local and without.

    Raises:
        TypeError: ``capture`` is no function of one payload, or ``tz`` no time zone.
        ValueError: ``max_records`` is negative or no number, or ``tz`` does not tell its offset.

    Any number of threads and asyncio tasks may record while others read. Recording appends to a log; the records are
    made when somebody looks at them.

    >>> from execution_tracker import ExecutionTracker
    >>> tracker = ExecutionTracker("nightly")
    >>> execution = tracker.record_routine_start("parse", {"path": "a.md"})
    >>> event = tracker.record_event("parse", "parsed", "count")
    >>> tracker.record_routine_end("parse", result=120, execution_id=execution)
    >>> tracker.get_routine_performance("parse")["completed"]
    1
    >>> [event["event_name"] for event in tracker.event_flow]
    ['parsed']
    """

    def __init__(
        self,
        flow_id: str = "",
        *,
        capture: Callable[[Any], Any] | None = None,
        max_records: int | None = None,
        tz: tzinfo | None = None,
    ) -> None:
        """Make an empty tracker; the class tells what the settings do."""
        _check_settings(capture, max_records, tz)
        Serializable.__init__(self)
        Recording.__init__(self, capture, max_records, tz)
        self.fields_to_serialize = [*persistence.FIELDS]
        self.flow_id: str = flow_id
        self.performance_metrics: dict[str, Any] = {}

    def track(self, routine_id: Any, params: Any = None, *, caused_by: Any = None) -> tracking.Execution:
        """Return a context manager that records one execution, from the start of the block to its end.

        Args:
            routine_id: The routine, as for :meth:`record_routine_start`.
            params: What it was called with, kept by reference.
            caused_by: The ids of the events that started it, as for :meth:`record_routine_start`.

        Returns:
            An :class:`~execution_tracker.tracking.Execution` for ``with`` and ``async with``, on which ``result``,
            ``status`` and ``error`` can be set inside the block. It can be entered once.

        What starts inside the block, also in tasks that are made there, has it as its parent; events of the same
        routine come from it. An exception that leaves the block makes the execution ``"failed"``, with
        ``TypeName: message`` as its error, and goes on. One that is no ``Exception`` makes it ``"cancelled"``: a
        cancelled task, a generator that is closed in the block, an interrupt, an exit. Blocks may be nested, recursive
        and concurrent; each ends its own start.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> with tracker.track("parse", {"path": "a.md"}) as execution:
        ...     execution.result = 120
        >>> tracker.routine_executions["parse"][0]["result"]
        120
        """
        return tracking.Execution(self, routine_id, params, caused_by)

    def tracked(self, routine_id: Any = None) -> Callable[[Callable[Params, Result]], Callable[Params, Result]]:
        """Return a decorator that records each call of a function as an execution, as :meth:`track` would.

        Args:
            routine_id: The routine; by default the function's name, for a method ``Class.method``.

        Returns:
            A decorator for ``def`` and ``async def``, generators of both kinds, methods, ``staticmethod`` and
            ``classmethod`` (below or above it), and objects that are called like functions.

        Raises:
            TypeError: What is decorated is no function, but a class, say.

        The params are the arguments that the call passes, by name; ``self`` and ``cls`` are left out, and so are
        defaults. The result is what the function returns, both by reference. A call with wrong arguments is recorded as
        failed. A generator is recorded from its first step until it is exhausted; one that is closed before is
        ``"cancelled"``, and one that takes no step leaves no record. Who takes a step is not inside the execution.
        Costs about two microseconds a call.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> @tracker.tracked()
        ... def count(text, sep=None):
        ...     return len(text.split(sep))
        >>> count("to be or not to be")
        6
        >>> tracker.routine_executions["count"][0]["params"]
        {'text': 'to be or not to be'}
        """
        if callable(routine_id):
            raise TypeError("tracked() takes a routine id; decorate with @tracker.tracked(), parentheses included")
        return lambda func: tracking.tracked(self, func, routine_id)

    def get_routine_performance(self, routine_id: Any) -> dict[str, Any] | None:
        """Return the numbers of one routine.

        Args:
            routine_id: The routine, as given to :meth:`record_routine_start`.

        Returns:
            Counts, ``success_rate`` (completed of all), and execution times in seconds, 0 where nothing ended. None for
            a routine without records.

        A first call reads everything, a later one what is new.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> _ = tracker.record_routine_start("parse")
        >>> tracker.get_routine_performance("parse")["running"]
        1
        >>> tracker.get_routine_performance("unknown") is None
        True
        """
        known = hashable(routine_id)
        return self._measure(lambda numbers, run: _metrics.routine_performance(numbers, run, known))

    def get_flow_performance(self) -> dict[str, Any]:
        """Return the four numbers of the whole flow.

        Returns:
            ``total_routines``, ``total_events``, ``total_execution_time`` (the sum of all execution times, in seconds)
            and ``avg_routine_time`` (the mean of the routines' averages, in seconds).

        A first call reads everything, a later one what is new.

        >>> from execution_tracker import ExecutionTracker
        >>> ExecutionTracker().get_flow_performance()["total_events"]
        0
        """
        return self._measure(_metrics.flow_performance)

    def get_performance_metrics(self) -> dict[str, Any]:
        """Return everything that can be said of the run in numbers, and keep it in ``performance_metrics``.

        Returns:
            A JSON-safe dict: counts, times in seconds with percentiles, ``wall_time``, ``throughput``, ``event_rate``,
            ``peak_concurrency`` and ``avg_concurrency``, the performance of each routine in ``routines``,
            ``bottlenecks`` (by self time: the time of an execution less that of those inside it), and what is missing
            (``dropped_executions``, ``dropped_events``, ``unmatched_ends``).

        The first call reads everything, a later one what is new; all of it again while somebody holds the records.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker("nightly")
        >>> tracker.record_routine_end("parse")
        >>> tracker.get_performance_metrics()["unmatched_ends"]
        1
        """
        flow_id = self.flow_id
        self.performance_metrics = self._measure(lambda numbers, run: _metrics.run_metrics(flow_id, numbers, run))
        return self.performance_metrics

    def serialize(self, max_depth: int = 100, _current_depth: int = 0) -> dict[str, Any]:
        """Return the run as JSON-safe data, whatever was recorded.

        Args:
            max_depth: For serilux, which passes it on; the depth of payloads is bounded anyway.

        Returns:
            A dict that ``json.dumps`` takes, independent of the tracker: ``_type`` and the four fields. Within a
            payload that leads back to this tracker, it has no records.

        >>> from execution_tracker import ExecutionTracker
        >>> sorted(ExecutionTracker("nightly").serialize())
        ['_type', 'event_flow', 'flow_id', 'performance_metrics', 'routine_executions']
        """
        fields = self._fields(max_depth, _current_depth)
        return self._written(lambda run: persistence.run_data(fields, run))

    def _fields(self, max_depth: int = 100, depth: int = 0) -> persistence.Fields:
        """Return what is written beside the run; fields that a subclass added in the way of serilux, but JSON-safe."""
        own = type(self)
        type_name = own.__name__ if SerializableRegistry.registry.get(own.__name__) is own else persistence.TYPE_NAME
        added = {}
        for name in self._added_fields():
            holder = _holder({name: getattr(self, name, None)})
            try:
                value = holder.serialize(max_depth, depth)[name]
            except Exception:  # serilux has no form for it
                value = getattr(self, name, None)
            added[name] = json_safe(value)
        return persistence.Fields(self.flow_id, self.performance_metrics, type_name, added)

    def _added_fields(self) -> list[str]:
        return [name for name in self.fields_to_serialize if name not in persistence.FIELDS]

    def deserialize(self, data: dict[str, Any], strict: bool = False, registry: Any = None) -> None:
        """Take over a run that was serialized, here or by upstream, in place of what was recorded.

        Args:
            data: What :meth:`serialize` gave. A field that is missing leaves what the tracker has.
            strict: Refuse fields that are unknown.
            registry: For serilux, which passes it on. Payloads are data here: nothing in them is looked up or called.

        Raises:
            InvalidRunError: The data is not a run. The tracker stays as it was.

        >>> from execution_tracker import ExecutionTracker
        >>> tracker = ExecutionTracker()
        >>> tracker.deserialize({"flow_id": "nightly", "event_flow": []})
        >>> tracker.flow_id
        'nightly'
        """
        added = self._added_fields()
        run = persistence.checked_run(data, strict=strict, type_name=type(self).__name__, added=added)
        self._take_over(persistence.detached(run), registry)

    def _take_over(self, run: persistence.CheckedRun, registry: Any = None) -> None:
        fields = run.fields
        holder = _holder({name: fields[name] for name in self._added_fields() if name in fields})
        holder.deserialize(vars(holder), registry=registry)  # first, as it may refuse what it finds
        has_executions, has_events = "routine_executions" in fields, "event_flow" in fields
        if has_executions or has_events:
            self._take(run.run(), keeps_executions=not has_executions, keeps_events=not has_events)
        self.flow_id = fields.get("flow_id", self.flow_id)
        self.performance_metrics = fields.get("performance_metrics", self.performance_metrics)
        for name in holder.fields_to_serialize:
            setattr(self, name, getattr(holder, name))

    def save(self, path: str | bytes | PathLike[Any]) -> None:
        """Write the run to a file, which then holds ``json.dumps(tracker.serialize())``.

        Args:
            path: The file. It is compressed if its name ends in ``.gz``.

        Raises:
            OSError: The system does not take it.

        Whatever happens meanwhile, a crash or a full disk, the file is the old one or the new one. It is written beside
        the old one first, so there must be room for both. Others may record and read meanwhile. A million records take
        a few seconds, and next to no memory beyond the tracker's own.

        >>> import os, tempfile
        >>> from execution_tracker import ExecutionTracker
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ExecutionTracker("nightly").save(os.path.join(folder, "run.json"))
        ...     os.listdir(folder)
        ['run.json']
        """
        from execution_tracker import files

        fields = self._fields()
        self._written(lambda run: files.write_run(path, files.run_text(fields, run)))

    @classmethod
    def load(cls: type[Tracker], path: str | bytes | PathLike[Any]) -> Tracker:
        """Return a tracker with the run in a file that :meth:`save` wrote, or that holds upstream's ``serialize()``.

        Args:
            path: The file, compressed or not, whatever its name.

        Raises:
            InvalidRunError: There is no run in it; the message names the file and the place.
            OSError: The system does not give the file.

        Takes a little longer than ``json.load``. Payloads come back as data: nothing in them is looked up or called.

        >>> import os, tempfile
        >>> from execution_tracker import ExecutionTracker
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "run.json.gz")
        ...     ExecutionTracker("nightly").save(path)
        ...     ExecutionTracker.load(path).flow_id
        'nightly'
        """
        from execution_tracker import files

        tracker = cls()
        tracker._take_over(files.read_run(path, tracker._added_fields()))
        return tracker

    def __repr__(self) -> str:
        try:
            from execution_tracker.report import notebook

            return notebook.short_text(self)
        except Exception:  # not made entirely, or the interpreter shuts down
            return object.__repr__(self)

    def _repr_html_(self) -> str | None:
        """Show the run in a notebook."""
        try:
            from execution_tracker.report import notebook

            return notebook.html_text(self)
        except Exception:
            return None  # the notebook shows the repr


def _holder(values: dict[str, Any]) -> Serializable:
    """Return something that serilux serializes and deserializes as an object with these fields and no others."""
    holder = Serializable()
    holder.fields_to_serialize = [*values]
    vars(holder).update(values)
    return holder


def _check_settings(capture: object, max_records: object, tz: object) -> None:
    """Refuse now what would otherwise fail at the first record."""
    if capture is snapshot or not (capture is None or callable(capture)):
        raise TypeError(f"capture: expected a function of one payload, such as snapshot() gives; found {capture!r}")
    if max_records is not None and (not isinstance(max_records, int) or max_records < 0):
        raise ValueError(f"max_records: expected a whole number from 0 on, or None for all; found {max_records!r}")
    if tz is not None:
        from datetime import tzinfo  # only for those who have one

        if not isinstance(tz, tzinfo):
            raise TypeError(f"tz: expected a time zone, such as datetime.timezone.utc or a ZoneInfo; found {tz!r}")
        try:
            ClockFace(tz).text(time_ns())
        except Exception as error:
            raise ValueError(f"tz: expected a time zone that tells its offset; found {tz!r}") from error

"""A run as OpenTelemetry spans, for any back end that takes them."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any

from execution_tracker._metrics import named
from execution_tracker._run import run_of
from execution_tracker._timeline import Timeline
from execution_tracker.errors import TrackerError
from execution_tracker.export import filled, text
from execution_tracker.payloads import as_key, json_safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

    from execution_tracker._timeline import Emission, Execution, Link, Timeline
    from execution_tracker.tracker import ExecutionTracker

_PAYLOADS = {"params", "result", "data"}
_NUMBERS = {"execution_id", "parent_id", "event_id"}
_FACTS = ("status", "params", "result", "error", "execution_id", "parent_id", "worker")
_EVENT_FACTS = ("source_routine_id", "target_routine_id", "data", "event_id")

# OpenTelemetry's batch processor sends so many spans at a time. It holds four times as many and drops what is more, so
# there is room left for those of the rest of the program.
_FLUSH_EVERY = 512
_PATIENCE_S = 5

_LATEST_NS = 2**63 - 1  # exporters write times as unsigned numbers of 64 bits, some back ends read signed ones

_ERROR_TYPE = re.compile(r"([^\W\d][\w.]*)(:|$)")


def export_spans(
    tracker: ExecutionTracker, tracer_provider: TracerProvider | None = None, *, context: Context | None = None
) -> int:
    """Give a run to OpenTelemetry: a span for the run, and below it one for each execution.

    Args:
        tracker: The run.
        tracer_provider: Where the spans go. By default the global provider.
        context: The run goes below the span of this context. By default it is a trace of its own.

    Returns:
        The number of spans that the provider took, that of the run included. What its sampler dropped does not count.

    Raises:
        TrackerError: OpenTelemetry is not installed, there is no provider, or the provider failed or is shut down. What
            it has got by then stays there.

    The span of the run is named by the flow id (``run`` where that is empty) and lasts from the first moment of the run
    to the last. An execution's span is named by its routine, has its exact times and lies below that of its parent; one
    that still runs ends with the run and has the status ``running`` in its attributes. One that failed has the status
    ERROR with its message. Events are span events of the execution that emitted them, else of the run. An execution
    links to the emitter of each event that led to it; the link tells the ``event_id``, and says ``inferred`` where no
    cause was recorded. Attributes begin with ``execution_tracker.``; params, result and data are JSON texts. These and
    all texts are shortened as by :func:`~execution_tracker.snapshot`.

    Spans are given in the order of their starts, that of the run last, and flushed as they come, so that no processor
    has to hold more than 512. An exporter that cannot reach its back end says so in the log of OpenTelemetry's SDK, and
    nowhere else; once a flush has taken five seconds, the rest is given without waiting. OpenTelemetry keeps 128 events
    and links of a span, unless its limits are set otherwise. Records and events without a readable time are left out.
    10,000 executions take a second or two.

    :class:`SpanExport` does the same for a run that grows, and tells the ids of the trace and the spans.

    Example::

        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        print(export_spans(tracker, provider), "spans")
    """
    return SpanExport(tracker, tracer_provider, context=context).close()


class SpanExport:
    """A run on its way to OpenTelemetry, bit by bit while it grows; each span is sent once.

    Args:
        tracker: The run.
        tracer_provider: Where the spans go. By default the global provider.
        context: The run goes below the span of this context. By default it is a trace of its own.

    Raises:
        TrackerError: OpenTelemetry is not installed, or there is no provider.

    Each :meth:`export` sends what has ended since the one before; :meth:`close`, or the end of a ``with`` block, sends
    the rest. Spans are as :func:`export_spans` describes them. All are below the span of the run, which comes last,
    as roots of a trace do: until then, back ends show the trace without its root. What is sent stays as it was:

    - an execution is sent when it has ended, so its span tells how;
    - an event that comes after the span of its emitter was sent is an event of the run's span, with the
      ``execution_id``;
    - where no cause was recorded, links are those that are inferred at the time;
    - what ``max_records`` drops between two exports is not sent.

    ``span_contexts`` holds the :class:`opentelemetry.trace.SpanContext`, and so the ids, of each span that was begun:
    by the id of the execution, and under None that of the run. Those of executions that the tracker has dropped are
    forgotten. An export reads all that the tracker holds. One thread at a time can use it.

    Example::

        with SpanExport(tracker, provider) as export:
            while flow.is_running():
                time.sleep(10)
                export.export()
        print(format_trace_id(export.span_contexts[None].trace_id))
    """

    def __init__(
        self,
        tracker: ExecutionTracker,
        tracer_provider: TracerProvider | None = None,
        *,
        context: Context | None = None,
    ) -> None:
        self._tracker = tracker
        self._provider = _provider(tracer_provider)
        self._around = context
        self.span_contexts: dict[int | None, SpanContext] = {}
        self._root: Span | None = None
        self._open: dict[int, Span] = {}  # begun and not sent, since what was sent lies below it or links to it
        self._told: set[int] = set()  # events that were sent
        self._last_ns = 0
        self._is_closed = False

    def export(self) -> int:
        """Send the executions that have ended since the last time, with their events.

        Returns:
            The number of spans that the provider took.

        Raises:
            TrackerError: The provider failed or is shut down, or this is closed. What is sent is not sent again.
        """
        return self._send(is_last=False)

    def close(self) -> int:
        """Send what is left: executions that still run, with the status ``running``, and the span of the run.

        Returns:
            The number of spans that the provider took; 0 if this was closed before.

        Raises:
            TrackerError: The provider failed or is shut down.
        """
        return 0 if self._is_closed else self._send(is_last=True)

    def __enter__(self) -> SpanExport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, is_last: bool) -> int:
        if self._is_closed:
            raise TrackerError("this export is closed; make another one to send the run again")
        run, taken = run_of(self._tracker), 0
        timeline = Timeline(run)
        with _failures_named():
            tracer = self._provider.get_tracer("execution_tracker")
            flusher = _Flusher(self._provider, tracer)
            for number, is_taken in enumerate(self._sent(tracer, timeline, is_last), 1):
                taken += is_taken
                if number % _FLUSH_EVERY == 0:
                    flusher.flush()
            flusher.flush()
        return taken

    def _sent(self, tracer: Tracer, timeline: Timeline, is_last: bool) -> Iterator[bool]:
        """Send what is new, the run last, and yield for each span whether the provider took it."""
        executions = timeline.executions
        first_ns, last_ns = _extent(executions, timeline.emissions)
        self._last_ns = max(self._last_ns, last_ns)
        spans = _Spans(self, tracer, timeline, self._begun_root(tracer, first_ns))
        events = self._new_events(timeline)
        self._add_events(spans.root, events.get(None, ()), is_root=True)
        for position, execution in enumerate(executions):
            if self._is_sent(execution.execution_id) or (execution.elapsed_ns is None and not is_last):
                continue
            span = spans.complete(position)
            self._add_events(span, events.get(position, ()))
            del self._open[execution.execution_id]
            yield _ended(span, self._last_ns if execution.end_ns is None else execution.end_ns)
        if is_last:
            self._is_closed = True
            for span in self._open.values():  # dropped by the tracker in the meantime
                yield _ended(span, self._last_ns)
            spans.root.set_attributes(_dropped(timeline))
            yield _ended(spans.root, self._last_ns)
        self._forget(timeline)

    def _begun_root(self, tracer: Tracer, first_ns: int) -> Span:
        from opentelemetry.context import Context

        if self._root is None:
            flow_id = text(self._tracker.flow_id)
            # Not the current context: whatever span is current where this is called has no part in the run.
            self._around = Context() if self._around is None else self._around
            attributes = _attributes({"flow_id": flow_id})
            start_ns = _time(first_ns)
            self._root = tracer.start_span(flow_id or "run", self._around, attributes=attributes, start_time=start_ns)
            self.span_contexts[None] = self._root.get_span_context()
        return self._root

    def _is_sent(self, execution_id: int) -> bool:
        return execution_id in self.span_contexts and execution_id not in self._open

    def _new_events(self, timeline: Timeline) -> dict[int | None, list[Emission]]:
        """Return events that were not sent, by the position of their emitter; None where its span can take no more."""
        news: dict[int | None, list[Emission]] = {}
        for emission in timeline.emissions:
            if emission.event_id not in self._told:
                source = emission.source
                if source is not None and self._is_sent(timeline.executions[source].execution_id):
                    source = None
                news.setdefault(source, []).append(emission)
        return news

    def _add_events(self, span: Span, emissions: Iterable[Emission], is_root: bool = False) -> None:
        for emission in emissions:
            facts = filled(emission, *_EVENT_FACTS)
            if is_root and emission.emitter is not None:
                facts["execution_id"] = emission.emitter
            span.add_event(text(emission.event_name), _attributes(facts), _time(emission.at_ns))
            self._told.add(emission.event_id)

    def _forget(self, timeline: Timeline) -> None:
        """Forget what the tracker has dropped: it does not come again."""
        self._told.intersection_update([emission.event_id for emission in timeline.emissions])
        kept = {None, *self._open, *(execution.execution_id for execution in timeline.executions)}
        for execution_id in self.span_contexts.keys() - kept:
            del self.span_contexts[execution_id]


def _provider(tracer_provider: TracerProvider | None) -> TracerProvider:
    try:
        from opentelemetry import trace
    except ImportError:
        raise TrackerError(
            "OpenTelemetry is not installed; install it with: pip install 'execution-tracker[otel]'"
        ) from None
    provider = trace.get_tracer_provider() if tracer_provider is None else tracer_provider
    if isinstance(provider, trace.ProxyTracerProvider):
        raise TrackerError("there is no tracer provider; pass one, or set one with opentelemetry.trace")
    return provider


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except TrackerError:
        raise
    except Exception as error:
        raise TrackerError(f"the tracer provider failed: {json_safe(error)}") from error


class _Flusher:
    """Flushes a provider while that does not take too long."""

    def __init__(self, provider: Any, tracer: Any) -> None:
        # A provider that wraps the SDK's may have no force_flush. The SDK's tracer has its processor.
        flushed = provider if hasattr(provider, "force_flush") else getattr(tracer, "span_processor", None)
        self._force_flush = getattr(flushed, "force_flush", None)
        self.flush()  # what waits there from others

    def flush(self) -> None:
        if self._force_flush is None:
            return
        begun_s = monotonic()
        if self._force_flush() is False:
            raise TrackerError("the tracer provider does not take the spans: it is shut down, or too slow")
        if monotonic() - begun_s > _PATIENCE_S:  # each flush would take as long where a back end cannot be reached
            self._force_flush = None


class _Spans:
    """The spans of executions, each begun in its turn, or before if a child or a link needs it."""

    def __init__(self, export: SpanExport, tracer: Tracer, timeline: Timeline, root: Span) -> None:
        from opentelemetry.trace import set_span_in_context

        self.root = root
        self._tracer = tracer
        self._executions, self._emissions = timeline.executions, timeline.emissions
        self._names = named(timeline.run.routines)
        self._within = set_span_in_context(root, export._around)
        self._parents = timeline.parents
        self._contexts, self._open = export.span_contexts, export._open
        self._links: dict[int, list[Link]] = {}
        for link in timeline.links:
            self._links.setdefault(link.execution, []).append(link)

    def complete(self, position: int) -> Span:
        """Return the span of an execution with all that is known of it, for its end."""
        from opentelemetry.trace import StatusCode

        execution = self._executions[position]
        was_begun = execution.execution_id in self._open
        self._begin(position)
        span = self._open[execution.execution_id]
        if was_begun:  # perhaps while it was running
            span.set_attributes(self._facts(execution))
        if text(execution.status) == "failed":
            message = text(execution.error)
            kind = _ERROR_TYPE.match(message)
            span.set_attribute("error.type", kind[1] if kind else "_OTHER")
            span.set_status(StatusCode.ERROR, message or None)
        for link in self._links.get(position, ()):
            emission = self._emissions[link.emission]
            if emission.source is not None:
                self._begin(emission.source)
                emitter = self._contexts[self._executions[emission.source].execution_id]
                facts = _attributes(filled(emission, "event_name", "event_id"))
                span.add_link(emitter, facts | ({"execution_tracker.inferred": True} if link.is_inferred else {}))
        return span

    def _begin(self, position: int) -> None:
        """Begin a span, if that has not been done; before it its parent, and so on."""
        missing: dict[int, None] = {}
        each: int | None = position
        # Parents in a file may lead round in a circle.
        while each is not None and each not in missing and self._executions[each].execution_id not in self._contexts:
            missing[each] = None
            each = self._parents[each]
        for each in reversed(missing):
            execution = self._executions[each]
            span = self._open[execution.execution_id] = self._started(execution)
            self._contexts[execution.execution_id] = span.get_span_context()

    def _started(self, execution: Execution) -> Span:
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        within = self._within
        if execution.parent_id is not None and execution.parent_id in self._contexts:
            within = set_span_in_context(NonRecordingSpan(self._contexts[execution.parent_id]), within)
        name, start_ns = self._names[execution.routine_id], _time(execution.start_ns)
        return self._tracer.start_span(name, within, attributes=self._facts(execution), start_time=start_ns)

    def _facts(self, execution: Execution) -> dict[str, Any]:
        routine_id = text(self._names[execution.routine_id])
        return _attributes({"routine_id": routine_id} | filled(execution, *_FACTS))


def _extent(executions: list[Execution], emissions: list[Emission]) -> tuple[int, int]:
    """Return the first and the last moment of a run; now, if it has none."""
    moments = [emission.at_ns for emission in emissions]
    moments += (execution.start_ns for execution in executions)
    moments += (end_ns for execution in executions if (end_ns := execution.end_ns) is not None)
    return (min(moments), max(moments)) if moments else (time_ns(),) * 2


def _dropped(timeline: Timeline) -> dict[str, int]:
    return {
        "execution_tracker.dropped_executions": timeline.run.dropped_executions,
        "execution_tracker.dropped_events": timeline.run.dropped_events,
    }


def _attributes(facts: dict[str, Any]) -> dict[str, Any]:
    """Return JSON-safe facts as attributes: texts but for ids, since back ends want one type for each name."""
    return {f"execution_tracker.{name}": _attribute(name, fact) for name, fact in facts.items()}


def _attribute(name: str, fact: Any) -> Any:
    if name in _NUMBERS:
        return fact
    return json.dumps(fact, ensure_ascii=False) if name in _PAYLOADS else as_key(fact)


def _ended(span: Span, end_ns: int) -> bool:
    is_recording = span.is_recording()
    span.end(_time(end_ns))
    return is_recording


def _time(ns: int) -> int:
    return min(max(ns, 0), _LATEST_NS)

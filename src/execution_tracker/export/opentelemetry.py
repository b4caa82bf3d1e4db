"""A run as OpenTelemetry spans, for any back end that takes them."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from time import time_ns
from typing import TYPE_CHECKING, Any

from execution_tracker._metrics import named
from execution_tracker._run import run_of
from execution_tracker._timeline import timeline_of
from execution_tracker.collector import built_at_once
from execution_tracker.errors import TrackerError
from execution_tracker.export import filled, text
from execution_tracker.payloads import as_key, json_safe
from execution_tracker.tracking import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

    from execution_tracker._run import Run
    from execution_tracker._timeline import Emission, Execution, Link, Timeline
    from execution_tracker.tracker import ExecutionTracker

_PAYLOADS = {"params", "result", "data"}
_NUMBERS = {"execution_id", "parent_id"}
_FACTS = ("status", "params", "result", "error", "execution_id", "parent_id", "worker")

# OpenTelemetry's batch processor sends so many spans at a time. It holds four times as many and drops what is more, so
# there is room left for those of the rest of the program.
_FLUSH_EVERY = 512

_NOT_TAKEN = "the tracer provider does not take the spans: it is shut down, or its exporter is too slow"
_SHUT_DOWN = "_shutdown", "done"  # a processor's mark today, and in older versions

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
        TrackerError: OpenTelemetry is not installed, there is no provider, or the provider or one of its exporters
            failed, takes too long or is shut down. What it has got by then stays there.

    The span of the run is named by the flow id (``run`` where that is empty) and lasts from the first moment of the run
    to the last. An execution's span is named by its routine, has its exact times and lies below that of its parent; one
    that still runs ends with the run and has the status ``running`` in its attributes. One that failed has the status
    ERROR with its message. Events are span events of the execution that emitted them, else of the run, and an execution
    links to every execution whose events led to it; the link says ``inferred`` where no cause was recorded. Attributes
    begin with ``execution_tracker.``; params, result and data are JSON texts. These and all texts are shortened as by
    :func:`~execution_tracker.snapshot`.

    Spans are given in the order of their starts, that of the run last, and flushed as they come, so that no processor
    has to hold more than 512. OpenTelemetry keeps 128 events and links of a span, unless its limits are set otherwise.
    An exporter that cannot reach its back end holds up the call for its timeout. Records and events without a readable
    time are left out. 10,000 executions take a few seconds.

    Example::

        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        print(export_spans(tracker, provider), "spans")
    """
    try:
        from opentelemetry import trace
    except ImportError:
        raise TrackerError(
            "OpenTelemetry is not installed; install it with: pip install 'execution-tracker[otel]'"
        ) from None
    provider = trace.get_tracer_provider() if tracer_provider is None else tracer_provider
    if isinstance(provider, trace.ProxyTracerProvider):
        raise TrackerError("there is no tracer provider; pass one, or set one with opentelemetry.trace")
    run, flow_id, taken = run_of(tracker), text(tracker.flow_id), 0
    timeline = built_at_once(lambda: timeline_of(run))
    try:
        tracer = provider.get_tracer("execution_tracker")
        # The SDK's tracer knows its processor, also behind a provider that wraps the SDK's and has no force_flush.
        processor = getattr(tracer, "span_processor", None)
        flushed = provider if hasattr(provider, "force_flush") else processor
        _flush(flushed)  # what waits there from others
        with _exporters_failures(processor) as failures:
            for number, is_recording in enumerate(_spans(tracer, flow_id, timeline, context), 1):
                taken += is_recording
                if number % _FLUSH_EVERY == 0:
                    _flush(flushed)
                _check(failures)
            _flush(flushed)
            _check(failures)
    except TrackerError:
        raise
    except Exception as error:
        raise TrackerError(f"the tracer provider failed: {json_safe(error)}") from error
    return taken


def _flush(provider: Any) -> None:
    flush = getattr(provider, "force_flush", None)
    if flush is not None and flush() is False:
        raise TrackerError(_NOT_TAKEN)


def _leaves(processor: Any) -> Iterator[Any]:
    """Yield the processors that a processor of several is made of, itself if it is one."""
    parts = getattr(processor, "_span_processors", None)
    if parts is None:
        yield processor
    for part in parts or ():
        yield from _leaves(part)


@contextmanager
def _exporters_failures(processor: Any) -> Iterator[list[str]]:
    """Collect what the exporters of a provider fail with meanwhile.

    The SDK logs an error of an exporter, and forgets that it returned a failure: the spans are gone, and nobody can ask
    for it. So each exporter has another ``export`` for this time.
    """
    failures: list[str] = []
    noted: list[dict[str, Any]] = []
    processors = list(_leaves(processor))
    if any(getattr(processor, name, None) is True for processor in processors for name in _SHUT_DOWN):
        raise TrackerError(_NOT_TAKEN)
    for processor in processors:
        exporter: Any = getattr(processor, "span_exporter", None)
        with suppress(AttributeError, TypeError):  # there is none, or it has no room
            if "export" not in vars(exporter):
                exporter.export = _noting(exporter.export, failures)
                noted.append(vars(exporter))
    try:
        yield failures
    finally:
        for attributes in noted:
            attributes.pop("export", None)


def _check(failures: list[str]) -> None:
    if failures:
        raise TrackerError(f"the exporter of the tracer provider failed: {failures[0]}")


def _noting(export: Callable[[Any], Any], failures: list[str]) -> Callable[[Any], Any]:
    def export_and_note(spans: Any) -> Any:
        try:
            result = export(spans)
        except Exception as error:
            failures.append(error_text(error))
            raise
        if getattr(result, "name", "") == "FAILURE":
            failures.append("it did not deliver the spans; its log may tell why")
        return result

    return export_and_note


def _spans(tracer: Tracer, flow_id: str, timeline: Timeline, context: Context | None) -> Iterator[bool]:
    """Give a run to a tracer, its root last, and yield for each span whether the tracer took it."""
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    run, executions, emissions, links = timeline.run, timeline.executions, timeline.emissions, timeline.links
    emitted: dict[int | None, list[Emission]] = {}
    for emission in emissions:
        emitted.setdefault(emission.source, []).append(emission)
    led_to: dict[int, list[Link]] = {}
    for link in links:
        led_to.setdefault(link.execution, []).append(link)
    first_ns, last_ns = _extent(executions, emissions)
    # Not the current context: whatever span is current where this is called has no part in the run.
    around = Context() if context is None else context
    root = tracer.start_span(flow_id or "run", around, attributes=_run_facts(flow_id, run), start_time=_time(first_ns))
    _add_events(root, emitted.get(None, ()))
    begun = _Spans(tracer, named(run.routines), executions, set_span_in_context(root, around))
    for position, execution in enumerate(executions):
        span = begun.take(position)
        for link in led_to.get(position, ()):
            emission = emissions[link.emission]
            if emission.source is not None:
                facts = _attributes(filled(emission, "event_name"))
                span.add_link(begun.context_of(emission.source), facts | _inferred(link))
        _add_events(span, emitted.get(position, ()))
        yield _ended(span, last_ns if execution.end_ns is None else execution.end_ns)
    yield _ended(root, last_ns)


class _Spans:
    """The spans of executions, each begun in its turn, or before if a child or a link needs it.

    A span that has ended is kept no longer, only what links and children need of it.
    """

    def __init__(self, tracer: Tracer, names: dict[Any, str], executions: list[Execution], within: Context) -> None:
        self._tracer = tracer
        self._names = names
        self._executions = executions
        self._within = within
        self._positions = {execution.execution_id: position for position, execution in enumerate(executions)}
        self._contexts: dict[int | None, SpanContext] = {}
        self._begun: dict[int, Span] = {}

    def take(self, position: int) -> Span:
        """Return the span of the execution at a position, for its end."""
        self._begin(position)
        return self._begun.pop(position)

    def context_of(self, position: int) -> SpanContext:
        """Return what a link needs of a span."""
        self._begin(position)
        return self._contexts[position]

    def _begin(self, position: int) -> None:
        """Begin a span, if that has not been done; before it its parent, and so on."""
        missing: dict[int, None] = {}
        each: int | None = position
        while each is not None and each not in self._contexts and each not in missing:  # ids of a file may lead round
            missing[each] = None
            each = self._parent_of(each)
        for each in reversed(missing):
            span = self._begun[each] = self._started(each)
            self._contexts[each] = span.get_span_context()

    def _parent_of(self, position: int) -> int | None:
        return self._positions.get(self._executions[position].parent_id or 0)

    def _started(self, position: int) -> Span:
        from opentelemetry.trace import NonRecordingSpan, StatusCode, set_span_in_context

        execution = self._executions[position]
        name, facts = self._names[execution.routine_id], filled(execution, *_FACTS)
        parent, within = self._contexts.get(self._parent_of(position)), self._within
        if parent is not None:
            within = set_span_in_context(NonRecordingSpan(parent), within)
        attributes = _attributes({"routine_id": text(name)} | facts)
        span = self._tracer.start_span(name, within, attributes=attributes, start_time=_time(execution.start_ns))
        if facts.get("status") == "failed":
            message = as_key(facts.get("error", ""))
            kind = _ERROR_TYPE.match(message)
            span.set_attribute("error.type", kind[1] if kind else "_OTHER")
            span.set_status(StatusCode.ERROR, message or None)
        return span


def _extent(executions: list[Execution], emissions: list[Emission]) -> tuple[int, int]:
    """Return the first and the last moment of a run; now, if it has none."""
    moments = [emission.at_ns for emission in emissions]
    moments += (execution.start_ns for execution in executions)
    moments += (end_ns for execution in executions if (end_ns := execution.end_ns) is not None)
    return (min(moments), max(moments)) if moments else (time_ns(),) * 2


def _add_events(span: Span, emissions: Iterable[Emission]) -> None:
    for emission in emissions:
        facts = filled(emission, "source_routine_id", "target_routine_id", "data")
        span.add_event(text(emission.event_name), _attributes(facts), _time(emission.at_ns))


def _run_facts(flow_id: str, run: Run) -> dict[str, Any]:
    return _attributes({"flow_id": flow_id}) | {
        "execution_tracker.dropped_executions": run.dropped_executions,
        "execution_tracker.dropped_events": run.dropped_events,
    }


def _inferred(link: Link) -> dict[str, Any]:
    return {"execution_tracker.inferred": True} if link.is_inferred else {}


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

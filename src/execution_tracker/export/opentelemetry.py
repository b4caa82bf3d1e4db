"""A run as OpenTelemetry spans, for any back end that takes them."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import attrgetter
from time import time_ns
from typing import TYPE_CHECKING, Any

from execution_tracker.analysis import timeline_of
from execution_tracker.errors import TrackerError
from execution_tracker.export import filled, text
from execution_tracker.payloads import as_key, json_safe
from execution_tracker.persistence import names_of
from execution_tracker.tracking import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

    from execution_tracker.analysis import Emission, Execution
    from execution_tracker.folding import Snapshot
    from execution_tracker.tracker import ExecutionTracker

_PAYLOADS = {"params", "result", "data"}

# OpenTelemetry's batch processor sends so many spans at a time. It holds four times as many and drops what is more, so
# there is room left for those of the rest of the program.
_FLUSH_EVERY = 512

_NOT_TAKEN = "the tracer provider does not take the spans: it is shut down, or its exporter is too slow"
_SHUT_DOWN = "_shutdown", "done"  # a processor's mark today, and in older versions

_LATEST_NS = 2**63 - 1  # exporters write times as unsigned numbers of 64 bits, some back ends read signed ones

_ERROR_TYPE = re.compile(r"([^\W\d][\w.]*)(:|$)")


def export_spans(tracker: ExecutionTracker, tracer_provider: TracerProvider | None = None) -> int:
    """Give a run to OpenTelemetry: one trace, with a span for the run and a span in it for each execution.

    Args:
        tracker: The run.
        tracer_provider: Where the spans go. By default the global provider.

    Returns:
        The number of spans that the provider took, that of the run included. What its sampler dropped does not count.

    Raises:
        TrackerError: OpenTelemetry is not installed, there is no provider, or the provider or one of its exporters
            failed, takes too long or is shut down. What it has got by then stays there.

    The root is named by the flow id (``run`` where that is empty) and lasts from the first moment of the run to the
    last. An execution's span is named by its routine and has its exact times; one that still runs ends with the run
    and has the status ``running`` in its attributes. One that failed has the status ERROR with its message. Events are
    span events of the execution that emitted them, else of the root, and a link leads from each execution to every
    execution that fed it. Attributes begin with ``execution_tracker.``; params, result and data are JSON texts.
    These and all texts are shortened as by :func:`~execution_tracker.snapshot`.

    Spans are given in the order of their starts, the root last, and flushed as they come, so that no processor has
    to hold more than 512. OpenTelemetry keeps 128 events and links of a span, unless its limits are set otherwise.
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
    run, flow_id, taken = tracker._snapshot(), text(tracker.flow_id), 0
    try:
        tracer = provider.get_tracer("execution_tracker")
        # The SDK's tracer knows its processor, also behind a provider that wraps the SDK's and has no force_flush.
        processor = getattr(tracer, "span_processor", None)
        flushed = provider if hasattr(provider, "force_flush") else processor
        _flush(flushed)  # what waits there from others
        with _exporters_failures(processor) as failures:
            for number, is_recording in enumerate(_spans(tracer, flow_id, run), 1):
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


def _spans(tracer: Tracer, flow_id: str, run: Snapshot) -> Iterator[bool]:
    """Give a run to a tracer, the root last, and yield for each span whether the tracer took it."""
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    executions, emissions = timeline_of(run)
    names = names_of(run)
    emitted, fed = _by(emissions, "source"), _by(emissions, "fed")
    ends = list(map(_end_of, executions))  # read once, since what runs may end meanwhile
    first_ns, last_ns = _extent(executions, ends, emissions)
    # A context of its own: whatever span is current where this is called has no part in the run.
    root = tracer.start_span(
        flow_id or "run", Context(), attributes=_run_facts(flow_id, run), start_time=_time(first_ns)
    )
    within = set_span_in_context(root, Context())
    _add_events(root, emitted.get(None, ()))
    contexts: list[SpanContext] = []
    for _, group in groupby(executions, attrgetter("start_ns")):
        # Within one tick of the clock executions may have fed each other in any order: each must be there to be linked.
        begun = [_begun(tracer, names[execution.routine_id], execution, within) for execution in group]
        first = len(contexts)
        contexts += (span.get_span_context() for span in begun)
        for position, span in enumerate(begun, first):
            for emission in fed.get(position, ()):
                if emission.source is not None:
                    span.add_link(contexts[emission.source], _attributes(filled(emission.event, "event_name")))
            _add_events(span, emitted.get(position, ()))
            end_ns = ends[position]
            yield _ended(span, last_ns if end_ns is None else end_ns)
    yield _ended(root, last_ns)


def _by(emissions: list[Emission], end: str) -> dict[int | None, list[Emission]]:
    """Return the events by the position of the execution at one of their ends."""
    found: dict[int | None, list[Emission]] = {}
    for emission in emissions:
        found.setdefault(getattr(emission, end), []).append(emission)
    return found


def _end_of(execution: Execution) -> int | None:
    elapsed_ns = execution.elapsed_ns
    return None if elapsed_ns is None else execution.start_ns + elapsed_ns


def _extent(executions: list[Execution], ends: list[int | None], emissions: list[Emission]) -> tuple[int, int]:
    """Return the first and the last moment of a run; now, if it has none."""
    moments = [emission.at_ns for emission in emissions]
    moments += (execution.start_ns for execution in executions)
    moments += (end_ns for end_ns in ends if end_ns is not None)
    return (min(moments), max(moments)) if moments else (time_ns(),) * 2


def _begun(tracer: Tracer, name: str, execution: Execution, within: Context) -> Span:
    from opentelemetry.trace import StatusCode

    facts = filled(execution.record, "status", "params", "result", "error")
    attributes = _attributes({"routine_id": text(name)} | facts)
    span = tracer.start_span(name, within, attributes=attributes, start_time=_time(execution.start_ns))
    if facts.get("status") == "failed":
        message = as_key(facts.get("error", ""))
        kind = _ERROR_TYPE.match(message)
        span.set_attribute("error.type", kind[1] if kind else "_OTHER")
        span.set_status(StatusCode.ERROR, message or None)
    return span


def _add_events(span: Span, emissions: Iterable[Emission]) -> None:
    for emission in emissions:
        facts = filled(emission.event, "source_routine_id", "target_routine_id", "data")
        span.add_event(text(emission.event.get("event_name")), _attributes(facts), _time(emission.at_ns))


def _run_facts(flow_id: str, run: Snapshot) -> dict[str, Any]:
    return _attributes({"flow_id": flow_id}) | {
        "execution_tracker.dropped_executions": run.dropped.executions,
        "execution_tracker.dropped_events": run.dropped.events,
    }


def _attributes(facts: dict[str, Any]) -> dict[str, str]:
    """Return JSON-safe facts as attributes: texts, since back ends want one type for each name."""
    return {
        f"execution_tracker.{key}": json.dumps(fact, ensure_ascii=False) if key in _PAYLOADS else as_key(fact)
        for key, fact in facts.items()
    }


def _ended(span: Span, end_ns: int) -> bool:
    is_recording = span.is_recording()
    span.end(_time(end_ns))
    return is_recording


def _time(ns: int) -> int:
    return min(max(ns, 0), _LATEST_NS)

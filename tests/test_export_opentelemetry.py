"""What OpenTelemetry's SDK, and a receiver behind its exporter, get of a run."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import BEGIN, at, execution
from runs import event as event_of_nobody
from runs import run as run_without_ids

from execution_tracker import ExecutionTracker, TrackerError
from execution_tracker._timeline import Timeline
from execution_tracker.export.opentelemetry import SpanExport, export_spans
from execution_tracker.timestamps import SECOND_NS

try:
    from opentelemetry import trace
    from opentelemetry.context import get_value, set_value
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.sdk.trace import (
        ReadableSpan,
        SpanLimits,
        SpanProcessor,
        TracerProvider,
        sampling,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
except ImportError as missing:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip(f"OpenTelemetry's SDK or its exporter is not installed: {missing}", allow_module_level=True)

BEGIN_NS = int(BEGIN.timestamp()) * SECOND_NS


def event(*args: Any, by: int | None = None) -> dict[str, Any]:
    """Return the record of an event that the execution with this id emitted, if that is known."""
    return event_of_nobody(*args) | ({} if by is None else {"execution_id": by})


def run(executions: list[dict[str, Any]], events: list[dict[str, Any]] = []) -> ExecutionTracker:  # noqa: B006
    """Return a run; executions and events have the ids 1, 2, … in this order."""
    tracker: ExecutionTracker = run_without_ids(
        [record | {"execution_id": number} for number, record in enumerate(executions, 1)],
        [record | {"event_id": number} for number, record in enumerate(events, 1)],
    )
    return tracker


def timeline(tracker: ExecutionTracker) -> Timeline:
    return Timeline(tracker._run())


def recorded(count: int) -> ExecutionTracker:
    tracker = ExecutionTracker("big")
    for number in range(count):
        routine_id = f"r{number % 10}"
        tracker.record_routine_start(routine_id, {"n": number})
        tracker.record_event(routine_id, "done", f"r{(number + 1) % 10}", {"n": number})
        tracker.record_routine_end(routine_id, result={"words": number})
    return tracker


def provider_with(*processors: SpanProcessor, **options: Any) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False, **options)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def exported(tracker: ExecutionTracker, **options: Any) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Return the root and the other spans in the order in which the provider got them."""
    memory = InMemorySpanExporter()
    count = export_spans(tracker, provider_with(SimpleSpanProcessor(memory), **options))
    *spans, root = memory.get_finished_spans()
    assert count == len(spans) + 1
    return root, spans


def attributes(span: Any) -> dict[str, Any]:
    return {name.removeprefix("execution_tracker."): value for name, value in span.attributes.items()}


def links(spans: list[ReadableSpan]) -> list[tuple[str, str]]:
    names = {span.context.span_id: span.name for span in spans}
    return [(names[link.context.span_id], span.name) for span in spans for link in span.links]


# --- what a span is ---


def test_a_run_is_one_trace_with_a_root_that_is_named_by_the_flow() -> None:
    root, spans = exported(run([execution("a", 5, 10), execution("b", 3, 20)], [event("main", 1), event("a", 7, by=1)]))
    assert (root.name, root.parent) == ("nightly", None)
    assert (root.start_time, root.end_time) == (BEGIN_NS + SECOND_NS, BEGIN_NS + 20 * SECOND_NS)
    assert [span.parent for span in spans] == [root.context] * 2
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}
    assert attributes(root) == {"flow_id": "nightly", "dropped_executions": 0, "dropped_events": 0}
    assert root.instrumentation_scope is not None
    assert root.instrumentation_scope.name == "execution_tracker"


def test_the_root_is_a_root_even_within_another_span() -> None:
    memory = InMemorySpanExporter()
    provider = provider_with(SimpleSpanProcessor(memory))
    with provider.get_tracer("test").start_as_current_span("other"):
        export_spans(run([execution("a", 0, 1)]), provider)
    spans = {span.name: span for span in memory.get_finished_spans()}
    assert spans["nightly"].parent is None
    assert spans["a"].context.trace_id != spans["other"].context.trace_id


def test_the_run_goes_below_the_span_of_a_given_context() -> None:
    memory = InMemorySpanExporter()
    provider = provider_with(SimpleSpanProcessor(memory))
    with provider.get_tracer("test").start_as_current_span("other") as other:
        context = set_value("told", True, trace.set_span_in_context(other))
        contexts: list[Any] = []

        class Listening(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                contexts.append(parent_context)

        provider.add_span_processor(Listening())
        export_spans(run([execution("a", 0, 2), execution("b", 0, 1) | {"parent_id": 1}]), provider, context=context)
    spans = {span.name: span for span in memory.get_finished_spans()}
    parents = {name: span.parent and span.parent.span_id for name, span in spans.items()}
    ids = {name: span.context.span_id for name, span in spans.items()}
    assert parents == {"other": None, "nightly": ids["other"], "a": ids["nightly"], "b": ids["a"]}
    assert len({span.context.trace_id for span in spans.values()}) == 1
    assert [get_value("told", each) for each in contexts] == [True] * 3


def test_an_execution_lies_below_its_parent_whichever_began_first() -> None:
    executions = [
        execution("late child", 1, 8) | {"parent_id": 3},
        execution("child", 3, 4) | {"parent_id": 4},
        execution("parent", 2, 5),
        execution("one of two", 6, 7) | {"parent_id": 5},
        execution("other of two", 6, 7) | {"parent_id": 4},  # ids of a file may lead round
        execution("lost", 9, 10) | {"parent_id": 99},
    ]
    root, spans = exported(run(executions))
    names = {span.context.span_id: span.name for span in (root, *spans)}
    parents = {span.name: names[span.parent.span_id] for span in spans if span.parent}
    assert parents == {
        "late child": "parent",
        "parent": "nightly",
        "child": "one of two",
        "one of two": "other of two",
        "other of two": "nightly",
        "lost": "nightly",
    }
    assert [span.name for span in spans] == ["late child", "parent", "child", "one of two", "other of two", "lost"]


def test_blocks_within_blocks_are_spans_within_spans() -> None:
    tracker = ExecutionTracker("nested")
    with tracker.track("outer") as outer, tracker.track("inner"):
        tracker.record_event("outer", "by id", execution_id=outer.execution_id)
    root, (outer_span, inner_span) = exported(tracker)
    assert (outer_span.parent, inner_span.parent) == (root.context, outer_span.context)
    assert [each.name for each in outer_span.events] == ["by id"]
    assert attributes(inner_span) == {
        "routine_id": "inner",
        "status": "completed",
        "execution_id": 2,
        "parent_id": 1,
        "worker": threading.current_thread().name,
    }


@pytest.mark.parametrize(("flow_id", "name"), [("", "run"), (None, "run"), (7, "7"), ("ü\ud800", "ü\\ud800")])
def test_the_root_has_a_name_whatever_the_flow_id_is(flow_id: Any, name: str) -> None:
    root, _ = exported(ExecutionTracker(flow_id))
    assert root.name == name


def test_each_execution_is_a_span_with_its_exact_times_in_the_order_of_the_starts() -> None:
    _, spans = exported(
        run([execution("b", 7, 9), execution("a", 5, 10), execution("a", 20, 21) | {"execution_time": 1.234e-6}])
    )
    assert [(span.name, span.start_time, span.end_time) for span in spans] == [
        ("a", BEGIN_NS + 5 * SECOND_NS, BEGIN_NS + 10 * SECOND_NS),
        ("b", BEGIN_NS + 7 * SECOND_NS, BEGIN_NS + 9 * SECOND_NS),
        ("a", BEGIN_NS + 20 * SECOND_NS, BEGIN_NS + 20 * SECOND_NS + 1234),
    ]


def test_an_unfinished_execution_ends_with_the_run_and_says_that_it_runs() -> None:
    root, (unfinished, _) = exported(run([execution("a", 0, None), execution("b", 1, 9)]))
    assert unfinished.end_time == root.end_time == BEGIN_NS + 9 * SECOND_NS
    assert attributes(unfinished)["status"] == "running"
    assert unfinished.status.status_code is trace.StatusCode.UNSET


def test_params_and_result_are_bounded_json_texts() -> None:
    params = {"text": "x" * 999, "nan": float("nan"), "ü": {1}}
    _, (span,) = exported(run([execution("a", 0, 1) | {"params": params, "result": 5}]))
    told = attributes(span)
    assert json.loads(told.pop("params")) == {"text": "x" * 200 + "… (+799 characters)", "nan": "nan", "ü": [1]}
    assert told == {"routine_id": "a", "status": "completed", "result": "5", "execution_id": 1}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ValueError: no", "ValueError"),
        ("json.JSONDecodeError: Expecting value: line 1", "json.JSONDecodeError"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("no such file: a.md", "_OTHER"),
        (None, "_OTHER"),
        ({"code": 5}, "_OTHER"),
    ],
)
def test_a_failed_execution_has_the_status_error_its_message_and_its_type(error: Any, kind: str) -> None:
    _, (span, completed) = exported(
        run(
            [execution("a", 0, 1) | {"status": "failed", "error": error}, execution("a", 2, 3) | {"error": "a warning"}]
        )
    )
    message = json.dumps(error) if isinstance(error, dict) else error
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, message)
    assert span.attributes is not None
    assert span.attributes["error.type"] == kind
    assert attributes(span).get("error") == message
    assert completed.status.status_code is trace.StatusCode.UNSET


def test_a_long_text_says_how_much_of_it_is_missing() -> None:
    failed = execution("a", 0, 20) | {"status": "failed", "error": "ValueError: " + "m" * 1000}
    _, (span,) = exported(run([failed], [event("a", 1, "t" * 1000, by=1)]))
    assert span.status.description == attributes(span)["error"] == "ValueError: " + "m" * 188 + "… (+812 characters)"
    assert attributes(span.events[0])["target_routine_id"] == "t" * 200 + "… (+800 characters)"


def test_events_are_span_events_of_the_execution_that_emitted_them_else_of_the_root() -> None:
    events = [
        event("a", 7, "b", by=1) | {"data": {"n": 1}},
        event("main", 2, "a", "begin"),
        event("a", 8, None, "more", by=1),
    ]
    root, (span, _) = exported(run([execution("a", 5, 10), execution("b", 8, 9)], events))
    assert [(each.name, each.timestamp, attributes(each)) for each in span.events] == [
        (
            "done",
            BEGIN_NS + 7 * SECOND_NS,
            {"source_routine_id": "a", "target_routine_id": "b", "data": '{"n": 1}', "event_id": 1},
        ),
        ("more", BEGIN_NS + 8 * SECOND_NS, {"source_routine_id": "a", "event_id": 3}),
    ]
    assert [(each.name, each.timestamp) for each in root.events] == [("begin", BEGIN_NS + 2 * SECOND_NS)]


def test_an_execution_links_to_all_whose_events_led_to_it_and_says_which_are_inferred() -> None:
    _, spans = exported(
        run(
            [
                execution("a", 0, 1),
                execution("b", 2, 3) | {"caused_by": [1]},
                execution("b", 2.5, 3) | {"caused_by": [1, 2]},
                execution("c", 4, 5),
                execution("c", 6, 7),
            ],
            [
                event("a", 1, by=1),
                event("a", 1, None, "direct", by=1),
                event("b", 3, "c", by=2),
                event("main", 5, "c"),
                event("a", 5, "c", "late", by=1),
            ],
        )
    )
    assert links(spans) == [("a", "b"), ("a", "b"), ("a", "b"), ("b", "c"), ("a", "c")]
    assert [[attributes(link) for link in span.links] for span in spans] == [
        [],
        [{"event_name": "done", "event_id": 1}],
        [{"event_name": "done", "event_id": 1}, {"event_name": "direct", "event_id": 2}],
        [{"event_name": "done", "event_id": 3, "inferred": True}],
        [{"event_name": "late", "event_id": 5, "inferred": True}],
    ]


def test_executions_that_led_to_each_other_within_one_tick_link_to_each_other() -> None:
    _, spans = exported(
        run([execution("a", 0, 0), execution("b", 0, 0)], [event("a", 0, "b", by=1), event("b", 0, "a", by=2)])
    )
    assert links(spans) == [("b", "a"), ("a", "b")]


def test_a_run_without_executions_is_a_root() -> None:
    root, spans = exported(ExecutionTracker("nightly"))
    assert (root.name, spans) == ("nightly", [])
    root, spans = exported(run([], [event("a", 1, "b")]))
    assert [each.name for each in root.events] == ["done"]


def test_the_root_tells_what_was_dropped() -> None:
    tracker = ExecutionTracker(max_records=1)
    for _ in range(3):
        tracker.record_routine_start("a")
        tracker.record_event("a", "done")
        tracker.record_routine_end("a")
    root, spans = exported(tracker)
    assert len(spans) == 1
    assert (attributes(root)["dropped_executions"], attributes(root)["dropped_events"]) == (2, 2)


def test_the_export_leaves_the_tracker_and_the_global_state_as_they_are() -> None:
    tracker = recorded(5)
    before, provider = tracker.serialize(), trace.get_tracer_provider()
    exported(tracker)
    assert tracker.serialize() == before
    assert not tracker._live
    assert trace.get_tracer_provider() is provider
    assert not trace.get_current_span().get_span_context().is_valid


# --- a run that grows ---


def names_of(memory: InMemorySpanExporter) -> list[str]:
    """Return what came since the last time."""
    spans = memory.get_finished_spans()
    memory.clear()
    return [span.name for span in spans]


def test_repeated_exports_of_a_growing_run_send_only_what_is_new() -> None:
    tracker, memory = ExecutionTracker("live"), InMemorySpanExporter()
    export = SpanExport(tracker, provider_with(SimpleSpanProcessor(memory)))
    outer = tracker.record_routine_start("outer")
    with tracker.track("first"):
        pass
    assert (export.export(), names_of(memory)) == (1, ["first"])
    assert (export.export(), names_of(memory)) == (0, [])
    with tracker.track("second"):
        pass
    tracker.record_routine_end("outer", result=5, execution_id=outer)
    tracker.record_routine_start("stays")
    assert (export.export(), names_of(memory)) == (2, ["outer", "second"])
    assert export.close() == 2
    stays, root = memory.get_finished_spans()
    assert (stays.name, root.name, attributes(stays)["status"]) == ("stays", "live", "running")
    assert stays.end_time == root.end_time
    assert export.close() == 0


def test_a_span_whose_child_was_sent_before_tells_how_it_ended() -> None:
    tracker, memory = ExecutionTracker("live"), InMemorySpanExporter()
    with SpanExport(tracker, provider_with(SimpleSpanProcessor(memory))) as export:
        outer = tracker.record_routine_start("outer")
        tracker.record_event("outer", "early", execution_id=outer)
        inner = tracker.record_routine_start("inner", parent_id=outer)
        tracker.record_routine_end("inner", execution_id=inner)
        export.export()
        tracker.record_event("outer", "late", execution_id=outer)
        tracker.record_routine_end("outer", "failed", error="ValueError: no", execution_id=outer)
    inner_span, outer_span, root = memory.get_finished_spans()
    assert (inner_span.parent, outer_span.parent) == (outer_span.context, root.context)
    assert (attributes(outer_span)["status"], outer_span.status.description) == ("failed", "ValueError: no")
    assert [each.name for each in outer_span.events] == ["early", "late"]
    assert root.events == ()


def test_the_ids_of_the_trace_and_of_all_spans_are_told() -> None:
    tracker, memory = recorded(3), InMemorySpanExporter()
    running = tracker.record_routine_start("running")
    with SpanExport(tracker, provider_with(SimpleSpanProcessor(memory))) as export:
        export.export()
        assert export.span_contexts.keys() == {None, 1, 2, 3}
    *spans, root = memory.get_finished_spans()
    assert export.span_contexts == {attributes(span)["execution_id"]: span.context for span in spans} | {
        None: root.context
    }
    assert running in export.span_contexts


def test_events_that_come_after_their_span_was_sent_are_events_of_the_run_once() -> None:
    tracker, memory = ExecutionTracker("live"), InMemorySpanExporter()
    with SpanExport(tracker, provider_with(SimpleSpanProcessor(memory))) as export:
        with tracker.track("a") as execution:
            tracker.record_event("a", "in time")
        tracker.record_event("main", "of nobody")
        export.export()
        tracker.record_event("a", "late", execution_id=execution.execution_id)
        export.export()
    span, root = memory.get_finished_spans()
    assert [each.name for each in span.events] == ["in time"]
    assert [(each.name, attributes(each).get("execution_id")) for each in root.events] == [
        ("of nobody", None),
        ("late", execution.execution_id),
    ]


def test_links_lead_to_spans_of_earlier_exports() -> None:
    tracker, memory = ExecutionTracker("live"), InMemorySpanExporter()
    with SpanExport(tracker, provider_with(SimpleSpanProcessor(memory))) as export:
        with tracker.track("a"):
            done = tracker.record_event("a", "done", "b")
        export.export()
        with tracker.track("b", caused_by=done):
            pass
    a, b, _ = memory.get_finished_spans()
    assert [(link.context, attributes(link)) for link in b.links] == [
        (a.context, {"event_name": "done", "event_id": done})
    ]


def test_what_a_bounded_tracker_has_dropped_is_forgotten() -> None:
    tracker, memory = ExecutionTracker("live", max_records=2), InMemorySpanExporter()
    with SpanExport(tracker, provider_with(SimpleSpanProcessor(memory))) as export:
        for number in range(20):
            for _ in range(2):
                with tracker.track("a"):
                    tracker.record_event("a", "done")
            export.export()
            assert (len(export.span_contexts), len(export._told)) == (3, 2)
            assert len(memory.get_finished_spans()) == 2 * number + 2
    root = memory.get_finished_spans()[-1]
    assert attributes(root)["dropped_executions"] == 38


def test_a_span_that_was_begun_and_then_dropped_is_ended_with_the_run() -> None:
    tracker, memory = ExecutionTracker("live", max_records=1), InMemorySpanExporter()
    with SpanExport(tracker, provider_with(SimpleSpanProcessor(memory))) as export:
        outer = tracker.record_routine_start("a")
        tracker.record_routine_end("b", execution_id=tracker.record_routine_start("b", parent_id=outer))
        export.export()
        for execution_id in (outer, tracker.record_routine_start("a")):
            tracker.record_routine_end("a", execution_id=execution_id)
    assert sorted(span.name for span in memory.get_finished_spans()) == ["a", "a", "b", "live"]


def test_a_closed_export_says_so() -> None:
    export = SpanExport(recorded(1), provider_with())
    export.close()
    with pytest.raises(TrackerError, match="closed"):
        export.export()


def test_an_export_that_failed_goes_on_where_it_stopped() -> None:
    memory, fails = InMemorySpanExporter(), True

    class Flushing(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return not (fails and len(memory.get_finished_spans()) > 600)

    tracker = recorded(1500)
    export = SpanExport(tracker, provider_with(SimpleSpanProcessor(memory), Flushing()))
    with pytest.raises(TrackerError, match="too slow"):
        export.close()
    fails = False
    export.close()
    sent = [attributes(span).get("execution_id") for span in memory.get_finished_spans()]
    assert sent == [*range(1, 1501), None]


def test_nothing_keeps_a_tracker_that_was_exported_alive() -> None:
    tracker = recorded(3)
    export_spans(tracker, provider_with())
    left = weakref.ref(tracker)
    del tracker
    gc.collect()
    assert left() is None


def test_a_span_keeps_as_many_events_and_links_as_its_limits_say() -> None:
    tracker = run(
        [execution("a", 0, 9), execution("b", 9, 10) | {"caused_by": [*range(1, 9)]}],
        [event("a", second, by=1) for second in range(1, 9)],
    )
    _, (a, b) = exported(tracker, span_limits=SpanLimits(max_events=5, max_links=3))
    assert (len(a.events), a.dropped_events, len(b.links), b.dropped_links) == (5, 3, 3, 5)


def test_below_a_span_that_is_not_sampled_nothing_is_sent() -> None:
    context = trace.set_span_in_context(
        trace.NonRecordingSpan(trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(0)))
    )
    memory = InMemorySpanExporter()
    with SpanExport(recorded(3), provider_with(SimpleSpanProcessor(memory)), context=context) as export:
        assert export.export() == 0
    assert memory.get_finished_spans() == ()
    assert export.span_contexts[None].trace_id == 7


# --- any run ---

moments = st.integers(0, 5)
names = st.sampled_from("abc")
ids = st.integers(1, 11)
facts = st.fixed_dictionaries({}, optional={"caused_by": st.lists(ids, max_size=3), "parent_id": ids})
runs = st.builds(
    run,
    st.lists(
        st.builds(
            lambda name, start, span, facts: execution(name, start, None if span is None else start + span) | facts,
            names,
            moments,
            st.none() | st.integers(-2, 5),
            facts,
        ),
        max_size=10,
    ),
    st.lists(st.builds(event, names | st.just("main"), moments, st.none() | names, by=st.none() | ids), max_size=10),
)


@settings(deadline=None)
@given(runs)
def test_every_execution_event_and_link_of_any_run_is_exported_once(tracker: ExecutionTracker) -> None:
    root, spans = exported(tracker)
    line = timeline(tracker)
    executions, emissions, links = line.executions, line.emissions, line.links
    assert [(span.name, span.start_time) for span in spans] == [(each.routine_id, each.start_ns) for each in executions]
    position = {span.context.span_id: number for number, span in enumerate(spans)}
    assert Counter(
        (position[link.context.span_id], number) for number, span in enumerate(spans) for link in span.links
    ) == Counter(
        (emissions[link.emission].source, link.execution)
        for link in links
        if emissions[link.emission].source is not None
    )
    places = {None: root} | dict(enumerate(spans))
    for place, span in places.items():
        assert [each.timestamp for each in span.events] == [each.at_ns for each in emissions if each.source == place]
        assert span.start_time <= span.end_time
    positions = {each.execution_id: number for number, each in enumerate(executions)}
    parents = [position.get(span.parent.span_id) for span in spans if span.parent]
    expected = [positions.get(each.parent_id or 0) for each in executions]
    for number in range(len(executions)):
        assert parents[number] == expected[number] or is_in_circle(number, expected)


def is_in_circle(number: int, parents: list[int | None]) -> bool:
    above, each = set(), parents[number]
    while each is not None and each not in above:
        above.add(each)
        each = parents[each]
    return number in above


# --- a receiver at the other end of the wire ---


class Receiver:
    """An OTLP collector on the loopback interface, which keeps what it gets."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.once
def test_none_of_20_000_executions_is_lost_on_the_way_to_a_collector(receiver: Receiver) -> None:
    tracker = recorded(20_000)
    provider = provider_with(BatchSpanProcessor(OTLPSpanExporter(receiver.url)))
    assert export_spans(tracker, provider) == 20_001
    spans = receiver.spans()  # all are there as soon as the call returns
    provider.shutdown()
    assert len(spans) == 20_001
    line = timeline(tracker)
    executions, emissions, links = line.executions, line.emissions, line.links
    (root,) = (span for span in spans if not span.parent_span_id)
    children = {span.span_id: span for span in spans if span.parent_span_id == root.span_id}
    assert len(children) == 20_000
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert Counter((span.name, span.start_time_unix_nano, span.end_time_unix_nano) for span in children.values()) == (
        Counter((each.routine_id, each.start_ns, each.start_ns + (each.elapsed_ns or 0)) for each in executions)
    )

    def number(span: Any) -> int:
        params = next(each for each in span.attributes if each.key == "execution_tracker.params")
        found: int = json.loads(params.value.string_value)["n"]
        return found

    linked = {(number(children[link.span_id]), number(span)) for span in children.values() for link in span.links}
    assert linked == {
        (executions[emissions[link.emission].source or 0].params["n"], executions[link.execution].params["n"])
        for link in links
    }
    assert len(linked) > 19_000
    assert sum(len(span.events) for span in spans) + root.dropped_events_count == 20_000


def test_records_edited_by_hand_reach_the_collector_as_far_as_they_can_be_read(receiver: Receiver) -> None:
    tracker = run(
        [
            execution("ancient", 0, 20) | {"start_time": "0001-01-01T00:00:00+00:00"},
            execution("far", 0, 20) | {"start_time": "9999-12-30T00:00:00+00:00"},
            execution("endless", 0, 20) | {"execution_time": 1e300},
            execution("\0\ud800", 0, 20) | {"status": 2**200, "error": b"\xff", "params": object()},
            execution(None, 0, 20) | {"status": ["un", "hashable"], "execution_time": "long", "result": float("inf")},
            {"routine_id": "bare", "start_time": at(0)},
            {"routine_id": "nothing"},
        ],
        [
            {},
            {"timestamp": at(1)},
            event(["un"], 5, {"hash": "able"}, ["name"]) | {"data": {"x": {2**70}}},
            event("bare", 3),
        ],
    )
    provider = provider_with(BatchSpanProcessor(OTLPSpanExporter(receiver.url)))
    assert export_spans(tracker, provider) == 7
    provider.shutdown()
    found = {span.name for span in receiver.spans()}
    assert found == {"nightly", "ancient", "far", "endless", "\0\\ud800", "null", "bare"}


def test_spans_are_flushed_before_a_queue_of_the_usual_size_is_full() -> None:
    waiting, most = 0, 0

    class Queue(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            nonlocal waiting
            waiting = 0
            return True

    assert export_spans(recorded(3000), provider_with(Queue())) == 3001
    assert most == 512
    assert waiting == 0


class Wrapper(trace.TracerProvider):
    """A provider as the API asks for it: it gives tracers, and can do nothing else."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider

    def get_tracer(self, *args: Any, **options: Any) -> trace.Tracer:
        return self.provider.get_tracer(*args, **options)


def plain(provider: TracerProvider) -> Any:
    return provider


def test_none_is_lost_behind_a_provider_that_cannot_flush() -> None:
    class Slow(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            time.sleep(0.02)
            return super().export(spans)

    memory = Slow()
    assert export_spans(recorded(5000), Wrapper(provider_with(BatchSpanProcessor(memory)))) == 5001
    assert len(memory.get_finished_spans()) == 5001


def test_what_ends_while_it_is_exported_ends_with_the_run() -> None:
    tracker, memory = ExecutionTracker("live"), InMemorySpanExporter()
    execution = tracker.record_routine_start("a")
    assert len(tracker.routine_executions) == 1

    class Ending(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            tracker.record_routine_end("a", execution_id=execution)

    export_spans(tracker, provider_with(Ending(), SimpleSpanProcessor(memory)))
    child, root = memory.get_finished_spans()
    assert child.end_time == root.end_time


# --- providers that cannot, or will not ---


def test_what_a_sampler_drops_does_not_count() -> None:
    assert export_spans(recorded(9), provider_with(sampler=sampling.ALWAYS_OFF)) == 0


def test_a_provider_that_does_nothing_takes_nothing() -> None:
    assert export_spans(recorded(9), trace.NoOpTracerProvider()) == 0


@pytest.mark.parametrize("wrapped", [plain, Wrapper])
def test_a_batch_processor_that_is_shut_down_is_an_error_and_gets_nothing(wrapped: Any) -> None:
    memory = InMemorySpanExporter()
    provider = provider_with(BatchSpanProcessor(memory))
    provider.shutdown()
    with pytest.raises(TrackerError, match="shut down"):
        export_spans(recorded(9), wrapped(provider))
    assert memory.get_finished_spans() == ()


def test_a_processor_that_raises_is_an_error_and_the_tracker_unharmed() -> None:
    class Broken(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise OSError("no room")

    tracker = recorded(9)
    before = tracker.serialize()
    with pytest.raises(TrackerError, match="the tracer provider failed: OSError: no room"):
        export_spans(tracker, provider_with(Broken()))
    assert tracker.serialize() == before


class Failing(SpanExporter):
    """Does not take spans."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.batches: list[int] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.batches.append(len(spans))
        if self.error is not None:
            raise self.error
        return SpanExportResult.FAILURE


@pytest.mark.parametrize("error", [OSError("no network"), None])
def test_an_exporter_that_fails_is_left_as_it_is_and_fails_in_the_log_of_the_sdk(
    error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exporter, tracker = Failing(error), recorded(600)
    attributes, before = {**vars(exporter)}, tracker.serialize()
    seen: list[Any] = []

    class Looking(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            seen.append(vars(exporter).keys())

    provider = provider_with(Looking(), BatchSpanProcessor(exporter))
    assert export_spans(tracker, provider) == 601
    assert exporter.batches == [512, 89]
    assert vars(exporter).keys() == attributes.keys()
    assert all(each == attributes.keys() for each in seen)
    assert tracker.serialize() == before
    assert error is None or "no network" in caplog.text


def test_a_collector_that_cannot_be_reached_shows_in_the_log_of_the_sdk(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    receiver.close()
    provider = provider_with(BatchSpanProcessor(OTLPSpanExporter(receiver.url, timeout=1)))
    assert export_spans(recorded(3), provider) == 4
    assert "ailed to export" in caplog.text
    provider.shutdown()


def test_a_flush_that_takes_long_is_not_tried_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, flushes = 0.0, 0

    class Slow(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            nonlocal now_s, flushes
            flushes += 1
            now_s += 4 if flushes < 3 else 10
            return True

    monkeypatch.setattr("execution_tracker.export.opentelemetry.monotonic", lambda: now_s)
    assert export_spans(recorded(3000), provider_with(Slow())) == 3001
    assert flushes == 3


def test_without_a_provider_there_is_an_error_that_says_what_to_do() -> None:
    program = """
from execution_tracker import ExecutionTracker, TrackerError
from execution_tracker.export.opentelemetry import export_spans
try:
    export_spans(ExecutionTracker())
except TrackerError as error:
    print(error)
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
print(export_spans(ExecutionTracker()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    message, count = done.stdout.splitlines()
    assert message == "there is no tracer provider; pass one, or set one with opentelemetry.trace"
    assert (count, done.stderr) == ("1", "")


def test_without_opentelemetry_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TrackerError, match=r"pip install 'execution-tracker\[otel\]'"):
        export_spans(ExecutionTracker())


def test_the_sdk_is_not_imported() -> None:
    program = """
import sys
from opentelemetry import trace
from execution_tracker import ExecutionTracker
from execution_tracker.export.opentelemetry import export_spans
assert "opentelemetry.sdk" not in sys.modules
print(export_spans(ExecutionTracker(), trace.NoOpTracerProvider()))
assert "opentelemetry.sdk" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")

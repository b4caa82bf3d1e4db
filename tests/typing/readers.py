"""What type checkers make of code that analyses, reports and exports a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext
from rich.console import Console
from typing_extensions import assert_type

from execution_tracker import ExecutionTracker
from execution_tracker.analysis import compare, critical_path, event_edges
from execution_tracker.export.chrome_trace import to_chrome_trace, write_chrome_trace
from execution_tracker.export.opentelemetry import SpanExport, export_spans
from execution_tracker.integrations.dask import track_cluster
from execution_tracker.integrations.routilux import install, instrument, uninstrument
from execution_tracker.report.html import write_html
from execution_tracker.report.terminal import print_comparison, print_report

tracker = ExecutionTracker()

assert_type(critical_path(tracker), list[dict[str, Any]])
assert_type(event_edges(tracker), list[dict[str, Any]])
assert_type(compare(tracker, tracker), list[dict[str, Any]])

assert_type(to_chrome_trace(tracker), dict[str, Any])
write_chrome_trace(tracker, Path("trace.json.gz"))
assert_type(export_spans(tracker), int)
assert_type(export_spans(tracker, TracerProvider()), int)
assert_type(export_spans(tracker, context=Context()), int)
with SpanExport(tracker, TracerProvider(), context=Context()) as export:
    assert_type(export, SpanExport)
    assert_type(export.export(), int)
    assert_type(export.close(), int)
    assert_type(export.span_contexts, dict[int | None, SpanContext])
print_report(tracker)
print_report(tracker, Console(record=True))
print_comparison(compare(tracker, tracker), max_slowdown=1.5)
print_comparison(compare(tracker, tracker), max_failed=5, min_count=3, min_time=0.01, console=Console())
write_html(tracker, Path("run.html"))
write_html(tracker, "run.html")


def with_engines(client: Any, flow: Any) -> None:
    with track_cluster(client, tracker) as same:
        assert_type(same, ExecutionTracker)
    install()
    assert_type(instrument(flow), ExecutionTracker)
    instrument(flow, tracker)
    uninstrument(flow)


async def with_an_asynchronous_client(client: Any) -> None:
    async with track_cluster(client, tracker) as same:
        assert_type(same, ExecutionTracker)


# Each of these is a mistake that a checker finds: where it does not, the comment itself is an error.
critical_path("run.json")  # type: ignore[arg-type]
compare(tracker)  # type: ignore[call-arg]
write_html(tracker)  # type: ignore[call-arg]
export_spans(tracker, "otlp")  # type: ignore[arg-type]
print_report(tracker, print)  # type: ignore[arg-type]
track_cluster(None, "nightly")  # type: ignore[arg-type]

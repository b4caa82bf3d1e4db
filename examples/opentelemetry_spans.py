"""Send a recorded run to a tracing back end, as OpenTelemetry spans.

    python examples/opentelemetry_spans.py [ENDPOINT]

A small shop works off its orders in two threads. With an endpoint, such as http://localhost:4318/v1/traces of Jaeger or
an OpenTelemetry collector, the spans go there; without one they are printed, a line for each.

Needs: pip install 'execution-tracker[otel]', and opentelemetry-exporter-otlp-proto-http for an endpoint.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from execution_tracker import ExecutionTracker
from execution_tracker.export.opentelemetry import export_spans

ORDERS = ["3 tea", "1 coffee", "two milk", "5 tea"]

tracker = ExecutionTracker("shop")


def main() -> None:
    work()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(exporter_to(*sys.argv[1:])))
    count = export_spans(tracker, provider)  # all are sent when it returns
    provider.shutdown()
    print(f"{count} spans")


# The flow: parse -> pack


def work() -> None:
    with ThreadPoolExecutor(2) as pool:
        for line in ORDERS:
            pool.submit(handle, line)  # the tracker knows of failures; nobody asks the future


def handle(line: str) -> None:
    with tracker.track("parse", {"line": line}) as execution:
        count, article = line.split()
        execution.result = quantity, article = int(count), article
        order = tracker.record_event("parse", "order", "pack", {"article": article})
    with tracker.track("pack", {"article": article, "quantity": quantity}, caused_by=order) as execution:
        time.sleep(quantity / 100)
        execution.result = f"a box of {quantity} {article}"


# The way out


def exporter_to(endpoint: str = "") -> SpanExporter:
    if not endpoint:
        return ConsoleSpanExporter(formatter=one_line)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint)


def one_line(span: ReadableSpan) -> str:
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.attributes is not None
    place = "  in the run" if span.parent else ""
    links = f", caused by {len(span.links)}" if span.links else ""
    told = span.status.description or span.attributes.get("execution_tracker.result", "")
    return f"{span.name:<6} {(span.end_time - span.start_time) / 1e6:7.3f} ms{place}{links}  {told}".rstrip() + "\n"


if __name__ == "__main__":
    main()

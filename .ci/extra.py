"""Do with the wheel and one extra alone what the extra is for: ``python extra.py html``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from execution_tracker import ExecutionTracker


def cli(tracker: ExecutionTracker) -> None:
    tracker.save("run.json")
    subprocess.run([sys.executable, "-m", "execution_tracker", "report", "run.json"], check=True)


def html(tracker: ExecutionTracker) -> None:
    from execution_tracker.report.html import write_html

    write_html(tracker, "run.html")


def otel(tracker: ExecutionTracker) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    from execution_tracker.export.opentelemetry import export_spans

    assert export_spans(tracker, TracerProvider()) == 2


def dask(tracker: ExecutionTracker) -> None:
    from distributed import Client

    from execution_tracker.integrations.dask import track_cluster

    with Client(processes=False, dashboard_address=":0") as client, track_cluster(client, tracker):
        assert client.submit(abs, -1).result() == 1
    assert tracker.get_flow_performance()["total_routines"] == 2


EXTRAS: dict[str, Callable[[ExecutionTracker], None]] = {each.__name__: each for each in (cli, html, otel, dask)}

if __name__ == "__main__":
    nightly = ExecutionTracker("nightly")
    nightly.record_routine_start("load")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        EXTRAS[sys.argv[1]](nightly)
        os.chdir("/")

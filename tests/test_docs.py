"""The documentation shows commands that work, and misses nothing public. Its Python examples are doctests."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import story

import execution_tracker
from execution_tracker import ExecutionTracker

ROOT = Path(__file__).parents[1]
PUBLIC_MODULES = [
    "analysis",
    "export/chrome_trace",
    "export/opentelemetry",
    "integrations/dask",
    "integrations/routilux",
    "report/html",
    "report/terminal",
]
INHERITED = ("_serializable_fields", "deserialize_item")  # serilux documents them
NOT_FOR_USERS = {"timeline_of", "ClusterContext"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shown_commands() -> Iterator[str]:
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            yield from (line for line in block.splitlines() if re.search(r"(^|[|=\d] )execution-tracker ", line))


@pytest.mark.skipif(os.name == "nt", reason="they are for a shell")
@pytest.mark.parametrize("command", sorted(set(shown_commands())))
def test_a_command_that_is_shown_works(command: str, tmp_path: Path) -> None:
    try:
        import bokeh  # noqa: F401
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("the extras of the command line are not installed")
    for name in ("run", "before", "after"):
        story().save(tmp_path / f"{name}.json.gz")
    line = command.replace("execution-tracker ", f"'{sys.executable}' -m execution_tracker ")
    result = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    if match := re.search(r" -o (\S+)", command):
        assert (tmp_path / match[1]).stat().st_size > 0
    else:
        assert result.stdout


def test_commands_are_found() -> None:
    assert {command.split("execution-tracker ")[1].split()[0] for command in shown_commands()} == {
        "--help",
        "report",
        "html",
        "trace",
        "compare",
    }


def public_names() -> Iterator[str]:
    yield from (f"execution_tracker.{name}" for name in execution_tracker.__all__)
    yield from (f":: {name}" for name in dir(ExecutionTracker) if name[0] != "_" and not name.endswith(INHERITED))
    yield from (f":: {name}" for name in vars(ExecutionTracker()) if name[0] != "_")
    for module in PUBLIC_MODULES:
        tree = ast.parse((ROOT / "src" / "execution_tracker" / f"{module}.py").read_text("utf-8"))
        definitions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        names = {node.name for node in definitions if node.name[0] != "_"} - NOT_FOR_USERS
        yield from (f"execution_tracker.{module.replace('/', '.')}.{name}" for name in names)


def test_the_reference_has_everything_public() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert [name for name in public_names() if not re.search(re.escape(name) + r"\b", reference)] == []

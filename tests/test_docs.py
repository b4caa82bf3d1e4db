"""The documentation shows commands that work. Its Python examples are doctests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import story

ROOT = Path(__file__).parents[1]
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

"""The benchmarks still run: each script, with sizes so small that its numbers mean nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"

# Draws the same numbers twice, and fails if the charts differ.
DRAW_TWICE = """
from pathlib import Path
from charts import draw_growth, draw_recording, draw_targets
from growth import SIZES
from measuring import OURS, THEIRS, Comparison, Spread

comparison = Comparison("work", {OURS: [1e-3, 2e-3], THEIRS: [4e-3, 5e-3]}, (THEIRS,), "µs", 1000)
drawn = []
for _ in range(2):
    draw_recording([comparison] * 4, Path("recording.svg"))
    draw_targets({"work": (Spread(0.2, 0.3, 0.4), 0.3)}, Path("targets.svg"))
    draw_growth({f"step {step}": {size: comparison for size in SIZES} for step in range(9)}, Path("growth.svg"))
    drawn.append([path.read_bytes() for path in sorted(Path().glob("*.svg"))])
assert len(drawn[0]) == 3
assert drawn[0] == drawn[1]
"""


@pytest.fixture
def run(upstream_class: Any, tmp_path: Path) -> Any:
    """Run Python in a folder of its own, with the upstream that the tests have, and return what it prints."""
    missing = [name for name in ("matplotlib", "opentelemetry", "viztracer", "bokeh") if find_spec(name) is None]
    if missing:
        assert os.environ.get("CI") != "true"
        pytest.skip(f"not installed: {', '.join(missing)}")
    upstream = Path(upstream_class.record_event.__code__.co_filename).parents[1]
    folders = [ROOT / "src", BENCHMARKS, upstream]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONUTF8": "1"}

    def run_python(*arguments: Any) -> str:
        command = [sys.executable, *map(str, arguments)]
        options = {"env": environment, "cwd": tmp_path, "timeout": 200}
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_python


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import measuring

    return measuring


@pytest.mark.parametrize(
    ("command", "tables"),
    [
        ("engine_run.py --count 20 --rounds 2", 10),
        ("record_overhead.py --count 20 --rounds 2", 5),
        ("persistence.py --records 20 --rounds 2 --memory", 5),
        ("import_cost.py --rounds 1", 1),
        ("growth.py --sizes 20 40 --rounds 2", 2),
    ],
)
def test_each_script_prints_its_tables(run, command, tables):
    script, *options = command.split()
    assert run(BENCHMARKS / script, *options).count("\n| ---") == tables


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads memory from /proc")
def test_the_page_is_written_between_its_marks_and_nowhere_else(run, tmp_path):
    page = tmp_path / "performance.md"
    shutil.copy(ROOT / "docs" / "performance.md", page)
    between = re.compile(r"<!-- ([\w ]+) -->\n(.*?)<!-- end of \1 -->", re.DOTALL)
    prose = between.sub(r"\1", page.read_text(encoding="utf-8"))
    run(BENCHMARKS / "performance_page.py", "--quick", "--page", page)
    written = page.read_text(encoding="utf-8")
    assert between.sub(r"\1", written) == prose
    parts = dict(between.findall(written))
    assert all(text.strip() for text in parts.values())
    assert parts["targets"].count("\n| ") == 2 + 22
    for image in re.findall(r"\]\((performance/\w+\.svg)\)", written):
        assert (tmp_path / image).stat().st_size < 60_000


def test_the_same_numbers_give_the_same_charts(run):
    run("-c", DRAW_TWICE)


def test_html_report_measures_pages_in_a_browser(run):
    browsers = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    if not (os.environ.get("CHROMIUM") or any(map(shutil.which, browsers))):
        assert os.environ.get("CI") != "true"
        pytest.skip("there is no Chromium")
    printed = run(BENCHMARKS / "html_report.py", "--bars", 100, "--pages", 100)
    assert printed.startswith("100 bars in 40 lanes\n")
    assert re.search(r"^ +100( +[\d.]+){5}$", printed, re.MULTILINE)


def test_a_ratio_is_that_of_the_medians_and_its_range_that_of_the_rounds(measuring):
    taken = {"ours": [1.0, 2.0, 6.0], "theirs": [4.0, 4.0, 5.0]}
    comparison = measuring.Comparison("work", taken, ("theirs",), "s", 2)
    assert comparison.ratio("ours", "theirs") == (0.25, 0.5, 1.2)
    assert comparison.each("ours") == (0.5, 1.0, 3.0)
    assert comparison.table().splitlines() == [
        "|        |            s a call |            / theirs |",
        "| ------ | ------------------: | ------------------: |",
        "| ours   | 1.00 (0.50 to 3.00) | 0.50 (0.25 to 1.20) |",
        "| theirs | 2.00 (2.00 to 2.50) |                1.00 |",
    ]


def test_memory_that_is_kept_is_told_from_the_peak(measuring):
    kept, peak = measuring.traced(lambda: len(bytes(1_000_000)) and bytes(100_000))
    assert 100_000 <= kept < 200_000
    assert 1_000_000 <= peak < 1_300_000

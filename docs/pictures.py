"""Make the README's pictures from the example run: ``python docs/pictures.py`` after ``pip install '.[all]'``.

It prints the report of the terminal, and writes docs/html-report.png with the Chromium that it finds.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from execution_tracker import ExecutionTracker
from execution_tracker.report.html import write_html
from execution_tracker.report.terminal import print_report

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))
sys.path.insert(0, str(ROOT / "tests"))

from chromium import Chromium  # noqa: E402 - found there
from count_words import count_files, files_below  # noqa: E402


def main() -> None:
    tracker = ExecutionTracker("count words")
    os.chdir(ROOT)  # so that the params name no folder of this machine
    count_files(tracker, files_below(Path()))
    print_report(tracker, Console(width=80))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "run.html")
        write_html(tracker, page)
        with Chromium() as browser:
            browser.open(page.as_uri())
            browser.wait_for("document.body.dataset.drawn")
            browser.screenshot(ROOT / "docs" / "html-report.png")


if __name__ == "__main__":
    main()

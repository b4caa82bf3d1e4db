"""What the benchmarks share: clocks, memory, ratios, tables, and the line that says on what they ran."""

from __future__ import annotations

import argparse
import gc
import os
import platform
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

Work = Callable[[], Any]
Clock = Callable[[], float]

OURS = "execution-tracker"
THEIRS = "upstream"
LIMIT = "the limit"

CLOCKS: dict[str, Clock] = {"wall": perf_counter, "processor": process_time}
UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "bytes": 1.0, "MB": 1e6}
LIBRARIES = ("execution-tracker", "serilux", "opentelemetry-sdk", "viztracer", "bokeh")


class Spread(NamedTuple):
    """The smallest, the middle and the largest of what several rounds gave."""

    low: float
    middle: float
    high: float

    def text(self, unit: str = "") -> str:
        """Write it as ``0.21 (0.20 to 0.24)``, or as one number if there was one round."""
        low, middle, high = (number(value) for value in self)
        return f"{middle}{unit}" if self.low == self.high else f"{middle}{unit} ({low} to {high})"


class Comparison(NamedTuple):
    """Seconds, or bytes, that several subjects took for the same work: one value for each round."""

    title: str
    values: dict[str, list[float]]
    baselines: tuple[str, ...]
    unit: str
    calls: int = 1  # in each round

    def each(self, name: str) -> Spread:
        """Return what one call took, in the unit."""
        values = [value / self.calls / UNITS[self.unit] for value in self.values[name]]
        return Spread(min(values), median(values), max(values))

    def ratio(self, name: str, baseline: str) -> Spread:
        """Return the ratio of two medians, and the smallest and the largest ratio within a round."""
        ours, theirs = self.values[name], self.values[baseline]
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        return Spread(min(ratios), median(ours) / median(theirs), max(ratios))

    def table(self) -> str:
        """Return it as a table in Markdown."""
        head = ["", self.unit if self.calls == 1 else f"{self.unit} a call", *(f"/ {name}" for name in self.baselines)]
        rows = [
            [name, self.each(name).text(), *(self.ratio(name, other).text() for other in self.baselines)]
            for name in self.values
        ]
        return table(head, rows)


def number(value: float) -> str:
    """Write a number with two digits after the point, or three figures if it is larger than that."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown: names to the left, numbers to the right."""
    cells = [head, *rows]
    name_width, *widths = (max(3, *map(len, column)) for column in zip(*cells, strict=True))
    lines = [
        " | ".join([name.ljust(name_width), *(cell.rjust(width) for cell, width in zip(others, widths, strict=True))])
        for name, *others in cells
    ]
    rule = " | ".join(["-" * name_width, *("-" * (width - 1) + ":" for width in widths)])
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def timed(work: Work, clock: Clock) -> tuple[float, Any]:
    """Return the seconds that a work takes, and what it makes. Garbage of what was before is collected first."""
    gc.collect()
    begin = clock()
    made = work()
    return clock() - begin, made


def interleaved(works: dict[str, Work], rounds: int, clock: Clock) -> dict[str, list[float]]:
    """Time each work in turn, round by round, and return the seconds of each. What one made is gone by then."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(timed(work, clock)[0])
    return times


def traced(work: Work) -> tuple[int, int]:
    """Return how many bytes the things that a work makes take, and how many it took at most meanwhile."""
    gc.collect()
    tracemalloc.start()
    made = work()
    sizes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del made
    return sizes


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is a script's docstring, with the option that all scripts have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    text = "processor time suffers less from other programs, but misses waits for the disk (default: wall)"
    parser.add_argument("--time", choices=CLOCKS, default="wall", help=text)
    return parser


def machine() -> str:
    """Return a line that says what this ran on."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; {python}; {libraries}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()

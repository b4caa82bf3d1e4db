"""Measure all of it, and write the numbers and charts of docs/performance.md.

    pip install '.[bench]' && pip install --no-deps routilux==0.10.0 && python benchmarks/performance_page.py

It takes twenty minutes on a quiet machine, and five with --short. --quick shows in one that it works; its numbers mean
nothing.
The page's prose is written by hand. What stands between its marks is written here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import charts
import engine_run
import growth
import import_cost
import persistence
import record_overhead
from measuring import CLOCKS, LIMIT, OURS, THEIRS, Comparison, Spread, machine, number, parser_of, table

BENCHMARKS = Path(__file__).resolve().parent


class Size(NamedTuple):
    """How much is measured."""

    calls: int
    rounds: int
    many: int  # executions in the large files, which are written and read once
    records: tuple[int, ...]
    bounded: int


FULL = Size(calls=100_000, rounds=5, many=1_000_000, records=growth.SIZES, bounded=5_000_000)
SHORT = Size(calls=50_000, rounds=3, many=200_000, records=growth.SIZES[:-1], bounded=2_000_000)
QUICK = Size(calls=1_000, rounds=2, many=2_000, records=(100, 1_000), bounded=10_000)


class Target(NamedTuple):
    """What the ratio of a work to a baseline should be at most, and what it is."""

    work: str
    baseline: str
    most: float
    measured: Spread

    @property
    def missed(self) -> bool:
        return self.measured.middle > self.most


class Measured(NamedTuple):
    """Everything that was measured."""

    size: Size
    kind_of_time: str
    engine: list[Comparison]
    recording: list[Comparison]
    metrics: Comparison
    files: list[Comparison]
    large_files: list[Comparison]
    imports: Comparison
    curves: growth.Curves
    bounded: str

    def comparisons(self) -> list[Comparison]:
        return [*self.engine, *self.recording, self.metrics, *self.files, self.imports]

    def targets(self) -> list[Target]:
        by_title = {comparison.title: comparison for comparison in self.comparisons()}
        memory = self.curves[growth.MEMORY_UNREAD]
        by_title["Memory before the first read"] = memory[max(memory)]
        theirs, numbers, recording = record_overhead.THEIR_METRICS, engine_run.THEIR_NUMBERS, engine_run.THEIR_RECORDING
        return [
            Target(title, baseline, most, by_title[title].ratio(name, baseline))
            for title, name, baseline, most in [
                (engine_run.EXECUTION, OURS, THEIRS, 0.25),
                (engine_run.EVENT, OURS, THEIRS, 0.35),
                (engine_run.METRICS, OURS, recording, 0.55),
                (engine_run.LIVE, OURS, recording, 1.1),
                (engine_run.AGAIN, OURS, numbers, 1.0),
                (engine_run.POLL, OURS, engine_run.FIRST_READ, 0.1),
                (engine_run.OF_LIVE, OURS, numbers, 3.0),
                (engine_run.OF_LOADED, OURS, numbers, 1.2),
                (engine_run.KEPT, OURS, THEIRS, 0.5),
                (engine_run.PEAK, OURS, THEIRS, 0.9),
                (record_overhead.EXECUTION, OURS, THEIRS, 0.25),
                (record_overhead.EXECUTION, OURS, LIMIT, 1.8),
                (record_overhead.EVENT, OURS, THEIRS, 0.35),
                (record_overhead.EVENT, OURS, LIMIT, 1.5),
                (record_overhead.FIRST_READ, OURS, THEIRS, 1.0),
                (record_overhead.METRICS, record_overhead.OUR_METRICS, theirs, 1.2),
                ("Memory before the first read", OURS, THEIRS, 1.0),
                (import_cost.TITLE, import_cost.OUR_IMPORT, import_cost.SERILUX, 1.3),
                (persistence.SERIALIZE, OURS, THEIRS, 0.6),
                (persistence.SAVE, OURS, THEIRS, 0.30),
                (persistence.LOAD, OURS, THEIRS, 0.33),
                (persistence.SAVE_PEAK, OURS, THEIRS, 0.3),
            ]
        ]


def measure(size: Size, kind_of_time: str) -> Measured:
    """Run all benchmarks, and tell when one is done."""
    begin, clock = time.monotonic(), CLOCKS[kind_of_time]

    def done(name: str, result: Any) -> Any:
        print(f"{name}: done after {time.monotonic() - begin:.0f} s", flush=True)
        return result

    bounded = [sys.executable, str(BENCHMARKS / "bounded_memory.py"), "--records", str(size.bounded)]
    return Measured(
        size,
        kind_of_time,
        done("a run of an engine", engine_run.measure(2 * size.calls, size.rounds, clock)),
        done("recording", record_overhead.measure_recording(size.calls, size.rounds, clock)),
        done("metrics", record_overhead.measure_metrics(size.calls, size.rounds, clock)),
        done("files", persistence.measure(size.calls, size.rounds, clock, memory=True)),
        done("large files", persistence.measure(size.many, 1, clock, memory=True)),
        done("import", import_cost.measure(3 * size.rounds, clock)),
        done("growth", growth.measure(size.records, size.rounds, clock)),
        # In a process of its own, for it looks at the memory of the whole process.
        subprocess.run(bounded, check=True, capture_output=True, text=True, encoding="utf-8").stdout,
    )


def parts(measured: Measured) -> dict[str, str]:
    """Return what stands between the page's marks, by their names."""
    return {
        "machine": _machine(measured),
        "targets": _targets(measured.targets()),
        "losses": _losses(measured),
        "engine": "\n\n".join(f"**{one.title}**\n\n{one.table()}" for one in measured.engine),
        "recording": "\n\n".join(f"**{one.title}**\n\n{one.table()}" for one in measured.recording),
        "metrics": measured.metrics.table(),
        "files": "\n\n".join(f"**{one.title}**\n\n{one.table()}" for one in measured.files),
        "large files": table(
            ["", OURS, THEIRS, "ratio"],
            [
                [
                    one.title,
                    *(f"{one.each(name).text()} {one.unit}" for name in (OURS, THEIRS)),
                    one.ratio(OURS, THEIRS).text(),
                ]
                for one in measured.large_files
            ],
        ),
        "import": measured.imports.table(),
        "costs": growth.cost_table(measured.curves),
        "ratios": growth.ratio_table(measured.curves),
        "bounded": "\n".join(line for line in measured.bounded.splitlines() if line.startswith("|")),
    }


def _machine(measured: Measured) -> str:
    size = measured.size
    day = time.strftime("%Y-%m-%d", time.gmtime())
    rounds = f"{size.calls:,} calls a round, {size.rounds} rounds, {measured.kind_of_time} time"
    rounds += f"; large files have {size.many:,} executions"
    return f"Measured on {day}: {machine()}.\n{rounds}."


def _targets(targets: list[Target]) -> str:
    rows = [
        [one.work, one.baseline, number(one.most), one.measured.text(), "**missed**" if one.missed else "reached"]
        for one in targets
    ]
    missed = sum(one.missed for one in targets)
    return f"{len(targets) - missed} of {len(targets)} are reached.\n\n" + table(
        ["work", "against", "at most", "measured", ""], rows
    )


def _losses(measured: Measured) -> str:
    grown = [
        one._replace(title=f"{size:,} records, {step}")
        for step, by_size in measured.curves.items()
        for size, one in by_size.items()
    ]
    many = f"{measured.size.many:,} executions"
    large = [one._replace(title=f"{many}, {one.title.lower()}") for one in measured.large_files]
    lines = [
        f"- {comparison.title}, {name}: {ratio.text()} of {other}"
        for comparison in [*measured.engine, *measured.recording, measured.metrics, *measured.files, *large, *grown]
        for name in comparison.values
        for other in comparison.values
        if name.startswith(OURS) and not other.startswith((OURS, LIMIT)) and other != name
        if (ratio := comparison.ratio(name, other)).middle > 1
    ]
    return "\n".join(lines) or "Nowhere in this run."


def filled(page: str, texts: dict[str, str]) -> str:
    """Return a page with new texts between its marks."""
    for name, text in texts.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        if not end:
            raise SystemExit(f"the page has no place for {name}")
        page = f"{before}{begin}\n{text}\n\n{end}{after}"
    return page


def draw(measured: Measured, folder: Path) -> None:
    """Write the three charts."""
    folder.mkdir(exist_ok=True)
    charts.draw_recording(measured.recording, folder / "recording.svg")
    targets = {f"{one.work} / {one.baseline}": (one.measured, one.most) for one in measured.targets()}
    charts.draw_targets(targets, folder / "targets.svg")
    charts.draw_growth(measured.curves, folder / "growth.svg")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--page", type=Path, default=BENCHMARKS.parent / "docs" / "performance.md")
    parser.add_argument("--short", action="store_true", help="smaller sizes and fewer rounds")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    measured = measure(QUICK if options.quick else SHORT if options.short else FULL, options.time)
    options.page.write_text(filled(page, parts(measured)), encoding="utf-8")
    draw(measured, options.page.parent / "performance")


if __name__ == "__main__":
    main()

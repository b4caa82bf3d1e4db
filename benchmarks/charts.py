"""The charts of the page on performance: SVG that is the same for the same numbers, and legible on light and dark."""

from __future__ import annotations

from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from growth import Curves
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter
from measuring import OURS, THEIRS, Comparison, Spread

# Contrast of four to one and more on white as well as on furo's dark, for the ground is transparent.
INK = "#7a7a7a"
COLORS = {OURS: "#3b82d6", THEIRS: "#c2701c"}
MARKERS = {OURS: "o", THEIRS: "s"}
PLAIN = StrMethodFormatter("{x:,.12g}")
STYLE: dict[Any, object] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "font.family": "sans-serif",
    "font.size": 8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",  # texts stay texts
    "svg.hashsalt": "execution-tracker",
    "xtick.bottom": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.left": False,
}


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})


def _ranges(axes: Axes, ranges: dict[str, Spread], colors: list[str]) -> None:
    """Draw a dot at each middle and a line from the smallest to the largest, the first one on top."""
    axes.set_ylim(len(ranges) - 0.5, -0.5)
    axes.set_yticks(range(len(ranges)), list(ranges))
    axes.grid(axis="x", color=INK, alpha=0.25)
    for place, (spread, color) in enumerate(zip(ranges.values(), colors, strict=True)):
        axes.plot([spread.low, spread.high], [place, place], color=color, linewidth=2)
        axes.plot(spread.middle, place, "o", color=color, markersize=6)


def draw_recording(comparisons: list[Comparison], path: Path) -> None:
    """Draw what a call costs each subject: a panel for each work."""
    with rc_context(STYLE):
        heights = [len(comparison.values) for comparison in comparisons]
        figure = Figure(figsize=(7, 0.6 + 0.38 * sum(heights)), layout="constrained")
        panels = figure.subplots(len(comparisons), sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        for axes, comparison in zip(panels, comparisons, strict=True):
            ranges = {name: comparison.each(name) for name in comparison.values}
            _ranges(axes, ranges, [COLORS[OURS] if name.startswith(OURS) else INK for name in ranges])
            axes.set_xscale("log")
            axes.set_title(comparison.title, loc="left")
            axes.xaxis.set_major_formatter(PLAIN)
            axes.minorticks_off()
        panels[-1].set_xlabel("µs a call, median and range; less is better")
        _save(figure, path)


def draw_targets(ratios: dict[str, tuple[Spread, float]], path: Path) -> None:
    """Draw each ratio, and a mark at what it should be at most."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7, 0.8 + 0.3 * len(ratios)), layout="constrained")
        axes = figure.subplots()
        missed = [spread.middle > target for spread, target in ratios.values()]
        spreads = {name: spread for name, (spread, _) in ratios.items()}
        _ranges(axes, spreads, [COLORS[THEIRS] if miss else COLORS[OURS] for miss in missed])
        targets = [target for _, target in ratios.values()]
        axes.plot(targets, range(len(targets)), "|", color=INK, markersize=14, markeredgewidth=2)
        axes.set_xlim(left=0)
        axes.set_xlabel("ratio, median and range; | is the target, orange is beyond it")
        _save(figure, path)


def draw_growth(curves: Curves, path: Path) -> None:
    """Draw what a record costs against the number of records: a panel for each step, logarithmic both ways."""
    with rc_context(STYLE):
        rows = -(-len(curves) // 3)
        figure = Figure(figsize=(7.5, 2.1 * rows + 0.3), layout="constrained")
        panels = figure.subplots(rows, 3, sharex=True, squeeze=False).flat
        for axes, (step, by_size) in zip(panels, curves.items(), strict=False):
            for name in next(iter(by_size.values())).values:
                spreads = [comparison.each(name) for comparison in by_size.values()]
                low, middle, high = zip(*spreads, strict=True)
                line = {"color": COLORS[name], "marker": MARKERS[name], "markersize": 4}
                axes.loglog(list(by_size), middle, "-" if name == OURS else "--", label=name, **line)
                axes.fill_between(list(by_size), low, high, color=COLORS[name], alpha=0.25, linewidth=0)
            bottom, top = axes.get_ylim()
            axes.set_ylim(10 ** floor(log10(bottom)), 10 ** ceil(log10(top)))  # so that noise looks like noise
            axes.grid(color=INK, alpha=0.25)
            axes.set_title(f"{step}, {next(iter(by_size.values())).unit}", loc="left")
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.yaxis.set_major_formatter(PLAIN)
            axes.minorticks_off()
        for axes in panels:
            axes.set_visible(False)
        figure.supxlabel("records in the run", color=INK, fontsize=8)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        _save(figure, path)

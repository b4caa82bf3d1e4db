"""Two runs compared: how each routine fared in both, and which got worse than they may."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker._metrics import named, percentile
from execution_tracker._retention import totals_of
from execution_tracker._run import ELAPSED_NS, STATUS, WIDTH
from execution_tracker.timestamps import SECOND_NS

if TYPE_CHECKING:
    from execution_tracker._run import Routine, Run

Row = dict[str, Any]

_MEDIAN = "median_execution_time"
_COMPARED = ("avg_execution_time", _MEDIAN, "p95_execution_time")
_ALL_TIMES = ("avg_execution_time", "min_execution_time", "max_execution_time", _MEDIAN, "p95_execution_time")
_FASTER, _SLOWER = 0.8, 1.25  # ratios of medians within these are the same, for all that one run tells

_NONE = Fraction(0)

# What can be said of a routine, the worst first.
FAILING, SLOWER, NEW, ALIKE, FEW, FASTER, GONE = KINDS = (
    "failing more",
    "slower",
    "new",
    "about the same",
    "too few to tell",
    "faster",
    "gone",
)


class Limits(NamedTuple):
    """How much worse a routine may get, and which differences of medians count at all."""

    max_slowdown: float | None = None  # the ratio of two medians; None for no limit
    max_failed: float | None = None  # percentage points by which the share may grow that fails or never ends
    min_count: int = 5  # executions that a median needs in both runs
    min_time: float = 0.001  # seconds between two medians that differ

    @property
    def are_given(self) -> bool:
        """Whether the comparison is a check."""
        return self.max_slowdown is not None or self.max_failed is not None


class Verdict(NamedTuple):
    """What came of the limits."""

    slower: list[Row]  # the worst first
    failing: list[Row]  # the worst first
    in_common: int  # routines that both runs have
    comparable: int  # of these, how many completed often enough in both
    passed: bool


def compare_runs(before: Run, after: Run) -> list[Row]:
    """Return a row for each routine of two runs, as :func:`execution_tracker.analysis.compare` does."""
    fared_before, fared_after = _fared_in(before), _fared_in(after)
    return [_row(name, fared_before.get(name), fared_after.get(name)) for name in fared_before | fared_after]


def _fared_in(run: Run) -> dict[str, Row]:
    routines = {name: run.routines[routine_id] for routine_id, name in named(run.routines).items()}
    return {name: _fared(routine) for name, routine in routines.items() if routine.rows or routine.dropped}


def _fared(routine: Routine) -> Row:
    rows = routine.rows
    totals = totals_of(rows, {})
    counts = (totals if routine.dropped is None else routine.dropped + totals).status_counts
    ended = zip(rows[STATUS::WIDTH], rows[ELAPSED_NS::WIDTH], strict=True)
    times_ns = sorted(
        elapsed_ns
        for status, elapsed_ns in ended
        if elapsed_ns is not None and isinstance(status, str) and status == "completed"
    )
    count = sum(counts.values())
    return {
        "total_executions": count,
        **{status: counts.get(status, 0) for status in ("completed", "failed", "running")},
        "status_counts": {name: counts[status] for status, name in named(counts).items()},
        "success_rate": counts.get("completed", 0) / count if count else 0.0,
        "timed_executions": len(times_ns),
        **_times(times_ns),
    }


def _times(ascending_ns: list[int]) -> Row:
    """Return statistics of some times in seconds, None for each if there are none."""
    if not ascending_ns:
        return dict.fromkeys(_ALL_TIMES)
    average, least, most = sum(ascending_ns) / len(ascending_ns), ascending_ns[0], ascending_ns[-1]
    percentiles = [percentile(ascending_ns, percent, SECOND_NS) for percent in (50, 95)]
    times = [*(time_ns / SECOND_NS for time_ns in (average, least, most)), *percentiles]
    return dict(zip(_ALL_TIMES, times, strict=True))


def _row(name: str, before: Row | None, after: Row | None) -> Row:
    return {
        "routine_id": name,
        "change": "new" if before is None else "gone" if after is None else "both",
        "before": before,
        "after": after,
        "ratio": {key: _ratio(before, after, key) for key in _COMPARED},
    }


def _ratio(before: Row | None, after: Row | None, key: str) -> float | None:
    if not (before and after and before[key] and after[key]):
        return None
    ratio: float = after[key] / before[key]
    return ratio


# --- what counts as worse ---


def judged(rows: list[Row], limits: Limits) -> Verdict:
    """Return which routines got worse than they may.

    Runs without a routine in common pass no limit: nothing was compared, and most likely one is the wrong file.
    """
    ordered = worst_first(rows, limits)
    slower = [row for row in ordered if _is_too_slow(row, limits)]
    slower.sort(key=lambda row: row["ratio"][_MEDIAN], reverse=True)
    failing = [
        row for row in ordered if limits.max_failed is not None and more_failed(row) * 100 > Fraction(limits.max_failed)
    ]
    in_common = sum(row["change"] == "both" for row in rows)
    comparable = sum(is_comparable(row, limits) for row in rows)
    passed = not (slower or failing or (limits.are_given and not in_common))
    return Verdict(slower, failing, in_common, comparable, passed)


def _is_too_slow(row: Row, limits: Limits) -> bool:
    return limits.max_slowdown is not None and _differs(row, limits) and row["ratio"][_MEDIAN] > limits.max_slowdown


def is_comparable(row: Row, limits: Limits) -> bool:
    """Tell whether a routine completed often enough in both runs for its medians to tell something."""
    return (
        row["ratio"][_MEDIAN] is not None
        and min(row[run]["timed_executions"] for run in ("before", "after")) >= limits.min_count
    )


def _differs(row: Row, limits: Limits) -> bool:
    """Tell whether the medians of a routine are far enough apart to be looked at."""
    return is_comparable(row, limits) and abs(row["after"][_MEDIAN] - row["before"][_MEDIAN]) >= limits.min_time


def share_failed(fared: Row | None) -> Fraction:
    """Return which part of a routine's executions failed or never ended, 0 of none."""
    count = fared["failed"] + fared["running"] if fared else 0
    return Fraction(count, fared["total_executions"]) if fared and count else _NONE


def more_failed(row: Row) -> Fraction:
    """Return by how much the part grew that failed or never ended; it is 0 where the routine did not run."""
    before, after = share_failed(row["before"]), share_failed(row["after"])
    return _NONE if before is after else after - before


def kind_of(row: Row, limits: Limits) -> str:
    """Return what can be said of a routine in one of the words of ``KINDS``."""
    if more_failed(row) > 0:
        return FAILING
    if row["change"] != "both":
        return NEW if row["change"] == "new" else GONE
    if not is_comparable(row, limits):
        return FEW
    ratio = row["ratio"][_MEDIAN]
    if not (_differs(row, limits) and not _FASTER < ratio < _SLOWER):
        return ALIKE
    return SLOWER if ratio > 1 else FASTER


def worst_first(rows: list[Row], limits: Limits) -> list[Row]:
    """Return rows by their kinds; those that fail more by how much, the others by their ratios."""

    def badness(row: Row) -> tuple[int, Fraction, float, float]:
        after = row["after"] or {}
        longest = after.get(_MEDIAN) or 0.0 if row["change"] == "new" else 0.0
        return -KINDS.index(kind_of(row, limits)), more_failed(row), row["ratio"][_MEDIAN] or 0.0, longest

    return sorted(rows, key=badness, reverse=True)

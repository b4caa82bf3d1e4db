"""What the reports say of two runs that are compared, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from execution_tracker._comparison import KINDS, judged, kind_of, share_failed
from execution_tracker.report._units import counted, duration, name_of, percentage, some, times

if TYPE_CHECKING:
    from execution_tracker._comparison import Limits


def kinds(rows: list[dict[str, Any]], limits: Limits) -> str:
    """Return how many rows of a comparison are of which kind, the worst kind first."""
    counts = Counter(kind_of(row, limits) for row in rows)
    return ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if kind in counts)


def verdict(rows: list[dict[str, Any]], limits: Limits) -> list[tuple[str, str]]:
    """Return sentences on what came of the limits, each with ``"good"``, ``"bad"`` or ``"unsure"``."""
    slower, failing, in_common, comparable, _ = judged(rows, limits)
    sentences: list[tuple[str, str]] = []
    if not in_common:
        nothing = "The runs have no routine in common" if rows else "Neither run has an execution"
        fails = " The check fails." if limits.are_given else ""
        sentences.append((f"{nothing}, so no times were compared.{fails}", "bad" if fails else "unsure"))
    elif limits.max_slowdown is not None:
        sentences += _on_medians(slower, limits) if comparable else []
        if comparable < len(rows):
            sentences.append((_on_rest(len(rows), comparable, limits), "" if comparable else "unsure"))
    if limits.max_failed is not None and (failing or in_common):
        sentences.append(_on_failures(failing, limits.max_failed))
    return sentences


def _on_medians(slower: list[dict[str, Any]], limits: Limits) -> list[tuple[str, str]]:
    if not slower:
        return [(f"No routine's median grew beyond {limits.max_slowdown:g} times.", "good")]
    named = [f"{name_of(row['routine_id'], 40)} ({times(row['ratio']['median_execution_time'])})" for row in slower]
    return [(f"Medians that grew beyond {limits.max_slowdown:g} times: {some(named)}.", "bad")]


def _on_rest(count: int, comparable: int, limits: Limits) -> str:
    needed = f"{counted(limits.min_count, 'completed execution')} in both runs"
    return f"Of {counted(count, 'routine')}, {comparable:,} could be compared; a median needs {needed}."


def _on_failures(failing: list[dict[str, Any]], max_failed: float) -> tuple[str, str]:
    more = f"by more than {max_failed:g} {'point' if max_failed == 1 else 'points'}"
    if not failing:
        return f"No routine failed, or did not end, more often {more}.", "good"
    named = [
        f"{name_of(row['routine_id'], 40)} ({failed_share(row['before'])} → {failed_share(row['after'])})"
        for row in failing
    ]
    return f"Failed, or did not end, more often {more}: {some(named)}.", "bad"


def median_of(fared: dict[str, Any]) -> str:
    """Return the median time of a routine's completed executions in one run."""
    return duration(fared["median_execution_time"])


def failed_share(fared: dict[str, Any] | None) -> str:
    """Return which part of a routine's executions failed or never ended in one run."""
    return percentage(float(share_failed(fared)))

"""A tracker as a line of text, and as HTML in a notebook."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from execution_tracker import _metrics, _timeline
from execution_tracker._run import STATUS, WIDTH
from execution_tracker.report import _facts as facts
from execution_tracker.report import _units as units
from execution_tracker.report._failures import Failures, failures

if TYPE_CHECKING:
    from execution_tracker._metrics import Measured
    from execution_tracker.tracker import ExecutionTracker

_MAX_FAILURES = 5
_MAX_ROUTINES = 20
_PATIENCE_S = 0.05

# Styles stand in each element, since notebooks drop style sheets. Colours are the notebook's own, dark or light.
_NUMBER = "text-align:right;padding:2px 12px 2px 0;font-variant-numeric:tabular-nums;white-space:nowrap"
_TEXT = "text-align:left;padding:2px 12px 2px 0;overflow-wrap:anywhere"
_LABEL = "font-weight:normal;opacity:0.65;"
_RED = "#d64545"
_BLUE = "#4a90c2"


def short_text(tracker: ExecutionTracker) -> str:
    """Return the line that ``repr`` gives: the name of the run and its counts.

    It may be wanted anywhere, even by a logger whose lock another thread waits for in the middle of a fold. So this
    waits for a fold only briefly; then it tells of what is folded so far.

    >>> from execution_tracker import ExecutionTracker
    >>> ExecutionTracker("nightly")
    <ExecutionTracker 'nightly': 0 executions, 0 failed, 0 running, 0 events>
    """
    lock = tracker._lock
    is_mine = lock._is_owned()  # asked for in the middle of a fold of this thread
    try:
        may_fold = is_mine or lock.acquire(timeout=_PATIENCE_S)
        counts = tracker._read(lambda fold: _counts(fold.measured())) if may_fold else _counts(tracker._fold.run())
    finally:
        if not is_mine and lock._is_owned():  # also if Ctrl-C came as soon as it was acquired
            lock.release()
    return f"<{type(tracker).__name__} {units.printable(repr(tracker.flow_id), 60)}: {counts}>"


def _counts(run: Measured) -> str:
    statuses: Counter[Any] = Counter()
    for routine in run.routines.values():
        statuses.update(routine.rows[STATUS::WIDTH])
        if routine.dropped:
            statuses.update(routine.dropped.status_counts)
    executions = units.counted(statuses.total(), "execution")
    events = units.counted(run.event_count + run.dropped_events, "event")
    return f"{executions}, {statuses['failed']:,} failed, {statuses['running']:,} running, {events}"


def html_text(tracker: ExecutionTracker) -> str:
    """Return what a run did, in the words of the other reports, as HTML that needs nothing else.

    >>> from execution_tracker import ExecutionTracker
    >>> "&lt;b&gt;" in html_text(ExecutionTracker("<b>"))
    True
    """
    run = tracker._run()
    numbers = _metrics.metrics_of(tracker.flow_id, run)
    timeline = _timeline.Timeline(run)
    unplaced = run.executions - len(timeline.start_ns)
    parts = [
        f'<div style="font-weight:bold">{escape(units.text_of(tracker.flow_id) or facts.NO_NAME)}</div>',
        _dim(facts.subtitle(run, numbers)),
        _headline(numbers),
        _failures(failures(run), numbers),
        _routines(facts.by_self_time(numbers), numbers),
        _dim(facts.path_sentence(facts.critical_path(timeline))),
        _dim(facts.concurrency(numbers)),
        *map(_dim, facts.missing(numbers, unplaced)),
        _dim(facts.MORE),
    ]
    return f'<div style="max-width:60em">{"".join(parts)}</div>'


def _dim(sentence: str) -> str:
    return f'<div style="opacity:0.65">{escape(sentence)}</div>' if sentence else ""


def _headline(numbers: dict[str, Any]) -> str:
    headline = facts.headline(numbers)
    red = f";color:{_RED}" if numbers["failed"] else ""
    cells = [
        _cell(fact, "td", f"{_NUMBER};font-weight:bold{red if label == 'Failed' else ''}")
        for label, fact in headline.items()
    ]
    others = facts.other_statuses(numbers["status_counts"])
    table = _table([[_cell(label, "th", _LABEL + _NUMBER) for label in headline], cells])
    return table + (f"<div>{escape(f'Other statuses: {others}.')}</div>" if others else "")


def _failures(groups: list[Failures], numbers: dict[str, Any]) -> str:
    rows = [[_cell(header, "th", _LABEL + _TEXT) for header in ("Failures", "Where", "What")]]
    for group in groups[:_MAX_FAILURES]:
        cells = [f"{group.executions:,}", units.some([*group.routines]), facts.failed_how(group)]
        rows.append([_cell(text, "td", style) for text, style in zip(cells, (_NUMBER, _TEXT, _TEXT), strict=True)])
    kept, shown = (sum(group.executions for group in some) for some in (groups, groups[:_MAX_FAILURES]))
    more = _dim(f"… and {units.counted(kept - shown, 'more failure')}") if kept > shown else ""
    return (_table(rows) if groups else "") + more + _dim(facts.undescribed(numbers, kept))


def _routines(routines: list[tuple[str, dict[str, Any]]], numbers: dict[str, Any]) -> str:
    if not routines:
        return "<div>No execution was recorded.</div>"
    shown = routines[:_MAX_ROUTINES]
    others = [facts.other_statuses(routine["status_counts"]) for _, routine in shown]
    other = ["Other"] if any(others) else []
    texts, headers = ("Routine", "Other"), ["Routine", "Count", "Failed", *other, "Median", "p95", "Total", "Share"]
    rows = [[_cell(header, "th", _LABEL + (_TEXT if header in texts else _NUMBER)) for header in headers]]
    for (name, routine), other_statuses in zip(shown, others, strict=True):
        times = [facts.time_of(routine, which) for which in ("median", "p95", "total")]
        red = f";color:{_RED}" if routine["failed"] else ""
        part = facts.share_of(routine, numbers)
        rows.append(
            [
                _cell(name, "td", _TEXT),
                _cell(f"{routine['total_executions']:,}", "td", _NUMBER),
                _cell(f"{routine['failed']:,}", "td", _NUMBER + red),
                *([_cell(other_statuses, "td", _TEXT)] if other else []),
                *(_cell(time, "td", _NUMBER) for time in times),
                _cell(units.percentage(part), "td", f"{_NUMBER};{_bar(part)}"),
            ]
        )
    more = len(routines) - _MAX_ROUTINES
    return _table(rows) + (_dim(f"… and {units.counted(more, 'more routine')}") if more > 0 else "")


def _bar(part: float) -> str:
    """Return the style of a cell with a line below its text, as long as the part."""
    return f"background:linear-gradient({_BLUE},{_BLUE}) left bottom/{part:.0%} 2px no-repeat;min-width:6em"


def _cell(text: str, tag: str, style: str) -> str:
    return f'<{tag} style="{style}">{escape(text)}</{tag}>'


def _table(rows: list[list[str]]) -> str:
    lines = "".join(f'<tr style="background:none">{"".join(row)}</tr>' for row in rows)
    style = "border-collapse:collapse;border:none;margin:8px 0;color:inherit;font-size:inherit"
    return f'<table style="{style}">{lines}</table>'

"""What a run did, and how two runs compare, as tables and bars in a terminal (rich)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execution_tracker import _comparison, _metrics, _timeline, analysis
from execution_tracker._comparison import Limits
from execution_tracker._run import run_of
from execution_tracker.errors import TrackerError
from execution_tracker.report import _facts as facts
from execution_tracker.report import _units as units
from execution_tracker.report import _verdict
from execution_tracker.report._failures import Failures, error_lines, failures

try:
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from execution_tracker.report._terminal_parts import Bar, Cell, Column, Folded, Name, fitted, more, number
except ModuleNotFoundError as error:
    raise TrackerError("a report in the terminal needs rich: pip install 'execution-tracker[cli]'") from error

if TYPE_CHECKING:
    from collections.abc import Callable

    from execution_tracker._metrics import Metrics
    from execution_tracker.tracker import ExecutionTracker

# What fits a screen or two, whatever the size of the run.
_MAX_FAILURES = 6
_MAX_ERROR_LINES = 8
_MAX_SLOWEST = 5
_MAX_ROUTINES = 20
_MAX_STEPS = 12
_MAX_EDGES = 8
_MAX_WORKERS = 8
_MAX_COMPARED = 40

_WIDE = 70  # cells that the headline needs as a table


def print_report(tracker: ExecutionTracker, console: Console | None = None) -> None:
    """Print what a run did: what failed, what was slow, why it took so long, and what the numbers leave out.

    Args:
        tracker: The run, which stays as it is.
        console: Where to print; by default standard output, in colour if that is a terminal.

    Raises:
        TypeError: It is no tracker, but a path, say.
        TrackerError: rich is not installed (raised when this module is imported).

    Long lists are cut, and say so. No text of the run is taken for markup or for a control sequence. Takes as long as
    the metrics and the critical path: a few seconds for 100,000 executions and as many events.

    >>> from rich.console import Console
    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.report.terminal import print_report
    >>> print_report(ExecutionTracker("nightly"), Console(width=80))
    nightly
    Nothing was recorded.
    """
    run = run_of(tracker)
    console = console or Console()
    numbers = _metrics.metrics_of(tracker.flow_id, run)
    name = units.text_of(tracker.flow_id) or facts.NO_NAME
    sections: list[list[Any]] = [[Name(name, "bold"), Text(facts.subtitle(run, numbers), style="dim")]]
    unplaced = 0
    if numbers["total_executions"] or numbers["total_events"]:
        timeline = _timeline.Timeline(run)
        unplaced = run.executions - len(timeline.start_ns)
        sections += [
            _headline(numbers, console.width),
            _failures(failures(run), numbers, timeline, console.width),
            _slowest(timeline, console.width),
            _routines(numbers, console.width),
            _critical_path(facts.critical_path(timeline), console.width),
            _waits(analysis.event_edges_in(timeline), numbers, console.width),
            _workers(facts.workers(timeline), numbers, console.width),
        ]
    sections.append([Text(sentence, style="dim") for sentence in facts.missing(numbers, unplaced)])
    _print(sections, console)


def print_comparison(
    rows: list[dict[str, Any]],
    max_slowdown: float | None = None,
    console: Console | None = None,
    *,
    max_failed: float | None = None,
    min_count: int = 5,
    min_time: float = 0.001,
) -> None:
    """Print how each routine fared in two runs, the worst first, and which got worse than they may.

    Args:
        rows: What :func:`execution_tracker.analysis.compare` gave.
        max_slowdown: Say at the end which routines' medians grew beyond so many times.
        console: Where to print; by default standard output, in colour if that is a terminal.
        max_failed: Say at the end of which routines a part failed, or did not end, that is larger by more than so many
            percentage points.
        min_count: How many completed executions a median needs in both runs.
        min_time: How many seconds two medians must be apart.

    >>> from rich.console import Console
    >>> from execution_tracker.report.terminal import print_comparison
    >>> print_comparison([], 1.5, Console(width=80))
    Neither run has an execution, so no times were compared. The check fails.
    """
    console = console or Console()
    limits = Limits(max_slowdown, max_failed, min_count, min_time)
    comparison = _comparison_table(rows, limits, console.width) if rows else []
    styles = {"good": "green", "bad": "bold red", "unsure": "yellow", "": "dim"}
    sentences = [Text(sentence, style=styles[tone]) for sentence, tone in _verdict.verdict(rows, limits)]
    _print([comparison, sentences], console)


def _print(sections: list[list[Any]], console: Console) -> None:
    separator = False
    for section in filter(None, sections):
        if separator:
            console.print()
        separator = True
        for part in section:
            console.print(part)


# --- the sections of a report ---


def _headline(numbers: Metrics, width: int) -> list[Any]:
    headline = {
        label: number(value, "bold red" if label == "Failed" and numbers["failed"] else "bold")
        for label, value in facts.headline(numbers).items()
    }
    if width >= _WIDE:
        table = fitted([Column(label, [value]) for label, value in headline.items()], width)
    else:
        table = Table.grid(padding=(0, 2))
        for label, value in headline.items():
            table.add_row(Text(label, style="dim"), value)
    others = facts.other_statuses(numbers["status_counts"])
    return [table, *([Text(f"Other statuses: {others}.")] if others else [])]


def _failures(groups: list[Failures], numbers: Metrics, timeline: _timeline.Timeline, width: int) -> list[Any]:
    if not numbers["failed"]:
        return []
    margin = max((len(f"{group.executions:,}") for group in groups[:_MAX_FAILURES]), default=0)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", vertical="top", width=margin)
    table.add_column()
    begin_ns = min(timeline.start_ns[:1], default=None)
    for group in groups[:_MAX_FAILURES]:
        how = facts.failed_how(group)
        lines = error_lines(group.first_error, _MAX_ERROR_LINES, 3 * max(width - margin - 4, 10))
        rest = [*map(Text, lines[1:])] if lines[:1] == [how] else [Padding(Group(*map(Text, lines)), (0, 0, 0, 2))]
        what = Group(Text(facts.failed_where(group, begin_ns)), Text(how, style="red"), *rest)
        table.add_row(f"{group.executions:,}", what)
    of_all = f": {numbers['failed']:,} of {units.counted(numbers['total_executions'], 'execution')}"
    kept, shown = (sum(group.executions for group in some) for some in (groups, groups[:_MAX_FAILURES]))
    dropped = facts.undescribed(numbers, kept)
    return [
        Text.assemble(("Failures", "bold"), of_all),
        *([table] if groups else []),
        *more(kept - shown, "failure"),
        *([Text(dropped, style="dim")] if dropped else []),
    ]


def _slowest(timeline: _timeline.Timeline, width: int) -> list[Any]:
    slowest = facts.slowest(timeline, _MAX_SLOWEST)
    if not slowest:
        return []
    begin_ns = timeline.start_ns[0]
    statuses = [units.text_of(each.status, 20) for each in slowest]
    params = [facts.params_of(each.params) for each in slowest]
    columns = [
        Column("Took", [number(units.duration_of(each.elapsed_ns or 0)) for each in slowest]),
        Column("Routine", [Name(units.name_of(each.routine_id)) for each in slowest]),
        Column("Started after", [number(units.duration_of(each.start_ns - begin_ns)) for each in slowest], 1),
    ]
    if any(status != "completed" for status in statuses):
        styles = {"completed": "dim", "failed": "red"}
        columns.append(Column("Status", [Name(status, styles.get(status, "yellow")) for status in statuses]))
    if any(params):
        columns.append(Column("Params", [Folded(text, 4) for text in params]))
    return [Text("Slowest executions", style="bold"), fitted(columns, width)]


def _routines(numbers: Metrics, width: int) -> list[Any]:
    routines = facts.by_self_time(numbers)
    if not routines:
        return []
    shown, rest = routines[:_MAX_ROUTINES], routines[_MAX_ROUTINES:]
    parts = [facts.share_of(routine, numbers) for _, routine in shown]
    others = [facts.other_statuses(routine["status_counts"]) for _, routine in shown]

    def times(which: str) -> list[Cell]:
        return [number(facts.time_of(routine, which)) for _, routine in shown]

    columns = [
        Column("Routine", [Name(name, least=10) for name, _ in shown]),
        Column("Count", [number(f"{routine['total_executions']:,}") for _, routine in shown]),
        Column("Failed", [_count_failed(routine["failed"]) for _, routine in shown]),
        *([Column("Other", [Folded(text, 4, 12, "yellow") for text in others])] if any(others) else []),
        Column("Median", times("median"), 1),
        Column("p95", times("p95"), 2),
        Column("Total", times("total")),
        Column("Self", times("self"), 3),
        Column("Share", [number(units.percentage(part)) for part in parts]),
        Column("", [Bar([(0.0, part, "━", "cyan")], width // 5) for part in parts], 4),
    ]
    if all(routine["self_execution_time"] == routine["total_execution_time"] for _, routine in shown):
        columns = [column for column in columns if column.header != "Self"]
    took = units.duration(sum(routine["self_execution_time"] for _, routine in rest))
    title = Text.assemble(("Routines", "bold"), " by self time")
    return [title, fitted(columns, width), *more(len(rest), "routine", f", {took} in total")]


def _count_failed(count: int) -> Text:
    return number(f"{count:,}", "red" if count else "dim")


def _critical_path(path: facts.Path, width: int) -> list[Any]:
    """Return the steps in their order; of many, those that cost most, by their numbers."""
    if not path.steps:
        return []
    costs = [step.own_ns + step.waited_ns for step in path.steps]
    costliest = sorted(range(len(costs)), key=lambda number: costs[number], reverse=True)[:_MAX_STEPS]
    shown = [(index + 1, path.steps[index]) for index in sorted(costliest)]
    columns = [
        Column("Step", [number(f"{place:,}") for place, _ in shown]),
        Column("Routine", [Name(units.name_of(step.execution.routine_id)) for _, step in shown]),
        Column("Link", [Folded(facts.LINKS[step.link], 2, 12, "dim") for _, step in shown]),
        Column(
            "Waited",
            [number(units.duration_of(step.waited_ns) if step.waited_ns else "", "yellow") for _, step in shown],
        ),
        Column("Took", [number(_took(step)) for _, step in shown]),
        Column("", [_step_bar(step, path, width // 5) for _, step in shown], 1),
    ]
    return [
        Text("Critical path", style="bold"),
        Text(facts.path_sentence(path), style="dim"),
        fitted(columns, width),
        *more(len(path.steps) - len(costliest), "step"),
    ]


def _took(step: facts.Step) -> str:
    return units.UNKNOWN if step.execution.elapsed_ns is None else units.duration_of(step.execution.elapsed_ns)


def _step_bar(step: facts.Step, path: facts.Path, width: int) -> Bar:
    moments = step.since_ns, step.execution.start_ns, step.end_ns
    since, start, end = (max(moment_ns - path.begin_ns, 0) / (path.length_ns or 1) for moment_ns in moments)
    return Bar([(since, start, "╌", "yellow"), (start, end, "━", "cyan")], width)


def _waits(edges: list[dict[str, Any]], numbers: Metrics, width: int) -> list[Any]:
    waited = sorted(
        (edge for edge in edges if edge["max_wait_time"] is not None),
        key=lambda edge: edge["max_wait_time"],
        reverse=True,
    )
    parts: list[Any] = []
    if waited:
        shown = waited[:_MAX_EDGES]
        ends = [*zip(*map(facts.ends_of, shown), strict=True)]
        columns = [
            *(
                Column(header, [Name(name, least=8) for name in names])
                for header, names in zip(("From", "Event", "To"), ends, strict=True)
            ),
            Column("Count", [number(f"{edge['count']:,}") for edge in shown], 1),
            Column("Inferred", [number(facts.part_inferred(edge), "dim") for edge in shown]),
            Column("Median", [number(units.duration(edge["median_wait_time"])) for edge in shown], 2),
            Column("Longest", [number(units.duration(edge["max_wait_time"])) for edge in shown]),
        ]
        if not any(edge["inferred"] for edge in shown):
            columns = [column for column in columns if column.header != "Inferred"]
        title = Text.assemble(("Longest waits", "bold"), ", from an event to the start that it led to")
        parts += [title, fitted(columns, width), *more(len(waited) - _MAX_EDGES, "edge")]
    sentences = facts.inferred(edges), facts.led_nowhere(edges, numbers)
    return [*parts, *(Text(sentence, style="dim") for sentence in sentences if sentence)]


def _workers(workers: list[facts.Worker], numbers: Metrics, width: int) -> list[Any]:
    sentence = facts.concurrency(numbers)
    if not sentence:
        return []
    title = Text.assemble(("Workers" if workers else "Concurrency", "bold"), f": {sentence}")
    if not workers:
        return [title]
    shown, rest = workers[:_MAX_WORKERS], workers[_MAX_WORKERS:]
    columns = [
        Column("Worker", [Name(worker.name) for worker in shown]),
        Column("Executions", [number(f"{worker.executions:,}") for worker in shown]),
        Column("Busy for", [number(units.duration_of(worker.busy_ns)) for worker in shown]),
        Column("Busy", [number(units.percentage(worker.busy)) for worker in shown]),
        Column("", [Bar([(0.0, worker.busy, "━", "cyan")], width // 5) for worker in shown], 1),
    ]
    busy = f", each busy for {units.percentage(rest[0].busy)} or less" if rest else ""
    return [title, fitted(columns, width), *more(len(rest), "worker", busy)]


# --- two runs compared ---


def _comparison_table(rows: list[dict[str, Any]], limits: Limits, width: int) -> list[Any]:
    ordered = _comparison.worst_first(rows, limits)
    shown, hidden = ordered[:_MAX_COMPARED], ordered[_MAX_COMPARED:]

    def counts(key: str, style_of: Callable[[dict[str, Any]], str] = lambda _: "") -> list[Cell]:
        return [number(_change(row, lambda fared: f"{fared[key]:,}"), style_of(row)) for row in shown]

    def red_if_failing(row: dict[str, Any]) -> str:
        return "red" if _comparison.more_failed(row) > 0 else ""

    columns = [
        Column("Routine", [Name(units.name_of(row["routine_id"])) for row in shown]),
        Column("Count", counts("total_executions"), 3),
        Column("Failed", counts("failed", red_if_failing)),
        Column("Never ended", counts("running", red_if_failing)),
        Column("Median", [number(_change(row, _verdict.median_of)) for row in shown], 1),
        Column("Ratio", [_ratio(row, limits) for row in shown]),
        Column("p95 ratio", [number(_times(row["ratio"]["p95_execution_time"])) for row in shown], 2),
    ]
    for header, key in {"Failed": "failed", "Never ended": "running"}.items():
        if not any(row[run] and row[run][key] for row in shown for run in ("before", "after")):
            columns = [column for column in columns if column.header != header]
    return [fitted(columns, width), *more(len(hidden), "routine", f": {_verdict.kinds(hidden, limits)}")]


def _change(row: dict[str, Any], text_of: Callable[[dict[str, Any]], str]) -> str:
    """Return a number of both runs, or the one number that it is in both."""
    before, after = (text_of(row[run]) if row[run] else "" for run in ("before", "after"))
    return f"{before} → {after}" if before != after and before and after else before or after


def _ratio(row: dict[str, Any], limits: Limits) -> Text:
    if row["change"] != "both":
        return number(row["change"], "bold")
    styles = {_comparison.SLOWER: "red", _comparison.FASTER: "green", _comparison.FEW: "dim"}
    return number(_times(row["ratio"]["median_execution_time"]), styles.get(_comparison.kind_of(row, limits), ""))


def _times(ratio: float | None) -> str:
    return units.UNKNOWN if ratio is None else units.times(ratio)

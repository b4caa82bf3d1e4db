"""What a run did, and how two runs compare, as tables and bars in a terminal (rich)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from execution_tracker import _metrics, _timeline, analysis
from execution_tracker.collector import built_at_once
from execution_tracker.errors import TrackerError
from execution_tracker.report import _summary as summary
from execution_tracker.timestamps import SECOND_NS

try:
    from rich.cells import cell_len
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text
except ModuleNotFoundError as error:
    raise TrackerError("a report in the terminal needs rich: pip install 'execution-tracker[cli]'") from error

if TYPE_CHECKING:
    from execution_tracker.tracker import ExecutionTracker

# What fits a screen or two, whatever the size of the run.
_MAX_ROUTINES = 20
_MAX_STEPS = 12
_MAX_EDGES = 8
_MAX_FAILURES = 8
_MAX_COMPARED = 40

_WIDE = 70  # cells of a console that takes all columns
_FASTER, _SLOWER = 0.8, 1.25  # ratios beyond these are coloured


def print_report(tracker: ExecutionTracker, console: Console | None = None) -> None:
    """Print what a run did: its numbers, routines, critical path, waits and failures, and what they leave out.

    Args:
        tracker: The run, which stays as it is.
        console: Where to print; by default standard output, in colour if that is a terminal.

    Raises:
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
    console = console or Console()
    run = tracker._run()
    numbers = _metrics.metrics_of(tracker.flow_id, run)
    name = summary.text_of(tracker.flow_id) or summary.NO_NAME
    sections: list[list[Any]] = [[_Name(name, "bold"), Text(summary.subtitle(run, numbers), style="dim")]]
    unplaced = 0
    if numbers["total_executions"] or numbers["total_events"]:
        timeline = built_at_once(lambda: _timeline.timeline_of(run))
        unplaced = run.executions - len(timeline.executions)
        sections += [
            [_headline(numbers, console.width)],
            _routines(numbers, console.width),
            _critical_path(summary.critical_path(timeline), console.width),
            _waits(analysis.event_edges_in(timeline), numbers),
            _failures(summary.failures(run), numbers["failed"]),
        ]
    sections.append([Text(sentence, style="dim") for sentence in summary.missing(numbers, unplaced)])
    _print(sections, console)


def print_comparison(
    rows: list[dict[str, Any]], max_slowdown: float | None = None, console: Console | None = None
) -> None:
    """Print how each routine fared in two runs, the worst slowdown first.

    Args:
        rows: What :func:`execution_tracker.analysis.compare` gave.
        max_slowdown: Say at the end which routines' medians grew beyond so many times.
        console: Where to print; by default standard output, in colour if that is a terminal.

    >>> from rich.console import Console
    >>> from execution_tracker.report.terminal import print_comparison
    >>> print_comparison([], 1.5, Console(width=80))
    Neither run has an execution.
    <BLANKLINE>
    No routine's median grew beyond 1.5 times.
    """
    console = console or Console()
    comparison = _comparison(rows, console.width) if rows else [Text("Neither run has an execution.")]
    verdict = [] if max_slowdown is None else [_verdict(rows, max_slowdown)]
    _print([comparison, verdict], console)


def _print(sections: list[list[Any]], console: Console) -> None:
    separator = False
    for section in filter(None, sections):
        if separator:
            console.print()
        separator = True
        for part in section:
            console.print(part)


# --- the sections of a report ---


def _headline(numbers: dict[str, Any], width: int) -> Table:
    facts = {
        label: Text(value, style="bold red" if label == "Failed" and numbers["failed"] else "bold")
        for label, value in summary.headline(numbers).items()
    }
    if width >= _WIDE:
        table = _table(*facts)
        table.add_row(*facts.values())
    else:
        table = Table.grid(padding=(0, 2))
        for label, value in facts.items():
            table.add_row(Text(label, style="dim"), value)
    return table


def _routines(numbers: dict[str, Any], width: int) -> list[Any]:
    routines = summary.by_self_time(numbers)
    if not routines:
        return []
    longest_name = max(cell_len(name) for name, _ in routines[:_MAX_ROUTINES])
    bar_width = 0 if width < _WIDE else 16 if longest_name <= 12 or width >= 100 else 6
    times = {"Median": "median", "p95": "p95", "Total": "total"} if width >= _WIDE else {"Total": "total"}
    table = _table("<Routine", "Count", "Failed", *times, "Share", "<")
    for name, routine in routines[:_MAX_ROUTINES]:
        part = summary.share_of(routine, numbers)
        table.add_row(
            _Name(name),
            f"{routine['total_executions']:,}",
            Text(f"{routine['failed']:,}", style="red" if routine["failed"] else "dim"),
            *(summary.time_of(routine, key) for key in times.values()),
            summary.percentage(part),
            _Bar([(0.0, part, "━", "cyan")], bar_width),
        )
    rest = routines[_MAX_ROUTINES:]
    took = summary.duration(sum(routine["self_execution_time"] for _, routine in rest))
    return [table, *_more(len(rest), "routine", f", {took} in total")]


def _critical_path(path: summary.Path, width: int) -> list[Any]:
    """Return the steps in their order; of many, those that cost most, by their numbers."""
    if not path.steps:
        return []
    costs = [step.own_ns + step.waited_ns for step in path.steps]
    costliest = sorted(range(len(costs)), key=lambda number: costs[number], reverse=True)[:_MAX_STEPS]
    table = _table("Step", "<Routine", "Waited", "Took", "<")
    for number in sorted(costliest):
        step = path.steps[number]
        moments = step.since_ns, step.execution.start_ns, step.end_ns
        since, start, end = (max(moment_ns - path.begin_ns, 0) / (path.length_ns or 1) for moment_ns in moments)
        table.add_row(
            f"{number + 1:,}",
            _Name(summary.name_of(step.execution.routine_id)),
            Text(_duration(step.waited_ns) if step.waited_ns else "", style="yellow"),
            summary.UNKNOWN if step.execution.elapsed_ns is None else _duration(step.execution.elapsed_ns),
            _Bar([(since, start, "╌", "yellow"), (start, end, "━", "cyan")], 16 if width >= _WIDE else 0),
        )
    waiting = f", {_duration(path.waited_ns)} of it waiting" if path.waited_ns else ""
    title = Text.assemble(
        ("Critical path", "bold"), f": {_duration(path.length_ns)}{waiting}" if path.length_ns else ""
    )
    late = f"It begins {_duration(path.late_ns)} into the run: no other execution fed its first step."
    return [
        title,
        table,
        *_more(len(path.steps) - len(costliest), "step"),
        *([Text(late, style="dim")] if path.late_ns else []),
    ]


def _duration(time_ns: int) -> str:
    return summary.duration(time_ns / SECOND_NS)


def _waits(edges: list[dict[str, Any]], numbers: dict[str, Any]) -> list[Any]:
    waited = sorted((edge for edge in edges if edge["caused"]), key=lambda edge: edge["max_wait_time"], reverse=True)
    parts: list[Any] = []
    if waited:
        table = _table("<From", "<Event", "<To", "Count", "Median", "Longest")
        for edge in waited[:_MAX_EDGES]:
            times = [summary.duration(edge[key]) for key in ("median_wait_time", "max_wait_time")]
            table.add_row(*map(_Name, summary.ends_of(edge)), f"{edge['count']:,}", *times)
        title = Text.assemble(("Longest waits", "bold"), ", from an event to the start that it led to")
        parts += [title, table, *_more(len(waited) - _MAX_EDGES, "edge")]
    if sentence := summary.led_nowhere(edges, numbers):
        parts.append(Text(sentence, style="dim"))
    return parts


def _failures(groups: list[summary.Failures], failed: int) -> list[Any]:
    if not failed:
        return []
    table = _table("Count", "<Routine", "<Message")
    for routine, message, executions in groups[:_MAX_FAILURES]:
        table.add_row(f"{executions:,}", _Name(routine), Text(message))
    kept, shown = (sum(group.executions for group in some) for some in (groups, groups[:_MAX_FAILURES]))
    dropped = f"Dropped, so without a message: {summary.counted(failed - kept, 'failure')}."
    return [
        Text("Failures", style="bold"),
        *([table] if groups else []),
        *_more(kept - shown, "failure"),
        *([Text(dropped, style="dim")] if failed > kept else []),
    ]


# --- two runs compared ---


def _comparison(rows: list[dict[str, Any]], width: int) -> list[Any]:
    has_failures = any(row[run] and row[run]["failed"] for row in rows for run in ("before", "after"))
    columns = [*(["Failed"] if has_failures else []), "Median", "Ratio"]
    if width >= _WIDE:
        columns = ["Count", *columns, "p95 ratio"]
    table = _table("<Routine", *columns)
    for row in summary.worst_first(rows)[:_MAX_COMPARED]:
        cells = {
            "Count": _change(row, lambda routine: f"{routine['total_executions']:,}"),
            "Failed": _change(row, lambda routine: f"{routine['failed']:,}"),
            "Median": _change(row, lambda routine: summary.time_of(routine, "median")),
            "Ratio": _ratio(row["ratio"]["median_execution_time"]),
            "p95 ratio": _ratio(row["ratio"]["p95_execution_time"]),
        }
        if summary.fails_more(row):
            cells["Failed"].stylize("red")
        if row["change"] != "both":
            cells["Ratio"] = Text(row["change"], style="bold")
        table.add_row(_Name(summary.name_of(row["routine_id"])), *(cells[column] for column in columns))
    return [table, *_more(len(rows) - _MAX_COMPARED, "routine")]


def _change(row: dict[str, Any], text_of: Callable[[dict[str, Any]], str]) -> Text:
    """Return a number of both runs, or the one number that it is in both."""
    before, after = (text_of(row[run]) if row[run] else "" for run in ("before", "after"))
    return Text(f"{before} → {after}" if before != after and before and after else before or after)


def _ratio(ratio: float | None) -> Text:
    if ratio is None:
        return Text(summary.UNKNOWN)
    return Text(summary.times(ratio), style="red" if ratio >= _SLOWER else "green" if ratio <= _FASTER else "")


def _verdict(rows: list[dict[str, Any]], max_slowdown: float) -> Text:
    slower = summary.slower(rows, max_slowdown)
    if not slower:
        compared = sum(map(summary.is_compared, rows))
        of_all = f" Of {summary.counted(len(rows), 'routine')}, {compared:,} could be compared." * (
            compared < len(rows)
        )
        style = "green" if compared else "yellow"
        return Text(f"No routine's median grew beyond {max_slowdown:g} times.{of_all}", style=style)
    named = [
        f"{summary.name_of(row['routine_id'], 40)} ({summary.times(row['ratio']['median_execution_time'])})"
        for row in slower
    ]
    return Text(f"Medians that grew beyond {max_slowdown:g} times: {summary.some(named)}.", style="bold red")


# --- parts ---


def _table(*headers: str) -> Table:
    """Return a table without lines; a column whose header begins with "<" is for text or a bar, and can give way."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for header in headers:
        left = header.startswith("<")
        table.add_column(
            Text(header.lstrip("<"), no_wrap=True), justify="left" if left else "right", no_wrap=not left, min_width=1
        )
    return table


def _more(count: int, thing: str, which: str = "") -> list[Text]:
    """Return the line below a list that was cut, empty if it was not."""
    if count <= 0:
        return []
    things = summary.counted(count, thing).split(" ")
    return [Text(f"… and {things[0]} more {things[1]}{which}", style="dim")]


class _Name:
    """A name on one line, which gives way in its middle: long names differ at either end."""

    def __init__(self, name: str, style: str = "") -> None:
        self.name = name
        self.style = style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = cell_len(self.name)
        return Measurement(min(width, 12), width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        name, kept = self.name, len(self.name)
        while cell_len(name) > options.max_width and kept > 2:
            kept = min(kept, options.max_width + 1) - 1
            name = f"{self.name[: kept // 2]}…{self.name[len(self.name) - (kept - 1 - kept // 2) :]}"
        yield Text(name, style=self.style, no_wrap=True, overflow="ellipsis")


class _Bar:
    """A line with spans on it: start and end from 0 to 1, a character and a style for each."""

    def __init__(self, spans: list[tuple[float, float, str, str]], width: int) -> None:
        self.spans = spans
        self.width = width

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(4, self.width), self.width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = min(options.max_width, self.width)
        line = Text(" " * width, no_wrap=True)
        for start, end, character, style in self.spans:
            if end > start and width:
                first = min(int(start * width), width - 1)
                last = min(max(round(end * width), first + 1), width)
                character = {"━": "=", "╌": "-"}[character] if options.ascii_only else character
                line.plain = line.plain[:first] + character * (last - first) + line.plain[last:]
                line.stylize(style, first, last)
        yield line

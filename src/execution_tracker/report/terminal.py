"""What a run did, and how two runs compare, as tables and bars in a terminal (rich)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from execution_tracker import analysis, metrics
from execution_tracker.errors import TrackerError
from execution_tracker.report import _summary as summary
from execution_tracker.timestamps import SECOND_NS, to_ns

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
    <BLANKLINE>
    Nothing was recorded.
    """
    console = console or Console()
    run = tracker._snapshot()
    numbers = metrics.run_metrics(tracker.flow_id, run)
    sections: list[list[Any]] = [[_Name(summary.text_of(tracker.flow_id) or summary.NO_NAME, "bold")]]
    if numbers["total_executions"] or numbers["total_events"]:
        timeline = analysis.timeline_of(run)
        sections += [
            [_headline(numbers, console.width)],
            _routines(numbers, console.width),
            _critical_path(timeline, console.width),
            _waits(analysis.event_edges_in(timeline)),
            _failures(summary.failures(run), numbers["failed"]),
        ]
    else:
        sections.append([Text("Nothing was recorded.")])
    sections.append([Text(sentence, style="dim") for sentence in summary.missing(numbers)])
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
    comparison = _comparison(rows) if rows else [Text("Neither run has an execution.")]
    verdict = [] if max_slowdown is None else [_verdict(summary.slower(rows, max_slowdown), max_slowdown)]
    _print([comparison, verdict], console or Console())


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
    routines = summary.by_total_time(numbers)
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
    took = summary.duration(sum(routine["total_execution_time"] for _, routine in rest))
    return [table, *_more(len(rest), "routine", f", {took} in total")]


def _critical_path(timeline: analysis.Timeline, width: int) -> list[Any]:
    """Return the steps in their order; of many, those that cost most, by their numbers."""
    steps = analysis.critical_path_in(timeline)
    if not steps:
        return []
    spans = list(map(_span_ns, steps))
    begin_ns = min(start_ns for start_ns, _ in spans)
    length_ns = max(end_ns for _, end_ns in spans) - begin_ns
    waits_ns = [round(step["wait_time"] * SECOND_NS) for step in steps]
    costs = [end_ns - start_ns + wait_ns for (start_ns, end_ns), wait_ns in zip(spans, waits_ns, strict=True)]
    costliest = sorted(range(len(steps)), key=lambda number: costs[number], reverse=True)[:_MAX_STEPS]
    table = _table("Step", "<Routine", "Waited", "Took", "<")
    for number in sorted(costliest):
        step, wait_ns = steps[number], waits_ns[number]
        start, end = ((time_ns - begin_ns) / (length_ns or 1) for time_ns in spans[number])
        waited = max(start - wait_ns / (length_ns or 1), 0.0)
        table.add_row(
            f"{number + 1:,}",
            _Name(summary.name_of(step["routine_id"])),
            Text(summary.duration(step["wait_time"]) if wait_ns else "", style="yellow"),
            summary.duration(step["execution_time"]),
            _Bar([(waited, start, "╌", "yellow"), (start, end, "━", "cyan")], 16 if width >= _WIDE else 0),
        )
    took, waiting = summary.duration(length_ns / SECOND_NS), summary.duration(sum(waits_ns) / SECOND_NS)
    waiting = f", {waiting} of it waiting" if any(waits_ns) else ""
    title = Text.assemble(("Critical path", "bold"), f": {took}{waiting}" if length_ns else "")
    late_ns = begin_ns - timeline.executions[0].start_ns
    late = []
    if 100 * late_ns > late_ns + length_ns:
        words = (
            f"It begins {summary.duration(late_ns / SECOND_NS)} into the run: no other execution fed its first step."
        )
        late.append(Text(words, style="dim"))
    return [title, table, *_more(len(steps) - len(costliest), "step", " that took less"), *late]


def _span_ns(step: dict[str, Any]) -> tuple[int, int]:
    """Return start and end of a step; one that never ended has no length."""
    start_ns = to_ns(step["start_time"]) or 0
    return start_ns, max(to_ns(step["end_time"]) or 0, start_ns)


def _waits(edges: list[dict[str, Any]]) -> list[Any]:
    waited = sorted((edge for edge in edges if edge["fed"]), key=lambda edge: edge["max_wait_time"], reverse=True)
    if not waited:
        return []
    table = _table("<From", "<Event", "<To", "Count", "Median", "Longest")
    for edge in waited[:_MAX_EDGES]:
        names = [edge[key] for key in ("source_routine_id", "event_name", "target_routine_id")]
        times = [summary.duration(edge[key]) for key in ("median_wait_time", "max_wait_time")]
        table.add_row(*(_Name(summary.name_of(name)) for name in names), f"{edge['count']:,}", *times)
    title = Text.assemble(("Longest waits", "bold"), ", from an event to the start that it led to")
    return [title, table, *_more(len(waited) - _MAX_EDGES, "edge", " with shorter waits")]


def _failures(groups: list[summary.Failures], failed: int) -> list[Any]:
    if not failed:
        return []
    table = _table("Count", "<Routine", "<Message")
    for routine, message, executions in groups[:_MAX_FAILURES]:
        table.add_row(f"{executions:,}", _Name(routine), Text(message))
    shown = sum(group.executions for group in groups[:_MAX_FAILURES])
    return [Text("Failures", style="bold"), *([table] if groups else []), *_more(failed - shown, "failure")]


# --- two runs compared ---


def _comparison(rows: list[dict[str, Any]]) -> list[Any]:
    table = _table("<Routine", "Count before", "after", "Median before", "after", "Ratio", "p95 ratio")
    for row in summary.worst_first(rows)[:_MAX_COMPARED]:
        cells: list[Any] = [_Name(summary.name_of(row["routine_id"]))]
        cells += [f"{row[run]['total_executions']:,}" if row[run] else "" for run in ("before", "after")]
        cells += [summary.time_of(row[run], "median") if row[run] else "" for run in ("before", "after")]
        if row["change"] == "both":
            cells += [_ratio(row["ratio"][key]) for key in ("median_execution_time", "p95_execution_time")]
        else:
            cells.append(Text(row["change"], style="bold"))
        table.add_row(*cells)
    return [table, *_more(len(rows) - _MAX_COMPARED, "routine", " that fared better")]


def _ratio(ratio: float | None) -> Text:
    if ratio is None:
        return Text(summary.UNKNOWN)
    return Text(summary.times(ratio), style="red" if ratio >= _SLOWER else "green" if ratio <= _FASTER else "")


def _verdict(slower: list[dict[str, Any]], max_slowdown: float) -> Text:
    if not slower:
        return Text(f"No routine's median grew beyond {max_slowdown:g} times.", style="green")
    named = [
        f"{summary.name_of(row['routine_id'], 40)} ({summary.times(row['ratio']['median_execution_time'])})"
        for row in slower[:5]
    ]
    more = [f"{len(slower) - 5:,} more"] if len(slower) > 5 else []
    return Text(f"Medians that grew beyond {max_slowdown:g} times: {', '.join(named + more)}.", style="bold red")


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
    """Return the line below a list that was cut."""
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

"""The commands of ``execution-tracker``. Needs click; :mod:`execution_tracker.cli` is the way in."""

from __future__ import annotations

import json
import os
import stat
import sys
from math import isfinite
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from execution_tracker import ExecutionTracker, __version__, _metrics, _timeline, analysis, merge
from execution_tracker._comparison import Limits, judged
from execution_tracker._records import execution_record, rows_in
from execution_tracker._run import STATUS
from execution_tracker.errors import TrackerError
from execution_tracker.payloads import json_safe
from execution_tracker.report._failures import is_failed
from execution_tracker.report._units import some, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

_CHUNK = 1_000_000
_LARGE = 4_000_000  # bytes; reading less takes no time to speak of

_runs_argument = click.argument("run", nargs=-1, required=True, metavar="RUN...", type=click.Path(allow_dash=True))
_output_option = click.option("-o", "--output", required=True, metavar="FILE", help="The file to write.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="execution-tracker")
def commands() -> None:
    """See what a recorded run did.

    A run is a file that ExecutionTracker.save wrote, plain or compressed, a folder of these (*.json, *.json.gz), or -
    for standard input. Several are merged.

    \b
    Example:
      execution-tracker report run.json.gz

    Exit codes: 0; 1 if a routine got worse than compare lets it; 2 for a bad file or a bad call.

    \b
    Tab completes commands, options and files after one of
      eval "$(_EXECUTION_TRACKER_COMPLETE=bash_source execution-tracker)"
      eval "$(_EXECUTION_TRACKER_COMPLETE=zsh_source execution-tracker)"
      _EXECUTION_TRACKER_COMPLETE=fish_source execution-tracker | source
    """


@commands.command()
@_runs_argument
@_json_option
def report(run: tuple[str, ...], as_json: bool) -> None:
    """Tell what a run did: what failed, what was slow, and why it took so long.

    \b
    Examples:
      execution-tracker report run.json.gz
      execution-tracker report worker-1.json worker-2.json
      execution-tracker report run.json --json | jq .critical_path
    """
    tracker = _load(run)
    if as_json:
        _print_json(_report_data(tracker))
    else:
        from execution_tracker.report.terminal import print_report

        print_report(tracker)


def _report_data(tracker: ExecutionTracker) -> dict[str, Any]:
    run = tracker._run()
    timeline = _timeline.Timeline(run)
    failed = [
        execution_record(routine_id, row, run.clock)
        for routine_id, routine in run.routines.items()
        for row in rows_in(routine.rows)
        if is_failed(row[STATUS])
    ]
    told = "routine_id", "start_time", "end_time", "execution_time", "error"
    return {
        "metrics": _metrics.metrics_of(tracker.flow_id, run),
        "critical_path": list(map(json_safe, analysis.critical_path_in(timeline))),
        "event_edges": list(map(json_safe, analysis.event_edges_in(timeline))),
        "failures": [json_safe({key: record.get(key) for key in told}) for record in failed],
    }


@commands.command()
@_runs_argument
@_output_option
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
def html(run: tuple[str, ...], output: str, is_opened: bool) -> None:
    """Write a run as one page for the browser, which needs no network.

    \b
    Examples:
      execution-tracker html run.json.gz -o run.html
      execution-tracker html runs/ -o runs.html --open
    """
    from execution_tracker.report.html import write_html

    _write(write_html, run, output)
    if is_opened:
        _open(output)


def _open(page: str) -> None:
    import webbrowser

    if not webbrowser.open(Path(page).resolve().as_uri()):
        raise click.ClickException(f"{page}: written, but there is no browser to open it")


@commands.command()
@_runs_argument
@_output_option
def trace(run: tuple[str, ...], output: str) -> None:
    """Write a run as a trace, to open at https://ui.perfetto.dev.

    It is compressed if the name of the file ends in .gz.

    \b
    Example:
      execution-tracker trace run.json.gz -o trace.json
    """
    from execution_tracker.export.chrome_trace import write_chrome_trace

    _write(write_chrome_trace, run, output)


def _write(write: Callable[[ExecutionTracker, str], None], runs: tuple[str, ...], output: str) -> None:
    if output in ("", "-"):
        raise click.BadParameter("expected a file.", param_hint="'-o'")
    tracker = _load(runs)
    try:
        if os.path.isfile(output):
            written = os.stat(output)
            if any(os.path.samestat(os.stat(0 if run == "-" else run), written) for run in _files_of(runs)):
                raise click.BadParameter(f"{output} is the run itself.", param_hint="'-o'")
        write(tracker, output)
    except OSError as error:  # the name in it may be that of a temporary file
        raise click.ClickException(f"{output}: {error.strerror or error}") from error


@commands.command()
@click.argument("before", type=click.Path(allow_dash=True))
@click.argument("after", type=click.Path(allow_dash=True))
@click.option(
    "--max-slowdown",
    type=float,
    metavar="X",
    help="Exit with 1 if the median of a routine's completed executions grew beyond X times.",
)
@click.option(
    "--max-failed",
    type=float,
    metavar="P",
    help="Exit with 1 if the share of a routine's executions that failed or never ended grew by more than P "
    "percentage points.",
)
@click.option(
    "--min-count",
    type=click.IntRange(1),
    default=Limits().min_count,
    show_default=True,
    metavar="N",
    help="Compare medians of at least N completed executions in each run.",
)
@click.option(
    "--min-time",
    type=float,
    default=Limits().min_time,
    show_default=True,
    metavar="S",
    help="Take no notice of medians that are less than S seconds apart.",
)
@_json_option
def compare(before: str, after: str, as_json: bool, **limits: Any) -> int:
    """Tell which routines got slower, faster, or fail more often from one run to another.

    Times are those of completed executions. With a limit, it is a check, which also fails if the two runs have no
    routine in common: then nothing was compared. A routine that is new or gone is not slower.

    \b
    Examples:
      execution-tracker compare last-week.json.gz today.json.gz
      execution-tracker compare main.json branch.json --max-slowdown 1.5
      execution-tracker compare main.json branch.json --max-failed 0
    """
    if before == after == "-":
        raise click.UsageError("Only one of the runs can be standard input.")
    given = _checked(Limits(**limits))
    rows = analysis.compare(_load((before,)), _load((after,)))
    verdict = judged(rows, given)
    if as_json:
        worse = {key: [row["routine_id"] for row in getattr(verdict, key)] for key in ("slower", "failing")}
        told = {key: getattr(verdict, key) for key in ("in_common", "comparable", "passed")}
        _print_json({"routines": list(map(json_safe, rows)), **limits, **worse, **told})
    else:
        from execution_tracker.report.terminal import print_comparison

        print_comparison(rows, **limits)
    return 0 if verdict.passed else 1


def _checked(limits: Limits) -> Limits:
    """Return limits that can be kept to, or complain."""
    max_slowdown, max_failed, min_time = limits.max_slowdown, limits.max_failed, limits.min_time
    if max_slowdown is not None and not (max_slowdown > 0 and isfinite(max_slowdown)):
        raise click.BadParameter("expected a number above 0, as in 1.5.", param_hint="'--max-slowdown'")
    if max_failed is not None and not 0 <= max_failed <= 100:
        raise click.BadParameter("expected percentage points, from 0 to 100.", param_hint="'--max-failed'")
    if not (min_time >= 0 and isfinite(min_time)):
        raise click.BadParameter("expected seconds, as in 0.001.", param_hint="'--min-time'")
    return limits


def _load(runs: tuple[str, ...]) -> ExecutionTracker:
    """Return the run in some files, in folders of files, or on standard input if a name is ``-``."""
    trackers = [_load_one(run) for run in _files_of(runs)]
    if len(trackers) == 1:
        return trackers[0]
    flow_ids = dict.fromkeys(text_of(tracker.flow_id) for tracker in trackers)
    return merge(trackers, some([*filter(None, flow_ids)]))


def _files_of(runs: tuple[str, ...]) -> list[str]:
    """Return the names of files, and of those in folders."""
    if runs.count("-") > 1:
        raise click.UsageError("Only one of the runs can be standard input.")
    return [file for run in runs for file in (_files_in(run) if run != "-" and os.path.isdir(run) else [run])]


def _files_in(folder: str) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith((".json", ".json.gz")))
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror or error}") from error
    if not names:
        raise click.ClickException(f"{folder}: no *.json or *.json.gz in this folder")
    return [os.path.join(folder, name) for name in names]


def _load_one(run: str) -> ExecutionTracker:
    name = "<stdin>" if run == "-" else run
    try:
        if run != "-":
            with open(run, "rb") as file:
                return _tracker_of(file, name)
        if sys.stdin is None:
            raise click.ClickException(f"{name}: it is closed")
        return _tracker_of(sys.stdin.buffer, name)
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror or error}") from error


def _tracker_of(file: IO[bytes], name: str) -> ExecutionTracker:
    """Return the run in an open file, with a progress bar if it is large and somebody watches standard error."""
    from execution_tracker import files

    tracker = ExecutionTracker()
    size = _size(file)
    if size < _LARGE or sys.stderr is None or not sys.stderr.isatty():
        tracker._take_over(files.run_in(file.read(), name))
        return tracker
    with _progress() as progress:
        task = progress.add_task("Reading", total=size)
        content = bytearray()
        while chunk := file.read(_CHUNK):
            content += chunk
            progress.update(task, completed=len(content))
        progress.update(task, description="Checking", total=None)
        progress.refresh()  # from here on the parser leaves no time to others
        tracker._take_over(files.run_in(bytes(content), name))
    return tracker


def _size(file: IO[bytes]) -> int:
    """Return the bytes of a file, 0 if nobody can tell before they are read."""
    try:
        status = os.fstat(file.fileno())
    except OSError:  # standard input that is none of the system's files
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _progress() -> Progress:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
    except ModuleNotFoundError as error:
        raise TrackerError("the progress bar needs rich: pip install 'execution-tracker[cli]'") from error
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _print_json(data: dict[str, Any]) -> None:
    click.echo(json.dumps(data, allow_nan=False, indent=2))

"""What the terminal shows of a run: the same text every time, whatever the run holds."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import traceback
from datetime import timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from runs import event, execution, run, story

from execution_tracker import ExecutionTracker
from execution_tracker.analysis import compare
from execution_tracker.report.terminal import print_comparison, print_report

STORY = """\
nightly
Started 2026-01-31 12:00:00 +00:00. 3 routines, 5 events.

  Duration  Executions  Failed  Running  Throughput  Peak concurrency
3 min 10 s           8       1        1     2.2/min                 3

Failures: 1 of 8 executions
1  parse, 4.5 s into the run
   SyntaxError: unexpected end of file
     in b.csv, line 12

Slowest executions
     Took  Routine  Started after
2 min 4 s  load         1 min 6 s
   59.8 s  parse            5.2 s
    3.0 s  fetch            1.0 s
    1.8 s  fetch           500 ms
    1.5 s  fetch              0 s

Routines by self time
Routine  Count  Failed     Median        p95      Total  Share
load         2       0  2 min 4 s  2 min 4 s  2 min 4 s    65%  ━━━━━━━━━━
parse        3       1     750 ms     53.8 s  1 min 1 s    32%  ━━━━━
fetch        3       0      1.8 s      2.9 s      6.2 s     3%  ━

Critical path
The critical path explains 67% of 3 min 10 s: 2 min 7 s in 3 executions, with 1
min 4 s of waiting. 1 link of it is inferred from the order of events.
Step  Routine  Link                       Waited       Took
   1  fetch                                           1.5 s  ━
   2  parse    caused by its event        250 ms     750 ms  ━
   3  load     by its event, inferred  1 min 4 s  2 min 4 s  ╌╌╌╌╌━━━━━━━━━━━

Longest waits, from an event to the start that it led to
From   Event    To     Count  Inferred      Median    Longest
parse  parsed   load       2       all  1 min 34 s  2 min 5 s
fetch  fetched  parse      3                 1.2 s      2.2 s
2 of 5 links from events to starts are inferred from their order: no cause was
recorded.

Concurrency: 1.0 executions at once on average, 3 at most.

Still running, so without a time: load (1).
Without a start, so not recorded: 1 end.
"""


def console(width: int = 80, **options: Any) -> Console:
    settings: dict[str, Any] = {"force_terminal": False, "no_color": False, "legacy_windows": False, "_environ": {}}
    return Console(file=io.StringIO(), width=width, **settings | options)


def printed(tracker: ExecutionTracker, width: int = 80, **options: Any) -> str:
    """Return the report without the spaces that fill its lines."""
    to = console(width, **options)
    print_report(tracker, to)
    return without_padding(to)


def compared(
    before: ExecutionTracker, after: ExecutionTracker, max_slowdown: float | None = None, width: int = 80, **limits: Any
) -> str:
    to = console(width)
    print_comparison(compare(before, after), max_slowdown, to, **{"min_count": 1} | limits)
    return without_padding(to)


def section(text: str, begin: str) -> list[str]:
    """Return the lines of a section of a report, without its title."""
    return next(part for part in text.split("\n\n") if part.startswith(begin)).splitlines()[1:]


def steps_of(text: str) -> list[str]:
    """Return the lines below the header of the critical path."""
    lines = section(text, "Critical path")
    return lines[next(place for place, line in enumerate(lines) if line.startswith("Step ")) + 1 :]


def without_padding(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return re.sub(" +$", "", to.file.getvalue(), flags=re.MULTILINE)


def widest(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


# --- a run as it prints ---


def test_the_story_of_a_run_prints_as_it_always_did() -> None:
    assert printed(story()) == STORY


def test_a_report_leaves_the_tracker_as_it_is() -> None:
    tracker = story()
    before = tracker.serialize()
    printed(tracker)
    assert tracker.serialize() == before
    assert not tracker._live
    assert tracker.performance_metrics == {}


def test_there_is_colour_in_a_terminal_and_none_elsewhere_or_with_no_color(capsys: Any) -> None:
    print_report(story())
    assert "\x1b" not in capsys.readouterr().out
    lines = printed(story(), force_terminal=True, color_system="standard").splitlines()
    assert sum("\x1b[36m━" in line for line in lines) == 6  # routines and steps
    without = printed(story(), force_terminal=True, color_system="standard", no_color=True)
    assert not re.search(r"\x1b\[[\d;]*3[0-7]", without)


def test_a_console_that_knows_ascii_only_gets_bars_in_ascii() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_report(story(), Console(file=file, width=80, _environ={}))
    file.flush()
    assert b"65%  ==========\n" in re.sub(b" +\n", b"\n", file.buffer.getvalue())  # type: ignore[attr-defined]


def test_a_narrow_terminal_gets_fewer_columns_and_all_names() -> None:
    text = printed(story(), width=48)
    assert widest(text) <= 48
    assert "Throughput        2.2/min" in text
    assert "parse        3       1  1 min 1 s    32%\n" in text
    assert "p95" not in text
    assert "━" not in text


@pytest.mark.parametrize("width", [1, 8, 20, 79, 80, 300])
def test_no_width_of_a_terminal_breaks_a_report(width: int) -> None:
    assert widest(printed(story(), width)) <= width


def busy_run() -> ExecutionTracker:
    """Return a run with long names, several workers, failures with urls and params, and every sort of section."""
    executions = []
    for n in range(40):
        url = f"https://shop.example/customers/{n}/orders?page={n % 3}"
        facts: dict[str, Any] = {"worker": f"ThreadPoolExecutor-0_{n % 4}", "params": {"url": url, "retries": n % 3}}
        error = f"ConnectionError: GET {url} refused by the other side" if n % 4 == 0 else None
        executions.append(execution("fetch customer pages", n * 60, n * 60 + 125 + n, error, **facts))
    executions[5]["status"], executions[6]["status"] = "skipped", "cancelled"
    error = f"Traceback (most recent call last):\n  File 'a.py'\nValueError: {'a long message ' * 5}"
    executions.append(execution("parse", 100, 3_000, error, worker="MainThread", execution_id=99))
    executions.append(execution("write", 3_061, 3_185, worker="other"))
    return run(
        executions,
        [event("fetch customer pages", 90, "parse"), event("parse", 3_000, "write", "parsed", execution_id=99)],
    )


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_longer_than_the_terminal_and_nothing_that_matters_is_cut(width: int) -> None:
    text = printed(busy_run(), width)
    assert widest(text) <= width
    assert not re.search(r"\d [a-zµ]*…|  …|(Tot|Too|Wait|Sha|Cou|Fail|Long)\w*…", text)
    headers = ["Took", "Count", "Failed", "Other", "Total", "Share", "Link", "Waited", "Longest", "Inferred", "Busy"]
    assert not [header for header in headers if not re.search(rf"(^|  ){header}(  |$)", text, re.MULTILINE)]
    flowing = " ".join(text.split())
    assert "ConnectionError: GET … refused by the other side" in flowing
    assert f"ValueError: {'a long message ' * 5}".strip() in flowing
    assert re.search(r" by its event, (inferred|.* s inferred )", flowing)
    assert "1 link of it is inferred from the order of events" in flowing
    assert "All 2 links from events to starts are inferred from their order" in flowing
    assert "url='https://shop.example/customers/0/orders?page=0', retries=0" in flowing


@pytest.mark.parametrize(("width", "has"), [(60, False), (80, False), (120, True), (200, True)])
def test_columns_that_can_be_missed_give_way_to_the_others(width: int, has: bool) -> None:
    (header,) = section(printed(busy_run(), width), "Routines")[:1]
    assert ("p95" in header) is has
    line = section(printed(busy_run(), 200), "Routines")[1]
    assert line.startswith("fetch customer pages ")
    assert line.endswith("━" * 15)


def test_failures_that_are_alike_are_one_group_with_their_count() -> None:
    failed = [execution("load", second, second + 1, "TimeoutError: no answer") for second in range(980)]
    others = [execution("read", second, second + 1, f"KeyError: {second}") for second in range(20)]
    others[3]["routine_id"] = "load"
    assert section(printed(run(others + failed)), "Failures: 1,000 of 1,000 executions\n") == [
        "980  load, first 0 s into the run",
        "     TimeoutError: no answer",
        " 20  read (19), load (1), first 0 s into the run",
        "     KeyError: …",
        "       KeyError: 0",
    ]


def test_of_many_sorts_of_failures_the_most_frequent_are_shown() -> None:
    kinds = [execution("load", 0, 1, f"Error{letter}: no") for letter in "ABCDEFGH" for _ in range(ord(letter))]
    lines = section(printed(run(kinds)), "Failures")
    assert lines[1::2][:6] == [f"    Error{letter}: no" for letter in "HGFEDC"]
    assert lines[12:] == ["… and 131 more failures"]


def test_the_first_failure_of_a_group_is_shown_with_its_params_and_its_lines() -> None:
    failed = [execution("load", second, 99, f"boom {second}\n  at {second}") for second in (7, 3, 5)]
    failed[1]["params"] = {"path": "b.csv", "retries": 2}
    assert section(printed(run([execution("load", 0, 1), *failed])), "Failures") == [
        "3  load, first 3.0 s into the run, with path='b.csv', retries=2",
        "   boom …",
        "     boom 3",
        "       at 3",
    ]


def test_a_traceback_keeps_its_head_and_its_tail_and_names_what_was_raised() -> None:
    try:
        story(1)  # type: ignore[call-arg]
    except TypeError:
        text = traceback.format_exc()
    text = text.replace("\nTypeError", "\n" + 50 * "  File\n    line\n" + "TypeError")
    lines = section(printed(run([execution("load", 0, 1, text)]), 200), "Failures")
    assert lines[1].startswith("   TypeError: story() takes 0 positional arguments")
    assert lines[2] == "     Traceback (most recent call last):"
    assert re.match(" +… (9[0-9]|10[0-9]) more lines …$", lines[4])
    assert lines[-1].strip() in lines[1]
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("error", "message"),
    [(None, "no message"), ("", "no message"), (["a", 1], "['a', 1]"), ({"code": 5}, "{'code': 5}"), (7, "7")],
)
def test_a_failure_without_a_text_is_shown_all_the_same(error: Any, message: str) -> None:
    record = {**execution("load", 0, 1), "status": "failed", "error": error}
    assert section(printed(run([record])), "Failures") == ["1  load, 0 s into the run", f"   {message}"]


def test_the_slowest_executions_are_shown_with_what_they_were_called_with() -> None:
    executions = [execution("load", second, second + second, params={"n": second}) for second in range(1, 9)]
    executions[6] |= {"status": "failed"}
    executions[5] |= {"params": {name: name * 70 for name in "xyz"}}
    lines = section(printed(run(executions)), "Slowest executions")
    assert lines[:4] == [
        " Took  Routine  Started after  Status     Params",
        "8.0 s  load             7.0 s  completed  n=8",
        "7.0 s  load             6.0 s  failed     n=7",
        f"6.0 s  load             5.0 s  completed  x='{'x' * 35}",
    ]
    assert lines[4] == f"{'x' * 35}',".rjust(79)
    assert lines[6].endswith("y',…")
    assert len(lines) == 9


def test_statuses_beyond_completed_and_failed_are_named() -> None:
    statuses = {"load": ["skipped"] * 3 + ["cancelled"], "read": ["completed", "failed", "skipped"]}
    executions = [{**execution(name, 0, 1), "status": status} for name in statuses for status in statuses[name]]
    for width in (60, 80, 120):
        text = printed(run([*executions, execution("wait", 0, None)]), width)
        assert "\nOther statuses: 4 skipped, 1 cancelled.\n" in text
        lines = section(text, "Routines by self time")
        assert re.match("Routine +Count +Failed +Other ", lines[0])
        told = " ".join(line[24:47].strip() for line in lines[1:3] if "load" in line or line.startswith(" "))
        assert "3 skipped, 1 cancelled".startswith(told.split(",")[0])
        assert "1 skipped" in text


def test_how_busy_each_worker_was_is_shown() -> None:
    workers = [execution("load", 0, count, worker=f"w-{count}") for count in range(1, 11)]
    text = printed(run([*workers, execution("load", 2, 6, worker="w-1"), execution("load", 3, 4, worker="w-10")]))
    assert "\nWorkers: 6.0 executions at once on average, 10 at most.\n" in text
    lines = section(text, "Workers")
    assert lines[1] == "w-10             2    10.0 s  100%  ━━━━━━━━━━━━━━━━"
    assert lines[-1] == "… and 2 more workers, each busy for 30% or less"
    assert len(lines) == 10
    assert [line.split()[0] for line in lines[1:-1]] == ["w-10", "w-9", "w-8", "w-7", "w-6", "w-1", "w-5", "w-4"]


def test_dropped_records_are_named_and_their_failures_counted() -> None:
    tracker = ExecutionTracker("long", max_records=1)
    for _ in range(4):
        tracker.record_routine_start("load")
        tracker.record_routine_end("load", "failed", error="boom")
        tracker.record_event("load", "done")
    text = printed(tracker)
    assert "1  load, 0 s into the run\n   boom\nDropped, so without a message: 3 failures.\n" in text
    assert "Dropped to bound the memory: 3 executions and 3 events." in text


def test_a_report_says_when_the_run_began_whatever_came_first_and_whether_it_was_dropped() -> None:
    tracker = ExecutionTracker(max_records=0, tz=timezone.utc)
    with tracker.track("load"):
        tracker.record_event("load", "done")
    began = re.compile(r"^Started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+00:00\. 1 routine, 1 event\.$", re.MULTILINE)
    assert began.search(printed(tracker))
    tracker = ExecutionTracker(tz=timezone.utc)
    tracker.record_event("load", "done")
    for start in (60, 0, 120):
        tracker.record_execution("load", start, start + 1)
    assert "Started 1970-01-01 00:00:00 +00:00. 1 routine, 1 event.\n" in printed(tracker)


def test_where_records_were_dropped_nobody_is_told_that_an_event_led_nowhere() -> None:
    tracker = ExecutionTracker("long", max_records=1)
    for _ in range(3):
        parsed = tracker.record_event("parse", "parsed", "load")
        with tracker.track("load", caused_by=parsed):
            pass
        tracker.record_event("parse", "parsed", "load")
    text = printed(tracker)
    assert "Longest waits" not in text
    assert "Led to no start that is known: 1 event: parse parsed → load (1).\n" in text


def test_events_that_caused_nothing_waited_for_nothing() -> None:
    events = [event("a", 1, "b"), event("a", 1, "nobody"), event("a", 1, "nobody"), event("b", 4)]
    text = printed(run([execution("a", 0, 1), execution("b", 3, 4)], events))
    assert (
        "a     done   b       1       all   2.0 s    2.0 s\n"
        "The link from the event to the start is inferred from their order: no cause was\n"
        "recorded.\n"
        "Led to no start: 3 events: a done → nobody (2), b done (1).\n" in text
    )
    text = printed(run([], events))
    assert "A run without" not in text
    assert "0 routines, 4 events.\n" in text
    assert text.endswith("Led to no start: 4 events: a done → nobody (2), a done → b (1), b done (1).\n")


def test_links_that_were_recorded_are_not_called_inferred() -> None:
    executions = [execution("a", 0, 1, execution_id=1), execution("b", 3, 4, execution_id=2, caused_by=[1])]
    text = printed(run(executions, [event("a", 1, "b", event_id=1, execution_id=1)]))
    assert "From  Event  To  Count  Median  Longest\n" in text
    assert "   2  b        caused by its event   2.0 s  1.0 s " in text
    assert "inferred" not in text.lower()


def test_dropped_events_alone_are_named_too() -> None:
    tracker = ExecutionTracker("long", max_records=1)
    for _ in range(3):
        tracker.record_event("load", "done")
    assert "Dropped to bound the memory: 0 executions and 2 events." in printed(tracker)


def test_of_a_long_path_the_costliest_steps_are_shown_in_their_order() -> None:
    executions = [execution(f"step {n}", 10 * n, 10 * n + (9 if n % 10 == 3 else 1)) for n in range(100)]
    for number, record in enumerate(executions, 1):
        record["execution_id"] = number
    events = [event(f"step {n}", 10 * n + 1, f"step {n + 1}", execution_id=n + 1) for n in range(99)]
    text = printed(run(executions, events))
    assert "14 min 51 s of waiting" in " ".join(text.split())
    path = steps_of(text)
    numbers = [int(line.split()[0]) for line in path[:-1]]
    assert numbers == sorted(numbers)
    assert set(range(4, 101, 10)) < set(numbers)
    assert path[-1] == "… and 88 more steps"


def within(start: float, end: float | None, name: str, number: int, parent: int | None = 1) -> dict[str, Any]:
    facts = {} if parent is None else {"parent_id": parent}
    return execution(name, start, end, execution_id=number, worker="main", **facts)


def test_a_step_within_another_one_counts_no_time_twice() -> None:
    text = printed(run([within(0, 10, "pipeline", 1, None), within(1, 4, "read", 2), within(5, 9, "write", 3)]))
    assert section(text, "Routines") == [
        "Routine   Count  Failed  Median     p95   Total   Self  Share",
        "write         1       0   4.0 s   4.0 s   4.0 s  4.0 s    40%  ━━━━━━",
        "pipeline      1       0  10.0 s  10.0 s  10.0 s  3.0 s    30%  ━━━━━",
        "read          1       0   3.0 s   3.0 s   3.0 s  3.0 s    30%  ━━━━━",
    ]
    assert section(text, "Critical path\n")[1:] == [
        "Step  Routine   Link          Waited    Took",
        "   1  pipeline                        10.0 s  ━━━━━━━━━━━━━━━━",
        "   2  read      called by it           3.0 s   ━━━━━",
        "   3  write     same worker            4.0 s          ━━━━━━",
    ]


def test_of_many_executions_within_each_other_those_that_took_most_themselves_are_shown() -> None:
    nested = [within(0, 100, "outermost", 1, None)] + [within(n, 100, f"level {n}", n + 1, n) for n in range(1, 50)]
    text = printed(run(nested))
    assert "… and 30 more routines, 30.0 s in total\n" in text
    assert [int(line.split()[0]) for line in steps_of(text)[:-1]] == [
        *range(1, 12),
        50,
    ]  # the innermost took most itself


def test_a_path_leads_back_over_a_worker_that_was_busy() -> None:
    busy = [execution("import", second, second + 1, worker="only") for second in (0, 2, 3)]
    text = printed(run(busy))
    assert "with 1.0 s of waiting" in " ".join(text.split())
    assert steps_of(text)[1:] == [
        "   2  import   same worker   1.0 s  1.0 s      ╌╌╌╌━━━━",
        "   3  import   same worker          1.0 s              ━━━━",
    ]


def test_a_path_says_what_it_explains_of_the_run_and_what_of_it_is_inferred() -> None:
    late = [execution("work", 0, 1), execution("merge", 1, 3), execution("merge", 3, 5)]
    text = printed(run(late, [event("work", 1, "merge")]), 200)
    words = " ".join(text.split())
    assert "explains 40% of 5.0 s: 2.0 s in 1 execution. It begins 3.0 s into the run: what its first" in words
    text = printed(run([execution("work", 0, 1), execution("merge", 2, 5)], [event("work", 1, "merge")]), 200)
    assert (
        "The critical path explains 80% of 5.0 s: 4.0 s in 2 executions, with 1.0 s of waiting. "
        "1 link of it is inferred from the order of events.\n"
    ) in text


# --- runs that are none to write home about ---


def test_an_empty_run_says_so() -> None:
    assert printed(ExecutionTracker()) == "A run without a name\nNothing was recorded.\n"


def test_a_run_of_one_running_execution_shows_no_times() -> None:
    text = printed(run([execution("load", 0, None)]))
    assert "       -           1       0        1           -                 1\n" in text
    assert "load         1       0       -    -      -     0%\n" in text
    assert "Critical" not in text
    assert text.endswith("Still running, so without a time: load (1).\n")


def test_of_many_routines_that_run_those_with_most_executions_are_named() -> None:
    names = [name for count, name in enumerate("abcdefg", 1) for _ in range(count)]
    text = printed(run([execution(name, 0, None) for name in names]))
    assert text.endswith("Still running, so without a time: g (7), f (6), e (5), d (4), c (3), 2 more.\n")
    assert printed(run([execution(name, 0, None) for name in "abcde"])).endswith("d (1), e (1).\n")


def test_a_status_is_compared_only_if_it_is_a_text() -> None:
    class Angry:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            raise ValueError("no")

    tracker = ExecutionTracker()
    tracker.record_routine_start("a")
    tracker.record_routine_end("a", Angry())  # type: ignore[arg-type]
    assert "a            1       0" in printed(tracker)


def test_a_run_of_events_alone_shows_its_headline() -> None:
    assert "Executions" in printed(run([], [event("a", 1, "b")]))


def test_ten_thousand_routines_and_a_thousand_failures_stay_readable() -> None:
    name = "package.module_{}.a_routine_with_a_rather_long_name_{}".format
    executions = [execution(name(n, n), n, n + 1, f"boom {n}" if n % 10 == 0 else None) for n in range(10_000)]
    events = [event(name(n, n), n + 0.5, name(n + 1, n + 1)) for n in range(9_999)]
    text = printed(run(executions, events))
    assert widest(text) <= 80
    assert text.count("\n") < 90
    assert "… and 9,980 more routines, 2 h 46 min in total\n" in text
    assert "1,000  package.module_0.a_routine_with_a_rather_long_name_0 (1)," in text
    assert re.search(r"^package\.mod\S*…\S*name_0 ", text, flags=re.MULTILINE)  # both ends of it


@pytest.mark.parametrize("name", ["", " ", "\n"])
def test_what_has_no_name_is_called_so(name: str) -> None:
    tracker = run([execution(name, 0, 1), execution(name, 2, 3, "boom")], [event(name, 1, name, name)])
    text = printed(tracker)
    assert text.count("\n(no name)  ") == 2
    assert "1  (no name), 2.0 s into the run\n   boom\n" in text
    assert "(no name)" in compared(tracker, tracker)


def test_names_and_times_that_are_none_to_expect_are_printed_as_they_are() -> None:
    text = printed(
        run(
            [
                {**execution("<script>alert(1)</script>", 0, 1), "execution_time": 1e-7},
                execution("[bold]x[/bold]", 0, 3 * 86_400, "[red]no[/red] :smile: \x1b[31m\u202etxt\x07"),
                execution("two\nlines", 0, 100),
                execution("🎉 party", 0, 3_600),
            ],
            flow_id="[/nonsense] \x9b2J",
        ),
        width=120,
    )
    assert text.startswith("[/nonsense] \\x9b2J\n")
    assert re.search(r"^<script>alert\(1\)</script> +1 +0 +100 ns +100 ns +100 ns +<1%", text, flags=re.MULTILINE)
    assert re.search(r"^\[bold\]x\[/bold\] +1 +1 +3 d +3 d +3 d +99%", text, flags=re.MULTILINE)
    assert re.search(r"^two\\nlines +1 +0 +1 min 40 s", text, flags=re.MULTILINE)
    assert re.search(r"^🎉 party +1 +0 +1 h +1 h ", text, flags=re.MULTILINE)
    assert "[red]no[/red] :smile: \\x1b[31m\\u202etxt\\x07\n" in text


HOSTILE = st.one_of(
    st.text(),
    st.text(
        alphabet="\x00\x07\x08\t\n\r\x1b[]/mJ;\x9b\u200d\u200e\u202e\u2028\u2066\ufe0f\ud800🎉👩é\u0301ラ\U0001f1e9"
    ),
    st.text(min_size=60, max_size=300),
)


@settings(deadline=None, max_examples=50)
@example("", "", "\u200d\u200d\u309b", 11)  # rich cannot measure it
@given(HOSTILE, HOSTILE, HOSTILE, st.integers(10, 100))
def test_no_text_of_a_run_becomes_markup_a_control_sequence_or_a_line_that_is_too_long(
    name: str, other: str, message: Any, width: int
) -> None:
    facts: dict[str, Any] = {"worker": other, "params": {other: name, "n": [message]}}
    executions = [execution(name, 0, 1, message, **facts), {**execution(other, 2, 5, **facts), "status": message}]
    tracker = run(executions, [event(name, 1, other, message)], flow_id=message)
    text = printed(tracker, width)
    assert widest(text) <= width
    versus = compared(tracker, run([execution(name, 0, 3)]), 1.5, width, max_failed=1)
    assert widest(versus) <= width
    assert all(character == "\n" or character.isprintable() for character in text + versus)


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none()))


def edited(record: dict[str, Any]) -> Any:
    return st.dictionaries(st.sampled_from(list(record)), JUNK)


@settings(deadline=None, max_examples=50)
@given(edited(execution("a", 0, 1)), edited(event("a", 0)))
def test_records_that_were_edited_by_hand_are_shown_as_far_as_they_go(record: Any, at_event: Any) -> None:
    tracker = run([])
    executions = {"a": [{**execution("a", 1, 2, "boom"), **record}, record], "b": [execution("b", 3, 4)]}
    events = [{**event("a", 1.5, "b"), **at_event}, at_event, event("a", 2, "b")]
    tracker.deserialize({"flow_id": record.get("status"), "routine_executions": executions, "event_flow": events})
    assert widest(printed(tracker)) <= 80


# --- two runs ---


def test_a_comparison_puts_the_worst_slowdown_first_and_ends_with_a_verdict() -> None:
    before = run(
        [execution("old", 0, 1), execution("same", 0, 1), execution("faster", 0, 2), execution("slower", 0, 1)]
    )
    after = run(
        [execution("same", 0, 1), execution("new", 0, 1), execution("faster", 0, 1), execution("slower", 0, 2.31)]
    )
    assert compared(before, after, 1.5) == (
        "Routine  Count         Median  Ratio  p95 ratio\n"
        "slower       1  1.0 s → 2.3 s  2.31x      2.31x\n"
        "new          1          1.0 s    new          -\n"
        "same         1          1.0 s  1.00x      1.00x\n"
        "faster       1  2.0 s → 1.0 s  0.50x      0.50x\n"
        "old          1          1.0 s   gone          -\n"
        "\n"
        "Medians that grew beyond 1.5 times: slower (2.31x).\n"
        "Of 5 routines, 3 could be compared; a median needs 1 completed execution in both\n"
        "runs.\n"
    )
    assert compared(before, after, 3).endswith(
        "\n\nNo routine's median grew beyond 3 times.\n"
        "Of 5 routines, 3 could be compared; a median needs 1 completed execution in both\nruns.\n"
    )
    assert compared(before, before, 3).endswith("\n\nNo routine's median grew beyond 3 times.\n")
    assert compared(before, after).endswith("-\n")


def test_a_comparison_tells_what_fails_or_does_not_end_more_often() -> None:
    before = run([execution("load", 0, 2), execution("load", 3, 5), execution("parse", 0, 1, "no")])
    after = run([execution("load", 0, 1, "no"), execution("parse", 0, 1, "no"), execution("parse", 2, 3)])
    to = console(force_terminal=True, color_system="standard")
    print_comparison(compare(before, after), 1.5, to)
    assert isinstance(to.file, io.StringIO)
    assert re.findall(r"\x1b\[31m *(\d+ → \d+)", to.file.getvalue()) == ["0 → 1"]
    assert compared(before, after, max_failed=50).splitlines() == [
        "Routine  Count  Failed     Median  Ratio  p95 ratio",
        "load     2 → 1   0 → 1  2.0 s → -      -          -",
        "parse    1 → 2       1  - → 1.0 s      -          -",
        "",
        "Failed, or did not end, more often by more than 50 points: load (0% → 100%).",
    ]
    hanging = run([execution("load", 0, 2), execution("load", 3, None), execution("parse", 0, 1)])
    assert compared(before, hanging, max_failed=1).splitlines() == [
        "Routine  Count  Failed  Never ended     Median  Ratio  p95 ratio",
        "load         2       0        0 → 1      2.0 s  1.00x      1.00x",
        "parse        1   1 → 0            0  - → 1.0 s      -          -",
        "",
        "Failed, or did not end, more often by more than 1 point: load (0% → 50%).",
    ]
    assert compared(hanging, hanging, max_failed=1).endswith(
        "\n\nNo routine failed, or did not end, more often by more than 1 point.\n"
    )


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_comparison_keeps_the_names_where_there_is_little_room(width: int) -> None:
    before, after = (run([execution("validate addresses", 0, end)]) for end in (1, 2))
    to = console(width)
    print_comparison(compare(before, after), None, to)
    assert isinstance(to.file, io.StringIO)
    assert "vali" in to.file.getvalue()
    assert "2.00x" in to.file.getvalue()
    assert widest(to.file.getvalue()) <= width


def test_slower_is_red_and_faster_is_green() -> None:
    names = {"slow": (4, 5), "slower": (100, 124), "fast": (5, 4), "faster": (100, 81)}
    before, after = (run([execution(name, 0, times[side]) for name, times in names.items()]) for side in (0, 1))
    to = console(force_terminal=True, color_system="standard")
    print_comparison(compare(before, after), 1.2, to, min_count=1)
    assert isinstance(to.file, io.StringIO)
    coloured = dict(re.findall(r"\x1b\[(3\d)m *(\d\.\d\dx)", to.file.getvalue()))
    assert coloured == {"31": "1.25x", "32": "0.80x"}
    assert "\x1b[1;31mMedians that grew beyond 1.2 times" in to.file.getvalue()


def test_a_comparison_of_ten_thousand_routines_stays_readable() -> None:
    before = run([execution(f"routine {n}", 0, 1) for n in range(10_000)])
    after = run([execution(f"routine {n}", 0, 2) for n in range(10_000)])
    text = compared(before, after, 1.5)
    assert text.count("\n") < 50
    assert "… and 9,960 more routines: 9,960 slower\n" in text
    assert text.endswith(" 9,995 more.\n")


def test_what_a_comparison_does_not_show_is_counted_by_kind() -> None:
    before = run([execution(f"steady {n}", 0, 1) for n in range(45)] + [execution(f"old {n}", 0, 1) for n in range(3)])
    after = run(
        [execution(f"steady {n}", 0, 1 + (n < 10)) for n in range(45)]
        + [execution("new", 0, 1)]
        + [execution("steady 44", 0, None)]
    )
    text = compared(before, after)
    assert text.endswith("\n… and 9 more routines: 6 about the same, 3 gone\n")
    text = compared(before, after, min_count=2)
    assert text.endswith("\n… and 9 more routines: 6 too few to tell, 3 gone\n")


def test_runs_without_an_execution_compare_as_such() -> None:
    assert (
        compared(ExecutionTracker(), ExecutionTracker()) == "Neither run has an execution, so no times were compared.\n"
    )
    running = run([execution("a", 0, None)])
    text = compared(running, running, 2)
    assert "a            1            1       -      -          -\n" in text
    assert text.endswith("\n\nOf 1 routine, 0 could be compared; a median needs 1 completed execution in both\nruns.\n")


@pytest.mark.parametrize("limits", [{}, {"max_slowdown": 2.0}, {"max_failed": 5}])
def test_runs_with_no_routine_in_common_are_called_so(limits: Any) -> None:
    text = compared(run([execution("a", 0, 1)]), run([execution("b", 0, 1)]), **limits)
    fails = " The check fails." if limits else ""
    assert text.endswith(f"-\n\nThe runs have no routine in common, so no times were compared.{fails}\n")


# --- parts ---


def test_a_share_stays_within_the_whole_whatever_times_were_edited_in() -> None:
    tracker = run([{**execution("back", 0, 1), "execution_time": -3.0}, {**execution("on", 0, 1), "execution_time": 4}])
    text = printed(tracker)
    assert re.search(r"^on .* 4\.0 s +80%  ━+$", text, flags=re.MULTILINE)
    assert re.search(r"^back .* 1\.0 s +20%  ━+$", text, flags=re.MULTILINE)  # a negative time is none: its texts tell


def test_without_rich_the_error_names_the_extra() -> None:
    program = """
import sys
sys.modules["rich"] = sys.modules["rich.cells"] = None
from execution_tracker import TrackerError
try:
    import execution_tracker.report.terminal
except TrackerError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (
        "a report in the terminal needs rich: pip install 'execution-tracker[cli]'\n",
        "",
    )

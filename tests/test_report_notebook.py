"""What a notebook shows of a tracker, and its repr: short, harmless, and available at any time."""

from __future__ import annotations

import copy
import gc
import re
import threading
import time
from html.parser import HTMLParser
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import execution, run, story

from execution_tracker import ExecutionTracker
from execution_tracker._timeline import Timeline
from execution_tracker.report import _facts as facts


class Page(HTMLParser):
    """What a browser would make of HTML: the elements, all their attributes, and the texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.styles: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles += [value or "" for name, value in attrs if name == "style"]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(tracker: ExecutionTracker) -> Page:
    html = tracker._repr_html_()
    assert html is not None
    page = Page(html)
    assert page.tags <= {"div", "table", "tr", "th", "td"}
    assert page.attributes == {"style"}
    assert not any("url" in style or "expression" in style for style in page.styles)
    return page


# --- in a notebook ---


def after(texts: list[str], text: str, count: int) -> list[str]:
    place = texts.index(text)
    return texts[place : place + count]


def test_a_notebook_shows_the_headline_what_failed_and_the_routines_by_self_time() -> None:
    texts = shown(story()).texts
    assert texts[:14] == [
        *("nightly", "Started 2026-01-31 12:00:00 +00:00. 3 routines, 5 events."),
        *("Duration", "Executions", "Failed", "Running", "Throughput", "Peak concurrency"),
        *("3 min 10 s", "8", "1", "1", "2.2/min", "3"),
    ]
    assert texts[14:20] == ["Failures", "Where", "What", "1", "parse", "SyntaxError: unexpected end of file"]
    assert texts[20:27] == ["Routine", "Count", "Failed", "Median", "p95", "Total", "Share"]
    assert texts[27:34] == ["load", "2", "0", "2 min 4 s", "2 min 4 s", "2 min 4 s", "65%"]
    assert [texts[34], texts[41]] == ["parse", "fetch"]
    assert re.findall(r"left bottom/(\d+%) 2px", story()._repr_html_() or "") == ["65%", "32%", "3%"]
    assert texts[50:52] == ["Still running, so without a time: load (1).", "Without a start, so not recorded: 1 end."]


def test_a_notebook_says_in_the_words_of_the_other_reports_why_it_took_so_long() -> None:
    texts = shown(story()).texts
    timeline = Timeline(story()._run())
    assert facts.path_sentence(facts.critical_path(timeline)) in texts
    assert facts.concurrency(story().get_performance_metrics()) in texts


@pytest.mark.parametrize("tracker", [story(), ExecutionTracker()])
def test_a_notebook_leads_to_the_other_reports(tracker: ExecutionTracker) -> None:
    last = shown(tracker).texts[-1]
    for call in re.findall(r"execution_tracker\.[\w.]+", last):
        module, _, name = call.rpartition(".")
        assert callable(getattr(import_module(module), name))
    assert "write_html(tracker, " in last
    assert "print_report(tracker)" in last


def test_a_notebook_groups_failures_that_are_alike_and_counts_what_it_leaves_out() -> None:
    failed = [execution("load", n, n + 1, f"ConnectionError: GET http://a/{n} refused") for n in range(29)]
    others = [execution("load", n, n + 1, f"{kind}: no") for n, kind in enumerate("ABCDEFG")]
    texts = shown(run(failed + others)).texts
    assert after(texts, "29", 3) == ["29", "load", "ConnectionError: GET … refused"]
    assert "… and 3 more failures" in texts
    tracker = ExecutionTracker(max_records=1)
    for _ in range(3):
        tracker.record_execution("load", 0, 1, "failed", error="boom")
    assert "Dropped, so without a message: 2 failures." in shown(tracker).texts


def test_a_notebook_names_statuses_beyond_the_usual_ones() -> None:
    executions = [{**execution("load", 0, 2), "status": "skipped"}, execution("read", 0, 1)]
    texts = shown(run(executions)).texts
    assert "Other statuses: 1 skipped." in texts
    assert after(texts, "Other", 2) == ["Other", "Median"]
    assert after(texts, "load", 4) == ["load", "1", "0", "1 skipped"]


def test_a_routine_that_only_calls_others_comes_after_them() -> None:
    tracker = run([execution("all", 0, 9, execution_id=1), execution("part", 1, 9, execution_id=2, parent_id=1)])
    texts = shown(tracker).texts
    rows = [after(texts, name, 7) for name in ("part", "all")]
    assert [(row[0], row[5], row[6]) for row in rows] == [("part", "8.0 s", "89%"), ("all", "9.0 s", "11%")]
    assert texts.index("part") < texts.index("all")


def test_no_colour_of_text_is_set_but_for_failures_so_that_dark_and_light_both_work() -> None:
    colours = [style for style in shown(story()).styles if re.search("(^|;)color:(?!inherit)", style)]
    assert len(colours) == 2
    assert not any("background" in style and "none" not in style and "gradient" not in style for style in colours)


def test_a_name_is_text_whatever_it_looks_like() -> None:
    name = "<script>alert(1)</script>"
    page = shown(
        run([execution(name, 0, 1), execution("[bold]x[/bold]\n🎉\x1b[31m\u202e", 0, 1)], flow_id='"><img src=x>')
    )
    assert page.texts[0] == '"><img src=x>'
    assert name in page.texts
    assert "[bold]x[/bold]\\n🎉\\x1b[31m\\u202e" in page.texts


def test_of_ten_thousand_routines_the_largest_are_shown_and_the_rest_counted() -> None:
    html = run([execution(f"routine {n}", 0, n + 1) for n in range(10_000)])._repr_html_()
    assert len(html) < 40_000
    assert html.index("routine 9999<") < html.index("routine 9998<")
    assert "… and 9,980 more routines" in html


def test_an_empty_run_and_a_running_execution_are_shown() -> None:
    assert shown(ExecutionTracker()).texts[0] == "A run without a name"
    assert "No execution was recorded." in shown(ExecutionTracker()).texts
    assert "-" in shown(run([execution("load", 0, None)])).texts


@settings(deadline=None, max_examples=50)
@given(st.text(), st.text(), st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text())))
def test_no_text_of_a_run_becomes_html(name: str, status: str, flow_id: Any) -> None:
    tracker = run([{**execution(name, 0, 1), "status": status}, execution("<b>", 0, None)], flow_id=flow_id)
    shown(tracker)
    repr(tracker)


def test_a_notebook_leaves_the_tracker_as_it_is() -> None:
    tracker = story()
    tracker._repr_html_()
    repr(tracker)
    assert tracker.performance_metrics == {}
    assert not tracker._live


# --- repr ---


def test_the_repr_tells_the_name_and_the_counts() -> None:
    tracker = ExecutionTracker("nightly")
    assert repr(tracker) == "<ExecutionTracker 'nightly': 0 executions, 0 failed, 0 running, 0 events>"
    tracker.record_routine_start("parse")
    tracker.record_event("parse", "parsed")
    assert repr(tracker) == "<ExecutionTracker 'nightly': 1 execution, 0 failed, 1 running, 1 event>"
    tracker.record_routine_end("parse", "failed")
    tracker.record_routine_start("parse")
    assert repr(tracker) == "<ExecutionTracker 'nightly': 2 executions, 1 failed, 1 running, 1 event>"


def test_the_repr_counts_what_the_holder_of_the_records_changed() -> None:
    tracker = ExecutionTracker("nightly")
    tracker.record_routine_start("a")
    tracker.routine_executions["a"].clear()
    assert repr(tracker) == "<ExecutionTracker 'nightly': 0 executions, 0 failed, 0 running, 0 events>"


def test_the_repr_counts_what_was_dropped() -> None:
    tracker = ExecutionTracker("long", max_records=1)
    for _ in range(5):
        tracker.record_routine_start("load")
        tracker.record_routine_end("load", "failed")
        tracker.record_event("load", "done")
    assert repr(tracker) == "<ExecutionTracker 'long': 5 executions, 5 failed, 0 running, 5 events>"


def test_the_repr_counts_what_was_dropped_by_its_status() -> None:
    tracker = ExecutionTracker("odd", max_records=0)
    tracker.record_routine_start("load")
    tracker.record_routine_end("load", "running")
    assert repr(tracker) == "<ExecutionTracker 'odd': 1 execution, 0 failed, 1 running, 0 events>"


class Angry:
    def __repr__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize("flow_id", ["x" * 10_000, "two\nlines\x1b[31m\u202e", ["\x1b[31m"], None, Angry(), "\ud800"])
def test_no_flow_id_makes_the_repr_long_or_harmful_or_raise(flow_id: Any) -> None:
    text = repr(ExecutionTracker(flow_id))
    assert len(text) < 200
    assert text.isprintable()
    assert ExecutionTracker(flow_id)._repr_html_()


def test_a_tracker_that_holds_itself_has_a_repr() -> None:
    tracker = ExecutionTracker()
    tracker.flow_id = [tracker]  # type: ignore[assignment]
    assert repr(tracker).startswith("<ExecutionTracker [")
    assert tracker._repr_html_()


def test_a_tracker_that_is_not_made_yet_has_a_repr() -> None:
    tracker = ExecutionTracker.__new__(ExecutionTracker)
    assert "ExecutionTracker object" in repr(tracker)
    assert tracker._repr_html_() is None
    assert repr(copy.copy(story())) == repr(story())


def test_the_repr_of_records_that_were_broken_by_hand_does_not_raise() -> None:
    tracker = ExecutionTracker("broken")
    tracker.routine_executions["a"] = [{"status": ["failed"]}, None, {}, 5]  # type: ignore[list-item]
    assert repr(tracker) == "<ExecutionTracker 'broken': 2 executions, 0 failed, 0 running, 0 events>"


def test_a_repr_asked_for_within_a_fold_tells_what_is_folded_so_far() -> None:
    texts = []
    tracker = ExecutionTracker("within")

    class Id(str):
        def __hash__(self) -> int:  # called by the fold
            texts.append(repr(tracker))
            return hash(str(self))

    tracker.record_event("a", "b")
    tracker.record_routine_start(Id("routine"))
    assert repr(tracker).endswith("1 execution, 0 failed, 1 running, 1 event>")
    assert texts[0] == "<ExecutionTracker 'within': 0 executions, 0 failed, 0 running, 1 event>"
    tracker._check()


@pytest.mark.parametrize("is_held", [False, True])
def test_a_repr_does_not_wait_for_a_fold_that_waits_for_its_caller(is_held: bool) -> None:
    """As a logger does that has its lock, while a finalizer within a fold of another thread wants to log."""
    tracker = ExecutionTracker("nightly")
    tracker.record_event("a", "b")
    if is_held:
        assert len(tracker.event_flow) == 1
    tracker._run()
    held, release = threading.Event(), threading.Event()

    def fold() -> None:
        with tracker._lock:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=fold)
    thread.start()
    held.wait(60)
    begin = time.monotonic()
    text = repr(tracker)
    took = time.monotonic() - begin
    release.set()
    thread.join()
    assert text == "<ExecutionTracker 'nightly': 0 executions, 0 failed, 0 running, 1 event>"
    assert took < 30
    assert tracker._lock.acquire(blocking=False)
    tracker._lock.release()


def test_a_repr_keeps_no_tracker_alive_and_the_lock_of_nobody() -> None:
    tracker = story()
    repr(tracker)
    tracker._repr_html_()
    gc.collect()
    assert not tracker._lock._is_owned()

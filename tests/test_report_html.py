"""The HTML page, in a real Chromium: what it shows, that it works, and that nothing in a run can harm it."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, ChromiumMissingError
from hypothesis import given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker, TrackerError
from execution_tracker.report import _facts as facts
from execution_tracker.report import _page_flow, _page_texts, _page_timeline, page_data
from execution_tracker.report import _units as units
from execution_tracker.report.html import write_html

BEGIN = datetime(2026, 1, 31, 8, 30)
RANGE = "(({start, end}) => [start, end])(Bokeh.documents[0].roots()[0].x_range)"
HOSTILE = [
    "<script>pwned = 1</script>",
    "</script><script>pwned = 1</script>",
    "<!--<script>",
    '"><img src=x onerror="pwned = 1">',
    "&lt;b&gt; &amp; <b>bold</b>",
    "two\nlines\r\nand\u2028three",
    "emoji \U0001f9e8 \u200f\u05d0",
    "half a pair \ud83d",
    "$$\\frac{1}{2}$$ \\(x\\)",
    "javascript:pwned=1",
    "{{policy}} ${pwned = 1}",
    "__proto__",
    "constructor",
    "",
    " ",
    "x" * 10_000,
]

# Counts, for each status, the pixels that are a mixture of its colour and the background, at least half of it its own.
# The canvases are hidden in shadow roots; they are copied, for reading them slows them down.
PIXELS = """(() => {
  const canvases = [];
  const look = (root) => { for (const node of root.querySelectorAll("*")) {
    if (node.tagName === "CANVAS" && node.width && node.height) canvases.push(node);
    if (node.shadowRoot) look(node.shadowRoot);
  } };
  look(document);
  const painted = (width, height, paint) => {
    const context = Object.assign(document.createElement("canvas"), {width, height}).getContext("2d", {willReadFrequently: true});
    paint(context);
    return context.getImageData(0, 0, width, height).data;
  };
  const color = (name) => painted(1, 1, (context) => {
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--" + name);
    context.fillRect(0, 0, 1, 1);
  });
  const panel = color("panel");
  const colors = Object.fromEntries(["completed", "failed", "running", "other"].map((name) => [name, color(name)]));
  const found = Object.fromEntries(Object.keys(colors).map((name) => [name, 0]));
  for (const canvas of canvases) {
    const data = painted(canvas.width, canvas.height, (context) => context.drawImage(canvas, 0, 0));
    for (let i = 0; i < data.length; i += 4) {
      if (Math.abs(data[i] - data[i + 2]) < 8 && Math.abs(data[i] - data[i + 1]) < 8) continue;  // grey
      for (const [name, own] of Object.entries(colors)) {
        const strength = [0.5, 0.6, 0.72, 0.8, 0.9, 1].some((part) => [0, 1, 2].every((k) =>
          Math.abs(data[i + k] - (part * own[k] + (1 - part) * panel[k])) < 16));
        if (strength) found[name]++;
      }
    }
  }
  return found;
})()"""  # noqa: E501


def moment(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def execution(start: float, duration: float | None = 1.0, status: str = "completed", **more: Any) -> dict[str, Any]:
    record = {"start_time": moment(start), "params": {}, "status": status if duration is not None else "running"}
    if duration is not None:
        record |= {"end_time": moment(start + duration), "execution_time": duration}
    return record | more


def event(source: Any, target: Any, at: float, name: Any = "done", **more: Any) -> dict[str, Any]:
    ids = {"source_routine_id": source, "event_name": name, "target_routine_id": target}
    return {"timestamp": moment(at), **ids, "data": {}} | more


def run(
    executions: dict[Any, list[Any]], events: list[Any] | None = None, flow_id: Any = "nightly"
) -> ExecutionTracker:
    tracker = ExecutionTracker(flow_id)
    tracker.routine_executions = {
        routine_id: [{"routine_id": routine_id, **record} for record in records]
        for routine_id, records in executions.items()
    }
    tracker.event_flow = events or []
    return tracker


def pipeline() -> ExecutionTracker:
    executions = {
        "read": [execution(i, 0.9, params={"path": f"{i}.md"}) for i in range(20)],
        "parse": [execution(i + 1, 2.5) for i in range(19)] + [execution(20, 3, "failed", error="ValueError: no")],
        "watch": [execution(5, None)],
        "check": [execution(7, 2, "skipped")],
    }
    return run(executions, [event("read", "parse", i + 0.9) for i in range(20)])


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    try:
        chromium = Chromium()
    except ChromiumMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with chromium:
        yield chromium


Show = Callable[..., Chromium]


@pytest.fixture
def show(browser: Chromium, tmp_path: Path) -> Show:
    """Writes the page of a tracker, opens it, waits until it is drawn, and sees that nobody complained or asked."""

    def shown(tracker: ExecutionTracker, **options: Any) -> Chromium:
        path = tmp_path / "run.html"
        write_html(tracker, path)
        browser.open(path.as_uri(), **options)
        browser.wait_for("document.body.dataset.drawn")
        browser.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        assert_quiet(browser)
        return browser

    return shown


def assert_quiet(browser: Chromium) -> None:
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.endswith("/run.html")] == []
    assert browser.evaluate("performance.getEntriesByType('resource').length") == 0
    assert browser.evaluate("typeof pwned") == "undefined"


def text_of(browser: Chromium, selector: str) -> str:
    return str(browser.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))


def column(browser: Chromium, table: str, number: int) -> list[str]:
    cells = f"document.querySelectorAll('#{table} tbody td:nth-child({number})')"
    return list(browser.evaluate(f"[...{cells}].map(cell => cell.innerText)"))


def click(browser: Chromium, expression: str) -> None:
    browser.evaluate(f"({expression}).click()")
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")


def data_in(path: Path) -> Any:
    found = re.findall('<script type="application/json" id="run">(.*?)</script>', path.read_text("ascii"), re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


# --- what it shows ---


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_the_run_without_a_complaint_or_a_request(show: Show, scheme: str) -> None:
    browser = show(pipeline(), scheme=scheme)
    assert text_of(browser, "h1") == "nightly"
    cards = text_of(browser, "#cards")
    assert re.findall(r"Executions.*\n+(.+)", cards) == ["42"]
    assert re.findall(r"Failed.*\n+(.+)", cards) == ["1"]
    assert re.findall(r"Running.*\n+(.+)", cards) == ["1"]
    pixels = browser.evaluate(PIXELS)
    assert all(number > 50 for number in pixels.values()), pixels
    assert "2026-01-31 08:30:00" in text_of(browser, "#started")
    assert "ValueError: no" in text_of(browser, "#failures")
    assert browser.evaluate("document.querySelectorAll('#histograms figure').length") == 3
    assert browser.evaluate("document.querySelectorAll('#graph rect.node').length") == 2


def test_the_page_and_the_terminal_call_the_same_numbers_by_the_same_names(show: Show) -> None:
    tracker = pipeline()
    numbers = tracker.get_performance_metrics()
    browser = show(tracker)
    cards = browser.evaluate("[...document.querySelectorAll('#cards div')].map(card => card.innerText.split('\\n'))")
    names = [name for name, _ in cards]
    assert names == list(facts.headline(numbers))
    assert cards[4][1] == units.rate(numbers["throughput"])
    assert {"Failed", "Median", "p95", "Total", "Share"} <= set(column_titles(browser, "routines"))


def column_titles(browser: Chromium, table: str) -> list[str]:
    return list(browser.evaluate(f"[...document.querySelectorAll('#{table} th')].map(title => title.innerText)"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1e-7, "100 ns"),
        (1.234e-6, "1.2 \u00b5s"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (125.4, "2 min 5 s"),
        (3599.6, "1 h"),
        (10_000, "2 h 47 min"),
        (86_399, "1 d"),
        (3 * 86_400 + 7_300, "3 d 2 h"),
        (400 * 86_400, "400 d"),
        (1e99, "1e+94 d"),
        (-0.5, "-500 ms"),
    ],
)
def test_a_duration_reads_well_at_every_magnitude(browser: Chromium, tmp_path: Path, seconds: float, text: str) -> None:
    if not browser.evaluate("typeof duration === 'function'"):
        write_html(ExecutionTracker(), tmp_path / "run.html")
        browser.open((tmp_path / "run.html").as_uri())
    assert browser.evaluate(f"duration({seconds!r})") == text


def test_a_rate_comes_in_the_unit_that_makes_it_a_number_to_read(show: Show) -> None:
    browser = show(ExecutionTracker())
    for per_second in (0, 1e-6, 0.00002, 0.001, 0.25, 1, 99.94, 99.96, 1234.6):
        assert browser.evaluate(f"rate({per_second})") == units.rate(per_second)


def test_a_long_name_keeps_both_its_ends_and_stays_in_its_box(show: Show) -> None:
    names = [f"package.module.a_routine_with_a_long_name_{number}" for number in range(3)] + [
        "\u65e5\u672c" * 20,
        "W" * 99,
    ]
    browser = show(run({name: [execution(0)] for name in names}, [event(*ends, 1) for ends in pairwise(names)]))
    boxes = browser.evaluate("""[...document.querySelectorAll('#graph rect')].map((box) => {
      const [{right}, words] = [box.getBoundingClientRect(), box.nextElementSibling];
      return [words.textContent, right - words.getBoundingClientRect().right];
    })""")
    assert [words[-7:] for words, _ in boxes[:3]] == ["_name_0", "_name_1", "_name_2"]
    assert all(words.startswith("package.") for words, _ in boxes[:3])
    assert all(0 < room < 60 for _, room in boxes), boxes


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window(show: Show, width: int) -> None:
    browser = show(pipeline(), width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_ctrl_and_wheel_zoom_the_timeline_and_the_bars_remain(show: Show) -> None:
    browser = show(pipeline())
    start, end = browser.evaluate(RANGE)
    x, y = place_of(browser, 10.2, 0)
    browser.mouse("mouseWheel", x, y, deltaY=-240, modifiers=2)
    browser.wait_for(f"(([start, end]) => end - start < {0.9 * (end - start)})({RANGE})")
    zoomed_start, zoomed_end = browser.evaluate(RANGE)
    assert start < zoomed_start < 10.2 < zoomed_end < end
    browser.wait_for(f"({PIXELS}).completed > 50")
    assert_quiet(browser)


def test_where_nothing_ran_nothing_is_painted(show: Show) -> None:
    browser = show(run({"a": [execution(0, 1), execution(9, 1, "failed")]}))
    for width in (5, 2.5):
        click(browser, "document.querySelector('#zoom button')")
        start, end = browser.evaluate(RANGE)
        assert end - start == pytest.approx(width, rel=0.05)
    pixels = browser.evaluate(PIXELS)
    assert pixels["completed"] == pixels["failed"] == 0
    click(browser, "document.querySelector('#zoom button:last-child')")
    assert browser.evaluate(PIXELS)["failed"] > 50


def place_of(browser: Chromium, seconds: float, lane: int) -> tuple[float, float]:
    """Return where on the screen a moment is in one of the lanes of the first routine."""
    browser.evaluate("document.getElementById('timeline').scrollIntoView({block: 'center'})")
    x, y = browser.evaluate(f"""(() => {{
      const view = Bokeh.index.get_by_id(Bokeh.documents[0].roots()[0].id);
      const {{ left, top }} = view.el.getBoundingClientRect();
      return [left + view.frame.x_scale.compute({seconds}), top + view.frame.y_scale.compute({lane} + 0.5)];
    }})()""")
    return x, y


def test_buttons_zoom_and_show_the_whole_run_again(show: Show) -> None:
    browser = show(pipeline())
    start, end = browser.evaluate(RANGE)
    click(browser, "document.querySelector('#zoom button')")
    zoomed_start, zoomed_end = browser.evaluate(RANGE)
    assert zoomed_end - zoomed_start == pytest.approx((end - start) / 2)
    assert browser.evaluate(PIXELS)["completed"] > 50
    click(browser, "document.querySelector('#zoom button:last-child')")
    assert browser.evaluate(RANGE) == [start, end]


def test_a_double_click_shows_the_whole_run_again(show: Show) -> None:
    browser = show(pipeline())
    whole = browser.evaluate(RANGE)
    click(browser, "document.querySelector('#zoom button')")
    x, y = place_of(browser, 10, 0)
    for clicks in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            browser.mouse(kind, x, y, button="left", clickCount=clicks)
    browser.wait_for(f"JSON.stringify({RANGE}) === {json.dumps(json.dumps(whole, separators=(',', ':')))}")


def test_the_timeline_follows_when_dark_and_light_change(show: Show) -> None:
    browser = show(pipeline(), scheme="light")
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.wait_for(f"{AXES}.background_fill_color === '#1a1e24'")
    browser.wait_for(f"({PIXELS}).completed > 50")


SHOW_ALL = "[...document.querySelectorAll('button.more')].find(more => !more.hidden)"
AXES = "Bokeh.documents[0].roots()[0]"


def test_the_axes_are_labelled_with_what_there_is_room_for(show: Show) -> None:
    browser = show(run({"package.module." * 9 + "routine": [execution(0, 90)]}), width=390)
    policies = browser.evaluate(f"[{AXES}.above[0], {AXES}.left[0]].map((axis) => axis.major_label_policy.type)")
    assert policies == ["NoOverlap"] * 2
    assert browser.evaluate(f"{AXES}.left[0].formatter.doFormat({AXES}.left[0].ticker.ticks)") == ["packa\u2026utine"]
    assert browser.evaluate(f"{AXES}.above[0].formatter.doFormat([0, 30, 60, 90])") == [
        "0",
        "30 s",
        "1 min",
        "1 min 30 s",
    ]
    browser = show(run({"a": [execution(0, None)]}))
    assert browser.evaluate(f"{AXES}.above[0].formatter.doFormat([0, 5e-7])") == ["0", ""]


def test_dragging_moves_a_zoomed_timeline(show: Show) -> None:
    browser = show(pipeline())
    click(browser, "document.querySelector('#zoom button')")
    start, end = browser.evaluate(RANGE)
    x, y = place_of(browser, (start + end) / 2, 0)
    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    for step in range(1, 6):
        browser.mouse("mouseMoved", x - 20 * step, y, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 100, y, button="left", clickCount=1)
    browser.wait_for(f"(([start]) => start > {start})({RANGE})")
    moved_start, moved_end = browser.evaluate(RANGE)
    assert moved_end - moved_start == pytest.approx(end - start)


def test_pointing_at_an_execution_shows_its_record(show: Show) -> None:
    tracker = run({"read": [execution(0, 5, "failed", params={"path": "<b>.md"}, error="no <i>"), execution(9, 1)]})
    browser = show(tracker)
    browser.mouse("mouseMoved", *place_of(browser, 2.5, 0))
    browser.wait_for("!document.getElementById('tip').hidden")
    words = text_of(browser, "#tip")
    for part in ("read", "failed", "5.0 s", '{"path": "<b>.md"}', "no <i>"):
        assert part in words
    browser.mouse("mouseMoved", *place_of(browser, 7, 0))
    browser.wait_for("document.getElementById('tip').hidden")
    assert_quiet(browser)


def test_an_execution_thinner_than_a_pixel_is_found_under_the_pointer(show: Show) -> None:
    browser = show(run({"tick": [execution(100, 1e-7, params={"it was": "found"})], "long": [execution(0, 300_000)]}))
    browser.mouse("mouseMoved", *place_of(browser, 100, 0))  # the first routine to start is the long one
    browser.wait_for("!document.getElementById('tip').hidden")
    assert "long" in text_of(browser, "#tip")
    browser.mouse("mouseMoved", *place_of(browser, 100, 1.6))
    browser.wait_for("document.getElementById('tip').innerText.includes('found')")


def test_the_legend_names_and_counts_hides_and_shows_a_status(show: Show) -> None:
    browser = show(pipeline())
    legend = browser.evaluate("[...document.querySelectorAll('#legend button')].map(button => button.innerText)")
    assert legend[:4] == ["Completed 39", "Failed 1", "Running 1", "skipped 1"]
    button = "[...document.querySelectorAll('#legend button')].find(button => button.innerText.includes('Failed'))"
    click(browser, button)
    browser.wait_for(f"({PIXELS}).failed === 0")
    assert browser.evaluate(f"({button}).getAttribute('aria-pressed')") == "false"
    click(browser, button)
    browser.wait_for(f"({PIXELS}).failed > 0")


def test_what_is_hidden_is_not_found_under_the_pointer(show: Show) -> None:
    browser = show(run({"a": [execution(0, 5)], "b": [execution(0, 5, "failed")]}))
    browser.mouse("mouseMoved", *place_of(browser, 2, 0))
    browser.wait_for("!document.getElementById('tip').hidden")
    click(browser, "document.querySelector('#legend button')")
    browser.mouse("mouseMoved", *place_of(browser, 2.1, 0))
    browser.wait_for("document.getElementById('tip').hidden")


def test_a_click_on_a_title_sorts_the_routines_and_one_more_turns_them_round(show: Show) -> None:
    browser = show(run({"b": [execution(0, 2)], "a": [execution(1, 9)] * 3, "c": [execution(2, 0.0005)] * 2}))
    assert column(browser, "routines", 1) == ["a", "b", "c"]  # by self time
    title = "document.querySelectorAll('#routines th button')"
    click(browser, f"{title}[1]")
    assert column(browser, "routines", 2) == ["3", "2", "1"]
    click(browser, f"{title}[1]")
    assert column(browser, "routines", 2) == ["1", "2", "3"]
    click(browser, f"{title}[0]")
    assert column(browser, "routines", 1) == ["a", "b", "c"]
    assert browser.evaluate("document.querySelector('#routines th').getAttribute('aria-sort')") == "ascending"
    assert browser.evaluate("document.querySelector('#routines .more').hidden")
    click(browser, f"{title}[5]")
    assert column(browser, "routines", 6) == ["9.0 s", "2.0 s", "500 \u00b5s"]


def test_the_tables_can_be_sorted_with_the_keyboard(show: Show) -> None:
    browser = show(run({"b": [execution(0, 2)], "a": [execution(1, 9)]}))
    browser.evaluate("document.querySelector('#routines th button').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.send(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
        )
    browser.wait_for("document.querySelector('#routines th').getAttribute('aria-sort') === 'ascending'")
    assert column(browser, "routines", 1) == ["a", "b"]
    assert browser.evaluate("document.activeElement.innerText") == "Routine"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_sees_badly_or_not_at_all_can_read_the_page(show: Show, scheme: str) -> None:
    browser = show(pipeline(), scheme=scheme)
    headings = browser.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(heading => heading.tagName)")
    assert headings == ["H1"] + ["H2"] * 7
    assert browser.evaluate("document.documentElement.lang") == "en"
    unnamed = "svg:not([aria-label]), #timeline:not([aria-label]), button:empty:not([aria-label])"
    assert browser.evaluate(f"document.querySelectorAll('{unnamed}').length") == 0
    style = "getComputedStyle(document.documentElement).getPropertyValue"
    for text, least in {"ink": 7, "muted": 4.5, "failed": 4.5, "running": 3}.items():  # the running are told in large
        for ground in ("panel", "back"):
            colors = [browser.evaluate(f"{style}('--{name}').trim()") for name in (text, ground)]
            assert contrast(*colors) >= least, (text, ground)


def contrast(*colors: str) -> float:
    """Return the contrast of two colours as the Web Content Accessibility Guidelines define it."""

    def luminance(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted(map(luminance, colors))
    return (light + 0.05) / (dark + 0.05)


def test_the_page_says_what_is_missing(show: Show) -> None:
    tracker = ExecutionTracker("long", max_records=2)
    for _ in range(5):
        tracker.record_routine_end("a", execution_id=tracker.record_routine_start("a"))
        tracker.record_event("a", "done", "b")
    tracker.record_routine_end("never started")
    tracker.routine_executions["a"].append({"routine_id": "a", "start_time": "yesterday", "status": "running"})
    words = text_of(show(tracker), "#missing")
    assert "Still running, so without a time: a (1)." in words
    assert "Dropped to bound the memory: 3 executions and 3 events." in words
    assert "Without a start, so not recorded: 1 end." in words
    assert "Without a start time that can be read, so in no timeline: 1 execution." in words


# --- from the numbers into the timeline ---

PINNED = "SELECTION.state.pinned"


def nested_run() -> ExecutionTracker:
    """A caller with two calls inside it on one worker, which an event led to, and what another worker did."""
    tracker = ExecutionTracker("nested")
    caller = tracker.record_execution("caller", 100.0, 110.0, params={"order": 7}, worker="w-1")
    first = tracker.record_execution("call", 101.0, 103.0, params={"part": 1}, parent_id=caller, worker="w-1")
    error = "Traceback (most recent call last):\n" + "  File x\n" * 3_000 + "ValueError: the <last> line"
    tracker.record_execution("call", 104.0, 108.0, "failed", error=error, parent_id=caller, worker="w-1")
    tracker.record_event("call", "done", "other", execution_id=first)
    tracker.record_execution("other", 103.5, 104.0, "skipped", caused_by=1, worker="w-2")
    events = tracker.event_flow
    events[0]["timestamp"] = tracker.routine_executions["call"][0]["end_time"]
    tracker.routine_executions["other"][0]["caused_by"] = [events[0]["event_id"]]
    return tracker


def test_failures_the_path_and_the_timeline_are_seen_without_scrolling(show: Show) -> None:
    records = [execution(i, 0.9, "failed", error=f"{kind}: no") for i, kind in enumerate(["A", "B", "C", "D", "E"] * 4)]
    browser = show(run({"a": records}), width=1400, height=900)
    order = ["cards", "failures", "path", "timeline"]
    tops = [browser.evaluate(f"document.getElementById('{name}').getBoundingClientRect().top") for name in order]
    assert tops == sorted(tops)
    assert browser.evaluate("document.getElementById('timeline').getBoundingClientRect().bottom") < 900
    assert len(column(browser, "failures", 1)) == 3
    click(browser, "document.querySelector('#failures .more')")
    assert len(column(browser, "failures", 1)) == 5
    assert browser.evaluate("document.querySelector('#cards .failed a').hash") == "#failure-section"


def test_lanes_are_those_of_workers_with_calls_below_their_callers_or_those_of_routines(show: Show) -> None:
    browser = show(nested_run())
    labels = f"{AXES}.left[0].formatter.doFormat({AXES}.left[0].ticker.ticks)"
    assert browser.evaluate(labels) == ["w-1  100%", "w-2  5%"]
    assert browser.evaluate("RUN.timeline.by_worker.lane") == [0, 1, 2, 1]
    click(browser, "document.querySelectorAll('#lanes button')[1]")
    assert browser.evaluate(labels) == ["caller", "call", "other"]
    assert browser.evaluate("document.querySelectorAll('#lanes button')[1].getAttribute('aria-pressed')") == "true"
    browser = show(pipeline())
    assert browser.evaluate("document.querySelectorAll('#lanes button').length") == 0


def test_all_lanes_have_room_after_the_switch(show: Show) -> None:
    browser = show(run({name: [execution(second, 0.5, worker="w")] for second, name in enumerate("abc")}))
    click(browser, "document.querySelectorAll('#lanes button')[1]")
    assert browser.evaluate(f"{AXES}.y_range.start") == pytest.approx(4.35)
    click(browser, "document.querySelectorAll('#lanes button')[0]")
    assert browser.evaluate(f"{AXES}.y_range.start") == pytest.approx(1.15)


def test_a_click_pins_an_execution_with_its_whole_record_and_esc_lets_it_go(show: Show) -> None:
    browser = show(nested_run(), width=1400)
    for kind in ("mousePressed", "mouseReleased"):
        browser.mouse(kind, *place_of(browser, 6, 1), button="left", clickCount=1)
    browser.wait_for("!document.getElementById('record').hidden")
    words = text_of(browser, "#record")
    assert "Traceback (most recent call last):\n  File x\n" in words
    assert "File x\nValueError: the <last> line" in words
    assert words.count("File x") > 1_000
    for part in ("failed", "4.0 s", "w-1, busy 100% of the run"):
        assert part in words
    press(browser, "Escape")
    browser.wait_for("document.getElementById('record').hidden")
    assert browser.evaluate(PINNED) is None


def press(browser: Chromium, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)


def test_the_links_of_a_record_lead_to_its_parent_causes_and_children(show: Show) -> None:
    browser = show(nested_run())
    browser.evaluate("SELECTION.pin(2)")
    assert "Caused by\ndone of call, 2.0 s" in text_of(browser, "#record")
    click(browser, "document.querySelector('#record ul button')")
    assert browser.evaluate(PINNED) == 1
    assert "Led to\ndone \u2192 other, 500 ms" in text_of(browser, "#record")
    click(browser, "[...document.querySelectorAll('#record button')].find(one => one.innerText.startsWith('caller'))")
    assert browser.evaluate(PINNED) == 0
    assert "Self time\n4.0 s" in text_of(browser, "#record")
    assert browser.evaluate("document.querySelectorAll('#record ul button').length") == 2


def test_arrow_keys_lead_to_neighbours_parents_and_children(show: Show) -> None:
    browser = show(nested_run())
    browser.evaluate("document.getElementById('timeline').focus(); SELECTION.pin(0)")
    for key, pinned in [("ArrowDown", 1), ("ArrowRight", 3), ("ArrowLeft", 1), ("ArrowUp", 0), ("ArrowUp", 0)]:
        press(browser, key)
        assert browser.evaluate(PINNED) == pinned


def test_a_link_that_is_inferred_says_so(show: Show) -> None:
    browser = show(run({"a": [execution(0, 1)], "b": [execution(2, 1)]}, [event("a", "b", 1)]))
    browser.evaluate("SELECTION.pin(1)")
    assert text_of(browser, "#record ul") == "done of a, 1.0 s inferred"
    assert "inferred from their order" in text_of(browser, "#flow-words")
    assert browser.evaluate("document.querySelectorAll('#graph .way.inferred').length") == 1
    browser = show(nested_run())
    browser.evaluate("SELECTION.pin(2)")
    assert "inferred" not in text_of(browser, "#record") + text_of(browser, "#flow-section")
    assert browser.evaluate("document.querySelectorAll('#graph .way.inferred').length") == 0


def test_a_record_says_what_it_hangs_together_with_though_that_is_not_drawn(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_page_timeline, "MAX_DRAWN", 1)
    tracker = ExecutionTracker()
    caller = tracker.record_execution("caller", 100.0, 100.5)
    cause = tracker.record_event("caller", "go", "call", execution_id=caller)
    tracker.record_execution("call", 100.1, 109.0, "failed", parent_id=caller, caused_by=cause)
    browser = show(tracker)
    browser.evaluate("SELECTION.pin(0)")
    words = text_of(browser, "#record")
    assert "Parent\nan execution that is not drawn" in words
    assert "Caused by\ngo of an execution that is not drawn" in words


def search(browser: Chromium, words: str) -> None:
    browser.evaluate(f"""(() => {{
      const input = document.querySelector('#finder input');
      input.value = {json.dumps(words)};
      input.dispatchEvent(new Event('input'));
      return new Promise(done => setTimeout(done, 250));
    }})()""")


@pytest.mark.parametrize(
    ("words", "found"),
    [("call", [0, 1, 3]), ("SKIPPED", [2]), ('"part": 1', [1]), ("call failed", [3]), ("part other", []), ("zzz", [])],
)
def test_search_finds_by_routine_status_and_params(show: Show, words: str, found: list[int]) -> None:
    browser = show(nested_run())
    search(browser, words)
    assert browser.evaluate("SELECTION.state.list") == found
    assert text_of(browser, "#finder .place") == (str(len(found)) if found else "nothing")
    for pinned in found and [*found, found[0]]:
        click(browser, "document.querySelector('#finder button[title=Next]')")
        assert browser.evaluate(PINNED) == pinned


def test_what_is_not_found_fades(show: Show) -> None:
    browser = show(pipeline())
    before = browser.evaluate(PIXELS)
    search(browser, "failed")
    after = browser.evaluate(PIXELS)
    assert after["failed"] == before["failed"]
    assert after["completed"] < before["completed"] / 10
    search(browser, "")
    assert browser.evaluate(PIXELS) == before


def test_the_path_is_stepped_through_and_each_step_tells_its_link(show: Show) -> None:
    ids = {name: {"execution_id": number} for number, name in enumerate("ab", 1)}
    executions = {name: [execution(*times, **ids[name])] for name, *times in [("a", 0, 1), ("b", 2, 3)]}
    browser = show(run(executions, [event("a", "b", 1, **ids["a"])]))
    click(browser, "document.getElementById('step-through')")
    assert text_of(browser, "#finder .place").startswith("1 of 2: the first")
    click(browser, "document.querySelector('#finder button[title=Next]')")
    assert f"2 of 2: {facts.LINKS['event']} \u00b7 waited 1.0 s" in text_of(browser, "#finder .place")
    assert browser.evaluate(PINNED) == 1
    assert f"step 2 of 2 \u00b7 {facts.LINKS['event']}" in text_of(browser, "#record")
    click(browser, "document.querySelector('#finder button[title=Previous]')")
    assert browser.evaluate(PINNED) == 0


def test_failures_the_slowest_routines_and_histograms_lead_into_the_timeline(show: Show) -> None:
    records = [execution(3 * i, 1 + i % 2, "failed" if i == 4 else "completed", error="no") for i in range(8)]
    browser = show(run({"a": records, "b": [execution(2, 0.1)]}))
    shown = "SELECTION.state.list"
    click(browser, "document.querySelector('#failures tr button')")
    assert browser.evaluate(shown) == [5]
    click(browser, "document.querySelectorAll('#slowest tbody tr')[1]")
    assert browser.evaluate(PINNED) == 4
    click(browser, "document.querySelectorAll('#routines tbody button')[1]")
    assert browser.evaluate(shown) == [1]
    browser.evaluate("""document.querySelector('#histograms figure .target').dispatchEvent(new Event('click'))""")
    assert browser.evaluate(f"{shown}.map(i => RUN.timeline.duration[i])") == [1.0] * 4
    assert browser.evaluate(PINNED) == browser.evaluate(f"{shown}[0]")


def test_what_is_pinned_from_elsewhere_comes_into_view(show: Show) -> None:
    browser = show(run({"long": [execution(0, 100_000)], "short": [execution(50_000, 0.001)]}))
    browser.evaluate("SELECTION.pin(1)")
    start, end = browser.evaluate(RANGE)
    assert start < 50_000 < 50_000.001 < end
    assert end - start < 1


def test_a_bar_that_is_slow_is_as_strong_as_one_that_is_fast(show: Show) -> None:
    """In a lane that is full, long and short executions cover the same part of each pixel."""
    fast = [execution(i / 1000, 0.001) for i in range(20_000)]
    browser = show(run({"fast": fast, "slow": [execution(0, 20)]}))
    rows = browser.evaluate(f"""(() => {{
      const view = Bokeh.index.get_by_id({AXES}.id);
      const {{ left, top }} = view.el.getBoundingClientRect();
      return [0.5, 2.1].map(row => [left + view.frame.x_scale.compute(10), top + view.frame.y_scale.compute(row)]);
    }})()""")
    strengths = [browser.evaluate(STRENGTH.format(x=x, y=y)) for x, y in rows]
    assert strengths[0] == pytest.approx(strengths[1], rel=0.1)
    assert strengths[0] > 90


# How far the pixels around a place on the screen are from white, on average.
STRENGTH = """(() => {{
  const far = [];
  const look = (root) => {{ for (const node of root.querySelectorAll("*")) {{
    if (node.tagName === "CANVAS" && node.width) {{
      const box = node.getBoundingClientRect();
      const copy = Object.assign(document.createElement("canvas"), {{width: node.width, height: node.height}});
      const context = copy.getContext("2d", {{willReadFrequently: true}});
      context.drawImage(node, 0, 0);
      const {{data}} = context.getImageData({x} - box.left - 20, {y} - box.top - 2, 40, 4);
      let sum = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i + 3]) sum += 255 - data[i];
      far.push(sum / (data.length / 4));
    }}
    if (node.shadowRoot) look(node.shadowRoot);
  }} }};
  look(document);
  return Math.max(...far);
}})()"""


def test_the_page_writes_numbers_as_the_other_reports_do(show: Show) -> None:
    browser = show(ExecutionTracker())
    times = [
        sign * digits * 10.0**power
        for sign in (1, -1)
        for digits in (1, 2.25, 3.45, 5.55, 9.96)
        for power in range(-9, 12)
    ]
    times += [0.5, 59.94, 59.95, 60.5, 61.5, 3599.5, 3600, 5400, 86_399, 86_400, 90_000, 1e99]
    rates = [time for time in times if 0 < time < 1e15]
    parts = [0.0, 0.0004, 0.005, 0.0149, 0.015, 0.025, 0.125, 0.5, 0.995, 1.0]
    written = browser.evaluate(f"[{times}.map(duration), {rates}.map(rate), {parts}.map(percentage)]")
    assert written[0] == [units.duration(time) for time in times]
    assert written[1] == [units.rate(each) for each in rates]
    assert written[2] == [units.percentage(part) for part in parts]


# --- bad input ---


def point_at(browser: Chromium, second: float, row: float) -> None:
    """Move the pointer to an execution until the page has settled: a record beside it makes the timeline narrower."""
    settled = "new Promise(done => setTimeout(() => done(!document.getElementById('tip').hidden), 50))"
    for _ in range(200):
        browser.mouse("mouseMoved", *place_of(browser, second, row))
        if browser.evaluate(settled):
            return
    raise AssertionError("nothing is under the pointer")


def test_hostile_texts_are_shown_as_they_are_and_never_run(show: Show) -> None:
    executions = {
        name: [
            execution(i, 0.5, "failed", params={name: name, "nan": math.nan}, error=name, result=[name], worker=name)
        ]
        for i, name in enumerate(HOSTILE)
    }
    links = [(*ends, name) for ends in pairwise(HOSTILE) for name in HOSTILE[:3]]
    events = [event(source, target, i, name) for i, (source, target, name) in enumerate(links)]
    browser = show(run(executions, events, flow_id=HOSTILE[1]))
    assert text_of(browser, "h1") == HOSTILE[1]
    assert browser.evaluate("document.title") == HOSTILE[1]
    while browser.evaluate(f"Boolean({SHOW_ALL})"):
        click(browser, SHOW_ALL)
    names = browser.evaluate("[...document.querySelectorAll('#routines tbody td:first-child')].map(c => c.textContent)")
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[3], HOSTILE[4], "$$\\frac{1}{2}$$ \\(x\\)", "__proto__"} <= set(names)
    assert len(names) == len(HOSTILE)
    errors = browser.evaluate("[...EXECUTIONS.all(() => true)].map(i => EXECUTIONS.text('error', i))")
    assert set(HOSTILE[:5]) <= set(errors)
    search(browser, "<script>")
    click(browser, "document.querySelectorAll('#lanes button')[1]")
    for i in range(len(HOSTILE)):
        point_at(browser, i + 0.2, i * 1.6)
        browser.evaluate(f"SELECTION.pin({i})")
        browser.wait_for("!document.getElementById('record').hidden")
    browser.evaluate("new Promise(done => setTimeout(done, 50))")
    assert browser.evaluate("document.querySelectorAll('img, main script, header script, b b, main a').length") == 0
    assert_quiet(browser)


def test_characters_that_would_turn_the_text_around_are_shown(show: Show) -> None:
    text = "a\u202etxt.exe\u2066\x1b[31m\x00\x9b\nb\tc"
    records = [execution(0, 1, "failed", error=text, params=[text])]
    browser = show(run({text: records}, [event(text, text, 1, text)], flow_id=text))
    browser.evaluate("SELECTION.pin(0)")
    words = browser.evaluate("document.body.innerText + document.title")
    assert not set("\u202e\u2066\x1b\x00\x9b") & set(words)
    assert "a\\u202etxt.exe\\u2066\\x1b[31m\\x00\\x9b\nb\tc" in words


def test_a_run_is_embedded_without_a_character_that_html_takes_for_its_own(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    write_html(run({name: [execution(0, 1, params={name: name})] for name in HOSTILE}, flow_id="</title>&"), path)
    text = path.read_text("ascii")
    json_text = re.findall('id="run">(.*?)</script>', text, re.DOTALL)[0]
    assert not set("<>&\u2028\u2029") & set(json_text)
    assert "<title>&lt;/title&gt;&amp;</title>" in text
    assert len(re.findall("</script", text, re.IGNORECASE)) == len(re.findall("<script", text, re.IGNORECASE)) == 13


def test_the_policy_lets_no_other_script_run_and_nothing_be_fetched(show: Show) -> None:
    browser = show(pipeline())
    browser.evaluate("""(() => {
      for (const text of ["pwned = 1", "window.pwned = 2"]) {
        const script = document.createElement("script");
        script.textContent = text;
        document.body.append(script);
      }
      const image = new Image();
      image.src = "http://127.0.0.1:9/x.png";
      image.setAttribute("onerror", "pwned = 3");
      document.body.append(image);
      const button = document.createElement("button");
      button.setAttribute("onclick", "pwned = 4");
      button.click();
      fetch("http://127.0.0.1:9/").catch(() => {});
    })()""")
    browser.evaluate("new Promise(done => setTimeout(done, 100))")
    assert browser.evaluate("typeof pwned") == "undefined"
    refused = " ".join(browser.complaints())
    assert "script-src" in refused
    assert "'none'" in refused
    text = Path(browser.evaluate("location.pathname")).read_text("ascii")
    assert "unsafe-eval" not in re.findall('Content-Security-Policy" content="([^"]*)"', text)[0]


def test_an_empty_run_has_a_page(show: Show) -> None:
    browser = show(ExecutionTracker())
    assert text_of(browser, "h1") == "A run without a name"
    assert "Nothing was recorded." in text_of(browser, "#started")
    assert "No execution was recorded." in text_of(browser, "#timeline-section")
    assert "No events were recorded." in text_of(browser, "#edges")
    assert "Nothing failed." in text_of(browser, "#failures")


def test_one_running_execution_is_drawn_and_said_to_run(show: Show) -> None:
    tracker = ExecutionTracker("waiting")
    tracker.record_routine_start("listen", {"port": 80})
    browser = show(tracker)
    assert browser.evaluate(PIXELS)["running"] > 50
    browser.mouse("mouseMoved", *place_of(browser, 0, 0))
    browser.wait_for("document.getElementById('tip').innerText.includes('still running')")
    assert "Nothing has ended." in text_of(browser, "#histograms")
    assert "Duration\n-\n" in text_of(browser, "#cards")
    assert [column(browser, "routines", number) for number in range(4, 9)] == [["-"]] * 5


@pytest.mark.once
def test_ten_thousand_routines_are_folded_together_and_can_all_be_listed(show: Show) -> None:
    executions = {f"routine {i:05}": [execution(i % 100, 1 + i / 10_000)] for i in range(10_000)}
    events = [event(f"routine {i:05}", f"routine {i + 1:05}", i % 100 + 1) for i in range(9_999)]
    browser = show(run(executions, events))
    assert browser.evaluate("RUN.histograms.length") == page_data.MAX_OWN
    assert "24 of 10,000 routines" in text_of(browser, "#duration-section")
    assert "The 30 of 10,000 routines" in text_of(browser, "#flow-section")
    assert "300 of 9,999 edges" in text_of(browser, "#edges")
    assert len(column(browser, "routines", 1)) == 8
    click(browser, "document.querySelector('#routines .more')")
    assert len(column(browser, "routines", 1)) == 10_000
    bands = data_in(Path(browser.evaluate("location.pathname")))["timeline"]["by_routine"]["bands"]
    assert bands[-1][0] == "9,976 other routines"


def test_the_routines_without_lanes_of_their_own_come_last() -> None:
    executions = {f"routine {i}": [execution(i, 1 + i)] for i in range(page_data.MAX_OWN + 2)}
    bands = page_data.page_data(run(executions))["timeline"]["by_routine"]["bands"]
    assert [name for name, *_ in bands] == [*list(executions)[2:], "2 other routines"]


def test_durations_from_100_ns_to_three_days_are_all_readable(show: Show) -> None:
    durations = [1e-7, 2e-6, 0.003, 0.5, 12, 200, 4000, 3 * 86_400]
    browser = show(run({"mixed": [execution(i * 0.001, duration) for i, duration in enumerate(durations)]}))
    assert "Duration\n3 d\n" in text_of(browser, "#cards")
    row = browser.evaluate("[...document.querySelectorAll('#routines tbody td')].map(cell => cell.innerText)")
    assert row[3] == "6.2 s"
    assert row[5] == "3 d"
    figure = text_of(browser, "#histograms figure")
    assert "100 ns" in figure
    assert "3 d" in figure
    assert "logarithmic" in figure
    for _ in range(45):
        click(browser, "document.querySelector('#zoom button')")
    start, end = browser.evaluate(RANGE)
    assert 0 < end - start < 1e-6
    assert_quiet(browser)


def test_records_edited_by_hand_never_cost_the_page(show: Show) -> None:
    broken: list[Any] = [
        {},
        {"start_time": None},
        {"start_time": 5, "end_time": 6},
        {"start_time": "0001-01-01T00:00:00", "end_time": "9999-12-31T00:00:00"},
        {"start_time": moment(0), "end_time": "never", "execution_time": "long"},
        {"start_time": moment(0), "end_time": moment(-5), "execution_time": -1},
        {"start_time": moment(0), "end_time": moment(5), "execution_time": math.inf},
        {"start_time": moment(0), "end_time": moment(5), "execution_time": math.nan},
        {"start_time": moment(0), "end_time": [], "execution_time": 10.0**300, "status": ["list"]},
        {"start_time": moment(0), "end_time": {}, "execution_time": True, "status": {}, "error": {1: {2, 3}}},
        {"start_time": moment(0) + "+14:00", "end_time": moment(1) + "Z", "params": 7, "result": object()},
        {"start_time": moment(0), "status": None, "params": math.nan, "error": HOSTILE},
    ]
    events: list[Any] = [
        {},
        {"timestamp": moment(1)},
        event(None, None, 1, None),
        event(5, ("a", 1), 1, ["x"]),
        event([1], {"k": 2}, 1, math.nan),
        {"timestamp": 5, "source_routine_id": "a"},
    ]
    tracker = run({"a": broken, 5: [execution(0)], ("a", 1): [execution(1)], None: [execution(2, 1, "failed")]}, events)
    browser = show(tracker)
    assert "so in no timeline: 4 executions." in text_of(browser, "#missing")
    assert browser.evaluate("document.querySelectorAll('#routines tbody tr').length") == 4


def test_a_run_saved_and_loaded_has_the_same_page(tmp_path: Path) -> None:
    tracker = pipeline()
    tracker.save(tmp_path / "run.json")
    write_html(tracker, tmp_path / "before.html")
    write_html(ExecutionTracker.load(tmp_path / "run.json"), tmp_path / "after.html")
    assert (tmp_path / "before.html").read_bytes() == (tmp_path / "after.html").read_bytes()


# --- the data in it ---


spans = st.lists(
    st.tuples(st.integers(0, 5_000), st.one_of(st.none(), st.integers(1, 9_000), st.integers(1_000_000, 2_000_000))),
    min_size=1,
    max_size=60,
)


@given(spans, st.sampled_from([1, 50]), st.booleans())
def test_executions_in_a_lane_never_cover_each_other(
    spans: list[tuple[int, int | None]], tick: int, has_workers: bool
) -> None:
    """Children lie below their parents. Times in texts are exact to the microsecond, which two may share."""
    records = []
    for number, (start_us, duration_ns) in enumerate(sorted(spans, key=lambda span: span[0]), 1):
        worker = {"execution_id": number, "parent_id": number // 3 or None, "worker": f"w-{number % 2}"}
        record = execution(start_us * tick / 1e6, None)
        if duration_ns is not None:
            record |= execution(start_us * tick / 1e6, duration_ns / 1e9)
        records.append(record | (worker if has_workers else {}))
    timeline = page_data.page_data(run({"a": records}))["timeline"]
    shown = timeline["by_worker" if has_workers else "by_routine"]
    lanes: dict[int, list[tuple[int, float]]] = {}
    for lane, start, duration in zip(shown["lane"], timeline["start"], timeline["duration"], strict=True):
        start_ns = round(start * 1e9)
        end_ns = math.inf if duration is None else start_ns + round(duration * 1e9)
        lanes.setdefault(lane, []).append((start_ns, end_ns))
    for of_lane in lanes.values():
        assert all(end < start + 1000 for (_, end), (start, _) in pairwise(of_lane))
    assert all(0 <= lane < shown["lanes"] for lane in shown["lane"])
    for child, parent in enumerate(timeline["parent"]):
        if 0 <= parent < child and timeline["worker"][parent] == timeline["worker"][child] and has_workers:
            assert shown["lane"][parent] < shown["lane"][child]


def test_a_duration_that_is_no_number_is_the_difference_of_the_times() -> None:
    records = [execution(0, 4) | {"execution_time": time} for time in (True, "long", math.nan, -1, 10.0**300)]
    assert page_data.page_data(run({"a": records}))["timeline"]["duration"] == [4.0] * 5


def test_executions_that_follow_each_other_share_one_lane() -> None:
    timeline = page_data.page_data(run({"a": [execution(i / 1e6, 3e-7) for i in range(100)]}))["timeline"]
    assert timeline["by_routine"]["lanes"] == 1


def test_beyond_what_stays_fluent_the_most_telling_executions_remain(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_page_timeline, "MAX_DRAWN", 10)
    executions = {
        "short": [execution(i, 0.001) for i in range(50)],
        "failing": [execution(i, 0.0001, "failed") for i in range(3)],
        "long": [execution(i, 0.5) for i in range(20)],
        "open": [execution(30, None)],
        "last": [execution(60, 0.00001)],
    }
    browser = show(run(executions))
    data = data_in(Path(browser.evaluate("location.pathname")))
    drawn = [data["names"][routine] for routine in data["timeline"]["routine"]]
    assert sorted(drawn) == ["failing"] * 3 + ["last"] + ["long"] * 5 + ["open"]
    assert "10 of 75 executions" in text_of(browser, "#thinned")
    assert re.findall(r"Executions.*\n+(.+)", text_of(browser, "#cards")) == ["75"]


def test_failures_stay_in_the_timeline_though_the_critical_path_alone_is_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_page_timeline, "MAX_DRAWN", 10)
    records = [execution(second, 1, worker="only") for second in range(50)]
    records[7] = execution(7, 0.1, "failed", worker="only")
    data = page_data.page_data(run({"a": records}))
    assert data["path"]["count"] == 50
    assert data["timeline"]["kind"].count(1) == data["numbers"]["failed"] == 1


def test_the_critical_path_is_marked() -> None:
    first = execution(0, 1, execution_id=1)
    executions = {"a": [first, execution(0.5, 0.1)], "b": [execution(2, 3)], "c": [execution(2, 1)]}
    events = [event("a", target, 1, execution_id=1) for target in "bc"]
    data = page_data.page_data(run(executions, events))
    steps = [(data["names"][data["timeline"]["routine"][i]], *step) for i, *step in data["path"]["steps"]]
    assert steps == [
        ("a", "", False, 0.0, 1.0, 0.0),
        ("b", facts.LINKS["event"], True, 1.0, 3.0, 1.0),
    ]


def test_steps_that_overlap_take_no_more_time_than_passed_and_begin_to_wait_where_the_event_came(show: Show) -> None:
    ids = {name: {"execution_id": number} for number, name in enumerate("abc", 1)}
    executions = {name: [execution(*times, **ids[name])] for name, *times in [("a", 0, 10), ("b", 1, 10), ("c", 3, 9)]}
    tracker = run(executions, [event("a", "b", 1, **ids["a"]), event("b", "c", 2, **ids["b"])])
    data = page_data.page_data(tracker)
    browser = show(tracker)
    assert data["path"]["sentence"] in text_of(browser, "#path-section")
    assert data["concurrency"] in text_of(browser, "#path-section")
    assert [since for _, _, _, since, *_ in data["path"]["steps"]] == [0, 1, 2]
    # In the order of their self times: each moment belongs to the step that began last.
    assert column(browser, "routines", 1) == ["a", "b", "c"]
    assert column(browser, "routines", 10) == ["1.0 s", "2.0 s", "9.0 s"]


def test_steps_within_each_other_count_no_time_twice(show: Show) -> None:
    within = {"parent_id": 1, "worker": "main"}
    executions = {
        "pipeline": [execution(0, 10, execution_id=1, worker="main")],
        "read": [execution(1, 3, execution_id=2, **within)],
        "write": [execution(5, 4, execution_id=3, **within)],
    }
    browser = show(run(executions))
    assert "100% of 10.0 s: 10.0 s in 3 executions" in text_of(browser, "#path-section")
    assert column(browser, "routines", 1) == ["write", "pipeline", "read"]
    assert column(browser, "routines", 7) == ["4.0 s", "10.0 s", "3.0 s"]
    assert column(browser, "routines", 8) == ["4.0 s", "3.0 s", "3.0 s"]
    assert [share.strip() for share in column(browser, "routines", 9)] == ["40%", "30%", "30%"]
    assert column(browser, "routines", 10) == ["4.0 s", "3.0 s", "3.0 s"]
    browser.mouse("mouseMoved", *place_of(browser, 0.5, 0))
    browser.wait_for("document.getElementById('tip').innerText.includes('on the critical path')")


def test_failures_are_told_also_of_executions_that_were_dropped_or_have_no_place_in_time(show: Show) -> None:
    tracker = ExecutionTracker(max_records=1)
    for status in ("failed", "failed", "completed"):
        tracker.record_routine_end("a", status, execution_id=tracker.record_routine_start("a"))
    words = text_of(show(tracker), "#failures")
    assert words == "Dropped, so without a message: 2 failures."
    unplaced = {"routine_id": "b", "start_time": "yesterday", "status": "failed", "error": "no disk"}
    tracker.routine_executions["b"] = [unplaced]
    words = text_of(show(tracker), "#failures")
    assert "2 failures." in words
    assert "no disk" in words


def test_the_time_of_the_critical_path_is_told_by_routine(show: Show) -> None:
    executions = {"a": [execution(0, 1, execution_id=1), execution(4, 2)], "b": [execution(2, 1, execution_id=2)]}
    browser = show(run(executions, [event("a", "b", 1, execution_id=1), event("b", "a", 3, execution_id=2)]))
    assert column(browser, "routines", 10) == ["3.0 s", "1.0 s"]


def test_histograms_count_every_ended_execution_and_are_logarithmic_over_decades() -> None:
    executions = {
        "even": [execution(i, 1 + i / 100) for i in range(100)],
        "wide": [execution(i, 10.0 ** (i % 7 - 3)) for i in range(70)],
        "same": [execution(i, 0.25) for i in range(5)] + [execution(6, None)],
    }
    histograms = page_data.page_data(run(executions))["histograms"]
    assert [sum(histogram["bins"]) for histogram in histograms] == [70, 100, 5]
    assert [histogram["logarithmic"] for histogram in histograms] == [True, False, False]
    assert [histogram["median"] for histogram in histograms] == [1.0, pytest.approx(1.495), 0.25]


@pytest.mark.parametrize(("durations", "place"), [([1, 10, 1000], 1 / 3), ([1, 2, 6], 1 / 5)])
def test_a_histogram_marks_its_median(show: Show, durations: list[float], place: float) -> None:
    browser = show(run({"a": [execution(0, duration) for duration in durations]}))
    line = browser.evaluate("Number(document.querySelector('#histograms line.median').getAttribute('x1'))")
    assert line == pytest.approx(320 * place)


def test_the_flow_of_a_loop_is_drawn(show: Show) -> None:
    executions = {name: [execution(0)] for name in "abc"}
    events = [event(*ends, i) for i, ends in enumerate(["ab", "bc", "ca", "aa", "ab"])]
    browser = show(run(executions, events))
    assert browser.evaluate("document.querySelectorAll('#graph path.link').length") == 4
    assert column(browser, "edges", 4).count("2") == 1


def test_the_edges_with_the_longest_waits_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_page_flow, "MAX_LISTED", 2)
    executions = {name: [execution(10)] for name in "abc"}
    events = [event("source", "a", 9), event("source", "b", 1), event("source", "c", 5), event("source", "d", 1)]
    flow = page_data.page_data(run(executions, events * 2))["flow_graph"]
    assert [(row[2], row[8]) for row in flow["edges"]] == [("b", 9.0), ("c", 5.0)]
    assert flow["edge_count"] == 4


def test_an_edge_without_a_link_has_no_wait(show: Show) -> None:
    browser = show(run({"a": [execution(0)], "b": [execution(0)]}, [event("a", "b", 9), event("a", "b", 0, "early")]))
    waits = [column(browser, "edges", number) for number in (2, 6, 7, 8)]
    assert waits == [["early", "done"], ["1 (all inferred)", "0"], ["0 s", "-"], ["0 s", "-"]]


def test_a_link_tells_its_events_and_their_longest_wait() -> None:
    executions = {"a": [execution(0)], "b": [execution(second) for second in (4, 5, 6)]}
    names = [f"event {number}" for number in range(7)]
    events = [event("a", "b", second, name) for second, name in zip((1, 3.5, 5.5), names, strict=False)]
    events += [event("a", "b", 9, name) for name in names]
    (link,) = page_data.page_data(run(executions, events))["flow_graph"]["links"]
    assert link == [0, 1, 10, 3.0, 3, 3, names[:5]]


def test_the_graph_keeps_the_routines_that_matter_and_the_entries(show: Show) -> None:
    chain = [f"r{number}" for number in range(_page_flow.MAX_NODES * 2)]
    executions = {name: [execution(number, 0.001)] for number, name in enumerate(chain)}
    executions["r13"] = [execution(13, 9)]  # the slowest, with few events as all others
    executions["r17"] = [execution(17, 0.001, "failed")]
    events = [event(source, target, 1) for source, target in pairwise(chain)] * 2 + [event("entry", "r55", 1)]
    browser = show(run(executions, events))
    nodes = {name: is_entry for name, _, is_entry in browser.evaluate("RUN.flow_graph.nodes")}
    assert len(nodes) == _page_flow.MAX_NODES
    assert {"r0", "r13", "r17", "entry"} <= nodes.keys()
    assert [name for name, is_entry in nodes.items() if is_entry] == ["r0", "entry"]
    assert "The 30 of 61 routines" in text_of(browser, "#flow-section")


def test_a_flow_of_all_to_all_shows_its_busiest_links_and_says_so(show: Show) -> None:
    names = [f"routine {number}" for number in range(10)]
    events = [event(*ends, 1) for ends in itertools.product(names, repeat=2)] + [event(names[7], names[3], 2)] * 5
    browser = show(run({name: [execution(0)] for name in names}, events))
    links = browser.evaluate("[...document.querySelectorAll('#graph .way title')].map(title => title.textContent)")
    assert len(links) == _page_flow.MAX_LINKS
    assert "90 of 100 links, those with the most events." in text_of(browser, "#flow-section")
    assert sum(bool(re.search(": 6[,;]", link)) for link in links) == 1


def test_all_that_is_drawn_of_a_loop_is_inside_of_the_picture(show: Show) -> None:
    ends = ["ab", "bc", "ca", "cd", "dd", "db", "aa"]
    browser = show(run({name: [execution(0)] for name in "abcd"}, [event(*pair, 1) for pair in ends]))
    box, view = browser.evaluate("""(() => {
      const svg = document.querySelector('#graph svg'), view = svg.viewBox.baseVal;
      const {x, y, width, height} = svg.getBBox();
      return [[x, y, x + width, y + height], [view.x, view.y, view.x + view.width, view.y + view.height]];
    })()""")
    assert all(inner >= outer for inner, outer in zip(box[:2], view[:2], strict=True))
    assert all(inner <= outer for inner, outer in zip(box[2:], view[2:], strict=True))


def test_a_failure_that_never_ended_is_listed() -> None:
    data = page_data.page_data(run({"a": [execution(0, None) | {"status": "failed", "error": "no"}]}))
    assert data["failures"]["rows"][0][0] == data["numbers"]["failed"] == 1


def test_equal_failures_are_counted_together(show: Show) -> None:
    records = [execution(i, 1, "failed", error=f"ValueError: no page {i}") for i in range(4)]
    records += [execution(9, 1, "failed", error="oh")]
    browser = show(run({"a": records}))
    assert column(browser, "failures", 1) == ["4 \u00d7", "1 \u00d7"]
    assert column(browser, "failures", 2) == ["ValueError: no page \u2026", "oh"]


def test_long_payloads_are_cut_and_keep_their_tail() -> None:
    data = page_data.page_data(
        run({"a": [execution(0, 1, params={str(i): "x" * 99 for i in range(999)}, result="y" * 999 + "end")]})
    )
    params, result = (data["texts"][data["timeline"][key][0]] for key in ("params", "result"))
    assert len(params) <= _page_texts.MAX_TEXT
    assert len(result) == _page_texts.MAX_TEXT
    assert result.endswith("yend")


def test_errors_keep_their_lines_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_page_texts, "_ROOM", 5_000)
    errors = ["a\n" * 1_500, "b\n" * 1_500, "a\n" * 1_500, "c\n" * 700]
    records = [execution(i, 1, "failed", error=error) for i, error in enumerate(errors)]
    data = page_data.page_data(run({"a": records}))
    shown = [data["texts"][number] for number in data["timeline"]["error"]]
    assert [len(text) for text in shown] == [3_000, _page_texts.MAX_TEXT, 3_000, 1_400]
    assert shown[1].endswith("b\nb\n")


def test_the_workers_without_lanes_of_their_own_are_the_least_busy_and_come_last() -> None:
    count = _page_timeline.MAX_BANDS + 2
    records = [execution(0, 100 - i, worker=f"w-{i}") for i in range(count)] + [execution(0, 5)]
    bands = page_data.page_data(run({"a": records}))["timeline"]["by_worker"]["bands"]
    names = [name for name, *_ in bands]
    assert names[:3] == ["w-0", "w-1", "w-2"]
    assert names[-3:] == [f"w-{count - 3}", "2 other workers", "worker not recorded"]


# --- writing ---


def test_writing_a_page_leaves_the_tracker_as_it_was(tmp_path: Path) -> None:
    tracker = ExecutionTracker("nightly")
    tracker.record_routine_start("a")
    write_html(tracker, tmp_path / "run.html")
    assert tracker.performance_metrics == {}
    tracker.record_routine_start("a")
    assert len(tracker.routine_executions["a"]) == 2


def test_without_bokeh_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    path = tmp_path / "run.html"
    path.write_text("old")
    with pytest.raises(TrackerError, match=re.escape("pip install 'execution-tracker[html]'")):
        write_html(ExecutionTracker(), path)
    assert path.read_text() == "old"


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    tracker = pipeline()
    write_html(tracker, tmp_path / "one.html")
    write_html(tracker, tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()

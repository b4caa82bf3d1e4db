"""Measure the HTML page in a headless Chromium, and its timeline drawn by Bokeh and by Plotly.

    pip install '.[html]' plotly && python benchmarks/html_report.py

First 100,000 bars in 40 lanes, drawn by either library (Plotly where it is installed), under a policy that lets only
known scripts run, and under one that lets them make functions of texts as well, which both need for WebGL. Then whole
pages as `write_html` makes them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import json
import random
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from chromium import Chromium

from execution_tracker import ExecutionTracker
from execution_tracker.report.html import write_html

LANES = 40
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src "
COLORS = ["#3f7fd1", "#d23b3b", "#d9930f"]

READY = "requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }))"
FRAMES = "await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"

BOKEH = """
const data = JSON.parse(document.getElementById("data").textContent);
const range = new Bokeh.Range1d({start: 0, end: data.span});
const figure = Bokeh.Plotting.figure({width: 1200, height: 600, x_range: range, tools: [], toolbar_location: null,
  output_backend: "BACKEND"});
for (const {color, lane, start, end} of data.series) {
  const columns = {lane, left: Float64Array.from(start), right: Float64Array.from(end)};
  const source = new Bokeh.ColumnDataSource({data: columns});
  const [y, left, right] = ["lane", "left", "right"].map(field => ({field}));
  figure.hbar({y, left, right, height: 0.8, source, fill_color: color, line_color: null});
}
Bokeh.Plotting.show(figure, document.getElementById("plot")).then(() => READY);
window.zoom = async (start, end) => { range.setv({start, end}); };
"""

PLOTLY = """
const data = JSON.parse(document.getElementById("data").textContent);
const traces = data.series.map(({color, lane, start, end}) => {
  const [x, y] = [[], []];
  lane.forEach((l, i) => { x.push(start[i], end[i], null); y.push(l, l, null); });
  return {type: "scattergl", mode: "lines", x, y, line: {color, width: 11}, hoverinfo: "none"};
});
const plot = document.getElementById("plot");
const layout = {width: 1200, height: 600, showlegend: false, xaxis: {range: [0, data.span]}};
Plotly.newPlot(plot, traces, layout).then(() => READY);
window.zoom = (start, end) => Plotly.relayout(plot, {"xaxis.range": [start, end]});
"""


def bars(count: int) -> dict[str, Any]:
    rng = random.Random(1)
    free = [0.0] * LANES
    series: list[dict[str, Any]] = [{"color": color, "lane": [], "start": [], "end": []} for color in COLORS]
    for number in range(count):
        lane = number % LANES
        start = free[lane] + rng.expovariate(100)
        free[lane] = start + rng.lognormvariate(-3, 1)
        one = rng.choices(series, [0.93, 0.06, 0.01])[0]
        one["lane"].append(lane)
        one["start"].append(round(start, 6))
        one["end"].append(round(free[lane], 6))
    return {"span": max(free), "series": series}


def prototype(library: str, webgl: bool, data: str) -> str:
    if library == "Bokeh":
        from bokeh.util.paths import bokehjs_path

        names = ["bokeh", "bokeh-api", *(["bokeh-gl"] if webgl else [])]
        scripts = [(bokehjs_path() / "js" / f"{name}.min.js").read_text("utf-8") for name in names]
        scripts.append(BOKEH.replace("READY", READY).replace("BACKEND", "webgl" if webgl else "canvas"))
    else:
        import plotly

        scripts = [(Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text("utf-8")]
        scripts.append(PLOTLY.replace("READY", READY))
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts]
    policy = POLICY + " ".join([*hashes, "'unsafe-eval'"] if webgl else hashes)
    return (
        f'<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<body><div id="plot"></div><script type="application/json" id="data">{data}</script>'
        + "".join(f"<script>{script}</script>" for script in scripts)
    )


def compare_libraries(browser: Chromium, folder: Path, count: int) -> None:
    data = bars(count)
    text = json.dumps(data, separators=(",", ":"))
    print(f"{count:,} bars in {LANES} lanes")
    print(f"{'':28} {'page MB':>8} {'painted s':>10} {'zoom step s':>12}")
    for library in ("Bokeh", "Plotly"):
        if importlib.util.find_spec(library.lower()) is None:
            continue
        for webgl in (False, True):
            path = folder / "page.html"
            path.write_text(prototype(library, webgl, text), "utf-8")
            browser.open(path.as_uri())
            painted = browser.wait_for("window.painted") / 1000
            steps = []
            for part in (1, 0.7, 0.5, 0.35, 0.25):
                step = f"(async () => {{ const t = performance.now(); await zoom(0, {data['span'] * part}); {FRAMES};"
                steps.append(browser.evaluate(f"{step} return performance.now() - t; }})()") / 1000)
            blank = browser.evaluate("Boolean(document.querySelector('.no-webgl'))")
            name = f"{library}, {'WebGL, unsafe-eval' if webgl else 'strict policy'}"
            note = "  draws nothing: no WebGL" if blank else ""
            print(f"{name:28} {path.stat().st_size / 1e6:8.1f} {painted:10.2f} {median(steps):12.2f}{note}", flush=True)


def tracker(count: int) -> ExecutionTracker:
    begin = datetime(2026, 1, 31, 8, 30)
    executions: dict[str, list[Any]] = {f"routine {number}": [] for number in range(LANES // 4)}
    events = []
    names = list(executions)

    def moment(seconds: float) -> str:
        return (begin + timedelta(seconds=seconds)).isoformat(timespec="microseconds")

    number = 0
    for kind, one in enumerate(bars(count)["series"]):
        for lane, start, end in zip(one["lane"], one["start"], one["end"], strict=True):
            number += 1
            source, target = names[lane // 4], names[(lane // 4 + 1) % len(names)]
            ended = {"end_time": moment(end), "execution_time": end - start}
            status = ("completed", "failed", "skipped")[kind]
            record = {"routine_id": source, "start_time": moment(start), "params": {"number": number}, "status": status}
            executions[source].append(record | ended)
            ids = {"source_routine_id": source, "event_name": "done", "target_routine_id": target}
            events.append({"timestamp": moment(end), **ids, "data": {}})
    made = ExecutionTracker("benchmark")
    made.deserialize({"routine_executions": executions, "event_flow": events})
    return made


def measure_page(browser: Chromium, folder: Path, count: int) -> None:
    made = tracker(count)
    path = folder / "run.html"
    began = time.process_time()
    write_html(made, path)
    written = time.process_time() - began
    browser.open(path.as_uri())
    painted = browser.wait_for("document.body.dataset.drawn && performance.now()") / 1000
    box = browser.evaluate(
        "(() => { const plot = document.getElementById('timeline'); plot.scrollIntoView({block: 'center'});"
        " const {left, top} = plot.getBoundingClientRect(); return [left + 600, top + 100]; })()"
    )
    browser.evaluate(
        "(() => { let last = performance.now(); window.frames_ms = [];"
        " const next = () => { const now = performance.now(); frames_ms.push(now - last); last = now;"
        " requestAnimationFrame(next); }; requestAnimationFrame(next); })()"
    )
    for turn in range(10):
        browser.mouse("mouseWheel", *box, deltaY=(-120, 120)[turn % 2], modifiers=2)
    wheel = browser.evaluate("frames_ms.sort((a, b) => b - a)[2]")  # the very slowest also hold other work
    browser.evaluate("new Promise(done => setTimeout(done, 1500))")
    click = "document.querySelectorAll('#zoom button')[2].click()"
    step = f"(async () => {{ const t = performance.now(); {click}; {FRAMES}; return performance.now() - t; }})()"
    browser.evaluate("document.querySelectorAll('#zoom button')[0].click()")
    redraw = browser.evaluate(step) / 1000
    size = path.stat().st_size / 1e6
    print(f"{count:10,} {written:9.1f} {size:8.1f} {painted:10.2f} {wheel / 1000:12.2f} {redraw:14.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--pages", type=int, nargs="*", default=[1_000, 10_000, 50_000, 100_000])
    options = parser.parse_args()
    with Chromium() as browser, tempfile.TemporaryDirectory() as folder:
        compare_libraries(browser, Path(folder), options.bars)
        print(f"\n{'executions':>10} {'written s':>9} {'page MB':>8} {'painted s':>10}", end="")
        print(f" {'wheel turn s':>12} {'full redraw s':>14}")
        for count in options.pages:
            measure_page(browser, Path(folder), count)


if __name__ == "__main__":
    main()

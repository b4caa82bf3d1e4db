"use strict";
// The timeline: Bokeh's frame around the bars, and what the mouse, fingers and keys do in it.
(() => {
  const { timeline: data, numbers, path } = RUN;
  const OTHER = 3; // of the kinds
  const TICK_S = 1e-6; // of times that were read from texts
  const [LEAST_PX, LANE_PX] = [12, 18]; // of a lane with a name in its bars
  const BAND_PX = 17; // room for the name of a band
  const [ROOM_PX, MOST_PX] = [400, 600]; // for all lanes

  const size = EXECUTIONS.count;
  if (size < data.total) {
    $("thinned").hidden = false;
    $("thinned").textContent = `To stay fluid, the timeline shows ${count(size)} of ${count(data.total)} executions: the failed, the running, the critical path, and of the others the longest. The ${count(data.total - size)} shorter ones are left out here, and count everywhere else on the page.`;
  }
  if (!size) {
    $("stage").replaceChildren(element("p", { class: "muted" }, "No execution was recorded."));
    $("timeline-hint").hidden = true;
    document.body.dataset.drawn = "true";
    return;
  }

  // --- lanes ---

  const layouts = { routine: data.by_routine, worker: data.by_worker };
  let at = BARS.layout(layouts.worker || layouts.routine);

  const span = data.span || TICK_S;
  const pad = span * 0.012;
  const whole = { start: -pad, end: span + pad };
  const heightOf = () => {
    const legible = at.rows * LEAST_PX <= MOST_PX ? at.rows * LEAST_PX : 0;
    return Math.round(Math.max(Math.min(at.rows * LANE_PX, Math.max(ROOM_PX, legible, BAND_PX * at.labels.length)), 30));
  };
  const rangeOf = () => ({ start: at.rows + 0.15, end: -0.15 });

  // --- the figure ---

  const pan = new Bokeh.PanTool({ dimensions: "both" });
  const wheel = new Bokeh.WheelZoomTool({ dimensions: "width", modifiers: { ctrl: true } });
  const figure = Bokeh.Plotting.figure({
    height: heightOf() + 34,
    sizing_mode: "stretch_width",
    tools: [pan, wheel],
    toolbar_location: null,
    x_axis_location: "above",
    x_range: new Bokeh.Range1d({ ...whole, bounds: [whole.start, whole.end], min_interval: Math.min(1e-8, span / 10) }),
    y_range: new Bokeh.Range1d({ ...rangeOf(), bounds: [rangeOf().end, rangeOf().start] }),
    outline_line_color: null,
    min_border_right: 14,
  });
  figure.toolbar.active_drag = pan;
  figure.toolbar.active_scroll = wheel;
  const [xAxis, yAxis] = [figure.above[0], figure.left[0]];

  const decades = { mantissas: [1, 2, 5], base: 10 };
  xAxis.ticker = new Bokeh.CompositeTicker({
    desired_num_ticks: 6,
    num_minor_ticks: 0,
    tickers: [
      new Bokeh.AdaptiveTicker({ ...decades, min_interval: 0, max_interval: 0.5 }),
      new Bokeh.AdaptiveTicker({ mantissas: [1, 2, 5, 10, 15, 20, 30], base: 60, min_interval: 1, max_interval: 1800 }),
      new Bokeh.AdaptiveTicker({ mantissas: [1, 2, 4, 6, 8, 12], base: 24, min_interval: 3600, max_interval: 43200 }),
      new Bokeh.AdaptiveTicker({ ...decades, min_interval: 86400 }),
    ],
  });
  xAxis.formatter = formatter((ticks) => {
    if (!data.span) return ticks.map((tick) => (tick ? "" : "0")); // nothing ended: how long a bar is tells nothing
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : span;
    return ticks.map((tick) => moment(Math.abs(tick) < step / 1000 ? 0 : tick, step));
  });
  for (const grid of figure.center) grid.setv(grid.dimension === 0 ? { ticker: xAxis.ticker } : { visible: false });
  for (const axis of [xAxis, yAxis]) axis.major_label_policy = new Bokeh.NoOverlap();
  const tickerOf = () => new Bokeh.FixedTicker({ ticks: at.labels.map(({ middle }) => middle), minor_ticks: [] });
  yAxis.ticker = tickerOf();
  yAxis.formatter = formatter((ticks) => {
    const letters = $("timeline").clientWidth < 600 ? 11 : 26;
    const labels = new Map(at.labels.map(({ middle, name, note }) => [middle, line(name, letters) + (note && `  ${note}`)]));
    return ticks.map((tick) => labels.get(tick) || "");
  });

  // Bokeh's own way to a formatter of one's own makes a function of a text, which the page's policy forbids.
  function formatter(format) {
    const made = new Bokeh.BasicTickFormatter();
    made.doFormat = format;
    return made;
  }

  // One bar of Bokeh's, larger than the frame, in whose place all bars are painted.
  const canvas = figure.hbar({ y: [0], height: [1e9], left: [-1e9 * span], right: [1e9 * span] });
  let repaint = () => {};
  let colors = {};
  canvas.glyph.default_view = class extends canvas.glyph.default_view {
    paint(ctx) {
      repaint = () => this.request_paint();
      const { x_scale, y_scale, bbox } = this.renderer.parent.frame;
      const { start, end } = figure.x_range;
      const [left, perSecond] = [x_scale.compute(start), (x_scale.compute(end) - x_scale.compute(start)) / (end - start)];
      BARS.paint(ctx, at, {
        start, end, colors, top: bbox.top, bottom: bbox.bottom,
        x: (moment) => left + (moment - start) * perSecond,
        y: (row) => y_scale.compute(row),
        height: (rows) => y_scale.compute(rows) - y_scale.compute(0),
      });
    }
  };
  SELECTION.listen((state, { reveal }) => {
    if (reveal) show(state.pinned);
    repaint();
  });

  function setLanes(by) {
    at = BARS.layout(layouts[by]);
    yAxis.ticker = tickerOf();
    figure.height = heightOf() + 34;
    figure.y_range.bounds = null; // else the old ones cut the new range
    figure.y_range.setv(rangeOf());
    figure.y_range.bounds = [rangeOf().end, rangeOf().start];
    repaint();
  }

  // --- dark and light ---

  function paint() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    colors = Object.fromEntries([...BARS.KINDS, "ink", "on-bar", "pinned"].map((name) => [name, color(name)]));
    figure.setv({ background_fill_color: color("panel"), border_fill_color: color("panel") });
    for (const axis of [xAxis, yAxis]) {
      axis.setv({
        axis_line_color: null, major_tick_line_color: axis === xAxis ? color("line") : null, minor_tick_line_color: null,
        major_label_text_color: axis === xAxis ? color("muted") : color("ink"), major_label_text_font_size: "12px",
        major_label_text_font: getComputedStyle(document.body).fontFamily,
      });
    }
    for (const grid of figure.center) grid.grid_line_color = color("line");
    repaint();
  }
  paint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  // --- lanes, legend and zoom ---

  if (data.by_worker) {
    const choices = [["worker", "By worker"], ["routine", "By routine"]].map(([by, words]) =>
      button({ "aria-pressed": String(by === "worker") }, words, (event) => {
        for (const choice of choices) choice.setAttribute("aria-pressed", String(choice === event.currentTarget));
        setLanes(by);
      }));
    put("lanes", ...choices);
  }

  const { total_executions: all, completed, failed, running } = numbers;
  const others = [...new Set(EXECUTIONS.all((i) => data.kind[i] === OTHER).map((i) => line(EXECUTIONS.text("status", i), 20)))];
  const words = ["Completed", "Failed", "Running", others.length > 2 ? "Other statuses" : others.join(", ")];
  [completed, failed, running, all - completed - failed - running].forEach((total, kind) => {
    if (data.kind.includes(kind)) legend(BARS.KINDS[kind], `${words[kind]} ${count(total)}`);
  });
  if (path.steps.length) legend("path", "Critical path");

  function legend(kind, words) {
    put("legend", button({ "aria-pressed": "true" }, [element("span", { class: `swatch ${kind}` }), words], (event) => {
      const isShown = BARS.hidden.delete(kind) || !BARS.hidden.add(kind);
      event.currentTarget.setAttribute("aria-pressed", String(isShown));
      repaint();
    }));
  }

  function setRange(start, end) {
    const least = figure.x_range.min_interval;
    if (end - start < least) [start, end] = [(start + end - least) / 2, (start + end + least) / 2];
    figure.x_range.setv({ start: Math.max(start, whole.start), end: Math.min(end, whole.end) });
  }
  function zoom(factor) {
    const { start, end } = figure.x_range;
    const [middle, half] = [(start + end) / 2, ((end - start) * factor) / 2];
    setRange(middle - half, middle + half);
  }
  function move(part) {
    const { start, end } = figure.x_range;
    const by = Math.max(whole.start - start, Math.min(whole.end - end, part * (end - start)));
    setRange(start + by, end + by);
  }
  function reset() {
    figure.x_range.setv(whole);
    figure.y_range.setv(rangeOf());
  }

  // Brings an execution into view, and so near that it can be seen.
  function show(index) {
    const { start, end } = figure.x_range;
    const [from, to] = [data.start[index], BARS.right[index]];
    const pixels = ((to - from) / (end - start)) * (figure.inner_width || 800);
    if (pixels < 3) setRange(from - 40 * Math.max(to - from, TICK_S / 10), to + 40 * Math.max(to - from, TICK_S / 10));
    else if (from > end || to < start || pixels > 4000) setRange(from - 4 * (to - from), to + 4 * (to - from));
    const y = at.middle[at.lane[index]];
    if (y > figure.y_range.start || y < figure.y_range.end) figure.y_range.setv(rangeOf());
  }

  for (const [label, title, act] of [["+", "Zoom in", () => zoom(0.5)], ["\u2212", "Zoom out", () => zoom(2)], ["Whole run", "Show the whole run", reset]]) {
    put("zoom", button({ title, "aria-label": title }, label, act));
  }
  $("timeline-hint").textContent = matchMedia("(pointer: coarse)").matches
    ? "Drag to move, pinch to zoom, tap an execution for its record."
    : "Drag to move, Ctrl and wheel to zoom, click an execution for its record, Esc to let it go. Keys: arrows, + and \u2212, 0 for the whole run.";

  // --- pointer and keys ---

  const reach = () => (BARS.REACH_PX * (figure.x_range.end - figure.x_range.start)) / (figure.inner_width || 800);
  const under = ({ x, y }) => BARS.under(at, x, y, reach());
  let pointer = [0, 0];
  for (const kind of ["pointermove", "pointerdown"]) {
    $("timeline").addEventListener(kind, (event) => { pointer = [event.clientX, event.clientY]; }, { capture: true });
  }
  figure.on_event("mousemove", (event) => tip(under(event), ...pointer));
  figure.on_event("tap", (event) => {
    tip(null);
    SELECTION.pin(under(event), false);
  });
  $("timeline").addEventListener("pointerleave", () => tip(null));
  figure.on_event("doubletap", reset);

  // The neighbour in the lane, the parent, or the first child of what is pinned.
  function neighbour(key, pinned) {
    const inLane = at.members[at.lane[pinned]];
    if (key === "ArrowUp") return data.parent[pinned] >= 0 ? data.parent[pinned] : pinned;
    if (key === "ArrowDown") return EXECUTIONS.children(pinned)[0] ?? pinned;
    return inLane[inLane.indexOf(pinned) + (key === "ArrowLeft" ? -1 : 1)] ?? pinned;
  }
  $("timeline").addEventListener("keydown", (event) => {
    const { pinned } = SELECTION.state;
    const { key } = event;
    if (key === "+" || key === "=") zoom(0.5);
    else if (key === "-") zoom(2);
    else if (key === "0") reset();
    else if (key.startsWith("Arrow") && pinned !== null) SELECTION.pin(neighbour(key, pinned));
    else if (key === "ArrowLeft" || key === "ArrowRight") move(key === "ArrowLeft" ? -0.2 : 0.2);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (SELECTION.state.pinned !== null) SELECTION.pin(null);
    else SELECTION.clear();
  });

  function tip(index, clientX, clientY) {
    const shown = $("tip");
    shown.hidden = index === null;
    $("timeline").classList.toggle("pointed", index !== null);
    if (index === null) return;
    const facts = [
      ["Status", EXECUTIONS.text("status", index) || "(none)"],
      ["Took", EXECUTIONS.took(index)],
      ["Started at", EXECUTIONS.startText(index)],
      ["Params", EXECUTIONS.text("params", index)],
      ["Error", EXECUTIONS.text("error", index).trim().split("\n").pop()],
    ].filter(([, value]) => value);
    shown.replaceChildren(
      element("span", { class: `swatch ${BARS.KINDS[data.kind[index]]}` }), element("b", {}, EXECUTIONS.name(index)),
      BARS.onPath.has(index) ? element("span", { class: "muted" }, " \u00b7 on the critical path") : "",
      element("dl", {}, ...facts.flatMap(([title, value]) =>
        [element("dt", {}, title), element("dd", title === "Error" ? { class: "bad" } : {}, value)])));
    const [width, height] = [shown.offsetWidth, shown.offsetHeight];
    shown.style.left = `${Math.max(12, Math.min(clientX + 14, innerWidth - width - 12))}px`;
    shown.style.top = `${clientY + 18 + height < innerHeight ? clientY + 18 : Math.max(12, clientY - height - 14)}px`;
  }

  Bokeh.Plotting.show(figure, $("timeline")).then(() => { document.body.dataset.drawn = "true"; });
})();

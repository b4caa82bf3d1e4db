"use strict";
// The timeline: one bar per execution, drawn by Bokeh. What is under the pointer is found here, lane by lane.
(() => {
  const { timeline: data, names, path, numbers } = RUN;
  const KINDS = ["completed", "failed", "running", "other"];
  const WORDS = ["Completed", "Failed", "Running", "Another status"];
  const [FAILED, RUNNING] = [1, 2];
  const BAND_GAP = 0.7; // rows
  const TALLEST = 14; // rows of a band; more lanes are drawn thinner
  const TICK_S = 1e-6; // of the clock in the records
  const REACH_PX = 4; // how far beside a bar the pointer still finds it
  const MANY_STEPS = 300; // of the critical path; of more, the marks would paint everything black
  const FLUENT = 5000; // bars that are redrawn while dragging; of more, Bokeh leaves out some until the pointer rests

  const size = data.start.length;
  const $ = (id) => document.getElementById(id);

  if (path.steps) {
    const waited = path.waited > 0 ? `, ${duration(path.waited)} of it waiting` : "";
    $("path-words").textContent = `The critical path, the chain that decided when the run ended: ${plural(path.steps, "execution", "executions")} in ${duration(path.length)}${waited}.`;
  }
  if (size < data.total) {
    $("thinned").hidden = false;
    $("thinned").textContent = `To stay fluent, the timeline shows ${count(size)} of ${count(data.total)} executions: the failed, the running, the critical path, and of the others the longest. ${count(data.total - size)} shorter ones are left out here. All other parts of the page count them.`;
  }
  if (!size) {
    for (const id of ["timeline", "timeline-hint"]) $(id).hidden = true;
    $("path-words").textContent = "No execution was recorded.";
    document.body.dataset.drawn = "true";
    return;
  }

  // --- where things are ---

  const span = data.span || TICK_S;
  const laneY = new Float64Array(data.lanes); // the middle of each lane, in rows
  const laneHeight = new Float64Array(data.lanes);
  let rows = 0;
  const bands = data.bands.map(({ routine, first, lanes }, index) => {
    const height = Math.min(1, TALLEST / lanes);
    const top = rows + (index ? BAND_GAP : 0) - 0.5;
    for (let i = 0; i < lanes; i++) {
      laneY[first + i] = top + (i + 0.5) * height;
      laneHeight[first + i] = height;
    }
    rows = top + 0.5 + lanes * height;
    const name = routine >= 0 ? names[routine] : plural(data.folded, "other routine", "other routines");
    return { name, middle: top + (lanes * height) / 2 };
  });
  const squeezed = laneHeight.some((height) => height < 0.5);
  const right = data.start.map((start, i) => (data.duration[i] === null ? Math.max(span, start) : start + data.duration[i]));
  const byLane = Array.from(laneY, () => []);
  data.lane.forEach((lane, i) => byLane[lane].push(i));

  // --- the figure ---

  const rowHeight = Math.min(24, Math.max(560, 26 * bands.length) / rows);
  const pad = span * 0.015;
  const whole = { start: -pad, end: span + pad };
  const pan = new Bokeh.PanTool({ dimensions: squeezed ? "both" : "width" });
  const wheel = new Bokeh.WheelZoomTool({ dimensions: "width", modifiers: { ctrl: true } });
  const figure = Bokeh.Plotting.figure({
    height: Math.round(Math.max(rows * rowHeight, 40) + 46),
    sizing_mode: "stretch_width",
    tools: [pan, wheel],
    toolbar_location: null,
    x_range: new Bokeh.Range1d({ ...whole, bounds: [whole.start, whole.end], min_interval: Math.min(1e-8, span / 10) }),
    y_range: new Bokeh.Range1d({ start: rows - 0.3, end: -0.7, bounds: [-0.7, rows - 0.3] }),
    outline_line_color: null,
    min_border_right: 14,
    lod_threshold: FLUENT,
    lod_timeout: 250,
  });
  figure.toolbar.active_drag = pan;
  figure.toolbar.active_scroll = wheel;
  const [xAxis, yAxis] = [figure.below[0], figure.left[0]];

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
  yAxis.ticker = new Bokeh.FixedTicker({ ticks: bands.map(({ middle }) => middle), minor_ticks: [] });
  yAxis.formatter = formatter((ticks) => {
    const letters = $("timeline").clientWidth < 600 ? 11 : 26;
    const labels = new Map(bands.map(({ middle, name }) => [middle, line(name, letters)]));
    return ticks.map((tick) => labels.get(tick) || "");
  });

  // Bokeh's own way to a formatter of one's own makes a function of a text, which the page's policy forbids.
  function formatter(format) {
    const made = new Bokeh.BasicTickFormatter();
    made.doFormat = format;
    return made;
  }

  const renderers = KINDS.map((_, kind) => {
    const indices = [...data.kind.keys()].filter((i) => data.kind[i] === kind);
    return indices.length ? bars(indices, kind === RUNNING ? { hatch_pattern: "/", hatch_scale: 6, hatch_weight: 1.5 } : {}) : null;
  });
  const onPath = [...data.path.keys()].filter((i) => data.path[i] !== null).sort((a, b) => data.start[a] - data.start[b]);
  const [from, to] = [onPath.slice(0, -1), onPath.slice(1)];
  const thin = onPath.length > MANY_STEPS;
  const marks = onPath.length ? [
    bars(onPath, { fill_color: null, line_width: thin ? 1 : 2 }),
    figure.segment({
      x0: to.map((i) => data.path[i]), // when that came for which it waited
      y0: from.map((i) => laneY[data.lane[i]]),
      x1: to.map((i) => data.start[i]),
      y1: to.map((i) => laneY[data.lane[i]]),
      line_width: thin ? 0.3 : 1.5,
    }),
  ] : [];

  function bars(indices, look) {
    const source = new Bokeh.ColumnDataSource({ data: {
      left: Float64Array.from(indices, (i) => data.start[i]),
      right: Float64Array.from(indices, (i) => right[i]),
      y: Float64Array.from(indices, (i) => laneY[data.lane[i]]),
      height: Float64Array.from(indices, (i) => 0.8 * laneHeight[data.lane[i]]),
    } });
    const fields = Object.fromEntries(["y", "height", "left", "right"].map((field) => [field, { field }]));
    const renderer = figure.hbar({ ...fields, source, ...look });
    renderer.glyph.default_view = inside(renderer.glyph.default_view);
    return renderer;
  }

  // By itself Bokeh paints all bars, those outside of the window on its edges.
  function inside(View) {
    return class extends View {
      _mask_data() {
        const { x_source: x, y_source: y } = this.renderer.coordinates;
        return this.index.indices({ x0: x.min, x1: x.max, y0: y.min, y1: y.max });
      }
    };
  }

  // --- dark and light ---

  function paint() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    figure.setv({ background_fill_color: color("panel"), border_fill_color: color("panel") });
    for (const axis of [xAxis, yAxis]) {
      axis.setv({
        axis_line_color: null, major_tick_line_color: axis === xAxis ? color("line") : null, minor_tick_line_color: null,
        major_label_text_color: axis === xAxis ? color("muted") : color("ink"), major_label_text_font_size: "12px",
        major_label_text_font: getComputedStyle(document.body).fontFamily,
      });
    }
    for (const grid of figure.center) grid.grid_line_color = color("line");
    renderers.forEach((renderer, kind) => {
      if (!renderer) return;
      const own = color(KINDS[kind]);
      // The outline shows what is thinner than a pixel, and where one bar ends and the next one starts.
      renderer.glyph.setv({ fill_color: own, fill_alpha: kind === RUNNING ? 0.15 : 0.72, line_color: own, line_width: 1 });
      if (kind === RUNNING) renderer.glyph.setv({ hatch_color: own });
    });
    for (const mark of marks) mark.glyph.setv({ line_color: color("ink") });
  }
  paint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  // --- legend and zoom ---

  const totals = [numbers.completed, numbers.failed, numbers.running];
  renderers.forEach((renderer, kind) => {
    if (renderer) legend(KINDS[kind], `${WORDS[kind]} ${totals[kind] === undefined ? "" : count(totals[kind])}`, [renderer]);
  });
  if (marks.length) legend("path", "Critical path", marks);

  function legend(kind, words, shown) {
    const button = element("button", { type: "button", "aria-pressed": "true" }, element("span", { class: `swatch ${kind}` }), words);
    button.addEventListener("click", () => {
      const visible = !shown[0].visible;
      for (const renderer of shown) renderer.visible = visible;
      button.setAttribute("aria-pressed", String(visible));
    });
    put("legend", button);
  }

  function zoom(factor) {
    const { start, end } = figure.x_range;
    const [middle, half] = [(start + end) / 2, Math.max((end - start) * factor, figure.x_range.min_interval) / 2];
    figure.x_range.setv({ start: Math.max(middle - half, whole.start), end: Math.min(middle + half, whole.end) });
  }
  function reset() {
    figure.x_range.setv(whole);
    figure.y_range.setv({ start: rows - 0.3, end: -0.7 });
  }
  for (const [label, title, act] of [["+", "Zoom in", () => zoom(0.5)], ["\u2212", "Zoom out", () => zoom(2)], ["Whole run", "Show the whole run", reset]]) {
    const button = element("button", { type: "button", title, "aria-label": title }, label);
    button.addEventListener("click", act);
    put("zoom", button);
  }
  const coarse = matchMedia("(pointer: coarse)").matches;
  $("timeline-hint").textContent = coarse
    ? "Drag to move, pinch to zoom, tap an execution for its record."
    : `Drag to move, Ctrl and wheel to zoom, point at an execution for its record.${squeezed ? " The wheel over the names zooms the lanes." : ""}`;

  // --- the record under the pointer ---

  function under(x, y) {
    const reach = (REACH_PX * (figure.x_range.end - figure.x_range.start)) / (figure.inner_width || 800);
    let lane = 0;
    laneY.forEach((middle, i) => { if (Math.abs(middle - y) < Math.abs(laneY[lane] - y)) lane = i; });
    if (Math.abs(laneY[lane] - y) > laneHeight[lane] / 2) return null;
    const inLane = byLane[lane];
    let [low, high] = [0, inLane.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.start[inLane[middle]] <= x + reach) low = middle + 1;
      else high = middle;
    }
    const away = (i) => Math.max(data.start[i] - x, x - right[i], 0);
    return inLane.slice(Math.max(low - 50, 0), low)
      .filter((i) => away(i) <= reach && renderers[data.kind[i]].visible)
      .sort((a, b) => away(a) - away(b))[0] ?? null;
  }

  function show(index, clientX, clientY) {
    const tip = $("tip");
    tip.hidden = index === null;
    if (index === null) return;
    const kind = data.kind[index];
    const running = data.duration[index] === null;
    const facts = [
      ["Status", data.status[index] || "(none)"],
      ["Took", running ? "still running at the end of the run" : duration(data.duration[index])],
      ["Started at", moment(data.start[index], Math.max(TICK_S, data.start[index] * 1e-6))],
      ["Params", data.params[index]], ["Result", data.result[index]], ["Error", data.error[index]],
    ].filter(([, value]) => value);
    tip.replaceChildren(
      element("span", { class: `swatch ${KINDS[kind]}` }), element("b", {}, line(names[data.routine[index]], 200)),
      data.path[index] !== null ? element("span", { class: "muted" }, " \u00b7 on the critical path") : "",
      element("dl", {}, ...facts.flatMap(([title, value]) =>
        [element("dt", {}, title), element("dd", title === "Error" && kind === FAILED ? { class: "bad" } : {}, value)])));
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    tip.style.left = `${Math.max(12, Math.min(clientX + 14, innerWidth - width - 12))}px`;
    tip.style.top = `${clientY + 18 + height < innerHeight ? clientY + 18 : Math.max(12, clientY - height - 14)}px`;
  }

  let pointer = [0, 0];
  for (const kind of ["pointermove", "pointerdown"]) {
    $("timeline").addEventListener(kind, (event) => { pointer = [event.clientX, event.clientY]; }, { capture: true });
  }
  for (const kind of ["mousemove", "tap"]) figure.on_event(kind, ({ x, y }) => show(under(x, y), ...pointer));
  $("timeline").addEventListener("pointerleave", () => show(null));
  figure.on_event("doubletap", reset);

  Bokeh.Plotting.show(figure, $("timeline")).then(() => { document.body.dataset.drawn = "true"; });
})();

"use strict";
// The bars of the timeline. Bokeh draws the frame and the axes and turns moments into pixels; its own bars grow the
// paler the denser they lie, so what is inside of the frame is painted here, lane by lane.

const BARS = (() => {
  const { timeline: data } = RUN;
  const KINDS = ["completed", "failed", "running", "other"];
  const [FAILED, RUNNING] = [1, 2];
  const RANK = [0, 3, 2, 1]; // of the kinds
  const BAND_GAP = 0.6; // lanes
  const MANY_STEPS = 300; // of the critical path; of more, the marks would paint everything black
  const FAINT = 0.18; // what is beside the executions that were looked for
  const LEAST = 0.5; // of a pixel that is hardly covered
  const LETTER_PX = 6.3;
  const NAMED_PX = 16;
  const FEWEST_LETTERS = 7; // of a name that is cut
  const FONT = "11px system-ui, sans-serif";
  const REACH_PX = 4; // how far beside a bar the pointer still finds it

  const start = Float64Array.from(data.start);
  const right = start.map((_, i) => EXECUTIONS.end(i));
  const kinds = Uint8Array.from(data.kind);
  const steps = RUN.path.steps;
  const onPath = new Set(steps.map(([i]) => i));
  const hidden = new Set(); // kinds, and "path"

  // Where the lanes of a layout are, in lanes from the top; bands with very many lanes are squeezed.
  function layout({ lane, lanes, bands }) {
    const tallest = Math.max(14, Math.floor(48 / bands.length));
    const middle = new Float64Array(lanes);
    const height = new Float64Array(lanes);
    const labels = [];
    let rows = 0;
    bands.forEach(([name, note, first, ofBand], index) => {
      const each = Math.min(1, tallest / ofBand);
      const top = rows + (index ? BAND_GAP : 0);
      for (let i = 0; i < ofBand; i++) {
        middle[first + i] = top + (i + 0.5) * each;
        height[first + i] = each;
      }
      rows = top + ofBand * each;
      labels.push({ middle: top + each / 2, name, note }); // beside the first lane
    });
    const members = Array.from(middle, () => []);
    lane.forEach((number, i) => members[number].push(i));
    return { lane, middle, height, rows, labels, members };
  }

  // Of the executions in a lane, which are in the order of their starts, the first that ends after a moment.
  function firstAfter(members, moment) {
    let [low, high] = [0, members.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (right[members[middle]] < moment) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function paint(ctx, at, view) {
    ctx.save();
    ctx.font = FONT;
    ctx.textBaseline = "middle";
    // Where the pixels of the screen begin: what lies across two of them is painted twice, and paler.
    const { a: scale, e: shiftX, f: shiftY } = ctx.getTransform();
    const snap = (place, shift) => (Math.floor(place * scale + shift) - shift) / scale;
    const pixels = { size: 1 / scale, column: (x) => snap(x, shiftX) };
    const paints = painter();
    at.members.forEach((inLane, lane) => {
      const top = snap(view.y(at.middle[lane] - 0.46 * at.height[lane]), shiftY);
      const height = Math.max(snap(view.y(at.middle[lane] + 0.46 * at.height[lane]), shiftY) - top, pixels.size);
      if (top + height >= view.top && top <= view.bottom) paintLane(paints, view, inLane, { top, height, pixels });
    });
    paints.all(ctx, view.colors);
    if (!hidden.has("path")) paintPath(ctx, at, view);
    paintPinned(ctx, at, view);
    ctx.restore();
  }

  // Collects what is to be painted, for a canvas is quick as long as its colour stays.
  function painter() {
    const boxes = new Map(); // by kind and strength in sixteenths, four numbers for each
    const thin = []; // painted last
    const wide = [];
    function box(kind, alpha, ...place) {
      const key = kind * 17 + Math.round(16 * alpha);
      let found = boxes.get(key);
      if (!found) boxes.set(key, (found = []));
      found.push(...place);
    }
    function all(ctx, colors) {
      for (const [key, places] of boxes) {
        ctx.fillStyle = colors[KINDS[Math.floor(key / 17)]];
        ctx.globalAlpha = (key % 17) / 16;
        for (let i = 0; i < places.length; i += 4) ctx.fillRect(places[i], places[i + 1], places[i + 2], places[i + 3]);
      }
      for (const [i, from, width, top, height] of wide) inside(ctx, colors, i, from, width, top, height);
      // What failed, and what was looked for, is found though it is thin.
      for (const [i, from, top, height] of thin) {
        ctx.globalAlpha = strength(i);
        ctx.fillStyle = colors[KINDS[kinds[i]]];
        ctx.fillRect(from - 1, top, 3, height);
      }
      ctx.globalAlpha = 1;
    }
    return { box, thin, wide, all };
  }

  const isFound = (i) => !SELECTION.state.members || SELECTION.state.members.has(i);
  const strength = (i) => (isFound(i) ? 1 : FAINT);

  // Bars thinner than a pixel add up to columns of one pixel, the stronger the more of it they cover.
  function paintLane(paints, view, inLane, { top, height, pixels }) {
    const isShown = KINDS.map((kind) => !hidden.has(kind));
    let column = null;
    const flush = () => {
      if (!column) return;
      const alpha = strength(column.shown) * Math.max(LEAST, Math.min(1, column.covered / pixels.size));
      paints.box(kinds[column.shown], alpha, column.left, top, pixels.size, height);
      column = null;
    };
    for (let place = firstAfter(inLane, view.start); place < inLane.length; place++) {
      const i = inLane[place];
      if (start[i] > view.end) break;
      if (!isShown[kinds[i]]) continue;
      const [from, to] = [view.x(Math.max(start[i], view.start)), view.x(Math.min(right[i], view.end))];
      if (to - from >= pixels.size) {
        flush();
        const width = to - from > 4 ? to - from - 1 : to - from; // a gap to the next bar
        paints.box(kinds[i], strength(i) * (kinds[i] === RUNNING ? 0.25 : 1), from, top, width, height);
        if (width > NAMED_PX || kinds[i] === RUNNING) paints.wide.push([i, from, width, top, height]);
      } else {
        const left = pixels.column(from);
        if (column && column.left !== left) flush();
        column ??= { left, covered: 0, shown: i };
        column.covered += to - from;
        if (rank(i) > rank(column.shown)) column.shown = i;
      }
      if (to - from < 3 && (kinds[i] === FAILED || (SELECTION.state.members && isFound(i)))) paints.thin.push([i, from, top, height]);
    }
    flush();
  }

  // Of the bars in one pixel, which one gives it its colour.
  const rank = (i) => (isFound(i) ? KINDS.length : 0) + RANK[kinds[i]];

  // The name in a bar, if there is room, and the dashes around one that runs.
  function inside(ctx, colors, i, from, width, top, height) {
    ctx.globalAlpha = strength(i);
    if (kinds[i] === RUNNING) {
      ctx.strokeStyle = colors.running;
      ctx.lineWidth = 1.5;
      ctx.setLineDash([5, 3]);
      ctx.strokeRect(from + 0.75, top + 0.75, Math.max(width - 1.5, 0.5), height - 1.5);
      ctx.setLineDash([]);
    }
    const letters = Math.floor((width - 8) / LETTER_PX);
    const name = EXECUTIONS.name(i);
    if (height < 10 || letters < (name.length > letters ? FEWEST_LETTERS : 1)) return;
    ctx.fillStyle = kinds[i] === RUNNING ? colors.ink : colors["on-bar"];
    ctx.fillText(name.length > letters ? `${name.slice(0, letters - 1)}\u2026` : name, from + 4, top + height / 2 + 0.5, width - 8);
  }

  const box = (at, view, i) => {
    const lane = at.lane[i];
    const [from, to] = [view.x(start[i]), view.x(right[i])];
    const height = view.height(0.92 * at.height[lane]);
    return { from, to, width: Math.max(to - from, 2), top: view.y(at.middle[lane]) - height / 2, height, y: view.y(at.middle[lane]) };
  };

  function paintPath(ctx, at, view) {
    const thin = steps.length > MANY_STEPS;
    ctx.strokeStyle = view.colors.ink;
    steps.forEach(([i, , isInferred, since], index) => {
      if (start[i] > view.end && since > view.end) return;
      const { from, to, width, top, height, y } = box(at, view, i);
      if (to >= view.x(view.start) && start[i] <= view.end) {
        ctx.lineWidth = thin ? 1 : 2;
        if (width < (thin ? 24 : 3)) {
          ctx.fillStyle = view.colors.ink;
          ctx.fillRect(from, top + height - 2, width, 2);
        } else ctx.strokeRect(from + 1, top + 1, width - 2, height - 2);
      }
      if (!index) return;
      ctx.lineWidth = thin ? 0.4 : 1.25;
      ctx.setLineDash(isInferred ? [4, 3] : []);
      const before = box(at, view, steps[index - 1][0]);
      ctx.beginPath();
      ctx.moveTo(view.x(since), before.y);
      ctx.lineTo(from, y);
      ctx.stroke();
      ctx.setLineDash([]);
    });
  }

  // The pinned execution, and where it came from and led to.
  function paintPinned(ctx, at, view) {
    const { pinned } = SELECTION.state;
    if (pinned === null) return;
    const { from, width, top, height, y } = box(at, view, pinned);
    ctx.strokeStyle = view.colors.pinned;
    ctx.lineWidth = 1.5;
    const way = (x0, y0, x1, y1, isInferred) => {
      ctx.setLineDash(isInferred ? [4, 3] : []);
      ctx.beginPath();
      ctx.moveTo(x0, y0);
      ctx.bezierCurveTo(x0 + 14, y0, x1 - 14, y1, x1, y1);
      ctx.stroke();
    };
    for (const link of EXECUTIONS.causes(pinned)) {
      const source = data.causes.from[link];
      if (source >= 0) way(Math.min(view.x(right[source]), from), box(at, view, source).y, from, y, data.causes.inferred[link]);
    }
    for (const link of EXECUTIONS.caused(pinned)) {
      const to = box(at, view, data.causes.to[link]);
      way(Math.min(from + width, to.from), y, to.from, to.y, data.causes.inferred[link]);
    }
    ctx.setLineDash([]);
    ctx.lineWidth = 2.5;
    ctx.strokeRect(from - 3, top - 2.5, width + 5, height + 5);
  }

  // The execution at a place of the layout, or near it; a failed one before others.
  function under(at, x, y, reach) {
    const lane = at.middle.findIndex((middle, i) => Math.abs(middle - y) <= at.height[i] / 2);
    if (lane < 0) return null;
    const inLane = at.members[lane];
    const away = (i) => Math.max(start[i] - x, x - right[i], 0);
    const near = [];
    for (let place = firstAfter(inLane, x - reach); place < inLane.length && start[inLane[place]] <= x + reach; place++) {
      if (!hidden.has(KINDS[kinds[inLane[place]]])) near.push(inLane[place]);
    }
    const { members } = SELECTION.state;
    const matters = (i) => (members && members.has(i) ? 2 : 0) + (kinds[i] === FAILED ? 1 : 0);
    const inside = near.filter((i) => away(i) === 0 && right[i] - start[i] > reach);
    return (inside.length ? inside : near.sort((a, b) => matters(b) - matters(a) || away(a) - away(b)))[0] ?? null;
  }

  return { KINDS, REACH_PX, layout, paint, under, hidden, onPath, right };
})();

"use strict";
// The executions by their numbers, and which of them the reader looks at: one pinned, and a list to step through.

const EXECUTIONS = (() => {
  const { timeline: data, names, texts } = RUN;
  const children = new Map();
  data.parent.forEach((parent, i) => parent >= 0 && add(children, parent, i));
  const causes = new Map();
  const caused = new Map();
  data.causes.to.forEach((to, link) => {
    add(causes, to, link);
    if (data.causes.from[link] >= 0) add(caused, data.causes.from[link], link);
  });
  const nested = new Map(data.nested);
  const tick = 10 ** Math.floor(Math.log10((data.span || 1) / 5000)); // moments are told as exactly as the run is long

  function add(map, key, value) {
    const values = map.get(key);
    if (values) values.push(value);
    else map.set(key, [value]);
  }

  return {
    count: data.start.length,
    name: (i) => line(names[data.routine[i]], 200),
    text: (column, i) => texts[data[column][i]],
    end: (i) => (data.duration[i] === null ? Math.max(data.span || 1e-6, data.start[i]) : data.start[i] + data.duration[i]),
    startText: (i) => moment(data.start[i], tick),
    took: (i) => (data.duration[i] === null ? "still running at the end of the run" : duration(data.duration[i])),
    self: (i) => (nested.has(i) && data.duration[i] !== null ? Math.max(data.duration[i] - nested.get(i), 0) : null),
    children: (i) => children.get(i) || [],
    causes: (i) => causes.get(i) || [],
    caused: (i) => caused.get(i) || [],
    all: (test) => [...data.start.keys()].filter(test),
  };
})();

const SELECTION = (() => {
  const nothing = { title: "", list: [], captions: [], at: -1 };
  const state = { pinned: null, members: null, ...nothing };
  const listeners = [];
  const tell = (change) => { for (const listener of listeners) listener(state, change); };

  function pin(index, reveal = true) {
    state.pinned = index;
    if (state.list[state.at] !== index) state.at = state.list.indexOf(index);
    tell({ reveal: reveal && index !== null });
  }

  // Executions to step through; the first one, or the one at a place, is pinned. A title of "" is no list.
  function show(title, list, { captions = [], at = 0, pinned = true } = {}) {
    Object.assign(state, { title, list, captions, at: pinned && list.length ? at : -1, members: title ? new Set(list) : null });
    if (pinned && list.length) state.pinned = list[at];
    tell({ reveal: pinned && list.length > 0 });
  }

  // Without a place yet, the first step forward leads to the first execution, the first one back to the last.
  function step(by) {
    const { list, at } = state;
    if (!list.length) return;
    state.at = at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length;
    state.pinned = list[state.at];
    tell({ reveal: true });
  }

  // From a table or a figure below, the reader is taken to the timeline.
  function lead(title, list) {
    show(title, list);
    $("timeline-section").scrollIntoView({ block: "start" });
  }

  return { state, pin, show, step, lead, clear: () => show("", [], { pinned: false }), listen: (listener) => listeners.push(listener) };
})();

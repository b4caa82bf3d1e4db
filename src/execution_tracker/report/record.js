"use strict";
// The record of the pinned execution, with links to those that it hangs together with.
(() => {
  const { timeline: data, path } = RUN;
  const FIRST = 6; // links of a kind before "Show all"
  const stepOf = new Map(path.steps.map(([i], place) => [i, place]));
  let shown = null;

  const link = (i, words) => button({ class: "link" }, words || `${EXECUTIONS.name(i)}, ${EXECUTIONS.took(i)}`, () => SELECTION.pin(i));

  function links(all, make) {
    const list = element("ul", {}, ...all.slice(0, FIRST).map((each) => element("li", {}, make(each))));
    if (all.length > FIRST) {
      const more = button({ class: "link" }, `Show all ${count(all.length)}`, () => {
        more.remove();
        list.append(...all.slice(FIRST).map((each) => element("li", {}, make(each))));
      });
      return element("div", {}, list, more);
    }
    return list;
  }

  const LEFT_OUT = "an execution that is not drawn";
  function parent(i) {
    if (data.parent[i] < 0) return data.parent[i] === -2 ? LEFT_OUT : "";
    return link(data.parent[i]);
  }
  // "emitted by" an execution, which may be unknown or not drawn.
  function event(other) {
    return (number) => {
      const i = data.causes[other][number];
      const words = [`${line(RUN.texts[data.causes.event[number]], 60)} `, other === "from" ? "of " : "\u2192 "];
      const end = i >= 0 ? link(i) : i === -2 ? LEFT_OUT : "an unknown execution";
      return element("span", {}, ...words, end, ...(data.causes.inferred[number] ? [" ", element("span", { class: "inferred" }, "inferred")] : []));
    };
  }
  function step(i) {
    const place = stepOf.get(i);
    const words = path.steps[place][1];
    const waited = path.steps[place][5];
    return element("span", {}, button({ class: "link" }, `step ${count(place + 1)} of ${count(path.count)}`, () => stepThrough(place)),
      words ? ` \u00b7 ${words}` : "", waited ? ` \u00b7 waited ${duration(waited)}` : "");
  }

  function record(i) {
    const [causes, caused, children] = [EXECUTIONS.causes(i), EXECUTIONS.caused(i), EXECUTIONS.children(i)];
    const self = EXECUTIONS.self(i);
    const [worker, busy] = data.workers[data.worker[i]] || ["", ""];
    const text = (column) => EXECUTIONS.text(column, i);
    const long = (column) => text(column) && element("pre", column === "error" ? { class: "bad" } : {}, text(column));
    return [
      ["Status", element("span", {}, element("span", { class: `swatch ${BARS.KINDS[data.kind[i]]}` }), text("status") || "(none)")],
      ["Took", EXECUTIONS.took(i)],
      ["Self time", self === null ? "" : duration(self)],
      ["Started at", EXECUTIONS.startText(i)],
      ["Worker", worker && `${line(worker, 200)}, busy ${busy} of the run`],
      ["Critical path", stepOf.has(i) ? step(i) : ""],
      ["Error", long("error")],
      ["Params", long("params")],
      ["Result", long("result")],
      ["Parent", parent(i)],
      ["Caused by", causes.length ? links(causes, event("from")) : ""],
      ["Children", children.length ? links(children, link) : ""],
      ["Led to", caused.length ? links(caused, event("to")) : ""],
      ["Id", String(data.id[i])],
    ].filter(([, value]) => value);
  }

  SELECTION.listen(({ pinned }) => {
    if (pinned === shown) return;
    shown = pinned;
    $("record").hidden = pinned === null;
    $("stage").classList.toggle("pinned", pinned !== null);
    if (pinned === null) return;
    const close = button({ class: "close", title: "Let it go (Esc)", "aria-label": "Let the execution go" }, "\u00d7", () => SELECTION.pin(null));
    $("record").replaceChildren(
      element("div", { class: "title" }, element("h3", {}, EXECUTIONS.name(pinned)), close),
      element("dl", {}, ...record(pinned).flatMap(([title, value]) => {
        const look = { class: value.tagName === "PRE" ? "long" : null };
        return [element("dt", look, title), element("dd", look, value)];
      })));
    $("record").scrollTop = 0;
  });
})();

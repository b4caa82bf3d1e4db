"use strict";
// Search, the steps of the critical path, and the way through whatever list of executions is looked at.

function stepThrough(at) {
  const { steps } = RUN.path;
  const captions = steps.map(([, words, , , own, waited], place) => [
    place ? words : "the first", waited ? `waited ${duration(waited)}` : "", own ? `took ${duration(own)} of the path` : "",
  ].filter(Boolean).join(" \u00b7 "));
  SELECTION.show("Critical path", steps.map(([i]) => i), { captions, at });
}

(() => {
  if (!EXECUTIONS.count) return;
  const PATIENCE_MS = 120;
  const input = element("input", { type: "search", placeholder: "Search routine, status, params", "aria-label": "Search executions by routine, status and params" });
  const title = element("span", { class: "muted" });
  const place = element("span", { class: "place", role: "status" });
  const arrows = [["\u2039", "Previous", -1], ["\u203a", "Next", 1]].map(([words, label, by]) =>
    button({ title: label, "aria-label": label }, words, () => SELECTION.step(by)));
  const clear = button({ title: "Show all executions alike", "aria-label": "Clear" }, "\u00d7", () => SELECTION.clear());
  const way = element("span", { class: "way" }, title, arrows[0], place, arrows[1], clear);
  put("finder", input, way);

  let wait = 0;
  input.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(search, PATIENCE_MS);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    if (wait) {
      clearTimeout(wait);
      search();
    }
    SELECTION.step(event.shiftKey ? -1 : 1);
    event.preventDefault();
  });

  // Every word has to be in the routine, the status or the params; what they say is compared once per different text.
  function search() {
    wait = 0;
    const words = input.value.toLowerCase().split(/\s+/u).filter(Boolean).slice(0, 30);
    if (!words.length) return SELECTION.clear();
    const { timeline: data, names, texts } = RUN;
    const masks = (all) => {
      const found = new Map();
      return (number) => {
        if (!found.has(number)) {
          const text = all[number].toLowerCase();
          found.set(number, words.reduce((mask, word, bit) => mask | (text.includes(word) ? 1 << bit : 0), 0));
        }
        return found.get(number);
      };
    };
    const [inName, inText] = [masks(names), masks(texts)];
    const every = 2 ** words.length - 1;
    SELECTION.show("Found", EXECUTIONS.all((i) =>
      (inName(data.routine[i]) | inText(data.status[i]) | inText(data.params[i])) === every), { pinned: false });
  }

  SELECTION.listen((state) => {
    way.hidden = !state.title;
    if (state.title !== "Found") input.value = "";
    title.textContent = state.title;
    const caption = state.at >= 0 && state.captions[state.at];
    const all = count(state.list.length);
    place.textContent = !state.list.length ? "nothing" : (state.at < 0 ? all : `${count(state.at + 1)} of ${all}`) + (caption ? `: ${caption}` : "");
    for (const arrow of arrows) arrow.disabled = !state.list.length;
  });
  way.hidden = true;
})();

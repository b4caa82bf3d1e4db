"use strict";
// The page around the timeline: numbers and tables, each of which leads into it.
(() => {
  const { numbers, names, failures, path, flow_graph: flow, timeline: data } = RUN;
  const FIRST_ROWS = 8;
  const FIRST_FAILURES = 3;
  const FIRST_FIGURES = innerWidth < 640 ? 4 : 8;

  // Columns: [title, kind, value to sort by, cell]. A click on a title sorts, one more turns the order round.
  function table(id, columns, rows, sortedBy, open) {
    let [by, descending, all] = [sortedBy, true, false];
    const head = element("tr");
    const body = element("tbody");
    const titles = columns.map(([title, kind], index) => {
      const sort = button({}, title, () => {
        descending = by === index ? !descending : kind === "number";
        by = index;
        fill();
      });
      head.append(element("th", { class: kind, scope: "col" }, sort));
      return head.lastChild;
    });
    const more = button({ class: "more" }, "", () => { all = true; fill(); });

    function fill() {
      const value = columns[by][2];
      const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      const ordered = rows.slice().sort((a, b) => (descending ? compare(value(b), value(a)) : compare(value(a), value(b))));
      const shown = all ? ordered : ordered.slice(0, FIRST_ROWS);
      body.replaceChildren(...shown.map((row) => leading(element("tr", {},
        ...columns.map(([, kind, sortValue, cell]) => element("td", { class: kind }, cell ? cell(row) : count(sortValue(row))))), open && (() => open(row)))));
      titles.forEach((title, index) => {
        if (index === by) title.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else title.removeAttribute("aria-sort");
      });
      more.hidden = shown.length === rows.length;
      more.textContent = `Show all ${count(rows.length)}`;
    }

    put(id, element("table", {}, element("thead", {}, head), body), more);
    fill();
  }

  // A row that leads somewhere: a click anywhere in it does, and for the keyboard the name in it is a button.
  function leading(row, act) {
    if (!act) return row;
    row.classList.add("leads");
    row.addEventListener("click", (event) => {
      if (!event.target.closest("button")) act();
    });
    const cell = row.querySelector("td.name, td.message");
    const link = button({ class: "link", title: "Show in the timeline" }, [...cell.childNodes], act);
    cell.append(link);
    return row;
  }

  // A routine of which nothing ended has no times.
  const time = (title, index) => [title, "number", (row) => row[index], (row) => (row[6] ? duration(row[index]) : UNKNOWN)];
  const name = (text) => line(text, 200);
  const nameOf = (index) => name(names[index]);
  const muted = (words) => element("p", { class: "muted" }, words);
  const lead = (title, test) => SELECTION.lead(title, EXECUTIONS.all(test));

  function headline() {
    put("flow", line(RUN.flow, 200));
    put("started", RUN.subtitle);
    for (const [title, value] of RUN.headline) {
      const kind = { Failed: numbers.failed && "failed", Running: numbers.running && "running" }[title];
      const shown = kind === "failed" ? element("a", { href: "#failure-section" }, value) : value;
      put("cards", element("div", { class: kind || null }, element("dt", {}, title), element("dd", {}, shown)));
    }
    for (const sentence of RUN.missing) put("missing", element("p", { class: "notice" }, sentence));
  }

  function failed() {
    if (!numbers.failed) {
      $("failure-section").classList.add("quiet");
      return void put("failures", muted("Nothing failed."));
    }
    if (failures.undescribed) put("failures", muted(failures.undescribed));
    if (!failures.rows.length) return;
    const body = element("tbody");
    const fill = (rows) => body.replaceChildren(...rows.map(([times, kind, message, routines, routineCount, first, members]) => {
      const where = routines.map(([routine, part]) => name(routine) + (routineCount > 1 ? ` (${count(part)})` : ""));
      if (routineCount > routines.length) where.push(`${count(routineCount - routines.length)} more`);
      return leading(element("tr", {},
        element("td", { class: "number bad" }, `${count(times)} \u00d7`),
        element("td", { class: "message" }, element("span", { class: "kind" }, kind && `${kind}: `), element("span", {}, message)),
        element("td", { class: "where muted" }, where.join(", ")),
      ), members.length ? () => SELECTION.lead(kind || "Failed", members.includes(first) ? [first, ...members.filter((i) => i !== first)] : members) : null);
    }));
    fill(failures.rows.slice(0, FIRST_FAILURES));
    put("failures", element("table", { class: "failures", "aria-label": "Failures, alike ones together" }, body));
    if (failures.different <= FIRST_FAILURES) return;
    put("failures", button({ class: "more" }, `Show all ${count(failures.rows.length)}`, (event) => {
      event.currentTarget.remove();
      fill(failures.rows);
      if (failures.different > failures.rows.length) {
        put("failures", muted(`The ${count(failures.rows.length)} most frequent of ${count(failures.different)} different failures.`));
      }
    }));
  }

  function why() {
    if (!path.sentence) return void ($("path-section").hidden = true);
    put("path", path.sentence, " ", element("span", { class: "muted" }, RUN.concurrency), " ");
    if (path.steps.length) put("path", button({ id: "step-through" }, "Step through it", () => stepThrough(0)));
  }

  function slowest() {
    if (!RUN.slowest.length) return void put("slowest", muted("Nothing has ended."));
    table("slowest", [
      ["Routine", "name", EXECUTIONS.name, EXECUTIONS.name],
      ["Took", "number", (i) => data.duration[i], EXECUTIONS.took],
      ["Params", "params", (i) => EXECUTIONS.text("params", i), (i) => line(EXECUTIONS.text("params", i) || UNKNOWN, 160)],
      ["Status", "status", (i) => EXECUTIONS.text("status", i), (i) => element("span", data.kind[i] === 1 ? { class: "bad" } : {}, line(EXECUTIONS.text("status", i), 30))],
      ["Started at", "number", (i) => data.start[i], EXECUTIONS.startText],
    ], RUN.slowest, 1, (i) => SELECTION.lead("Slowest", [i, ...RUN.slowest.filter((other) => other !== i)]));
  }

  function routines() {
    if (!RUN.routines.length) return void put("routines", muted("No routine ran."));
    const total = numbers.self_execution_time;
    const share = (row) => {
      const part = total ? Math.min(Math.max(row[7] / total, 0), 1) : 0;
      const bar = element("i");
      bar.style.width = `${100 * part}%`;
      return element("span", {}, percentage(part), element("span", { class: "share" }, bar));
    };
    table("routines", [
      ["Routine", "name", (row) => names[row[0]], (row) => nameOf(row[0])],
      ["Executions", "number", (row) => row[1]],
      ["Failed", "number", (row) => row[2], (row) => row[2] ? element("span", { class: "bad" }, count(row[2])) : UNKNOWN],
      time("Median", 3), time("p95", 4), time("Longest", 5), time("Total", 6), time("Self time", 7),
      ["Share", "number", (row) => row[7], share],
      ["On critical path", "number", (row) => row[8], (row) => row[8] ? duration(row[8]) : UNKNOWN],
    ], RUN.routines, 7, (row) => lead(nameOf(row[0]), (i) => data.routine[i] === row[0]));
  }

  function edges() {
    if (!flow.edges.length) return void put("edges", muted("No events were recorded."));
    if (RUN.inferred) put("flow-words", muted(RUN.inferred));
    if (flow.edge_count > flow.edges.length) {
      put("edges", muted(`The ${count(flow.edges.length)} of ${count(flow.edge_count)} edges with the longest waits.`));
    }
    const known = (value, write) => (value === null ? UNKNOWN : write(value));
    table("edges", [
      ["From", "name", (row) => row[0], (row) => name(row[0])],
      ["Event", "name", (row) => row[1], (row) => name(row[1])],
      ["To", "name", (row) => row[2] ?? "", (row) => known(row[2], name)],
      ["Events", "number", (row) => row[3]],
      ["Rate", "number", (row) => row[4], (row) => rate(row[4])],
      ["Started an execution", "number", (row) => row[5], (row) => count(row[5]) + (row[6] ? ` (${row[6]} inferred)` : "")],
      ...["Median wait", "Longest wait"].map((title, index) =>
        [title, "number", (row) => row[7 + index], (row) => known(row[7 + index], duration)]),
    ], flow.edges, 7);
    if (RUN.led_nowhere) put("edges", element("p", { class: "muted hint" }, RUN.led_nowhere));
  }

  function histogram({ routine, low, high, logarithmic, median, bins }) {
    const svg = drawn("svg", { viewBox: "0 0 320 84", preserveAspectRatio: "none", role: "img", "aria-label": `Durations of ${nameOf(routine)}` });
    const most = Math.max(...bins);
    const width = 320 / Math.max(bins.length, 8);
    const left = (320 - width * bins.length) / 2;
    const edge = (i) => (logarithmic ? low * (high / low) ** (i / bins.length) : low + ((high - low) * i) / bins.length);
    bins.forEach((number, index) => {
      const height = number && Math.max(1.5, (80 * number) / most);
      svg.append(drawn("rect", { class: "column", x: left + index * width, y: 84 - height, width: width * 0.92, height }));
      // As high as the figure, so that low bars can be met, too.
      const target = drawn("rect", { class: "target", x: left + index * width, y: 0, width, height: 84 });
      const words = `${duration(edge(index))} to ${duration(edge(index + 1))}`;
      target.append(drawn("title", {}, `${count(number)}: ${words}`));
      if (number) {
        const [from, to] = [index ? edge(index) : 0, index === bins.length - 1 ? Infinity : edge(index + 1)];
        target.addEventListener("click", () => lead(`${nameOf(routine)}, ${words}`,
          (i) => data.routine[i] === routine && data.duration[i] !== null && data.duration[i] >= from && data.duration[i] < to));
      }
      svg.append(target);
    });
    svg.append(drawn("line", { class: "base", x1: 0, x2: 320, y1: 83.5, y2: 83.5 }));
    let labels = ["", duration(low), ""];
    if (high > low) {
      const place = 320 * (logarithmic ? Math.log(median / low) / Math.log(high / low) : (median - low) / (high - low));
      svg.append(drawn("line", { class: "median", x1: place, x2: place, y1: 0, y2: 84 }));
      labels = [duration(low), logarithmic ? "logarithmic" : "", duration(high)];
    }
    return element("figure", {},
      element("figcaption", {}, element("b", { title: nameOf(routine) }, nameOf(routine)), element("span", {}, `median ${duration(median)}`)),
      svg, element("p", {}, ...labels.map((label) => element("span", {}, label))));
  }

  function histograms() {
    const all = RUN.histograms;
    if (!all.length) return void put("histograms", muted("Nothing has ended."));
    put("histograms", ...all.slice(0, FIRST_FIGURES).map(histogram));
    if (all.length > FIRST_FIGURES) {
      $("histograms").after(button({ class: "more" }, `Show all ${count(all.length)}`, (event) => {
        event.currentTarget.remove();
        put("histograms", ...all.slice(FIRST_FIGURES).map(histogram));
      }));
    }
    if (RUN.routines.filter((row) => row[6]).length > all.length) {
      put("duration-section", element("p", { class: "muted hint" },
        `The ${count(all.length)} of ${count(RUN.routines.length)} routines that took most themselves.`));
    }
  }

  headline();
  failed();
  why();
  slowest();
  routines();
  histograms();
  edges();
})();

"use strict";
// The page around the timeline and the flow.
(() => {
  const { numbers, names, path, failures, flow_graph: flow } = RUN;
  const FIRST_ROWS = 50;

  // Columns: [title, kind, value to sort by, cell]. A click on a title sorts, one more turns the order round.
  function table(id, columns, rows, sortedBy) {
    let [by, descending, all] = [sortedBy, true, false];
    const head = element("tr");
    const body = element("tbody");
    const more = element("button", { class: "more", type: "button" });
    const titles = columns.map(([title, kind], index) => {
      const button = element("button", { type: "button" }, title);
      button.addEventListener("click", () => {
        descending = by === index ? !descending : kind !== "name" && kind !== "message";
        by = index;
        fill();
      });
      head.append(element("th", { class: kind, scope: "col" }, button));
      return head.lastChild;
    });
    more.addEventListener("click", () => { all = true; fill(); });

    function fill() {
      const value = columns[by][2];
      const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      const ordered = rows.slice().sort((a, b) => (descending ? compare(value(b), value(a)) : compare(value(a), value(b))));
      const shown = all ? ordered : ordered.slice(0, FIRST_ROWS);
      body.replaceChildren(...shown.map((row) => element("tr", {},
        ...columns.map(([, kind, sortValue, cell]) => element("td", { class: kind }, cell ? cell(row) : count(sortValue(row)))))));
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

  // A routine of which nothing ended has no times.
  const time = (title, index) => [title, "number", (row) => row[index], (row) => (row[6] ? duration(row[index]) : "\u2013")];
  const name = (text) => line(text, 200);
  const nameOf = (index) => name(names[index]);

  function headline() {
    put("flow", RUN.flow.trim() ? line(RUN.flow, 200) : "A run without a name");
    put("started", RUN.subtitle);
    for (const [title, value, kind] of [
      ["Duration", numbers.wall_time ? duration(numbers.wall_time) : "\u2013"],
      ["Executions", count(numbers.total_executions)],
      ["Failed", count(numbers.failed), numbers.failed ? "failed" : ""],
      ["Running", count(numbers.running), numbers.running ? "running" : ""],
      ["Throughput", rate(numbers.throughput)],
      ["Peak concurrency", count(numbers.peak_concurrency)],
    ]) put("cards", element("div", { class: kind || null }, element("dt", {}, title), element("dd", {}, value)));
    for (const sentence of RUN.missing) put("missing", element("p", { class: "notice" }, sentence));
  }

  function routines() {
    if (!RUN.routines.length) return void put("routines", element("p", { class: "muted" }, "No routine ran."));
    const total = numbers.self_execution_time;
    const share = (row) => {
      const part = total ? row[7] / total : 0;
      const bar = element("i");
      bar.style.width = `${100 * part}%`;
      return element("span", {}, part > 0 && part < 0.01 ? "<1%" : `${(100 * part).toFixed(0)}%`, element("span", { class: "share" }, bar));
    };
    table("routines", [
      ["Routine", "name", (row) => names[row[0]], (row) => nameOf(row[0])],
      ["Executions", "number", (row) => row[1]],
      ["Failed", "number", (row) => row[2], (row) => row[2] ? element("span", { class: "bad" }, count(row[2])) : "\u2013"],
      time("Median", 3), time("p95", 4), time("Longest", 5), time("Total", 6),
      ["Share", "number", (row) => row[7], share],
      ["On critical path", "number", (row) => row[8], (row) => row[8] ? duration(row[8]) : "\u2013"],
    ], RUN.routines, 7);
  }

  function edges() {
    if (!flow.edges.length) return void put("edges", element("p", { class: "muted" }, "No events were recorded."));
    if (flow.edge_count > flow.edges.length) {
      put("edges", element("p", { class: "muted" }, `The ${count(flow.edges.length)} of ${count(flow.edge_count)} edges with the longest waits.`));
    }
    table("edges", [
      ["From", "name", (row) => row[0], (row) => name(row[0])],
      ["Event", "name", (row) => row[1], (row) => name(row[1])],
      ["To", "name", (row) => row[2] ?? "", (row) => row[2] === null ? "\u2013" : name(row[2])],
      ["Events", "number", (row) => row[3]],
      ["Rate", "number", (row) => row[4], (row) => rate(row[4])],
      ["Started an execution", "number", (row) => row[5]],
      ...["Median wait", "Longest wait"].map((title, index) =>
        [title, "number", (row) => row[6 + index], (row) => (row[6 + index] === null ? "\u2013" : duration(row[6 + index]))]),
    ], flow.edges, 7);
    if (RUN.led_nowhere) put("edges", element("p", { class: "muted hint" }, RUN.led_nowhere));
  }

  function histograms() {
    if (!RUN.histograms.length) return void put("histograms", element("p", { class: "muted" }, "Nothing has ended."));
    for (const { routine, low, high, logarithmic, median, bins } of RUN.histograms) {
      const svg = drawn("svg", { viewBox: "0 0 320 84", preserveAspectRatio: "none", role: "img", "aria-label": `Durations of ${nameOf(routine)}` });
      const most = Math.max(...bins);
      const width = 320 / Math.max(bins.length, 8);
      const left = (320 - width * bins.length) / 2;
      bins.forEach((number, index) => {
        const height = number && Math.max(1.5, (80 * number) / most);
        const bar = drawn("rect", { class: "column", x: left + index * width, y: 84 - height, width: width * 0.92, height });
        const edge = (i) => (logarithmic ? low * (high / low) ** (i / bins.length) : low + ((high - low) * i) / bins.length);
        bar.append(drawn("title", {}, `${count(number)}: ${duration(edge(index))} to ${duration(edge(index + 1))}`));
        svg.append(bar);
      });
      svg.append(drawn("line", { class: "base", x1: 0, x2: 320, y1: 83.5, y2: 83.5 }));
      let labels = ["", duration(low), ""];
      if (high > low) {
        const place = 320 * (logarithmic ? Math.log(median / low) / Math.log(high / low) : (median - low) / (high - low));
        svg.append(drawn("line", { class: "median", x1: place, x2: place, y1: 0, y2: 84 }));
        labels = [duration(low), logarithmic ? "logarithmic" : "", duration(high)];
      }
      put("histograms", element("figure", {},
        element("figcaption", {}, element("b", { title: nameOf(routine) }, nameOf(routine)), element("span", {}, `median ${duration(median)}`)),
        svg, element("p", {}, ...labels.map((label) => element("span", {}, label)))));
    }
    if (RUN.routines.filter((row) => row[6]).length > RUN.histograms.length) {
      document.getElementById("histograms").after(element("p", { class: "muted hint" },
        `The ${count(RUN.histograms.length)} of ${count(RUN.routines.length)} routines that took most themselves.`));
    }
  }

  function failed() {
    if (!numbers.failed) return void put("failures", element("p", { class: "muted" }, "Nothing did."));
    if (numbers.failed > failures.kept) {
      put("failures", element("p", { class: "muted" }, `Dropped, so without a message: ${plural(numbers.failed - failures.kept, "failure", "failures")}.`));
    }
    if (!failures.kept) return;
    const words = failures.different > failures.rows.length
      ? `The ${count(failures.rows.length)} most frequent of ${count(failures.different)} different failures.`
      : "Equal messages of a routine are counted together.";
    put("failures", element("p", { class: "muted" }, words));
    table("failures", [
      ["Times", "number", (row) => row[0]],
      ["Routine", "name", (row) => names[row[1]], (row) => nameOf(row[1])],
      ["Message", "message", (row) => row[2], (row) => element("span", row[2] ? { class: "bad" } : {}, row[2] || "(no message)")],
      ["First at", "number", (row) => row[3], (row) => (row[3] === null ? "\u2013" : duration(row[3]))],
      ["First params", "message", (row) => row[4], (row) => row[4] || "\u2013"],
    ], failures.rows, 0);
  }

  headline();
  routines();
  edges();
  histograms();
  failed();
})();

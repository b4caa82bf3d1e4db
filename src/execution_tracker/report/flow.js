"use strict";
// The flow as a graph that dagre lays out: routines in layers, events as links between them.
(() => {
  const { flow_graph: flow, routines } = RUN;
  const [WIDTH, HEIGHT] = [flow.nodes.length > 12 ? 158 : 186, 44];
  const MANY = 40; // links; of more, the labels are left to the pointer
  const SMALLEST = 0.75; // part of its size to which the picture shrinks before it scrolls
  if (!flow.links.length) {
    $("graph").hidden = true;
    return;
  }

  const row = new Map(routines.map((each) => [each[0], each]));
  const isLabelled = flow.links.length <= MANY;
  const isInferred = ({ caused, inferred }) => caused > 0 && caused === inferred;
  const links = flow.links.map(([source, target, number, wait, caused, inferred, events]) =>
    ({ source, target, number, caused, inferred, events, words: [count(number), ...(wait ? [`wait \u2264 ${duration(wait)}`] : [])] }));
  const graph = laidOut();
  const svg = drawn("svg", { role: "img", "aria-label": "Routines and the events between them" });
  const most = Math.max(...links.map(({ number }) => number));
  const ways = links.map(way);
  svg.append(...ways, ...(isLabelled ? links.flatMap(labels) : []));
  const places = flow.nodes.map(place);
  svg.append(...places.map(({ node }) => node));
  put("graph", svg);
  places.forEach(fitWords);
  fitPicture();
  tell();

  function laidOut() {
    const made = new dagre.graphlib.Graph();
    const [nodesep, ranksep] = isLabelled ? [26, 40] : [14, 56];
    made.setGraph({ rankdir: innerWidth < 640 ? "TB" : "LR", nodesep, ranksep });
    flow.nodes.forEach((_, i) => made.setNode(String(i), { width: WIDTH, height: HEIGHT }));
    for (const { source, target, words } of links) {
      const room = { width: 8 + 6.4 * Math.max(...words.map((each) => each.length)), height: 1 + 15 * words.length, labelpos: "c" };
      made.setEdge(String(source), String(target), isLabelled ? room : {});
    }
    dagre.layout(made);
    return made;
  }

  function edge({ source, target }) {
    return graph.edge(String(source), String(target));
  }

  function way(link) {
    const { points } = edge(link);
    const [before, end] = points.slice(-2);
    const angle = (Math.atan2(end.y - before.y, end.x - before.x) * 180) / Math.PI;
    const thick = 1.25 + (3.5 * Math.log(1 + link.number)) / Math.log(1 + most);
    const [source, target] = [link.source, link.target].map((i) => line(flow.nodes[i][0], 80));
    const events = link.events.map((each) => line(each, 80)).join(", ");
    const made = drawn("g", { class: isInferred(link) ? "way inferred" : "way" });
    made.append(
      drawn("title", {}, `${source} \u2192 ${target}: ${link.words.join(", ")}; ${events}${isInferred(link) ? "; inferred" : ""}`),
      drawn("path", { class: "link", d: curve(points), "stroke-width": thick.toFixed(1) }),
      drawn("path", { class: "tip", d: "M1 0l-9 -4.5v9z", transform: `translate(${end.x} ${end.y}) rotate(${angle.toFixed(1)})` }));
    return made;
  }

  // Through the middles between the points that dagre gives, so that a way bends smoothly around the nodes.
  function curve(points) {
    const at = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
    const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
    if (points.length === 2) return `M${at(points[0])}L${at(points[1])}`;
    const bends = points.slice(1, -1).map((point, i, inner) =>
      `Q${at(point)} ${at(i === inner.length - 1 ? points[points.length - 1] : middle(point, inner[i + 1]))}`);
    return `M${at(points[0])}${bends.join("")}`;
  }

  function labels(link) {
    const { x, y } = edge(link);
    const top = y + 4 - 7 * (link.words.length - 1);
    return link.words.map((words, i) => drawn("text", { class: i ? "small halo" : "halo", x, y: top + 14 * i, "text-anchor": "middle" }, words));
  }

  function place([name, number, isEntry], i) {
    const { x, y } = graph.node(String(i));
    const [left, top] = [x - WIDTH / 2, y - HEIGHT / 2];
    const numbers = row.get(number);
    const failed = numbers && numbers[2];
    const node = drawn("g", { class: numbers ? "place leads" : "place" });
    const words = drawn("text", { x: left + 10, y: top + 18 });
    const details = drawn("text", { class: "small", x: left + 10, y: top + 35 });
    const failures = drawn("text", { class: "small bad", x: left + WIDTH - 9, y: top + 35, "text-anchor": "end" }, failed ? `${count(failed)} failed` : "");
    node.append(
      drawn("title", {}, `${line(name, 200)}${isEntry ? ": no event leads to it" : ""}`),
      drawn("rect", { class: `node${failed ? " bad" : ""}${isEntry ? " entry" : ""}`, x: left, y: top, width: WIDTH, height: HEIGHT, rx: 8 }),
      words, details, failures);
    if (numbers) node.addEventListener("click", () => SELECTION.lead(line(name, 80), EXECUTIONS.all((each) => RUN.timeline.routine[each] === number)));
    // What hangs on the routine under the pointer stands out.
    for (const [kind, isOn] of [["pointerenter", true], ["pointerleave", false]]) {
      node.addEventListener(kind, () => {
        svg.classList.toggle("pointed", isOn);
        links.forEach(({ source, target }, each) => ways[each].classList.toggle("on", isOn && (source === i || target === i)));
      });
    }
    return { node, name, words, numbers, details, failures };
  }

  function fitWords({ name, words, numbers, details, failures }) {
    let length = 26;
    do words.textContent = line(name, length); while (words.getComputedTextLength() > WIDTH - 18 && --length > 2);
    if (!numbers) return;
    const times = `${count(numbers[1])} \u00d7`;
    details.textContent = `${times} ${numbers[6] ? duration(numbers[3]) : UNKNOWN}`;
    if (details.getComputedTextLength() + failures.getComputedTextLength() > WIDTH - 26) details.textContent = times;
  }

  // The ways around loops may reach beyond what dagre counts.
  function fitPicture() {
    const { x, y, width, height } = svg.getBBox();
    const [wide, high] = [width + 8, height + 8];
    svg.setAttribute("viewBox", `${x - 4} ${y - 4} ${wide} ${high}`);
    svg.setAttribute("width", wide.toFixed(0));
    svg.setAttribute("height", high.toFixed(0));
    svg.style.minWidth = `${SMALLEST * wide}px`;
  }

  function tell() {
    const notes = [];
    if (flow.node_count > flow.nodes.length) notes.push(`The ${count(flow.nodes.length)} of ${count(flow.node_count)} routines that took most, failed most or had most events, and those that no event leads to.`);
    if (flow.link_count > links.length) notes.push(`${count(links.length)} of ${count(flow.link_count)} links, those with the most events.`);
    if (links.some(isInferred)) notes.push("Dashed: inferred from the order of events.");
    if (notes.length) $("graph").after(element("p", { class: "muted hint" }, notes.join(" ")));
  }
})();

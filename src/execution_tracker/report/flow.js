"use strict";
// The flow as a graph: routines in layers from left to right, events as links.
(() => {
  const { flow_graph: flow, names, routines } = RUN;
  const [WIDTH, HEIGHT, ACROSS, DOWN] = [180, 50, 128, 36];
  const nodes = flow.nodes.map(([name, number], id) => ({ id, name, row: routines.find((row) => row[0] === number) }));
  if (flow.folded) nodes.push({ id: nodes.length, name: plural(flow.folded, "other routine", "other routines") });
  const links = flow.links.map(([source, target, number, wait, events]) =>
    ({ source: nodes[source], target: nodes[target], number, wait, events }));
  if (!links.length) {
    document.getElementById("graph").hidden = true;
    return;
  }

  const EDGE = links.some((link) => link.source === link.target) ? 68 : 38;

  // Layers: as far right as the longest way there, once the links that lead back are set aside.
  for (const node of nodes) node.next = links.filter((link) => link.source === node && link.target !== node);
  const done = new Set();
  const order = [];
  for (const first of nodes) {
    const open = done.has(first) ? [] : [[first, 0]];
    const onWay = new Set(open.map(([node]) => node));
    done.add(first);
    while (open.length) {
      const step = open[open.length - 1];
      const link = step[0].next[step[1]++];
      if (!link) {
        onWay.delete(step[0]);
        order.push(open.pop()[0]);
      } else if (onWay.has(link.target)) {
        link.back = true;
      } else if (!done.has(link.target)) {
        done.add(link.target);
        onWay.add(link.target);
        open.push([link.target, 0]);
      }
    }
  }
  for (const node of nodes) node.layer = 0;
  for (const node of order.reverse()) {
    for (const link of node.next) if (!link.back) link.target.layer = Math.max(link.target.layer, node.layer + 1);
  }
  const layers = [];
  for (const node of nodes) (layers[node.layer] ??= []).push(node);

  // Within a layer, each node goes near the middle of what leads to it and from it.
  const place = () => layers.forEach((layer) => layer.forEach((node, i) => { node.rank = i - (layer.length - 1) / 2; }));
  place();
  for (let sweep = 0; sweep < 6; sweep++) {
    for (const layer of layers) {
      for (const node of layer) {
        const near = links.filter((link) => !link.back && link.source !== link.target && (link.source === node || link.target === node))
          .map((link) => (link.source === node ? link.target : link.source).rank);
        node.pull = near.length ? near.reduce((a, b) => a + b) / near.length : node.rank;
      }
      layer.sort((a, b) => a.pull - b.pull);
    }
    place();
  }
  const tallest = Math.max(...layers.map((layer) => layer.length));
  for (const node of nodes) {
    node.x = 2 + node.layer * (WIDTH + ACROSS);
    node.y = EDGE + (node.rank + (tallest - 1) / 2) * (HEIGHT + DOWN);
  }

  // What leads back goes below, the deeper the farther it goes.
  const depth = ({ source, target }) => (source !== target && target.layer <= source.layer ? 36 + 12 * Math.min(source.layer - target.layer, 12) : 0);
  const below = Math.max(...links.map(depth));
  const [width, height] = [layers.length * (WIDTH + ACROSS) - ACROSS + (links.some((link) => link.source === link.target) ? 32 : 4), EDGE + tallest * (HEIGHT + DOWN) - DOWN + 12 + below];
  const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Routines and the events between them" });
  const most = Math.max(...links.map((link) => link.number));
  const labels = [];
  for (const link of links) {
    const { source, target } = link;
    const thick = 1.5 + (5 * Math.log(1 + link.number)) / Math.log(1 + most);
    const [x0, y0, x1, y1] = [source.x + WIDTH, source.y + HEIGHT / 2, target.x - 7, target.y + HEIGHT / 2];
    let way = `M${x0} ${y0}C${x0 + ACROSS / 2} ${y0} ${x1 - ACROSS / 2} ${y1} ${x1} ${y1}`;
    // The label goes to the end that the link shares with fewer others, on the side away from its bend.
    const fans = (key, node) => links.filter((other) => other[key] === node).length;
    const atSource = fans("target", target) > fans("source", source);
    let [x, y, anchor] = atSource ? [x0 + 8, y0, "start"] : [x1 - 8, y1, "end"];
    if (source === target) {
      way = `M${x0 - 40} ${source.y}C${x0 - 30} ${source.y - 34} ${x0 + 30} ${source.y - 20} ${x0 + 7} ${source.y + 12}`;
      [x, y, anchor] = [x0, source.y - 46, "end"];
      svg.append(drawn("path", { class: "tip", d: `M${x0} ${source.y + 12}l9 -5v10z` }));
    } else if (depth(link)) {
      const low = Math.max(source.y, target.y) + HEIGHT + depth(link);
      way = `M${x0 - 30} ${source.y + HEIGHT}C${x0 - 30} ${low} ${target.x + 30} ${low} ${target.x + 30} ${target.y + HEIGHT + 7}`;
      [x, y, anchor] = [(x0 + target.x) / 2, low - depth(link) / 4, "middle"];
      svg.append(drawn("path", { class: "tip", d: `M${target.x + 30} ${target.y + HEIGHT}l-5 9h10z` }));
    } else {
      svg.append(drawn("path", { class: "tip", d: `M${x1 + 7} ${y1}l-9 -5v10z` }));
    }
    const line_ = drawn("path", { class: "link", d: way, "stroke-width": thick.toFixed(1) });
    line_.append(drawn("title", {}, `${line(source.name, 80)} \u2192 ${line(target.name, 80)}: ${link.events.map((event) => line(event, 80)).join(", ")}`));
    svg.append(line_);
    const label = (look, down, words) => labels.push(drawn("text", { class: `${look} halo`, x, y: y + down, "text-anchor": anchor }, words));
    const bend = anchor === "middle" ? 0 : Math.sign((y0 - y1) * (atSource ? -1 : 1));
    label("", bend > 0 ? -20 : bend < 0 ? 17 : -thick / 2 - 4, count(link.number));
    if (link.wait) label("small", bend > 0 ? -6 : bend < 0 ? 31 : thick / 2 + 13, `wait \u2264 ${duration(link.wait)}`);
  }
  for (const node of nodes) {
    const failed = node.row && node.row[2];
    const box = drawn("rect", { class: failed ? "node bad" : "node", x: node.x, y: node.y, width: WIDTH, height: HEIGHT, rx: 8 });
    box.append(drawn("title", {}, line(node.name, 200)));
    node.words = drawn("text", { x: node.x + 12, y: node.y + 21 });
    svg.append(box, node.words);
    if (node.row) svg.append(drawn("text", { class: "small", x: node.x + 12, y: node.y + 39 }, `${count(node.row[1])} \u00d7 ${duration(node.row[3])}`));
    if (failed) svg.append(drawn("text", { class: "small bad", x: node.x + WIDTH - 10, y: node.y + 39, "text-anchor": "end" }, `${count(failed)} failed`));
  }
  svg.append(...labels);
  svg.style.minWidth = `${0.7 * width}px`;
  put("graph", svg);
  for (const { name, words } of nodes) {
    let length = 30;
    do words.textContent = line(name, length); while (words.getComputedTextLength() > WIDTH - 20 && --length > 2);
  }
  if (flow.link_count > links.length) {
    put("graph", element("p", { class: "muted hint" }, `The ${count(links.length)} of ${count(flow.link_count)} links with the most events.`));
  }
})();

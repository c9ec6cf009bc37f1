// The graph as SVG: a box for each node and each closed neuron, a curve for each edge with its local partial.
// Python has laid all out, neurons closed and each one opened; one that is opened pushes its neighbours aside.

const TAGS = 90;  // edges: with more of them, a local partial shows only where it is needed
const APART = 34, READABLE = 0.9;  // between parallel edges; of the full size, where letters have 11 pixels
const COLOURS = 5;  // of paths

// Where a place on the paper goes when intervals, given by centre, width and new width, grow; the widest counts
// of those around one centre.
function stretch(intervals) {
  const grown = new Map();
  for (const [centre, width, wide] of intervals) {
    const key = Math.round(centre), most = Math.max(wide - width, grown.get(key)?.more || 0);
    grown.set(key, {low: centre - width / 2, width, more: most});
  }
  const part = (x, {low, width}) => Math.min(1, Math.max(0, (x - low) / width));
  return x => [...grown.values()].reduce((sum, one) => sum + one.more * part(x, one), x);
}

const LONGEST = 26;  // letters of a name in a box
const brief = ({name}) => name.length > LONGEST ? name.slice(0, LONGEST - 1) + "…" : name;

// A start and two handles of a curve to another point.
/** @type {(from: number[], to: number[]) => number[][]} */
const joint = ([x0, y0], [x1, y1]) => [[x0, y0], [(x0 + x1) / 2, y0], [(x0 + x1) / 2, y1]];

class Drawing {
  constructor(graph, place, pick, redraw, live) {
    this.graph = graph;
    this.place = place;
    this.pick = pick;
    this.redraw = redraw;
    this.live = live;
    this.open = new Set();
    this.most = 0;  // the strongest gradient, which sets all others' strength
    this.base = this.zoom = 1;
    this.shrunk = 0;  // the zoom before an edge was too long for it
    this.build();
  }

  // --- where everything is, given which neurons are open ---

  closed(node) {
    return node.group >= 0 && !this.open.has(node.group);
  }

  // An opened neuron stretches the paper across its whole width and height, so nothing can come to lie on it.
  arrange() {
    const {nodes, groups, edges} = this.graph, opened = groups.filter(group => this.open.has(group.i));
    const across = stretch(opened.map(({x, w, inside}) => [x, w, inside.w]));
    const down = stretch(opened.map(({y, h, inside}) => [y, h, inside.h]));
    for (const item of [...nodes.filter(node => node.group < 0), ...groups]) {
      const {w, h} = this.open.has(item.i) && item.inside || item;
      Object.assign(item, {width: w, height: h, left: across(item.x) - w / 2, top: down(item.y) - h / 2});
    }
    for (const node of nodes) if (node.group >= 0) {
      const {left, top, width, height} = groups[node.group];
      Object.assign(node, this.closed(node) ? {left, top, width, height}
        : {left: left + node.x - node.w / 2, top: top + node.y - node.h / 2, width: node.w, height: node.h});
    }
    for (const edge of edges) this.route(edge, across, down);
    this.spread();
    const {w, h} = this.graph.size;
    this.size = [across(w) + 36, down(h) + 42];
  }

  // Along the way that Python found, from border to border; into an opened neuron, on to the node itself.
  route(edge, across, down) {
    const {from, to} = edge, home = node => node.group < 0 ? node : this.graph.groups[node.group], last = edge.route.length - 1;
    if (home(from) === home(to)) {
      const {left, top} = home(to);
      edge.points = edge.route.map(([x, y]) => [left + x, top + y]);
      return;
    }
    const points = edge.points = edge.route.map(([x, y]) => [across(x), down(y)]);
    const level = (item, y) => item.top + item.height / 2 + y - item.y, start = home(from), end = home(to);
    const straighten = (at, way, item) => {  // the piece at its border keeps to one height
      const {[at]: [, y]} = edge.route;
      for (let i = at; edge.route[i]?.[1] === y; i += way) points[i][1] = level(item, y);
    };
    straighten(0, 1, start);
    straighten(last, -1, end);
    points[0][0] = start.left + start.width;
    points[last][0] = end.left;
    if (start !== from && !this.closed(from))
      points.unshift(...joint([from.left + from.width, from.top + from.height / 2], points[0]));
    if (end !== to && !this.closed(to)) {
      const inner = [to.left, to.top + to.height / 2];
      points.push(...joint(points[points.length - 1], inner).slice(1), inner);
    }
  }

  // Edges between the same two boxes bow apart, so that each can be seen, and its tag read.
  spread() {
    const home = node => this.closed(node) ? -1 - node.group : node.i, bundles = new Map();
    for (const edge of this.graph.edges) {
      const key = `${home(edge.from)} ${home(edge.to)}`;
      if (home(edge.from) !== home(edge.to)) bundles.set(key, [...bundles.get(key) || [], edge]);
    }
    for (const bundle of bundles.values()) if (bundle.length > 1) bundle.forEach((edge, k) => {
      const by = APART * (k - (bundle.length - 1) / 2), {points} = edge;
      edge.points = points.map(([x, y], i) => i === 0 || i === points.length - 1 ? [x, y] : [x, y + by]);
    });
  }

  // --- building: anew when a neuron opens or closes ---

  build() {
    this.arrange();
    const {nodes, edges, groups} = this.graph;
    const drawn = edges.filter(edge => !this.closed(edge.to) || edge.to.group !== edge.from.group);
    const tagged = drawn.length <= TAGS;
    for (const edge of edges) edge.line = edge.tag = edge.state = null;
    this.things = [];
    this.tags = [];
    this.lines = drawn.map(edge => this.curve(edge));
    const frames = groups.filter(group => this.open.has(group.i)).map(group => this.frame(group));
    const lids = groups.filter(group => !this.open.has(group.i)).map(group => this.box(group, nodes[group.result], group));
    const boxes = nodes.filter(node => !this.closed(node)).map(node => this.box(node, node));
    const [w, h] = this.size;
    this.svg = make("svg",
      {viewBox: `-16 -16 ${w} ${h}`, role: "group", "aria-label": WORDS.labels.graph, class: tagged ? "" : "crowded"},
      frames, this.lines, drawn.map(edge => edge.tag), lids, boxes);
    this.place.replaceChildren(this.svg);
    this.resize();
  }

  curve(edge) {
    const path = `M${edge.points[0]}C${edge.points.slice(1).join(" ")}`;
    edge.line = make("path", {d: path, class: "line"});
    const element = make("g", {}, make("path", {d: path, class: "touch"}), edge.line);
    element.addEventListener("click", () => this.pick({edge}));
    this.tag(edge);
    return element;
  }

  // Write a local partial on its tag; how wide it is then.
  word(edge) {
    const text = edge.partial === null ? WORDS.cut : `×${told(edge.partial, 3)}`, product = edge.product || "";
    const width = 6.4 * Math.max(text.length, product.length) + 12;
    if (!edge.words) {
      edge.pill = make("rect", {y: -9, rx: 9});
      edge.words = make("text", {y: 4, "text-anchor": "middle"});
      edge.result = make("text", {y: 20, "text-anchor": "middle"});
    }
    write(edge.words, text);
    write(edge.result, product);
    set(edge.pill, "height", product ? 34 : 18);
    set(edge.pill, "x", -width / 2);
    set(edge.pill, "width", width);
    return width;
  }

  // The local partial, on the last long piece of the curve, where no other has been put yet.
  tag(edge) {
    let last = edge.points.length - 4;
    while (last && edge.points[last + 3][0] - edge.points[last][0] < 30) last -= 3;
    const [a, b, c, d] = edge.points.slice(last), width = this.word(edge);
    const covers = (x, y) => this.tags.some(tag => Math.abs(tag.y - y) < 19 && Math.abs(tag.x - x) < (tag.width + width) / 2);
    const at = (t, s, i) => s * s * s * a[i] + 3 * s * s * t * b[i] + 3 * s * t * t * c[i] + t * t * t * d[i];
    const places = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8].map(t => ({x: at(t, 1 - t, 0), y: at(t, 1 - t, 1), width}));
    const place = places.find(({x, y}) => !covers(x, y)) || places[0];
    this.tags.push(place);
    edge.tag = make("g", {"data-edge": edge.i, transform: `translate(${place.x.toFixed(1)},${place.y.toFixed(1)})`},
      edge.pill, edge.words, edge.result);
    this.button(edge.tag, () => this.pick({edge}));
  }

  // A node, or a closed neuron, which shows the node it results in.
  box(shape, node, group) {
    const {left, top, width, height} = shape, round = node.ins.length ? 7 : 16;
    const thing = {node, group, value: make("text", {class: "value", x: width / 2, y: 37, "text-anchor": "middle"}),
      slope: make("text", {class: "grad", x: width / 2, y: height - 8, "text-anchor": "middle"}),
      strip: make("rect", {class: "strip", x: 2, y: height - 23, width: width - 4, height: 21, rx: round - 2, "fill-opacity": 0})};
    thing.element = make("g", {transform: `translate(${left},${top})`, "data-node": node.id},
      group && make("rect", {class: "behind", x: 4, y: 4, width, height, rx: round}),
      make("rect", {class: "shape", width, height, rx: round}), thing.strip,
      make("text", {class: "name", x: 9, y: 17}, brief(group || node)),
      make("text", {class: "op", x: width - 9, y: 17, "text-anchor": "end"}, node.op), thing.value, thing.slope,
      thing.mark = make("text", {class: "mark", x: 9, y: height + 13}));
    this.button(thing.element, () => group ? this.toggle(group) : this.pick({node}));
    if (!group && this.live.movable(node)) this.handle(thing.element, node);
    this.things.push(thing);
    return thing.element;
  }

  // The number of a leaf is dragged on its box.
  handle(element, node) {
    let start = 0, step = 1;
    draggable(element, () => { start = this.live.values[node.i]; step = stepOf(start); return true; },
      (by, fine) => this.live.drag(node, rounded(start + by / 4 * step * (fine ? FINE : 1), step * FINE)), () => this.live.dropped());
  }

  frame(group) {
    const close = make("g",
      {class: "close", "aria-label": WORDS.close(group.name), transform: `translate(${group.width - 24},6)`},
      make("rect", {width: 18, height: 18, rx: 4}), make("path", {d: "M5 9h8"}));
    this.button(close, () => this.toggle(group));
    return make("g", {class: "frame", transform: `translate(${group.left},${group.top})`},
      make("rect", {class: "shape", width: group.width, height: group.height, rx: 10}),
      make("text", {class: "name", x: 10, y: 19}, brief(group)), close);
  }

  button(element, act) {
    set(element, "tabindex", 0);
    set(element, "role", "button");
    element.addEventListener("click", act);
    element.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      act();
    });
  }

  toggle(group) {
    if (!this.open.delete(group.i)) this.open.add(group.i);
    this.build();
    this.redraw();
  }

  // --- one moment ---

  // Most of a step leaves most of the graph as it was: what is as before is not touched.
  show(moment) {
    const {step, current, hide} = moment, {most} = this;
    for (const thing of this.things) {
      const {node, group} = thing, known = node.known <= step;
      const home = one => one === node || (group && one?.group === group.i);
      const hidden = hide && current.node === node, noValue = !known || hidden && current.kind === "value";
      const grad = hidden && current.kind !== "value" ? "?" : this.graph.gradAt(node, step);
      const sign = grad < 0 ? " minus" : grad > 0 ? " plus" : "";
      const slope = grad === undefined ? known ? "–" : "" : `∂ ${grad === "?" ? grad : told(grad)}`;
      const value = noValue ? known ? "?" : "" : told(node.data);
      const look = `node${group ? " lid" : ""}${node.ins.length ? "" : " leaf"}${known ? "" : " unknown"}${sign}`
        + (home(current.node) || home(current.edge?.to) ? " current" : "") + (moment.node === node ? " picked" : "")
        + (!group && this.live.movable(node) ? " movable" : "") + (moment.lit && !moment.lit.nodes.has(node) ? " faded" : "");
      const strength = sign ? (0.12 + 0.4 * Math.min(1, Math.abs(grad) / most || 0)).toFixed(2) : 0;
      const state = [look, value, slope, strength, node.mark].join();
      if (thing.state === state) continue;
      thing.state = state;
      write(thing.mark, known && node.mark || "");
      write(thing.value, value);
      write(thing.slope, slope);
      set(thing.strip, "fill-opacity", strength);
      set(thing.element, "class", look);
      const name = group ? WORDS.open(group.name) : node.name;
      set(thing.element, "aria-label", WORDS.boxLabel(name, value, slope.slice(2)));
    }
    for (const edge of this.graph.edges) if (edge.line) this.showEdge(edge, moment, most);
  }

  showEdge(edge, {step, current, edge: picked, hide, lit}, most) {
    const known = edge.to.known <= step, done = edge.step <= step, now = current.edge === edge;
    const into = current.kind === "value" && current.node === edge.to, carries = done && edge.live && !(now && hide);
    const strength = carries ? 1.5 + 4 * Math.min(1, Math.abs(edge.contribution) / most || 0) : 1.5;
    const sign = !carries || !edge.contribution ? "" : edge.contribution < 0 ? " minus" : " plus";
    const look = (now ? " current" : "") + (into ? " into" : "") + (picked === edge ? " picked" : "")
      + (known ? "" : " unknown") + (done && !edge.live ? " cut" : "") + sign
      + (lit ? lit.edges.has(edge) ? ` path${lit.edges.get(edge)}` : " faded" : "");
    const tagged = known && step >= this.graph.seed;
    edge.product = (now || picked === edge) && carries ? `= ${told(edge.contribution, 3)}` : "";
    const state = [look, strength, tagged, edge.partial, edge.product].join();
    if (edge.state === state) return;
    edge.state = state;
    if (tagged) this.word(edge);
    set(edge.line, "stroke-width", strength.toFixed(2));
    set(edge.line, "class", "line" + look);
    set(edge.tag, "class", "tag" + look + (tagged ? "" : " absent"));
    set(edge.tag, "tabindex", tagged ? 0 : -1);
    set(edge.tag, "aria-label", `${TEXT.slope(edge.to, edge.from)} ${edge.words.textContent}`);
  }

  // --- size and place ---

  // As large as fits beside the panel, or above it where that is larger; but never too small to read: then the
  // graph is scrolled. The reader may zoom further in or out.
  resize() {
    const main = document.querySelector("main"), {clientWidth: across, clientHeight: down} = main, [w, h] = this.size;
    const fit = (width, height) => Math.min((width - 24) / w, (height - 24) / h, 1.25);
    const beside = fit(across - Math.min(460, Math.max(330, 0.34 * across)), down), above = fit(across, 0.5 * down);
    set(main, "class", above > 1.1 * beside ? "stacked" : null);
    this.base = Math.max(READABLE, fit(this.place.clientWidth, this.place.clientHeight));
    this.scale(this.zoom);
  }

  scale(zoom) {
    const [w, h] = this.size;
    this.zoom = zoom;
    set(this.svg, "width", Math.floor(w * this.base * zoom));
    set(this.svg, "height", Math.floor(h * this.base * zoom));
  }

  // Larger or smaller by a factor, around the middle of what is seen.
  zoomBy(factor) {
    const {place} = this, before = [place.scrollLeft + place.clientWidth / 2, place.scrollTop + place.clientHeight / 2];
    const zoom = Math.max(0.1, Math.min(6, this.zoom * factor)), by = zoom / this.zoom;
    this.scale(zoom);
    place.scrollTo({left: before[0] * by - place.clientWidth / 2, top: before[1] * by - place.clientHeight / 2, behavior: "instant"});
  }

  // All of it at once, however small.
  fit() {
    const [w, h] = this.size, {clientWidth, clientHeight} = this.place;
    this.scale(Math.min((clientWidth - 24) / w, (clientHeight - 24) / h, 1.25) / this.base);
  }

  boxOf(node) {
    return this.things.find(one => one.node === node || (one.group && node.group === one.group.i))?.element.getBoundingClientRect();
  }

  // Bring what happens into view: a node, or both ends of an edge; if they are too far apart, smaller.
  reveal(node, edge) {
    const view = this.place.getBoundingClientRect(), margin = 12;
    const boxes = () => (edge ? [edge.from, edge.to] : [node]).map(one => this.boxOf(one)).filter(Boolean);
    const around = found => ({left: Math.min(...found.map(box => box.left)), right: Math.max(...found.map(box => box.right)),
      top: Math.min(...found.map(box => box.top)), bottom: Math.max(...found.map(box => box.bottom))});
    if (!boxes().length) return;
    if (this.shrunk) this.scale(this.shrunk);
    this.shrunk = 0;
    let box = around(boxes());
    const fits = Math.min((view.width - 2 * margin) / (box.right - box.left), (view.height - 2 * margin) / (box.bottom - box.top));
    if (fits < 1) {
      this.shrunk = this.zoom;
      this.scale(this.zoom * fits);
      box = around(boxes());
    }
    const along = (low, high, from, to) => low < from + margin || high > to - margin ? (low + high - from - to) / 2 : 0;
    const left = along(box.left, box.right, view.left, view.right), top = along(box.top, box.bottom, view.top, view.bottom);
    if (left || top) this.place.scrollBy({left, top});
  }
}

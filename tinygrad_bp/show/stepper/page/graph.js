// The graph as SVG: a box for each node and each closed neuron, a curve for each edge with its local partial.
// Python has laid all out, neurons closed and each one opened; one that is opened pushes its neighbours aside.

const TAGS = 40;  // edges: with more of them, a local partial shows only where it is needed
const APART = 44, MOST_APART = 6, READABLE = 0.9, HIGHEST = 0.6;  // between parallel edges; of the full size,
// where letters have 11 pixels; of the window, if the graph is above the panel
const COLOURS = 5;  // of paths

// About how wide the text of a tag is.
const letters = text => 5.6 * text.replace(/[×−=]/g, "xx").length;

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
  constructor(graph, place, page) {
    this.graph = graph;
    this.place = place;
    this.page = page;
    this.open = new Set();
    this.most = 0;  // the strongest gradient, which sets all others' strength
    this.base = this.zoom = 1;
    this.flight = null;
    this.crowded = false;  // then a tag shows only at the current edge
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
    for (const edge of edges) if (edge.route) this.route(edge, across, down);
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
    const start = home(from), end = home(to), opened = end !== to && !this.closed(to);
    const enter = opened ? edge.enter.map(([x, y]) => [end.left + x, end.top + y]) : null;
    const straighten = (at, way, item, to) => {  // the piece at its border keeps to one height
      const {[at]: [, y]} = edge.route;
      for (let i = at; edge.route[i]?.[1] === y; i += way) points[i][1] = to ?? item.top + item.height / 2 + y - item.y;
    };
    straighten(0, 1, start);
    straighten(last, -1, end, enter?.[0][1]);
    // Beside an opened neuron, through its column at one height.
    const [x0, y0] = points[0], [x1, y1] = points[last], left = Math.min(x0, start.left + start.width), right = Math.max(x1, end.left);
    points[0][0] = Math.max(x0, start.left + start.width);
    points[last][0] = Math.min(x1, end.left);
    if (points[0][0] - left > 1) points.unshift(...joint([left, y0], points[0]));
    if (right - points[points.length - 1][0] > 1) points.push(...joint(points[points.length - 1], [right, y1]).slice(1), [right, y1]);
    if (start !== from && !this.closed(from))
      points.unshift(...joint([from.left + from.width, from.top + from.height / 2], points[0]));
    if (enter) points.push(...joint(points[points.length - 1], enter[0]).slice(1), ...enter);
  }

  // Edges between the same two boxes bow apart, so that each can be seen, and its tag read; very many are one.
  spread() {
    const home = node => this.closed(node) ? -1 - node.group : node.i, bundles = new Map();
    for (const edge of this.graph.edges) {
      const key = `${home(edge.from)} ${home(edge.to)}`;
      edge.bundle = [edge];
      if (home(edge.from) !== home(edge.to)) bundles.set(key, [...bundles.get(key) || [], edge]);
    }
    for (const bundle of bundles.values()) {
      const single = bundle.length > (this.closed(bundle[0].to) ? 1 : MOST_APART);
      bundle.forEach((edge, k) => {
        const by = APART * (k - (bundle.length - 1) / 2), {points} = edge, last = points.length - 1;
        if (single) edge.bundle = k === 0 ? bundle : [];
        else edge.points = points.map(([x, y], i) => i === 0 || i === last ? [x, y] : [x, y + by]);
      });
    }
  }

  // --- building: anew when a neuron opens or closes ---

  build() {
    this.land();
    this.arrange();
    const {nodes, edges, groups} = this.graph;
    const drawn = edges.filter(edge => edge.bundle.length && (!this.closed(edge.to) || edge.to.group !== edge.from.group));
    for (const edge of edges) edge.line = edge.tag = edge.state = edge.seen = null;
    this.things = [];
    this.tags = [];
    this.lines = drawn.map(edge => this.curve(edge));
    drawn.sort((a, b) => Number(a.covers) - Number(b.covers));  // they show only where they are needed, on top then
    this.crowded = drawn.length > TAGS || drawn.filter(edge => edge.covers).length > drawn.length / 2;
    const frames = groups.filter(group => this.open.has(group.i)).map(group => this.frame(group));
    const lids = groups.filter(group => !this.open.has(group.i)).map(group => this.box(group, nodes[group.result], group));
    const boxes = nodes.filter(node => !this.closed(node)).map(node => this.box(node, node));
    const [w, h] = this.size;
    this.svg = make("svg",
      {viewBox: `-16 -16 ${w} ${h}`, role: "group", "aria-label": WORDS.drawing, class: this.crowded ? "crowded" : ""},
      frames, this.lines, drawn.map(edge => edge.tag), lids, boxes);
    this.place.replaceChildren(this.svg);
    this.resize();
    // A name that is too wide for its box is cut.
    const parts = this.things.map(({name, op, width}) => {
      const sign = op.getComputedTextLength();
      return (width - 18 - (sign && sign + 6)) / name.getComputedTextLength();
    });
    this.things.forEach(({name}, i) => {
      const {textContent: text} = name;
      if (parts[i] < 1) write(name, `${text.slice(0, Math.max(1, parts[i] * text.length - 2))}…`);
    });
  }

  curve(edge) {
    const path = `M${edge.points[0]}C${edge.points.slice(1).join(" ")}`;
    edge.line = make("path", {d: path, class: "line"});
    const element = make("g", {}, make("path", {d: path, class: "touch"}), edge.line);
    element.addEventListener("click", () => this.page.pick({edge}));
    this.tag(edge);
    return element;
  }

  // Write a local partial on its tag, and the product below it; how wide it is then.
  word(edge) {
    const text = edge.hidden ? "×?" : edge.partial === null ? WORDS.cut : `×${told(edge.partial, 3)}`, product = edge.product || "";
    const width = Math.max(letters(text), letters(product), edge.room || 0) + 12;
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

  // The local partial, on the curve, where it covers no box and no other tag; from its last piece on.
  tag(edge) {
    edge.room = letters(`= ${told(edge.contribution ?? 0, 3)}`);
    const width = this.word(edge), places = [], {points} = edge, {nodes, groups} = this.graph;
    const things = [...nodes.filter(node => !this.closed(node)), ...groups.filter(group => !this.open.has(group.i))];
    for (let last = points.length - 4; last >= 0; last -= 3) {
      const [a, b, c, d] = points.slice(last);
      const at = (t, s, i) => s * s * s * a[i] + 3 * s * s * t * b[i] + 3 * s * t * t * c[i] + t * t * t * d[i];
      for (const t of [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.9, 0.1]) places.push({x: at(t, 1 - t, 0), y: at(t, 1 - t, 1), width});
    }
    const beside = ({x, y}, left, right, top, bottom) =>
      x + width / 2 + 3 < left || x - width / 2 - 3 > right || y + 28 < top || y - 12 > bottom;
    const isFree = place => this.tags.every(tag => beside(place, tag.x - tag.width / 2, tag.x + tag.width / 2, tag.y - 9, tag.y + 25))
      && things.every(({left, top, width, height}) => beside(place, left, left + width, top, top + height));
    const free = places.find(isFree), place = free || places[0];
    edge.covers = !free;
    if (free) this.tags.push(place);
    edge.tag = make("g", {"data-edge": edge.i, transform: `translate(${place.x.toFixed(1)},${place.y.toFixed(1)})`},
      edge.pill, edge.words, edge.result);
    this.button(edge.tag, () => this.page.pick({edge}));
  }

  // A node, or a closed neuron, which shows the node it results in.
  box(shape, node, group) {
    const {left, top, width, height} = shape, round = node.ins.length ? 7 : 16;
    const thing = {node, group, width, name: make("text", {class: "name", x: 9, y: 17}, brief(group || node)),
      op: make("text", {class: "op", x: width - 9, y: 17, "text-anchor": "end"}, node.op),
      value: make("text", {class: "value", x: width / 2, y: 37, "text-anchor": "middle"}),
      slope: make("text", {class: "grad", x: width / 2, y: height - 8, "text-anchor": "middle"}),
      strip: make("rect", {class: "strip", x: 2, y: height - 23, width: width - 4, height: 21, rx: round - 2, "fill-opacity": 0})};
    thing.element = make("g", {transform: `translate(${left},${top})`, "data-node": node.id},
      group && make("rect", {class: "behind", x: 4, y: 4, width, height, rx: round}),
      make("rect", {class: "shape", width, height, rx: round}), thing.strip,
      thing.name, thing.op, thing.value, thing.slope,
      thing.mark = make("text", {class: "mark", x: 9, y: height + 13}));
    this.button(thing.element, () => group ? this.toggle(group) : this.page.pick({node}));
    if (!group && this.page.live.movable(node)) this.handle(thing.element, node);
    this.things.push(thing);
    return thing.element;
  }

  // The number of a leaf is dragged on its box.
  handle(element, node) {
    let start = 0, step = 1;
    draggable(element, () => {
      start = this.page.live.values[node.i];
      step = stepOf(start);
    }, (by, fine) => this.page.live.drag(node, rounded(start + by / 4 * step * (fine ? FINE : 1), step * FINE)),
    () => this.page.live.dropped());
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
    if (!group.inside) return this.page.level(this.graph.level - 1, group);
    if (!this.open.delete(group.i)) this.open.add(group.i);
    this.build();
    this.page.show();
  }

  // --- one moment ---

  // Most of a step leaves most of the graph as it was: what is as before is not touched.
  show(moment) {
    const {step, current, hidden} = moment, {most} = this, picked = moment.node || moment.edge;
    this.land();
    for (const thing of this.things) {
      const {node, group} = thing, many = group?.neurons.length > 1, results = many ? group.neurons.map(([, a]) => a) : [node];
      const known = results.every(one => one.known <= step), home = one => one === node || (group && one?.group === group.i);
      const grads = results.map(one => this.graph.gradAt(one, step)), size = many ? Math.hypot(...grads) : grads[0];
      const grad = hidden("sum", node) ? "?" : grads.includes(undefined) ? undefined : size;
      const sign = many ? grad > 0 ? " many" : "" : grad < 0 ? " minus" : grad > 0 ? " plus" : "";
      const slope = grad === undefined ? known ? "–" : "" : `${many ? "‖∂‖" : "∂"} ${grad === "?" ? grad : told(grad)}`;
      const value = !known ? "" : hidden("value", node) ? "?" : many ? WORDS.many(results.length) : told(node.data);
      const now = moment.group ? group === moment.group : home(current.node) || home(current.edge?.to);
      const look = `node${group ? " lid" : ""}${node.ins.length ? "" : " leaf"}${known ? "" : " unknown"}${sign}`
        + (now && !picked ? " current" : "") + (moment.node === node ? " picked" : "")
        + (!group && this.page.live.movable(node) ? " movable" : "") + (moment.lit && !moment.lit.nodes.has(node) ? " faded" : "");
      const strength = sign ? (0.12 + 0.4 * Math.min(1, Math.abs(grad) / most || 0)).toFixed(2) : 0;
      const state = [look, value, slope, strength, node.mark].join();
      if (thing.state === state) continue;
      thing.state = state;
      thing.shown = slope;
      write(thing.mark, known && node.mark || "");
      write(thing.value, value);
      write(thing.slope, slope);
      set(thing.strip, "fill-opacity", strength);
      set(thing.element, "class", look);
      const name = group ? WORDS.open(group.name) : node.name;
      set(thing.element, "aria-label", WORDS.boxLabel(name, value, slope.replace(/^\S+ /, "")));
    }
    for (const edge of this.graph.edges) if (edge.line) this.showEdge(edge, moment, most);
  }

  showEdge(edge, {step, current, node, edge: picked, hidden, lit}, most) {
    const {bundle} = edge, one = bundle.length === 1, known = bundle.some(({to}) => to.known <= step), done = edge.step <= step;
    const now = bundle.includes(current.edge) && !node && !picked;
    const into = current.kind === "value" && current.node === edge.to;
    const all = bundle.filter(({step: at, live}) => at <= step && live), carries = all.length && !hidden("share", edge);
    const size = carries && Math.hypot(...all.map(({contribution}) => contribution)), strength = 1.5 + 4 * Math.min(1, size / most || 0);
    const sign = !carries || !one || !edge.contribution ? "" : edge.contribution < 0 ? " minus" : " plus";
    const look = (now ? " current" : "") + (into ? " into" : "") + (picked === edge ? " picked" : "")
      + (known ? "" : " unknown") + (done && !edge.live ? " cut" : "") + sign
      + (lit ? lit.edges.has(edge) ? ` path${lit.edges.get(edge)}` : " faded" : "");
    const tagged = one && known && step >= this.graph.seed, always = !edge.covers && !this.crowded;
    const seen = tagged && (always || now || picked === edge);
    edge.product = seen && carries ? `= ${told(edge.contribution, 3)}` : "";
    edge.hidden = hidden("local", edge);
    const state = [look, strength, tagged, seen && edge.partial, edge.product, edge.hidden].join();
    if (edge.state === state) return;
    edge.state = state;
    if (seen || edge.seen) this.word(edge);
    edge.seen = seen;
    set(edge.line, "stroke-width", strength.toFixed(2));
    set(edge.line, "class", "line" + look);
    set(edge.tag, "class", "tag" + look + (edge.covers ? " covers" : "") + (tagged ? "" : " absent"));
    set(edge.tag, "tabindex", tagged ? 0 : -1);
    set(edge.tag, "aria-label", seen && `${TEXT.slope(edge.to, edge.from)} ${edge.words.textContent} ${edge.product}`);
  }

  // --- the token: what comes from above leaves its box, passes the tag, and is added as the contribution ---

  fly(edge, time) {
    const {line, from, to} = edge, box = this.things.find(thing => thing.node === from && !thing.group), length = line.getTotalLength();
    const share = TEXT.wrapped(edge.contribution), first = from.shares[0] === edge && from !== this.graph.root;
    const before = first ? "–" : `∂ ${told(edge.before)}`;
    const words = make("text", {y: 4, "text-anchor": "middle"}, told(to.grad)), place = edge.tag.transform.baseVal[0].matrix;
    const token = make("g", {class: "token", "aria-hidden": "true"}, make("rect", {x: -28, y: -11, width: 56, height: 22, rx: 11}), words);
    this.flight = {token, edge, box};
    write(edge.result, "");
    if (box) write(box.slope, before);
    this.svg.append(token);
    let start = null, passed = false;
    const frame = now => {
      start ??= now;
      const done = (now - start) / time, at = line.getPointAtLength(length * (1 - Math.min(1, done)));
      set(token, "transform", `translate(${at.x.toFixed(1)},${at.y.toFixed(1)})`);
      if (!passed && at.x <= place.e + 4) {
        passed = true;
        write(words, told(edge.contribution));
        write(edge.result, edge.product);
      }
      if (done >= 1 && box) {
        set(token, "class", "token absent");
        write(box.slope, first ? `∂ ${told(edge.contribution)}` : `${before} + ${share}`);
      }
      if (done > 1.7) return this.land();
      this.flight.frame = requestAnimationFrame(frame);
    };
    this.flight.frame = requestAnimationFrame(frame);
  }

  // It has arrived, or something else is shown.
  land() {
    if (!this.flight) return;
    const {token, edge, box, frame} = this.flight;
    cancelAnimationFrame(frame);
    this.flight = null;
    token.remove();
    write(edge.result, edge.product);
    if (box) write(box.slope, box.shown);
  }

  // --- size and place ---

  // As large as fits beside the panel, or above it where that is larger; but never too small to read: then the
  // graph is scrolled. The reader may zoom further in or out.
  resize() {
    const main = document.querySelector("main"), {clientWidth: across, clientHeight: down} = main, [w, h] = this.size;
    const fit = (width, height) => Math.min((width - 24) / w, (height - 24) / h, this.largest());
    const beside = fit(across - Math.min(460, Math.max(330, 0.34 * across)), down), above = fit(across, HIGHEST * down - 40);
    const stacked = above > 1.1 * beside && !document.body.hasAttribute("data-large");
    set(main, "class", stacked ? "stacked" : null);
    const {clientWidth: width, clientHeight: height} = this.place;
    this.base = Math.max(READABLE, fit(width, stacked ? HIGHEST * down - 40 : height));
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
    this.scale(Math.min((clientWidth - 24) / w, (clientHeight - 24) / h, this.largest()) / this.base);
  }

  // Of the full size, where letters are as in the panel; for an audience, larger.
  largest() {
    return document.body.hasAttribute("data-large") ? 2.5 : 1.25;
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

// Live leaves: a number is dragged, typed or moved by the arrow keys, and everything is computed anew.

const FINE = 0.1, LINKED = 20000;  // of a step, with shift; letters of a link that are read
const exact = x => String(x);

// One step of a drag or of an arrow key: a hundredth of the number's size, as a round number.
const stepOf = x => 10 ** Math.max(-6, Math.floor(Math.log10(Math.max(Math.abs(x), 0.1))) - 1);

// Without the digits that binary fractions leave behind: 0.1 + 0.2 is 0.3 for whoever drags.
const rounded = (x, step) => Number((Math.round(x / step) * step).toPrecision(12));

class Live {
  constructor(graph, moment) {
    this.graph = graph;
    this.moment = moment;
    this.machine = Machine.of(graph);
    this.drag = this.dropped = this.panel = null;  // what the page does with a leaf
    this.dragging = false;
    this.order = graph.order.map(node => node.i);
    this.origin = Float64Array.from(moment.data.map(number));
    this.values = this.origin.slice();
    this.fixed = this.findFixed();
    this.mark();
  }

  // Why a leaf cannot be changed: an operation above it is a function that the page does not have.
  findFixed() {
    const why = new Map();
    for (const node of [...this.graph.order].reverse()) {
      const cause = node.rule === undefined ? node : node.outs.map(edge => why.get(edge.to)).find(Boolean);
      if (cause) why.set(node, cause);
    }
    for (const node of this.graph.nodes) if (!node.ins.length) {
      const cause = node.outs.map(edge => why.get(edge.to)).find(Boolean);
      if (cause) why.set(node, cause);
    }
    return why;
  }

  movable(node) {
    return !node.ins.length && !this.fixed.has(node);
  }

  get changed() {
    return this.graph.nodes.filter(node => !node.ins.length && !Object.is(this.values[node.i], this.origin[node.i]));
  }

  set(node, x) {
    this.values[node.i] = x;
    this.compute();
  }

  reset() {
    this.values = this.origin.slice();
    this.graph.take(this.moment);
    this.mark();
  }

  compute() {
    if (!this.changed.length) return this.reset();
    const {edges} = this.graph, moment = this.machine.moment(this.values, this.order, edges);
    for (const [i, edge] of edges.entries())
      if (edge.to.rule === undefined) moment.partials[i] = number(this.moment.partials[i]);
    this.graph.take(moment);
    this.mark();
  }

  // What stands below a node: that it lets nothing through, or nearly nothing, as drawings say it too; that it is
  // not computed here; that .grad of a leaf is not the gradient that is stepped to.
  mark() {
    for (const node of this.graph.nodes) {
      const {i, ins, op} = node, rule = this.graph.rules[node.rule], other = !this.changed.length && this.moment.others?.[i];
      node.mark = other ? WORDS.other(...other.map(x => told(number(x)))) : ins.length && !rule ? WORDS.foreign : "";
      if (!rule?.partials || ins.length !== 1) continue;
      const [{partial, from: {data: x}}] = ins, d = Math.abs(partial);
      if (rule.selects) node.mark = partial === null ? WORDS.dead(op) : "";
      else if (node.smooth && d < 0.01 && x !== 0 && Math.abs(this.machine.partialAt(i, 2 * x)) <= d / 10) node.mark = WORDS.saturated;
    }
  }

  // By how much the root moves when a leaf does.
  nudge(node, by) {
    const values = this.values.slice();
    values[node.i] += by;
    this.machine.run(values, this.order);
    return values[this.graph.root.i] - this.values[this.graph.root.i];
  }

  // The first node that is not finite though its operands are.
  broken() {
    return this.graph.order.find(node => !Number.isFinite(node.data) && node.ins.every(edge => Number.isFinite(edge.from.data)));
  }

  // What is typed, as a number; or an error to show.
  read(text) {
    const plain = text.trim().replace(/−/g, "-").replace(/^\+/, "");
    const x = /^-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(plain) ? Number(plain) : NaN;
    if (Number.isFinite(x)) return {x};
    const shown = plain.length > 20 ? plain.slice(0, 20) + "…" : plain;
    return {error: WORDS.kept(Math.abs(x) === Infinity ? WORDS.tooLarge(shown) : WORDS.notANumber(shown))};
  }

  // --- in the link ---

  write() {
    return this.changed.map(node => `${node.id}:${exact(this.values[node.i])}`).join(",");
  }

  // Take numbers from a link, whatever it says; false if some of it makes no sense here.
  take(text) {
    const before = this.values.slice();
    this.values.set(this.origin);
    let good = text.length <= LINKED;
    for (const part of good && text ? text.split(",") : []) {
      const [id, number] = part.split(":"), node = this.graph.nodes.find(one => one.id === id);
      const {x} = this.read(number || "");
      if (node && this.movable(node) && x !== undefined) this.values[node.i] = x;
      else good = false;
    }
    if (before.some((x, i) => !Object.is(x, this.values[i]))) this.compute();
    return good;
  }
}

// A box whose number is dragged: to the right is more, with shift in finer steps. Less than three pixels is a click.
function draggable(element, start, move, end) {
  element.addEventListener("pointerdown", event => {
    if (event.button) return;
    start();
    const {clientX, pointerId} = event;
    let moved = false;
    const follow = at => {
      if (!moved && Math.abs(at.clientX - clientX) < 3) return;
      if (!moved) element.setPointerCapture(pointerId);
      moved = true;
      move(at.clientX - clientX, at.shiftKey);
    };
    const stop = () => {
      element.removeEventListener("pointermove", follow);
      for (const name of ["pointerup", "pointercancel"]) element.removeEventListener(name, stop);
      if (moved) {
        element.addEventListener("click", click => click.stopImmediatePropagation(), {once: true, capture: true});
        setTimeout(() => end(), 0);
      }
    };
    element.addEventListener("pointermove", follow);
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, stop);
  });
}

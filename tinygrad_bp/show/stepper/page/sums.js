"use strict";
// What the page knows without drawing anything: the graph, the steps, and the sums that backpropagation is.
// graph.js draws it, panel.js puts it in words, stepper.js listens.  No text is ever read as markup.

/** @type {(id: string) => any} */
const $ = id => document.getElementById(id);
const number = x => typeof x === "string" ? {nan: NaN, inf: Infinity, "-inf": -Infinity}[x] : x;

// An element with attributes and children; strings become text.
/** @returns {any} */
function make(tag, attributes = {}, ...children) {
  const space = /^(svg|g|path|rect|text|circle|style)$/.test(tag) ? "2000/svg" : tag.startsWith("m") ? "1998/Math/MathML" : "1999/xhtml";
  const element = document.createElementNS(`http://www.w3.org/${space}`, tag);
  for (const name in attributes) set(element, name, attributes[name]);
  element.append(...children.flat(9).filter(child => child != null && child !== ""));
  return element;
}

// Touch the page only where something changed: most of a step changes little.
function set(element, name, value) {
  if (value == null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Four digits are shown; what is added and multiplied are the whole numbers.
function digits(x, many) {
  let [number, power] = x.toPrecision(many).split("e");
  if (!power && x && Math.abs(x) < 1e-3) [number, power] = x.toExponential(many - 1).split("e");
  if (number.includes(".")) number = number.replace(/\.?0+$/, "");
  return [number === "-0" ? "0" : number, +(power || 0)];
}

function told(x, many = 4) {
  if (!Number.isFinite(x)) return String(x).replace("NaN", "nan").replace("-", "−").replace("Infinity", "∞");
  const [number, power] = digits(x, many);
  const raised = String(power).replace(/./g, c => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
  return number.replace("-", "−") + (power ? `·10${raised}` : "");
}

function toldInLatex(x, many = 4) {
  if (!Number.isFinite(x)) return String(x).replace("NaN", "\\mathrm{nan}").replace("Infinity", "\\infty");
  const [number, power] = digits(x, many);
  return number + (power ? ` \\cdot 10^{${power}}` : "");
}

const brackets = (text, when) => when.test(text) ? `(${text})` : text;

// Two ways to write the same: text for the page and for Markdown, and LaTeX.
const TEXT = {
  form: 0, times: " × ", name: node => node.name, number: told,
  inside: node => node.loose ? `(${node.name})` : node.name,
  wrapped: x => brackets(told(x), /^−|·/),
  slope: (a, b) => `∂${TEXT.inside(a)}/∂${TEXT.inside(b)}`,
};
const LATEX = {
  form: 1, times: " \\cdot ", name: node => node.tex, number: toldInLatex,
  inside: node => node.loose ? `(${node.tex})` : node.tex,
  wrapped: x => brackets(toldInLatex(x), /^-|\\cdot/),
  slope: (a, b) => `\\frac{\\partial ${LATEX.inside(a)}}{\\partial ${LATEX.inside(b)}}`,
};

// How the page writes: in mathematics where the browser has it.
const SEEN = globalThis.MathMLElement ? LATEX : TEXT;
const seen = text => SEEN.form ? mathml(text) : [text];

class Graph {
  constructor(graph, values) {
    this.rules = graph.rules;
    this.nodes = graph.nodes.map((node, i) => ({...node, i, ins: [], outs: []}));
    this.edges = graph.edges.map((edge, i) => ({...edge, i, from: this.nodes[edge.src], to: this.nodes[edge.dst]}));
    for (const edge of this.edges) {
      edge.from.outs.push(edge);
      edge.to.ins.push(edge);
    }
    this.views = graph.views;
    this.forms = graph.forms;
    this.order = graph.order.map(i => this.nodes[i]);
    this.root = this.nodes[graph.root];
    this.sums = new Map();  // the weighted sum of each neuron, with the number of its layer
    for (const {level, groups} of this.views) if (level === "layers")
      for (const {neurons, layer} of groups) for (const [sum] of neurons) this.sums.set(this.nodes[sum], layer);
    this.use(graph.first);
    this.take(values);
  }

  // At one level: where everything is, and which nodes are in which neuron or layer.
  use(level) {
    const view = this.views[this.level = level];
    this.nodes.forEach((node, i) => Object.assign(node, view.nodes[i]));
    this.edges.forEach((edge, i) => Object.assign(edge, {route: null, enter: null}, view.edges[i]));
    this.groups = view.groups.map((group, i) => {
      const name = group.name.replace(/^layer (\d+)$/, (_, n) => WORDS.layer(n));
      return {...group, i, name, neurons: group.neurons.map(pair => pair.map(j => this.nodes[j]))};
    });
    this.size = view.size;
  }

  // The numbers of one moment: of the user's graph, or of one recorded step of its training.
  take(values) {
    this.nodes.forEach((node, i) => {
      Object.assign(node, {data: number(values.data[i]), engine: values.grads && number(values.grads[i])});
    });
    this.edges.forEach((edge, i) => { edge.partial = number(values.partials[i]); });
    this.accumulate();
    this.steps = this.listSteps();  // which edges are cut depends on the numbers
  }

  // Backpropagation: newest node first, each hands its operands upstream × local partial.
  accumulate() {
    for (const node of this.nodes) { node.grad = 0; node.reached = node === this.root; node.shares = []; }
    this.root.grad = 1;
    for (const node of [...this.order].reverse()) for (const edge of node.ins) {
      edge.live = node.reached && edge.partial !== null;
      edge.contribution = edge.live ? edge.partial * node.grad : undefined;
      edge.before = edge.from.grad;
      if (edge.live) {
        edge.from.grad += edge.contribution;
        edge.from.reached = true;
        edge.from.shares.push(edge);
      }
      edge.after = edge.from.grad;
    }
  }

  // Where these sums are not the engine's; there is no such node, and the page says so if there is.
  disagreements() {
    return this.nodes.filter(({grad, engine}) => engine !== undefined && grad !== engine && !(Number.isNaN(grad) && Number.isNaN(engine)));
  }

  // The largest gradient there is: colour and width are measured by it.
  strongest() {
    return Math.max(...this.nodes.map(node => Math.abs(node.grad)).filter(Number.isFinite), 1e-300);
  }

  listSteps() {
    const steps = [{kind: "start"}, ...this.order.map(node => ({kind: "value", node})), {kind: "seed", node: this.root}];
    let turn = 0;
    this.nodes.forEach(node => { node.known = 0; });
    this.order.forEach((node, i) => { node.known = i + 1; });
    this.seed = steps.length - 1;
    for (const node of [...this.order].reverse()) for (const edge of node.ins) {
      edge.step = node.reached ? steps.length : Infinity;
      if (node.reached) steps.push({kind: "edge", edge, node: edge.from});
      if (edge.live) edge.turn = turn++;
    }
    return steps;
  }

  // A node's gradient so far: undefined before the first contribution (it is not 0, it is not known).
  gradAt(node, step) {
    if (step < this.seed) return undefined;
    const come = node.shares.filter(edge => edge.step <= step);
    if (come.length) return come[come.length - 1].after;
    if (node === this.root) return 1;
    return step === this.steps.length - 1 ? node.grad : undefined;
  }

  // A form is a list such as [0, " · ", 1]: operand 0 times operand 1. Of one that needs brackets where it is
  // negative, the place is written as -1 - i. The place after the last operand is the result.
  filled(form, node, say, numbers = false) {
    const at = i => i < node.ins.length ? node.ins[i].from : node;
    const bare = x => numbers ? say.number(x.data) : say.name(x);
    const inside = (x, term) => numbers ? say.wrapped(x.data) : say.inside(x, term);  // whether it is a term of a sum
    const parts = this.forms[form][say.form], ends = part => part === undefined || / [-+−] $/.test(part);
    const written = (part, i) => part >= 0 ? bare(at(part)) : part < 0
      ? inside(at(-1 - part), ends(parts[i - 1]) && ends(parts[i + 1])) : part;
    return parts.map(written).join("");
  }

  // The root as one formula of the leaves, if that is short; in LaTeX each term has the number of its node.
  formula() {
    const texts = new Map(), texes = new Map(), {root} = this;
    const loose = (text, signs) => {
      for (let whole = ""; whole !== text;) text = (whole = text).replace(/\([^()]*\)/g, "");
      return signs.test(text);
    };
    const saying = (say, written) => ({form: say.form, name: one => written.get(one), inside: (one, term) =>
      loose(texts.get(one), term ? /[-−+]/ : /[-−+·×/ ]/) ? `(${written.get(one)})` : written.get(one)});
    const both = (node, text, tex) => { texts.set(node, text); texes.set(node, node === root ? tex : `\\term{${node.i}}{${tex}}`); };
    for (const node of this.nodes) if (!node.ins.length) both(node, node.name, node.tex);
    for (const node of this.order) {
      const text = this.filled(node.form, node, saying(TEXT, texts));
      if (text.length > 60) return null;
      both(node, text, this.filled(node.form, node, saying(LATEX, texes)));
    }
    if (!this.order.length) return null;
    return SEEN === LATEX ? `\\term{${root.i}}{${root.tex}} = ${texes.get(root)}` : `${root.name} = ${texts.get(root)}`;
  }

  // The local partial in symbols: "" where it is a plain number, or its rule cannot be read on symbols.
  slope(edge, say) {
    const form = this.forms[edge.form];
    return form && form[0].some(part => typeof part === "number") ? this.filled(edge.form, edge.to, say) : "";
  }

  // All ways from a node to the root over edges that carry something, up to a number of them.
  paths(node, most) {
    const counts = new Map([[this.root, 1]]);
    for (const at of [...this.order].reverse()) for (const {from, live} of at.ins) {
      if (live) counts.set(from, (counts.get(from) || 0) + (counts.get(at) || 0));
    }
    const count = counts.get(node) || 0, found = [];
    const walk = (at, edges) => {
      if (at === this.root) found.push(edges);
      else for (const edge of at.outs) if (edge.live) walk(edge.to, [...edges, edge]);
    };
    if (count <= most) walk(node, []);
    return {count, found};
  }
}

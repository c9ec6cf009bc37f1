// The page's arithmetic: runs the user's graph on other numbers.  Nothing here is generated or evaluated: a rule
// is data (lists of primitives and the places of their operands), and one loop reads it.

// C's pow where Math.pow differs: 1 to any power is 1, and so is -1 to an infinite one.
const power = (x, y) => x === 1 || x === -1 && (y === Infinity || y === -Infinity) ? 1 : x ** y;

// To the nearest whole number, halves to the even; signs of zero stay.
function nearest(x) {
  if (!(Math.abs(x) < 2 ** 52)) return x;
  const down = Math.floor(x), rest = x - down, whole = rest < 0.5 || rest === 0.5 && down % 2 === 0 ? down : down + 1;
  return whole === 0 && (x < 0 || Object.is(x, -0)) ? -0 : whole;
}

// The Taylor series near 0, beyond it by erfc.
function erf(x) {
  if (!(Math.abs(x) < 0.75)) return x > 0 ? 1 - erfc(x) : x < 0 ? erfc(-x) - 1 : x;
  let term = x, sum = x;
  for (let n = 1; n < 20; n++) sum += (term *= -x * x / n) / (2 * n + 1);
  return 2 / Math.sqrt(Math.PI) * sum;
}

// Laplace's continued fraction, from the term on that is below the last digit.
function erfc(x) {
  if (x < 0.75) return x < 0 ? 2 - erfc(-x) : 1 - erf(x);
  if (!(x < 27.3)) return x > 0 ? 0 : x;
  const head = Math.fround(x);  // x² without the loss of its rounding
  let below = x;
  for (let n = Math.ceil(8 + 200 / (x * x)); n > 0; n--) below = x + n / 2 / below;
  return Math.exp(-head * head) * Math.exp((head - x) * (head + x)) / below / Math.sqrt(Math.PI);
}

// By the names that the data uses.
const PRIMITIVES = {
  add: (x, y) => x + y, sub: (x, y) => x - y, mul: (x, y) => x * y, div: (x, y) => x / y, neg: x => -x,
  gt: (x, y) => +(x > y), ge: (x, y) => +(x >= y), eq: (x, y) => +(x === y), ne: (x, y) => +(x !== y),
  where: (c, x, y) => c !== 0 ? x : y, nan_if: (o, d) => o === o ? d : NaN,
  max: (x, y) => x >= y || x !== x ? x : y, min: (x, y) => x <= y || x !== x ? x : y,
  relu: x => x > 0 || x !== x ? x : 0, step: x => x > 0 ? 1 : x !== x ? x : 0,
  abs: Math.abs, sqrt: Math.sqrt, floor: Math.floor, ceil: Math.ceil, round: nearest, fmod: (x, y) => x % y,
  exp: Math.exp, expm1: Math.expm1, log: Math.log, log2: Math.log2, log10: Math.log10,
  log1p: Math.log1p, cbrt: Math.cbrt, pow: power, hypot: Math.hypot, erf, erfc,
  sin: Math.sin, cos: Math.cos, tan: Math.tan, asin: Math.asin, acos: Math.acos, atan: Math.atan, atan2: Math.atan2,
  sinh: Math.sinh, cosh: Math.cosh, tanh: Math.tanh, asinh: Math.asinh, acosh: Math.acosh, atanh: Math.atanh,
};

// What takes lists: sums of any length, from a start on, and the entry at an index.
const ON_LISTS = {
  total(t, step) {
    let sum = t[step[1]];
    for (let i = 2; i < step.length; i++) sum += t[step[i]];
    return sum;
  },
  inner(t, step) {
    const n = (step.length - 2) / 2;
    let sum = t[step[1]];
    for (let i = 2; i < n + 2; i++) sum += t[step[i]] * t[step[i + n]];
    return sum;
  },
  take(t, step) {
    const k = t[step[1]];
    return Number.isInteger(k) && k >= 0 && k < step.length - 2 ? t[step[k + 2]] : NaN;
  },
};

// Runs a rule on the operands in t, in place: they come first, then the result, the constants, and the steps.
function runRule(rule, t) {
  const {operands: n, constants, steps, split} = rule, first = n + 1 + constants.length;
  t.set(constants, n + 1);
  for (let i = 0; i <= steps.length; i++) {
    if (i === split) t[n] = t[rule.value];  // the partials may use the result
    if (i === steps.length) break;
    const step = steps[i], f = PRIMITIVES[step[0]];
    t[first + i] = !f ? ON_LISTS[step[0]](t, step) : step.length === 2 ? f(t[step[1]])
      : step.length === 3 ? f(t[step[1]], t[step[2]]) : f(t[step[1]], t[step[2]], t[step[3]]);
  }
}

// A graph whose nodes have rules: {ins: places of the operands, rule: which}, in the order in which they were made.
class Machine {
  static of({nodes, edges, rules}) {
    const ins = nodes.map(() => []);
    for (const {src, dst} of edges) ins[dst].push(src);
    return new Machine(nodes.map(({rule}, i) => ({ins: ins[i], rule: rule ?? -1})), rules);
  }

  constructor(nodes, rules) {
    this.nodes = nodes;
    this.rules = rules.map(rule => rule && {...rule, constants: rule.constants.map(number)});
    const size = rule => rule ? rule.operands + 1 + rule.constants.length + rule.steps.length : 1;
    this.scratch = new Float64Array(Math.max(1, ...this.rules.map(size)));
  }

  // Values in place, of nodes in this order; for each node its partials: null where an edge is cut.
  run(values, order) {
    const partials = [];
    for (const i of order) {
      const {ins, rule: which} = this.nodes[i], rule = this.rules[which], t = this.scratch;
      if (!rule) continue;
      for (let k = 0; k < ins.length; k++) t[k] = values[ins[k]];
      runRule(rule, t);
      values[i] = t[rule.operands];
      partials[i] = ins.map((_, k) => {
        const d = rule.partials ? t[rule.partials[k]] : 0;
        return !rule.partials || rule.selects && d === 0 ? null : d;
      });
    }
    return partials;
  }

  // The numbers of a graph on the leaves in these values: all values, in place, and the partial of each edge.
  moment(values, order, edges) {
    const partials = this.run(values, order);
    return {data: values, partials: edges.map(({dst, slot}) => (partials[dst] || [])[slot] ?? null)};
  }

  // The partial of a node with one operand, were that operand x.
  partialAt(i, x) {
    const rule = this.rules[this.nodes[i].rule];
    this.scratch[0] = x;
    runRule(rule, this.scratch);
    return this.scratch[rule.partials[0]];
  }
}

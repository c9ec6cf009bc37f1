"use strict";
// Runs a program that Python compiled: loop nests over typed arrays, many samples at once.  Nothing is generated
// or evaluated: a nest is data (operations in postfix order, addresses and their strides), and one loop reads it.
// What an operation is stands in machine.js.

const TILE = 128;  // samples at a time: what they need stays in the processor's cache
const [ONCE, SAMPLE, SUM, COUNT] = [0, 1, 2, 3];  // kinds of nests
const LONG = {total: 1, inner: 2, take: 1};  // what takes lists, and how many

Object.assign(PRIMITIVES, {copy: x => x});  // what is the same for all samples, as one of each

/** @type {(x: any) => number} */
const finite = x => typeof x === "string" ? {nan: NaN, inf: Infinity, "-inf": -Infinity}[x] : x;

// One operation on whole vectors: a step of 0 repeats a number, 1 takes the next.
function applied(name, out, o, x, xo, xs, y, yo, ys, z, zo, zs, n) {
  switch (name) {
    case "add": for (let i = 0; i < n; i++, xo += xs, yo += ys) out[o + i] = x[xo] + y[yo]; return;
    case "sub": for (let i = 0; i < n; i++, xo += xs, yo += ys) out[o + i] = x[xo] - y[yo]; return;
    case "mul": for (let i = 0; i < n; i++, xo += xs, yo += ys) out[o + i] = x[xo] * y[yo]; return;
    case "div": for (let i = 0; i < n; i++, xo += xs, yo += ys) out[o + i] = x[xo] / y[yo]; return;
    case "neg": for (let i = 0; i < n; i++, xo += xs) out[o + i] = -x[xo]; return;
    case "abs": for (let i = 0; i < n; i++, xo += xs) out[o + i] = Math.abs(x[xo]); return;
    case "ge": for (let i = 0; i < n; i++, xo += xs, yo += ys) out[o + i] = x[xo] >= y[yo] ? 1 : 0; return;
    case "exp": for (let i = 0; i < n; i++, xo += xs) out[o + i] = Math.exp(x[xo]); return;
    case "tanh": for (let i = 0; i < n; i++, xo += xs) out[o + i] = Math.tanh(x[xo]); return;
    case "where": for (let i = 0; i < n; i++, xo += xs, yo += ys, zo += zs) out[o + i] = x[xo] !== 0 ? y[yo] : z[zo]; return;
  }
  const f = PRIMITIVES[name];
  if (f.length === 1) for (let i = 0; i < n; i++, xo += xs) out[o + i] = f(x[xo]);
  else if (f.length === 2) for (let i = 0; i < n; i++, xo += xs, yo += ys) out[o + i] = f(x[xo], y[yo]);
  else for (let i = 0; i < n; i++, xo += xs, yo += ys, zo += zs) out[o + i] = f(x[xo], y[yo], z[zo]);
}

class Program {
  constructor(data) {
    this.inputs = data.inputs;
    this.outputs = data.outputs;
    this.summed = data.summed;
    this.table = Int32Array.from(data.table);
    this.scalars = new Float64Array(data.scalars);
    this.scalars.set(data.constants.map(finite), data.leaves);
    this.rows = new Float64Array(data.rows * TILE);
    this.sums = new Float64Array(data.outputs.length);
    this.nests = data.nests.map(nest => this.prepared(nest));
    const deepest = Math.max(1, ...data.nests.map(nest => nest.shape.length));
    this.scratch = Array.from({length: deepest}, () => new Float64Array(TILE));
    this.single = new Float64Array(deepest);  // results that are the same for all samples
    this.buffer = Array(deepest).fill(this.scalars);  // the stack: where its entries are, and whether they are vectors
    this.offset = new Int32Array(deepest);
    this.step = new Int32Array(deepest);
  }

  prepared({kind, shape, runs, base, loops, table, length}) {
    const literals = Float64Array.from(shape.filter(Array.isArray).map(([x]) => finite(x)));
    let place = 0, k = 0;
    const steps = shape.map(token => {
      if (Array.isArray(token)) return {leaf: 2, at: place++};
      if (typeof token === "number") { k += 1; return {leaf: token, at: k}; }
      if (!(token in LONG)) return {leaf: -1, name: token, takes: PRIMITIVES[token].length};
      const lists = Array.from({length: LONG[token]}, () => { k += 1; return {rows: runs[k - 1][0] === 1, stride: runs[k - 1][1], at: k}; });
      return {leaf: -2, name: token, lists, length};
    });
    const [[rows, hop], [trips, stride]] = [...Array(2 - loops.length).fill([1, base.map(() => 0)]), ...loops];
    return {kind, steps, literals, base, table, rows, hop, trips, stride, address: new Int32Array(base.length),
      at: new Int32Array(base.length)};
  }

  // The outputs for `count` samples, or for those that are picked, from a column for each input: sums over the
  // samples, or a column for each output.
  run(leaves, columns, count, picked = null) {
    const {scalars, rows, inputs} = this, n = picked ? picked.length : count;
    scalars.set(leaves);
    this.sums.fill(0);
    const found = this.summed ? [] : this.outputs.map(() => new Float64Array(n));
    for (const nest of this.nests) if (nest.kind === ONCE) this.nest(nest, 1);
    for (let start = 0; start < n; start += TILE) {
      const lanes = Math.min(TILE, n - start);
      for (let k = 0; k < inputs; k++) {
        const column = columns[k], to = k * TILE;
        for (let i = 0; i < lanes; i++) rows[to + i] = column[picked ? picked[start + i] : start + i];
      }
      for (const nest of this.nests) if (nest.kind === SAMPLE || nest.kind === SUM) this.nest(nest, lanes);
      found.forEach((out, k) => {
        const [space, place] = this.outputs[k];
        for (let i = 0; i < lanes; i++) out[start + i] = space ? rows[place * TILE + i] : scalars[place];
      });
    }
    for (const nest of this.nests) if (nest.kind === COUNT) this.nest(nest, 1, n);
    return this.summed ? this.sums : found;
  }

  // All points of a nest: its statement at each, with the addresses moved on by their strides.
  nest(nest, lanes, count = 1) {
    const {base, address, at, hop, stride, rows, trips, table} = nest, width = base.length;
    for (let i = 0; i < rows; i++) {
      for (let k = 0; k < width; k++) address[k] = base[k] + i * hop[k];
      for (let j = 0; j < trips; j++) {
        if (table) for (let k = 0; k < width; k++) at[k] = this.table[address[k]];
        this.statement(nest, table ? at : address, lanes, count);
        for (let k = 0; k < width; k++) address[k] += stride[k];
      }
    }
  }

  statement(nest, address, lanes, count) {
    const {buffer, offset, step} = this, {steps, kind} = nest, last = steps.length - 1;
    let top = -1;
    for (let s = 0; s <= last; s++) {
      const {leaf, at, name, takes, lists, length} = steps[s];
      if (leaf >= 0) {
        top += 1;
        buffer[top] = leaf === 0 ? this.scalars : leaf === 1 ? this.rows : nest.literals;
        offset[top] = leaf === 0 ? address[at] : leaf === 1 ? address[at] * TILE : at;
        step[top] = leaf === 1 ? 1 : 0;
      } else if (leaf === -1) {
        top -= takes - 1;
        if (s === last && kind === SUM && name === "mul" && step[top] && step[top + 1]) {  // most of a gradient
          this.sums[address[0]] += this.product(buffer[top], offset[top], buffer[top + 1], offset[top + 1], lanes);
          return;
        }
        const second = takes > 1 ? top + 1 : top, third = takes > 2 ? top + 2 : top;
        const vector = step[top] | step[second] | step[third], out = this.out(vector, s === last && kind === SAMPLE, top, address);
        applied(name, out, this.to, buffer[top], offset[top], step[top], buffer[second], offset[second], step[second],
          buffer[third], offset[third], step[third], vector ? lanes : 1);
        buffer[top] = out;
        offset[top] = this.to;
        step[top] = vector;
      } else {
        const vector = lists.some(list => list.rows) ? 1 : step[top], out = this.out(vector, s === last && kind === SAMPLE, top, address);
        const how = [out, this.to, buffer[top], offset[top], step[top], lists, address, length, vector ? lanes : 1];
        if (name === "take") this.take(...how);
        else this.accumulate(...how);
        step[top] = vector;
        buffer[top] = out;
        offset[top] = this.to;
      }
    }
    this.store(kind, address[0], buffer[0], offset[0], step[0], lanes, count);
  }

  // Where a result goes: the last one of a statement to its row at once, others beside the stack.
  out(vector, final, top, address) {
    this.to = !vector ? top : final ? address[0] * TILE : 0;
    return !vector ? this.single : final ? this.rows : this.scratch[top];
  }

  store(kind, target, x, from, step, lanes, count) {
    const {rows, sums} = this;
    if (kind === SAMPLE) {
      const to = target * TILE;
      if (x !== rows || from !== to || !step) for (let i = lanes - 1; i >= 0; i--) rows[to + i] = x[from + i * step];
    } else if (kind === SUM) {
      let sum = 0;
      for (let i = 0; i < lanes; i++) sum += x[from + i * step];
      sums[target] += sum;
    } else if (kind === ONCE) this.scalars[target] = x[from];
    else sums[target] += count * x[from];
  }

  product(x, from, y, start, n) {
    let even = 0, odd = 0, i = 0;
    for (; i + 1 < n; i += 2) {
      even += x[from + i] * y[start + i];
      odd += x[from + i + 1] * y[start + i + 1];
    }
    return i < n ? even + x[from + i] * y[start + i] + odd : even + odd;
  }

  // A start plus the sum of a list, or of the products of two.
  accumulate(out, to, x, from, step, lists, address, length, n) {
    for (let i = 0; i < n; i++) out[to + i] = x[from + i * step];
    const [first, second] = lists, a = address[first.at], b = second ? address[second.at] : 0, {table} = this;
    const place = (list, start, k) => list.stride === null ? table[start + k] : start + k * list.stride;
    const memory = list => list.rows ? this.rows : this.scalars, u = memory(first), us = first.rows ? TILE : 1, ui = first.rows ? 1 : 0;
    if (!second) {
      for (let k = 0; k < length; k++) for (let i = 0, p = place(first, a, k) * us; i < n; i++, p += ui) out[to + i] += u[p];
      return;
    }
    const v = memory(second), vs = second.rows ? TILE : 1, vi = second.rows ? 1 : 0;
    if (ui + vi === 1) this.weighted(out, to, ui ? second : first, ui ? b : a, ui ? first : second, ui ? a : b, length, n);
    else for (let k = 0; k < length; k++) {
      let p = place(first, a, k) * us, q = place(second, b, k) * vs;
      for (let i = 0; i < n; i++, p += ui, q += vi) out[to + i] += u[p] * v[q];
    }
  }

  // The entry of a list at an index; nan where there is none.
  take(out, to, x, from, step, [list], address, length, n) {
    const memory = list.rows ? this.rows : this.scalars, first = address[list.at];
    for (let i = 0; i < n; i++) {
      const k = x[from + i * step], place = list.stride === null ? this.table[first + k] : first + k * list.stride;
      out[to + i] = !(Number.isInteger(k) && k >= 0 && k < length) ? NaN : memory[list.rows ? place * TILE + i : place];
    }
  }

  // Numbers times rows, four at a time.
  weighted(out, to, numbers, a, vectors, b, length, n) {
    const {table, scalars: w, rows: r} = this;
    const number = k => w[numbers.stride === null ? table[a + k] : a + k * numbers.stride];
    const vector = k => (vectors.stride === null ? table[b + k] : b + k * vectors.stride) * TILE;
    let k = 0;
    for (; k + 3 < length; k += 4) {
      const w0 = number(k), w1 = number(k + 1), w2 = number(k + 2), w3 = number(k + 3);
      const r0 = vector(k), r1 = vector(k + 1), r2 = vector(k + 2), r3 = vector(k + 3);
      for (let i = 0; i < n; i++) out[to + i] = out[to + i] + w0 * r[r0 + i] + w1 * r[r1 + i] + w2 * r[r2 + i] + w3 * r[r3 + i];
    }
    for (; k < length; k++) for (let i = 0, x = number(k), p = vector(k); i < n; i++) out[to + i] += x * r[p + i];
  }
}

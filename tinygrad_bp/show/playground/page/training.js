"use strict";
// A training in numbers: the programs of the loss, its gradient and the optimizer's rule, batches drawn as Python
// draws them, and the moments that were kept.  playground.js shows it.

const MOST_MOMENTS = 200, MOST_LOSSES = 4000;  // that are kept: beyond, every other one goes

// Numbers in base64: doubles, or the whole numbers of a generator.
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
const doubles = text => new Float64Array(bytes(text));

// Python's generator of random numbers (Matsumoto, Nishimura 1998), so that batches are those of `fit`.
class Generator {
  constructor(state) {
    this.key = new Uint32Array(bytes(state));
    this.at = this.key[624];
  }

  word() {
    const {key} = this;
    if (this.at >= 624) {
      for (let i = 0; i < 624; i++) {
        const y = key[i] & 0x80000000 | key[(i + 1) % 624] & 0x7fffffff;
        key[i] = key[(i + 397) % 624] ^ y >>> 1 ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }
    let y = key[this.at++];
    y ^= y >>> 11;
    y ^= y << 7 & 0x9d2c5680;
    y ^= y << 15 & 0xefc60000;
    return (y ^ y >>> 18) >>> 0;
  }

  // Python's getrandbits(64): the low half comes first.
  bits64() {
    const low = BigInt(this.word());
    return BigInt(this.word()) << 32n | low;
  }
}

// The order of an epoch, as batches.py shuffles it: Durstenfeld's shuffle by the numbers of splitmix64.
function shuffled(seed, count) {
  const order = new Int32Array(count), bits = x => BigInt.asUintN(64, x);
  for (let i = 0, state = seed; i < count; i++) {
    state = bits(state + 0x9e3779b97f4a7c15n);
    let x = bits((state ^ state >> 30n) * 0xbf58476d1ce4e5b9n);
    x = bits((x ^ x >> 27n) * 0x94d049bb133111ebn);
    const j = Number((x >> 32n) * BigInt(i + 1) >> 32n);
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

// Lists of sample numbers, an epoch at a time, as batches.py draws them.
class Batches {
  constructor(count, size, generator) {
    this.count = count;
    this.size = size;
    this.generator = generator;
    this.order = new Int32Array(0);
    this.at = count;
  }

  take() {
    if (this.size >= this.count) return null;  // all of them, in order
    if (this.at >= this.count) {
      this.order = shuffled(this.generator.bits64(), this.count);
      this.at = 0;
    }
    const begin = this.at;
    this.at = Math.min(begin + this.size, this.count);
    return this.order.subarray(begin, this.at);
  }
}

class Training {
  constructor(data) {
    this.data = data;
    this.count = data.count;
    this.columns = (data.columns || []).map(doubles);
    this.grads = this.program(data.grads);
    this.each = this.program(data.each);
    this.model = this.program(data.model);
    this.penalty = this.program(data.penalty);
    this.rule = this.program(data.rule);
    this.starts = (data.starts || []).map(doubles);
    this.size = data.batch;
    this.factor = 1;  // of the rate
    if (data.recorded) this.recorded(data.recorded);
    else this.begin(0);
  }

  // A program, with a list of its leaves: the number of a parameter, or a number that stays.
  program(made) {
    return made && {run: new Program(made.program), leaves: made.leaves.map(leaf => Array.isArray(leaf) ? leaf[0] : {x: finite(leaf)})};
  }

  evaluate({run, leaves}, params, columns = [], count = 1, picked = null) {
    const values = Float64Array.from(leaves, leaf => typeof leaf === "number" ? params[leaf] : leaf.x);
    return run.run(values, columns, count, picked);
  }

  begin(start) {
    const {rule, generator} = this.data;
    this.start = start;
    this.params = this.starts[start].slice();
    this.memory = rule.memory.map(text => start ? new Float64Array(this.params.length) : doubles(text));
    this.before = this.taken = start ? 0 : rule.taken;  // steps of the optimizer
    this.batches = new Batches(this.count, this.size, generator && new Generator(generator));
    this.losses = [];
    this.stopped = false;
    this.moments = [];
    this.every = this.stride = 1;
    this.keep();
  }

  // A run of `fit(..., record=k)`: its moments are there already.
  recorded({steps, parameters, losses}) {
    this.moments = steps.map((step, i) => ({step, params: doubles(parameters[i])}));
    this.losses = losses.map(([step, loss]) => ({step, loss: finite(loss)}));
    this.params = this.moments[0].params;
  }

  get step() {
    return this.taken - this.before;
  }

  keep() {
    const last = this.moments.at(-1);
    if (last?.step === this.step) this.moments.pop();
    this.moments.push({step: this.step, params: this.params.slice()});
    if (this.moments.length > MOST_MOMENTS) {
      this.moments = this.moments.filter((_, i) => i % 2 === 0);
      this.every *= 2;
    }
  }

  use(size) {
    this.size = size;
    this.batches = new Batches(this.count, size, this.batches.generator);
  }

  // The loss of a batch, or of all samples, and its gradient.
  gradient(params, picked = null) {
    const sums = this.evaluate(this.grads, params, this.columns, this.count, picked).slice(), n = params.length;
    if (this.data.mean) for (let i = 0; i <= n; i++) sums[i] /= picked ? picked.length : this.count;
    if (this.penalty) this.evaluate(this.penalty, params).forEach((x, i) => { sums[i] += x; });
    return {grads: sums.subarray(0, n), loss: sums[n]};
  }

  rate(step) {
    const {rates} = this.data.rule;
    return rates[Math.min(step, rates.length - 1)] * this.factor;
  }

  // One step; false, and nothing is changed, where a number is not finite.
  advance() {
    const {batches} = this, mark = {...batches, key: batches.generator?.key.slice(), where: batches.generator?.at};
    const picked = batches.take(), {grads, loss} = this.gradient(this.params, picked), {sources} = this.data.rule;
    const given = {lr: this.rate(this.step), t: this.taken + 1, norm: 0};
    if (sources.includes("norm")) given.norm = Math.sqrt(grads.reduce((sum, g) => sum + g * g, 0));
    const shared = Float64Array.from(sources, source => typeof source === "string" && source in given ? given[source] : finite(source));
    const [params, ...memory] = this.rule.run.run(shared, [this.params, grads, ...this.memory], this.params.length);
    if (!Number.isFinite(loss) || !grads.every(Number.isFinite) || !params.every(Number.isFinite)) {
      this.stopped = true;
      Object.assign(batches, {order: mark.order, at: mark.at});
      if (batches.generator) Object.assign(batches.generator, {key: mark.key, at: mark.where});
      return false;
    }
    if (this.step % this.stride === 0) this.losses.push({step: this.step, loss});
    if (this.losses.length > MOST_LOSSES) {
      this.losses = this.losses.filter((_, i) => i % 2 === 0);
      this.stride *= 2;
    }
    this.params = params;
    this.memory = memory;
    this.taken += 1;
    this.loss = loss;
    if (this.step % this.every === 0) this.keep();
    return true;
  }

  // --- questions about parameters ---

  // The loss on all samples, as `fit` counts it.
  lossAt(params) {
    const [each] = this.evaluate(this.each, params, this.columns, this.count);
    const sum = each.reduce((total, x) => total + x, 0) / (this.data.mean ? this.count : 1);
    return this.penalty ? sum + this.evaluate(this.penalty, params)[params.length] : sum;
  }

  lossOfEach(params) {
    return this.evaluate(this.each, params, this.columns, this.count)[0];
  }

  // What the model answers at places: a column for each output.
  answers(params, columns, count) {
    return this.evaluate(this.model, params, columns, count);
  }

  // At places, the loss of each were the target this number.
  lossOf(params, columns, count, target) {
    return this.evaluate(this.each, params, [...columns, new Float64Array(count).fill(target)], count)[0];
  }
}

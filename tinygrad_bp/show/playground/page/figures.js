"use strict";
// The figures of a training, each on a canvas: the loss, what the model answers, weights and gradients, a slice of
// the loss.  Sign is hue and shape, size is strength, as in the drawing of the graph.

const GRID = 48, SLICED = 21, PLACES = 160;  // places where a model is asked: each way of a map, of a slice, along a line
const MARKS = 6;  // of classes: as many colours and shapes

const ends = xs => [Math.min(...xs), Math.max(...xs)];
/** @type {(range: number[], by?: number) => number[]} */
const wider = ([low, high], by = 0.1) => { const more = by * (high - low) || 1; return [low - more, high + more]; };
const between = ([low, high], n) => Float64Array.from({length: n}, (_, i) => low + (high - low) * i / (n - 1));
/** @type {(from: number[], to: number[]) => (x: number) => number} */
const scale = ([low, high], [from, to]) => x => high > low ? from + (to - from) * (x - low) / (high - low) : (from + to) / 2;

// The colours of the page's style, as numbers; read again when light and dark change.
function colours() {
  const style = getComputedStyle(document.body), read = name => style.getPropertyValue(`--${name}`).trim();
  const split = text => [1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16));
  const names = ["card", "ink", "dim", "rule", "accent", "plus", "minus", ...Array.from({length: MARKS}, (_, i) => `class${i}`)];
  return Object.fromEntries(names.map(name => [name, split(read(name))]));
}

/** @type {(rgb: number[], alpha?: number) => string} */
const css = ([r, g, b], alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;
const mixed = (one, other, share) => one.map((x, i) => x + (other[i] - x) * share);

// A number by hue and strength.
function signed(x, most, look) {
  const share = Number.isFinite(x) && most > 0 ? Math.min(1, Math.abs(x) / most) ** 0.6 : 0;
  return mixed(look.card, x < 0 ? look.minus : look.plus, share);
}

class Figure {
  constructor(id, height, pick = null) {
    this.canvas = make("canvas", {id, role: "img", tabindex: pick ? 0 : null});
    this.caption = make("figcaption");
    this.element = make("figure", {}, this.canvas, this.caption);
    this.height = height;
    if (pick) this.canvas.addEventListener("click", event => {
      const box = this.canvas.getBoundingClientRect();
      pick((event.clientX - box.left) / box.width * this.width, (event.clientY - box.top) / box.height * this.height);
    });
  }

  // A clean sheet, in pixels of the page.
  sheet(caption, said = caption) {
    const ratio = devicePixelRatio || 1, width = Math.max(120, Math.floor(this.element.clientWidth || 320));
    if (this.canvas.width !== Math.floor(width * ratio) || this.canvas.height !== Math.floor(this.height * ratio)) {
      this.canvas.width = Math.floor(width * ratio);
      this.canvas.height = Math.floor(this.height * ratio);
      this.canvas.style.height = `${this.height}px`;
    }
    this.width = width;
    this.look = colours();
    const paper = this.paper = this.canvas.getContext("2d");
    paper.setTransform(ratio, 0, 0, ratio, 0, 0);
    paper.clearRect(0, 0, width, this.height);
    paper.font = "11px system-ui, sans-serif";
    paper.fillStyle = css(this.look.dim);
    write(this.caption, caption);
    set(this.canvas, "aria-label", said);
    return paper;
  }

  line(points, colour, width = 2) {
    const {paper} = this;
    paper.beginPath();
    let on = false;
    for (const [x, y] of points) {
      if (Number.isFinite(y)) { if (on) paper.lineTo(x, y); else paper.moveTo(x, y); }
      on = Number.isFinite(y);
    }
    paper.strokeStyle = css(colour);
    paper.lineWidth = width;
    paper.stroke();
  }

  // A sample: classes differ in shape, too.
  dot(x, y, kind, chosen) {
    const {paper, look} = this, r = chosen ? 5.5 : 3.2;
    paper.beginPath();
    if (kind === 1) paper.rect(x - r * 0.9, y - r * 0.9, 1.8 * r, 1.8 * r);
    else if (kind > 1) for (let i = 0, n = kind + 1; i < n; i++) paper[i ? "lineTo" : "moveTo"](x + 1.2 * r * Math.sin(i * 2 * Math.PI / n), y - 1.2 * r * Math.cos(i * 2 * Math.PI / n));
    else paper.arc(x, y, r, 0, 7);
    paper.closePath();
    paper.fillStyle = css(kind === null ? look.dim : look[`class${kind}`]);
    paper.strokeStyle = css(chosen ? look.ink : look.card);
    paper.lineWidth = chosen ? 2.5 : 1;
    paper.fill();
    paper.stroke();
  }

  // A field of numbers on a grid, between whose places it is linear: a colour for each pixel, or for each four.
  field(box, across, down, colour, coarse) {
    const {paper} = this, [left, top, right, bottom] = box.map(Math.round), [width, height] = [right, bottom].map(x => Math.round(x / (coarse ? 2 : 1))), image = paper.createImageData(width, height);
    for (let py = 0, at = 0; py < height; py++) {
      const v = (1 - (py + 0.5) / height) * (down - 1), j = Math.min(down - 2, Math.floor(v)), dv = v - j;
      for (let px = 0; px < width; px++, at += 4) {
        const u = (px + 0.5) / width * (across - 1), i = Math.min(across - 2, Math.floor(u)), du = u - i;
        const p = j * across + i;
        const rgb = colour(field => (field[p] * (1 - du) + field[p + 1] * du) * (1 - dv) + (field[p + across] * (1 - du) + field[p + across + 1] * du) * dv);
        image.data[at] = rgb[0]; image.data[at + 1] = rgb[1]; image.data[at + 2] = rgb[2]; image.data[at + 3] = 255;
      }
    }
    const sheet = document.createElement("canvas");
    sheet.width = width;
    sheet.height = height;
    sheet.getContext("2d").putImageData(image, 0, 0);
    paper.drawImage(sheet, left, top, right, bottom);
  }
}

// --- the loss by step ---

class LossFigure extends Figure {
  draw(training, step) {
    const {losses} = training, good = losses.filter(({loss}) => Number.isFinite(loss));
    const logarithmic = good.length > 0 && good.every(({loss}) => loss > 0), height = logarithmic ? Math.log10 : x => x;
    const range = good.length ? ends(good.map(({loss}) => loss)) : [0, 1];
    const paper = this.sheet(WORDS.lossByStep(logarithmic));
    const steps = Math.max(step, training.moments.at(-1).step, losses.at(-1)?.step || 0, 1);
    this.across = scale([0, steps], [52, this.width - 10]);
    const up = scale(range.map(height), [this.height - 20, 14]);
    paper.fillText(told(range[1], 2), 4, 18);
    paper.fillText(told(range[0], 2), 4, this.height - 16);
    paper.fillText(String(steps), this.width - 10 - paper.measureText(String(steps)).width, this.height - 4);
    this.line(good.map(({step: at, loss}) => [this.across(at), up(height(loss))]), this.look.accent);
    this.line([[this.across(step), 8], [this.across(step), this.height - 16]], this.look.dim, 1);
  }
}

// --- what the model answers ---

class AnswerFigure extends Figure {
  // Where each sample is, and what the figure is: a map, a curve, predicted against true, or counts of classes.
  prepare(training) {
    const {columns, data, count} = training;
    this.inputs = data.columns.length - data.targets;
    this.classes = data.classes;
    this.targets = columns.slice(this.inputs);
    this.kind = this.inputs === 2 && data.targets === 1 ? "map" : this.inputs === 1 && data.targets === 1 ? "curve" : this.classes.length ? "counts" : "against";
    this.count = count;
    this.ranges = columns.slice(0, this.inputs).map(column => wider(ends(column)));
    this.kinds = Array.from({length: count}, (_, i) => this.classes.length ? this.classes.indexOf(this.targets[0][i]) : null);
    if (this.kind === "map") {
      const [x, y] = this.ranges.map(range => between(range, GRID));
      this.grid = [Float64Array.from({length: GRID * GRID}, (_, i) => x[i % GRID]), Float64Array.from({length: GRID * GRID}, (_, i) => y[Math.floor(i / GRID)])];
    } else if (this.kind === "curve") this.grid = [between(this.ranges[0], PLACES)];
  }

  draw(training, params, chosen, title, coarse = false) {
    if (!this.kind) this.prepare(training);
    this[this.kind](training, params, chosen, title, coarse);
  }

  map(training, params, chosen, title, coarse) {
    const paper = this.sheet(`${title}: ${this.classes.length ? WORDS.map : WORDS.mapOfNumber}`), {look} = this, box = [8, 6, this.width - 16, this.height - 12];
    const fields = this.classes.length ? this.classes.map(y => training.lossOf(params, this.grid, GRID * GRID, y)) : [training.answers(params, this.grid, GRID * GRID)[0]];
    this.fields = fields;
    const most = Math.max(1e-12, ...fields.map(field => field.reduce((top, x) => Math.max(top, Number.isFinite(x) ? Math.abs(x) : 0), 0)));
    this.field(box, GRID, GRID, this.classes.length ? at => this.side(fields.map(at), look) : at => signed(at(fields[0]), most, look), coarse);
    const x = scale(this.ranges[0], [box[0], box[0] + box[2]]), y = scale(this.ranges[1], [box[1] + box[3], box[1]]);
    this.places = Array.from({length: this.count}, (_, i) => [x(training.columns[0][i]), y(training.columns[1][i])]);
    this.samples(chosen);
    paper.strokeStyle = css(look.rule);
    paper.lineWidth = 1;
    paper.strokeRect(...box);
  }

  // The class whose loss is least; pale where another one is near.
  side(losses, look) {
    let best = 0;
    for (let i = 1; i < losses.length; i++) if (losses[i] < losses[best]) best = i;
    let gap = Infinity;
    for (let i = 0; i < losses.length; i++) if (i !== best) gap = Math.min(gap, losses[i] - losses[best]);
    return mixed(look.card, look[`class${best}`], gap === gap ? 0.1 + 0.5 * gap / (gap + 1) : 0);
  }

  curve(training, params, chosen, title) {
    this.sheet(`${title}: ${WORDS.curve}`);
    const outputs = training.answers(params, this.grid, PLACES), [targets] = this.targets;
    this.fields = outputs;
    const x = scale(this.ranges[0], [10, this.width - 10]), y = scale(wider(ends([...targets, ...outputs.flatMap(out => [...out].filter(Number.isFinite))]), 0.05), [this.height - 8, 8]);
    this.places = Array.from({length: this.count}, (_, i) => [x(training.columns[0][i]), y(targets[i])]);
    this.samples(chosen);
    for (const out of outputs) this.line([...out].map((value, i) => [x(this.grid[0][i]), y(value)]), this.look.accent, 2.5);
  }

  against(training, params, chosen, title) {
    const paper = this.sheet(`${title}: ${WORDS.against}`), outputs = training.answers(params, training.columns, this.count);
    const pairs = outputs.slice(0, this.targets.length).flatMap((out, k) => [...out].map((value, i) => [this.targets[k][i], value, i]));
    this.fields = outputs;
    const range = wider(ends(pairs.flatMap(([a, b]) => [a, Number.isFinite(b) ? b : a])), 0.05);
    const x = scale(range, [30, this.width - 10]), y = scale(range, [this.height - 18, 8]);
    this.line([[x(range[0]), y(range[0])], [x(range[1]), y(range[1])]], this.look.rule, 1.5);
    this.places = Array.from({length: this.count}, () => [NaN, NaN]);
    for (const [a, b, i] of pairs) { this.places[i] = [x(a), y(b)]; this.dot(x(a), y(b), null, i === chosen); }
    paper.fillStyle = css(this.look.dim);
    paper.fillText(WORDS.true, this.width - 36, this.height - 4);
    paper.fillText(WORDS.predicted, 4, 14);
  }

  counts(training, params, chosen, title) {
    const paper = this.sheet(`${title}: ${WORDS.counts}`), {classes, look} = this, inputs = training.columns.slice(0, this.inputs);
    const losses = classes.map(y => training.lossOf(params, inputs, this.count, y));
    this.answered = this.kinds.map((_, i) => losses.reduce((best, loss, k) => loss[i] < losses[best][i] ? k : best, 0));
    const w = (this.width - 70) / classes.length, h = (this.height - 34) / classes.length;
    this.places = this.kinds.map((kind, i) => [60 + (this.answered[i] + 0.5) * w, 10 + (kind + 0.5) * h]);
    const counts = classes.map((_, row) => classes.map((_, column) => this.kinds.filter((kind, i) => kind === row && this.answered[i] === column).length));
    const most = Math.max(...counts.flat());
    counts.forEach((row, r) => row.forEach((n, c) => {
      paper.fillStyle = css(mixed(look.card, r === c ? look.plus : look.minus, 0.75 * n / most));
      paper.fillRect(60 + c * w, 10 + r * h, w - 2, h - 2);
      paper.fillStyle = css(look.ink);
      paper.fillText(String(n), 56 + (c + 0.5) * w, 14 + (r + 0.5) * h);
    }));
    paper.fillStyle = css(look.dim);
    classes.forEach((name, i) => { paper.fillText(String(name), 44, 14 + (i + 0.5) * h); paper.fillText(String(name), 56 + (i + 0.5) * w, this.height - 14); });
    paper.fillText(WORDS.true, 4, 20);
    paper.fillText(WORDS.predicted, 60, this.height - 2);
    if (chosen !== null) this.dot(...this.places[chosen], this.kinds[chosen], true);
  }

  samples(chosen) {
    this.places.forEach(([x, y], i) => { if (i !== chosen) this.dot(x, y, this.kinds[i], false); });
    if (chosen !== null) this.dot(...this.places[chosen], this.kinds[chosen], true);
  }

  // The sample that is nearest to a place on the sheet.
  nearest(x, y) {
    const away = this.places.map(([a, b]) => Number.isFinite(a) ? Math.hypot(a - x, b - y) : Infinity);
    return away.indexOf(Math.min(...away));
  }
}

// --- weights and gradients by layer ---

class WeightFigure extends Figure {
  draw(layers, rows, title) {
    const paper = this.sheet(title), {look} = this, gap = 12, names = 62;
    const widths = layers.map(layer => Math.max(...layer.map(neuron => neuron.length))), total = widths.reduce((a, b) => a + b, 0);
    const tallest = Math.max(...layers.map(layer => layer.length));
    const across = Math.max(0.5, Math.min(22, (this.width - names - gap * layers.length) / total)), part = this.height / rows.length;
    const down = Math.max(0.5, Math.min(22, (part - 14) / tallest));
    this.cells = [];
    rows.forEach(([name, numbers], r) => {
      const most = numbers.reduce((top, x) => Math.max(top, Number.isFinite(x) ? Math.abs(x) : 0), 0);
      paper.fillStyle = css(look.dim);
      paper.fillText(name, 2, r * part + 18);
      paper.fillText(`≤ ${told(most, 2)}`, 2, r * part + 32);
      let left = names;
      layers.forEach((layer, l) => {
        layer.forEach((neuron, j) => neuron.forEach((p, k) => {
          const box = [left + k * across, r * part + 6 + j * down, Math.max(0.6, across - (across > 4 ? 1 : 0)), Math.max(0.6, down - (down > 4 ? 1 : 0))];
          paper.fillStyle = css(signed(numbers[p], most, look));
          paper.fillRect(...box);
          if (across > 9 && down > 9 && numbers[p] < 0) { paper.fillStyle = css(look.ink, 0.7); paper.fillRect(box[0] + across / 2 - 3, box[1] + down / 2 - 1, 5, 1.4); }
          this.cells.push([box, p]);
        }));
        paper.strokeStyle = css(look.rule);
        paper.lineWidth = 1;
        paper.strokeRect(left - 1, r * part + 5, widths[l] * across + 1, layer.length * down + 1);
        left += widths[l] * across + gap;
      });
    });
  }

  // The parameter at a place on the sheet.
  at(x, y) {
    return this.cells?.find(([[left, top, w, h]]) => x >= left && x <= left + w + 1 && y >= top && y <= top + h + 1)?.[1];
  }
}

// --- the loss along two parameters ---

class SliceFigure extends Figure {
  // Computed a row at a time, so that the page stays awake; `done` says whether all rows are there.
  begin(training, params, axes) {
    const span = i => Math.max(1, 1.5 * Math.abs(params[i]));
    this.axes = axes;
    this.ranges = axes.map(i => [params[i] - span(i), params[i] + span(i)]);
    this.steps = this.ranges.map(range => between(range, SLICED));
    this.values = new Float64Array(SLICED * SLICED);
    this.params = params.slice();
    this.row = 0;
    this.training = training;
  }

  get done() {
    return this.row === SLICED;
  }

  advance() {
    const [a, b] = this.axes, [x, y] = this.steps;
    this.params[b] = y[this.row];
    for (let i = 0; i < SLICED; i++) {
      this.params[a] = x[i];
      this.values[this.row * SLICED + i] = this.training.lossAt(this.params);
    }
    this.row += 1;
  }

  draw(params, moments, names, coarse = false) {
    const paper = this.sheet(WORDS.slice(...this.axes.map(i => names[i]))), {look} = this, box = [46, 6, this.width - 54, this.height - 26];
    const finite = [...this.values].filter(Number.isFinite), low = Math.min(...finite), high = Math.max(...finite);
    const level = x => Number.isFinite(x) ? Math.min(1, Math.max(0, (x - low) / (high - low || 1))) ** 0.4 : 1;
    const shades = Float64Array.from(this.values, level), bands = 10;
    this.field(box, SLICED, SLICED, at => {
      const x = at(shades) * bands, line = Math.abs(x - Math.round(x)) < 0.04 ? 0.25 : 0;
      return mixed(look.card, look.accent, 0.04 + 0.7 * x / bands + (line > 0 && x > 0.2 ? line : 0));
    }, coarse);
    const x = scale(this.ranges[0], [box[0], box[0] + box[2]]), y = scale(this.ranges[1], [box[1] + box[3], box[1]]);
    const [a, b] = this.axes;
    paper.save();
    paper.beginPath();
    paper.rect(...box);
    paper.clip();
    this.line(moments.map(moment => [x(moment.params[a]), y(moment.params[b])]), look.ink, 1.5);
    this.dot(x(params[a]), y(params[b]), null, true);
    paper.restore();
    paper.fillStyle = css(look.dim);
    paper.fillText(told(this.ranges[1][1], 2), 2, 16);
    paper.fillText(names[b], 2, this.height / 2);
    paper.fillText(told(this.ranges[1][0], 2), 2, this.height - 24);
    paper.fillText(told(this.ranges[0][0], 2), box[0], this.height - 6);
    paper.fillText(names[a], box[0] + box[2] / 2, this.height - 6);
    const end = told(this.ranges[0][1], 2);
    paper.fillText(end, box[0] + box[2] - paper.measureText(end).width, this.height - 6);
  }
}

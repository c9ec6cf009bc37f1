"use strict";
// The page of a training: its bar, its figures, and the graph of one sample.  In one mode the model trains; in the
// other, backpropagation through the sample's graph is stepped through, with the stepper's bar and panel.

const BUDGET = 12;  // milliseconds of a frame in which the model trains
const LATER = {figures: 60, weights: 150, graph: 400}, SHARE = 0.1;  // between two drawings; of the time that each may take

class Playground {
  constructor(data) {
    this.data = data;
    this.training = new Training(data);
    this.mode = "train";
    this.at = 0;  // the moment that is shown; while training, the last
    this.kept = null;
    this.playing = false;
    this.drawn = {figures: 0, weights: 0, graph: 0};
    this.sample = data.sample ?? (data.each ? this.hardest() : 0);
    const linked = /\bstep=/.test(location.hash);  // to a moment of backpropagation
    this.page = this.graph();
    const step = this.page?.step;
    this.build();
    this.listen();
    this.turn("train");
    this.go(0);
    if (linked && this.page) this.turn("trace", step);
  }

  get recorded() {
    return Boolean(this.data.recorded);
  }

  get params() {
    return this.training.moments[this.at].params;
  }

  // --- the graph of a sample ---

  graph() {
    const {data} = this, [shape] = data.graphs || [];
    if (!shape) return null;
    this.machine = Machine.of(shape);
    const page = new Page({...data, moments: [this.moment(this.training.moments[0].params)]});
    page.link = () => { if (this.mode === "trace") Page.prototype.link.call(page); };
    return page;
  }

  moment(params) {
    const {leaves, graphs: [shape]} = this.data, {columns} = this.training;
    const values = Float64Array.from(leaves, leaf => Array.isArray(leaf) ? leaf[0] === "p" ? params[leaf[1]] : columns[leaf[1]][this.sample] : finite(leaf ?? 0));
    return this.machine.moment(values, shape.order, shape.edges);
  }

  showGraph() {
    const {page, data} = this;
    if (!page) return;
    page.load(data.graphs[0], this.moment(this.params));
    page.step = this.mode === "train" ? page.last : page.step;
    page.node = page.edge = null;
    page.at = page.graph.root;  // stay where the reader looks
    page.show();
    const flows = page.graph.nodes.some((node, i) => data.leaves[i]?.[0] === "p" && node.grad !== 0);
    write(this.about, WORDS.ofPoint(told(page.graph.root.data)) + (flows ? "" : `: ${WORDS.silent}`));
  }

  hardest() {
    const losses = [...this.training.lossOfEach(this.params)].map(x => Number.isNaN(x) ? -Infinity : x);
    return losses.indexOf(Math.max(...losses));
  }

  choose(sample) {
    if (!(sample >= 0 && sample < this.training.count)) return;
    this.sample = sample;
    this.show();
  }

  // --- building ---

  button(id, label, content) {
    const one = make("button", {id, type: "button", title: WORDS.trainTitles[label] || null, "aria-label": typeof content === "string" ? null : WORDS.train[label]}, content);
    one.addEventListener("click", () => this.press[id]());
    return one;
  }

  icon(id, label, ...paths) {
    return this.button(id, label, make("svg", {viewBox: "0 0 16 16"}, paths.map(([d, className]) => make("path", {d, class: className || null}))));
  }

  choice(id, label, options, chosen) {
    const one = make("select", {id}, options.map(([value, text]) => make("option", {value, selected: value === chosen}, text)));
    one.addEventListener("change", () => this.changed[id](one.value));
    return make("label", {}, `${label} `, one);
  }

  build() {
    const {data} = this, W = WORDS.train;
    write(document.querySelector("h1"), this.recorded ? WORDS.replay : WORDS.training);
    this.when = make("input", {id: "when", type: "range", min: 0, "aria-label": W.when});
    this.told = make("output", {id: "recorded"});
    const bar = make("nav", {id: "train", class: "bar", role: "toolbar", "aria-label": W.bar},
      this.icon("restart", "restart", ["M3 3h2v10H3zM13 3 6 8l7 5z"]), this.icon("record-back", "back", ["M11 3 5 8l6 5z"]),
      this.icon("record-play", "play", ["M4 2.5 13 8l-9 5.5z", "go"], ["M4 3h3v10H4zM9 3h3v10H9z", "halt"]),
      this.icon("record-on", "on", ["m5 3 6 5-6 5z"]), this.when, this.told);
    const settings = make("p", {id: "settings"}, this.recorded ? [] : this.settings(), this.button("keep", "keep", W.keep));
    if (this.page) $("steps").prepend(this.button("untrace", "back2", W.back2));
    $("steps").before(bar, settings);
    this.figures = {loss: new LossFigure("loss", 150, (x) => this.goTo(x))};
    const places = make("section", {id: "figures", "aria-label": W.bar});
    if (data.each) {
      const pick = figure => (x, y) => this.choose(figure().nearest(x, y));
      this.figures.answers = new AnswerFigure("answers", 220, pick(() => this.figures.answers));
      this.figures.keptAnswers = new AnswerFigure("kept-answers", 220, pick(() => this.figures.keptAnswers));
    }
    this.figures.weights = new WeightFigure("weights", 220, (x, y) => this.axis(this.figures.weights.at(x, y)));
    this.figures.keptWeights = new WeightFigure("kept-weights", 120);
    if (data.each && data.names.length > 1) this.figures.slice = new SliceFigure("slice", 220);
    for (const [name, figure] of Object.entries(this.figures)) {
      if (name === "loss" || name.endsWith("eights")) set(figure.element, "class", "wide");
      places.append(figure.element);
    }
    this.figures.weights.canvas.addEventListener("pointermove", event => this.hover(event));
    if (this.figures.slice) places.append(this.axisFields());
    const main = document.querySelector("main");
    main.prepend(places);
    if (data.missing) places.prepend(make("p", {class: "wide"}, WORDS.missing(data.missing)));
    if (!this.page) $("stage").replaceChildren(make("p", {class: "alone"}, data.missing ? "" : WORDS.tooLargeToShow));
    else this.sampleFields();
  }

  settings() {
    const {data} = this, W = WORDS.train, scheduled = data.rule.rates.length > 1;
    this.rate = make("input", {id: "rate", type: "text", inputmode: "decimal", "aria-label": W.rate});
    this.rate.value = scheduled ? "1" : String(data.rule.rates[0]);
    this.rate.addEventListener("change", () => this.changed.rate(this.rate.value));
    const sizes = data.sizes.map(size => [size, size === data.count ? W.all(size) : String(size)]);
    const starts = data.starts.map((_, i) => [i, i ? W.other(i) : W.own]);
    const paces = [[1, "1"], [10, "10"], [100, "100"], [0, W.fast]];
    this.pace = 0;
    return [make("label", {}, `${scheduled ? W.factor : W.rate} `, this.rate), this.choice("batch", W.batch, sizes, data.batch),
      this.choice("pace", W.pace, paces, 0), this.choice("start", W.start, starts, 0)];
  }

  sampleFields() {
    const max = this.training.count;
    this.number = make("input", {id: "sample", type: "number", min: 1, max, "aria-label": WORDS.point});
    this.number.addEventListener("change", () => this.choose(Math.round(+this.number.value) - 1));
    this.about = make("span", {class: "said", role: "status"});
    $("stage").prepend(make("p", {class: "about"}, make("label", {}, `${WORDS.point} `, this.number), this.about,
      this.button("hardest", "hardest", WORDS.hardest), this.button("trace", "trace", WORDS.train.trace)));
  }

  axisFields() {
    const {names} = this.data, {grads} = this.training.gradient(this.params);
    const order = [...grads.keys()].sort((a, b) => Math.abs(grads[b]) - Math.abs(grads[a]) || a - b);
    this.axes = order.slice(0, 2);
    this.turnOfAxis = 0;
    this.axisBoxes = this.axes.map((_, k) => {
      const box = make("input", {id: `axis${k}`, "aria-label": `${WORDS.axes} ${k + 1}`});
      box.addEventListener("change", () => {
        const found = names.indexOf(box.value.trim());
        if (found < 0) this.say(WORDS.unknown(box.value));
        else { this.turnOfAxis = k; this.axis(found); }
      });
      return box;
    });
    return make("p", {class: "axes"}, `${WORDS.axes} `, this.axisBoxes);
  }

  listen() {
    const last = () => this.training.moments.length - 1;
    this.press = {
      restart: () => this.restart(), "record-back": () => { this.halt(); this.go(this.at - 1); },
      "record-play": () => this.playing ? this.halt() : this.play(), "record-on": () => this.on(),
      keep: () => this.keep(), trace: () => this.turn("trace"), untrace: () => this.turn("train"), hardest: () => this.choose(this.hardest()),
    };
    this.changed = {
      batch: size => { this.training.use(+size); }, pace: pace => { this.pace = +pace; },
      start: start => { this.halt(); this.training.begin(+start); this.say(""); this.go(0); },
      rate: text => {
        const x = Number(text.trim().replace(",", ".")), {rates} = this.data.rule;
        if (!text.trim() || !(x >= 0 && x < Infinity)) return this.say(WORDS.notARate(text.slice(0, 20)));
        this.say("");
        this.training.factor = rates.length > 1 ? x : x / (rates[0] || 1);
        if (rates.length === 1 && !rates[0]) { rates[0] = 1; this.training.factor = x; }
      },
    };
    this.when.addEventListener("input", () => { this.halt(); this.go(+this.when.value); });
    const keys = {" ": this.press["record-play"], ArrowRight: this.press["record-on"], ArrowLeft: this.press["record-back"],
      Home: this.press.restart, End: () => { this.halt(); this.go(last()); }};
    addEventListener("keydown", event => {
      /** @type {any} */
      const target = event.target;
      if (this.mode !== "train" || event.ctrlKey || event.metaKey || event.altKey || ["+", "-", "0", "Tab"].includes(event.key)) return;
      const typing = target.closest?.("input:not([type=range]), select, textarea"), act = keys[event.key];
      event.stopImmediatePropagation();  // the stepper's keys are those of the other mode
      if (!act || typing || event.key === " " && target.closest?.("button, [role=button]")) return;
      event.preventDefault();
      act();
    }, true);
    addEventListener("resize", () => { if (this.mode === "train") this.page?.drawing.fit(); this.show(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
  }

  say(text) {
    $("notice").hidden = !text;
    write($("notice"), text);
  }

  // --- training ---

  restart() {
    this.halt();
    this.say("");
    if (!this.recorded) this.training.begin(this.training.start);
    this.go(0);
  }

  // On from the last moment: an earlier one is only looked at.
  steps(count) {
    const {training} = this;
    let good = true;
    for (let i = 0; i < count && good; i++) good = training.advance();
    if (!good) { this.halt(); this.say(WORDS.stopped); }
    training.keep();
    this.at = training.moments.length - 1;
  }

  on() {
    this.halt();
    if (this.recorded) return this.go(this.at + 1);
    this.steps(1);
    this.show();
  }

  play() {
    if (this.recorded && this.at === this.training.moments.length - 1) this.go(0);
    this.playing = true;
    this.rateOf = {since: performance.now(), step: this.training.step, text: ""};
    set($("record-play"), "data-on", true);
    set($("record-play"), "aria-label", WORDS.train.halt);
    let due = performance.now();
    const frame = () => {
      if (!this.playing) return;
      const now = performance.now(), wait = this.recorded ? 300 : this.pace ? 1000 / this.pace : 0;
      if (this.recorded) {
        if (now >= due) { due = now + wait; this.go(this.at + 1); }
        if (this.at === this.training.moments.length - 1) return this.halt();
      } else if (wait) {
        for (let n = 0; now >= due && n < 20; n++, due += wait) this.steps(1);
        this.show(true);
      } else {
        while (this.playing && performance.now() - now < BUDGET) this.steps(4);
        this.show(true);
      }
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  halt() {
    const was = this.playing;
    this.playing = false;
    set($("record-play"), "data-on", null);
    set($("record-play"), "aria-label", WORDS.train.play);
    if (was) this.show();
  }

  keep() {
    this.kept = this.kept ? null : this.training.moments[this.at];
    write($("keep"), this.kept ? WORDS.train.drop : WORDS.train.keep);
    this.show();
  }

  // --- showing ---

  turn(mode, step = 0) {
    this.halt();
    this.mode = mode;
    set(document.body, "data-mode", mode);
    const {drawing} = this.page || {};
    if (drawing) drawing.zoom = 1;  // steps are read from near
    drawing?.resize();
    if (mode === "train") drawing?.fit();  // all of it
    if (mode === "trace") {
      this.showGraph();
      this.page.go(step);
    } else if (this.told.textContent) this.show();
  }

  go(at) {
    this.at = Math.max(0, Math.min(this.training.moments.length - 1, at));
    this.show();
  }

  // The moment that is nearest to a place in the loss figure.
  goTo(x) {
    this.halt();
    const {across} = this.figures.loss, away = this.training.moments.map(({step}) => Math.abs(across(step) - x));
    this.go(away.indexOf(Math.min(...away)));
  }

  lossNow() {
    const {training, at} = this, {step} = training.moments[at];
    if (this.data.each) return training.lossAt(this.params);
    return training.losses.findLast(one => one.step <= step)?.loss ?? null;
  }

  // Everything, or while it trains, only what has not been drawn for a while.
  show(hurried = false) {
    const now = performance.now(), {training} = this, due = name => !hurried || now > this.drawn[name];
    const done = (name, start) => { const end = performance.now(); this.drawn[name] = end + Math.max(LATER[name], (end - start) / SHARE); };
    const moment = training.moments[this.at];
    set(this.when, "max", training.moments.length - 1);
    this.when.value = this.at;
    if (this.number) this.number.value = this.sample + 1;
    if (this.mode !== "train") return;
    if (due("figures")) {
      this.speed(now);
      const loss = this.lossNow();
      write(this.told, WORDS.atStep(moment.step, loss === null ? null : told(loss)) + (this.playing && this.rateOf ? this.rateOf.text : ""));
      set(this.when, "aria-valuetext", this.told.textContent);
      this.figures.loss.draw(training, moment.step);
      this.figures.answers?.draw(training, moment.params, this.sample, WORDS.now(moment.step), hurried);
      if (!hurried) this.showKept();
      done("figures", now);
    }
    if (due("weights")) {
      const start = performance.now();
      this.gradient = this.data.each ? training.gradient(moment.params).grads : null;
      const rows = [[WORDS.weights, moment.params], ...(this.gradient ? [[WORDS.gradients, this.gradient]] : [])];
      this.figures.weights.draw(this.data.layers, rows, `${WORDS.now(moment.step)}: ${WORDS.byLayer}`);
      this.showSlice(hurried);
      done("weights", start);
    }
    if (due("graph")) {
      const start = performance.now();
      this.showGraph();
      done("graph", start);
    }
  }

  speed(now) {
    const {rateOf} = this;
    if (!rateOf || this.recorded || now - rateOf.since < 700) return;
    rateOf.text = WORDS.speedNow(Math.round((this.training.step - rateOf.step) / (now - rateOf.since) * 1000).toLocaleString("en"));
    Object.assign(rateOf, {since: now, step: this.training.step});
  }

  showKept() {
    const {kept, figures} = this;
    set($("figures"), "class", kept ? "pair" : null);
    for (const figure of [figures.keptAnswers, figures.keptWeights]) if (figure) figure.element.hidden = !kept;
    if (!kept) return;
    figures.keptAnswers?.draw(this.training, kept.params, this.sample, WORDS.now(kept.step));
    figures.keptWeights.draw(this.data.layers, [[WORDS.weights, kept.params]], `${WORDS.now(kept.step)}: ${WORDS.byLayer}`);
  }

  // --- the slice ---

  axis(p) {
    if (p === undefined || !this.figures.slice) return;
    this.axes[this.turnOfAxis] = p;
    this.turnOfAxis = 1 - this.turnOfAxis;
    if (this.axes[0] === this.axes[1]) return;
    this.sliced = null;
    this.showSlice();
  }

  // Anew where the parameters are others; a few rows at a time.
  showSlice(hurried = false) {
    const {slice} = this.figures, {params, training} = this;
    if (!slice || hurried && this.sliced && slice.done && performance.now() - this.slicedAt < 2000) {
      if (slice?.done) slice.draw(params, training.moments, this.data.names, true);
      return;
    }
    if (this.sliced !== params && (!hurried || !this.sliced || slice.done)) {
      this.sliced = params;
      this.axisBoxes.forEach((box, k) => { box.value = this.data.names[this.axes[k]]; });
      slice.begin(training, params, this.axes);
    }
    const rows = () => {
      const start = performance.now();
      while (!slice.done && performance.now() - start < 6) slice.advance();
      if (slice.done) { this.slicedAt = performance.now(); slice.draw(this.params, training.moments, this.data.names); }
    };
    rows();
    if (slice.done || this.slicing) return;
    this.slicing = true;
    const more = () => {
      rows();
      if (slice.done) this.slicing = false;
      else requestAnimationFrame(more);
    };
    requestAnimationFrame(more);
  }

  hover(event) {
    const {weights} = this.figures, box = weights.canvas.getBoundingClientRect();
    const p = weights.at((event.clientX - box.left) / box.width * weights.width, (event.clientY - box.top) / box.height * weights.height);
    if (p !== undefined) write(weights.caption, WORDS.cell(this.data.names[p], told(this.params[p]), this.gradient ? told(this.gradient[p]) : "?"));
  }
}

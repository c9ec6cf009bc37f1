// The training: its loss, what the model answers, and one sample's graph, at each moment that was recorded.

Object.assign(WORDS, {
  training: "Training, step by step", trainingLabel: "training",
  tooLargeToShow: "The graph of a sample is too large to be shown here; the loss and the answers are not.",
  recorded: {slider: "recorded step", back: "earlier moment  [", play: "play the training  t", on: "later moment  ]"},
  lossByStep: logarithmic => logarithmic ? "loss (logarithmic) by step" : "loss by step",
  plane: "what the model answers, and the data", line: "the model's fit, and the data",
  atStep: (step, word, loss) => `step ${step}` + (loss === null ? "" : `, ${word} ${loss}`), loss: "loss", lastLoss: "last loss",
});

class Training {
  constructor(data, page, linked) {
    this.data = data;
    this.page = page;
    this.at = this.timer = 0;
    write(document.querySelector("h1"), WORDS.training);
    $("steps").before(make("section", {"aria-label": WORDS.trainingLabel}, make("div", {id: "plots"}), this.bar()));
    if (!page) this.alone();
    this.lossPlot();
    if (data.places.length) this.answerPlot();
    addEventListener("keydown", event => this.key(event));
    this.go(0);
    if (page && !linked) page.go(page.last);
  }

  // The graph was too large to be recorded: the plots stand for themselves.
  alone() {
    $("steps").hidden = true;
    document.querySelector("main").replaceChildren(make("p", {class: "alone"}, WORDS.tooLargeToShow));
  }

  bar() {
    const icon = (id, label, path, act) => {
      const drawn = make("svg", {viewBox: "0 0 16 16"}, path.map(d => make("path", d)));
      const button = make("button", {id, type: "button", title: label, "aria-label": label}, drawn);
      button.addEventListener("click", act);
      return button;
    };
    const max = this.data.steps.length - 1;
    this.slider = make("input", {id: "record", type: "range", min: 0, max, "aria-label": WORDS.recorded.slider});
    this.slider.addEventListener("input", () => { this.halt(); this.go(+this.slider.value); });
    this.told = make("output", {id: "recorded"});
    return make("div", {class: "bar", role: "toolbar", "aria-label": WORDS.trainingLabel},
      icon("record-back", WORDS.recorded.back, [{d: "M11 3 5 8l6 5z"}], () => this.move(-1)),
      icon("record-play", WORDS.recorded.play,
        [{class: "go", d: "M4 2.5 13 8l-9 5.5z"}, {class: "halt", d: "M4 3h3v10H4zM9 3h3v10H9z"}], () => this.play()),
      icon("record-on", WORDS.recorded.on, [{d: "m5 3 6 5-6 5z"}], () => this.move(1)), this.slider, this.told);
  }

  // --- plots, on papers of 320 × 180 ---

  plot(caption, ...marks) {
    const svg = make("svg", {viewBox: "0 0 320 180", role: "img", "aria-label": caption}, marks);
    const figure = make("figure", {}, svg, make("figcaption", {}, caption));
    $("plots").append(figure);
    return figure;
  }

  path(points) {
    return points.length ? `M${points.join("L")}` : "";
  }

  lossPlot() {
    const {losses, steps} = this.data, values = losses.map(([, loss]) => number(loss)).filter(Number.isFinite);
    const logarithmic = values.length && Math.min(...values) > 0, height = logarithmic ? Math.log10 : x => x;
    this.across = scale([0, Math.max(...steps, 1)], [48, 312]);
    this.up = scale([height(Math.min(...values)), height(Math.max(...values))], [164, 12]);
    const finite = losses.filter(([, loss]) => Number.isFinite(number(loss)));
    const line = make("path", {class: "curve", d: this.path(finite.map(([step, loss]) => [this.across(step), this.up(height(loss))]))});
    const most = values.length ? [Math.max(...values), Math.min(...values)] : [];
    const texts = most.map((x, i) => make("text", {x: 2, y: i ? 164 : 16}, told(x, 2)));
    this.now = make("path", {class: "now"});
    const plot = this.plot(WORDS.lossByStep(logarithmic), texts, line, this.now);
    plot.addEventListener("click", event => {
      const box = plot.firstChild.getBoundingClientRect(), step = (event.clientX - box.left) / box.width * 320;
      const away = steps.map(one => Math.abs(this.across(one) - step));
      this.go(away.indexOf(Math.min(...away)));
    });
  }

  answerPlot() {
    const {points, places, targets, answers} = this.data, plane = places[0].length === 2;
    const x = plane ? places : [...points, ...places];
    const finite = [...targets, ...answers.flat().map(number)].filter(Number.isFinite);
    this.x = scale(ends(x.map(place => place[0])), [12, 308]);
    this.y = scale(plane ? ends(places.map(place => place[1])) : ends(finite), [168, 12]);
    if (plane) this.cells(places);
    else this.fit = make("path", {class: "curve"});
    const dots = points.map((point, i) => {
      const chosen = i === this.data.sample, look = (plane ? ` class${this.kind(targets[i])}` : "") + (chosen ? " sample" : "");
      const cx = this.x(point[0]).toFixed(1), cy = this.y(plane ? point[1] : targets[i]).toFixed(1);
      return make("circle", {cx, cy, r: chosen ? 5 : 2.5, class: "dot" + look});
    });
    if (plane) this.plot(WORDS.plane, make("g", {class: "cells"}, this.grid), dots);
    else this.plot(WORDS.line, dots, this.fit);
  }

  cells(places) {
    const side = Math.round(Math.sqrt(places.length)), w = 296 / (side - 1), h = 156 / (side - 1);
    // A little wider than a cell, so that no paper shows between two.
    this.grid = places.map(([x, y]) => make("rect", {x: (this.x(x) - w / 2).toFixed(1), y: (this.y(y) - h / 2).toFixed(1),
      width: (w + 0.4).toFixed(1), height: (h + 0.4).toFixed(1)}));
    const kinds = [...new Set(this.data.targets)].sort((a, b) => a - b);
    this.middle = kinds.length === 2 ? (kinds[0] + kinds[1]) / 2 : null;
  }

  // Of two classes the side of the border between their targets, of more the class itself.
  kind(x) {
    return this.middle === null ? Math.round(x) % 6 : x > this.middle ? 1 : 0;
  }

  // --- one moment ---

  go(at) {
    const {steps, lossAt, answers, moments, graphs, places} = this.data;
    this.at = Math.max(0, Math.min(steps.length - 1, at));
    const step = steps[this.at], last = this.at === steps.length - 1;
    this.slider.value = this.at;
    write(this.told, WORDS.atStep(step, last ? WORDS.lastLoss : WORDS.loss, lossAt[this.at] === null ? null : told(number(lossAt[this.at]))));
    set(this.now, "d", `M${this.across(step)} 8V168`);
    const now = answers[this.at];
    if (this.grid) this.grid.forEach((cell, i) => set(cell, "class", `class${this.kind(number(now[i]))}`));
    else if (this.fit) {
      const points = places.map(([x], i) => [this.x(x).toFixed(1), this.y(number(now[i])).toFixed(1)]);
      set(this.fit, "d", this.path(points.filter(([, y]) => Number.isFinite(+y))));
    }
    if (this.page) {
      const moment = moments[this.at], complete = this.page.step === this.page.last;
      this.page.load(graphs[moment.graph], moment);
      if (complete) this.page.step = this.page.last;
      this.page.show();
    }
  }

  move(way) {
    this.halt();
    this.go(this.at + way);
  }

  play() {
    if (this.timer) return this.halt();
    if (this.at === this.data.steps.length - 1) this.go(0);
    set($("record-play"), "data-on", true);
    this.timer = setInterval(() => {
      this.go(this.at + 1);
      if (this.at === this.data.steps.length - 1) this.halt();
    }, 350);
  }

  halt() {
    clearInterval(this.timer);
    this.timer = 0;
    set($("record-play"), "data-on", null);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("#guess, textarea")) return;
    ({"[": () => this.move(-1), "]": () => this.move(1), t: () => this.play()})[event.key]?.();
  }
}

const ends = xs => [Math.min(...xs), Math.max(...xs)];
/** @type {(from: number[], to: number[]) => (x: number) => number} */
const scale = ([low, high], [from, to]) => x => high > low ? from + (to - from) * (x - low) / (high - low) : (from + to) / 2;

// What the page does: where it is, what buttons and keys change, and the link to a moment.
// Each change shows the moment anew from the step alone, so n steps on and n steps back give the same page.

class Page {
  constructor(data) {
    Object.assign(this, {data, step: 0, node: null, edge: null, hidden: false, seen: false, timer: 0});
    this.load(data.graphs[0], data.moments[0]);
    this.listen();
    this.follow();
  }

  // A graph with its numbers, drawn; when only the numbers differ, the drawing stays.
  load(shape, values) {
    if (this.shape !== shape) {
      this.shape = shape;
      this.graph = new Graph(shape, values);
      this.drawing = new Drawing(this.graph, $("graph"), picked => this.pick(picked), () => this.show());
      this.node = this.edge = null;
    } else this.graph.take(values);
    this.drawing.most = this.graph.strongest();
    this.last = this.graph.steps.length - 1;
    this.step = Math.min(this.step, this.last);
    set($("where"), "max", this.last);
    this.complain();
  }

  complain() {
    const wrong = this.graph.disagreements();
    $("notice").hidden = !wrong.length;
    const list = wrong.slice(0, 5).map(({name, grad, engine}) => `${name} (here ${told(grad)}, engine ${told(engine)})`);
    write($("notice"), `The sums on this page are not the engine's: ${list.join(", ")}. The file was changed, or the page errs.`);
  }

  // --- showing ---

  moment() {
    const {step, node, edge} = this, current = this.graph.steps[step];
    const {kind} = current, answer = kind === "edge" ? current.edge.contribution || 0 : kind === "seed" ? 1 : current.node?.data;
    return {step, node, edge, current, answer, hide: this.hidden && !this.seen && current.kind !== "start"};
  }

  show() {
    const moment = this.moment(), {current, hide} = moment;
    this.drawing.show(moment);
    $("panel").replaceChildren(...panel(this.graph, moment, guessed => this.reveal(guessed)).filter(Boolean));
    write($("said"), sentence(this.graph, moment));
    write($("count"), `${this.step} / ${this.last}`);
    $("where").value = this.step;
    set($("where"), "aria-valuetext", $("said").textContent);
    set(document.body, "data-pass", current.kind === "start" ? "start" : current.kind === "value" ? "forward" : "backward");
    for (const id of ["first", "back"]) $(id).disabled = this.step === 0;
    for (const id of ["on", "last"]) $(id).disabled = this.step === this.last && !hide;
    for (const id of ["latex", "markdown"]) $(id).disabled = !equations(this.graph, moment, TEXT).length;
    set($("hide"), "aria-pressed", String(this.hidden));
    $("copied").hidden = true;
    const at = this.node || current.node;
    if (at && at !== this.at) this.drawing.reveal(at);
    this.at = at;
    this.link();
  }

  reveal(right) {
    this.seen = true;
    this.show();
    if (right) write($("said"), "Right. " + $("said").textContent);
    $("graph").focus({preventScroll: true});
  }

  // --- moving ---

  go(step) {
    this.step = Math.max(0, Math.min(this.last, step));
    this.seen = this.node = this.edge = null;
    this.show();
  }

  // Where stepping stops: what goes on inside a closed neuron is one stop.
  stops(step) {
    const inside = at => {
      const {node, edge} = this.graph.steps[at] || {}, home = edge ? edge.to : node;
      return home && this.drawing.closed(home) ? home.group : -1 - at;
    };
    return step <= 0 || step >= this.last || inside(step) !== inside(step + 1) || step === this.graph.seed;
  }

  move(way) {
    let step = this.step + way;
    while (!this.stops(step)) step += way;
    this.go(step);
  }

  on() {
    if (this.moment().hide && this.step === this.last) this.reveal();
    else this.move(1);
  }

  pick({node = null, edge = null}) {
    this.halt();
    Object.assign(this, {node: this.node === node ? null : node, edge: this.edge === edge ? null : edge});
    this.show();
    if (matchMedia("(max-width: 760px)").matches && (this.node || this.edge)) $("side").scrollIntoView({block: "nearest"});
  }

  play() {
    if (this.timer) return this.halt();
    if (this.step === this.last) this.go(0);
    const beat = () => {
      if (this.step === this.last) return this.halt();
      this.on();
      this.timer = setTimeout(beat, 1600 / $("speed").value);
    };
    this.timer = setTimeout(beat, 50);
    this.telling("pause");
  }

  halt() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.telling("play");
  }

  telling(label) {
    set($("play"), "data-on", label === "pause");
    set($("play"), "aria-label", label);
  }

  // --- links: #step=7&node=n3, or a node by its name ---

  link() {
    const what = this.node ? `&node=${this.node.id}` : this.edge ? `&edge=${this.edge.i}` : "";
    try { history.replaceState(null, "", `#step=${this.step}${what}`); } catch { /* a frame without an address */ }
  }

  follow() {
    const wanted = new URLSearchParams(location.hash.slice(1)), name = wanted.get("node");
    this.step = Math.max(0, Math.min(this.last, Math.round(+wanted.get("step")) || 0));
    this.node = this.graph.nodes.find(node => node.id === name) || this.graph.nodes.find(node => node.name === name) || null;
    this.edge = !this.node && this.graph.edges[wanted.get("edge") ?? -1] || null;
    this.show();
  }

  // --- listening ---

  listen() {
    const press = {first: () => this.go(0), back: () => this.move(-1), on: () => this.on(), last: () => this.go(this.last),
      hide: () => this.hide()};
    for (const id in press) $(id).addEventListener("click", () => { this.halt(); press[id](); });
    $("play").addEventListener("click", () => this.play());
    $("where").addEventListener("input", () => { this.halt(); this.go(+$("where").value); });
    $("latex").addEventListener("click", () => this.copy(inLatex));
    $("markdown").addEventListener("click", () => this.copy(inMarkdown));
    addEventListener("hashchange", () => this.follow());
    addEventListener("resize", () => this.drawing.resize());
    addEventListener("keydown", event => this.key(event));
    this.keys = {ArrowRight: press.on, ArrowLeft: press.back, Home: press.first, End: press.last, " ": () => this.play(),
      f: () => this.go(Math.min(1, this.last)), b: () => this.go(this.graph.seed), h: press.hide, Escape: () => this.clear()};
  }

  key(event) {
    const typing = event.target.closest?.("input, select, textarea"), act = this.keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    if (event.key === " " && event.target.closest?.("button, summary, [role=button]")) return;
    event.preventDefault();
    if (event.key !== " ") this.halt();
    act();
  }

  hide() {
    this.hidden = !this.hidden;
    this.seen = false;
    this.show();
  }

  clear() {
    this.node = this.edge = null;
    this.show();
    $("graph").focus({preventScroll: true});
  }

  // To the clipboard where the browser lets us; the text is shown in any case, to be taken from there.
  async copy(dialect) {
    const box = $("copied");
    box.value = dialect(this.graph, this.moment());
    box.hidden = false;
    box.select();
    try { await navigator.clipboard.writeText(box.value); } catch { document.execCommand("copy"); }
  }
}

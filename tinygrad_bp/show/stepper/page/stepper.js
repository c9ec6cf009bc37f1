// What the page does: where it is, what buttons and keys change, and the link to a moment.
// Each change shows the moment anew from the step alone, so n steps on and n steps back give the same page.

class Page {
  constructor(data) {
    Object.assign(this, {data, step: 0, node: null, edge: null, hidden: false, seen: false, timer: 0, said: ""});
    this.asked = this.right = 0;  // predictions
    this.tried = false;
    this.words();
    this.load(data.graphs[0], data.moments[0]);
    this.listen();
    this.follow();
    $("legend").open = this.step === 0 && !matchMedia("(max-width: 760px)").matches;  // once, at the beginning
  }

  // Put the strings of the table where the page has places for them.
  words() {
    for (const one of document.querySelectorAll("[data-word]")) write(one, WORDS[one.getAttribute("data-word")]);
    for (const id in WORDS.labels) {
      set($(id), "aria-label", WORDS.labels[id]);
      set($(id), "title", WORDS.titles[id]);
    }
    const classes = ["", "key-grad", "", "key-partial", ""];
    $("read").replaceChildren(...WORDS.legendText.map((text, i) => make("span", {class: classes[i] || null}, text)));
  }

  // A graph with its numbers, drawn; when only the numbers differ, the drawing stays.
  load(shape, values) {
    if (this.shape !== shape) {
      this.shape = shape;
      this.drawing?.land();
      this.graph = new Graph(shape, values);
      this.node = this.edge = this.drawing = null;
    } else this.graph.take(values);
    this.live = new Live(this.graph, values);
    this.live.drag = (node, x) => { this.live.dragging = true; this.change(node, x); };
    this.live.dropped = () => { this.live.dragging = false; this.link(); };
    this.live.panel = node => this.leaf(node);
    this.drawing ||= new Drawing(this.graph, $("graph"), this);
    this.levels();
    const formula = this.graph.formula();
    $("formula").replaceChildren(...formula ? seen(formula) : []);
    this.computed();
    this.complain();
  }

  // --- levels ---

  levels() {
    const {views, level} = this.graph;
    $("level").replaceChildren(...(views.length < 2 ? [] : views).map((view, i) => {
      const button = make("button", {"aria-pressed": String(i === level), "data-level": view.level}, WORDS.levels[view.level]);
      button.addEventListener("click", () => this.level(i));
      return button;
    }));
  }

  // Show the graph at another level; what was picked stays so if it can be seen there.
  level(i, group) {
    if (!this.graph.views[i]) return;
    const inside = group && this.graph.nodes.filter(node => node.group === group.i);
    this.halt();
    this.use(i);
    this.go(this.step);
    if (inside) this.drawing.reveal(inside[inside.length - 1]);
    $("level").children[i]?.focus();
  }

  use(i) {
    this.graph.use(i);
    this.drawing.open.clear();
    this.drawing.build();
    this.levels();
  }

  // The numbers are others: so are the steps, since which edges are cut depends on them.
  computed() {
    this.drawing.most = this.graph.strongest();
    this.last = this.graph.steps.length - 1;
    this.step = Math.min(this.step, this.last);
    set($("where"), "max", this.last);
  }

  // --- live leaves ---

  change(node, x) {
    const atEnd = this.step === this.last;
    this.halt();
    this.live.set(node, x);
    this.computed();
    if (atEnd) this.step = this.last;
    this.said = "";
    this.show();
  }

  reset() {
    const atEnd = this.step === this.last;
    this.live.reset();
    this.computed();
    if (atEnd) this.step = this.last;
    this.said = "";
    this.show();
  }

  // What the page says while its numbers are not those of the exported run.
  yours() {
    const {changed} = this.live, broken = changed.length && this.live.broken();
    const list = changed.slice(0, 4).map(node => WORDS.was(node.name, told(node.data), told(this.live.origin[node.i])));
    if (changed.length > 4) list.push(WORDS.more(changed.length - 4));
    const parts = changed.length ? [WORDS.yours(list.join(", "))] : [];
    if (broken) parts.push(WORDS.began(broken.name, this.graph.filled(broken.form, broken, TEXT, true), told(broken.data)));
    if (this.said) parts.push(this.said);
    $("live").hidden = !parts.length;
    $("reset").hidden = !changed.length;
    write($("yours"), parts.join(" "));
  }

  // The controls of a leaf: type a number, move it by arrow keys, or see what a nudge does.
  leaf(node) {
    if (!this.live.movable(node)) return make("p", {class: "fixed"}, WORDS.fixed(this.live.fixed.get(node)?.op || ""));
    const name = `${node.name} ${WORDS.setTo}`, field = make("input", {id: "leaf", "aria-label": name, inputmode: "decimal"});
    field.value = exact(node.data).replace("-", "−");
    const take = () => {
      const {x, error} = this.live.read(field.value);
      this.said = error || "";
      if (error) this.yours();
      else if (!Object.is(x, node.data)) { this.change(node, x); $("leaf")?.focus(); }
    };
    field.addEventListener("change", take);
    field.addEventListener("keydown", event => {
      const way = {ArrowUp: 1, ArrowDown: -1}[event.key];
      if (event.key === "Enter") take();
      if (!way) return;
      event.preventDefault();
      const step = stepOf(node.data) * (event.shiftKey ? FINE : 1);
      this.change(node, rounded(node.data + way * step, step));
      $("leaf")?.focus();
    });
    const by = 0.01, moved = make("span", {id: "nudged", role: "status"});
    const nudge = make("button", {id: "nudge"}, `${WORDS.nudge} +${by}`);
    nudge.addEventListener("click", () => {
      const is = this.live.nudge(node, by), expected = by * node.grad, noise = 1e-13 * (Math.abs(this.graph.root.data) + Math.abs(is));
      const miss = Math.abs(is - expected) < noise ? 0 : is - expected;
      write(moved, WORDS.nudged(node.name, by, this.graph.root.name, told(is), told(expected), told(miss, 2)));
    });
    return make("p", {class: "question"}, make("label", {for: "leaf"}, `${node.name} =`), field, nudge, moved);
  }

  complain() {
    const wrong = this.graph.disagreements();
    $("notice").hidden = !wrong.length;
    const list = wrong.slice(0, 5).map(({name, grad, engine}) => WORDS.disagreement(name, told(grad), told(engine)));
    write($("notice"), WORDS.disagree(list.join(", ")));
  }

  // --- showing ---

  moment() {
    const {step, node, edge} = this, current = this.graph.steps[step], group = this.groupAt(step);
    const exercise = this.hidden && current.kind !== "start", ask = exercise && !this.seen && !group ? asked(this.graph, current) : null;
    return {step, node, edge, current, group, exercise, ask, hidden: (what, of) => hides(ask, current, what, of),
      score: WORDS.score(this.right, this.asked), again: () => this.again(), lit: this.lit(node, step)};
  }

  // The closed neuron or layer that a step is in, if its equations are known.
  groupAt(step) {
    const {node, edge} = this.graph.steps[step] || {}, home = edge ? edge.to : node;
    const group = home && this.drawing.closed(home) ? this.graph.groups[home.group] : null;
    return group?.neurons.length ? group : null;
  }

  // The paths from a node that is picked: its edges with the number of their path, and the nodes on them.
  lit(node, step) {
    if (!node || step < this.graph.seed || this.hidden || node === this.graph.root) return null;
    const {found} = this.graph.paths(node, PATHS);
    if (!found.length) return null;
    const edges = new Map(), nodes = new Set([node]);
    found.forEach((path, i) => path.forEach(edge => {
      edges.set(edge, edges.has(edge) ? "s" : i % COLOURS);
      nodes.add(edge.to);
    }));
    return {edges, nodes};
  }

  show() {
    const moment = this.moment(), {current, ask} = moment;
    this.drawing.show(moment);
    $("panel").replaceChildren(...panel(this.graph, moment, guessed => this.guessed(guessed), this.live).filter(Boolean));
    for (const term of document.querySelectorAll("[data-term]")) this.colour(term, moment);
    this.yours();
    write($("said"), sentence(this.graph, moment));
    $("said").hidden = Boolean(this.node || this.edge);
    $("purpose").hidden = $("begin").hidden = this.step > 0;
    write($("count"), `${this.step} / ${this.last}`);
    $("where").value = this.step;
    set($("where"), "aria-valuetext", $("said").textContent);
    set(document.body, "data-pass", current.kind === "start" ? "start" : current.kind === "value" ? "forward" : "backward");
    for (const id of ["first", "back"]) $(id).disabled = this.step === 0;
    for (const id of ["on", "last"]) $(id).disabled = this.step === this.last && !ask;
    for (const id of ["latex", "markdown"]) $(id).disabled = !equations(this.graph, moment, TEXT).length;
    set($("hide"), "aria-pressed", String(this.hidden));
    set($("large"), "aria-pressed", String(document.body.hasAttribute("data-large")));
    $("copied").hidden = true;
    const edge = this.edge || (this.node ? null : current.edge), at = edge || this.node || current.node;
    if (at && at !== this.at) this.drawing.reveal(this.node || current.node, edge);
    this.at = at;
    if (!this.live.dragging) this.link();  // browsers allow some hundred changes of the address a minute
  }

  // A term of the formula looks as its node does.
  colour(term, {step, current, node: picked, edge, hidden}) {
    const node = this.graph.nodes[term.getAttribute("data-term")], grad = hidden("sum", node) ? 0 : this.graph.gradAt(node, step);
    set(term, "class", "term" + (node.known <= step ? "" : " unknown") + (grad < 0 ? " minus" : grad > 0 ? " plus" : "")
      + (node === (picked || !edge && current.node) ? " now" : ""));
  }

  guessed(right) {
    if (!this.tried) this.asked += 1;
    if (right && !this.tried) this.right += 1;
    this.tried = true;
    if (right !== null) this.reveal(right);
  }

  reveal(right) {
    this.seen = true;
    this.show();
    if (right) write($("said"), `${WORDS.right}${$("said").textContent}`);
    $("graph").focus({preventScroll: true});
  }

  // --- moving ---

  // The exercise with other numbers, near the exported ones, at which all is finite.
  again() {
    const leaves = this.graph.nodes.filter(node => this.live.movable(node)), {live} = this;
    for (let tries = 50; tries; tries--) {
      for (const {i} of leaves) {
        const x = live.origin[i] || Math.random() - 0.5;
        live.values[i] = rounded(x * (0.4 + 1.2 * Math.random()), stepOf(x));
      }
      live.compute();
      if (this.graph.nodes.every(({data, grad}) => Number.isFinite(data) && Number.isFinite(grad))) break;
      if (tries === 1) live.reset();
    }
    this.asked = this.right = 0;
    this.hidden = true;
    this.computed();
    this.go(0);
  }

  go(step) {
    this.step = Math.max(0, Math.min(this.last, step));
    while (!this.stops(this.step)) this.step++;
    this.seen = this.node = this.edge = null;
    this.tried = false;
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
    const {current: {edge}, group, hidden} = this.moment(), speed = this.timer ? +$("speed").value : 1;
    if (way > 0 && edge?.live && edge.line && !group && !hidden() && !matchMedia("(prefers-reduced-motion: reduce)").matches)
      this.drawing.fly(edge, 800 / speed);
  }

  on() {
    if (this.moment().ask && this.step === this.last) this.reveal();
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
    this.labelPlay();
  }

  halt() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.labelPlay();
  }

  labelPlay() {
    set($("play"), "data-on", this.timer !== 0);
    set($("play"), "aria-label", this.timer ? WORDS.pause : WORDS.labels.play);
  }

  // --- links: #step=7&node=n3, or a node by its name ---

  link() {
    const what = this.node ? `&node=${this.node.id}` : this.edge ? `&edge=${this.edge.i}` : "";
    const {views, level, groups} = this.graph, {open} = this.drawing, more = [
      this.live.changed.length && `&set=${this.live.write()}`, level !== this.shape.first && `&level=${views[level].level}`,
      groups.length && open.size && `&open=${[...open]}`, this.hidden && "&exercise", document.body.hasAttribute("data-large") && "&large"];
    const state = `#step=${this.step}${what}${more.filter(Boolean).join("")}`;
    try { history.replaceState(null, "", state); } catch { /* a frame without an address */ }
  }

  follow() {
    const wanted = new URLSearchParams(location.hash.slice(1, LINKED)), named = key => wanted.get(key) ?? "";
    const {nodes, edges, views} = this.graph;
    const taken = this.live.take(named("set")) && location.hash.length < LINKED;
    this.computed();
    const level = views.findIndex(view => view.level === named("level")), at = level < 0 ? this.shape.first : level;
    if (at !== this.graph.level) this.use(at);
    const open = named("open").split(",").filter(i => this.graph.groups[Number(i || NaN)]?.inside).map(Number);
    if (String(open) !== String([...this.drawing.open])) {
      this.drawing.open = new Set(open);
      this.drawing.build();
    }
    if (wanted.has("large") !== document.body.hasAttribute("data-large")) this.enlarge();
    this.hidden = wanted.has("exercise");
    this.seen = this.tried = false;
    this.step = Math.max(0, Math.min(this.last, Math.round(+named("step")) || 0));
    while (!this.stops(this.step)) this.step++;
    this.node = nodes.find(node => node.id === named("node")) || nodes.find(node => node.name === named("node")) || null;
    this.edge = !this.node && edges.find(edge => String(edge.i) === named("edge")) || null;
    const found = (level >= 0 || !wanted.has("level")) && (this.node || this.edge || !wanted.has("node") && !wanted.has("edge"));
    this.said = taken && found ? "" : WORDS.badLink;
    this.show();
  }

  // --- listening ---

  listen() {
    const press = {first: () => this.go(0), back: () => this.move(-1), on: () => this.on(), last: () => this.go(this.last),
      hide: () => this.hide(), large: () => this.large(), begin: () => this.on(), reset: () => this.reset(),
      smaller: () => this.drawing.zoomBy(1 / 1.25), larger: () => this.drawing.zoomBy(1.25), fit: () => this.drawing.fit()};
    for (const id in press) $(id).addEventListener("click", () => { this.halt(); press[id](); });
    $("play").addEventListener("click", () => this.play());
    $("where").addEventListener("input", () => { this.halt(); this.go(+$("where").value); });
    $("latex").addEventListener("click", () => this.copy(inLatex));
    $("markdown").addEventListener("click", () => this.copy(inMarkdown));
    $("svg").addEventListener("click", () => save(asSvg(this.drawing), "backprop.svg"));
    $("png").addEventListener("click", async () => save(await asPng(this.drawing), "backprop.png"));
    $("graph").addEventListener("wheel", event => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.drawing.zoomBy(event.deltaY < 0 ? 1.1 : 1 / 1.1);
    }, {passive: false});
    this.pan($("graph"));
    addEventListener("hashchange", () => this.follow());
    addEventListener("resize", () => this.drawing.resize());
    addEventListener("keydown", event => this.key(event));
    this.keys = {ArrowRight: press.on, ArrowLeft: press.back, PageDown: press.on, PageUp: press.back, Home: press.first,
      End: press.last, " ": () => this.play(), f: () => this.go(Math.min(1, this.last)), b: () => this.go(this.graph.seed),
      h: press.hide, p: press.large, r: press.reset, "+": press.larger, "-": press.smaller, 0: press.fit, Escape: () => this.clear(),
      1: () => this.level(0), 2: () => this.level(1), 3: () => this.level(2)};
  }

  key(event) {
    const typing = event.target.closest?.("input, select, textarea"), act = this.keys[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    if (/^[-.\d]$/.test(event.key) && $("guess")) return $("guess").focus();  // where it is typed then
    if (!act) return;
    if (event.key === " " && event.target.closest?.("button, summary, [role=button]")) return;
    event.preventDefault();
    if (event.key !== " ") this.halt();
    act();
  }

  // The paper is dragged by its background.
  pan(place) {
    place.addEventListener("pointerdown", event => {
      if (event.button || event.pointerType === "touch" || event.target.closest("[role=button], .touch")) return;
      const {clientX, clientY} = event, {scrollLeft, scrollTop} = place;
      const follow = ({clientX: x, clientY: y}) =>
        place.scrollTo({left: scrollLeft + clientX - x, top: scrollTop + clientY - y, behavior: "instant"});
      const stop = () => { removeEventListener("pointermove", follow); removeEventListener("pointerup", stop); };
      addEventListener("pointermove", follow);
      addEventListener("pointerup", stop);
    });
  }

  // For an audience: the graph, one sentence, and keys.
  large() {
    this.enlarge();
    this.show();
    this.drawing.reveal(this.node || this.graph.steps[this.step].node || this.graph.root);
  }

  enlarge() {
    document.body.toggleAttribute("data-large");
    this.drawing.resize();
  }

  hide() {
    this.hidden = !this.hidden;
    this.seen = this.tried = false;
    this.show();
  }

  clear() {
    if (!this.node && !this.edge && document.body.hasAttribute("data-large")) this.large();
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

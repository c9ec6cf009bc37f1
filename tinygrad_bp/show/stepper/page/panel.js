// What the panel says: of the step that was just made, or of the node or edge that was picked.
// Everything is an equation, written in the words of TEXT or of LATEX, so that what is copied is what is seen.

const PATHS = 50;  // with more of them than this, the table alone tells

// The equations of a moment: [left side, [its steps, each equal to the one before]].
function equations(graph, moment, say) {
  const {current, node, edge, group} = moment;
  if (edge) return edgeEquations(graph, edge, say, moment);
  if (node) return [...valueEquation(graph, node, say, moment), ...gradEquation(graph, node, say, moment)];
  if (group) return groupEquations(graph, group, current);
  if (current.kind === "value") return valueEquation(graph, current.node, say, moment);
  if (current.kind === "seed") return [[say.slope(graph.root, graph.root), [moment.hidden("sum") ? "?" : "1"]]];
  return current.kind === "edge" ? edgeEquations(graph, current.edge, say, moment) : [];
}

function valueEquation(graph, node, say, {step, hidden}) {
  if (!node.ins.length) return [[say.name(node), [say.number(node.data)]]];
  if (node.known > step) return [[say.name(node), [graph.filled(node.form, node, say)]]];
  const result = hidden("value", node) ? "?" : say.number(node.data);
  return [[say.name(node), [graph.filled(node.form, node, say), graph.filled(node.form, node, say, true), result]]];
}

// By the chain rule, with the contributions that have come.
function gradEquation(graph, node, say, {step, hidden}) {
  const come = node.shares.filter(edge => edge.step <= step), left = say.slope(graph.root, node);
  if (step < graph.seed) return [];
  if (hidden("sum", node)) return [[left, ["?"]]];
  if (node === graph.root) return [[left, ["1"]]];
  if (!come.length) return graph.gradAt(node, step) === undefined ? [] : [[left, ["0"]]];
  const parts = come.map(({to, from}) => say.slope(graph.root, to) + say.times + say.slope(to, from));
  const numbers = come.map(({to, partial}) => say.wrapped(to.grad) + say.times + say.wrapped(partial));
  return [[left, [abridged(parts).join(" + "), abridged(numbers).join(" + "), say.number(graph.gradAt(node, step))]]];
}

const abridged = terms => terms.length > 8 ? [...terms.slice(0, 6), "…", terms[terms.length - 1]] : terms;

function edgeEquations(graph, edge, say, {step, hidden}) {
  const {from, to, partial} = edge, symbols = graph.slope(edge, say);
  const show = (what, write, x) => hidden(what, edge) ? "?" : write(x);
  const slope = [say.slope(to, from), [...(symbols ? [symbols] : []), partial === null ? "0" : show("local", say.number, partial)]];
  if (edge.step > step || !edge.live) return edge.to.known > step ? [] : [slope];
  const first = from.shares[0] === edge && from !== graph.root;
  const sum = first ? show("share", say.number, edge.contribution)
    : say.number(edge.before) + " + " + show("share", say.wrapped, edge.contribution);
  const product = show("up", say.wrapped, to.grad) + say.times + show("local", say.wrapped, partial);
  return [slope, [say.slope(graph.root, to) + say.times + say.slope(to, from), [product, show("share", say.number, edge.contribution)]],
    [say.slope(graph.root, from), first ? [sum] : [sum, show("sum", say.number, edge.after)]]];
}

// --- a closed neuron or layer, in matrices with this network's numbers ---

const few = (cells, dots) => cells.length > 6 ? [...cells.slice(0, 3), dots, cells[cells.length - 1]] : cells;

function matrix(rows) {
  const numbers = rows.map(row => few(row.map(x => toldInLatex(x, 3)), "\\cdots").join(" & "));
  const dots = few(rows[0].map(() => "\\vdots"), "\\ddots").join(" & ");
  return `\\begin{bmatrix}${few(numbers, dots).join(" \\\\ ")}\\end{bmatrix}`;
}

const column = xs => matrix(xs.map(x => [x]));
const columnOf = (nodes, key) => column(nodes.map(node => node[key]));

// Forward z and a; backward δ, which is what comes from above times the slopes, and what weights get of it.
function groupEquations(graph, {neurons, layer}, {kind}) {
  const zs = neurons.map(([z]) => z), as = neurons.map(([, a]) => a), n = zs[0].ins.length >> 1;
  const inputs = (z, from, to) => z.ins.slice(from, to).map(edge => edge.from);
  const weights = zs.map(z => inputs(z, 0, n)), xs = inputs(zs[0], n, 2 * n), biases = zs.flatMap(z => inputs(z, 2 * n));
  const single = graph.views[graph.level].level === "neurons";
  const name = letter => single && zs[0].tex.startsWith("z") ? zs[0].tex.replace("z", letter) : inLayer(letter, layer);
  const [w, z, a, b, delta] = [single ? "w" : "W", "z", "a", "b", "\\delta"].map(name);
  const x = layer > 1 ? `a^{(${layer - 1})}` : "x", slope = of => `\\frac{\\partial ${graph.root.tex}}{\\partial ${of}}`;
  const active = as[0] !== zs[0], act = /^\w+$/.test(as[0].op) ? `\\operatorname{${as[0].op}}` : "f";
  if (kind === "value") {
    const numbers = matrix(weights.map(row => row.map(({data}) => data))) + columnOf(xs, "data");
    const sum = biases.length ? [`${w} ${x} + ${b}`, `${numbers} + ${columnOf(biases, "data")}`] : [`${w} ${x}`, numbers];
    return [[z, [...sum, columnOf(zs, "data")]], ...active ? [[a, [`${act}(${z})`, columnOf(as, "data")]]] : []];
  }
  const above = layerAbove(graph, as);
  const up = above ? [above.product, matrix(above.weights) + columnOf(above.sums, "grad")]
    : [slope(active ? a : z), columnOf(as, "grad")];
  const slopes = as.map(({ins: [edge]}) => edge.partial || 0);
  const through = active ? [`${above ? `(${up[0]})` : up[0]} \\odot ${act}'(${z})`, `${up[1]} \\odot ${column(slopes)}`] : up;
  return [[delta, [...through, columnOf(zs, "grad")]],
    [slope(w), [`${delta} ${x}^\\top`, matrix(zs.map(({grad}) => xs.map(({data}) => grad * data)))]],
    ...biases.length ? [[slope(b), [delta]]] : []];
}

const inLayer = (letter, layer) => letter + (layer ? `^{(${layer})}` : "");

// The weighted sums that take these activations, if they take all of them and nothing else does; with the weights.
function layerAbove(graph, as) {
  const sums = as[0].outs.map(({to}) => to), weightOf = ({slot, to}) => to.ins[slot - (to.ins.length >> 1)]?.from;
  const same = ({outs}) => outs.length === sums.length && outs.every((edge, i) => edge.to === sums[i] && weightOf(edge));
  if (!sums.length || !sums.every(sum => graph.sums.has(sum)) || !as.every(same)) return null;
  const [w, delta] = ["W", "\\delta"].map(letter => inLayer(letter, graph.sums.get(sums[0])));
  return {sums, product: `{${w}}^\\top ${delta}`, weights: as.map(({outs}) => outs.map(edge => weightOf(edge).data))};
}

// Why nothing passes an edge, or "" if something does.
function obstacle({partial, from, to}) {
  if (partial !== null) return to.reached ? "" : WORDS.notReached(to.name);
  return to.flat ? WORDS.flat(to.op) : WORDS.closed(to.op, from.name);
}

// What the operation does to a gradient, read off its rule: it copies it, swaps the operands, routes or scales it.
function reason(graph, edge) {
  const {to, slot, partial} = edge, rule = graph.rules[to.rule], place = rule?.partials?.[slot];
  if (place === undefined) return "";
  if (rule.selects) return WORDS.routes(to.op);
  if (place < rule.operands && place !== slot) return WORDS.swaps(to.op, to.ins[place].from.name);
  const constant = rule.constants[place - rule.operands - 1];
  if (constant === 1) return WORDS.copies(to.op);
  if (constant === -1) return WORDS.flips(to.op);
  const formula = graph.slope(edge, TEXT);
  return WORDS.scales(to.op, formula.length < 30 ? formula : "", told(partial));
}

// What is said of the step, read aloud by screen readers.
function sentence(graph, moment) {
  const end = moment.step === graph.steps.length - 1 && WORDS.complete;
  return WORDS.sentences([...said(graph, moment), end].filter(Boolean));
}

function said(graph, {current, hidden, group}) {
  const {kind, node, edge} = current;
  if (kind === "start") return [WORDS.start];
  if (group) {
    const [z, a] = group.neurons[0], act = a === z ? "" : a.op;
    return [kind === "value" ? WORDS.groupForward(group.name, act) : WORDS.groupBackward(group.name, act)];
  }
  const {name} = node;
  if (kind === "value") {
    const result = hidden("value", node) ? "?" : told(node.data);
    return [WORDS.value(name, graph.filled(node.form, node, TEXT, true), result)];
  }
  if (kind === "seed") return [WORDS.seed(name, hidden("sum") ? "?" : 1)];
  if (!edge.live) return [obstacle(edge)];
  const show = (what, text) => hidden(what, edge) ? "?" : text;
  const sum = show("share", `${told(edge.before)} + ${TEXT.wrapped(edge.contribution)} → ${show("sum", told(edge.after))}`);
  const product = `${show("up", TEXT.wrapped(edge.to.grad))} × ${show("local", TEXT.wrapped(edge.partial))}`;
  return [WORDS.hands(edge.to.name, name, product, sum), !hidden() && reason(graph, edge)];
}

// --- as elements ---

function panel(graph, moment, act, live) {
  const {current, node, edge, group} = moment, about = edge || (node || group ? null : current.edge);
  if (about) return edgePanel(graph, about, moment, act);
  const title = node && make("h2", {}, node.label || node.name, node.mark && make("span", {class: "mark"}, ` ${node.mark}`));
  const parts = [title, ...equations(graph, moment, SEEN).map(equation), question(graph, moment, act)];
  if (node && !node.ins.length) parts.splice(1, 0, live.panel(node));
  if (node && moment.step >= graph.seed) parts.push(table(graph, node, moment), ways(graph, node, moment));
  return parts;
}

const equation = ([left, steps]) => make("p", {class: "equation"}, make("span", {}, seen(left)),
  make("span", {}, steps.map(step => make("span", {}, seen("= " + step)))));

function edgePanel(graph, edge, moment, act) {
  const {from, to} = edge, {hidden} = moment, reached = edge.step <= moment.step, show = (what, text) => hidden(what, edge) ? "?" : text;
  const why = obstacle(edge), parts = [moment.edge && make("h2", {}, `${to.name} → ${from.name}`)];
  if (why && moment.edge && (reached || edge.step === Infinity)) parts.push(make("p", {}, why));
  if (!reached || !edge.live)
    return [...parts, ...edgeEquations(graph, edge, SEEN, moment).map(equation), question(graph, moment, act)];
  const symbols = graph.slope(edge, SEEN);
  parts.push(make("div", {class: "product"},
    factor("up", show("up", told(to.grad)), WORDS.factors.up, SEEN.slope(graph.root, to)), "×",
    factor("local", show("local", told(edge.partial)), WORDS.factors.local, SEEN.slope(to, from)), "=",
    factor("share", show("share", told(edge.contribution)), WORDS.factors.share, SEEN.slope(graph.root, from))));
  if (symbols) parts.push(equation([SEEN.slope(to, from), [symbols]]));
  const sum = show("share", [TEXT.wrapped(edge.contribution), " → ", make("b", {}, show("sum", told(edge.after)))]);
  parts.push(make("p", {class: "sum"}, `${from.name}.grad: ${told(edge.before)} + `, sum), question(graph, moment, act));
  return [...parts, table(graph, from, moment)];
}

const factor = (kind, number, caption, symbols) =>
  make("div", {class: kind}, make("b", {}, number), make("span", {}, caption), make("i", {}, seen(symbols)));

// Where a node's gradient comes from, a row for each consumer; those whose turn has not come are empty.
function table(graph, node, {step, hidden}) {
  const row = (...cells) => make("tr", {}, cells.map((cell, i) => make(i ? "td" : "th", i ? {} : {scope: "row"}, cell)));
  const rows = [...node.outs].sort((a, b) => a.step - b.step).map(edge => {
    const show = (what, x) => hidden(what, edge) ? "?" : told(x);
    if (edge.step > step) return row(edge.to.name, "–", "–", "–");
    return edge.live ? row(edge.to.name, show("up", edge.to.grad), show("local", edge.partial), show("share", edge.contribution))
      : row(edge.to.name, told(edge.to.grad), WORDS.cut, "–");
  });
  if (node === graph.root) rows.unshift(row(WORDS.seedRow, "", "", hidden("sum", node) ? "?" : "1"));
  const grad = graph.gradAt(node, step), waiting = node.outs.filter(edge => edge.step > step && edge.step < Infinity).length;
  const head = WORDS.table.map(name => make("th", {scope: "col"}, name));
  return make("table", {}, make("caption", {}, WORDS.contributionsTo(TEXT.slope(graph.root, node))),
    make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows), make("tfoot", {}, make("tr", {},
      make("th", {scope: "row", colspan: 3}, waiting ? WORDS.soFar(waiting) : "Σ"),
      make("td", {}, hidden("sum", node) ? "?" : grad === undefined ? "–" : told(grad)))));
}

// Every path from the node to the root, with its local partials multiplied.
function ways(graph, node, {exercise}) {
  const {count, found} = graph.paths(node, PATHS);
  if (node === graph.root || !count || exercise) return null;
  if (!found.length)
    return make("p", {}, WORDS.manyPaths(count.toLocaleString("en"), graph.root.name));
  const lines = found.map((edges, i) => make("li", {class: `way${i % COLOURS}`},
    [node.name, ...edges.map(edge => edge.to.name)].join(" → "),
    make("span", {}, edges.map(edge => TEXT.wrapped(edge.partial)).join(" × "),
      " = ", told(edges.reduce((product, edge) => product * edge.partial, 1)))));
  const title = count === 1 ? WORDS.onePath : WORDS.paths(count);
  return make("div", {class: "paths"}, make("h3", {}, title), make("ol", {}, lines));
}

// --- an exercise ---
// Backward, the product, what comes from above and the local partial are asked for by turns; where a contribution
// is not the first one, mostly the sum.

const TURNS = ["share", "up", "local"];
const near = (x, y) => Math.abs(x - y) <= 0.01 * Math.abs(y) + 5e-4;

function asked(graph, {kind, edge}) {
  if (kind !== "edge") return {value: "value", seed: "seed"}[kind];
  if (!edge.live) return null;
  return edge.from.shares[0] !== edge && edge.turn % 4 ? "sum" : TURNS[edge.turn % 3];
}

const MASKED = {value: ["value"], seed: ["sum"], up: ["up", "share", "sum"], local: ["local", "share", "sum"],
  share: ["share", "sum"], sum: ["sum"]};

// Whether a number is hidden: what is asked for, and what would give it away; of a node or an edge, or of any.
function hides(ask, {node, edge}, what, of) {
  if (!what || !ask) return Boolean(ask);
  if (what === "up" && of && of !== edge && of.to) return ask === "up" && of.to === edge?.to;
  if (what === "sum" && ask === "up" && of === edge?.to) return true;
  return MASKED[ask].includes(what) && (!of || of === edge || of === node);
}

// The numbers that an exercise has to do with.
function numbersOf(graph, {kind, node, edge}) {
  if (kind !== "edge") return {value: node?.data, seed: 1};
  const {partial, to, from, before, contribution, after} = edge;
  return {up: to.grad, local: partial, share: contribution, sum: after, before, added: partial + to.grad,
    data: to.data, operand: from.data};
}

// What a wrong answer is instead, and what to do.
function hint(graph, current, ask, x) {
  const {[ask]: answer, ...others} = numbersOf(graph, current), todo = WORDS.todo[ask];
  if (near(-x, answer)) return WORDS.hints.sign;
  const found = current.kind === "edge" && Object.keys(others).find(name => near(x, others[name]));
  return `${found ? WORDS.hints[found] : WORDS.isWrong}: ${todo}`;
}

// With numbers hidden: a place for an answer, and a way to see; the score, and the same with other numbers.
function question(graph, {exercise, ask, current, score, again}, act) {
  if (!exercise) return null;
  const more = make("span", {}, score), renew = make("button", {id: "again"}, WORDS.again);
  renew.addEventListener("click", again);
  if (!ask) return make("p", {class: "question"}, more, renew);
  const name = WORDS.asks[ask], verdict = make("span", {role: "status"});
  const guess = make("input", {id: "guess", "aria-label": name, placeholder: name, inputmode: "decimal", autocomplete: "off"});
  const check = () => {
    const text = guess.value.trim().replace("−", "-").replace(",", "."), x = Number(text), answer = numbersOf(graph, current)[ask];
    if (!text) return write(verdict, "");
    if (near(x, answer) || Number.isNaN(answer) && /^nan$/i.test(text)) return act(true);
    write(verdict, Number.isNaN(x) ? WORDS.notANumber(text.slice(0, 20)) : hint(graph, current, ask, x));
    if (!Number.isNaN(x)) act(null);
  };
  guess.addEventListener("keydown", event => { if (event.key === "Enter") check(); });
  const show = make("button", {id: "reveal"}, WORDS.show);
  show.addEventListener("click", () => act(false));
  return make("p", {class: "question"}, guess, show, verdict, more, renew);
}

// --- as text to paste ---

function inLatex(graph, moment) {
  const lines = equations(graph, moment, LATEX).flatMap(([left, steps]) =>
    steps.map((step, i) => `${i ? "" : left} &= ${step}`));
  return ["\\begin{aligned}", lines.join(" \\\\\n"), "\\end{aligned}"].join("\n");
}

function inMarkdown(graph, moment) {
  if (moment.group) return `$$\n${inLatex(graph, moment)}\n$$`;
  const safe = text => text.replace(/[\\\x60*_[\]<>|]/g, "\\$&");
  const lines = equations(graph, moment, TEXT).map(([left, steps]) => safe([left, ...steps].join(" = ")));
  const rows = [...$("panel").querySelectorAll("table tr")].map(row => `| ${[...row.cells].flatMap(cell =>
    [safe(cell.textContent), ...Array(cell.colSpan - 1).fill("")]).join(" | ")} |`);
  if (rows.length) rows.splice(1, 0, "| --- | ---: | ---: | ---: |");
  return [...lines, rows.join("\n")].join("\n\n").trim();
}

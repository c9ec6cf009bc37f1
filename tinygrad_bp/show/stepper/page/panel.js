// What the panel says: of the step that was just made, or of the node or edge that was picked.
// Everything is an equation, written in the words of TEXT or of LATEX, so that what is copied is what is seen.

const PATHS = 50;  // with more of them than this, the table alone tells

// The equations of a moment: [left side, [its steps, each equal to the one before]].
function equations(graph, moment, say) {
  const {current, node, edge, hide} = moment;
  if (edge) return edgeEquations(graph, edge, say, moment);
  if (node) return [...valueEquation(graph, node, say, moment), ...gradEquation(graph, node, say, moment)];
  if (current.kind === "value") return valueEquation(graph, current.node, say, moment);
  if (current.kind === "seed") return [[say.slope(graph.root, graph.root), [hide ? "?" : "1"]]];
  return current.kind === "edge" ? edgeEquations(graph, current.edge, say, moment) : [];
}

function valueEquation(graph, node, say, {step, current, hide}) {
  if (!node.ins.length) return [[say.name(node), [say.number(node.data)]]];
  if (node.known > step) return [[say.name(node), [graph.filled(node.form, node, say)]]];
  const result = hide && current.node === node && current.kind === "value" ? "?" : say.number(node.data);
  return [[say.name(node), [graph.filled(node.form, node, say), graph.filled(node.form, node, say, true), result]]];
}

// By the chain rule, with the contributions that have come.
function gradEquation(graph, node, say, {step, current, hide}) {
  const come = node.shares.filter(edge => edge.step <= step), left = say.slope(graph.root, node);
  if (step < graph.seed) return [];
  if (node === graph.root) return [[left, ["1"]]];
  if (!come.length) return graph.gradAt(node, step) === undefined ? [] : [[left, ["0"]]];
  const masked = hide && come.includes(current.edge);
  const parts = come.map(({to, from}) => say.slope(graph.root, to) + say.times + say.slope(to, from));
  const numbers = come.map(({to, partial}) => say.wrapped(to.grad) + say.times + say.wrapped(partial));
  const total = masked ? "?" : say.number(graph.gradAt(node, step));
  return [[left, [abridged(parts).join(" + "), abridged(numbers).join(" + "), total]]];
}

const abridged = terms => terms.length > 8 ? [...terms.slice(0, 6), "…", terms[terms.length - 1]] : terms;

function edgeEquations(graph, edge, say, moment) {
  const {from, to, partial} = edge, symbols = graph.slope(edge, say), number = partial === null ? "0" : say.number(partial);
  const slope = [say.slope(to, from), [...(symbols ? [symbols] : []), number]];
  if (edge.step > moment.step || !edge.live) return edge.to.known > moment.step ? [] : [slope];
  const masked = moment.hide && moment.current.edge === edge, first = from.shares[0] === edge && from !== graph.root;
  const share = masked ? () => "?" : write => write(edge.contribution);
  const sum = first ? share(say.number) : say.number(edge.before) + " + " + share(say.wrapped);
  return [slope, [say.slope(graph.root, to) + say.times + say.slope(to, from),
    [say.wrapped(to.grad) + say.times + say.wrapped(partial), masked ? "?" : say.number(edge.contribution)]],
  [say.slope(graph.root, from), first ? [sum] : [sum, masked ? "?" : say.number(edge.after)]]];
}

// Why nothing passes an edge, or "" if something does.
function obstacle({partial, from, to}) {
  if (partial !== null) return to.reached ? "" : WORDS.notReached(to.name);
  return to.flat ? WORDS.flat(to.op) : WORDS.closed(to.op, from.name);
}

// What the operation does to a gradient, read off its rule: it copies it, swaps the operands, routes or scales it.
function reason(graph, {to, slot, partial}) {
  const rule = graph.rules[to.rule], place = rule?.partials?.[slot];
  if (place === undefined) return "";
  if (rule.selects) return WORDS.routes(to.op);
  if (place < rule.operands && place !== slot) return WORDS.swaps(to.op, to.ins[place].from.name);
  const constant = rule.constants[place - rule.operands - 1];
  if (constant === 1) return WORDS.copies(to.op);
  if (constant === -1) return WORDS.flips(to.op);
  return WORDS.scales(to.op, TEXT.wrapped(partial));
}

// One sentence for the step, read aloud by screen readers.
function sentence(graph, {step, current, hide}) {
  const {kind, node, edge} = current, end = step === graph.steps.length - 1 ? WORDS.complete : "";
  if (kind === "start") return matchMedia("(pointer: coarse)").matches ? WORDS.startTouch : WORDS.start;
  const {name} = node;
  if (kind === "value") return WORDS.value(name, graph.filled(node.form, node, TEXT, true), hide ? "?" : told(node.data));
  if (kind === "seed") return WORDS.seed(name, hide ? "?" : 1) + end;
  if (!edge.live) return obstacle(edge) + end;
  const sum = hide ? "?" : `${told(edge.before)} + ${TEXT.wrapped(edge.contribution)} → ${told(edge.after)}`;
  const product = `${TEXT.wrapped(edge.to.grad)} × ${TEXT.wrapped(edge.partial)}`;
  return WORDS.hands(edge.to.name, name, product, sum) + (end || (hide ? "" : "." + reason(graph, edge)));
}

// --- as elements ---

function panel(graph, moment, act, live) {
  const {current, node, edge} = moment, about = edge || (node ? null : current.edge);
  if (about) return edgePanel(graph, about, moment, act);
  const title = node && make("h2", {}, node.label || node.name, node.mark && make("span", {class: "mark"}, ` ${node.mark}`));
  const parts = [title, ...equations(graph, moment, TEXT).map(equation), question(moment, act)];
  if (node && !node.ins.length) parts.splice(1, 0, live.panel(node));
  if (node && moment.step >= graph.seed) parts.push(table(graph, node, moment), ways(graph, node, moment));
  return parts;
}

const equation = ([left, steps]) => make("p", {class: "equation"}, make("span", {}, left),
  make("span", {}, steps.map(step => make("span", {}, "= " + step))));

function edgePanel(graph, edge, moment, act) {
  const {from, to} = edge, reached = edge.step <= moment.step, masked = moment.hide && moment.current.edge === edge;
  const why = obstacle(edge), parts = [moment.edge && make("h2", {}, make("b", {}, `${to.name} → ${from.name}`))];
  if (why && moment.edge && (reached || edge.step === Infinity)) parts.push(make("p", {}, why));
  if (!reached || !edge.live)
    return [...parts, ...edgeEquations(graph, edge, TEXT, moment).map(equation), question(moment, act)];
  const symbols = graph.slope(edge, TEXT);
  parts.push(make("div", {class: "product"},
    factor("up", told(to.grad), WORDS.factors.up, TEXT.slope(graph.root, to)), "×",
    factor("local", told(edge.partial), WORDS.factors.local, TEXT.slope(to, from) + (symbols ? ` = ${symbols}` : "")), "=",
    factor("share", masked ? "?" : told(edge.contribution), WORDS.factors.share, WORDS.to(from.name))));
  const sum = masked ? "?" : [TEXT.wrapped(edge.contribution), " → ", make("b", {}, told(edge.after))];
  parts.push(make("p", {class: "sum"}, `${from.name}.grad: ${told(edge.before)} + `, sum), question(moment, act));
  return [...parts, table(graph, from, moment)];
}

const factor = (kind, number, caption, symbols) =>
  make("div", {class: kind}, make("b", {}, number), make("span", {}, caption), make("i", {}, symbols));

// Where a node's gradient comes from, a row for each consumer; those whose turn has not come are empty.
function table(graph, node, {step, current, hide}) {
  const row = (...cells) => make("tr", {}, cells.map((cell, i) => make(i ? "td" : "th", i ? {} : {scope: "row"}, cell)));
  const rows = [...node.outs].sort((a, b) => a.step - b.step).map(edge => {
    if (edge.step > step) return row(edge.to.name, "–", "–", "–");
    const masked = hide && current.edge === edge;
    return edge.live ? row(edge.to.name, told(edge.to.grad), told(edge.partial), masked ? "?" : told(edge.contribution))
      : row(edge.to.name, told(edge.to.grad), WORDS.cut, "–");
  });
  if (node === graph.root) rows.unshift(row(WORDS.seedRow, "", "", hide && current.kind === "seed" ? "?" : "1"));
  const masked = hide && (current.node === node && current.kind !== "value"), grad = graph.gradAt(node, step);
  const waiting = node.outs.filter(edge => edge.step > step && edge.step < Infinity).length;
  const head = WORDS.table.map(name => make("th", {scope: "col"}, name));
  return make("table", {}, make("caption", {}, WORDS.contributionsTo(TEXT.slope(graph.root, node))),
    make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows), make("tfoot", {}, make("tr", {},
      make("th", {scope: "row", colspan: 3}, waiting ? WORDS.soFar(waiting) : "Σ"),
      make("td", {}, masked ? "?" : grad === undefined ? "–" : told(grad)))));
}

// Every path from the node to the root, with its local partials multiplied.
function ways(graph, node, {hide}) {
  const {count, found} = graph.paths(node, PATHS);
  if (node === graph.root || !count || hide) return null;
  if (!found.length)
    return make("p", {}, WORDS.manyPaths(count.toLocaleString("en"), graph.root.name));
  const lines = found.map((edges, i) => make("li", {class: `way${i % COLOURS}`}, [node.name, ...edges.map(edge => edge.to.name)].join(" → "),
    make("span", {}, edges.map(edge => TEXT.wrapped(edge.partial)).join(" × "),
      " = ", told(edges.reduce((product, edge) => product * edge.partial, 1)))));
  const title = count === 1 ? WORDS.onePath : WORDS.paths(count);
  return make("div", {class: "paths"}, make("h3", {}, title), make("ol", {}, lines));
}

const near = (x, y) => Math.abs(x - y) <= 0.01 * Math.abs(y) + 5e-4;

// What a wrong prediction of a contribution is instead.
function hint(x, answer, edge) {
  if (near(-x, answer)) return WORDS.isSign;
  if (!edge?.live) return WORDS.isWrong;
  const {partial, to, before} = edge;
  if (near(x, partial)) return WORDS.isPartial;
  if (near(x, to.grad)) return WORDS.isUpstream;
  if (near(x, partial + to.grad)) return WORDS.isAdded;
  return near(x, before + answer) ? WORDS.isSum : WORDS.isWrong;
}

// With numbers hidden: a place for a guess, and a way to see.
function question({hide, answer, current}, act) {
  if (!hide) return null;
  const name = WORDS.guess, guess = make("input", {id: "guess", "aria-label": name, placeholder: name});
  const verdict = make("span", {role: "status"});
  const check = () => {
    const x = Number(guess.value.trim().replace("−", "-").replace(",", "."));
    const right = guess.value.trim() && near(x, answer);
    write(verdict, guess.value.trim() ? right ? WORDS.isRight : hint(x, answer, current.edge) : "");
    if (right || !guess.value.trim()) act(right);
    else act(null);
  };
  guess.addEventListener("keydown", event => { if (event.key === "Enter") check(); });
  const show = make("button", {type: "button", id: "reveal"}, WORDS.show);
  show.addEventListener("click", () => act(false));
  return make("p", {class: "question"}, guess, show, verdict);
}

// --- as text to paste ---

function inLatex(graph, moment) {
  const lines = equations(graph, moment, LATEX).flatMap(([left, steps]) =>
    steps.map((step, i) => `${i ? "" : left} &= ${step}`));
  return ["\\begin{aligned}", lines.join(" \\\\\n"), "\\end{aligned}"].join("\n");
}

function inMarkdown(graph, moment) {
  const safe = text => text.replace(/[\\\x60*_[\]<>|]/g, "\\$&");
  const lines = equations(graph, moment, TEXT).map(([left, steps]) => safe([left, ...steps].join(" = ")));
  const rows = [...$("panel").querySelectorAll("table tr")].map(row => `| ${[...row.cells].flatMap(cell =>
    [safe(cell.textContent), ...Array(cell.colSpan - 1).fill("")]).join(" | ")} |`);
  if (rows.length) rows.splice(1, 0, "| --- | ---: | ---: | ---: |");
  return [...lines, rows.join("\n")].join("\n\n").trim();
}

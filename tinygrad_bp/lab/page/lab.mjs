// The laboratory's page.  It fetches the files, hands them to a frame that has no origin and no network, in which
// Python answers, and shows the answers.  What is typed stands in the link; a formula in a link runs, code waits.

const words = WORDS.lab, MOST = 20_000, PAGES = {en: "index.html", zh: "zh.html"};
/** @param {string} id @returns {any} */
const at = id => document.getElementById(id);
const {lang: LANG, sizes: SIZES, gallery: GALLERY} = JSON.parse(at("data").textContent);
/** @param {string} tag @param {Object} [properties] @returns {any} */
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

let ready = false, lost = false, number = 0, linked = "";
/** @type {any} what is asked next, and what is being answered */
let next = null, asked = null;

// --- Python, in its frame ------------------------------------------------------------------------------------

const runner = make("iframe", {className: "runner", title: words.runner, src: "runner.html"});
runner.sandbox = "allow-scripts";

async function load() {
  const arrived = new Promise(done => { runner.onload = done; });
  document.body.append(runner);
  let done = 0;
  const all = SIZES.reduce((sum, [, size]) => sum + size, 0), mega = bytes => (bytes / 1e6).toFixed(1);
  const files = Object.fromEntries(await Promise.all(SIZES.map(async ([name, size]) => {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    const file = await answer.arrayBuffer();
    done += size;
    if (!lost) progress(words.loading(mega(done), mega(all)));
    if (!name.endsWith(".gz")) return [name, file];
    if (!isPacked(file) && !answer.headers.get("Content-Encoding")) throw new Error(`${name}: ${words.different}`);
    return [name.replace(".gz", ""), isPacked(file) ? await unpacked(file) : file];
  })));
  await arrived;
  progress(words.starting);
  runner.contentWindow.postMessage({files}, "*", Object.values(files));
}

/** Some servers unpack such files, and say so. @param {ArrayBuffer} file */
const isPacked = file => new Uint8Array(file, 0, Math.min(2, file.byteLength)).join() === "31,139";

/** @param {ArrayBuffer} file */
function unpacked(file) {
  return new Response(new Blob([file]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function ask(question) {
  next = {...question, lang: LANG};
  if (ready && !asked) send();
}

function send() {
  if (!next) return;
  [asked, next] = [next, null];
  at("stop").disabled = false;
  progress(words.working);
  runner.contentWindow.postMessage({id: ++number, question: JSON.stringify(asked)}, "*");
}

addEventListener("message", ({source, data}) => {
  if (source !== runner.contentWindow) return;
  if (data.ready) {
    ready = true;
    progress("");
  } else if (data.ended || data.failed) {
    ready = false;
    answered();
    say(data.ended ? words.ended : words.failed(data.failed));
    progress(data.ended ? words.starting : "");
  } else if (data.id === number && asked) {
    const question = asked;
    answered();
    show(JSON.parse(data.answer), question);
  }
  if (ready && !asked) send();
});

function answered() {
  asked = null;
  at("stop").disabled = true;
  progress("");
}

function stop() {
  ready = false;
  next = null;
  answered();
  runner.contentWindow.postMessage({stop: true}, "*");
  say(words.stopped);
  progress(words.starting);
}

// --- answers -------------------------------------------------------------------------------------------------

const say = text => { Object.assign(at("said"), {textContent: text, className: text.includes("\n") ? "lines" : ""}); };
/** What Python is doing now. */
const progress = text => { at("progress").textContent = text; };

function show(answer, question) {
  say(answer.error ?? answer.said ?? "");
  if (question.code !== undefined) {
    at("printed").textContent = answer.printed ?? "";
    at("printed").hidden = !answer.printed;
    at("stage").replaceChildren();
  }
  if (answer.numbers && question.formula === at("formula").value) {
    at("formula").value = answer.formula;
    showNumbers(answer.numbers);
    keep({formula: answer.formula, numbers: answer.numbers});
  }
  if (answer.html) {
    const frame = make("iframe", {title: words.page, srcdoc: answer.html, allow: "clipboard-write"});
    frame.sandbox = "allow-scripts allow-downloads";
    at("stage").replaceChildren(frame);
  } else if (answer.svg) {
    at("stage").replaceChildren(make("img", {alt: words.page, src: `data:image/svg+xml,${encodeURIComponent(answer.svg)}`}));
  }
}

function showNumbers(numbers) {
  at("numbers").replaceChildren(...Object.entries(numbers).map(([name, value]) => {
    const label = make("label"), box = make("input", {name, value, inputMode: "decimal"});
    label.append(name, box);
    return label;
  }));
}

function typed() {
  const boxes = /** @type {HTMLInputElement[]} */ ([...at("numbers").querySelectorAll("input")]);
  return Object.fromEntries(boxes.map(box => [box.name, box.value]));
}

// --- the state in the link -----------------------------------------------------------------------------------

/** The link's state, null without one. Throws an Error for what is none. */
function stateOf(hash) {
  if (hash.length < 2) return null;
  if (hash.length > MOST) throw new Error("long");
  const found = {};
  for (const [name, text] of new URLSearchParams(hash.slice(1))) {
    if (name in found || !["formula", "at", "code", "example"].includes(name)) throw new Error(name);
    found[name] = text;
  }
  decodeURIComponent(hash); // throws for what URLSearchParams lets pass
  const {formula, code, example} = found;
  if ([formula, code, example].filter(x => x !== undefined).length !== 1 || (found.at && !formula)) throw new Error("state");
  if (example !== undefined) {
    if (!Object.hasOwn(GALLERY, example)) throw new Error(example);
    return {...GALLERY[example], example};
  }
  if (code !== undefined) return {code};
  const numbers = (found.at ?? "").split(" ").filter(Boolean).map(part => {
    const [, name, value] = part.match(/^([^:]+):([-+.\de]+|-?inf|nan)$/i) ?? [];
    if (!name) throw new Error(part);
    return [name, value];
  });
  return {formula, numbers: Object.fromEntries(numbers)};
}

function hashOf({formula, numbers, code}) {
  if (formula === undefined) return `#${new URLSearchParams({code})}`;
  const values = Object.entries(numbers).map(([name, value]) => `${name}:${value}`).join(" ");
  return `#${new URLSearchParams(values ? {formula, at: values} : {formula})}`;
}

/** Put the state into the address. */
function keep(state) {
  const hash = hashOf(state);
  linked = hash.length > MOST ? "" : hash;
  if (linked) history.replaceState(null, "", linked);
  translate();
}

function translate() {
  const other = LANG === "en" ? "zh" : "en";
  Object.assign(at("other"), {textContent: words.other, href: PAGES[other] + location.hash, lang: other, hreflang: other});
}

function read() {
  let state = null, trouble = "";
  try {
    state = stateOf(location.hash);
  } catch {
    trouble = words.corrupt;
  }
  if (!state) {
    open(GALLERY.neuron);
    if (trouble) {
      next = null;
      say(trouble);
    }
  } else if (state.code !== undefined && !state.example) {
    write(state);
    say(words.waits);
  } else open(state);
  translate();
}

/** Put a state into its boxes. */
function write({formula, numbers, code}) {
  at("python").open = code !== undefined;
  if (code !== undefined) at("code").value = code;
  else {
    at("formula").value = formula;
    showNumbers(numbers);
  }
}

/** A formula, or an example, which is ours: it runs. */
function open(state) {
  write(state);
  if (state.code !== undefined) run();
  else ask({formula: state.formula, numbers: state.numbers});
}

function run() {
  const code = at("code").value;
  keep({code});
  ask({code});
}

// --- the page ------------------------------------------------------------------------------------------------

function writeWords() {
  document.title = words.title;
  const texts = {
    "h1": words.title, "#purpose": words.purpose, ".formula span": words.formula, "#form button": words.show,
    "summary": words.python, "#run": words.run, "#stop": words.stop, "#link": words.link,
  };
  for (const place in texts) document.querySelector(place).textContent = texts[place];
  at("code").ariaLabel = words.code;
  at("printed").ariaLabel = words.printed;
  at("gallery").ariaLabel = words.gallery;
  at("gallery").append(...Object.keys(GALLERY).map(name =>
    make("button", {type: "button", name, textContent: words.examples[name], onclick: () => { open(GALLERY[name]); }})));
}

at("form").onsubmit = event => {
  event.preventDefault();
  ask({formula: at("formula").value, numbers: typed()});
};
at("run").onclick = run;
at("stop").onclick = stop;
at("code").onkeydown = event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(); };
at("link").onclick = async () => {
  keep(at("python").open ? {code: at("code").value} : {formula: at("formula").value, numbers: typed()});
  if (!linked) return say(words.tooLong);
  try {
    await navigator.clipboard.writeText(location.href);
    say(words.copied);
  } catch {
    say(words.notCopied);
  }
};
addEventListener("hashchange", read);

writeWords();
read();
load().catch(error => {
  lost = true;
  progress("");
  say(words.unserved(error.message));
});

export {};

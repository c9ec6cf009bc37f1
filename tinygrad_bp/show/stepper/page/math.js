// LaTeX as MathML, as far as the page writes it: what is seen is what is copied.

const GREEK = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau "
  + "upsilon phi chi psi omega").split(" ");
const SIGNS = {cdot: "·", times: "×", odot: "⊙", top: "⊤", to: "→", infty: "∞", partial: "∂", Phi: "Φ", lfloor: "⌊",
  rfloor: "⌋", lceil: "⌈", rceil: "⌉", geq: "≥", neq: "≠", cdots: "⋯", vdots: "⋮", ddots: "⋱", left: "", right: "",
  ",": "\u2009", hat: "^", bar: "¯", tilde: "~", dot: "˙", vec: "→"};
const TOKEN = /\\(?:mathrm|operatorname|text|begin|end|term)\{(?:\\backslash\{\}|\\.|[^{}])*\}|\\[a-z]+|\\.|\d+(?:\.\d+)?|\S/giu;

// One element for each term of a sum and each matrix, so that a long formula is broken where a line ends.
function mathml(tex) {
  const tokens = tex.match(TOKEN) || [], found = [];
  let at = 0, part = [];
  const row = ends => {
    const inside = [];
    while (at < tokens.length && !ends.test(tokens[at])) inside.push(withScripts());
    at++;
    return make("mrow", {}, inside);
  };
  const sign = text => {
    const fence = /^[()|[\]]$/.test(text), first = /^([([=,{&^]|\\\\|\\cdot|\\begin.*)?$/.test(tokens[at - 2] || "");
    const stretchy = fence ? String(tex.includes("\\frac")) : null, form = /^[-+]/.test(text) && first ? "prefix" : null;
    return make("mo", {stretchy, form}, text.replace("-", "−"));
  };
  const matrix = () => {
    const rows = [[]];
    do rows[rows.length - 1].push(make("mtd", {}, row(/^(&|\\\\|\\end.*)$/)));
    while (tokens[at - 1] === "&" || tokens[at - 1] === "\\\\" && rows.push([]));
    return make("mtable", {}, rows.map(cells => make("mtr", {}, cells)));  // its brackets are borders: not all fonts have tall ones
  };
  const one = () => {
    const token = tokens[at++] || "", [, command, inside] = /^\\([a-z]+|.)(?:\{(.*)\})?$/iu.exec(token) || [];
    if (token === "{") return row(/^\}$/);
    if (token === "(" || token === "[") {  // as tall as what is inside
      const inside = row(/^[)\]]$/), closing = tokens[at - 1];
      inside.prepend(sign(token));
      if (closing) inside.append(sign(closing));
      return inside;
    }
    if (/^\d/.test(token)) return make("mn", {}, token);
    if (!command) return /\p{L}/u.test(token) ? make("mi", {}, token) : sign(token);
    if (command === "frac") return make("mfrac", {}, one(), one());
    if (command === "sqrt") return tokens[at] === "[" ? make("mroot", {}, (at += 3, one()), make("mn", {}, "3")) : make("msqrt", {}, one());
    if (command === "term") return make("mrow", {"data-term": inside}, one());
    if (command === "begin") return matrix();
    const word = inside && inside.replace(/\\backslash\{\}|\\(.)/g, (_, sign) => sign || "\\");
    if (command === "text") return make("mtext", {}, word.replace(/ /g, "\u00a0"));
    if (/^(hat|bar|tilde|dot|vec)$/.test(command)) return make("mover", {accent: "true"}, one(), make("mo", {}, SIGNS[command]));
    if (command in SIGNS) return SIGNS[command] ? make("mo", {}, SIGNS[command]) : make("mrow");
    const letter = GREEK.indexOf(command), close = /^[(^_'=]$/.test(tokens[at] || "=");
    if (letter >= 0) return make("mi", {}, String.fromCharCode(0x3b1 + letter));
    return make("mi", {mathvariant: "normal"}, (word || command) + (close ? "" : "\u2009"));
  };
  const withScripts = () => {
    const base = one();
    let low = null, high = null;
    while (/^[_^']$/.test(tokens[at] || "")) {
      const mark = tokens[at++];
      if (mark === "_") low = one();
      else high = make("mrow", {}, high, mark === "^" ? one() : make("mo", {}, "′"));
    }
    return low || high ? make(low && high ? "msubsup" : low ? "msub" : "msup", {}, base, low, high) : base;
  };
  while (at < tokens.length) {
    const token = tokens[at];
    if (part.length && /^([-+=]|\\odot|\\begin.*)$/.test(token)) {
      found.push(make("math", {}, make("mrow", {}, part)), " ");
      part = [];
    }
    part.push(withScripts());
  }
  return [...found, make("math", {}, make("mrow", {}, part))];
}

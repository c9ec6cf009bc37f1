// Everything is defined: begin.

const data = JSON.parse($("data").textContent);
const playground = data.kind === "training" ? new Playground(data) : null;
const page = playground ? playground.page : new Page(data);

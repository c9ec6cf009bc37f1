// Everything is defined: begin, as soon as there is room to draw in. A frame may get its size later.

const data = JSON.parse($("data").textContent);
/** @type {Playground} */
let playground = null;
/** @type {Page} */
let page = null;

function begin() {
  if (!innerWidth || !innerHeight) return void setTimeout(begin, 20);  // not every frame is told of its first size
  playground = data.kind === "training" ? new Playground(data) : null;
  page = playground ? playground.page : new Page(data);
  dispatchEvent(new Event("begun"));
}

begin();

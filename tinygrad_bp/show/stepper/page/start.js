// Everything is defined: begin.

const data = JSON.parse($("data").textContent);
const linked = location.hash.includes("step");
const page = data.graphs.length ? new Page(data) : null;
if (data.kind === "training") new Training(data, page, linked);

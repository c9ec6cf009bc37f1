// Everything is defined: begin.

const data = JSON.parse($("data").textContent);
const page = new Page(data);

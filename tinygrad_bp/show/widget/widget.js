// In a widget, Python owns the numbers: a leaf that is moved here is told there, and the graph that the function
// makes of it comes back.  Until it does, the page shows its own arithmetic, and one question at a time is asked.

let shared = {}, waiting = false, again = false;

const named = name => page.graph.nodes.find(node => !node.ins.length && node.name === name);

function ask() {
  for (const name in shared) {
    const node = named(name);
    if (node) shared[name] = page.live.values[node.i];
  }
  again = waiting;
  if (waiting) return;
  waiting = true;
  parent.postMessage({values: shared}, "*");
}

function hear({source, data}) {
  if (source !== parent || !data.values) return;
  waiting = false;
  if (again) return ask();
  shared = data.values;
  if (data.error) {
    page.said = data.error;
    return page.yours();
  }
  if (!data.moment) return;
  const {live, step, last} = page, atEnd = step === last, {dragging} = live;
  page.said = "";
  page.load(data.graph || page.shape, data.moment);
  page.live.dragging = dragging;
  if (atEnd) page.step = page.last;
  page.show();
}

addEventListener("begun", () => {
  const {change} = page;
  page.change = (node, x) => {
    change.call(page, node, x);
    if (node.name in shared && Number.isFinite(x)) ask();
  };
  addEventListener("message", hear);
  parent.postMessage({ready: true}, "*");
});

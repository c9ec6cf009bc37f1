// The frame in which Python runs: it has no origin, no network and no storage.  A worker does the work, so that it
// can be stopped; questions and answers pass through here.

/** @type {Record<string, ArrayBuffer>} */
let files;
/** @type {Worker} */
let worker;

function begin() {
  worker?.terminate();
  const script = new TextDecoder().decode(files["worker.mjs"]);
  worker = new Worker(`data:text/javascript,${encodeURIComponent(script)}`, {type: "module"}); // Chromium takes no blob here
  const mine = worker;
  let started = false;
  const end = why => {
    if (mine !== worker) return;
    parent.postMessage(started ? {ended: true} : {failed: why}, "*");
    if (started) begin();
  };
  mine.onmessage = ({data}) => {
    started ||= Boolean(data.ready);
    if (data.ended) end(data.why);
    else if (mine === worker) parent.postMessage(data, "*");
  };
  mine.onerror = event => end(event.message);
  mine.postMessage({files});
}

addEventListener("message", ({source, data}) => {
  if (source !== parent) return;
  if (data.files) files = data.files;
  if (data.files || data.stop) begin();
  else worker.postMessage(data);
});

export {};

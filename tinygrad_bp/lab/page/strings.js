// What the laboratory says.

Object.assign(WORDS, {
  lab: {
    title: "Backpropagation laboratory",
    purpose: "Type a formula, see its graph, and step through its gradient. Or a few lines of Python.",
    formula: "formula", show: "Show", gallery: "Examples", python: "Python", run: "Run", stop: "Stop", link: "Copy link",
    code: "Lines of Python; the last one is shown", printed: "printed", page: "the graph, step by step", runner: "Python",
    other: "中文",
    loading: (done, all) => `Fetching Python, ${done} of ${all} MB`, starting: "Starting Python", working: "Computing",
    copied: "The link is copied: it holds the formula or the code, and the numbers.",
    notCopied: "The browser does not let the link be copied: take it from the address bar.",
    waits: "This link brings Python. Read it; it runs when you press Run, without network and without your files.",
    corrupt: "The link could not be read, or it is too long. Here are examples instead.",
    tooLong: "This is too long for a link: 20,000 characters are the limit.",
    different: "another file came",
    unserved: why => `The files of the laboratory did not arrive (${why}). It needs a web server: python -m http.server --directory FOLDER`,
    ended: "Python ended, and starts again. A very deep graph, or too much memory, does that.",
    failed: why => `Python did not start: ${why}`,
    stopped: "Stopped. Python starts again.",
    examples: {neuron: "A neuron", twice: "a + a", lecture: "The lecture's expression", softmax: "Softmax",
      attention: "Attention", network: "A small network", trace: "A published mistake", quadratic: "A published fit"},
  },
});

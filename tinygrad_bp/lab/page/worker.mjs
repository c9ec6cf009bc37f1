// Python in the browser: Pyodide and the package, made of the files that are handed in.  There is no network here, so
// what Pyodide fetches is answered from those files.

const HERE = "https://files.invalid/"; // no such host is ever asked

/** @type {(question: string) => string} */
let answer;

/** @param {Record<string, ArrayBuffer>} files */
async function start(files) {
  const nameOf = url => String(url).slice(HERE.length);
  self.fetch = async url => new Response(files[nameOf(url)], {headers: {"Content-Type": nameOf(url).endsWith(".wasm") ? "application/wasm" : ""}});
  const load = name => import(URL.createObjectURL(new Blob([files[name]], {type: "text/javascript"})));
  const [{loadPyodide}, {default: createPyodideModule}] = await Promise.all([load("pyodide.mjs"), load("pyodide.asm.mjs")]);
  const python = await loadPyodide({
    indexURL: HERE, createPyodideModule, lockFileContents: new TextDecoder().decode(files["pyodide-lock.json"]), packageBaseUrl: HERE, stdin: () => null, stdout: () => {}, stderr: () => {},
  });
  python.unpackArchive(files["tinygrad_bp.zip"], "zip");
  answer = python.pyimport("tinygrad_bp.lab.answer").answer_json;
  postMessage({ready: true});
}

addEventListener("message", async ({data}) => {
  try {
    if (data.files) await start(data.files);
    else postMessage({id: data.id, answer: answer(data.question)});
  } catch (error) {
    postMessage({ended: true, why: String(error)});
  }
});

export {};

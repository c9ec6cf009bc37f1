// Run the notebooks in Pyodide under node, the Python of JupyterLite: node notebooks.mjs PYODIDE REPOSITORY
import { pathToFileURL } from "node:url";

const [module, repository] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(module));
const py = await loadPyodide();
py.FS.mkdirTree("/repository");
py.mountNodeFS("/repository", repository);
const failed = py.runPython(`
import os, shutil, sys, traceback
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = ["/repository", "/repository/tests"]
from support import notebooks

failed = 0
for path in sorted(Path("/repository/demos/notebooks").glob("*.ipynb")):
    folder = Path("/tmp", path.stem)
    folder.mkdir()
    copy = Path(shutil.copy(path, folder))
    os.chdir(folder)
    try:
        print(path.name, "shows", " ".join("+".join(sorted(cell)) or "-" for cell in notebooks.run(copy)), flush=True)
    except Exception:
        failed += 1
        traceback.print_exc()
failed
`);
process.exit(failed ? 1 : 0);

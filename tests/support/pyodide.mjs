// Run pytest in Pyodide under node: node pyodide.mjs PYODIDE SITE REPOSITORY [pytest arguments ...]
// Tests marked not_wasm are left out. What this platform lacks (processes, threads, terminals, timers, and NumPy where it cannot be downloaded) is skipped and counted.
import { pathToFileURL } from "node:url";

const [module, site, repository, ...args] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(module));
const py = await loadPyodide();
await py.loadPackage("numpy", { messageCallback: () => {}, errorCallback: () => {} });
for (const [at, folder] of [["/site", site], ["/repository", repository]]) {
  py.FS.mkdirTree(at);
  py.mountNodeFS(at, folder);
}
py.globals.set("args", py.toPy(args));
const code = py.runPython(`
import builtins, importlib.util, os, sys, types
sys.dont_write_bytecode = True
sys.path[:0] = ["/site", "/repository"]
os.chdir("/repository")
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = "/tmp/hypothesis"
import pytest

LACKS = (
    "can't start new thread",
    "emscripten does not support processes",
    "out of pty devices",
    "has no attribute 'setitimer'",
    "No module named 'numpy'",
)
MISSING = [name for name in ("numpy", "venv") if importlib.util.find_spec(name) is None]
left_out = []

class Absent(types.ModuleType):
    """Stands for a module that is not here, so that only those tests are left out that use it."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ModuleNotFoundError(f"No module named '{self.__name__}'")

def import_in_tests(name, globals=None, *more, ordinary=builtins.__import__, **named):
    of_tests = str((globals or {}).get("__file__")).startswith("/repository/tests/")
    return Absent(name) if name == "numpy" and of_tests else ordinary(name, globals, *more, **named)

if "numpy" in MISSING:
    builtins.__import__ = import_in_tests

class Platform:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        return (yield from self.lacking())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        return (yield from self.lacking())

    def lacking(self):
        try:
            return (yield)
        except (RuntimeError, OSError, AttributeError, ImportError) as error:
            if not any(text in str(error) for text in LACKS):
                raise
            pytest.skip(str(error))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        report = yield
        for name in MISSING:
            if report.failed and f"No module named '{name}'" in str(report.longrepr):
                left_out.append(f"{collector.name} ({name})")
                report.outcome, report.longrepr = "skipped", (str(collector.path), 0, f"Skipped: no {name}")
        return report

    def pytest_terminal_summary(self, terminalreporter):
        counts = {text: sum(text in str(r.longrepr) for r in terminalreporter.stats.get("skipped", [])) for text in LACKS}
        for text, count in counts.items():
            if count:
                terminalreporter.write_line(f"NOT RUN: {count} tests: {text}")
        if left_out:
            terminalreporter.write_line(f"NOT RUN: {', '.join(sorted(left_out))}: not in this Pyodide")

print("Python", sys.version.split()[0], "on", sys.platform, flush=True)
int(pytest.main([*args, "-m", "not slow and not peers and not not_wasm", "-p", "no:cacheprovider"], plugins=[Platform()]))
`);
process.exit(code);

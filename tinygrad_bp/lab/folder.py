"""The laboratory as a folder for a static server: `tinygrad-bp lab FOLDER`.

Python for the browser is Pyodide's package of npm, in one pinned version whose digest is checked before a
file of it is written; npm fetches it, or has it in its cache.  Two pages, one a language, are put together
here; each allows its own scripts and those of the pages that it shows, by their hashes, and nothing else.
"""

import gzip
import hmac
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from base64 import b64encode
from hashlib import sha256, sha512
from pathlib import Path

from tinygrad_bp.errors import DrawError, TinygradError
from tinygrad_bp.files import write_whole
from tinygrad_bp.lab.gallery import GALLERY
from tinygrad_bp.show.playground import OWN_SCRIPTS, OWN_STYLES
from tinygrad_bp.show.stepper.sealed import SCRIPTS, STYLES, page_of

PYODIDE = "314.0.7"  # has Python 3.14
DIGEST = "0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="  # sha512
TAKEN = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
PACKED = (".py", ".js", ".css", ".html", ".txt")  # of the package
PAGES = {"en": "index.html", "zh": "zh.html"}
PAGE = Path(__file__).parent / "page"
PACKAGE = Path(__file__).parents[1]
NOTICE = f"""\
The files whose names begin with pyodide, and python_stdlib.zip, are from Pyodide {PYODIDE}, the package
pyodide of npm, compressed: Mozilla Public License 2.0; CPython in them: Python Software Foundation License 2.
tinygrad_bp.zip is the source of tinygrad_bp: MIT License.
"""


class LabError(TinygradError):
    """The laboratory cannot be built; says what is missing."""


def build_lab(folder: Path, packed: bytes | None = None) -> list[Path]:
    """Write the laboratory's files into a folder, and return their paths.

    `packed` is Pyodide's package as npm packs it; without it, npm fetches it. Raises LabError where that
    cannot be, or where it is another one than the pinned; DrawError for a file that cannot be written.
    """
    files = {
        **gzipped(unpack(fetch_pyodide() if packed is None else packed)),
        "tinygrad_bp.zip": package_zip(),
        "worker.mjs": (PAGE / "worker.mjs").read_bytes(),
    }
    texts = {
        page: lab_page(lang, {name: len(file) for name, file in files.items()})
        for lang, page in PAGES.items()
    }
    texts |= {"runner.html": runner_page(), "NOTICE.txt": NOTICE}
    folder.mkdir(parents=True, exist_ok=True)
    contents = files | {name: text.encode() for name, text in texts.items()}
    return [write_whole(folder / name, content, DrawError) for name, content in contents.items()]


def fetch_pyodide(offline: bool = False) -> bytes:
    """Pyodide's package, packed, from npm; offline, only if npm has it in its cache. Raises LabError."""
    npm = shutil.which("npm")
    by_hand = f"npm pack pyodide@{PYODIDE}, and then --pyodide pyodide-{PYODIDE}.tgz"
    if npm is None:
        raise LabError(f"npm is missing: install Node.js, or run on a machine that has it: {by_hand}")
    options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    options.append("--offline" if offline else "--prefer-offline")
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", *options, f"pyodide@{PYODIDE}"]
        run = subprocess.run(command, cwd=place, capture_output=True, text=True, encoding="utf-8")
        packed = [*Path(place).glob("*.tgz")]
        if run.returncode or not packed:
            found = re.search(r"code (\w+)", run.stderr)
            why = found[1] if found else f"it ended with {run.returncode}"
            raise LabError(f"npm did not get pyodide {PYODIDE} ({why}): on a machine with network: {by_hand}")
        return packed[0].read_bytes()


def unpack(packed: bytes) -> dict[str, bytes]:
    """The files that are needed of Pyodide's package. Raises LabError for any other package."""
    if not hmac.compare_digest(b64encode(sha512(packed).digest()).decode(), DIGEST):
        raise LabError(
            f"this is not the package pyodide {PYODIDE} of npm: its SHA-512 differs; nothing was written"
        )
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for name in TAKEN:
            file = archive.extractfile(f"package/{name}")
            assert file is not None
            found[name] = file.read()
    lock = json.loads(found["pyodide-lock.json"])  # its other packages are not here
    found["pyodide-lock.json"] = json.dumps({"info": lock["info"], "packages": {}}).encode()
    return found


def gzipped(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files as small as they should travel: few static servers see to that themselves."""
    found = {}
    for name, content in files.items():
        is_zip = name.endswith(".zip")
        found[name if is_zip else f"{name}.gz"] = content if is_zip else gzip.compress(content, mtime=0)
    return found


def package_zip() -> bytes:
    """The package's sources, zipped; the same bytes for the same sources."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(PACKAGE.rglob("*")):
            inside = path.relative_to(PACKAGE.parent)
            if path.is_file() and path.suffix in PACKED and "demos" not in inside.parts:
                entry = zipfile.ZipInfo(inside.as_posix())
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return made.getvalue()


# --- the pages ----------------------------------------------------------------------------------------------


def lab_page(lang: str, sizes: dict[str, int]) -> str:
    """The page in a language, which fetches files of these sizes."""
    tables = ["strings.js"] + [f"strings.{lang}.js"] * (lang != "en")
    script = "\n".join(["const WORDS = {};", *map(_read, tables), _read("lab.mjs")])
    scripts, styles = [_hash(script)], [_hash(_read("lab.css"))]
    for shown in shown_policies(lang):
        scripts += re.findall(r"script-src '([^']+)'", shown)
        styles += re.findall(r"style-src '([^']+)'", shown)
    policy = (
        f"default-src 'none'; script-src {_quoted(scripts)}; style-src {_quoted(styles)}; "
        "img-src data: blob:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "lang": {"zh": "zh-Hans"}.get(lang, lang),
        "policy": policy,
        "style": _read("lab.css"),
        "data": _json({"lang": lang, "sizes": [*sizes.items()], "gallery": GALLERY}),
        "script": script,
    }
    return _filled("lab.html", parts)


def runner_page() -> str:
    """The page of the frame in which Python runs."""
    script = _read("runner.mjs")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}' blob: 'wasm-unsafe-eval'; worker-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    return _filled("runner.html", {"policy": policy, "script": script})


def shown_policies(lang: str) -> list[str]:
    """The policies of the pages that are shown in a frame here: such a page obeys the policy of both."""
    kinds = [(SCRIPTS, STYLES), (SCRIPTS[:-1] + OWN_SCRIPTS + SCRIPTS[-1:], STYLES + OWN_STYLES)]
    return [page_of({}, "", scripts, styles, lang).html for scripts, styles in kinds]


def _filled(name: str, parts: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda match: parts[match[1]], _read(name))


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _quoted(hashes: list[str]) -> str:
    return " ".join(f"'{found}'" for found in dict.fromkeys(hashes))

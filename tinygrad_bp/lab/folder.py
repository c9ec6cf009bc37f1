"""The laboratory as a folder for a static server: `tinygrad-bp lab FOLDER`.

Python for the browser is Pyodide's package of npm, in one pinned version whose digest is checked before a
file of it is written; npm fetches it, or has it in its cache.  Two pages, one a language, are put together
here; each allows its own scripts and those of the pages that it shows, by their hashes, and nothing else.
"""

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

PYODIDE = "314.0.7"
DIGEST = "0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="  # sha512
TAKEN = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
PACKED = (".py", ".js", ".css", ".html", ".txt")  # of the package
PAGES = {"en": "index.html", "zh": "zh.html"}
PAGE = Path(__file__).parent / "page"
PACKAGE = Path(__file__).parents[1]
NOTICE = f"""\
pyodide.mjs, pyodide.asm.mjs, pyodide.asm.wasm and python_stdlib.zip are from Pyodide {PYODIDE}, the package
pyodide of npm, unchanged: Mozilla Public License 2.0; CPython in them: Python Software Foundation License 2.
tinygrad_bp.zip is the source of tinygrad_bp: MIT License.
"""


class LabError(TinygradError):
    """The laboratory cannot be built; says what is missing."""


def build_lab(folder: Path, archive: Path | None = None) -> list[Path]:
    """Write the laboratory's files into a folder, and return their paths.

    `archive` is Pyodide's package as npm packs it; without it, npm fetches it. Raises LabError where that
    cannot be, or where it is another one than the pinned; DrawError for a file that cannot be written.
    """
    packed = archive.read_bytes() if archive else fetch_pyodide()
    files = {
        **unpack(packed),
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


def fetch_pyodide() -> bytes:
    """Pyodide's package, packed, from npm."""
    npm = shutil.which("npm")
    by_hand = f"npm pack pyodide@{PYODIDE}, and then --pyodide pyodide-{PYODIDE}.tgz"
    if npm is None:
        raise LabError(f"npm is missing: install Node.js, or run on a machine that has it: {by_hand}")
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", "--silent", "--prefer-offline", "--ignore-scripts", f"pyodide@{PYODIDE}"]
        run = subprocess.run(command, cwd=place, capture_output=True, text=True)
        packed = [*Path(place).glob("*.tgz")]
        if run.returncode or not packed:
            last = (run.stderr.strip().splitlines() or ["no package came"])[-1]
            raise LabError(
                f"npm did not fetch pyodide {PYODIDE} ({last}); on a machine with network: {by_hand}"
            )
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
    constants = {"WORDS": {}, "LANG": lang, "SIZES": [*sizes.items()], "GALLERY": GALLERY}
    data = f"const {', '.join(f'{name} = {_json(value)}' for name, value in constants.items())};"
    script = "\n".join([data, *map(_read, tables), _read("lab.mjs")])
    scripts, styles = [_hash(script)], [_hash(_read("lab.css"))]
    for shown in shown_policies(lang):
        scripts += re.findall(r"script-src '([^']+)'", shown)
        styles += re.findall(r"style-src '([^']+)'", shown)
    policy = (
        f"default-src 'none'; script-src {_quoted(scripts)}; style-src {_quoted(styles)}; img-src data:; "
        "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "lang": {"zh": "zh-Hans"}.get(lang, lang),
        "policy": policy,
        "style": _read("lab.css"),
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

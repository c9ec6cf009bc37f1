"""The demos that draw, step through and classify: what they print, and what they leave in their file.

Each runs in a process of its own, in a pipe, as a newcomer would run it.
"""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from matplotlib.image import imread
from support.demos import DEMOS, run

OUTPUTS = {"draw_neuron": ".svg", "step_through": ".html", "moons": ".png", "digits": ".png", "gpt": ".png"}


@pytest.fixture(scope="module", params=list(OUTPUTS))
def demo(request, tmp_path_factory):
    """A demo's name, what a run of it gave, and where its file should be."""
    path = tmp_path_factory.mktemp("demo") / "new" / f"file{OUTPUTS[request.param]}"
    return request.param, run([DEMOS / f"{request.param}.py", "--output", path]), path


def test_it_runs_and_is_silent_about_progress(demo):
    name, ran, path = demo
    assert (ran.returncode, ran.stderr) == (0, "")
    assert path.is_file()
    assert len(list(path.parent.iterdir())) == (2 if name == "step_through" else 1)


def test_it_says_what_it_shows(demo):
    name, ran, _ = demo
    lines = ran.stdout.splitlines()
    if name == "draw_neuron":
        assert lines[0] == "o = 0.7071"
        slopes = [float(line.split("=")[-1]) for line in lines[1:6]]
        assert slopes == [-1.5, 1.0, 0.5, 0.0, 0.5]  # as in micrograd's lecture
        assert "w1 → v1 → v3 → n → o" in lines
        assert lines[-1].startswith("picture: ") and lines[-1].endswith("file.svg")
    elif name == "step_through":
        assert re.fullmatch(r"page: \S+file.html   L = \(a·b \+ c\)·f, \d+ kB", lines[0])
        assert re.fullmatch(
            r"page: \S+file_training.html   XOR by a 2-4-1 network, loss \S+, 4 of 4 right, \d+ kB", lines[1]
        )
    elif name == "digits":
        assert lines[0] == "64-32-10, 2410 parameters, 1438 digits, seed 0"
        share = re.fullmatch(
            r"\d+\.\d\d s in .+; \d+ of 359 unseen digits are read right, (\S+) %", lines[-2]
        )
        assert float(share[1]) >= 95.0
    elif name == "gpt":
        assert lines[0] == "4192 parameters, 4130 names, seed 0"
        unseen, table = map(
            float, re.search(r"unseen names (\S+), of a table of pairs (\S+)$", lines[-3]).groups()
        )
        assert unseen < table - 0.15
        assert len(lines[-2].split(", ")) == 20
    else:
        assert lines[0] == "2-16-16-1, 337 parameters, 100 points, seed 0"
        losses = [float(line.split()[-1]) for line in lines if line.startswith("iteration")]
        assert len(losses) == 10
        assert losses[-1] < 0.03 < 0.5 < losses[0]
        assert re.fullmatch(r"\d+\.\d\d s in machine code; accuracy 100 %", lines[-2])


def test_its_file_can_be_read(demo):
    name, _, path = demo
    if name == "draw_neuron":
        text = "".join(ElementTree.parse(path).getroot().itertext())
        assert {"x1", "w1", "x2", "w2", "b", "tanh"} <= set(text.split())
        assert "0.7071" in text
    elif name == "step_through":
        for page in path.parent.iterdir():
            html = page.read_text(encoding="utf-8")
            data = json.loads(
                re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S)[1]
            )
            names = {node["name"] for node in data["graphs"][0]["nodes"]}
            assert "L" in names
            assert ("a" in names) == (page == path)
            assert len(data["moments"] if page == path else data["recorded"]["steps"]) == (
                1 if page == path else 31
            )
    else:
        height, width, _ = imread(path).shape
        assert 400 <= height <= width <= 3000
        assert imread(path)[..., :3].std() > 0.05


@pytest.mark.parametrize("name", list(OUTPUTS))
def test_another_kind_of_file_is_refused(name, tmp_path):
    ran = run([DEMOS / f"{name}.py", "--output", tmp_path / "file.txt"])
    what = "page's" if name == "step_through" else "picture's"
    assert ran.returncode == 2
    assert f"{name}.py: error: argument --output: a {what} name ends in {OUTPUTS[name]}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not any(tmp_path.iterdir())


def test_a_drawing_is_not_trained(tmp_path):
    ran = run([DEMOS / "draw_neuron.py", "--iterations", 3])
    assert ran.returncode == 2
    assert "unrecognized arguments: --iterations 3" in ran.stderr


def test_few_iterations(tmp_path):
    ran = run([DEMOS / "moons.py", "--iterations", 1, "--seed", 5, "--output", tmp_path / "a.png"])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "seed 5" in ran.stdout
    ran = run([DEMOS / "step_through.py", "--iterations", 1, "--output", tmp_path / "a.html"])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "of 4 right" in ran.stdout


def test_the_drawing_in_the_docs_is_current(tmp_path):
    run([DEMOS / "draw_neuron.py", "--output", tmp_path / "a.svg"])
    drawn, kept = tmp_path / "a.svg", DEMOS.parent / "docs" / "draw_neuron.svg"
    assert drawn.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), (
        "run: python demos/draw_neuron.py --output docs/draw_neuron.svg"
    )


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """What the demo of the picture that moves wrote."""
    path = tmp_path_factory.mktemp("moving") / "backprop.svg"
    ran = run([DEMOS / "animate_backprop.py", "--output", path])
    assert (ran.returncode, ran.stderr) == (0, "")
    return path


def test_the_picture_that_moves_is_current_and_small(moving):
    docs = DEMOS.parent / "docs"
    for path in (moving, moving.with_suffix(".html")):
        kept = docs / path.name
        assert path.read_bytes() == kept.read_bytes(), "run: python tests/write_generated.py"
        assert kept.stat().st_size < 300_000


def test_the_picture_that_moves_shows_every_number_and_runs_no_script(moving):
    root = ElementTree.parse(moving).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"−8", "6", "−4", "−2", "4", "1"} <= {*texts}
    assert "∂L/∂a = ∂L/∂e × ∂e/∂a = −2 × −3 = 6" in texts
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {
        "svg",
        "style",
        "title",
        "g",
        "path",
        "rect",
        "text",
        "circle",
        "animate",
        "animateMotion",
    }
    motions = [*root.iter("{http://www.w3.org/2000/svg}animateMotion")]
    assert len(motions) == 6
    for element in (*motions, *root.iter("{http://www.w3.org/2000/svg}animate")):
        times = [float(time) for time in element.get("keyTimes").split(";")]
        assert times[0] == 0
        assert times[-1] == 1
        assert times == sorted(times)
    assert "prefers-reduced-motion" in moving.read_text(encoding="utf-8")

"""The two published experiments as demos: their figures, their text, their pictures, their options.

`PUBLISHED` holds the 26 blocks that the text of the 2-2-1 network prints, digit for digit. The demos run as a
reader runs them, each in a process of its own, and write into a temporary directory only.
"""

import ast
import random
import sys

import pytest
from matplotlib.image import imread
from support.demos import DEMOS, run

import tinygrad_bp as tg

# error before the step | both rows of w0 after it | w1: iterations 75 to 100 of 100
PUBLISHED = """
    8.22616248e-06 | 0.09815656 0.64379488 | 0.39815656 0.44379488 | -0.29141427 0.32375987
    7.40440534e-06 | 0.09823763 0.64370482 | 0.39823763 0.44370482 | -0.29203841 0.32315234
    6.66477319e-06 | 0.09831471 0.64361953 | 0.39831471 0.44361953 | -0.29263055 0.32257597
    5.99905368e-06 | 0.09838799 0.64353875 | 0.39838799 0.44353875 | -0.29319234 0.32202914
    5.39985637e-06 | 0.09845764 0.64346224 | 0.39845764 0.44346224 | -0.29372533 0.32151034
    4.86053034e-06 | 0.09852385 0.64338977 | 0.39852385 0.44338977 | -0.29423099 0.32101815
    4.37509018e-06 | 0.09858678 0.64332111 | 0.39858678 0.44332111 | -0.29471073 0.32055118
    3.93814926e-06 | 0.09864658 0.64325607 | 0.39864658 0.44325607 | -0.29516588 0.32010815
    3.5448598e-06 | 0.0987034 0.64319445 | 0.3987034 0.44319445 | -0.29559771 0.31968782
    3.19085892e-06 | 0.09875739 0.64313606 | 0.39875739 0.44313606 | -0.2960074 0.31928904
    2.87222006e-06 | 0.09880868 0.64308073 | 0.39880868 0.44308073 | -0.29639609 0.3189107
    2.58540935e-06 | 0.09885741 0.6430283 | 0.39885741 0.4430283 | -0.29676486 0.31855175
    2.32724628e-06 | 0.0989037 0.64297861 | 0.3989037 0.44297861 | -0.29711474 0.31821119
    2.09486834e-06 | 0.09894768 0.64293151 | 0.39894768 0.44293151 | -0.29744668 0.31788809
    1.88569918e-06 | 0.09898944 0.64288688 | 0.39898944 0.44288688 | -0.29776161 0.31758154
    1.69742002e-06 | 0.09902911 0.64284457 | 0.39902911 0.44284457 | -0.29806041 0.31729071
    1.52794387e-06 | 0.09906678 0.64280446 | 0.39906678 0.44280446 | -0.2983439 0.31701477
    1.37539232e-06 | 0.09910256 0.64276645 | 0.39910256 0.44276645 | -0.29861286 0.31675297
    1.23807471e-06 | 0.09913654 0.64273041 | 0.39913654 0.44273041 | -0.29886803 0.31650459
    1.11446931e-06 | 0.0991688 0.64269624 | 0.3991688 0.44269624 | -0.29911014 0.31626894
    1.0032065e-06 | 0.09919944 0.64266385 | 0.39919944 0.44266385 | -0.29933984 0.31604536
    9.03053486e-07 | 0.09922853 0.64263314 | 0.39922853 0.44263314 | -0.29955777 0.31583323
    8.12900662e-07 | 0.09925614 0.64260402 | 0.39925614 0.44260402 | -0.29976454 0.31563197
    7.31749283e-07 | 0.09928237 0.64257641 | 0.39928237 0.44257641 | -0.29996071 0.31544102
    6.58700387e-07 | 0.09930726 0.64255023 | 0.39930726 0.44255023 | -0.30014683 0.31525986
    5.92944818e-07 | 0.0993309 0.6425254 | 0.3993309 0.4425254 | -0.30032342 0.31508797"""


@pytest.fixture(scope="module")
def trace():
    """demos/published_trace.py as a module."""
    sys.path.insert(0, str(DEMOS))
    try:
        import published_trace

        yield published_trace
    finally:
        sys.path.remove(str(DEMOS))


# --- the published trace ------------------------------------------------------------------------------------


def plain(number):
    """A weight as NumPy prints it: eight decimals, without zeros at the end."""
    return f"{number:.8f}".rstrip("0")


def scientific(number):
    mantissa, power = f"{number:.8e}".split("e")
    return f"{mantissa.rstrip('0')}e{power}"


def test_every_printed_digit_of_the_text(trace):
    blocks = PUBLISHED.strip().splitlines()
    steps = trace.published_trace(trace.W0, trace.W1, 100)
    assert len(steps) == 100
    assert len(blocks) == trace.PRINTED == 26
    for step, block in zip(steps[-26:], blocks):
        rows = [" ".join(map(plain, row)) for row in (*step.w0, step.w1)]
        assert " | ".join([scientific(step.error), *rows]) == block.strip()


def test_the_chain_rule_ends_elsewhere(trace):
    last = trace.engine_trace(trace.W0, trace.W1, 100)[-1]
    assert f"{last.error:.8e}" == "3.26687892e-07"
    assert [[f"{w:.10f}" for w in row] for row in last.w0] == [
        ["0.0994972866", "0.7987073083"],
        ["0.3565002803", "0.4881435778"],
    ]
    assert [f"{w:.10f}" for w in last.w1] == ["-0.3004722543", "0.3253360282"]


def test_the_traces_leave_the_weights_they_start_from(trace):
    trace.published_trace(trace.W0, trace.W1, 3)
    trace.engine_trace(trace.W0, trace.W1, 3)
    assert (trace.W0, trace.W1) == ([[0.1, 0.8], [0.4, 0.6]], [0.3, 0.9])


def test_the_global_generator_is_left_alone(trace):
    random.seed(3)
    before = random.getstate()
    first, second = trace.initial(5), trace.initial(5)
    trace.published_trace(*first, 2)
    assert first == second != trace.initial(6)
    assert random.getstate() == before


# --- the demos as they are run ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["published_trace", "fit_quadratic"])
def shown(request, tmp_path_factory):
    """A demo's name, what one run of it gave, and where its picture should be."""
    picture = tmp_path_factory.mktemp("demo") / "new" / "picture.png"
    iterations = {"published_trace": 100, "fit_quadratic": 1}[request.param]
    script = DEMOS / f"{request.param}.py"
    return request.param, run([script, "--iterations", iterations, "--output", picture]), picture


def test_a_demo_runs_and_is_silent_about_progress(shown):
    _, ran, _ = shown
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_demo_saves_a_readable_picture_and_nothing_else(shown):
    _, ran, picture = shown
    (said,) = (line for line in ran.stdout.splitlines() if line.startswith("picture: "))
    assert said.endswith("picture.png")
    height, width, channels = imread(picture).shape
    assert 400 <= height <= width <= 3000
    assert channels in (3, 4)
    assert imread(picture)[..., :3].std() > 0.05  # it is not blank
    assert list(picture.parent.iterdir()) == [picture]


def first_loss():
    """Of the quadratic network made by seed 0, computed apart from `fit`."""
    model = tg.MLP(
        1, [100, 100, 100, 1], weights=tg.nn.normal(0.2), biases=tg.nn.normal(1.0), rng=random.Random(0)
    )
    with tg.no_grad():
        return sum((model([x]).data - y) ** 2 / 2 for x, y in zip(*tg.data.quadratic()))


def test_a_demo_says_what_it_shows(shown):
    name, ran, _ = shown
    if name == "fit_quadratic":
        assert "1-100-100-100-1, 20,501 parameters, 240 points, seed 0" in ran.stdout
        assert "machine code, compiled in" in ran.stdout
        losses = [float(line.split()[-1]) for line in ran.stdout.splitlines() if " loss " in line]
        assert losses[:-1] == [pytest.approx(first_loss(), abs=1e-5)]
        assert 0.0 < losses[-1] < 80_000.0  # the very first step may go up
        return
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    assert [line for line in lines if line[:9] == "iteration"] == [f"iteration {i}" for i in range(75, 101)]
    assert "error 5.92944818e-07 3.26687892e-07" in lines  # as published, by the chain rule
    assert "w0 0.09933090 0.64252540 0.09949729 0.79870731" in lines
    assert "w1 -0.30032342 0.31508797 -0.30047225 0.32533603" in lines


def test_the_trace_sets_engine_and_difference_quotient_side_by_side(shown):
    name, ran, _ = shown
    rows = [line.split() for line in ran.stdout.splitlines() if line.startswith("  w0[")]
    assert len(rows) == (4 if name == "published_trace" else 0)
    for _, engine, quotient, published in rows:
        assert float(engine) == pytest.approx(float(quotient), abs=1e-9)
        assert abs(float(engine) - float(published)) > 1e-4


def test_the_trace_ends_with_the_audit_which_names_both_mistakes(shown):
    name, ran, _ = shown
    _, audited, report = ran.stdout.partition("What the text adds to its weights in the first step, audited:")
    assert bool(audited) == (name == "published_trace")
    if audited:
        table, _, verdict = report.partition("explained by:")
        rows = {row.split()[0]: [float(x) for x in row.split()[1:]] for row in table.splitlines()[4:]}
        assert len(rows) == 6
        assert rows["layers.1.neurons.0.w.1"][2] == -1.0  # the last layer has but its sign
        for j in range(2):  # both rows of w0 get the same
            assert rows[f"layers.0.neurons.0.w.{j}"][0] == rows[f"layers.0.neurons.1.w.{j}"][0]
        starts = [line.strip().partition(":")[0] for line in verdict.splitlines() if line[:5].strip()]
        assert starts == [
            "1. row against column, in layer 0",
            "2. inputs contracted with delta, in layer 0",
            "and the sign is turned, which is right if your code adds these numbers to the weights",
        ]


@pytest.mark.parametrize("seed", range(5))
def test_the_audit_names_the_published_mistakes_from_other_weights_too(trace, seed):
    w0, w1 = trace.initial(seed)
    report = trace.audited(w0, w1, trace.published_trace(w0, w1, 1)[0])
    assert len(report.explanations) == 1
    assert [text.partition(":")[0] for text in report.explanations[0]][:2] == [
        "row against column, in layer 0",
        "inputs contracted with delta, in layer 0",
    ]


def test_few_iterations_are_printed_from_the_first(tmp_path):
    ran = run([DEMOS / "published_trace.py", "--iterations", 2, "--seed", 4, "--output", tmp_path / "a.png"])
    assert [line for line in ran.stdout.splitlines() if line.startswith("iteration")] == [
        "iteration 1",
        "iteration 2",
    ]


BAD = [*(("--iterations", given) for given in ("0", "-1", "abc", "1.5")), ("--seed", "abc"), ("--no", "1")]


@pytest.mark.parametrize("name", ["published_trace", "fit_quadratic"])
@pytest.mark.parametrize(("option", "given"), BAD)
def test_a_bad_option_is_refused_in_one_line(name, option, given, tmp_path):
    ran = run([DEMOS / f"{name}.py", option, given, "--output", tmp_path / "a.png"])
    complaint = ran.stderr.splitlines()[-1]
    assert ran.returncode == 2
    assert complaint.startswith(f"{name}.py: error: ")
    assert option in complaint
    assert given in complaint
    assert option != "--iterations" or "a whole number from 1 up" in complaint
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
    assert not any(tmp_path.iterdir())


def test_a_picture_that_cannot_be_saved_is_refused_before_the_training(tmp_path):
    for output in (tmp_path, tmp_path / "picture.nothing", tmp_path / "picture"):
        ran = run([DEMOS / "published_trace.py", "--iterations", 1, "--output", output])
        assert ran.returncode == 2
        assert "Traceback" not in ran.stderr
        assert "--output" in ran.stderr.splitlines()[-1]
        assert ran.stdout == ""
        assert not any(tmp_path.iterdir())


def test_without_matplotlib_a_demo_says_what_to_install(tmp_path):
    blocked = (
        "import runpy, sys; sys.modules['matplotlib'] = sys.modules['numpy'] = None;"
        f"sys.path.insert(0, {str(DEMOS)!r}); sys.argv = ['published_trace.py', *sys.argv[1:]];"
        f"runpy.run_path({str(DEMOS / 'published_trace.py')!r}, run_name='__main__')"
    )
    ran = run(["-c", blocked, "--iterations", 1, "--output", tmp_path / "a.png"])
    assert (ran.returncode, ran.stderr) == (0, "")
    (said,) = (line for line in ran.stdout.splitlines() if line.startswith("no picture: "))
    assert "pip install 'tinygrad_bp[plots]'" in said
    assert not any(tmp_path.iterdir())


def test_demos_import_no_numpy():
    demos = sorted(DEMOS.glob("*.py"))
    assert len(demos) >= 3
    for demo in demos:
        for part in ast.walk(ast.parse(demo.read_text(encoding="utf-8"))):
            if isinstance(part, ast.Import):
                assert not any(name.name.startswith("numpy") for name in part.names), demo.name
            if isinstance(part, ast.ImportFrom):
                assert not (part.module or "").startswith("numpy"), demo.name

"""The bench's own code: that a peer which computes something else is found out, and how figures are told.

No time is asserted.  Its peers beyond NumPy are left alone; run.py checks each of them before it is timed.
"""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).parent / "bench"


@pytest.fixture
def bench(monkeypatch):
    """The bench's files can be imported, as when run.py is started."""
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def small_nets(works):
    inputs = [[0.1, -0.4], [0.3, 0.9], [-0.5, 0.2]]
    yield works.tiny()
    yield works.Net("", (2, 3, 1), inputs, [1.0, -1.0, 1.0], 3, loss="hinge")
    yield works.Net("", (2, 3, 1), inputs, [1.0, -1.0, 1.0], 3, act="sigmoid")
    yield works.Net("", (2, 4, 3), inputs, [0.0, 2.0, 1.0], 3, loss="cross entropy")


def test_numpy_by_hand_micrograd_and_we_compute_the_same(bench):
    import measure
    import ours
    import works
    from peers import by_hand, scalars

    for net in small_nets(works):
        contenders = [c for peer in (ours, by_hand, scalars) for c in peer.contenders(net, 1)]
        measure.agree(contenders, contenders[0])


def test_a_peer_that_computes_something_else_ends_the_run(bench):
    import measure
    import ours
    import works
    from peers import by_hand

    mine, theirs = ours.contenders(works.tiny(), 1)[0], by_hand.contenders(works.tiny(), 1)[0]
    right = theirs.gradient
    theirs.gradient = lambda: [x * (1.0 + 1e-6) for x in right()]
    with pytest.raises(ArithmeticError, match="NumPy by hand computes something else"):
        measure.agree([mine, theirs], mine)
    theirs.gradient, theirs.call = right, lambda: None
    with pytest.raises(ArithmeticError, match="NumPy by hand takes another step"):
        measure.agree([mine, theirs], mine)


def test_ratios_are_of_rounds_that_both_took_part_in(bench):
    from timing import Times

    ours, slow = Times([1.0, 2.0, 1.0, 100.0]), Times([10.0, 40.0])
    assert slow.ratio(ours) == (25.0 / 1.5, 10.0, 20.0)
    assert (ours.median, ours.minimum) == (1.5, 1.0)


def test_everybody_has_a_turn_in_every_round(bench):
    from timing import Contender, in_turns

    turns = []
    contenders = [Contender(name, lambda name=name: turns.append(name)) for name in "ab"]
    times = in_turns(contenders, rounds=3)
    assert [len(t.rounds) for t in times] == [3, 3]
    assert turns[-1] == "b" and min(times[0].rounds) > 0.0


def test_verdicts(bench):
    from marks import Mark
    from rows import compared
    from timing import Contender, Times

    assert Mark(2.5, 2.0).told(2.6) == "goal 2.5, floor 2: goal met"
    assert Mark(2.5, 2.0).told(2.0) == "goal 2.5, floor 2: floor met"
    assert Mark(2.5, 2.0).told(1.9) == "goal 2.5, floor 2: BELOW THE FLOOR"
    assert Mark(0.4, 0.6, at_most=True).told(0.7) == "goal 0.4, floor 0.6: ABOVE THE FLOOR"
    named = [Contender(name, print) for name in ("tinygrad_bp", "NumPy by hand", "JAX")]
    times = [Times([1.0, 1.0]), Times([3.0, 3.0]), Times([0.5, 0.5])]
    marks = [row.mark for row in compared("quadratic", named, times, 1, 0.0, None)]
    assert marks == ["", "goal 2.5, floor 2: goal met", "fastest of the others: AHEAD OF US"]
    wild = [Times([1.0, 1.0]), Times([3.0, 30.0]), Times([0.9, 1.1])]
    marks = [row.mark for row in compared("quadratic", named, wild, 1, 0.0, None)]
    assert marks == ["", "not judged: rounds disturbed", "fastest of the others: level with us"]


@pytest.mark.parametrize(
    "seconds, told", [(None, ""), (2.0, "2 s"), (0.0123, "12.3 ms"), (4.8e-6, "4.8 µs"), (7.34e-8, "73.4 ns")]
)
def test_durations(bench, seconds, told):
    from rows import duration

    assert duration(seconds) == told


ABOUT = {"about": {"processor": "a processor", "versions": ["Python 3"], "missing": ["torch"]}}


def row(contender, median=None, ratio=None, **more):
    return {"contender": contender, "median": median, "ratio": ratio, **more}


def a_run():
    """What a run has measured: two works of a plot, one of two threads, the first call."""
    return [
        ABOUT,
        {"title": "the machine's own limit", "rows": [row("fused multiply-adds", rate=50.0)]},
        {"title": "moons 2-16-16-1, 100 samples: one step, 0.176 MFLOP", "rows": [
            row("tinygrad_bp, looped inside", 5e-6, 1.0), row("tinygrad_bp, bound call", 6e-6, 1.2),
            row("JAX, jitted step", 5e-5, 10.0), row("JAX, looped inside", 1e-5, 2.0),
            row("micrograd", 1.0, 200_000.0), row("NumPy by hand", 4e-5, 8.0, low=2.0, high=9.0)]},
        {"title": "sigmoid 2-2-1, 1 sample: one step", "rows": [
            row("tinygrad_bp, looped inside", 1e-7, 1.0),
            row("CasADi and gcc -O3, looped inside", 5e-8, 0.5), row("CasADi, scalars", 3e-7, 3.0)]},
        {"title": "1-30-30-30-1 relu, 240 samples: one step", "rows": [
            row("tinygrad_bp, looped inside", 1e-4, 1.0, threads=2), row("JAX", 2e-4, 2.0, threads=2)]},
        {"title": "compile time, 784-100-10, 79,510 parameters", "rows": [
            row("tinygrad_bp", 0.5), row("JAX, trace and jit", 0.25)]},
    ]  # fmt: skip


def test_the_page_of_ratios_has_the_fastest_way_of_each_peer(bench):
    import figures

    lines = [*figures.page(a_run())]
    assert lines[0] == "a processor. Python 3. Not installed: torch."
    assert "| work | ours | JAX | NumPy by hand | CasADi, gcc | micrograd |" in lines
    assert "| 2-2-1, 1 sample | 100 ns |  |  | **0.5** |  |" in lines
    assert "| 2-16-16-1, 100 samples | 5 µs | 2 | ~8 |  | 200,000 |" in lines
    assert "| 784-100-10, 79,510 parameters | 500 ms | 250 ms |" in lines
    assert not any("1-30-30-30-1" in line for line in lines)  # of two threads
    assert not any("Adam" in line for line in lines)  # not measured


def test_the_plot_has_a_mark_for_each_ratio(bench):
    import figures

    root = ElementTree.fromstring(figures.plot(a_run()))
    told = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(told) == 1 + 4
    assert "CasADi, gcc takes 0.5 times our time" in told
    width = float(root.get("width"))
    places = [float(each.get("x")) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert 0.0 < min(places) < max(places) < width
    ElementTree.fromstring(figures.plot([ABOUT]))  # nothing was measured


def test_every_work_that_is_shown_is_one_of_the_bench(bench):
    """By their titles: a work that is called otherwise would be left out without a word."""
    import eager
    import figures
    import works

    nets = [works.tiny(), works.moons(), *map(works.quadratic, (10, 30, 100, 300)), works.digits()]
    courses = [*works.courses((16, 16)), *works.courses((64, 64)), *works.descents()]
    titles = [f"{each.name}: one step, a call for each" for each in (*nets, *courses)]
    titles += [works.FORMULA, eager.TITLE]
    shown = [begin for labels in figures.SHOWN.values() for begin in labels]
    assert [begin for begin in shown if not any(title.startswith(begin) for title in titles)] == []


def test_the_pages_are_written_between_their_marks(bench, monkeypatch, tmp_path, capsys):
    import figures

    pages = [tmp_path / name for name in ("figures.md", "figures_table.md")]
    for page in pages:
        page.write_text(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n", encoding="utf-8")
    file = tmp_path / "run.json"
    file.write_text(json.dumps(a_run()), encoding="utf-8")
    monkeypatch.setattr(figures, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["figures.py", str(file)])
    figures.main()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"before\n{figures.BEGIN}\n\na processor.")
        assert text.endswith(f"|\n\n{figures.END}\nafter\n")
        assert "old" not in text
    assert "| micrograd | 1 | on | 1 s |" in pages[1].read_text(encoding="utf-8")
    assert (tmp_path / "figures.svg").read_text(encoding="utf-8") == figures.plot(a_run())
    (tmp_path / "figures.svg").unlink()
    pages[1].write_text("no marks", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"figures_table\.md has no block to write into: it begins with <!--"
    ):
        figures.main()
    assert not (tmp_path / "figures.svg").exists()  # nothing is written by halves


def test_a_work_that_is_unknown(bench, monkeypatch, capsys):
    import run

    monkeypatch.setattr(sys, "argv", ["run.py", "nonsense"])
    with pytest.raises(SystemExit):
        run.main()
    assert "there is no work nonsense; there are: tiny, moons" in capsys.readouterr().err


def test_two_commits_are_compared_by_their_best_times(bench):
    import compare

    first = compare.lowest([{("net", "ours"): 2e-3, ("net", "old"): 1.0}, {("net", "ours"): 1e-3}])
    lines = compare.table(first, {("net", "ours"): 5e-4})
    assert [line.split() for line in lines[1:]] == [
        ["net", "ours", "1", "ms", "500", "µs", "0.50"],
        ["in", "one", "commit", "only:", "net,", "old"],
    ]


def test_a_commit_that_is_unknown_is_an_error(bench):
    command = [sys.executable, BENCH / "compare.py", "no-such-commit", "HEAD", "tiny"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "git has no commit 'no-such-commit'" in ran.stderr


def test_all_figures_go_to_a_file(bench, tmp_path, monkeypatch, capsys):
    import run

    groups = [
        {"about": {"processor": "a processor", "versions": ["Python 3"], "missing": []}},
        {"title": "a work", "rows": [{"contender": "ours", "median": 0.5}]},
    ]
    monkeypatch.setattr(run, "measured_groups", lambda names: iter(groups))
    monkeypatch.setattr(sys, "argv", ["run.py", "tiny", "--json", str(tmp_path / "figures.json")])
    run.main()
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8")) == groups
    assert "500 ms" in capsys.readouterr().out

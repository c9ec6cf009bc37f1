"""A run that is interrupted, killed or stopped, and resumed, ends with the same bits as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.forms import seed_of_the_commit
from support.optimizers import OTHERS

import tinygrad_bp as tg
from tinygrad_bp import MLP, CheckpointError, CompileError, NonFiniteError, Value, fit
from tinygrad_bp.losses import squared_error
from tinygrad_bp.optim import SGD, Adagrad, Adam, AdamW, RMSProp
from tinygrad_bp.schedules import cosine

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("SEED", seed_of_the_commit()))
DATA = tg.data.moons(21, seed=3)

OPTIMIZERS = {
    "SGD": lambda ps: SGD(ps, lr=0.01),
    "momentum": lambda ps: SGD(ps, lr=0.01, momentum=0.9, nesterov=True),
    "Adam": lambda ps: Adam(ps, lr=0.01, clip_norm=1.0),
    "AdamW": lambda ps: AdamW(ps, lr=cosine(0.01, steps=40)),
    "RMSProp": lambda ps: RMSProp(ps, lr=0.001),
    "Adagrad": lambda ps: Adagrad(ps, lr=0.01),
    **OTHERS,
}


class Run:
    """A model, an optimizer and how they are trained; a call trains up to so many steps in all."""

    def __init__(self, kind="Adam", engine="eager", batch_size=4, seed=0, **options):
        self.model = MLP(2, [4, 1], act="tanh", rng=random.Random(seed))
        self.optimizer = OPTIMIZERS[kind](self.model.parameters())
        self.options = {"engine": engine, "batch_size": batch_size, **options}

    def __call__(self, steps, loss=squared_error, **more):
        return fit(self.model, DATA, loss, self.optimizer, steps, **{**self.options, **more})

    def state(self, history):
        return repr((self.model.state_dict(), self.optimizer.state_dict(), history.losses))


@pytest.mark.parametrize("engine", ["eager", "compiled"])
@pytest.mark.parametrize("batch_size", [None, 4, 1])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_run_in_parts_is_a_run_in_one(kind, batch_size, engine, tmp_path):
    whole = Run(kind, engine, batch_size)
    expected = whole.state(whole(40))
    path = tmp_path / "run.json"
    for steps in (0, 1, 7, 22, 40, 40):
        part = Run(kind, engine, batch_size, seed=steps)  # another model each time: all comes from the file
        history = part(steps, checkpoint=path, resume=True)
        assert len(history.losses) == steps
    assert part.state(history) == expected
    assert history.seconds > 0.0


def test_saving_changes_no_bit(tmp_path):
    for engine in ("eager", "compiled"):
        plain, saved = Run(engine=engine), Run(engine=engine)
        expected = plain.state(plain(30))
        assert saved.state(saved(30, checkpoint=tmp_path / "run.json", every=7)) == expected


def test_an_engine_may_take_over_from_the_other(tmp_path):
    path = tmp_path / "run.json"
    Run(engine="eager")(15, checkpoint=path)
    other = Run(engine="compiled", seed=1)
    history = other(30, checkpoint=path, resume=True)
    whole = Run(engine="eager")
    assert history.losses == pytest.approx(whole(30).losses, rel=1e-12)


def interrupting(at, error=KeyboardInterrupt):
    """A loss that raises an error in its at-th call."""
    calls = []

    def loss(p, y):
        calls.append(1)
        if len(calls) == at:
            raise error
        return squared_error(p, y)

    return loss


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_interrupted_run_is_saved_and_goes_on(error, tmp_path):
    whole, path = Run(), tmp_path / "run.json"
    expected = whole.state(whole(30))
    part = Run()
    with pytest.raises(error):
        part(30, interrupting(4 * 11 + 2, error), checkpoint=path)
    other = Run(seed=1)
    history = other(30, checkpoint=path, resume=True)
    assert other.state(history) == expected
    fresh = Run(seed=2)
    assert len(tg.load(path, fresh.model, fresh.optimizer).losses) == 30


def test_ctrl_c_in_compiled_code_keeps_what_was_done(tmp_path):
    path, steps = tmp_path / "run.json", 20_000
    whole = Run("momentum", "compiled")
    expected = whole.state(whole(steps))

    def ring(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    rng, interrupted = random.Random(SEED), 0
    try:
        for _ in range(200):
            part = Run("momentum", "compiled", seed=int(path.exists()))
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.02, 0.5))
            try:
                history = part(steps, checkpoint=path, resume=True)
                signal.setitimer(signal.ITIMER_REAL, 0)
                break
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert part.state(history) == expected, f"SEED={SEED}, {interrupted} interrupts"


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_run_that_left_the_floats_goes_on_with_another_rate(engine, tmp_path):
    """What is saved is the state before the step that was refused."""
    path, good = tmp_path / "run.json", Run("SGD", engine)
    good(10, checkpoint=path)
    bad = Run("SGD", engine, seed=1)
    bad.optimizer.lr = lambda step: 0.01 if step < 16 else 1.7e308  # times a slope above 1
    with pytest.raises(NonFiniteError):
        bad(30, checkpoint=path, resume=True)
    after = Run("SGD", engine, seed=2)
    after.optimizer.lr = lambda step: 0.01
    history = after(30, checkpoint=path, resume=True)
    whole = Run("SGD", engine)
    assert history.losses == whole(30).losses


SCRIPT = """
import random, sys
import tinygrad_bp as tg
model = tg.MLP(2, [4, 1], act="tanh", rng=random.Random(0))
adam = tg.optim.Adam(model.parameters(), lr=0.01, clip_norm=1.0)
history = tg.fit(model, tg.data.moons(21, seed=3), tg.losses.squared_error, adam, 3000, batch_size=4,
                 engine=sys.argv[2], checkpoint=sys.argv[1], resume=True, every=10)
print(repr((model.state_dict(), adam.state_dict(), history.losses)))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_a_killed_run_goes_on(engine, tmp_path):
    rng, path, whole = random.Random(SEED), tmp_path / "run.json", Run("Adam", engine)
    expected = whole.state(whole(3000))
    command = [sys.executable, "-c", SCRIPT, str(path), engine]
    for _ in range(3):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.monotonic() + 60.0
        while not path.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.5))
        process.kill()
        process.communicate()
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == expected, f"SEED={SEED}"


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_file_of_another_run_changes_nothing(tmp_path):
    path = tmp_path / "run.json"
    Run(batch_size=4)(10, checkpoint=path)
    before = path.read_bytes()

    def refused(run, message, **options):
        state = repr((run.model.state_dict(), run.optimizer.state_dict()))
        with pytest.raises(CheckpointError, match=message):
            run(20, checkpoint=path, resume=True, **options)
        assert repr((run.model.state_dict(), run.optimizer.state_dict())) == state
        assert path.read_bytes() == before

    refused(Run(batch_size=5, seed=1), "batches of 4 of 21 samples, and this one batches of 5 of 21")
    refused(Run("SGD", seed=1), "the state is of 'Adam', not of 'SGD'")
    run = Run(seed=1)
    with pytest.raises(CheckpointError, match="its run has taken 10 steps, and this one is to have 5"):
        run(5, checkpoint=path, resume=True)
    path.write_bytes(before[:-7])
    before = path.read_bytes()
    refused(Run(seed=1), "truncated at byte")


def test_wrong_options():
    for options in ({"resume": True}, {"every": 5}):
        with pytest.raises(ValueError, match=r"resume goes with a file|every is how often"):
            Run()(5, **options)
    for every in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="every is a whole number of steps from 1 up"):
            Run()(5, checkpoint="a.json", every=every)
    w = Value(1.0)
    with pytest.raises(TypeError, match="a checkpoint is of a Module, such as an MLP"):
        fit(lambda x: w * x[0], DATA, squared_error, SGD([w]), 1, checkpoint="a.json")
    with pytest.raises(CheckpointError, match="losses are too many for one checkpoint"):
        Run()(10**8, checkpoint="a.json")
    assert not Path("a.json").exists()


def test_what_cannot_be_saved_says_so_before_anything_is_done(tmp_path):
    class Mine(SGD):
        def __init__(self, parameters):
            super().__init__(parameters)
            self.log = []

    run = Run()
    run.optimizer = Mine(run.model.parameters())
    before = run.model.state_dict()
    with pytest.raises(CheckpointError, match="Mine keeps 'log'"):
        run(5, checkpoint=tmp_path / "run.json")
    with pytest.raises(CheckpointError, match=r"make the folder .* first"):
        Run()(5, checkpoint=tmp_path / "none" / "run.json")
    assert run.model.state_dict() == before


def test_a_stretch_that_was_taken_back_is_not_saved(tmp_path):
    def by_type(p, y):
        return (p - y) ** 2 if isinstance(y, Value) else (p - y) ** 4

    path = tmp_path / "run.json"
    run = Run(engine="compiled")
    before = run.model.state_dict()
    with pytest.raises(CompileError, match="compiled code gives"):
        run(20, by_type, checkpoint=path)
    other = Run(seed=1)
    assert tg.load(path, other.model, other.optimizer).losses == []
    assert other.model.state_dict() == before == run.model.state_dict()

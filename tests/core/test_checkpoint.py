"""Checkpoints: every bit comes back, a damaged file changes nothing, a killed save leaves the old or the new.

Flips, truncations and hostile files may raise CheckpointError and nothing else; what loads is the content
that was saved.  Processes are killed while they save, again and again, and the file is whole each time.
"""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.forms import seed_of_the_commit
from support.optimizers import OTHERS

import tinygrad_bp as tg
from tinygrad_bp import MLP, CheckpointError, Value
from tinygrad_bp.checkpoint import FORMAT, LARGEST, check_room, largest
from tinygrad_bp.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSProp
from tinygrad_bp.schedules import linear

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("SEED", seed_of_the_commit()))


def net(*sizes, seed=0):
    return MLP(3, list(sizes) or [4, 2], rng=random.Random(seed))


def trained(kind=Adam, seed=0, steps=3, **options):
    """A model and its optimizer after some steps on made-up gradients."""
    model, rng = net(seed=seed), random.Random(seed)
    optimizer = kind(model.parameters(), **options)
    for _ in range(steps):
        for p in model.parameters():
            p.grad = rng.gauss(0.0, 1.0)
        optimizer.step()
    return model, optimizer


def state(model, optimizer=None):
    return repr((model.state_dict(), optimizer and optimizer.state_dict()))


KINDS = {
    "SGD": (SGD, {"lr": 0.1}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "Adam": (Adam, {}),
    "AdamW": (AdamW, {"betas": (0.8, 0.99)}),
    "RMSProp": (RMSProp, {"clip_norm": 1.0}),
    "Adagrad": (Adagrad, {"clip_value": 0.5}),
    "schedule": (SGD, {"lr": linear(0.1, steps=100)}),
    **{name: (kind, {}) for name, kind in OTHERS.items()},
}


@pytest.mark.parametrize("kind", KINDS)
def test_model_optimizer_and_losses_come_back(kind, tmp_path):
    cls, options = KINDS[kind]
    model, optimizer = trained(cls, **options)
    losses = [1.0, math.nan, -0.0, 5e-324, math.inf, 1 / 3]
    tg.save(tmp_path / "a.json", model, optimizer, losses, seconds=1.5)
    other, again = trained(cls, seed=1, steps=7, **options)
    saved = tg.load(tmp_path / "a.json", other, again)
    assert state(other, again) == state(model, optimizer)
    assert repr(saved) == repr(tg.checkpoint.Saved(losses, 1.5))
    for p, q in zip(model.parameters(), other.parameters()):
        p.grad = q.grad = 0.3
    optimizer.step()
    again.step()
    assert state(other, again) == state(model, optimizer)


def test_every_double_comes_back(tmp_path):
    numbers = [math.inf, -math.inf, math.nan, -0.0, 0.0, 5e-324, 1.7976931348623157e308, math.pi, 0.1]
    model = net(1)
    for p, number in zip(model.parameters(), numbers):
        p.data = number
    tg.save(tmp_path / "a.json", model)
    other = net(1, seed=2)
    tg.load(tmp_path / "a.json", other)
    assert repr(other.state_dict()) == repr(model.state_dict())


def test_parameters_beside_the_models_come_back(tmp_path):
    model, scale = net(), Value(0.25)
    tg.save(tmp_path / "a.json", model, SGD([*model.parameters(), scale]))
    other, fresh = net(seed=1), Value(7.0)
    tg.load(tmp_path / "a.json", other, SGD([*other.parameters(), fresh]))
    assert fresh.data == 0.25
    with pytest.raises(CheckpointError, match="holds 1 parameters beside the model's, and this optimizer 0"):
        tg.load(tmp_path / "a.json", other, SGD(other.parameters()))


def test_the_file_is_text_and_the_header_says_what_is_in_it(tmp_path):
    model, optimizer = trained()
    tg.save(tmp_path / "a.json", model, optimizer)
    header, body = (tmp_path / "a.json").read_text(encoding="ascii").split("\n", 1)
    assert json.loads(header)["format"] == FORMAT
    assert json.loads(header)["count"] == len(model.parameters())
    assert json.loads(header)["bytes"] == len(body)
    assert json.loads(body)["model"]["layers.0.neurons.0.w.0"] == model.parameters()[0].data.hex()


# --- refusals -----------------------------------------------------------------------------------------------


def refused(path, message, model=None, optimizer=None):
    """Loading raises CheckpointError with this message, and changes nothing."""
    model = model or net(seed=5)
    before, numbers = state(model, optimizer), [p.number for p in model.parameters()]
    with pytest.raises(CheckpointError, match=message):
        tg.load(path, model, optimizer)
    assert state(model, optimizer) == before
    assert [p.number for p in model.parameters()] == numbers  # nothing looks as if it had changed


def test_files_of_other_models_and_optimizers(tmp_path):
    path = tmp_path / "a.json"
    model, optimizer = trained()
    tg.save(path, model, optimizer)
    refused(path, "the model has 3→8→2, the file 3→4→2", net(8, 2))
    refused(path, r"layers.1.neurons.2.w.0 is missing; .*the model has 3→4→3, the file 3→4→2", net(4, 3))
    other = net(seed=1)
    refused(path, "the state is of 'Adam', not of 'SGD'", other, SGD(other.parameters()))
    refused(
        path, "the setting 'nesterov' is on one side|the state is of 'Adam'", other, SGD(other.parameters())
    )
    refused(path, "parameters", other, Adam(other.parameters()[:5]))
    tg.save(path, model)
    refused(path, "was saved without an optimizer", other, SGD(other.parameters()))


def test_a_refused_optimizer_changes_nothing_of_either(tmp_path):
    class Half(Adam):
        def load_state_dict(self, state):
            self.lr = 17.0
            self.m[0] = 17.0
            raise RuntimeError("halfway")

    path = tmp_path / "a.json"
    model, optimizer = trained()
    tg.save(path, model, optimizer)
    other = net(seed=1)
    refused(path, "halfway", other, Half(other.parameters()))


def test_files_that_are_not_checkpoints(tmp_path):
    path = tmp_path / "a.json"
    refused(path, "cannot read the file '.*a.json': No such file")
    refused(tmp_path, "cannot read .*directory|not a file")
    refused("a\0b", "cannot read .*null")
    path.write_bytes(b"")
    refused(path, "the file '.*a.json' is empty: give a file that tg.save")
    for text in (b"{}", b"{}\n", b"[1]\n{}", b"\x80\x04K\x01.", b"x" * 5000, b"null\nnull\n", b"\n\n\n"):
        path.write_bytes(text)
        refused(path, "does not begin as a checkpoint does|not what save")
    with pytest.raises(TypeError):
        tg.load(3.5, net())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is not a file that can be loaded")


def rewritten(path, change):
    """The file with its body changed and the header made right for it."""
    header, body = path.read_bytes().split(b"\n", 1)
    body = change(body)
    path.write_bytes(tg.checkpoint._header(json.loads(header)["count"], body) + body)


def test_a_truncated_file_says_where(tmp_path):
    path = tmp_path / "a.json"
    tg.save(path, net())
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-10])
    refused(path, f"a.json': truncated at byte {size - 10:,}, expected {size:,}")
    tg.save(path, net())
    path.write_bytes(path.read_bytes() + b" ")
    refused(path, "is damaged: its content is not what its header says")


def test_another_version(tmp_path):
    path = tmp_path / "a.json"
    tg.save(path, net())
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 9'))
    refused(path, "is of version 9, and this package reads version 1")


def content(**changes):
    return lambda body: json.dumps({**json.loads(body), **changes}).encode()


HOSTILE = {
    "nesting": lambda body: b"[" * 2000 + b"]" * 2000,
    "much nesting": lambda body: b"[" * 1_000_000,
    "nested lists": content(others=["list", ["list", ["list", ["float", "0x1p+0"]]]]),
    "long int": content(seconds=["ints", "9" * 100_000]),
    "int of JSON": lambda body: b'{"model": ' + b"9" * 5000 + b"}",
    "a float of JSON": lambda body: b'{"model": 1.5}',
    "NaN of JSON": lambda body: b'{"model": NaN}',
    "a name twice": lambda body: b'{"model": {}, "model": {}}',
    "a list": lambda body: b"[]",
    "nothing": lambda body: b"",
    "null": lambda body: b"null",
    "not ASCII": lambda body: '{"ü": 1}'.encode(),
    "model": content(model=[]),
    "model of texts": content(model={"layers.0.neurons.0.w.0": "abc"}),
    "model of numbers": content(model={"layers.0.neurons.0.w.0": 1}),
    "losses": content(losses="????"),
    "losses of other length": content(losses="AAAA"),
    "losses of numbers": content(losses=[1, 2]),
    "seconds": content(seconds="soon"),
    "optimizer": content(optimizer=3),
    "optimizer of nothing": content(optimizer={}),
    "kind": content(others=["code", "print(1)"]),
    "empty list": content(others=[]),
    "floats": content(others=["floats", "0x1p+0 " * 100_000]),
    "huge float": content(others=["float", "0x1p+99999"]),
    "many entries": lambda body: b'{"model": [' + b"[]," * 200_000 + b"0]}",
    "many names": lambda body: b"{" + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_with_the_right_hash(case, tmp_path):
    path = tmp_path / "a.json"
    model, optimizer = trained()
    tg.save(path, model, optimizer)
    rewritten(path, HOSTILE[case])
    other, again = trained(seed=1)
    refused(path, "a.json", other, again)


def test_settings_and_memory_are_checked(tmp_path):
    path = tmp_path / "a.json"
    model, optimizer = trained()

    def change(**changes):
        tg.save(path, model, optimizer)
        state = json.loads(path.read_bytes().split(b"\n", 1)[1])["optimizer"]
        rewritten(path, content(optimizer={**state, **changes}))
        refused(path, "a.json", *trained(seed=1))

    change(t=-1)
    change(t="3")
    change(settings={})
    change(settings={"lr": ["float", "nan"], "eps": ["float", "0x1p+0"]})
    change(memory={"m": ["floats", "0x1p+0"]})
    change(memory={"parameters": ["floats", "0x1p+0"]})
    change(batches={"size": 1})
    change(batches=["list"])
    change(name=None)


@pytest.mark.not_wasm
def test_what_is_too_large_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(10**11)  # takes no room on the disk
    refused(path, "has 100,000,000,000 bytes, and a checkpoint of this model at most")
    assert LARGEST < largest(net()) < LARGEST * 1.01
    assert largest(net(100, 100, 1)) > largest(net()) + 400 * 10_000
    with pytest.raises(CheckpointError, match="losses are too many for one checkpoint: train in parts of"):
        check_room("a.json", 10**9)


def test_an_optimizer_that_keeps_more_than_its_state_is_refused(tmp_path):
    class Mine(Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, 0.1)
            self.means = [0.0] * len(self.parameters)

    class Full(Mine):
        def state_dict(self):
            return {"means": self.means, "more": {"a": [1, 2.5, None, "x", [], (1.0, 2.0)]}}

        def load_state_dict(self, state):
            self.means, self.more = state["means"], state["more"]

    model, path = net(), tmp_path / "a.json"
    with pytest.raises(CheckpointError, match=r"Mine keeps 'means', a list, .*name it in `memory`, or write"):
        tg.save(path, model, Mine(model.parameters()))
    assert not path.exists()
    full, again = Full(model.parameters()), Full(model.parameters())
    full.means[0] = 0.5
    tg.save(path, model, full)
    tg.load(path, model, again)
    assert (again.means, again.more) == (full.means, {"a": [1, 2.5, None, "x", [], [1.0, 2.0]]})
    full.means = [object()]
    with pytest.raises(
        CheckpointError, match=r"optimizer\['means'\]\[0\] is a object, which a checkpoint cannot"
    ):
        tg.save(path, model, full)


def test_where_it_cannot_be_written(tmp_path):
    with pytest.raises(CheckpointError, match=r"make the folder .* first; nothing was changed"):
        tg.save(tmp_path / "none" / "a.json", net())
    with pytest.raises(CheckpointError, match="it is a folder"):
        tg.save(tmp_path, net())
    (tmp_path / "real.json").write_bytes(b"old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    tg.save(tmp_path / "link.json", net())
    assert (tmp_path / "link.json").is_symlink()
    tg.load(tmp_path / "real.json", net(seed=1))


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    tg.save(path, net())
    before = path.read_bytes()

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device; nothing was changed"):
        tg.save(path, net(seed=1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.json"]  # noqa: PTH208


# --- damage -------------------------------------------------------------------------------------------------


def damage(count, tmp_path):
    rng = random.Random(SEED)
    path = tmp_path / "a.json"
    model, optimizer = trained()
    tg.save(path, model, optimizer, [0.5, 0.25])
    good, right = path.read_bytes(), state(model, optimizer)
    other, again = trained(seed=1)
    untouched, loaded = state(other, again), 0
    for i in range(count):
        text = bytearray(good)
        if i % 2:
            del text[rng.randrange(len(text)) :]
        for _ in range(0 if i % 4 == 1 else rng.choice((1, 1, 2, 8))):
            if text:
                text[rng.randrange(len(text))] ^= 1 << rng.randrange(8)
        path.write_bytes(text)
        try:
            tg.load(path, other, again)
        except CheckpointError:
            assert state(other, again) == untouched, f"SEED={SEED}, case {i}"
        else:
            assert state(other, again) == right, f"SEED={SEED}, case {i}"
            other, again = trained(seed=1)
            loaded += 1
    return loaded


def test_flips_and_truncations(tmp_path):
    assert damage(1000, tmp_path) <= 5


@pytest.mark.slow
def test_many_flips_and_truncations(tmp_path):
    damage(100_000, tmp_path)


def test_flips_with_the_right_hash(tmp_path):
    """The body is damaged and the header fits: what is read then may be anything, and raises one error."""
    rng = random.Random(SEED + 1)
    path = tmp_path / "a.json"
    model, optimizer = trained()
    tg.save(path, model, optimizer, [0.5])
    good = path.read_bytes()
    other, again = trained(seed=1)
    for i in range(1000):

        def flip(body):
            text = bytearray(body)
            for _ in range(rng.choice((1, 2, 5))):
                text[rng.randrange(len(text))] ^= 1 << rng.randrange(8)
            return bytes(text)

        path.write_bytes(good)
        rewritten(path, flip)
        untouched = state(other, again)
        try:
            tg.load(path, other, again)
        except CheckpointError:
            assert state(other, again) == untouched, f"SEED={SEED}, case {i}"


KILLING = """
import os, random, signal, sys, time
import tinygrad_bp as tg

path, kills, rng = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
models = [tg.MLP(8, [30, 1], rng=random.Random(seed)) for seed in range(2)]
optimizers = [tg.optim.Adam(m.parameters()) for m in models]
states = [m.state_dict() for m in models]
found = [0, 0]
tg.save(path, models[0], optimizers[0])
for _ in range(kills):
    child = os.fork()
    i = 1
    while child == 0:
        tg.save(path, models[i % 2], optimizers[i % 2], [0.5] * (i % 2))
        i += 1
    time.sleep(rng.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    model = tg.MLP(8, [30, 1], rng=random.Random(9))
    saved = tg.load(path, model, tg.optim.Adam(model.parameters()))
    which = states.index(model.state_dict())
    assert len(saved.losses) == which
    found[which] += 1
print(*found)
"""


def kill_while_saving(kills, tmp_path):
    """Kill a process that saves two models in turn; the file is one or the other, whole, each time."""
    path = tmp_path / "run.json"
    command = [sys.executable, "-c", KILLING, str(path), str(kills), str(SEED)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, f"SEED={SEED}: {run.stderr}"
    for file in tmp_path.iterdir():  # what killed saves left, as if it were from long ago
        os.utime(file, (1.0, 1.0))
    tg.save(path, net())
    assert [*tmp_path.iterdir()] == [path]
    return [int(count) for count in run.stdout.split()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_killed_save_leaves_the_old_file_or_the_new(tmp_path):
    assert sum(kill_while_saving(50, tmp_path)) == 50


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_many_killed_saves(tmp_path):
    assert all(kill_while_saving(1000, tmp_path))

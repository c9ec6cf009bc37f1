"""Backward passes as students hand them in, in NumPy, and what goes wrong in them.

A problem is data and the right code of a backward pass.  A seed replaces lines of that code by what somebody
wrote, and names the layer where the fault is.  The seeds were written down before the grader knew its table
of mistakes, from courses and from forums; they are not to be changed to suit it.
"""

from textwrap import dedent
from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    arrays: dict  # what is differentiated by, and constants
    source: str  # the right code; its names are the arrays'
    grads: tuple  # name of input -> its gradient is called d + name


class Seed(NamedTuple):
    problem: str
    what: str
    layer: str  # where the fault is
    edits: tuple


def run(problem, edits=(), arrays=None):
    """The gradients that the code of a problem gives, with some of its lines replaced, by name of input."""
    source = PROBLEMS[problem].source
    for old, new in edits:
        assert source.count(f"{old}\n") == 1, old
        indent = source[: source.index(f"{old}\n")].rpartition("\n")[2]
        assert not indent.strip(), old
        source = source.replace(f"{old}\n", new.replace("\n", "\n" + indent) + "\n")
    names = {"np": np, **{k: np.copy(v) for k, v in (arrays or PROBLEMS[problem].arrays).items()}}
    exec(source, names)
    return {name: names[f"d{name}"] for name in PROBLEMS[problem].grads}


def drawn_again(problem, rng):
    """Other numbers for a problem: masks and labels stay."""
    arrays = PROBLEMS[problem].arrays
    return {
        name: a if set(np.unique(a)) <= {0.0, 1.0} else rng.normal(size=a.shape) * 0.8
        for name, a in arrays.items()
    }


def draw(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) * 0.8 for name, shape in shapes.items()}


def one_hot(classes, n):
    return np.eye(n)[classes]


PROBLEMS = {
    "mlp": Problem(
        draw(1, x=(8, 5), w1=(6, 5), b1=6, w2=(6, 6), b2=6, w3=(3, 6), b3=3)
        | {"y": one_hot([0, 2, 1, 1, 2, 0, 1, 0], 3)},
        dedent("""
            n = len(x)
            z1 = x @ w1.T + b1
            a1 = np.maximum(z1, 0)
            z2 = a1 @ w2.T + b2
            a2 = np.maximum(z2, 0)
            z3 = a2 @ w3.T + b3
            e = np.exp(z3)
            p = e / e.sum(axis=1, keepdims=True)
            d3 = (p - y) / n
            dw3 = d3.T @ a2
            db3 = d3.sum(axis=0)
            e2 = d3 @ w3
            d2 = e2 * (z2 > 0)
            dw2 = d2.T @ a1
            db2 = d2.sum(axis=0)
            e1 = d2 @ w2
            d1 = e1 * (z1 > 0)
            dw1 = d1.T @ x
            db1 = d1.sum(axis=0)
        """),
        ("w1", "b1", "w2", "b2", "w3", "b3"),
    ),
    "smooth": Problem(
        draw(2, x=(7, 4), y=(7, 2), w1=(5, 4), b1=5, w2=(5, 5), b2=5, w3=(2, 5), b3=2),
        dedent("""
            n = len(x)
            z1 = x @ w1.T + b1
            a1 = np.tanh(z1)
            z2 = a1 @ w2.T + b2
            a2 = 1 / (1 + np.exp(-z2))
            z3 = a2 @ w3.T + b3
            d3 = 2 * (z3 - y) / (2 * n)
            dw3 = d3.T @ a2
            db3 = d3.sum(axis=0)
            e2 = d3 @ w3
            d2 = e2 * a2 * (1 - a2)
            dw2 = d2.T @ a1
            db2 = d2.sum(axis=0)
            e1 = d2 @ w2
            d1 = e1 * (1 - a1**2)
            dw1 = d1.T @ x
            db1 = d1.sum(axis=0)
        """),
        ("w1", "b1", "w2", "b2", "w3", "b3"),
    ),
    "decay": Problem(
        draw(3, x=(7, 4), y=(7, 3), w=(3, 4), b=3),
        dedent("""
            n = len(x)
            d = 2 * (x @ w.T + b - y) / (3 * n)
            dw = d.T @ x + 0.1 * w
            db = d.sum(axis=0)
        """),
        ("w", "b"),
    ),
    "batchnorm": Problem(
        draw(4, x=(7, 4), gamma=4, beta=4, dout=(7, 4)),
        dedent("""
            n = len(x)
            mu = x.mean(axis=0)
            xc = x - mu
            var = (xc**2).mean(axis=0)
            inv = 1 / np.sqrt(var + 1e-5)
            xhat = xc * inv
            dbeta = dout.sum(axis=0)
            dgamma = (dout * xhat).sum(axis=0)
            dxhat = dout * gamma
            dvar = (dxhat * xc).sum(axis=0) * -0.5 * inv**3
            dmu = -(dxhat * inv).sum(axis=0)
            dx = dxhat * inv + dvar * 2 * xc / n + dmu / n
        """),
        ("x", "gamma", "beta"),
    ),
    "layernorm": Problem(
        draw(5, x=(7, 4), gamma=4, beta=4, dout=(7, 4)),
        dedent("""
            d = x.shape[1]
            mu = x.mean(axis=1, keepdims=True)
            xc = x - mu
            var = (xc**2).mean(axis=1, keepdims=True)
            inv = 1 / np.sqrt(var + 1e-5)
            xhat = xc * inv
            dbeta = dout.sum(axis=0)
            dgamma = (dout * xhat).sum(axis=0)
            dxhat = dout * gamma
            dvar = (dxhat * xc).sum(axis=1, keepdims=True) * -0.5 * inv**3
            dmu = -(dxhat * inv).sum(axis=1, keepdims=True)
            dx = dxhat * inv + dvar * 2 * xc / d + dmu / d
        """),
        ("x", "gamma", "beta"),
    ),
    "dropout": Problem(
        draw(6, x=(7, 4), w=(5, 4), b=5, dout=(7, 5))
        | {"mask": (np.random.default_rng(7).random((7, 5)) < 0.6) * 1.0},
        dedent("""
            z = x @ w.T + b
            dz = dout * mask / 0.6
            dw = dz.T @ x
            db = dz.sum(axis=0)
            dx = dz @ w
        """),
        ("x", "w", "b"),
    ),
    "conv": Problem(
        draw(8, x=(3, 2, 5, 6), w=(2, 2, 3, 3), b=2, dout=(3, 2, 5, 6)),
        dedent("""
            n, c, h, wd = x.shape
            xp = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
            dw = np.zeros_like(w)
            dxp = np.zeros_like(xp)
            db = dout.sum(axis=(0, 2, 3))
            for i in range(3):
                for j in range(3):
                    patch = xp[:, :, i : i + h, j : j + wd]
                    dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", dout, patch)
                    dxp[:, :, i : i + h, j : j + wd] += np.einsum("nfhw,fc->nchw", dout, w[:, :, i, j])
            dx = dxp[:, :, 1:-1, 1:-1]
        """),
        ("x", "w", "b"),
    ),
    "maxpool": Problem(
        draw(9, x=(2, 3, 4, 6), dout=(2, 3, 2, 3)),
        dedent("""
            dx = np.zeros_like(x)
            for i in range(2):
                for j in range(3):
                    window = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                    g = dout[:, :, i, j][:, :, None, None]
                    top = window == window.max(axis=(2, 3), keepdims=True)
                    dx[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = top * g
        """),
        ("x",),
    ),
    "avgpool": Problem(
        draw(10, x=(2, 3, 4, 6), dout=(2, 3, 2, 3)),
        dedent("""
            dx = np.repeat(np.repeat(dout, 2, axis=2), 2, axis=3) / 4
        """),
        ("x",),
    ),
    "rnn": Problem(
        draw(11, x=(4, 3, 5), h0=(3, 4), wx=(4, 5), wh=(4, 4), b=4, dout=(4, 3, 4)),
        dedent("""
            hs = [h0]
            for t in range(4):
                hs.append(np.tanh(x[t] @ wx.T + hs[-1] @ wh.T + b))
            dwx, dwh, db = np.zeros_like(wx), np.zeros_like(wh), np.zeros_like(b)
            dx = np.zeros_like(x)
            dh = np.zeros_like(h0)
            for t in reversed(range(4)):
                dh = dh + dout[t]
                dz = dh * (1 - hs[t + 1] ** 2)
                dwx += dz.T @ x[t]
                dwh += dz.T @ hs[t]
                db += dz.sum(axis=0)
                dx[t] = dz @ wx
                dh = dz @ wh
            dh0 = dh
        """),
        ("x", "h0", "wx", "wh", "b"),
    ),
    "lstm": Problem(
        draw(12, x=(4, 3, 5), h0=(3, 4), c0=(3, 4), wx=(16, 5), wh=(16, 4), b=16, dout=(4, 3, 4)),
        dedent("""
            s = lambda z: 1 / (1 + np.exp(-z))
            h, c, cache = h0, c0, []
            for t in range(4):
                z = x[t] @ wx.T + h @ wh.T + b
                i, f, g, o = s(z[:, :4]), s(z[:, 4:8]), np.tanh(z[:, 8:12]), s(z[:, 12:])
                c_new = f * c + i * g
                cache.append((h, c, i, f, g, o, c_new))
                h, c = o * np.tanh(c_new), c_new
            dwx, dwh, db = np.zeros_like(wx), np.zeros_like(wh), np.zeros_like(b)
            dx = np.zeros_like(x)
            dh, dc = np.zeros_like(h0), np.zeros_like(c0)
            for t in reversed(range(4)):
                h, c, i, f, g, o, c_new = cache[t]
                dh = dh + dout[t]
                tc = np.tanh(c_new)
                do = dh * tc
                dc = dc + dh * o * (1 - tc**2)
                di = dc * g
                df = dc * c
                dg = dc * i
                dc = dc * f
                zi = di * i * (1 - i)
                zf = df * f * (1 - f)
                zg = dg * (1 - g**2)
                zo = do * o * (1 - o)
                dz = np.hstack([zi, zf, zg, zo])
                dwx += dz.T @ x[t]
                dwh += dz.T @ h
                db += dz.sum(axis=0)
                dx[t] = dz @ wx
                dh = dz @ wh
            dh0 = dh
            dc0 = dc
        """),
        ("x", "h0", "c0", "wx", "wh", "b"),
    ),
    "attention": Problem(
        draw(13, q=(5, 4), k=(5, 4), v=(5, 4), dout=(5, 4)),
        dedent("""
            scale = 1 / np.sqrt(4)
            scores = q @ k.T * scale
            scores = np.where(np.tril(np.ones((5, 5))) > 0, scores, -np.inf)
            e = np.exp(scores - scores.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
            dv = p.T @ dout
            dp = dout @ v.T
            ds = p * (dp - (dp * p).sum(axis=1, keepdims=True))
            ds = ds * scale
            dq = ds @ k
            dk = ds.T @ q
        """),
        ("q", "k", "v"),
    ),
}  # fmt: skip


def seeds():
    """(what, layer, line, replacement, line, replacement ...) by problem."""
    yield (
        "mlp",
        [
            (
                "the softmax Jacobian is missing",
                "softmax_cross_entropy 1",
                "d3 = (p - y) / n",
                "d3 = -y / p / n",
            ),
            (
                "only the diagonal of the softmax Jacobian",
                "softmax_cross_entropy 1",
                "d3 = (p - y) / n",
                "d3 = -y / p * p * (1 - p) / n",
            ),
            ("minus y is missing", "softmax_cross_entropy 1", "d3 = (p - y) / n", "d3 = p / n"),
            (
                "labels rolled by one",
                "softmax_cross_entropy 1",
                "d3 = (p - y) / n",
                "d3 = (p - np.roll(y, 1, axis=0)) / n",
            ),
            (
                "softmax over the wrong axis",
                "softmax_cross_entropy 1",
                "p = e / e.sum(axis=1, keepdims=True)",
                "p = e / e.sum(axis=0, keepdims=True)",
            ),
            (
                "p times (1 - p) too",
                "softmax_cross_entropy 1",
                "d3 = (p - y) / n",
                "d3 = (p - y) * p * (1 - p) / n",
            ),
            ("not divided by n", "softmax_cross_entropy 1", "d3 = (p - y) / n", "d3 = p - y"),
            ("y - p", "softmax_cross_entropy 1", "d3 = (p - y) / n", "d3 = (y - p) / n"),
            ("divided by n twice", "softmax_cross_entropy 1", "d3 = (p - y) / n", "d3 = (p - y) / n / n"),
            (
                "divided by n and by the classes",
                "softmax_cross_entropy 1",
                "d3 = (p - y) / n",
                "d3 = (p - y) / y.size",
            ),
            (
                "the last sample dropped",
                "softmax_cross_entropy 1",
                "d3 = (p - y) / n",
                "d3 = (p - y) / n\nd3[-1] = 0",
            ),
            (
                "exp not normalised",
                "softmax_cross_entropy 1",
                "p = e / e.sum(axis=1, keepdims=True)",
                "p = e",
            ),
            ("activations off by one layer", "affine 2", "dw2 = d2.T @ a1", "dw2 = d2.T @ a2"),
            (
                "w3 reshaped instead of transposed",
                "affine 3",
                "e2 = d3 @ w3",
                "e2 = d3 @ w3.T.reshape(w3.shape)",
            ),
            ("w2 transposed once too often", "affine 2", "e1 = d2 @ w2", "e1 = d2 @ w2.T"),
            ("mask from the delta's own sign", "relu 2", "d2 = e2 * (z2 > 0)", "d2 = e2 * (e2 > 0)"),
            ("shifted threshold", "relu 2", "d2 = e2 * (z2 > 0)", "d2 = e2 * (z2 > 0.5)"),
            ("mask of the first sample for all", "relu 2", "d2 = e2 * (z2 > 0)", "d2 = e2 * (z2[0] > 0)"),
            ("times the value of the ReLU", "relu 2", "d2 = e2 * (z2 > 0)", "d2 = e2 * a2"),
            ("mask the wrong way round", "relu 1", "d1 = e1 * (z1 > 0)", "d1 = e1 * (z1 < 0)"),
            ("mask of the layer below", "relu 2", "d2 = e2 * (z2 > 0)", "d2 = e2 * (z1 > 0)"),
            ("mask forgotten", "relu 1", "d1 = e1 * (z1 > 0)", "d1 = e1"),
            ("the delta is handed down without its mask", "affine 2", "e1 = d2 @ w2", "e1 = e2 @ w2"),
            ("db of the last sample", "affine 2", "db2 = d2.sum(axis=0)", "db2 = d2[-1]"),
            (
                "db by the wrong axis, tiled",
                "affine 2",
                "db2 = d2.sum(axis=0)",
                "db2 = np.resize(d2.sum(axis=1), 6)",
            ),
            ("bias reversed", "affine 2", "db2 = d2.sum(axis=0)", "db2 = d2.sum(axis=0)[::-1]"),
            ("bias as a mean", "affine 3", "db3 = d3.sum(axis=0)", "db3 = d3.mean(axis=0)"),
            (
                "bias without its sum over units",
                "affine 1",
                "db1 = d1.sum(axis=0)",
                "db1 = np.full(6, d1.sum())",
            ),
            ("dw clipped", "affine 3", "dw3 = d3.T @ a2", "dw3 = np.clip(d3.T @ a2, -0.05, 0.05)"),
            ("a typo in one entry", "affine 2", "dw2 = d2.T @ a1", "dw2 = d2.T @ a1\ndw2[0, 3] *= -3"),
            ("dw alone divided by n", "affine 1", "dw1 = d1.T @ x", "dw1 = d1.T @ x / n"),
            ("dw transposed", "affine 2", "dw2 = d2.T @ a1", "dw2 = a1.T @ d2"),
            ("dw with sums instead of activations", "affine 2", "dw2 = d2.T @ a1", "dw2 = d2.T @ z1"),
            ("dw with masks instead of activations", "affine 3", "dw3 = d3.T @ a2", "dw3 = d3.T @ (a2 > 0)"),
            ("dw of the first sample", "affine 1", "dw1 = d1.T @ x", "dw1 = d1[:1].T @ x[:1]"),
            (
                "dw reshaped instead of transposed",
                "affine 1",
                "dw1 = d1.T @ x",
                "dw1 = (x.T @ d1).reshape(6, 5)",
            ),
            (
                "weights left out on the way back",
                "affine 2",
                "e1 = d2 @ w2",
                "e1 = d2.sum(axis=1, keepdims=True) * np.ones(6)",
            ),
            ("delta without the error from above", "relu 1", "d1 = e1 * (z1 > 0)", "d1 = (z1 > 0) * 1.0"),
        ],
    )
    yield (
        "smooth",
        [
            (
                "the 2 of the square is missing",
                "mean_squared_error 1",
                "d3 = 2 * (z3 - y) / (2 * n)",
                "d3 = (z3 - y) / (2 * n)",
            ),
            (
                "not averaged over outputs",
                "mean_squared_error 1",
                "d3 = 2 * (z3 - y) / (2 * n)",
                "d3 = 2 * (z3 - y) / n",
            ),
            (
                "targets minus outputs",
                "mean_squared_error 1",
                "d3 = 2 * (z3 - y) / (2 * n)",
                "d3 = 2 * (y - z3) / (2 * n)",
            ),
            (
                "the error is squared",
                "mean_squared_error 1",
                "d3 = 2 * (z3 - y) / (2 * n)",
                "d3 = (z3 - y) ** 2 / (2 * n)",
            ),
            (
                "sign of the error only",
                "mean_squared_error 1",
                "d3 = 2 * (z3 - y) / (2 * n)",
                "d3 = np.sign(z3 - y) / (2 * n)",
            ),
            ("sigmoid's slope forgotten", "sigmoid 1", "d2 = e2 * a2 * (1 - a2)", "d2 = e2"),
            (
                "sigmoid's slope at z by the formula for a",
                "sigmoid 1",
                "d2 = e2 * a2 * (1 - a2)",
                "d2 = e2 * z2 * (1 - z2)",
            ),
            ("a (1 + a)", "sigmoid 1", "d2 = e2 * a2 * (1 - a2)", "d2 = e2 * a2 * (1 + a2)"),
            ("1 - a alone", "sigmoid 1", "d2 = e2 * a2 * (1 - a2)", "d2 = e2 * (1 - a2)"),
            ("times a alone", "sigmoid 1", "d2 = e2 * a2 * (1 - a2)", "d2 = e2 * a2"),
            ("tanh's slope without the square", "tanh 1", "d1 = e1 * (1 - a1**2)", "d1 = e1 * (1 - a1)"),
            ("sigmoid's slope for tanh", "tanh 1", "d1 = e1 * (1 - a1**2)", "d1 = e1 * a1 * (1 - a1)"),
            ("slope taken at a", "tanh 1", "d1 = e1 * (1 - a1**2)", "d1 = e1 * (1 - np.tanh(a1) ** 2)"),
            ("slope of the layer above", "tanh 1", "d1 = e1 * (1 - a1**2)", "d1 = e1 * a2 * (1 - a2)"),
            ("relu's mask for tanh", "tanh 1", "d1 = e1 * (1 - a1**2)", "d1 = e1 * (z1 > 0)"),
            ("dw with the wrong sign", "affine 2", "dw2 = d2.T @ a1", "dw2 = -d2.T @ a1"),
            ("the layer below gets half", "affine 3", "e2 = d3 @ w3", "e2 = d3 @ w3 / 2"),
            ("b is zero", "affine 1", "db1 = d1.sum(axis=0)", "db1 = np.zeros(5)"),
        ],
    )
    yield (
        "decay",
        [
            ("weight decay left out", "weight_decay 1", "dw = d.T @ x + 0.1 * w", "dw = d.T @ x"),
            ("weight decay doubled", "weight_decay 1", "dw = d.T @ x + 0.1 * w", "dw = d.T @ x + 0.2 * w"),
            (
                "weight decay with a wrong sign",
                "weight_decay 1",
                "dw = d.T @ x + 0.1 * w",
                "dw = d.T @ x - 0.1 * w",
            ),
            (
                "weight decay of the bias too",
                "weight_decay 1",
                "db = d.sum(axis=0)",
                "db = d.sum(axis=0) + 0.1 * b",
            ),
            (
                "weight decay by its sign",
                "weight_decay 1",
                "dw = d.T @ x + 0.1 * w",
                "dw = d.T @ x + 0.1 * np.sign(w)",
            ),
        ],
    )
    final = "dx = dxhat * inv + dvar * 2 * xc / n + dmu / n"
    yield (
        "batchnorm",
        [
            ("mean and variance taken for constants", "batch_norm 1", final, "dx = dxhat * inv"),
            ("variance taken for constant", "batch_norm 1", final, "dx = dxhat * inv + dmu / n"),
            ("mean taken for constant", "batch_norm 1", final, "dx = dxhat * inv + dvar * 2 * xc / n"),
            ("gamma left out of dx", "batch_norm 1", "dxhat = dout * gamma", "dxhat = dout"),
            (
                "dgamma with x",
                "batch_norm 1",
                "dgamma = (dout * xhat).sum(axis=0)",
                "dgamma = (dout * x).sum(axis=0)",
            ),
            (
                "dgamma with x - mu",
                "batch_norm 1",
                "dgamma = (dout * xhat).sum(axis=0)",
                "dgamma = (dout * xc).sum(axis=0)",
            ),
            (
                "dgamma is dbeta",
                "batch_norm 1",
                "dgamma = (dout * xhat).sum(axis=0)",
                "dgamma = dout.sum(axis=0)",
            ),
            ("dbeta as a mean", "batch_norm 1", "dbeta = dout.sum(axis=0)", "dbeta = dout.mean(axis=0)"),
            (
                "the half is missing",
                "batch_norm 1",
                "dvar = (dxhat * xc).sum(axis=0) * -0.5 * inv**3",
                "dvar = (dxhat * xc).sum(axis=0) * -1.0 * inv**3",
            ),
            (
                "1 / var for 1 / std",
                "batch_norm 1",
                "dmu = -(dxhat * inv).sum(axis=0)",
                "dmu = -(dxhat * inv).sum(axis=0)\ninv = inv * inv",
            ),
            (
                "the mean's part not divided by n",
                "batch_norm 1",
                final,
                "dx = dxhat * inv + dvar * 2 * xc / n + dmu",
            ),
            (
                "statistics by the wrong axis",
                "batch_norm 1",
                final,
                "m = dxhat.mean(axis=1, keepdims=True)\nk = (dxhat * xhat).mean(axis=1, keepdims=True)\n"
                "dx = inv * (dxhat - m - xhat * k)",
            ),
            ("beta for gamma", "batch_norm 1", "dxhat = dout * gamma", "dxhat = dout * beta"),
        ],
    )
    final = "dx = dxhat * inv + dvar * 2 * xc / d + dmu / d"
    yield (
        "layernorm",
        [
            ("mean and variance taken for constants", "layer_norm 1", final, "dx = dxhat * inv"),
            ("variance taken for constant", "layer_norm 1", final, "dx = dxhat * inv + dmu / d"),
            ("mean taken for constant", "layer_norm 1", final, "dx = dxhat * inv + dvar * 2 * xc / d"),
            ("gamma left out of dx", "layer_norm 1", "dxhat = dout * gamma", "dxhat = dout"),
            (
                "dgamma with x",
                "layer_norm 1",
                "dgamma = (dout * xhat).sum(axis=0)",
                "dgamma = (dout * x).sum(axis=0)",
            ),
            (
                "batch norm's formula",
                "layer_norm 1",
                final,
                "m = dxhat.mean(axis=0)\nk = (dxhat * xhat).mean(axis=0)\ndx = inv * (dxhat - m - xhat * k)",
            ),
            (
                "divided by the batch, not by the features",
                "layer_norm 1",
                final,
                "dx = dxhat * inv + dvar * 2 * xc / len(x) + dmu / len(x)",
            ),
            ("gamma twice", "layer_norm 1", "dxhat = dout * gamma", "dxhat = dout * gamma * gamma"),
        ],
    )
    yield (
        "dropout",
        [
            ("mask missing", "dropout 1", "dz = dout * mask / 0.6", "dz = dout / 0.6"),
            ("mask and scale missing", "dropout 1", "dz = dout * mask / 0.6", "dz = dout"),
            ("scale missing", "dropout 1", "dz = dout * mask / 0.6", "dz = dout * mask"),
            ("scale the wrong way", "dropout 1", "dz = dout * mask / 0.6", "dz = dout * mask * 0.6"),
            (
                "the dropped ones are kept",
                "dropout 1",
                "dz = dout * mask / 0.6",
                "dz = dout * (1 - mask) / 0.6",
            ),
            ("scaled by the chance to drop", "dropout 1", "dz = dout * mask / 0.6", "dz = dout * mask / 0.4"),
            (
                "a new mask is drawn",
                "dropout 1",
                "dz = dout * mask / 0.6",
                "dz = dout * (np.random.default_rng(0).random((7, 5)) < 0.6) / 0.6",
            ),
        ],
    )
    into = 'dxp[:, :, i : i + h, j : j + wd] += np.einsum("nfhw,fc->nchw", dout, w[:, :, i, j])'
    dw = 'dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", dout, patch)'
    yield (
        "conv",
        [
            (
                "kernel flipped on the way back",
                "convolution 1",
                into,
                into.replace("i, j])", "2 - i, 2 - j])"),
            ),
            ("dw flipped", "convolution 1", dw, dw.replace(":, i, j]", ":, 2 - i, 2 - j]")),
            ("channels and filters swapped", "convolution 1", into, into.replace("fc->", "cf->")),
            (
                "padding cut on one side",
                "convolution 1",
                "dx = dxp[:, :, 1:-1, 1:-1]",
                "dx = dxp[:, :, 2:, 2:]",
            ),
            ("padding not cut", "convolution 1", "dx = dxp[:, :, 1:-1, 1:-1]", "dx = dxp[:, :, :-2, :-2]"),
            (
                "db of the last sample",
                "convolution 1",
                "db = dout.sum(axis=(0, 2, 3))",
                "db = dout[-1].sum(axis=(1, 2))",
            ),
            (
                "db averaged over places",
                "convolution 1",
                "db = dout.sum(axis=(0, 2, 3))",
                "db = dout.mean(axis=(2, 3)).sum(axis=0)",
            ),
            (
                "dw of the last sample",
                "convolution 1",
                dw,
                'dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", dout[-1:], patch[-1:])',
            ),
            ("dx assigned, not added", "convolution 1", into, into.replace("+=", "=")),
            ("dw as a mean over samples", "convolution 1", dw, dw + " / n"),
        ],
    )
    give = "dx[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = top * g"
    yield (
        "maxpool",
        [
            ("to all of the window", "max_pool 1", give, give.replace("top * g", "g")),
            ("shared by all of the window", "max_pool 1", give, give.replace("top * g", "g / 4")),
            ("to the first of the window", "max_pool 1", give, "dx[:, :, 2 * i, 2 * j] = dout[:, :, i, j]"),
            (
                "to the smallest",
                "max_pool 1",
                "top = window == window.max(axis=(2, 3), keepdims=True)",
                "top = window == window.min(axis=(2, 3), keepdims=True)",
            ),
            ("times the largest itself", "max_pool 1", give, give.replace("top * g", "top * g * window")),
        ],
    )
    right = "dx = np.repeat(np.repeat(dout, 2, axis=2), 2, axis=3) / 4"
    yield (
        "avgpool",
        [
            ("not divided by the window", "average_pool 1", right, right[:-4]),
            ("divided by its side", "average_pool 1", right, right[:-1] + "2"),
            ("tiled instead of repeated", "average_pool 1", right, "dx = np.tile(dout, (1, 1, 2, 2)) / 4"),
        ],
    )
    yield (
        "rnn",
        [
            ("nothing flows through time", "rnn 1", "dh = dz @ wh", "dh = np.zeros_like(h0)"),
            ("tanh's slope forgotten", "rnn 1", "dz = dh * (1 - hs[t + 1] ** 2)", "dz = dh"),
            (
                "tanh's slope of the state before",
                "rnn 1",
                "dz = dh * (1 - hs[t + 1] ** 2)",
                "dz = dh * (1 - hs[t] ** 2)",
            ),
            ("dwh with the new state", "rnn 1", "dwh += dz.T @ hs[t]", "dwh += dz.T @ hs[t + 1]"),
            ("wh transposed once too often", "rnn 1", "dh = dz @ wh", "dh = dz @ wh.T"),
            ("only the first step counts in dwx", "rnn 1", "dwx += dz.T @ x[t]", "dwx = dz.T @ x[t]"),
            ("only the first step counts in db", "rnn 1", "db += dz.sum(axis=0)", "db = dz.sum(axis=0)"),
            (
                "only the last output has an error",
                "rnn 1",
                "dh = dh + dout[t]",
                "dh = dh + (dout[t] if t == 3 else 0)",
            ),
            ("the error from later is overwritten", "rnn 1", "dh = dh + dout[t]", "dh = dout[t]"),
            ("dwx with the state", "rnn 1", "db += dz.sum(axis=0)", "db += dh.sum(axis=0)"),
        ],
    )
    yield (
        "lstm",
        [
            ("the forget gate is left out on the way back", "lstm 1", "dc = dc * f", "dc = dc"),
            ("tanh of the cell has no slope", "lstm 1", "dc = dc + dh * o * (1 - tc**2)", "dc = dc + dh * o"),
            (
                "the cell's error from later is lost",
                "lstm 1",
                "dc = dc + dh * o * (1 - tc**2)",
                "dc = dh * o * (1 - tc**2)",
            ),
            (
                "input and forget gate swapped",
                "lstm 1",
                "dz = np.hstack([zi, zf, zg, zo])",
                "dz = np.hstack([zf, zi, zg, zo])",
            ),
            ("sigmoid's slope of the output gate forgotten", "lstm 1", "zo = do * o * (1 - o)", "zo = do"),
            ("sigmoid's slope for g", "lstm 1", "zg = dg * (1 - g**2)", "zg = dg * g * (1 - g)"),
            ("forget gate with the new cell", "lstm 1", "df = dc * c", "df = dc * c_new"),
            ("output gate with the cell itself", "lstm 1", "do = dh * tc", "do = dh * c_new"),
            ("the state's error from later is lost", "lstm 1", "dh = dz @ wh", "dh = np.zeros_like(h0)"),
            (
                "the output gate is left out of the cell",
                "lstm 1",
                "dc = dc + dh * o * (1 - tc**2)",
                "dc = dc + dh * (1 - tc**2)",
            ),
        ],
    )
    back = "ds = p * (dp - (dp * p).sum(axis=1, keepdims=True))"
    yield "attention", [
        ("scale forgotten on the way back", "attention 1", "ds = ds * scale", "ds = ds"),
        ("scale by d, not by its root", "attention 1", "ds = ds * scale", "ds = ds / 4"),
        ("softmax forgotten", "attention 1", back, "ds = dp * np.tril(np.ones((5, 5)))"),
        ("diagonal of the softmax only", "attention 1", back, "ds = p * (1 - p) * dp"),
        ("the softmax's sum by the wrong axis", "attention 1", back, back.replace("axis=1", "axis=0")),
        ("p transposed once too often", "attention 1", "dv = p.T @ dout", "dv = p @ dout"),
        ("keys and queries swapped", "attention 1",
         "dq = ds @ k", "dq = ds @ q", "dk = ds.T @ q", "dk = ds.T @ k"),
        ("dk with ds not transposed", "attention 1", "dk = ds.T @ q", "dk = ds @ q"),
        ("dv with scores", "attention 1", "dv = p.T @ dout", "dv = (q @ k.T * scale).T @ dout"),
        ("the causal mask forgotten on the way back", "attention 1", back,
         "p = np.exp(q @ k.T * scale)\np = p / p.sum(axis=1, keepdims=True)\n" + back),
    ]  # fmt: skip


SEEDS = [
    Seed(problem, what, layer, tuple(zip(edits[::2], edits[1::2])))
    for problem, cases in seeds()
    for what, layer, *edits in cases
]

"""PyTorch: tensors made once, its autograd, and the update in place."""

import os
from typing import Any

import torch
from timing import Contender
from works import LR, POINT, Net, flat, formula

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

NAME = "PyTorch"
VERSION = f"PyTorch {torch.__version__}"


def tensor(x: Any, **options: Any) -> Any:
    return torch.tensor(x, dtype=torch.float64, **options)


def contenders(net: Net, threads: int) -> list[Contender]:
    layers = [(tensor(w, requires_grad=True), tensor(b, requires_grad=True)) for w, b in net.start()]
    params = [p for layer in layers for p in layer]
    x, y = tensor(net.inputs), tensor(net.targets)
    labels = y.long()
    acts = {"relu": torch.relu, "sigmoid": torch.sigmoid, None: lambda z: z}
    functions = [acts[net.act]] * (len(layers) - 1) + [acts[net.out_act]]

    def loss() -> Any:
        h = x
        for (w, b), act in zip(layers, functions):
            h = act(torch.addmm(b, h, w.t()))
        if net.loss == "cross entropy":
            return torch.nn.functional.cross_entropy(h, labels, reduction="sum")
        if net.loss == "hinge":
            return torch.relu(1.0 - y * h[:, 0]).sum()
        return 0.5 * (h[:, 0] - y).square().sum()

    def step() -> None:
        grads = torch.autograd.grad(loss(), params)
        with torch.no_grad():
            for p, g in zip(params, grads):
                p.sub_(g, alpha=LR)

    def gradient() -> list[float]:
        value = loss()
        grads = torch.autograd.grad(value, params)
        return [value.item(), *flat((w.tolist(), b.tolist()) for w, b in zip(grads[::2], grads[1::2]))]

    def numbers() -> list[float]:
        return flat((w.tolist(), b.tolist()) for w, b in layers)

    return [Contender(NAME, step, 1, gradient, numbers)]


def formula_contenders() -> list[Contender]:
    point = [tensor(v, requires_grad=True) for v in POINT]

    def call() -> Any:
        value = formula(torch, *point)
        return value, torch.autograd.grad(value, point)

    def gradient() -> list[float]:
        value, grads = call()
        return [value.item(), *(g.item() for g in grads)]

    return [Contender(NAME, call, gradient=gradient)]


def chain(n: int) -> Any:
    """Multiply n times, and sweep back."""
    x, y = tensor(1.0, requires_grad=True), tensor(1.0000001, requires_grad=True)
    for _ in range(n):
        x = x * y
    x.backward()

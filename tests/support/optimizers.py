"""The optimizers of the package, so that a new one is tested wherever all of them are."""

from tinygrad_bp import optim

EVERY = [
    kind
    for kind in vars(optim).values()
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
]
OTHERS = {
    kind.__name__.lower(): kind
    for kind in EVERY
    if kind not in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSProp, optim.Adagrad)
}  # tests give those settings of their own

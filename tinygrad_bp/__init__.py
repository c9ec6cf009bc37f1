"""A scalar autograd engine to study backpropagation with.

`Value` holds one number; arithmetic on values builds a graph; `backward` runs through it.  Start reading in
`engine.py`; `ops.py` is the table of operations, `nn/` puts networks on top, `train.py` trains them.

A name is loaded when it is first used, so importing the package costs a few milliseconds.  What type checkers
and editors read is `__init__.pyi`, which `python tests/write_generated.py` writes from the table below.
"""

from importlib import import_module

__version__ = "0.1.0"

PUBLIC = {  # where the names come from; all operations of ops.py come on top
    "engine": "Value dot no_grad trap",  # dot takes lists
    "nn": "Module Neuron Layer MLP",
    "train": "fit History",
    "checkpoint": "save load",
    "transforms": "grad value_and_grad gradients jacobian jacfwd jacrev hessian hvp jvp vjp vmap "
    "stop_gradient",
    "compiler": "compile",
    "check.gradcheck": "gradcheck",
    "check.audit": "audit Audit audit_update layers",
    "check.bounds": "bounds Bounds",
    "check.exercises": "exercise Exercise",
    "show.draw": "draw draw_dot to_dot trace Drawing",
    "show.explain": "explain",
    "show.stepper": "stepper",
    "show.playground": "playground",
    "show.widget": "widget",
    "ops": "OPS Op op",
    "lists": "softmax log_softmax mean take",
    "errors": "TinygradError GraphError StaleGraphError NonFiniteError CompileError DrawError "
    "CheckpointError MissingExtraError",
}
MODULES = ("data", "losses", "nn", "ops", "optim", "schedules")
MODULE_OF = {name: module for module, names in PUBLIC.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Called for a name that is not loaded yet: a public one, an operation, or a module of the package."""
    if name == "__all__":  # `import *` leaves Python's own sum, max and round as they are
        return [public for public in __dir__() if public not in vars(import_module("builtins"))]
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in MODULE_OF:
        value = getattr(import_module(f"{__name__}.{MODULE_OF[name]}"), name)
    else:
        try:
            return import_module(f"{__name__}.{name}")  # which sets the attribute, too
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
        ops = import_module(f"{__name__}.ops")
        if name not in ops.TABLE:
            text = import_module(f"{__name__}.errors").misspelled(__name__, name, __dir__())
            raise AttributeError(text)
        value = ops.OPS[name]
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*MODULE_OF, *MODULES, *import_module(f"{__name__}.ops").TABLE})

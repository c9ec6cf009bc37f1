"""Functions from functions to derivatives: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp; and vmap.

They call your function on new leaves, run the sweep of `engine.py`, and change no `.grad`. Results are
floats; they are Values, and can be differentiated again, if an argument is a Value or another transform is
calling. So derivatives of any order come from nesting: grad(grad(f)). Forward mode is the one loop in this
file: it moves tangents along the edges, from inputs to outputs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from tinygrad_bp.engine import Value, edges, newest_first, sweep
from tinygrad_bp.floats import to_float
from tinygrad_bp.graph_sweep import gather, sweep_graph
from tinygrad_bp.modes import entered
from tinygrad_bp.ops import identity as IDENTITY, ne as NE, stop_gradient as STOP_GRADIENT, where as WHERE
from tinygrad_bp.rows import is_row

Function = Callable[..., Any]

inside: ContextVar[bool] = ContextVar("inside", default=False)  # is a transform calling us


def gradients(output: Value, inputs: Any, create_graph: bool = False) -> Any:
    """The derivatives of `output` by each of `inputs`, in their shape: a Value, or (nested) lists of them.

    Floats, or with create_graph=True Values that can be differentiated again. An input that the output does
    not depend on has derivative 0. Raises TypeError if the output is not a Value, StaleGraphError if a leaf
    was set after the graph was built.

    >>> x, y = Value(3.0), Value(4.0)
    >>> gradients(x * x * y, [x, y])
    [24.0, 9.0]
    """
    if not isinstance(output, Value):
        raise TypeError(f"gradients differentiates a Value, not {output!r} of type {type(output).__name__}")
    for x in _flat(inputs):
        if not isinstance(x, Value):
            raise TypeError(f"gradients differentiates by Values, and {x!r} among the inputs is not one")
    return _pull({output: Value(1.0)} if create_graph else {output: 1.0}, inputs)


def grad(f: Function, argnums: int | Sequence[int] | None = None, has_aux: bool = False) -> Function:
    """The function that returns the derivatives of f by all its arguments; f returns one number.

    One number gives a float, a list a list, a dict a dict, an array nested lists, several arguments a tuple.
    `argnums` chooses: the derivatives by the argument at a place, counted from 0, or by those at several, a
    tuple. The other arguments, and those given by keyword, are handed on as they are. With has_aux=True f
    returns (number, anything), and the result is (derivatives, anything). Raises TypeError if f does not
    return one number, ValueError if there is no argument at a place.

    >>> grad(lambda x: x**3)(2.0)
    12.0
    >>> grad(grad(lambda x: x**3))(2.0)
    12.0
    >>> grad(lambda w, x: w[0] * x + w[1])([3.0, 1.0], 5.0)
    ([5.0, 1.0], 3.0)
    >>> grad(lambda p, x: p["w"] * x + p["b"], argnums=0)({"w": 3.0, "b": 1.0}, 5.0)
    {'w': 5.0, 'b': 1.0}
    """

    @wraps(f, updated=())
    def derivatives(*xs: Any, **keywords: Any) -> Any:
        out, gs = value_and_grad(f, argnums, has_aux)(*xs, **keywords)
        return (gs, out[1]) if has_aux else gs

    return derivatives


def value_and_grad(
    f: Function, argnums: int | Sequence[int] | None = None, has_aux: bool = False
) -> Function:
    """The function that returns f's value and its derivatives, the latter as `grad` does.

    With has_aux=True it returns ((value, anything), derivatives).

    >>> value_and_grad(lambda x: x * x)(3.0)
    (9.0, 6.0)
    """

    def both(*xs: Any, **keywords: Any) -> tuple[Any, Any]:
        out, leaves, recorded = _called_with(f, argnums, xs, keywords)
        aux: Any = None
        if has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise TypeError(f"has_aux=True: {_name(f)} returns (number, anything), not {_what(out)}")
            out, aux = out
        if isinstance(out, (list, tuple)) or not _is_number(out):
            raise TypeError(
                f"grad needs a function that returns one number, and {_name(f)} returned {_what(out)}: "
                "use jacobian for several outputs"
            )
        gs = gradients(_value(out), list(leaves), create_graph=recorded)
        value = _unwrapped(out, recorded)
        if has_aux:
            plain = (x.data if isinstance(x, Value) and not recorded else x for x in _flat(aux))
            value = (value, _like(aux, plain))
        return value, _as_chosen(gs, argnums)

    return both


def vjp(f: Function, *xs: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """(f(*xs), pull): pull(cotangents) is the tuple of derivatives, by each argument, of cotangents · f.

    Cotangents have the shape of f's output. Raises ValueError if they do not.

    >>> out, pull = vjp(lambda x, y: [x * y, x + y], 2.0, 3.0)
    >>> out, pull([1.0, 10.0])
    ([6.0, 5.0], (13.0, 12.0))
    """
    out, leaves, recorded = _called(f, xs)

    def pull(cotangents: Any) -> tuple[Any, ...]:
        outs, cs = _paired(out, cotangents, "cotangents", _name(f))
        as_graph = recorded or any(isinstance(c, Value) for c in cs)
        seeds: dict[Value, Any] = {}
        for o, c in zip(map(_value, outs), cs):
            c = _value(c) if as_graph else to_float(c)
            seeds[o] = seeds[o] + c if o in seeds else c
        return tuple(_pull(seeds, list(leaves)))

    return _unwrapped(out, recorded), pull


def jvp(f: Function, xs: Sequence[Any], ts: Sequence[Any]) -> tuple[Any, Any]:
    """(f(*xs), the derivative of f at the arguments xs along the tangents ts), by forward mode.

    Raises ValueError if the tangents do not have the shape of the arguments.

    >>> jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (6.0, 23.0)
    """
    for noun, given in (("arguments", xs), ("tangents", ts)):
        if not isinstance(given, (list, tuple)):
            raise TypeError(f"jvp takes the {noun} of {_name(f)} as a tuple, not {given!r}")
    out, leaves, recorded = _called(f, tuple(xs))
    primals, tangents = _paired(leaves, tuple(ts), "tangents", _name(f))
    as_graph = recorded or any(isinstance(t, Value) for t in tangents)
    seeds = {p: _value(t) if as_graph else to_float(t) for p, t in zip(primals, tangents)}
    moved = _push(seeds, map(_value, _flat(out)), as_graph)
    return _unwrapped(out, recorded), _like(out, moved)


def jacobian(f: Function, argnums: int | Sequence[int] | None = None) -> Function:
    """The function that returns, for each output of f, its derivatives by all arguments, as `grad` does.

    f is called once, and the sweep runs backward once for each output. JAX's name `jacrev` is the same
    function; `jacfwd` gives the same numbers by forward mode.

    >>> jacobian(lambda xs: [xs[0] * xs[1], xs[0] ** 2])([2.0, 3.0])
    [[3.0, 2.0], [4.0, 0.0]]
    """

    def rows(*xs: Any, **keywords: Any) -> Any:
        out, leaves, recorded = _called_with(f, argnums, xs, keywords)
        each = [gradients(_value(o), list(leaves), create_graph=recorded) for o in _flat(out)]
        return _like(out, (_as_chosen(gs, argnums) for gs in each))

    return rows


jacrev = jacobian


def jacfwd(f: Function, argnums: int | Sequence[int] | None = None) -> Function:
    """`jacobian` by forward mode: f is called once, and tangents move forward once for each input.

    Up to the last digits the two are equal. The work differs: for few inputs and many outputs this one
    does less.

    >>> jacfwd(lambda xs: [xs[0] * xs[1], xs[0] ** 2])([2.0, 3.0])
    [[3.0, 2.0], [4.0, 0.0]]
    """

    def rows(*xs: Any, **keywords: Any) -> Any:
        out, leaves, recorded = _called_with(f, argnums, xs, keywords)
        outputs, one = [*map(_value, _flat(out))], Value(1.0) if recorded else 1.0
        columns = [[*_push({x: one}, outputs, recorded)] for x in _flat(leaves)]
        each = [_like(list(leaves), iter([column[i] for column in columns])) for i in range(len(outputs))]
        return _like(out, (_as_chosen(gs, argnums) for gs in each))

    return rows


def hessian(f: Function, argnums: int | Sequence[int] | None = None) -> Function:
    """The function that returns the second derivatives of f: the jacobian of its gradient.

    >>> hessian(lambda xs: xs[0] ** 2 * xs[1])([2.0, 3.0])
    [[6.0, 4.0], [4.0, 0.0]]
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Function, xs: Sequence[Any], ts: Sequence[Any]) -> Any:
    """The Hessian of f at the arguments xs times the tangents ts, in the shape of `grad`.

    >>> hvp(lambda xs: xs[0] ** 2 * xs[1], ([2.0, 3.0],), ([1.0, 10.0],))
    [46.0, 4.0]
    """
    return jvp(grad(f), xs, ts)[1]


def stop_gradient(x: Any) -> Any:
    """The same number, or nested lists of them, through which no gradient flows: a node, without a slope.

    In compiled code as well, where `v.detach()`, which makes a new leaf of a number, is an error.

    >>> grad(lambda x: stop_gradient(x) * x)(3.0)
    3.0
    """
    return _like(x, (STOP_GRADIENT(leaf) for leaf in _flat(x)))


def vmap(f: Function, in_axes: int | Sequence[int | None] | None = 0) -> Function:
    """The function that calls f on each entry of lists, and returns lists: one loop, written as JAX does.

    `in_axes` says of each argument whether it is a list of entries (0) or the same for all (None). Of a dict
    each list has an entry, and an f that returns a tuple or a dict gives one of lists. Arguments given by
    keyword are lists of entries. Raises TypeError for an argument that is no list, ValueError for lists of
    unequal lengths and for other axes. It is as fast as the loop; a compiled function has `map`, which is
    machine code.

    >>> vmap(lambda w, x: w[0] * x + w[1], in_axes=(None, 0))([3.0, 1.0], [0.0, 1.0, 2.0])
    [1.0, 4.0, 7.0]
    >>> vmap(grad(lambda w, x: w * x**2, argnums=0), in_axes=(None, 0))(1.0, [1.0, 2.0])
    [1.0, 4.0]
    """

    def mapped(*xs: Any, **keywords: Any) -> Any:
        axes = list(in_axes) if isinstance(in_axes, Sequence) else [in_axes] * len(xs)
        if len(axes) != len(xs):
            raise ValueError(
                f"vmap: in_axes has {len(axes)} entries, and {_name(f)} was given {len(xs)} arguments by "
                "position: give one for each"
            )
        for axis in axes:
            if axis is not None and (axis != 0 or isinstance(axis, bool)):
                raise ValueError(
                    f"vmap: in_axes has 0, for a list of entries, and None, for an argument that is the same "
                    f"for all, not {axis!r}: for columns write list(zip(*rows))"
                )
        named = [(f"argument {i}", x) for i, (x, axis) in enumerate(zip(xs, axes)) if axis == 0]
        sizes = dict(_sizes(_name(f), [*named, *keywords.items()]))
        if not sizes:
            raise ValueError(f"vmap: no argument of {_name(f)} is a list of entries: call it as it is")
        (name, n), *others = sizes.items()
        for other, m in others:
            if m != n:
                raise ValueError(f"vmap: {name} of {_name(f)} has {n} entries, and {other} has {m}")
        results = []
        for i in range(n):
            chosen = [x if axis is None else _entry(x, i) for x, axis in zip(xs, axes)]
            results.append(f(*chosen, **{key: _entry(x, i) for key, x in keywords.items()}))
        return _stacked(results)

    return mapped


def _sizes(name: str, named: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, int]]:
    """(where it is, the length) of each list that vmap goes through."""
    for place, x in named:
        if isinstance(x, dict):
            yield from _sizes(name, [(f"{place}[{key!r}]", part) for key, part in x.items()])
        elif not is_row(x):
            raise TypeError(
                f"vmap: {place} of {name} is {x!r}, and is to be a list of entries: for an argument that is "
                "the same for all, in_axes has None in its place"
            )
        else:
            yield place, len(x)


def _entry(x: Any, i: int) -> Any:
    return {key: _entry(part, i) for key, part in x.items()} if isinstance(x, dict) else _without_arrays(x)[i]


def _stacked(results: Sequence[Any]) -> Any:
    """A tuple or dict of lists, for a list of tuples or dicts."""
    first = results[0] if results else None
    if isinstance(first, tuple):
        return tuple(_stacked(part) for part in zip(*results))
    if isinstance(first, dict):
        return {key: _stacked([result[key] for result in results]) for key in first}
    return list(results)


# --- forward mode -------------------------------------------------------------------------------------------


def _push(tangent: dict[Value, Any], outputs: Iterable[Value], as_graph: bool) -> Iterator[Any]:
    """Move tangents from inputs to outputs: a node's is the sum over its operands of partial x tangent."""
    outputs = list(outputs)
    with entered(record=True):
        for v in reversed(newest_first(outputs)):
            if v in tangent:  # an argument that is the result of an outer graph
                continue
            hops = _graph_edges(v) if as_graph else edges(v)
            arrived = [(d, tangent[x]) for x, d in hops if x in tangent]
            if not arrived:
                continue
            if not as_graph:
                tangent[v] = 0.0
                for d, t in arrived:
                    tangent[v] += d * t
            elif v.op.selects:
                shares = [WHERE(NE(d, 0.0), d * t, 0.0) for d, t in arrived]
                tangent[v] = gather([1.0] * len(shares), shares)
            else:
                tangent[v] = gather(*zip(*arrived))
    return (tangent.get(o, Value(0.0) if as_graph else 0.0) for o in outputs)


def _graph_edges(v: Value) -> list[tuple[Value, Any]]:
    return [] if v.op.partials is None else list(zip(v.inputs, v.op.partials(v, *v.inputs)))


# --- arguments and results ----------------------------------------------------------------------------------


def _places(argnums: int | Sequence[int] | None, count: int, name: str) -> list[int]:
    """Which of the positional arguments to differentiate by."""
    if argnums is None:
        return list(range(count))
    places = list(argnums) if isinstance(argnums, Sequence) else [argnums]
    for i in places:
        if isinstance(i, bool) or not isinstance(i, int):
            raise TypeError(f"grad: argnums is the place of an argument, or a tuple of them, not {argnums!r}")
        if not -count <= i < count:
            raise ValueError(
                f"grad: argnums is {argnums!r}, and {name} was given {count} arguments by position: places "
                "are counted from 0, and an argument to differentiate by is not given by keyword"
            )
    return [i % count for i in places]


def _called_with(
    f: Function, argnums: int | Sequence[int] | None, xs: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[Any, tuple[Any, ...], bool]:
    """As `_called`, where only some of the arguments become leaves."""
    places = _places(argnums, len(xs), _name(f))

    @wraps(f, updated=())
    def of_chosen(*chosen: Any) -> Any:
        given = {**dict(enumerate(xs)), **dict(zip(places, chosen))}
        return f(*given.values(), **keywords)

    outer = any(isinstance(x, Value) for x in _flat(xs))
    return _called(of_chosen, tuple(xs[i] for i in places), outer)


def _called(f: Function, xs: tuple[Any, ...], recorded: bool = False) -> tuple[Any, tuple[Any, ...], bool]:
    """f's output, the leaves it was called with in the shape of xs, and whether results are to be Values."""
    if not xs:
        raise TypeError(f"{_name(f)} was given no arguments to differentiate by")
    xs = _without_arrays(xs)
    recorded = recorded or inside.get() or any(isinstance(x, Value) for x in _flat(xs))
    with entered(record=True), _transforming():
        # A Value is not passed on itself: f may also use it from outside, which is another dependence.
        fresh = _like(xs, (IDENTITY(x) if isinstance(x, Value) else Value(x) for x in _flat(xs)))
        return f(*fresh), fresh, recorded


@contextmanager
def _transforming() -> Iterator[None]:
    token = inside.set(True)
    try:
        yield
    finally:
        inside.reset(token)


def _pull(seeds: Mapping[Value, Any], inputs: Any) -> Any:
    as_graph = any(isinstance(seed, Value) for seed in seeds.values())
    with entered(record=True):
        adjoint: Mapping[Value, Any] = sweep_graph(seeds) if as_graph else sweep(seeds)
    return _like(inputs, (adjoint.get(x, Value(0.0) if as_graph else 0.0) for x in _flat(inputs)))


def _without_arrays(tree: Any) -> Any:
    """Nested lists for NumPy's arrays."""
    leaves = (x.tolist() if hasattr(x, "tolist") and hasattr(x, "dtype") else x for x in _flat(tree))
    return _like(tree, leaves)


def _flat(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if not isinstance(tree, (list, tuple)):
        return [tree]
    return [leaf for branch in tree for leaf in _flat(branch)]


def _like(tree: Any, leaves: Iterator[Any]) -> Any:
    """The leaves, in the nesting of the tree."""
    if isinstance(tree, dict):
        return {key: _like(branch, leaves) for key, branch in tree.items()}
    if not isinstance(tree, (list, tuple)):
        return next(leaves)
    branches = [_like(branch, leaves) for branch in tree]
    return branches if isinstance(tree, list) else tuple(branches)


def _paired(tree: Any, other: Any, noun: str, name: str) -> tuple[list[Any], list[Any]]:
    if _shape(tree) != _shape(other):
        raise ValueError(f"{name}: {noun} have the shape {_shape(other)}, and {_shape(tree)} is needed")
    return _flat(tree), _flat(other)


def _shape(tree: Any) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key!r}: {_shape(branch)}" for key, branch in tree.items()) + "}"
    if not isinstance(tree, (list, tuple)):
        return "number"
    return "[" + ", ".join(map(_shape, tree)) + "]"


def _as_chosen(gs: Sequence[Any], argnums: int | Sequence[int] | None) -> Any:
    """A tuple, or what is there alone where one argument was chosen, or given."""
    return gs[0] if len(gs) == 1 and not isinstance(argnums, Sequence) else tuple(gs)


def _value(x: Any) -> Value:
    return x if isinstance(x, Value) else Value(x)


def _unwrapped(out: Any, recorded: bool) -> Any:
    return out if recorded else _like(out, (_value(x).data for x in _flat(out)))


def _is_number(x: Any) -> bool:
    return isinstance(x, Value) or (hasattr(x, "__float__") and not hasattr(x, "__len__"))


def _what(x: Any) -> str:
    return f"a {type(x).__name__} of {len(x)}" if isinstance(x, (list, tuple)) else repr(x)


def _name(f: Function) -> str:
    return getattr(f, "__name__", type(f).__name__)

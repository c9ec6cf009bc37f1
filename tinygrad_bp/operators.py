"""How a Value behaves as a Python number: operators, comparisons, and what other libraries call things.

Arithmetic comes from the table: `attach` gives every row its method, and the operator it stands behind, as a
function that makes one node. Comparisons are by number and return a bool, so `if`, `max` and `sorted` work;
the hash of a Value is its identity, and the engine uses nothing else.
"""

import operator
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from math import isclose
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tinygrad_bp.errors import GraphError, describe, printable
from tinygrad_bp.floats import NO_GRAD, to_float
from tinygrad_bp.methods import TableMethods
from tinygrad_bp.modes import INDEX, STAY, USUAL, forbid, mode, note_use
from tinygrad_bp.ops import (
    ATTACH,
    OPS,
    RESERVED,
    TABLE,
    Op,
    floor as FLOOR,
    pow as POW,
    powc as POWC,
    round as ROUND,
)

V = TypeVar("V", bound="Operators")
Node = Callable[[Op, tuple[Any, ...], float], Any]
Methods = tuple[Callable[..., Any], Callable[..., Any] | None]  # the method, and the reflected operator


INSTEAD = {  # what people from elsewhere look for
    "draw": "tg.draw(v) draws it",
    "explain": "tg.explain(loss, v) explains its gradient",
    "stepper": "tg.stepper(v) walks through its graph",
    "numpy": "v.data is the number",
    "requires_grad": "every Value has a gradient; to freeze a parameter, leave it out of the optimizer",
    "grad_fn": "v.op is the operation, v.inputs are its operands",
}


MICROGRADS_SIGNS = {ord("×"): "*", ord("÷"): "/", ord("−"): "-"}


class Elsewhere:
    """An attribute that other libraries have: asking for it says what to write here.

    A `__getattr__` of Value could do it too, but slows down every other look-up of an attribute in CPython.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, v: Any, owner: type) -> NoReturn:
        raise AttributeError(f"'Value' has no attribute {self.name!r}: {INSTEAD[self.name]}")


NUMPY_OPERATORS = {  # by the names of NumPy's functions, which its scalars call for them
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "power": operator.pow, "floor_divide": operator.floordiv, "remainder": operator.mod,
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge,
}  # fmt: skip


class Operators(TableMethods):
    """The part of Value that makes it a number among numbers."""

    __slots__ = ()

    if TYPE_CHECKING:
        _data: float
        op: Op | None
        _x: Any
        _y: Any
        number: int
        grad: float
        label: str

        def __init__(self, data: Any, label: str = "") -> None: ...
        @property
        def inputs(self) -> tuple[Any, ...]: ...
        def apply_op(self, op: Op, operands: Any) -> Any: ...
        def __getattr__(self, name: str) -> Any: ...  # a method may be an operation that is declared later

    if not TYPE_CHECKING:  # methods.pyi has their types
        # A plain number as exponent is a constant of the operation and gets no gradient.
        def __pow__(self, y):
            if isinstance(y, Operators):
                return POW(self, y)
            c = self._operand(y)
            return c if c is NotImplemented else POWC.at(c._data)(self)

        def __rpow__(self, x):
            x = self._operand(x)
            return x if x is NotImplemented else POW(x, self)

        def pow(self, y):
            return self**y

        def __floordiv__(self, y):
            quotient = self.__truediv__(y)
            return quotient if quotient is NotImplemented else FLOOR(quotient)

        def __rfloordiv__(self, x):
            quotient = self.__rtruediv__(x)
            return quotient if quotient is NotImplemented else FLOOR(quotient)

        def __round__(self, digits=None):
            return ROUND(self) if digits is None else ROUND(self * 10.0**digits) / 10.0**digits

    def _operand(self, y: Any) -> Any:
        """Another operand as a Value; NotImplemented for anything else, so that Python asks it in turn."""
        try:
            return y if isinstance(y, Operators) else type(self)(y)
        except TypeError:
            if hasattr(y, "__len__") and not isinstance(y, str):
                raise  # an array or a list: the text says what to do
            return NotImplemented

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy calls this: `np.float64(2.0) * v` is a Value, `array * v` and `np.exp(v)` are errors."""
        plain = [x.item() if getattr(x, "shape", None) == () else x for x in inputs]
        xs = [x if isinstance(x, Operators) else to_float(x) for x in plain]  # which refuses an array
        if ufunc.__name__ in NUMPY_OPERATORS and method == "__call__" and not options:
            return NUMPY_OPERATORS[ufunc.__name__](*xs)
        name = ufunc.__name__.replace("arc", "a").replace("imum", "").replace("olute", "")
        instead = f"tg.{name}(v)" if name in OPS else "it with operations of tinygrad_bp"
        raise TypeError(f"np.{ufunc.__name__}(v) leaves the graph: write {instead}, or use v.data")

    __hash__ = object.__hash__

    def __eq__(self, y: object) -> bool:
        return bool(self._data == _number(y))

    def __lt__(self, y: Any) -> bool:
        return bool(self._data < _number(y))

    def __le__(self, y: Any) -> bool:
        return bool(self._data <= _number(y))

    def __gt__(self, y: Any) -> bool:
        return bool(self._data > _number(y))

    def __ge__(self, y: Any) -> bool:
        return bool(self._data >= _number(y))

    def __bool__(self) -> bool:
        return bool(_number(self) != 0.0)

    def __float__(self) -> NoReturn:
        raise TypeError(
            "float(v), math.sin(v) and '%.3f' % v leave the graph: "
            "use tinygrad_bp.sin(v), f'{v:.3f}' or v.data"
        )

    def __index__(self) -> NoReturn:
        forbid("this uses a Value as an index or a count", INDEX)
        raise TypeError(
            f"lst[v], int(v) and range(v) need a plain number, and v is a Value: {INDEX}; "
            "outside compiled code int(v.data) is the number"
        )

    __int__ = __index__

    def __repr__(self) -> str:
        note_use(self)
        label = f", label='{printable(self.label)}'" if self.label else ""
        return f"Value(data={self._data}, grad={self.grad}{label})"

    def __format__(self, spec: str) -> str:
        note_use(self)
        return format(self._data, spec) if spec else repr(self)

    def __reduce__(self) -> Any:
        note_use(self)
        if self.op is None:
            return type(self), (self._data, self.label)
        raise GraphError(
            f"{describe(self)} is inside a graph, and graphs are not copied or pickled: "
            "copy the model (model.copy()), keep the number (v.data), or save model.state_dict()"
        )

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in INSTEAD]

    def detach(self: V) -> V:
        """The same number as a leaf: no gradient flows through it."""
        return type(self)(self.item(), self.label)

    def item(self) -> float:
        """The number itself (PyTorch's name for it)."""
        if mode.get() is not USUAL:
            forbid("this reads the number of a Value", STAY)
        return self._data

    @property
    def _prev(self) -> set[Any]:
        """The operands as a set: micrograd's name, for its draw_dot."""
        return set(self.inputs)

    @property
    def _op(self) -> str:
        """The operation as micrograd writes it: '+', '*', '**2', 'ReLU'."""
        return _micrograds(self.op) if self.op else ""

    def _adopt(self, children: Any, sign: str = "", label: str = "") -> str:
        """For micrograd's `Value(6.0, (x, y), "*")`: become that operation's result. Returns the label."""
        if not isinstance(children, (tuple, list)):
            return str(children)  # it was a label
        if children:
            xs = [x if isinstance(x, Operators) else type(self)(x) for x in children]
            made = _row_of(sign, xs)(*xs)
            if not isclose(made._data, self._data, rel_tol=1e-9, abs_tol=1e-12) and self._data == self._data:
                operands = ", ".join(map(describe, xs))
                raise ValueError(
                    f"Value({self._data!r}, operands, {sign!r}): {sign!r} of {operands} is {made._data!r}"
                )
            self.op, self._x, self._y, self.number = made.op, made._x, made._y, made.number
        return str(label)


def _number(y: Any) -> Any:
    if mode.get() is not USUAL:
        forbid("this compares Values by their numbers")
    return y._data if isinstance(y, Operators) else y


def _micrograds(op: Op) -> str:
    return (op.sign or op.name).translate(MICROGRADS_SIGNS)


def _row_of(sign: str, xs: list[Any]) -> Op:
    """The operation that micrograd writes so, on these operands."""
    if sign.startswith("**") and len(xs) == 1:
        with suppress(ValueError):
            return POWC.at(float(sign[2:]))
    for row in OPS.values():
        if sign in (_micrograds(row), row.name) and row.operands in (None, len(xs)) and not row.constants:
            return row
    names = ", ".join("xyzuvw"[: len(xs)])
    raise ValueError(
        f"Value(data, operands, {sign!r}): the table has no such operation, so its gradient is not known: "
        f"declare it, f = tg.op('my_name', lambda {names}: ..., lambda o, {names}: (...,)), "
        f"and call f({names})"
    )


class OneStep:
    """micrograd's `v._backward`: the step of the sweep at one node, v.grad times each partial."""

    def __init__(self, edges: Callable[[Any], Any]) -> None:
        self.edges = edges

    def __get__(self, v: Any, owner: type) -> Any:
        return partial(self.step, v)

    def __set__(self, v: Any, f: Any) -> NoReturn:
        raise AttributeError(
            "_backward cannot be set, since the gradient of a node comes from its operation: declare one, "
            "f = tg.op('my_name', lambda x: x**3, lambda o, x: (3.0 * x**2,)), and call f(x)"
        )

    def step(self, v: Any) -> None:
        for x, d in self.edges(v) if v.op else ():
            x.grad = (x.grad or 0.0) + d * v.grad


def attach(node: Node, value_type: type, tick: Callable[[], int], edges: Callable[[Any], Any]) -> None:
    """Give every operation, also one that is declared later, its method; `node` records a result, a Value."""
    TableMethods._backward = OneStep(edges)  # type: ignore[attr-defined]
    RESERVED.update(dir(value_type))
    for name in INSTEAD:
        setattr(TableMethods, name, Elsewhere(name))

    def attach_row(row: Op) -> None:
        plain = row.name in TABLE and not row.constants  # others are called as they are: they check more
        if plain and row.operands == 1:
            method, reflected = _unary(row, node)
        elif plain and row.operands == 2:
            method, reflected = _binary(row, node, value_type, tick)
        else:
            method, reflected = _general(row)
        method.__name__, method.__doc__ = row.name, f"The operation {row.name!r} of the table in ops.py."
        method.__module__ = TableMethods.__module__  # these two for pickle
        method.__qualname__ = f"TableMethods.{row.name}"
        setattr(TableMethods, row.name, method)
        if row.dunder:
            setattr(TableMethods, f"__{row.dunder}__", method)
        if row.dunder and reflected:
            setattr(TableMethods, f"__r{row.dunder}__", reflected)

    for row in OPS.values():
        attach_row(row)
    ATTACH.append(attach_row)
    if sys.modules.get("hypothesis"):  # its st.from_type(Value) knows what to draw then
        import_module("tinygrad_bp.check.hypothesis_plugin").register(value_type)


def _general(row: Op) -> Methods:
    def method(x: Any, *more: Any, **constants: float) -> Any:
        return row(x, *more, **constants)

    return method, None


def _unary(row: Op, node: Node) -> Methods:
    value = row.value

    def method(x: Any) -> Any:
        return node(row, (x,), value(x._data))

    return method, None


def _binary(row: Op, node: Node, value_type: type, tick: Callable[[], int]) -> Methods:
    value, new, now = row.value, object.__new__, mode.get

    def method(x: Any, y: Any) -> Any:
        if type(y) is not value_type:
            y = x._operand(y)
            if y is NotImplemented:
                return y
        if now() is not USUAL:
            return node(row, (x, y), value(x._data, y._data))
        v: Any = new(value_type)  # as `node` does, without the call: most nodes of a graph are made here
        v._data = value(x._data, y._data)
        v.grad = NO_GRAD
        v.op = row
        v._x = x
        v._y = y
        v.number = tick()
        v.label = ""
        return v

    def reflected(y: Any, x: Any) -> Any:  # 2.0 - y arrives as y.__rsub__(2.0)
        x = y._operand(x)
        return x if x is NotImplemented else method(x, y)

    return method, reflected

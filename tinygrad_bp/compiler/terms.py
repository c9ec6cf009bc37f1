"""Terms: what the passes after tracing work on, a graph of their own beside the user's.

A term is a Value without its number: an operation and operands, or a leaf.  It knows its rate: constant, once
a call (made of parameters alone), or once a sample.  The operations of the table accept terms, so a row's
formula applied to terms gives terms.  Equal terms are one object, constants fold, and numbers rise
along every edge, as in the engine.  Two accumulations join the table here, for sums of any length.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn

from tinygrad_bp import ops
from tinygrad_bp.engine import Value
from tinygrad_bp.errors import CompileError
from tinygrad_bp.floats import to_float
from tinygrad_bp.ops import OPS, Op

CONSTANT, ONCE, SAMPLE = 0, 1, 2  # rates: a term has the highest of its operands'


def _total(start: float, *xs: float) -> float:
    for x in xs:
        start += x
    return start


def _inner(start: float, *xs: float) -> float:
    n = len(xs) // 2
    for w, x in zip(xs, xs[n:]):
        start += w * x
    return start


# An accumulation of any length: its start, then one list of operands or two. They are not rows of the table.
TOTAL = Op("total", _total, None, None)  # start + x0 + x1 + ...
INNER = Op("inner", _inner, None, None)  # start + w0*x0 + w1*x1 + ...
LISTS = frozenset({TOTAL, INNER, ops.take})  # operations that take lists, after a first operand
COPY = Op("copy", lambda x: x, None, 1)  # a value that is the same for all samples, as one of each sample


class Term:
    """An operation on terms, or a leaf: a constant, a parameter, an input."""

    __slots__ = ("args", "graph", "number", "op", "rate", "value")

    def __init__(self, graph: "Terms", op: Any, args: tuple[Any, ...], rate: int, value: Any = None) -> None:
        self.graph, self.op, self.args, self.rate, self.value = graph, op, args, rate, value
        self.number = graph.count = graph.count + 1

    def apply_op(self, op: Op, operands: Iterable[Any]) -> "Term":
        """What an operation of the table does when a term is among its operands."""
        return self.graph.apply(op, operands)

    def __add__(self, other: Any) -> "Term":
        return self.graph.apply(ops.add, (self, other))

    def __radd__(self, other: Any) -> "Term":
        return self.graph.apply(ops.add, (other, self))

    def __sub__(self, other: Any) -> "Term":
        return self.graph.apply(ops.sub, (self, other))

    def __rsub__(self, other: Any) -> "Term":
        return self.graph.apply(ops.sub, (other, self))

    def __mul__(self, other: Any) -> "Term":
        return self.graph.apply(ops.mul, (self, other))

    def __rmul__(self, other: Any) -> "Term":
        return self.graph.apply(ops.mul, (other, self))

    def __neg__(self) -> "Term":
        return self.graph.apply(ops.neg, (self,))

    def __bool__(self) -> NoReturn:
        raise CompileError("the formula of an operation branches on its operand: write it with where and gt")


class Terms:
    """The terms of one program; makes each only once.

    >>> g = Terms({}); x = g.leaf(SAMPLE)
    >>> x * 2.0 is x * 2.0, (g.constant(3.0) * 2.0).value
    (True, 6.0)
    """

    def __init__(self, expansions: dict[Op, Callable[..., Any]]) -> None:
        self.count = 0
        self.expansions = expansions
        self.known: dict[Any, Term] = {}

    def leaf(self, rate: int, value: Any = None) -> Term:
        """A parameter or captured Value (ONCE), or an input (SAMPLE); `value` is its place."""
        return Term(self, None, (), rate, value)

    def constant(self, x: float) -> Term:
        """A number; -0.0 is not 0.0, and every nan is nan."""
        key = x.hex()
        term = self.known.get(key)
        if term is None:
            term = self.known[key] = Term(self, None, (), CONSTANT, x)
        return term

    def apply(self, op: Op, operands: Iterable[Any]) -> Term:
        """The operation on these operands: expanded where it has a formula, folded where all are
        constants."""
        return self.apply_to(
            op, tuple([x if type(x) is Term else self.constant(to_float(x)) for x in operands])
        )

    def apply_to(self, op: Op, args: tuple[Term, ...]) -> Term:
        """The operation on these terms."""
        rate = max([x.rate for x in args])
        if rate == CONSTANT:
            return self.constant(op.value(*[x.value for x in args]))
        if op is ops.mul:
            if args[0].value == 1.0 and args[0].rate == CONSTANT:
                return args[1]  # 1 * x is x, to the bit
            if args[1].value == 1.0 and args[1].rate == CONSTANT:
                return args[0]
        if op.formula:
            return self._as_term(op.formula(*args))
        expansion = self.expansions.get(OPS[op.name] if op.constant_values else op)
        if expansion:
            return self._as_term(expansion(*args, *op.constant_values))
        return self.make(op, args, rate)

    def make(self, op: Op, args: tuple[Term, ...], rate: int) -> Term:
        """That operation as a term: the one there is, or a new one."""
        key = (op, args)
        term = self.known.get(key)
        if term is None:
            term = self.known[key] = Term(self, op, args, rate)
        return term

    def find(self, op: Op, args: tuple[Term, ...]) -> Term | None:
        """That operation, if it is among the terms already."""
        return self.known.get((op, args))

    def _as_term(self, x: Any) -> Term:
        return x if type(x) is Term else self.constant(to_float(x))


class Products(NamedTuple):
    """Outputs x0*g, x1*g, x2*g, which follow each other: the gradient by the weights of a neuron."""

    xs: tuple[Term, ...]
    g: Term

    def terms(self) -> list[Term]:
        """The outputs one by one."""
        return [x * self.g for x in self.xs]


def oldest_first(roots: Iterable[Term]) -> list[Term]:
    """All terms the roots are made of, operands before what uses them."""
    roots = dict.fromkeys(roots)
    todo = [x for x in roots if x.args]
    inner = set(todo)
    while todo:
        fresh = {x for x in todo.pop().args if x.args and x not in inner}
        if fresh:
            inner |= fresh
            todo += fresh
    operations = sorted(inner, key=attrgetter("number"))
    met = dict.fromkeys(chain(roots, chain.from_iterable([x.args for x in operations])))
    return [x for x in met if not x.args] + operations


def lists_of(term: Term) -> list[list[Term]]:
    """The operands that are lists: two of a sum of products, else one."""
    n = len(term.args) // 2 + 1
    return [list(term.args[1:n]), list(term.args[n:])] if term.op is INNER else [list(term.args[1:])]


class Program:
    """What is computed: outputs, over the values read once a call (parameters first) and the inputs of a
    sample.

    With `summed`, the outputs are sums over the samples, and some may be `Products`, which stand for several;
    else there is one of each a sample. For `arrays`, lowering left larger steps: sums of any length, and the
    outputs themselves may be such.
    """

    def __init__(
        self,
        outputs: Sequence[Any],
        leaves: Sequence[Value],
        inputs: int,
        summed: bool,
        arrays: bool = False,
    ) -> None:
        self.outputs, self.leaves, self.inputs, self.summed = list(outputs), list(leaves), inputs, summed
        self.arrays = arrays

    def forget(self) -> None:
        """Let terms go with who uses them. Each refers to the table that holds them all, so without this they
        stay, in their hundreds of thousands, until the garbage collector has looked at them one by one."""
        for term in self.order[:1]:
            term.graph.known.clear()

    @cached_property
    def order(self) -> list[Term]:
        """All its terms, operands before what uses them."""
        return oldest_first(self._read())

    @cached_property
    def uses(self) -> Mapping[Term, int]:
        """How often each operation is an operand, or an output."""
        read = chain(chain.from_iterable([term.args for term in self.order]), self._read())
        return Counter([x for x in read if x.args])

    @property
    def count(self) -> int:
        """How many numbers the outputs are."""
        return sum([len(x.xs) if type(x) is Products else 1 for x in self.outputs])

    def _read(self) -> Iterator[Term]:
        """What the outputs are, or are made of: the common factor of several counts as often."""
        return chain.from_iterable(
            [(*x.xs, *[x.g] * len(x.xs)) if type(x) is Products else (x,) for x in self.outputs]
        )

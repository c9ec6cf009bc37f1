"""THE TABLE: every operation, declared once.

A row gives an operation its name, its value on floats, its partial derivatives, and whatever else there is
to say about it. Values follow IEEE 754: they can be inf or nan, and never raise. Partials are functions of
the result `o` and the operands, written in the table's own operations, so one rule serves three readers: on
floats it gives a number, on Values a graph (and so second derivatives), on symbols a formula. A rule has no
Python branch, and writes `div` and `pow` by name, because Python's / and ** raise at 0. The operators and
methods of Value, the tests and the documents are loops over this table. P1 to P5 in comments are policies
of docs/semantics.md; docs/add_an_operation.md shows how to write a row.
"""

# mypy: disable-error-code="has-type"
# (a rule names rows that are declared further down: it is read when they all are)

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from inspect import Parameter, signature
from itertools import accumulate
from math import factorial, inf, perm, pi
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload
from weakref import WeakValueDictionary

from tinygrad_bp import floats
from tinygrad_bp.floats import TWO_OVER_SQRT_PI, to_float

Rule = Callable[..., Sequence[Any]]
Floats = float | Sequence[float]
Interval = tuple[float, float]

OPS: dict[str, Op] = {}
RESERVED: set[str] = set()  # what else Value has by name: operators.py adds it
ATTACH: list[Callable[[Op], None]] = []  # how a row becomes a method of Value: operators.py adds it
TABLE: frozenset[str] = frozenset()  # the names of the rows below, once they are declared


class Recorder(Protocol):
    """An operand with a way of its own to apply an operation: a Value makes a node, a symbol a formula."""

    def apply_op(self, op: Op, operands: tuple[Any, ...]) -> Any: ...


R = TypeVar("R", bound=Recorder)


@dataclass(eq=False, repr=False)
class Op:
    """One operation: a row of the table, or an instance of a row that has its constants filled in.

    Called with numbers it returns a float, with a Value among its operands a Value.

    `selects` and `singular` are about policy P4. `where(c, x, y)` chooses x or y, and `relu(x)` chooses x
    or 0: the gradient must not flow to what was not chosen, not even as 0 x inf = nan. Such an operation
    `selects`: a partial of exactly 0 says that the operand was not chosen, and the sweep skips that edge
    (it is *cut*). An operation is `singular` if a partial can be inf or nan at finite operands, as that of
    log at 0. (A product does not select: its partial can be 0 by accident.)

    >>> tanh(0.0), leaky_relu(-1.0, 0.5), leaky_relu.at(0.5)
    (0.0, -0.5, <op leaky_relu(0.5)>)
    """

    name: str
    value: Callable[..., float]  # on floats
    partials: Rule | None  # on anything; None: no derivative anywhere, the path ends here
    operands: int | None  # how many; None: any number of them
    constants: dict[str, float | None] = field(default_factory=dict)  # still to fill in, by name
    constant_values: tuple[float, ...] = ()  # of an instance, where they are filled in
    sign: str = ""  # how it is drawn; "" = by its name
    dunder: str = ""  # the Python operator it stands behind
    tex: str = ""  # {0}, {1} are the operands, then the constants; {xs} all operands
    domain: tuple[Interval, ...] = ()  # of each operand, where it is defined and smooth
    kink: Callable[..., Any] | None = None  # of the operands: a number, or several, of which one is 0 or
    #                                         changes sign where the row is not smooth
    selects: bool = False  # P4: a partial of exactly 0 cuts the edge; partials are constant wherever smooth
    singular: bool = False  # P4: a partial can be non-finite at finite operands
    hint: str = ""  # what to do where the value is inf or nan
    formula: Callable[..., Any] | None = None  # of a composite row: its value in other operations
    slopes: Rule | None = None  # partials, read for floats alone (end of file)
    instances: WeakValueDictionary[tuple[str, ...], Op] = field(default_factory=WeakValueDictionary)

    @overload
    def __call__(self, *xs: Floats, **constants: float) -> float: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, *xs: R | float | Sequence[R | float], **constants: float) -> R: ...
    def __call__(self, *xs: Any, **constants: float) -> Any:
        if self.constants or constants:
            n = self.operands or 0
            return self.at(*xs[n:], **constants)(*xs[:n])
        if self.operands is None and len(xs) == 1 and isinstance(xs[0], Iterable):
            xs = tuple(xs[0])
        elif self.operands not in (None, len(xs)):
            raise TypeError(f"{self.name} takes {_count(self.operands, 'operand')}, got {len(xs)}")
        for x in xs:
            if hasattr(x, "apply_op"):
                return x.apply_op(self, xs)
        return self.value(*[to_float(x) for x in xs])

    def at(self, *values: float, **named: float) -> Op:
        """This row with its constants filled in; the same values give the same object.

        They are given in order or by name. Raises TypeError if one is missing, unknown or no number.
        """
        if len(values) > len(self.constants):
            raise TypeError(f"{self!r} takes {_count(len(self.constants), 'constant')}, got {len(values)}")
        given = {**self.constants, **dict(zip(self.constants, values)), **named}
        for name, value in given.items():
            if name not in self.constants:
                known = ", ".join(self.constants) or "none"
                raise TypeError(f"{self!r} has no constant {name!r}: it has {known}")
            if value is None:
                raise TypeError(f"{self.name} needs its constant {name!r}: {self.name}(x, {name}=...)")
        if not given:
            return self
        filled = tuple([to_float(value) for value in given.values()])
        key = tuple([c.hex() for c in filled])  # not the numbers: -0.0 is 0.0, and nan is not nan
        instance = self.instances.get(key)
        if instance is None:
            instance = self.instances[key] = self._filled(filled)
        return instance

    def _filled(self, c: tuple[float, ...]) -> Op:
        """This row with the constants c behind the operands of its value and of its rules."""

        def bound(f: Any) -> Any:
            return f and (lambda *xs: f(*xs, *c))

        names = ("value", "partials", "slopes", "kink", "formula")
        functions = {name: bound(getattr(self, name)) for name in names}
        return replace(self, constants={}, constant_values=c, sign=self.sign.format(*c), **functions)

    def kinks(self, *xs: Any) -> tuple[Any, ...]:
        """Numbers of which one is 0 at a kink, or changes sign across it; none where the row is smooth.

        >>> clip.at(0.0, 1.0).kinks(0.25), exp.kinks(0.25)
        ((0.25, -0.75), ())
        """
        found = self.kink(*xs) if self.kink else ()
        return found if isinstance(found, tuple) else (found,)

    def __repr__(self) -> str:
        constants = ", ".join(f"{c:g}" for c in self.constant_values)
        return f"<op {self.name}({constants})>" if constants else f"<op {self.name}>"

    def __reduce__(self) -> Any:  # a row is one object, also after copying or pickling a module that holds it
        return (_lookup, (self.name, *self.constant_values))


def _lookup(name: str, *constants: float) -> Op:
    return OPS[name].at(*constants) if constants else OPS[name]


def _count(n: int | None, noun: str) -> str:
    return f"{n} {noun}" + "s" * (n != 1)


def op(
    name: str, value: Callable[..., Any], partials: Rule | None, *, composite: bool = False, **more: Any
) -> Op:
    """Declare an operation: its value on floats, and its partials from the result `o` and the operands.

    The number of operands comes from the rule's parameters (or the value's, where partials is None);
    parameters named in `constants` come after the operands.  With composite=True the value is itself written
    in other operations.  A declared operation is a function and a method of Value; declaring a name again
    replaces your own, never the table's.  Raises ValueError for a name that is taken, or that is no name.

    >>> from tinygrad_bp import Value
    >>> cube = op("cube", lambda x: x * x * x, lambda o, x: (3.0 * x * x,))
    >>> x = Value(2.0); y = x.cube(); y.backward(); (cube(2.0), y.data, x.grad)
    (8.0, 8.0, 12.0)
    """
    if name in TABLE or name in RESERVED:
        whose = "the table has an operation" if name in TABLE else "Value has an attribute"
        raise ValueError(f"{whose} {name!r} already: choose another name")
    if not name.isidentifier():
        raise ValueError(f"an operation is also a method, so its name must be a Python name: not {name!r}")
    operands = _operands(value, partials, len(more.get("constants", ())))
    if TABLE and partials:
        if isinstance(value, FunctionType) and len(signature(value).parameters) + 1 != (
            len(signature(partials).parameters)
        ):
            raise TypeError(f"{name!r}: the rule takes o, and then what the value takes: lambda o, x: ...")
        partials = _counted(name, partials, operands)
    row = Op(name, value, partials, operands, slopes=partials, formula=value if composite else None, **more)
    OPS[name] = row
    for attach in ATTACH:
        attach(row)
    return row


def _operands(value: Callable[..., Any], partials: Rule | None, constants: int) -> int | None:
    parameters = [*signature(partials or value).parameters.values()][1 if partials else 0 :]
    if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        return None
    return len(parameters) - constants


def _counted(name: str, partials: Rule, operands: int | None) -> Rule:
    """Your rule, checked for one partial per operand: with one too few, an operand would get no gradient."""

    def rule(o: Any, *xs: Any) -> Sequence[Any]:
        ds = partials(o, *xs)
        n = len(xs) if operands is None else operands
        if not isinstance(ds, (tuple, list)) or len(ds) != n:
            raise TypeError(f"the rule of {name!r} must return a tuple of {_count(n, 'partial')}, got {ds!r}")
        return ds

    return rule


ONE_OVER_SQRT_2PI = 0.3989422804014327
LN_2, ONE_OVER_LN_2, ONE_OVER_LN_10 = 0.6931471805599453, 1.4426950408889634, 0.4342944819032518
SELU, SELU_LEFT = 1.0507009873554805, 1.7580993408473766  # Klambauer et al. 2017: lambda, lambda x alpha
POSITIVE, UNIT, REAL = (0.0, inf), (-1.0, 1.0), (-inf, inf)
POWERS = (
    "large powers overflow; a negative base has real powers at integer exponents only, and 0 has none below 0"
)

# --- the table ----------------------------------------------------------------------------------------------
# A row's first line: name, value on floats, partials from the result o, the operands and then the constants.
# Below it: how it is written; then where it is smooth and what it does elsewhere; then what to do about that.
# fmt: off

identity   = op("identity",   floats.identity,   lambda o, x: (1.0,),
                tex="{0}", dunder="pos")
add        = op("add",        floats.add,        lambda o, x, y: (1.0, 1.0),
                tex="{0} + {1}", sign="+", dunder="add")
sub        = op("sub",        floats.sub,        lambda o, x, y: (1.0, -1.0),
                tex="{0} - {1}", sign="−", dunder="sub")
mul        = op("mul",        floats.mul,        lambda o, x, y: (y, x),
                tex=r"{0} \cdot {1}", sign="×", dunder="mul")
div        = op("div",        floats.div,        lambda o, x, y: (div(1.0, y), div(neg(o), y)),
                tex=r"\frac{{{0}}}{{{1}}}", sign="÷", dunder="truediv",
                kink=lambda x, y: y, singular=True,
                hint="keep the divisor away from 0")
neg        = op("neg",        floats.neg,        lambda o, x: (-1.0,),
                tex="-{0}", sign="−", dunder="neg")
fmod       = op("fmod",       floats.fmod,       lambda o, x, y: (nan_if(o, 1.0), nan_if(o, turns(o, x, y))),
                tex=r"{0} \operatorname{{mod}}_0 {1}",
                kink=lambda x, y: sin(pi * div(x, y)), singular=True,
                hint="the divisor must not be 0")
remainder  = op("remainder",  floats.remainder,  lambda o, x, y: (nan_if(o, 1.0), nan_if(o, turns(o, x, y))),
                tex=r"{0} \operatorname{{mod}} {1}", sign="%", dunder="mod",
                kink=lambda x, y: sin(pi * div(x, y)), singular=True,
                hint="the divisor must not be 0")
sum        = op("sum",        floats.sum,        lambda o, *xs: (1.0,) * len(xs),
                tex=r"\sum({xs})", sign="Σ")
dot        = op("dot",        floats.dot,        lambda o, *xs: dot_partials(xs),
                tex=r"\operatorname{{dot}}({xs})")

# powers
pow        = op("pow",        floats.pow,        lambda o, x, y: (pow_x(x, y), pow_y(o, x, y)),
                tex="{0}^{{{1}}}", sign="^",
                domain=(POSITIVE, REAL), singular=True,
                hint=POWERS)
pow_x      = op("pow_x",      floats.pow_x,      lambda o, x, y, n: (pow_x(x, y, n + 1.0),
                                                                     pow_xy(o, x, y, n)),
                tex=r"\partial_{{{0}}}^{{{2}}} {0}^{{{1}}}", constants={"order": 1.0},
                domain=(POSITIVE, REAL), singular=True,
                hint=POWERS)
powc       = op("powc",       floats.pow,        lambda o, x, exponent: (powc_x(x, exponent),),
                tex="{0}^{{{1}}}", sign="**{0:g}", constants={"exponent": None},
                domain=(POSITIVE,), singular=True,
                hint=POWERS)
powc_x     = op("powc_x",     floats.pow_x,      lambda o, x, exponent, n: (powc_x(x, exponent, n + 1.0),),
                tex=r"\partial^{{{2}}} {0}^{{{1}}}", constants={"exponent": None, "order": 1.0},
                domain=(POSITIVE,), singular=True,
                hint=POWERS)
square     = op("square",     lambda x: x * x,   lambda o, x: (2.0 * x,),
                tex="{0}^2", composite=True,
                singular=True)
reciprocal = op("reciprocal", lambda x: div(1.0, x),
                                                 lambda o, x: (neg(div(o, x)),),
                tex=r"\frac{{1}}{{{0}}}", composite=True,
                kink=lambda x: x, singular=True,
                hint="keep its operand away from 0")
cbrt       = op("cbrt",       floats.cbrt,       lambda o, x: (div(1.0, 3.0 * o * o),),
                tex=r"\sqrt[3]{{{0}}}",
                kink=lambda x: x, singular=True,
                hint="it has the slope inf at 0")
sqrt       = op("sqrt",       floats.sqrt,       lambda o, x: (div(0.5, o + 0.0),),  # so that -0.0 is +0.0
                tex=r"\sqrt{{{0}}}",
                domain=(POSITIVE,), singular=True,
                hint="keep its operand above 0; for the length of a vector use hypot, with a slope at 0")
hypot      = op("hypot",      floats.hypot,      lambda o, x, y: (div(x, o + eq(o, 0.0)),
                                                                  div(y, o + eq(o, 0.0))),
                tex=r"\sqrt{{{0}^2 + {1}^2}}",
                kink=lambda x, y: hypot(x, y))

# exponential and logarithm
exp        = op("exp",        floats.exp,        lambda o, x: (o,),
                tex="e^{{{0}}}",
                singular=True,
                hint="exp overflows above 709.78, where logsumexp, softplus and sigmoid do not")
exp2       = op("exp2",       lambda x: pow(2.0, x),
                                                 lambda o, x: (LN_2 * o,),
                tex="2^{{{0}}}", composite=True,
                singular=True,
                hint="2 ** x overflows from 1024 on")
expm1      = op("expm1",      floats.expm1,      lambda o, x: (exp(x),),
                tex="e^{{{0}}} - 1",
                singular=True)
log        = op("log",        floats.log,        lambda o, x: (nan_if(o, div(1.0, x + 0.0)),),
                tex=r"\ln {0}",
                domain=(POSITIVE,), singular=True,
                hint="keep its operand above 0, or use bce_with_logits or cross_entropy on the logits")
log2       = op("log2",       floats.log2,       lambda o, x: (nan_if(o, div(ONE_OVER_LN_2, x + 0.0)),),
                tex=r"\log_2 {0}",
                domain=(POSITIVE,), singular=True,
                hint="keep its operand above 0")
log10      = op("log10",      floats.log10,      lambda o, x: (nan_if(o, div(ONE_OVER_LN_10, x + 0.0)),),
                tex=r"\log_{{10}} {0}",
                domain=(POSITIVE,), singular=True,
                hint="keep its operand above 0")
log1p      = op("log1p",      floats.log1p,      lambda o, x: (nan_if(o, div(1.0, 1.0 + x)),),
                tex=r"\ln(1 + {0})",
                domain=((-1.0, inf),), singular=True,
                hint="keep its operand above -1")
logsumexp  = op("logsumexp",  floats.logsumexp,  lambda o, *xs: ratios([expdiff(x, o) for x in xs]),
                tex=r"\operatorname{{logsumexp}}({xs})")
logaddexp  = op("logaddexp",  lambda x, y: logsumexp(x, y),
                                                 lambda o, x, y: ratios([expdiff(x, o), expdiff(y, o)]),
                tex=r"\ln(e^{{{0}}} + e^{{{1}}})", composite=True)
expdiff    = op("expdiff",    lambda x, y: where(eq(x, inf) * eq(y, inf), 1.0, exp(x - y)),
                                                 lambda o, x, y: (o, neg(o)),  # inf - inf counts as 0
                tex="e^{{{0} - {1}}}", composite=True,
                singular=True)
xlogx      = op("xlogx",      lambda x: where(eq(x, 0.0), 0.0, x * log(x)),
                                                 lambda o, x: (log(x) + 1.0,),
                tex=r"{0} \ln {0}", composite=True,
                domain=(POSITIVE,), singular=True,
                hint="keep its operand at or above 0")
erf        = op("erf",        floats.erf,        lambda o, x: (TWO_OVER_SQRT_PI * gauss(x),),
                tex=r"\operatorname{{erf}} {0}")
erfc       = op("erfc",       floats.erfc,       lambda o, x: (neg(TWO_OVER_SQRT_PI * gauss(x)),),
                tex=r"\operatorname{{erfc}} {0}")
gauss      = op("gauss",      floats.gauss,      lambda o, x, rate: (-2.0 * rate * (x * o),),
                tex="e^{{-{1} {0}^2}}", constants={"rate": 1.0})
normal_cdf = op("normal_cdf", floats.normal_cdf, lambda o, x: (normal_density(x),),
                tex=r"\Phi({0})")

# circular and hyperbolic
sin        = op("sin",        floats.sin,        lambda o, x: (cos(x),),
                tex=r"\sin {0}")
cos        = op("cos",        floats.cos,        lambda o, x: (neg(sin(x)),),
                tex=r"\cos {0}")
tan        = op("tan",        floats.tan,        lambda o, x: (1.0 + o * o,),
                tex=r"\tan {0}",
                kink=lambda x: cos(x))
asin       = op("asin",       floats.asin,       lambda o, x: (div(1.0, sqrt((1.0 - x) * (1.0 + x))),),
                tex=r"\arcsin {0}",
                domain=(UNIT,), singular=True,
                hint="keep its operand between -1 and 1")
acos       = op("acos",       floats.acos,       lambda o, x: (div(-1.0, sqrt((1.0 - x) * (1.0 + x))),),
                tex=r"\arccos {0}",
                domain=(UNIT,), singular=True,
                hint="keep its operand between -1 and 1")
atan       = op("atan",       floats.atan,       lambda o, x: (over_squared(1.0, hypot(1.0, x)),),
                tex=r"\arctan {0}")
atan2      = op("atan2",      floats.atan2,      lambda o, y, x: (over_squared(x, hypot(x, y)),
                                                                  over_squared(neg(y), hypot(x, y))),
                tex=r"\operatorname{{atan2}}({0}, {1})",
                kink=lambda y, x: where(gt(x, 0.0), 1.0, y), singular=True,
                hint="it has no slope at (0, 0)")
sinc       = op("sinc",       lambda x: where(eq(x, 0.0), 1.0, div(sine_of_turns(x, 0), pi * x)),
                                                 lambda o, x: (sinc_x(x, 1.0),),
                tex=r"\frac{{\sin \pi {0}}}{{\pi {0}}}", composite=True)
sinc_x     = op("sinc_x",     lambda x, n: where(gt(1.0, abs(x)), sinc_near(x, int(n)),
                                                                               sinc_far(x, int(n))),
                                                 lambda o, x, n: (sinc_x(x, n + 1.0),),
                tex=r"\operatorname{{sinc}}^{{({1})}}({0})", composite=True, constants={"order": 1.0})
sinh       = op("sinh",       floats.sinh,       lambda o, x: (cosh(x),),
                tex=r"\sinh {0}",
                singular=True)
cosh       = op("cosh",       floats.cosh,       lambda o, x: (sinh(x),),
                tex=r"\cosh {0}",
                singular=True)
tanh       = op("tanh",       floats.tanh,       lambda o, x: (sech2(x),),
                tex=r"\tanh {0}")
sech2      = op("sech2",      floats.sech2,      lambda o, x: (-2.0 * tanh(x) * o,),
                tex=r"\operatorname{{sech}}^2 {0}")
asinh      = op("asinh",      floats.asinh,      lambda o, x: (div(1.0, hypot(1.0, x)),),
                tex=r"\operatorname{{arsinh}} {0}")
acosh      = op("acosh",      floats.acosh,      lambda o, x: (div(div(1.0, sqrt(x - 1.0)), sqrt(x + 1.0)),),
                tex=r"\operatorname{{arcosh}} {0}",
                domain=((1.0, inf),), singular=True,
                hint="keep its operand above 1")
atanh      = op("atanh",      floats.atanh,      lambda o, x: (nan_if(o, div(1.0, (1.0 - x) * (1.0 + x))),),
                tex=r"\operatorname{{artanh}} {0}",
                domain=(UNIT,), singular=True,
                hint="keep its operand between -1 and 1")

# activations
sigmoid    = op("sigmoid",    floats.sigmoid,    lambda o, x: (dsigmoid(x),),
                tex=r"\sigma({0})")
dsigmoid   = op("dsigmoid",   floats.dsigmoid,   lambda o, x: (neg(tanh(0.5 * x)) * o,),
                tex=r"\sigma'({0})")
softsign   = op("softsign",   lambda x: where(eq(abs(x), inf), sign(x), div(x, 1.0 + abs(x))),
                                                 lambda o, x: (over_squared(1.0, 1.0 + abs(x)),),
                tex=r"\frac{{{0}}}{{1 + |{0}|}}", composite=True)
logit      = op("logit",      lambda x: where(gt(abs(x - 0.5), 0.25), log(div(x, 1.0 - x)),
                                              2.0 * atanh(2.0 * x - 1.0)),  # without cancelling near 1/2
                                                 lambda o, x: (nan_if(o, div(1.0, (x + 0.0) * (1.0 - x))),),
                tex=r"\operatorname{{logit}} {0}", composite=True,
                domain=((0.0, 1.0),), singular=True,
                hint="keep its operand between 0 and 1")
logsigmoid = op("logsigmoid", lambda x: neg(softplus(neg(x))),
                                                 lambda o, x: (sigmoid(neg(x)),),
                tex=r"\ln \sigma({0})", composite=True)
softplus   = op("softplus",   lambda x: relu(x) + log1p(exp(neg(abs(x)))),
                                                 lambda o, x: (sigmoid(x),),
                tex=r"\ln(1 + e^{{{0}}})", composite=True)
silu       = op("silu",       lambda x: x * sigmoid(x),
                                                 lambda o, x: (sigmoid(x) + x * dsigmoid(x),),
                tex=r"{0} \, \sigma({0})", composite=True)
gelu       = op("gelu",       lambda x: x * normal_cdf(x),
                                                 lambda o, x: (normal_cdf(x) + x * normal_density(x),),
                tex=r"{0} \, \Phi({0})", composite=True)
relu       = op("relu",       floats.relu,       lambda o, x: (step(o),),
                tex=r"\max(0, {0})", sign="ReLU",
                kink=lambda x: x, selects=True)
leaky_relu = op("leaky_relu", lambda x, slope: where(gt(x, 0.0), x, slope * x),
                                                 lambda o, x, slope: (slope_at(o, x, slope, slope),),
                tex=r"\operatorname{{leaky}}_{{{1}}}({0})", composite=True, constants={"slope": 0.01},
                kink=lambda x, slope: x)
elu        = op("elu",        lambda x, alpha: where(gt(x, 0.0), x, alpha * expm1(x)),
                                                 lambda o, x, alpha: (slope_at(o, x, alpha * exp(x), alpha),),
                tex=r"\operatorname{{elu}}_{{{1}}}({0})", composite=True, constants={"alpha": 1.0},
                kink=lambda x, alpha: x)

selu       = op("selu",       lambda x: where(gt(x, 0.0), SELU * x, SELU_LEFT * expm1(x)),
                              lambda o, x: (nan_if(o, where(ge(x, 0.0), SELU, SELU_LEFT * exp(x))),),
                tex=r"\operatorname{{selu}} {0}", composite=True,
                kink=lambda x: x)

# selection
abs        = op("abs",        floats.abs,        lambda o, x: (sign(x),),
                tex=r"\left|{0}\right|", dunder="abs",
                kink=lambda x: x)
max        = op("max",        floats.max,        lambda o, *xs: ratios([eq(x, o) for x in xs]),  # ties share
                tex=r"\max({xs})",
                kink=lambda *xs: leads(xs), selects=True)
min        = op("min",        floats.min,        lambda o, *xs: ratios([eq(x, o) for x in xs]),
                tex=r"\min({xs})",
                kink=lambda *xs: leads([-x for x in xs]), selects=True)
clip       = op("clip",       floats.clip,       lambda o, x, low, high: (nan_if(o, within(x, low, high)),),
                tex=r"\operatorname{{clip}}_{{{1}}}^{{{2}}}({0})", constants={"low": None, "high": None},
                kink=lambda x, low, high: (x - low, x - high), selects=True)
clamp      = op("clamp",      lambda x, min, max: clip(x, min, max),
                                                 lambda o, x, min, max: (nan_if(o, within(x, min, max)),),
                tex=r"\operatorname{{clamp}}_{{{1}}}^{{{2}}}({0})", composite=True,
                constants={"min": -inf, "max": inf},
                kink=lambda x, min, max: (x - min, x - max), selects=True)
hardtanh   = op("hardtanh",   lambda x, low, high: clip(x, low, high),
                                                 lambda o, x, low, high: (nan_if(o, within(x, low, high)),),
                tex=r"\operatorname{{hardtanh}}_{{{1}}}^{{{2}}}({0})", composite=True,
                constants={"low": -1.0, "high": 1.0},
                kink=lambda x, low, high: (x - low, x - high), selects=True)
where      = op("where",      floats.where,      lambda o, c, x, y: (0.0, where(c, nan_if(o, 1.0), 0.0),
                                                                          where(c, 0.0, nan_if(o, 1.0))),
                tex=r"\left({1} \text{{ if }} {0} \text{{ else }} {2}\right)",
                kink=lambda c, x, y: c, selects=True)
take       = op("take",       floats.take,       lambda o, *xs: take_partials(xs),
                tex=r"\operatorname{{take}}({xs})", sign="take", selects=True,
                hint="the index is a whole number, from 0 to the number of rows less one")
nan_if     = op("nan_if",     floats.nan_if,     lambda o, r, d: (0.0, nan_if(r, 1.0)),
                tex="{1}")

# no derivative anywhere, the path ends here: by intention, and the steps, which are flat
stop_gradient = op("stop_gradient", lambda x: identity(x), None,
                tex=r"\operatorname{{stop}}({0})", composite=True)
gt         = op("gt",         floats.gt,         None,
                tex="[{0} > {1}]", sign=">",
                kink=lambda x, y: x - y)
ge         = op("ge",         floats.ge,         None,
                tex=r"[{0} \geq {1}]", sign="≥",
                kink=lambda x, y: x - y)
eq         = op("eq",         floats.eq,         None,
                tex="[{0} = {1}]", sign="=",
                kink=lambda x, y: x - y)
ne         = op("ne",         floats.ne,         None,
                tex=r"[{0} \neq {1}]", sign="≠",
                kink=lambda x, y: x - y)
sign       = op("sign",       floats.sign,       None,
                tex=r"\operatorname{{sign}} {0}",
                kink=lambda x: x)
step       = op("step",       floats.step,       None,
                tex="[{0} > 0]",
                kink=lambda x: x)
floor      = op("floor",      floats.floor,      None,
                tex=r"\lfloor {0} \rfloor", dunder="floor",
                kink=lambda x: sin(pi * x))
ceil       = op("ceil",       floats.ceil,       None,
                tex=r"\lceil {0} \rceil", dunder="ceil",
                kink=lambda x: sin(pi * x))
round      = op("round",      floats.round,      None,
                tex=r"\operatorname{{round}} {0}",
                kink=lambda x: cos(pi * x))
# fmt: on

TABLE = frozenset(OPS)
if not TYPE_CHECKING:  # a type checker takes every name above: it cannot read this list
    __all__ = ["OPS", "Op", "op", *OPS]


# --- parts of rules, in the same language -------------------------------------------------------------------


def dot_partials(xs: Sequence[Any]) -> tuple[Any, ...]:
    n = len(xs) // 2
    return (*xs[n : n + n], *xs[:n], 1.0) if len(xs) % 2 else (*xs[n:], *xs[:n])


def turns(o: Any, x: Any, y: Any) -> Any:
    """Minus the number of times that y was subtracted from x to leave o: the slope of the remainder by y.

    o / y is 1 where o is y: of x by rounding, and of an infinite y where inf / inf would be nan.
    """
    return neg(round(div(x, y) - where(eq(o, y), 1.0, div(o, y))))


def ratios(es: Sequence[Any]) -> tuple[Any, ...]:
    """The exponentials over their sum, which is 1 but for the rounding of o: at logits of 1e5, of 1e-11."""
    total = sum(*es)
    return tuple([div(e, total) for e in es])


def take_partials(xs: Sequence[Any]) -> tuple[Any, ...]:
    """1 by what is taken, and 0 by the index and all others."""
    return (0.0, *[eq(xs[0], float(k)) for k in range(len(xs) - 1)])[: len(xs)]


def leads(xs: Sequence[Any]) -> tuple[Any, ...]:
    """How far each number lies above the largest of the others: above 0 for the one that max selects."""
    before = [*accumulate(xs, max, initial=-inf)]
    after = [*accumulate(xs[::-1], max, initial=-inf)][::-1]
    return tuple([x - max(before[i], after[i + 1]) for i, x in enumerate(xs)])


def sine_of_turns(x: Any, quarters: int) -> Any:
    """sin(pi x + quarters pi / 2), with pi times no more than 1/2, so that it is 0 at whole numbers."""
    n = round(x)
    way, wave = (-1.0) ** (quarters // 2), cos if quarters % 2 else sin
    return way * (1.0 - 2.0 * abs(fmod(n, 2.0))) * wave(pi * (x - n))


def sinc_far(x: Any, order: int) -> Any:
    """A derivative of sinc away from 0: x f(n) + n f(n-1) = pi**(n-1) sin(pi x + n pi/2)."""
    f = sinc(x)
    for n in range(1, order + 1):
        f = div(pi ** (n - 1) * sine_of_turns(x, n) - float(n) * f, x)
    return f


def sinc_near(x: Any, order: int) -> Any:
    """A derivative of sinc from -1 to 1: the sum over k of (-1)**k pi**2k x**2k / (2k+1)!, term by term."""
    total, least = 0.0, (order + 1) // 2
    for k in range(least + 16, least - 1, -1):
        c = (-1) ** k * pi ** (2 * k) * perm(2 * k, order) / factorial(2 * k + 1)
        total = total * (x * x) + c
    return total * x if order % 2 else total


def within(x: Any, low: float, high: float) -> Any:
    return ge(x, low) * ge(high, x)


def over_squared(x: Any, h: Any) -> Any:
    """x / h**2, where h * h could overflow or vanish."""
    return div(div(x, h), h)


def normal_density(x: Any) -> Any:
    return ONE_OVER_SQRT_2PI * gauss(x, 0.5)


def slope_at(o: Any, x: Any, left: Any, left_at_0: float) -> Any:
    """The slope: 1 right of 0, and at 0 the one of least norm between the two sides (P2)."""
    return nan_if(o, where(gt(x, 0.0), 1.0, where(eq(x, 0.0), clip(left_at_0, 0.0, 1.0), left)))


def pow_y(o: Any, x: Any, y: Any) -> Any:
    """d(x**y)/dy: 0**y is flat for y >= 0."""
    return where(eq(x, 0.0) * ge(y, 0.0), 0.0, o * log(x))


def pow_xy(o: Any, x: Any, y: Any, order: float) -> Any:
    """d/dy of factor * x**(y-order), factor = y (y-1) ...: the product rule, once for each of its factors."""
    factor, ways = 1.0, 0.0
    for k in range(int(order)):
        factor, ways = factor * (y - float(k)), ways * (y - float(k)) + factor
    power = where(eq(factor, 0.0), pow(x, y - order), div(o, factor))  # y - order may be rounded
    return ways * power + where(eq(x, 0.0) * eq(o, 0.0), 0.0, o * log(x))


# --- every rule, read for floats ----------------------------------------------------------------------------
# A rule looks its operations up by name.  Here the same code gets a second dictionary to look in, where "exp"
# is the float function and not the operation that first asks what its operands are: one text, and a backward
# pass up to 1.7 times as fast (max, pow, hypot).  A composite value is read the same way.

FLOATS: dict[str, Any] = {name: it.value if isinstance(it, Op) else it for name, it in globals().items()}


def _for_floats(f: Any) -> Any:
    return FunctionType(f.__code__, FLOATS, f.__name__)


PARTS = (
    dot_partials,
    turns,
    ratios,
    take_partials,
    leads,
    sine_of_turns,
    sinc_far,
    sinc_near,
    within,
    over_squared,
    normal_density,
    slope_at,
    pow_y,
    pow_xy,
)
for _part in PARTS:
    FLOATS[_part.__name__] = _for_floats(_part)
for _row in OPS.values():
    _row.slopes = _row.partials and _for_floats(_row.partials)
    if _row.formula:
        FLOATS[_row.name] = _row.value = _for_floats(_row.formula)

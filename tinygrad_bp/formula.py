"""A formula that somebody typed, read without running any code.

`parse("tanh(w*x + b)")` accepts numbers, names, `+ - * / ** %`, parentheses and the operations of the table,
and nothing else: Python's parser gives the syntax tree, and a node that is not on the list is refused with
its position.  The text is measured before it is parsed, and a number becomes a float before any arithmetic,
so no formula can run for long: 9**9**9 is inf.
"""

import ast
import difflib
import keyword
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any, NoReturn

from tinygrad_bp.engine import Value
from tinygrad_bp.errors import TinygradError
from tinygrad_bp.floats import to_float
from tinygrad_bp.ops import OPS, TABLE

MOST_CHARACTERS = 2_000
MOST_NESTED = 50  # parentheses in parentheses, or operations in operations
SIGNS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
KNOWN = {name for name in TABLE if "order" not in OPS[name].constants}  # those loop as often as it says
LIST = "a formula has numbers, names, + - * / ** %, parentheses, and operations such as exp(x)"


class FormulaError(TinygradError, ValueError):
    """A text that is not a formula; says what is wrong with it, and where."""


class Formula:
    """A formula as a function of its names: called with a number or a Value for each, it builds the graph.

    >>> f = parse("tanh(w*x + b)")
    >>> f.names, f(w=0.5, x=2.0, b=-1.0).data
    (('w', 'x', 'b'), 0.0)
    """

    def __init__(self, text: str, tree: ast.expr) -> None:
        self.text = text
        self.tree = tree
        self.names = tuple(dict.fromkeys(_names(tree)))
        self.__name__ = text
        self.__signature__ = Signature([Parameter(x, Parameter.POSITIONAL_OR_KEYWORD) for x in self.names])

    def __call__(self, *numbers: Any, **named: Any) -> Any:
        """The value of the formula, as a Value; numbers are given in the order of `names`, or by name.

        Raises TypeError for a name that has no number, and for one that is not in the formula.
        """
        if len(numbers) > len(self.names):
            raise TypeError(f"{self.text} has {len(self.names)} names, got {len(numbers)} numbers")
        given = {**dict(zip(self.names, numbers)), **named}
        self.check_names(given)
        leaves = {n: x if isinstance(x, Value) else Value(x, label=n) for n, x in given.items()}
        result = _evaluate(self.tree, leaves)
        return result if isinstance(result, Value) else Value(result)

    def check_names(self, given: Iterable[str], all_needed: bool = True) -> None:
        """Raise TypeError for a name that is not in the formula, and for one that has no number."""
        for name in given:
            if name not in self.names:
                raise TypeError(f"{name!r} is not in {self.text}: {self._list_names()}")
        missing = [name for name in self.names if name not in given]
        if missing and all_needed:
            raise TypeError(f"give a number to {', '.join(missing)}: {' '.join(f'{n}=1.0' for n in missing)}")

    def _list_names(self) -> str:
        return f"its names are {', '.join(self.names)}" if self.names else "it has no names"

    def __repr__(self) -> str:
        return f"<formula {self.text}>"


def parse(text: str) -> Formula:
    """The formula that a text spells; at most 2,000 characters, nested at most 50 deep.

    Raises FormulaError for anything else, naming what and where it is.

    >>> parse("x.__class__")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tinygrad_bp.formula.FormulaError: '.' at character 2: a formula has numbers, names, + - * / ** %, ...
    """
    if not isinstance(text, str):
        raise FormulaError(f"a formula is text, such as 'tanh(w*x + b)', not {type(text).__name__}")
    if len(text) > MOST_CHARACTERS:
        raise FormulaError(f"the formula has {len(text):,} characters; {MOST_CHARACTERS:,} are the limit")
    if not text.strip():
        raise FormulaError("the formula is empty: write one such as 'tanh(w*x + b)'")
    _check_characters(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python remarks on 2(x): the check below says it better
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise FormulaError(f"this is not a formula ({error.msg}): {text.strip()}") from None
    except (ValueError, RecursionError, MemoryError):
        raise FormulaError("a number has too many digits, or the formula is nested too deeply") from None
    _check(tree, 1)
    return Formula(text.strip(), tree)


def _check_characters(text: str) -> None:
    depth = signs = 0
    for place, c in enumerate(text, 1):
        if not (c.isidentifier() or c.isdecimal() or c in "+-*/%()., =\t"):
            raise FormulaError(f"{c!a} at character {place}: {LIST}")
        depth += (c == "(") - (c == ")")
        signs = 0 if c not in "+- *\t" else signs + (c in "+-*")
        if max(depth, signs) > MOST_NESTED:
            raise FormulaError(f"at character {place}, it is nested deeper than {MOST_NESTED}, the limit")


def _check(node: ast.AST, depth: int) -> None:
    """Refuse every node that is not on the list."""
    left_deep = 0
    while isinstance(node, ast.BinOp) and type(node.op) in SIGNS:  # a + b + c + ...: a loop
        _check(node.right, depth + 1)
        node, left_deep = node.left, left_deep + 1
    if depth > MOST_NESTED:
        raise FormulaError(f"{_place_of(node)}, it is nested deeper than {MOST_NESTED}, the limit")
    match node:
        case ast.Constant(value=bool() | None) | ast.Constant(value=str() | bytes() | complex()):
            _refuse(node, repr(node.value))
        case ast.Constant(value=int() | float()):
            try:
                to_float(node.value)
            except ValueError:
                _refuse(node, "a number beyond 1.8e308")
        case ast.Name():
            if node.id.startswith("__") or keyword.iskeyword(node.id):
                _refuse(node, repr(node.id))
        case ast.BinOp(op=ast.Pow()):
            _check(node.left, depth + 1)
            _check(node.right, depth + 1)
        case ast.UnaryOp() if type(node.op) in SIGNS:
            _check(node.operand, depth + 1)
        case ast.Call(func=ast.Name()):
            _check_call(node, depth)
        case ast.Attribute():
            _refuse(node, "'.'", node.value.end_col_offset)
        case _:
            _refuse(node, _what(node))


def _check_call(node: ast.Call, depth: int) -> None:
    name = node.func.id  # type: ignore[attr-defined]
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, 1)
        hint = f"did you mean {near[0]}?" if near else f"write {name}*( ... ) for a product"
        raise FormulaError(f"{_place_of(node)}: there is no operation {name!r}: {hint}")
    row = OPS[name]
    for x in node.args:
        _check(x, depth + 1)
    operands, constants = row.operands, tuple(row.constants)
    if operands is None:
        if not node.args or node.keywords:
            raise FormulaError(f"{_place_of(node)}: {name} takes numbers or names, one or more")
        return
    for given in node.keywords:
        if given.arg not in constants:
            _refuse(node, f"{name}({given.arg}=...)" if given.arg else "**")
        _check(given.value, depth + 1)
    fixed = node.args[operands:]
    if len(node.args) < operands or len(fixed) > len(constants):
        wanted = ", ".join(["x", "y", "z"][:operands] + [f"{c}=..." for c in constants])
        raise FormulaError(f"{_place_of(node)}: {name} is written {name}({wanted})")
    for x in (*fixed, *(given.value for given in node.keywords)):
        if any(_names(x)):
            raise FormulaError(f"{_place_of(x)}: the constants of {name} are numbers, without names")
    known = {*constants[: len(fixed)], *(given.arg for given in node.keywords)}
    for constant in constants:
        if row.constants[constant] is None and constant not in known:
            raise FormulaError(f"{_place_of(node)}: {name} needs its constant: {name}(..., {constant}=0.1)")


def _evaluate(node: ast.AST, leaves: Mapping[str, Any]) -> Any:
    """The Value, or the float where no name takes part."""
    chain: list[ast.BinOp] = []
    while isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
        chain.append(node)
        node = node.left
    result: Any
    match node:
        case ast.Constant():
            result = to_float(node.value)
        case ast.Name():
            result = leaves[node.id]
        case ast.BinOp():  # a power
            result = _apply(operator.pow, _evaluate(node.left, leaves), _evaluate(node.right, leaves))
        case ast.UnaryOp():
            x = _evaluate(node.operand, leaves)
            result = x if isinstance(node.op, ast.UAdd) else _apply(SIGNS[type(node.op)], x)
        case ast.Call():
            row: Callable[..., Any] = OPS[node.func.id]  # type: ignore[attr-defined]
            constants = {str(k.arg): _evaluate(k.value, leaves) for k in node.keywords}
            result = row(*[_evaluate(x, leaves) for x in node.args], **constants)
    for outer in reversed(chain):
        result = _apply(SIGNS[type(outer.op)], result, _evaluate(outer.right, leaves))
    return result


def _apply(sign: Callable[..., Any], *xs: Any) -> Any:
    """Arithmetic as on Values: that of plain numbers follows IEEE 754 too, and does not raise."""
    if any(isinstance(x, Value) for x in xs):
        return sign(*xs)
    return sign(*map(Value, xs)).data


def _names(tree: ast.AST) -> list[str]:
    """The names of the numbers, in the order they are written in; those of operations are left out."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
    return [node.id for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))]


def _what(node: ast.AST) -> str:
    words = {ast.Compare: "a comparison", ast.Tuple: "','", ast.Starred: "'*'", ast.Call: "a call of that"}
    return words.get(type(node), type(node).__name__)


def _place(character: int) -> str:
    return f"at character {character}"


def _place_of(node: ast.AST) -> str:
    return _place(getattr(node, "col_offset", 0) + 1)


def _refuse(node: ast.AST, what: str, offset: int | None = None) -> NoReturn:
    place = _place_of(node) if offset is None else _place(offset + 1)
    raise FormulaError(f"{what} {place}: {LIST}")

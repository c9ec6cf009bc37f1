"""exp, log, log1p and tanh on vectors, without leaving them: within two units in the last place.

Each reduces its operand to a small one and sums a series there. Powers of two go in and out through the bits
of the floats.  What is written is what is computed, lane by lane, so a result does not depend on how many
lanes there are.
"""

from collections.abc import Callable, Sequence
from math import factorial, inf, nan

from tinygrad_bp.compiler.backends.llvm.text import Text, choose, compare
from tinygrad_bp.floats import SMALLEST

LOG2_E = 1.4426950408889634
LN2, LN2_REST = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # log 2: 32 bits of it, and the rest
LARGEST, LEAST = 710.0, -746.0  # beyond these e**x is inf, or 0
SHIFT, SHIFT_BITS = 6755399441055744.0, 0x4338000000000000  # 1.5 * 2**52: adding it rounds to an integer
ROOT_BITS = 0x3FE6A09E667F3BCD  # of sqrt(1/2)
FEW_PLACES = 8
EXPONENT = 52  # bits after it
EXP = [1.0 / factorial(n) for n in range(2, 14)]  # (e**r - 1 - r) / r**2, for |r| up to log(2)/2
ATANH = [2.0 / (2 * n + 1) for n in range(1, 12)]  # (2 atanh(s) - 2 s) / s**3, for |s| up to 0.172


def exp(text: Text, x: str) -> str:
    """e**x = 2**k * e**r, |r| <= log(2)/2."""
    return _called(text, _exp, x)


def tanh(text: Text, x: str) -> str:
    """-t / (t + 2) with t = e**(-2|x|) - 1, or far from 0: 1 - 2 e**(-2|x|) / (t + 2); and the sign of x."""
    return _called(text, _tanh, x)


def log(text: Text, x: str) -> str:
    """log(2**k * m) = k log 2 + 2 atanh((m - 1) / (m + 1)), m between sqrt(1/2) and sqrt(2)."""
    return _called(text, _log, x)


def log1p(text: Text, x: str) -> str:
    """log(u) + (x - (u - 1)) / u with u = 1 + x: what rounding took from u is given back."""
    return _called(text, _log1p, x)


def _called(text: Text, body: Callable[[Text, str], str], x: str) -> str:
    """Call a function of the module, written there once for each width."""
    wide = f"{body.__name__[1:]}.{text.width}"
    if wide not in text.declared:
        text.declared[wide] = ""  # taken
        inner = Text(text.width, text.declared)
        inner.do(f"ret {text.type} {body(inner, '%x')}")
        head = f"define internal {text.type} @{wide}({text.type} %x) noinline nounwind"
        text.declared[wide] = f"{head} {{\n{inner.body()}\n}}"
    return text.let(f"call {text.type} @{wide}({text.type} {x})")


def inline_where_few(declared: dict[str, str], texts: Sequence[str]) -> None:
    """Let those functions be written into their callers that are called from few places: constants then stay
    in registers."""
    for name, text in declared.items():
        places = sum(part.count(f"@{name}(") for part in (*texts, *declared.values())) - 1
        if not name.startswith("each.") and places <= FEW_PLACES:
            declared[name] = text.replace(" noinline ", " alwaysinline ", 1)


# --- instructions ------------------------------------------------------------------------------------------


def _fma(text: Text, a: str, b: str, c: str) -> str:
    return text.intrinsic("fma", [a, b, c])


def _do(text: Text, instruction: str, a: str, b: str) -> str:
    """On floats."""
    return text.let(f"{instruction} {text.type} {a}, {b}")


def _integer(text: Text, instruction: str, a: str, b: str | int) -> str:
    return text.let(f"{instruction} {text.ints} {a}, {text.integers(b) if isinstance(b, int) else b}")


def _bits(text: Text, x: str) -> str:
    return text.let(f"bitcast {text.type} {x} to {text.ints}")


def _float(text: Text, bits: str) -> str:
    return text.let(f"bitcast {text.ints} {bits} to {text.type}")


def _series(text: Text, coefficients: Sequence[float], x: str) -> str:
    """A polynomial in x by Estrin's scheme: pairs of terms, pairs of pairs, with x, x**2, x**4 ..."""
    terms = [text.constant(c) for c in coefficients]
    while True:
        paired = [_fma(text, b, x, a) for a, b in zip(terms[::2], terms[1::2])]
        terms = paired + terms[len(paired) * 2 :]
        if len(terms) == 1:
            return terms[0]
        x = _do(text, "fmul", x, x)


def _power_of_two(text: Text, k: str) -> str:
    """2**k for integers k of the normal floats."""
    return _float(text, _integer(text, "shl", _integer(text, "add", k, 1023), EXPONENT))


def _reduced(text: Text, x: str) -> tuple[str, str, str]:
    """k, r and rest: x = k log 2 + r + rest, k as integers, r small, and the rest what r was rounded by."""
    shift = text.constant(SHIFT)
    shifted = _fma(text, x, text.constant(LOG2_E), shift)  # its last bits are k, rounded
    k = _do(text, "fsub", shifted, shift)
    near = _fma(text, k, text.constant(-LN2), x)
    r = _fma(text, k, text.constant(-LN2_REST), near)
    rest = _fma(text, k, text.constant(-LN2_REST), _do(text, "fsub", near, r))
    return _integer(text, "sub", _bits(text, shifted), SHIFT_BITS), r, rest


# --- the functions -----------------------------------------------------------------------------------------


def _exp(text: Text, x: str) -> str:
    k, r, _ = _reduced(text, x)
    rest = _series(text, EXP, r)
    half = _integer(text, "ashr", k, 1)  # 2**k in two steps: it may be no float itself
    first, second = _power_of_two(text, half), _power_of_two(text, _integer(text, "sub", k, half))
    less_one = _fma(text, _do(text, "fmul", r, r), rest, r)
    e = _do(text, "fmul", _fma(text, less_one, first, first), second)
    e = choose(text, compare(text, "ogt", x, text.constant(LARGEST)), text.constant(inf), e)
    return choose(text, compare(text, "olt", x, text.constant(LEAST)), text.constant(0.0), e)


def _tanh(text: Text, x: str) -> str:
    y = _do(text, "fmul", text.intrinsic("fabs", [x]), text.constant(-2.0))
    y = choose(text, compare(text, "olt", y, text.constant(-80.0)), text.constant(-80.0), y)  # ±1 by then
    k, r, rest = _reduced(text, y)
    rest = _fma(text, _do(text, "fmul", r, r), _series(text, EXP, r), rest)  # e**r - 1 - r
    power = _power_of_two(text, k)
    whole, part = _do(text, "fsub", power, text.constant(1.0)), _do(text, "fmul", power, r)
    both = _do(text, "fadd", whole, part)
    lost = _do(text, "fsub", part, _do(text, "fsub", both, whole))
    t = _do(text, "fadd", both, _fma(text, rest, power, lost))
    far = compare(text, "olt", y, text.constant(-1.9))
    top = choose(
        text, far, _do(text, "fmul", _do(text, "fadd", t, text.constant(1.0)), text.constant(2.0)), t
    )
    part = _do(text, "fdiv", top, _do(text, "fadd", t, text.constant(2.0)))
    answer = choose(text, far, _do(text, "fsub", text.constant(1.0), part), part)
    return text.intrinsic("copysign", [answer, x])


def _log(text: Text, x: str) -> str:
    tiny = compare(text, "olt", x, text.constant(SMALLEST))
    normal = choose(text, tiny, _do(text, "fmul", x, text.constant(2.0**54)), x)
    bits = _bits(text, normal)
    k = _integer(text, "ashr", _integer(text, "sub", bits, ROOT_BITS), EXPONENT)
    m = _float(text, _integer(text, "sub", bits, _integer(text, "shl", k, EXPONENT)))
    f = _do(text, "fsub", m, text.constant(1.0))
    s = _do(text, "fdiv", f, _do(text, "fadd", m, text.constant(1.0)))
    z = _do(text, "fmul", s, s)
    half = _do(text, "fmul", _do(text, "fmul", f, text.constant(0.5)), f)
    # 2 s = f - s f, and s f = f**2/2 - s f**2/2: so f stands alone, and the rest is small beside it
    rest = _do(text, "fmul", s, _fma(text, z, _series(text, ATANH, z), half))
    count = _float(text, _integer(text, "add", k, SHIFT_BITS))
    count = _do(text, "fsub", count, text.constant(SHIFT))
    count = _do(text, "fsub", count, choose(text, tiny, text.constant(54.0), text.constant(0.0)))
    rest = _fma(text, count, text.constant(LN2_REST), rest)
    rest = _do(text, "fsub", half, rest)
    answer = _fma(text, count, text.constant(LN2), _do(text, "fsub", f, rest))
    answer = choose(text, compare(text, "oeq", x, text.constant(inf)), x, answer)
    answer = choose(text, compare(text, "oeq", x, text.constant(0.0)), text.constant(-inf), answer)
    return choose(text, compare(text, "oge", x, text.constant(0.0)), answer, text.constant(nan))


def _log1p(text: Text, x: str) -> str:
    u = _do(text, "fadd", x, text.constant(1.0))
    lost = _do(text, "fsub", x, _do(text, "fsub", u, text.constant(1.0)))
    near = _do(text, "fadd", log(text, u), _do(text, "fdiv", lost, u))
    far = log(text, x)  # 1 is nothing beside x, or x is not finite
    answer = choose(text, compare(text, "olt", x, text.constant(2.0**54)), near, far)
    answer = choose(text, compare(text, "oeq", x, text.constant(-1.0)), text.constant(-inf), answer)
    return choose(text, compare(text, "oeq", x, text.constant(0.0)), x, answer)

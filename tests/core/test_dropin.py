"""Code written for other engines, with only its import changed.

micrograd's README example, a module of tests as its users write them, its networks, seeds and names, and its
moons demo run here on both engines, micrograd 0.1.0 and this one, and must agree; so does a training loop in
the manner of microgpt. What differs on purpose is in the last test.
"""

import math
import random
from itertools import pairwise

import micrograd.engine
import micrograd.nn
import pytest

import tinygrad_bp.engine
import tinygrad_bp.nn
from tinygrad_bp import Value, data, exp, log

VALUES = [micrograd.engine.Value, tinygrad_bp.engine.Value]
MODULES = [micrograd.nn, tinygrad_bp.nn]


def test_the_readme_example():
    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    assert f"{g.data:.4f}" == "24.7041"
    g.backward()
    assert f"{a.grad:.4f}" == "138.8338"
    assert f"{b.grad:.4f}" == "645.5773"


# --- tests as users write them: a function of the Value class that is imported ------------------------------


def polynomial(Value):
    x = Value(-1.5)
    y = 3 * x**3 - 2 * x * x + x / 4 - 7
    y.backward()
    return y, x


def shared_nodes(Value):
    a, b = Value(0.75), Value(-2)
    c = a * b
    d = c + c * c - (c - a)
    (d * d + b).backward()
    return d, a, b


def reflected(Value):
    x = Value(2.5)
    y = 1 - x + (3 / x) * 2 - (-x) ** 3 + (4 + x) / (x - 1) + 2 * x
    y.backward()
    return y, x


def rectified(Value):
    inputs = [Value(v) for v in (-2.0, -0.5, 0.5, 3.0)]
    total = sum(v.relu() * (v + 1).relu() for v in inputs)
    total.backward()
    return total, *inputs


def negative_powers(Value):
    a, b = Value(1.7), Value(0.3)
    y = (a / b) ** -2 + b**0.5 + a**-1
    y.backward()
    return y, a, b


def integers(Value):
    a = Value(3)
    y = a * 2 + 1
    y.backward()
    return y, a


def accumulating(Value):
    a = Value(-2.0)
    for _ in range(3):  # graphs of their own, so that both engines add up to the same
        (a * a).backward()
    return (a,)


USES = [polynomial, shared_nodes, reflected, rectified, negative_powers, integers, accumulating]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_both_engines_give_the_same_numbers(use):
    theirs, ours = (use(number) for number in VALUES)
    assert [v.data for v in ours] == pytest.approx([v.data for v in theirs], rel=1e-14)
    assert [v.grad for v in ours] == pytest.approx([v.grad for v in theirs], rel=1e-14)


@pytest.mark.parametrize("use", [polynomial, rectified, integers], ids=lambda use: use.__name__)
def test_values_print_alike(use):
    """But for whole numbers, which are floats here."""
    theirs, ours = (use(number)[0] for number in VALUES)
    assert repr(ours) == repr(theirs).replace("data=7,", "data=7.0,").replace("grad=1)", "grad=1.0)")


def trace(root):
    """What micrograd's draw_dot collects before it draws."""
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    return nodes, edges


def test_its_drawing_code_finds_the_same_graph():
    drawn = []
    for number in VALUES:
        x, y = number(2.0), number(3.0)
        nodes, edges = trace(((x + y) * x).relu() ** 2)
        drawn.append((len(nodes), len(edges), sorted(v._op for v in nodes if v._op in ("+", "ReLU"))))
    assert drawn[0] == drawn[1]


# --- networks -----------------------------------------------------------------------------------------------

SHAPES = [(1, [1]), (2, [16, 16, 1]), (3, [4, 2]), (5, [2, 3, 3])]  # it has no hidden layer of one neuron


@pytest.mark.parametrize(("nin", "nouts"), SHAPES)
def test_a_seed_gives_the_same_network(nin, nouts):
    made, calls = [], []
    for nn in MODULES:
        random.seed(1337)
        model = nn.MLP(nin, nouts)
        made.append(([p.data for p in model.parameters()], random.random(), repr(model)))
        out = model([0.25 * i - 0.5 for i in range(nin)])
        out = out if isinstance(out, list) else [out]
        sum(v * (i + 1) for i, v in enumerate(out)).backward()
        calls.append([v.data for v in out] + [p.grad for p in model.parameters()])
    assert made[0] == made[1]  # bit for bit, and as many random numbers drawn
    assert calls[1] == pytest.approx(calls[0], rel=1e-12, abs=1e-15)


def test_neurons_and_layers_are_made_and_printed_alike():
    printed = []
    for nn in MODULES:
        random.seed(5)
        parts = [nn.Neuron(3), nn.Neuron(2, nonlin=False), nn.Neuron(2, False), nn.Layer(2, 3)]
        parts += [nn.Layer(2, 2, nonlin=False), nn.Layer(4, 1)]
        printed.append([(repr(part), [p.data for p in part.parameters()]) for part in parts])
    assert printed[0] == printed[1]


def test_one_output_is_a_value_and_more_are_a_list():
    assert isinstance(tinygrad_bp.nn.MLP(2, [3, 1])([1.0, 2.0]), Value)
    assert isinstance(tinygrad_bp.nn.Layer(2, 1)([1.0, 2.0]), Value)
    assert [type(v) for v in tinygrad_bp.nn.MLP(2, [2])([1.0, 2.0])] == [Value, Value]


def moons_demo(nn, Value, steps):
    """micrograd's demo notebook in small: max-margin loss, L2 penalty, falling rate."""
    random.seed(1337)
    model = nn.MLP(2, [8, 1])
    xs, ys = data.moons(40, noise=0.1, seed=3)
    history = []
    for k in range(steps):
        scores = [model(list(map(Value, x))) for x in xs]
        losses = [(1 + -yi * score).relu() for yi, score in zip(ys, scores)]
        data_loss = sum(losses) * (1.0 / len(losses))
        total = data_loss + 1e-4 * sum(p * p for p in model.parameters())
        accuracy = sum((yi > 0) == (score.data > 0) for yi, score in zip(ys, scores)) / len(ys)
        model.zero_grad()
        total.backward()
        rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data -= rate * p.grad
        history.append((total.data, accuracy))
    return history


def test_the_moons_demo_learns_as_with_micrograd():
    theirs, ours = (moons_demo(nn, number, 30) for nn, number in zip(MODULES, VALUES))
    assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in theirs], rel=1e-9)
    assert [accuracy for _, accuracy in ours] == [accuracy for _, accuracy in theirs]
    assert ours[-1][1] > max(ours[0][1], 0.85)
    assert ours[-1][0] < ours[0][0] / 2


# --- in the manner of microgpt ------------------------------------------------------------------------------


def softmax(logits):
    highest = max(v.data for v in logits)
    powers = [(v - highest).exp() for v in logits]
    total = sum(powers)
    return [p / total for p in powers]


def rmsnorm(x):
    mean_square = sum(xi * xi for xi in x) / len(x)
    scale = (mean_square + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def linear(x, w):
    return [sum(wi * xi for wi, xi in zip(row, x)) for row in w]


def next_letter_losses(steps):
    """A bigram model with a hidden layer, trained by Adam as microgpt's script is."""
    rng = random.Random(42)
    text = "abcabcaabbccabc"
    letters = sorted(set(text))

    def matrix(nout, nin):
        return [[Value(rng.gauss(0, 0.4)) for _ in range(nin)] for _ in range(nout)]

    state = {"wte": matrix(3, 4), "fc": matrix(8, 4), "head": matrix(3, 8)}
    params = [p for mat in state.values() for row in mat for p in row]
    m, v = [0.0] * len(params), [0.0] * len(params)
    history = []
    for step in range(steps):
        losses = []
        for now, following in pairwise(text):
            x = rmsnorm(state["wte"][letters.index(now)])
            x = [xi.relu() for xi in linear(x, state["fc"])]
            losses.append(-softmax(linear(x, state["head"]))[letters.index(following)].log())
        loss = (1 / len(losses)) * sum(losses)
        loss.backward()
        for i, p in enumerate(params):
            m[i] = 0.85 * m[i] + 0.15 * p.grad
            v[i] = 0.99 * v[i] + 0.01 * p.grad**2
            m_hat, v_hat = m[i] / (1 - 0.85 ** (step + 1)), v[i] / (1 - 0.99 ** (step + 1))
            p.data -= 0.05 * m_hat / (v_hat**0.5 + 1e-8)
            p.grad = 0
        history.append(loss.data)
    return history


def test_a_training_loop_as_in_microgpt():
    history = next_letter_losses(40)
    assert history[0] > 0.9
    assert history[-1] < 0.8  # the text's own entropy, letter after letter, is about 0.75
    assert next_letter_losses(3) == history[:3]


def test_grad_may_be_reset_to_the_integer_0():
    x = Value(3.0)
    (x * x).backward()
    x.grad = 0
    (x * x).backward()
    assert x.grad == 6.0


def test_functions_and_methods_are_the_same_operations():
    x = Value(0.5)
    assert (exp(x).data, log(x).data) == (x.exp().data, x.log().data)


# --- what differs on purpose --------------------------------------------------------------------------------


def test_where_micrograd_is_wrong_the_answer_is_right():
    def twice(Value):  # 4 is due for each pass
        a = Value(2.0)
        y = a * a * 1.0
        y.backward()
        y.backward()
        return a.grad

    def two_roots(Value):
        a = Value(2.0)
        shared = a * a
        (shared * 3.0).backward()
        (shared * 5.0).backward()
        return a.grad

    assert [twice(number) for number in VALUES] == [12.0, 8.0]
    assert [two_roots(number) for number in VALUES] == [44.0, 32.0]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("draw", "tg.draw"), ("numpy", "v.data"), ("requires_grad", "optimizer"), ("grad_fn", "v.inputs")],
)
def test_what_people_look_for_elsewhere_is_said(name, hint):
    with pytest.raises(AttributeError, match=rf"'Value' has no attribute '{name}': .*{hint}"):
        getattr(Value(1.0), name)


# --- what the lecture touches with its hands ----------------------------------------------------------------


def test_operations_are_called_as_micrograd_calls_them():
    for number in VALUES:
        a, b = number(2.0), number(3.0)
        assert [v._op for v in (a + b, a * b, a**2, a**-1, a**0.5, a.relu(), a)] == [
            "+", "*", "**2", "**-1", "**0.5", "ReLU", "",
        ]  # fmt: skip
    a, b = Value(2.0), Value(3.0)
    assert [v._op for v in (a - b, a / b, -a, a.tanh(), a.exp())] == ["-", "/", "-", "tanh", "exp"]


def test_backward_by_hand_node_by_node():
    """The lecture's middle act: set the root's gradient to 1, then call each node in turn."""
    for number in VALUES:
        a, b, c = number(2.0), number(-3.0), number(10.0)
        e = a * b
        d = e + c
        f = (d * a).relu()
        f.grad = 1.0
        for node in (f, f_in := next(iter(f._prev)), d, e, c, a):
            node._backward()
        assert (a.grad, b.grad, c.grad, d.grad, e.grad, f_in.grad) == (-2.0, 4.0, 2.0, 2.0, 2.0, 1.0)
    x = Value(-1.0)
    y = x.relu()
    y.grad = 1.0
    y._backward()
    assert x.grad == 0.0


def test_a_node_made_as_micrograd_makes_it():
    a, b = Value(2.0, label="a"), Value(3.0)
    for made, slopes in (
        (Value(6.0, (a, b), "*"), (3.0, 2.0)),
        (Value(-1.0, [a, b], "-"), (1.0, -1.0)),
        (Value(4.0, (a,), "**2", "o"), (4.0, 0.0)),
        (Value(2.0, (a,), "ReLU"), (1.0, 0.0)),
        (Value(5.0, (a, 3.0), "+"), (1.0, 0.0)),
        (
            Value((math.exp(4.0) - 1.0) / (math.exp(4.0) + 1.0), (a,), "tanh"),
            (1.0 / math.cosh(2.0) ** 2, 0.0),
        ),
    ):
        a.grad = b.grad = 0.0
        (made * 1.0).backward()
        assert (a.grad, b.grad) == pytest.approx(slopes, rel=1e-14)
    assert Value(4.0, (a,), "**2", "o").label == "o" and Value(1.0, (), "", "leaf").op is None
    assert Value(float("nan"), (Value(-1.0),), "log").op is not None


def test_a_node_that_no_operation_explains_is_refused():
    a, b = Value(2.0, label="a"), Value(3.0)
    with pytest.raises(
        ValueError, match=r"^Value\(7.0, operands, '\*'\): '\*' of 2.0 \(label 'a'\), 3.0 is 6.0$"
    ):
        Value(7.0, (a, b), "*")
    for sign in ("cube", "**x", "", "clip"):
        with pytest.raises(
            ValueError, match=r"the table has no such operation.*declare it, f = tg.op\('my_name'"
        ):
            Value(8.0, (a,), sign)
    with pytest.raises(AttributeError, match=r"_backward cannot be set.*tg.op\('my_name', lambda x: x\*\*3"):
        (a * b)._backward = lambda: None

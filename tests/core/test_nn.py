"""Neurons, layers and MLPs, and what every Module can do.

What a neuron computes and is made of; parameters with their labels, order and initialisers; state_dict,
load_state_dict and copy, which change nothing when they fail; names that modules print; and the texts for
wrong sizes, wrong numbers of inputs and unknown activations, which say which part of the model is meant.
"""

import math
import pickle
import random
import statistics

import pytest

import tinygrad_bp as tg
from tinygrad_bp import MLP, Layer, Module, Neuron, Value, nn
from tinygrad_bp.errors import CheckpointError


def made(*args, **kwargs):
    return MLP(*args, rng=random.Random(0), **kwargs)


# --- what is computed ---------------------------------------------------------------------------------------


def test_a_neuron_is_one_dot_and_one_activation():
    neuron = Neuron(3, act="tanh", weights=lambda rng, nin, nout: 0.5, biases=lambda rng, nin, nout: 0.25)
    out = neuron([1.0, Value(2.0), -4])
    assert out.data == pytest.approx(math.tanh(-0.25), rel=1e-15)
    assert out.op.name == "tanh"
    assert out.inputs[0].op.name == "dot"
    assert out.inputs[0].inputs[:3] == tuple(neuron.w)
    assert out.inputs[0].inputs[-1] is neuron.b


@pytest.mark.parametrize("options", [{"nonlin": False}, {"act": None}, {"nonlin": False, "act": "tanh"}])
def test_a_linear_neuron_is_the_dot_alone(options):
    assert Neuron(2, **options)([1.0, 2.0]).op.name == "dot"
    assert repr(Neuron(2, **options)) == "LinearNeuron(2)"


def test_activations_by_name_by_row_and_by_function():
    z = Value(-0.75)
    for act, expected in (
        ("relu", 0.0),
        ("leaky_relu", -0.0075),
        (tg.leaky_relu.at(0.2), -0.15),
        (tg.tanh, math.tanh(-0.75)),
        (lambda v: v * 2.0, -1.5),
        (abs, 0.75),
        ("sigmoid", 1 / (1 + math.exp(0.75))),
    ):
        neuron = Neuron(1, act=act, weights=lambda rng, nin, nout: 1.0)
        assert neuron([z]).data == pytest.approx(expected, rel=1e-14), act


def test_hidden_layers_and_the_last_have_activations_of_their_own():
    model = made(2, [3, 3, 1], act="sin", out_act="exp")
    out = model([0.5, -0.5])
    assert out.op.name == "exp"
    assert {x.op.name for x in out.inputs[0].inputs if x.op} == {"sin"}
    assert made(2, [3, 1])([0.5, -0.5]).op.name == "dot"  # none after the last


def test_an_mlp_is_its_layers_in_a_row():
    model = made(2, [3, 2], act="tanh")
    hidden = model.layers[0]([0.1, 0.2])
    assert [v.data for v in model([0.1, 0.2])] == [v.data for v in model.layers[1](hidden)]


def test_a_neuron_of_ones_own_is_called_as_it_is_written():
    class Doubled(Neuron):
        def __call__(self, x):
            return 2.0 * super().__call__(x)

    layer = Layer(2, 2, rng=random.Random(0))
    plain = layer([1.0, 2.0])
    layer.neurons = [Doubled(2, rng=random.Random(0)), layer.neurons[1]]
    layer.neurons[0].w = plain_weights = [Value(0.5), Value(0.25)]
    assert layer([1.0, 2.0])[0].data == 2.0 * sum(w.data * x for w, x in zip(plain_weights, [1.0, 2.0]))
    assert layer([1.0, 2.0])[1].data == plain[1].data


def test_a_hidden_layer_of_one_neuron():
    assert isinstance(made(2, [1, 1])([1.0, 2.0]), Value)
    assert len(made(2, [1, 3])([1.0, 2.0])) == 3


def test_inputs_may_be_values_that_get_a_gradient():
    x = [Value(0.5), Value(-0.25)]
    model = made(2, [4, 1], act="tanh")
    model(x).backward()
    assert [v.grad for v in x] == pytest.approx(tg.grad(lambda x: model(x))([0.5, -0.25]), rel=1e-15)
    assert all(v.grad for v in x)


# --- parameters ---------------------------------------------------------------------------------------------


def test_parameters_are_labelled_with_their_path():
    names = [name for name, _ in made(2, [2, 1]).named_parameters()]
    assert names == [
        *(f"layers.0.neurons.{i}.{part}" for i in range(2) for part in ("w.0", "w.1", "b")),
        *("layers.1.neurons.0.w.0", "layers.1.neurons.0.w.1", "layers.1.neurons.0.b"),
    ]
    assert [p.label for p in made(2, [2, 1]).parameters()] == names
    assert [p.label for p in Layer(1, 2).parameters()] == [
        "neurons.0.w.0",
        "neurons.0.b",
        "neurons.1.w.0",
        "neurons.1.b",
    ]
    assert [p.label for p in Neuron(1).parameters()] == ["w.0", "b"]


def test_labels_grow_with_the_module_and_leave_names_of_yours():
    class Pair(Module):
        def __init__(self):
            self.left, self.right = Neuron(1), Neuron(1)
            self.scale = Value(1.0, label="scale factor")
            self.shift = Value(2.0)
            self.label_parameters()

    assert [p.label for p in Pair().parameters()] == [
        *("left.w.0", "left.b", "right.w.0", "right.b"),
        *("scale factor", "shift"),
    ]


def test_parameters_are_found_in_lists_dicts_and_modules_and_once():
    shared = Value(1.0)

    class Odd(Module):
        def __init__(self):
            self.first = shared
            self.nest = [[Value(2.0)], (Value(3.0), shared), {"key": Value(4.0)}]
            self.neuron = Neuron(1, bias=False)
            self.parent = self  # a circle
            self.size, self.name, self.nothing = 5, "odd", None
            self.result = shared * 2.0  # of an operation: no parameter

    names = [name for name, _ in Odd().named_parameters()]
    assert names == ["first", "nest.0.0", "nest.1.0", "nest.2.key", "neuron.w.0"]


def test_without_biases():
    model = made(2, [3, 1], bias=False)
    assert len(model.parameters()) == 9
    assert model.layers[0].neurons[0].b is None
    assert model([0.0, 0.0]).data == 0.0


def test_zero_grad_sets_all_gradients_to_0():
    model = made(2, [3, 1], act="tanh")
    model([1.0, 2.0]).backward()
    assert all(p.grad for p in model.parameters()[-4:])
    model.zero_grad()
    assert [p.grad for p in model.parameters()] == [0.0] * 13


@pytest.mark.parametrize(
    ("weights", "mean", "std"),
    [
        (nn.uniform(), 0.0, 1 / math.sqrt(3)),
        (nn.uniform(1.0, 3.0), 2.0, 1 / math.sqrt(3)),
        (nn.normal(0.2), 0.0, 0.2),
        (nn.he(), 0.0, math.sqrt(2 / 50)),
        (nn.xavier(), 0.0, math.sqrt(2 / (50 + 40))),
        (nn.zeros(), 0.0, 0.0),
    ],
)
def test_initialisers_have_their_mean_and_deviation(weights, mean, std):
    layer = Layer(50, 40, weights=weights, biases=nn.zeros(), rng=random.Random(1))
    numbers = [w.data for n in layer.neurons for w in n.w]
    assert statistics.fmean(numbers) == pytest.approx(mean, abs=0.06)
    assert statistics.pstdev(numbers) == pytest.approx(std, rel=0.05)
    assert [n.b.data for n in layer.neurons] == [0.0] * 40


def test_weights_and_biases_are_initialised_apart():
    model = made(2, [3, 1], weights=nn.zeros(), biases=nn.uniform(5.0, 6.0))
    for name, p in model.named_parameters():
        assert 5.0 <= p.data <= 6.0 if name.endswith(".b") else p.data == 0.0


def test_xavier_keeps_its_limit():
    limit = math.sqrt(6.0 / 5.0)
    numbers = [p.data for _ in range(50) for p in Layer(2, 3, weights=nn.xavier(), bias=False).parameters()]
    assert 0.9 * limit < max(map(abs, numbers)) <= limit


def test_a_generator_of_ones_own_leaves_the_global_one_alone():
    before = random.getstate()
    first, second = made(2, [3, 1]), made(2, [3, 1])
    assert random.getstate() == before
    assert first.state_dict() == second.state_dict()


# --- state --------------------------------------------------------------------------------------------------


def test_state_goes_from_one_model_to_another():
    first, second = made(2, [3, 1]), MLP(2, [3, 1], rng=random.Random(9))
    state = first.state_dict()
    assert list(state) == [name for name, _ in first.named_parameters()]
    assert all(type(number) is float for number in state.values())
    assert second.state_dict() != state
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert second([1.0, 2.0]).data == first([1.0, 2.0]).data


def test_loading_makes_older_graphs_stale():
    model = made(1, [1])
    out = model([1.0])
    model.load_state_dict(dict.fromkeys(model.state_dict(), 2.0))
    with pytest.raises(tg.StaleGraphError):
        out.backward()


BAD_STATES = {
    "missing": (lambda s: s.pop("layers.0.neurons.1.b"), r"layers\.0\.neurons\.1\.b is missing"),
    "unknown": (lambda s: s.update(extra=1.0), "extra is unknown to the model"),
    "text": (lambda s: s.update({"layers.1.neurons.0.b": "abc"}), r"layers\.1\.neurons\.0\.b: .*'abc'"),
    "list": (lambda s: s.update({"layers.1.neurons.0.b": [1.0]}), r"layers\.1\.neurons\.0\.b: .*list"),
    "huge": (
        lambda s: s.update({"layers.1.neurons.0.b": 10**400}),
        r"layers\.1\.neurons\.0\.b: .*beyond the floats",
    ),
    "empty": (lambda s: s.clear(), "and 8 more"),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_state_that_does_not_fit_changes_nothing(case):
    spoil, told = BAD_STATES[case]
    model = made(2, [3, 1])
    before = model.state_dict()
    state = {path: number + 1.0 for path, number in before.items()}
    spoil(state)
    with pytest.raises(
        CheckpointError, match=f"does not fit MLP: .*{told}.*with the shape it was saved from"
    ):
        model.load_state_dict(state)
    assert model.state_dict() == before


def test_what_is_no_state_is_refused_by_name():
    model = made(1, [1])
    for state in (None, [1.0, 2.0], 3.0, "abc"):
        with pytest.raises((TypeError, CheckpointError), match="state_dict"):
            model.load_state_dict(state)


def test_a_copy_is_independent():
    model = made(2, [3, 1], act="tanh", out_act=tg.leaky_relu.at(0.3))
    twin = model.copy()
    assert twin.state_dict() == model.state_dict()
    assert [p.label for p in twin.parameters()] == [p.label for p in model.parameters()]
    assert repr(twin) == repr(model)
    assert twin([1.0, 2.0]).data == model([1.0, 2.0]).data
    for p in twin.parameters():
        p.data = 0.0
    assert all(p.data for p in model.parameters() if ".w." in p.label)
    assert twin([1.0, 2.0]).data == 0.0


def test_a_copy_keeps_ties():
    class Tied(Module):
        def __init__(self):
            self.first = Neuron(2)
            self.second = self.first

    twin = Tied().copy()
    assert twin.first is twin.second
    assert len(twin.parameters()) == 3


@pytest.mark.parametrize("act", ["relu", "tanh", "leaky_relu", tg.elu.at(0.5), tg.sigmoid])
def test_a_model_is_pickled(act):
    """As multiprocessing does; only a lambda as activation cannot be."""
    model = made(2, [3, 1], act=act)
    twin = pickle.loads(pickle.dumps(model))
    assert twin.state_dict() == model.state_dict()
    assert twin([1.0, -2.0]).data == model([1.0, -2.0]).data
    assert repr(twin) == repr(model)


# --- how modules print --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("relu", "ReLUNeuron(2)"),
        ("tanh", "TanhNeuron(2)"),
        ("sigmoid", "SigmoidNeuron(2)"),
        ("leaky_relu", "Leaky_ReluNeuron(2)"),
        (tg.relu, "ReLUNeuron(2)"),
        (tg.elu.at(0.5), "EluNeuron(2)"),
        (abs, "AbsNeuron(2)"),
        (None, "LinearNeuron(2)"),
    ],
)
def test_a_neuron_prints_its_activation(act, told):
    assert repr(Neuron(2, act=act)) == told


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [Neuron, lambda n: Layer(n, 1), lambda n: Layer(1, n), lambda n: MLP(n, [1])]
)
@pytest.mark.parametrize("size", [0, -1, 2.0, "2", None])
def test_a_size_that_is_none(make, size):
    with pytest.raises(ValueError, match=r"n(in|out) is a whole number from 1 up, not "):
        make(size)


@pytest.mark.parametrize("nouts", [[], 3, None, (i for i in (2, 1))])
def test_layer_sizes_that_are_none(nouts):
    with pytest.raises(ValueError, match=r"MLP: nouts is the list of layer sizes, such as \[16, 16, 1\]"):
        MLP(2, nouts)


@pytest.mark.parametrize("nouts", [[3, 0], [2.5], ["a"], "ab"])
def test_a_layer_size_that_is_none(nouts):
    with pytest.raises(ValueError, match=r"whole number from 1 up|list of layer sizes"):
        MLP(2, nouts)


@pytest.mark.parametrize("act", ["rleu", "", "gt", "where", "sum", 3])
def test_an_unknown_activation(act):
    for make in (
        lambda: Neuron(2, act=act),
        lambda: MLP(2, [2, 1], act=act),
        lambda: MLP(2, [1], out_act=act),
    ):
        with pytest.raises(ValueError, match=r"unknown activation .*; the table has .*relu.*tanh"):
            make()


def test_an_activation_that_lacks_its_constants():
    for act in ("clip", tg.clip, "powc"):
        with pytest.raises((ValueError, TypeError), match=r"clip|powc"):
            Neuron(2, act=act)


@pytest.mark.parametrize("wrong", [[], [1.0], [1.0, 2.0, 3.0]])
def test_the_wrong_number_of_inputs_names_the_part(wrong):
    model, n = made(2, [2, 1]), len(wrong)
    for part, told in (
        (model, "Layer 'layers.0'"),
        (model.layers[1], "Layer 'layers.1'"),
        (model.layers[0].neurons[1], "Neuron 'layers.0.neurons.1'"),
        (Neuron(2), "Neuron"),
        (Layer(2, 2), "Layer"),
        (Layer(2, 2).neurons[1], "Neuron 'neurons.1'"),
    ):
        with pytest.raises(ValueError, match=f"^{told} takes 2 inputs, got {n}$"):
            part(wrong)


@pytest.mark.parametrize("wrong", [1.0, Value(1.0), "ab", None, iter([1.0, 2.0])])
def test_inputs_that_are_no_list(wrong):
    for part in (Neuron(2), Layer(2, 1), made(2, [1])):
        with pytest.raises(TypeError, match=r"takes a list of 2 numbers, not "):
            part(wrong)


@pytest.mark.parametrize("wrong", [["a", 1.0], [None, 1.0], [[1.0], 2.0], [1j, 1.0]])
def test_inputs_that_are_no_numbers(wrong):
    for part in (Neuron(2), Layer(2, 1), made(2, [1])):
        with pytest.raises(TypeError, match="one real number"):
            part(wrong)


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0]] * 3, [(1.0, 2.0), (3.0, 4.0)]])
def test_a_batch_of_rows_is_refused_with_the_loop_to_write(rows):
    message = (
        f"Layer 'layers.0' takes one sample, a list of 2 numbers, not a list of {len(rows)} rows: "
        "write [model(row) for row in rows]"
    )
    with pytest.raises(TypeError) as caught:
        MLP(2, [3, 1])(rows)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(2, [1], seed=7), "MLP has no 'seed': write rng=random.Random(7)"),
        (lambda: Layer(2, 1, seed=7), "Neuron has no 'seed': write rng=random.Random(7)"),
        (
            lambda: MLP(2, [1], outact="tanh"),
            "MLP has no 'outact': did you mean 'out_act' or 'act'? "
            "(it takes nin, nouts, act, out_act, bias, weights, biases, rng)",
        ),
        (
            lambda: Neuron(2, activation="tanh"),
            "Neuron has no 'activation' (it takes nin, nonlin, act, bias, weights, biases, rng, nout)",
        ),
    ],
)
def test_a_keyword_that_does_not_exist(make, message):
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value) == message

"""Which operations of a graph are one neuron at work, told from the labels of its parameters.

A parameter "layers.0.neurons.3.w.1" says whose it is, and so does an operation on parameters of one neuron,
and the activation behind it.  A model called on ten samples has ten applications of each neuron, and each is
a box of its own, since a box over all of them could reach itself.  nodes.py draws these boxes as single nodes
when a graph is large.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from tinygrad_bp.engine import Value

Place = tuple[str, ...]  # the layer and the neuron, by their paths; () is nowhere


def place(label: str) -> Place:
    """Whose parameter a leaf of this label is: its layer and its neuron; () for any other label.

    >>> place("layers.0.neurons.3.w.1"), place("neurons.2.b"), place("w.1"), place("total loss")
    (('layers.0', 'layers.0.neurons.3'), ('neurons', 'neurons.2'), (), ())
    """
    parts = label.split(".")
    while parts and parts[-1].isdecimal():
        parts.pop()
    if len(parts) < 2 or not all(part.isidentifier() or part.isdecimal() for part in parts):
        return ()
    owner = layer = parts[:-1]
    while layer and layer[-1].isdecimal():
        layer = layer[:-1]
    if 1 < len(layer) < len(owner):
        layer = layer[:-1]  # the list that the neurons are in
    return (".".join(layer or owner), ".".join(owner))


@dataclass(eq=False)
class Application:
    """A neuron at work on one sample: its operations, the parameters in them, and what comes from outside."""

    place: Place
    members: list[Value] = field(default_factory=list)
    parameters: set[Value] = field(default_factory=set)
    activated: bool = False  # the operation behind its sum is in it

    def operands(self) -> Iterable[Value]:
        """What it takes from outside, but for parameters, which stand for themselves."""
        taken = [x for v in self.members for x in v.inputs if x not in self.parameters]
        members = {*self.members}
        return [x for x in taken if x not in members and (x.op or not place(x.label))]


def applications(inner: Sequence[Value]) -> list[Application]:
    """The applications of neurons among these operations, which come oldest first."""
    consumers = Counter(x for v in inner for x in set(v.inputs))
    places = {x: place(x.label) for v in inner for x in v.inputs if x.op is None and x.label}
    home: dict[Value, Application] = {}
    for v in inner:
        parameters = {x for x in v.inputs if places.get(x)}
        owners = {places[x] for x in parameters}
        mates = list(dict.fromkeys(home[x] for x in v.inputs if x in home))
        if len(owners) == 1:
            (owner,) = owners
            mates = [mate for mate in mates if mate.place == owner]
            if not _fit(mates, parameters):
                mates = []
            app = _merged(mates, home) if mates else Application(owner)
            app.parameters |= parameters
        elif not owners and mates and all(x in home for x in v.inputs) and not v.label:
            if len(mates) > 1:  # w0 * x0 + w1 * x1, and not the sum over two samples
                if len({mate.place for mate in mates}) > 1 or not _fit(mates, set()):
                    continue
            elif len(v.inputs) > 1 or consumers[v.inputs[0]] > 1 or mates[0].activated:
                continue
            app = _merged(mates, home)
            app.activated = app.activated or len(v.inputs) == 1
        else:
            continue
        app.members.append(v)
        home[v] = app
    return list(dict.fromkeys(home.values()))


def _fit(mates: Sequence[Application], parameters: set[Value]) -> bool:
    """Whether these are parts of one application: not activated yet, and no parameter is in two of them."""
    largest, *others = sorted([parameters, *(mate.parameters for mate in mates)], key=len, reverse=True)
    rest = set().union(*others)
    alone = len(rest) == sum(map(len, others)) and rest.isdisjoint(largest)
    return alone and not any(mate.activated for mate in mates)


def _merged(mates: Sequence[Application], home: dict[Value, Application]) -> Application:
    """One application with what they all hold: the largest takes in the others."""
    largest, *others = sorted(mates, key=lambda mate: -len(mate.members))
    for other in others:
        for v in other.members:
            home[v] = largest
        largest.members += other.members
        largest.parameters |= other.parameters
    return largest


@dataclass(eq=False)
class Box:
    """Operations that are drawn as one, oldest first."""

    place: Place
    members: list[Value]


def boxes(found: Sequence[Application], level: str) -> list[Box]:
    """One box for each application of a neuron, or of a layer: its neurons that take the same operands.

    What takes parameters alone, as a penalty on weights does, is one box for each neuron or layer.
    """
    made: dict[Hashable, Box] = {}
    for i, app in enumerate(found):
        operands = frozenset(app.operands())
        key: Hashable = (app.place[level == "neuron"], operands)
        if level == "neuron" and operands:
            key = i
        made.setdefault(key, Box(app.place, [])).members.extend(app.members)
    for box in made.values():
        box.members.sort(key=lambda v: v.number)
    return list(made.values())

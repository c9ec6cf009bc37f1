"""A GPT on scalars learns to make up names: one layer, 16 wide, four heads, every number a Value.

The model and its training are those of Karpathy's microgpt: each step is on one name, by Adam. It prints the
mean loss on names that it has not seen, beside that of a table of pairs of letters, and names that it makes
up; and saves the loss and what each head looks at as a picture.

    python demos/gpt.py --iterations 5000 --seed 0 --output demos/out/gpt.png
"""

import math
import random

from shared import options, save_picture

import tinygrad_bp as tg
from tinygrad_bp import nn

WIDTH, HEADS, BLOCK = 16, 4, 16
BATCH, RATE, BETAS = 1, 0.01, (0.85, 0.99)
LINES, SAMPLES, TEMPERATURE = 10, 20, 0.5


def gpt(tokens: int, rng: random.Random) -> nn.Sequential:
    """From the tokens of a text to the logits of the token after each of them."""

    def layer(nin: int, nout: int, act: str | None = None) -> nn.Each:
        return nn.Each(nn.Layer(nin, nout, act=act, bias=False, weights=small, rng=rng))

    small = nn.normal(0.08)
    norm = nn.Each(nn.RMSNorm(WIDTH, gain=False))
    return nn.Sequential(
        nn.Embedding(tokens, WIDTH, weights=small, rng=rng),
        nn.Positions(BLOCK, WIDTH, weights=small, rng=rng),
        norm,
        nn.Residual(nn.Sequential(norm, nn.Attention(WIDTH, HEADS, weights=small, rng=rng))),
        nn.Residual(nn.Sequential(norm, layer(WIDTH, 4 * WIDTH, "relu"), layer(4 * WIDTH, WIDTH))),
        layer(WIDTH, tokens),
    )


def main() -> None:
    chosen = options(__doc__, "gpt", iterations=5000, seed=0)
    train, test = tg.data.split(tg.data.names())
    characters = tg.data.Characters(train + test)
    model = gpt(len(characters), random.Random(chosen.seed))
    parameters = model.parameters()
    print(f"{len(parameters)} parameters, {len(train)} names, seed {chosen.seed}")

    adam = tg.optim.Adam(parameters, tg.schedules.linear(RATE, chosen.iterations), betas=BETAS)
    loss = tg.losses.SequenceLoss(tg.losses.cross_entropy)
    history = tg.fit(
        model, pairs(train, characters), loss, adam, steps=chosen.iterations, batch_size=BATCH, reduce="mean",
        validation=pairs(test, characters), every=chosen.iterations,
    )  # fmt: skip
    each = max(1, chosen.iterations // LINES)
    for i in range(0, chosen.iterations, each):
        losses = history.losses[i : i + each]
        print(f"step {i:6}   loss {sum(losses) / len(losses):9.6f}")
    print(f"{history.seconds:.2f} s in {history.engine}")
    unseen, table = history.validation[-1][1], bigram_loss(train, test)
    print(f"loss on {len(test)} unseen names {unseen:.4f}, of a table of pairs {table:.4f}")
    rng = random.Random(chosen.seed)
    names = [made_up(model, characters, rng) for _ in range(SAMPLES)]
    print(", ".join(names))
    save_picture(lambda: picture(model, characters, history.losses, table, names[0]), chosen.output)


def pairs(names: list[str], characters: tg.data.Characters) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of each name behind a 0, and as targets the token that follows each."""
    encoded = [[0, *characters.encode(name), 0] for name in names]
    return [tokens[:-1] for tokens in encoded], [tokens[1:] for tokens in encoded]


def made_up(model: nn.Sequential, characters: tg.data.Characters, rng: random.Random) -> str:
    """A name drawn from the model, letter by letter."""
    tokens = [0]
    while len(tokens) < BLOCK:
        with tg.no_grad():
            logits = model(tokens)[-1]
        weights = tg.softmax([x.data / TEMPERATURE for x in logits])
        tokens += rng.choices(range(len(characters)), weights)
        if not tokens[-1]:
            break
    return characters.decode(tokens)


def bigram_loss(train: list[str], test: list[str]) -> float:
    """The mean loss of a name by how often each letter followed the one before it; no pair counts 0."""
    counts: dict[tuple[str, str], int] = {}
    for name in train:
        for pair in zip(f".{name}", f"{name}."):
            counts[pair] = counts.get(pair, 0) + 1
    letters = {letter for pair in counts for letter in pair}
    rows = {a: [counts.get((a, b), 0) + 1 for b in letters] for a in letters}
    totals = {a: sum(row) for a, row in rows.items()}
    losses: list[float] = []
    for name in test:
        parts = [(counts.get((a, b), 0) + 1) / totals[a] for a, b in zip(f".{name}", f"{name}.")]
        losses.append(-sum(map(math.log, parts)) / len(parts))
    return sum(losses) / len(losses)


def picture(
    model: nn.Sequential, characters: tg.data.Characters, losses: list[float], table: float, name: str
) -> object:
    """The loss, and what each head looks at in a name."""
    from tinygrad_bp.show import plotting

    figure, axes = plotting.side_by_side(1 + HEADS, width=15.0, height=3.4)
    smooth = max(1, len(losses) // 50)
    means = [sum(losses[i : i + smooth]) / smooth for i in range(len(losses) - smooth + 1)]
    plotting.loss_curve(means, axes[0], label=f"mean of {smooth} steps")
    axes[0].axhline(table, color=plotting.DATA, linestyle="--", label="table of pairs, unseen names")
    axes[0].set_yscale("linear")
    axes[0].legend(frameon=False)
    attention = next(part for _, part in model.modules() if isinstance(part, nn.Attention))
    embed, positions, norm = model.parts[:3]
    seen = norm(norm(positions(embed([0, *characters.encode(name)]))))
    plotting.attention_maps(attention.maps(seen), f".{name}", axes[1:])
    return figure


if __name__ == "__main__":
    main()

"""The recipes of docs/trainers.md for flax and Equinox, as they stand there: `make trainers-equinox`.

There is no loss of preferences in either; DPO's own formula in jax, on log-softmax of all logits, stands for the trainer's own.
"""

import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import poz
import poz.reference

PAGE = Path(__file__).parents[2] / "docs/trainers.md"
FLAX, EQUINOX = re.findall(
    r"```python\n(.*?)```", PAGE.read_text().split("## flax and Equinox")[1].split("\n## ")[0], re.S
)
V, D = 29, 8
FLOAT32 = 1e-5
SIDES = ("chosen", "rejected")


def arrays(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return [jax.random.normal(key, shape) for key, shape in zip(keys, ((V, D), (D, D), (V, D)), strict=True)]


class Flax(nnx.Module):
    def __init__(self):
        self.embedding, self.layer, self.head = map(nnx.Param, arrays())

    def hidden(self, ids):
        return jnp.tanh(self.embedding[...][ids] @ self.layer[...])


class Equinox(eqx.Module):
    embedding: jax.Array
    layer: jax.Array
    head: jax.Array

    def hidden(self, ids):
        return jnp.tanh(self.embedding[ids] @ self.layer)


def batch(rows=slice(8)):
    """Eight pairs, a prompt of two tokens and completions of one to four; log-probs of a reference."""
    rng = np.random.default_rng(1)
    ids, lengths, ref = rng.integers(0, V, (2, 8, 6)), rng.integers(1, 5, (2, 8)), -9 * rng.random((2, 8))
    mask = (np.arange(6) >= 2) & (np.arange(6) < 2 + lengths[..., None])
    return {
        "ids": jnp.asarray(ids[:, rows].reshape(-1, 6)),
        "mask": jnp.asarray(mask[:, rows].reshape(-1, 6)),
        "ref_logps": jnp.asarray(ref[:, rows].reshape(-1), jnp.float32),
    }


def by_flax(objective, batches, every=1):
    """Losses, and how far the weights moved."""
    space = {"objective": objective}
    exec(FLAX.replace("poz.simpo.bind(beta=2.0)", "objective"), space)
    model = Flax()
    optimizer = nnx.Optimizer(model, optax.MultiSteps(optax.sgd(0.01), every), wrt=nnx.Param)
    losses = [float(space["step"](model, optimizer, each)["loss"]) for each in batches]
    return losses, [model.embedding[...], model.layer[...], model.head[...]]


def by_equinox(objective, batches, every=1):
    space = {}
    exec(EQUINOX, space)
    model, optimizer, losses = Equinox(*arrays()), optax.MultiSteps(optax.sgd(0.01), every), []
    state = optimizer.init(model)
    for each in batches:
        model, state, value = space["step"](model, state, each, objective, optimizer)
        losses.append(float(value))
    return losses, [model.embedding, model.layer, model.head]


LIBRARIES = {"flax": by_flax, "equinox": by_equinox}
every_library = pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)


def sums(weights, each):
    """(2 * batch,) summed log-probs by log-softmax of all logits, and the number of tokens."""
    embedding, layer, head = weights
    logits = jnp.tanh(embedding[each["ids"]] @ layer)[:, :-1] @ head.T
    logps = jnp.take_along_axis(jax.nn.log_softmax(logits), each["ids"][:, 1:, None], -1)[..., 0]
    return (logps * each["mask"][:, 1:]).sum(1), each["mask"][:, 1:].sum(1)


def plain_dpo(weights, each, beta):
    chosen, rejected = (sums(weights, each)[0] - each["ref_logps"]).reshape(2, -1)
    return -jax.nn.log_sigmoid(beta * (chosen - rejected)).mean()


@every_library
def test_dpo_and_its_gradient_are_the_formulas(library, agree, fact):
    data, weights, losses = [batch()] * 3, arrays(), []
    for each in data:
        value, slopes = jax.value_and_grad(plain_dpo)(weights, each, 0.3)
        losses.append(float(value))
        weights = [x - 0.01 * slope for x, slope in zip(weights, slopes, strict=True)]
    found = library(poz.dpo.bind(beta=0.3), data)
    agree("own", found[0], losses, FLOAT32)
    moved = [[x - first for x, first in zip(final, arrays(), strict=True)] for final in (found[1], weights)]
    scale = max(float(jnp.abs(x).max()) for x in moved[1])
    agree("own", [x / scale for x in moved[0]], [x / scale for x in moved[1]], 1e-4)  # differences of float32 weights
    assert losses[2] < losses[0]
    fact(f"losses of dpo in three steps, {library.__name__[3:]}", [round(x, 4) for x in found[0]])


@every_library
@pytest.mark.parametrize(
    ("name", "hyper"),
    [("simpo", {"beta": 2.0, "gamma": 1.0}), ("ipo", {"tau": 0.2}), ("mnpo", {"eta": 0.5, "tau": 0.1})],
)
def test_others_are_their_references(name, hyper, library, agree):
    total, count = (np.float64(x).reshape(2, -1) for x in sums(arrays(), batch()))
    ref = np.float64(batch()["ref_logps"]).reshape(2, -1)
    fields = dict(zip(SIDES, total, strict=True))
    if name == "simpo":
        fields |= {f"{side}_len": n for side, n in zip(SIDES, count, strict=True)}
    else:
        fields |= {f"ref_{side}": x for side, x in zip(SIDES, ref, strict=True)}
    data = batch()
    if name == "mnpo":
        others = {f"opponents_{side}": x[None] for side, x in zip(SIDES, ref, strict=True)}
        fields |= others
        data["fields"] = {field: jnp.asarray(x, jnp.float32) for field, x in others.items()}
    expected, _ = getattr(poz.reference, name)(**fields, **hyper)
    agree("reference", library(poz.zoo[name].bind(**hyper), [data])[0], [expected.mean()], FLOAT32)


@every_library
@pytest.mark.parametrize("objective", [poz.dpo, poz.simpo], ids=["dpo", "simpo"])
def test_eight_batches_of_one_are_two_of_four(objective, library, agree):
    moves = []
    for size in (1, 4):
        parts = [batch(slice(i, i + size)) for i in range(0, 8, size)]
        moves.append([x - first for x, first in zip(library(objective, parts, len(parts))[1], arrays(), strict=True)])
    scale = max(float(jnp.abs(x).max()) for x in moves[1])
    assert scale > 1e-5
    agree("accumulation", *[[x / scale for x in move] for move in moves], 1e-3)  # differences of float32 weights


@every_library
def test_a_policy_that_is_its_reference_has_margin_0(library, agree):
    own = batch()
    own["ref_logps"], _ = sums(arrays(), own)
    (loss,), _ = library(poz.dpo, [own])
    agree("start", loss, np.log(2.0), 1e-6)  # log-softmax and the head's passes round differently

"""A tiny flax model, our fused log-probs on its hidden states, and any objective: it trains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import poz
from poz.jax import linear_logps, train_step

VOCABULARY, WIDTH, TOKENS, PAIRS = 29, 16, 6, 8


class TinyModel(nnx.Module):
    """Embeddings, one layer and a head: the next token from this one."""

    def __init__(self, rngs):
        self.embedding = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
        self.layer = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.head = nnx.Param(0.1 * jax.random.normal(rngs.params(), (VOCABULARY, WIDTH)))

    def logps(self, ids):
        """(rows, tokens) -> (rows, tokens - 1) log-probs of the next token."""
        hidden = jnp.tanh(self.layer(self.embedding(ids)))
        return linear_logps(hidden[:, :-1], self.head[...], ids[:, 1:])


def rows():
    """Chosen completions end in one token, rejected ones in another."""
    rng = np.random.default_rng(0)
    chosen, rejected = (rng.integers(4, VOCABULARY, (PAIRS, TOKENS)) for _ in range(2))
    chosen[:, 1:], rejected[:, 1:] = 1, 2
    return {"chosen": jnp.asarray(chosen), "rejected": jnp.asarray(rejected)}


def pairs_of(model, data):
    tokens = [model.logps(data[side]) for side in ("chosen", "rejected")]
    zero = jnp.zeros(PAIRS)
    return poz.Pairs.from_tokens(*tokens, ref_chosen=zero - 3.0, ref_rejected=zero - 3.0)


def token_pairs_of(model, data):
    return poz.TokenPairs(*[model.logps(data[side]) for side in ("chosen", "rejected")])


@pytest.mark.parametrize(
    ("objective", "batch_of"),
    [(poz.dpo, pairs_of), (poz.simpo, pairs_of), (poz.ipo.bind(tau=0.2), pairs_of), (poz.cpl, token_pairs_of)],
    ids=["dpo", "simpo", "ipo", "cpl"],
)
def test_it_trains(objective, batch_of):
    model = TinyModel(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-2), wrt=nnx.Param)
    step = train_step(objective, batch_of)
    data = rows()
    history = [step(model, optimizer, data) for _ in range(25)]
    first, last = history[0], history[-1]
    assert last["loss"] < 0.7 * first["loss"]
    assert last["margin"] > first["margin"] + 1
    assert last["accuracy"] == 1


def ranked_of(model, data):
    logps = jnp.stack([model.logps(data[side]).sum(-1) for side in ("chosen", "rejected")], -1)
    lengths = jnp.full((PAIRS, 2), TOKENS - 1)
    return poz.Ranked(logps=logps, lengths=lengths, scores=jnp.tile(jnp.array([1.0, 0.0]), (PAIRS, 1)))


def test_lists_train_too_and_have_no_margin():
    model = TinyModel(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-2), wrt=nnx.Param)
    step = train_step(poz.pro, ranked_of)
    history = [step(model, optimizer, rows()) for _ in range(25)]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert set(history[-1]) == {"loss"}


def test_a_step_is_the_mean_loss_and_its_gradient_by_hand():
    """One step of plain gradient descent against jax.grad of the unfused formula."""
    data, rate = rows(), 0.1
    model, by_hand = TinyModel(nnx.Rngs(1)), TinyModel(nnx.Rngs(1))

    def dense(current):
        tokens = []
        for side in ("chosen", "rejected"):
            hidden = jnp.tanh(current.layer(current.embedding(data[side])))[:, :-1]
            table = jax.nn.log_softmax(hidden @ current.head[...].T)
            tokens.append(jnp.take_along_axis(table, data[side][:, 1:, None], -1)[..., 0].sum(-1))
        return jnp.mean(-jax.nn.log_sigmoid(0.1 * (tokens[0] - tokens[1])))

    loss, slopes = nnx.jit(nnx.value_and_grad(dense))(by_hand)
    metrics = train_step(poz.dpo, pairs_of)(model, nnx.Optimizer(model, optax.sgd(rate), wrt=nnx.Param), data)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    moved = jax.tree.map(lambda p, g: p - rate * g, nnx.state(by_hand, nnx.Param), slopes)
    for ours, theirs in zip(jax.tree.leaves(nnx.state(model, nnx.Param)), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)  # float32, sums of a few hundred terms


def test_only_what_the_optimizer_picks_is_trained():
    model = TinyModel(nnx.Rngs(2))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.All(nnx.Param, nnx.PathContains("layer")))
    head, embedding = model.head[...], model.embedding.embedding[...]
    layer = jax.tree.leaves(nnx.state(model.layer, nnx.Param))
    train_step(poz.dpo, pairs_of)(model, optimizer, rows())
    assert jnp.array_equal(head, model.head[...])
    assert jnp.array_equal(embedding, model.embedding.embedding[...])
    moved = jax.tree.leaves(nnx.state(model.layer, nnx.Param))
    assert not any(jnp.array_equal(x, y) for x, y in zip(layer, moved, strict=True))


def test_errors_of_denoising_are_no_margins():
    """Denoising errors are lower where better, and no metric of log-probs fits them."""

    class Scale(nnx.Module):
        def __init__(self):
            self.by = nnx.Param(jnp.ones(()))

    model = Scale()
    data = poz.Denoising(jnp.asarray([1.0, 1.0, 3.0]), jnp.full(3, 2.0), jnp.ones(3), jnp.ones(3))
    step = train_step(
        poz.diffusion_dpo.bind(beta=1.0), lambda model, data: data._replace(chosen=data.chosen * model.by[...])
    )
    assert set(step(model, nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param), data)) == {"loss"}

"""JAX's fused log-probs against the dense formula in float64 NumPy, on one device and on eight."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import poz
from poz.jax import linear_logps

ROWS, WIDTH, VOCABULARY = 37, 12, 211


def inputs(dtype=np.float32, rows=ROWS, vocabulary=VOCABULARY, seed=0):
    """Peaked logits, standard deviation about 6; every third row is ignored, one target is the last token."""
    rng = np.random.default_rng(seed)
    hidden = jnp.asarray(rng.normal(size=(rows, WIDTH)), dtype)
    weight = jnp.asarray(rng.normal(size=(vocabulary, WIDTH)) * 6 / WIDTH**0.5, dtype)
    targets = rng.integers(0, vocabulary, rows)
    targets[1] = vocabulary - 1
    targets[::3] = -100
    return hidden, weight, jnp.asarray(targets)


def dense(hidden, weight, targets, upstream, bias=None, temperature=1.0, logit_scale=1.0, softcap=None):
    """Log-probs, entropy, and the gradients of sum(upstream * log-probs), by hand, float64."""
    h, w = np.asarray(hidden, np.float64), np.asarray(weight, np.float64)
    x = logit_scale * (h @ w.T + (0 if bias is None else np.asarray(bias, np.float64)))
    bend = np.ones_like(x)
    if softcap is not None:
        bend = 1 - np.tanh(x / softcap) ** 2
        x = softcap * np.tanh(x / softcap)
    z = x / temperature
    log_p = z - (z.max(1) + np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)))[:, None]
    taken = np.asarray(targets) >= 0
    safe = np.where(taken, targets, 0)
    logps = np.where(taken, log_p[np.arange(len(h)), safe], 0)
    entropy = np.where(taken, -(np.exp(log_p) * log_p).sum(1), 0)
    slope = -np.exp(log_p)
    slope[np.arange(len(h)), safe] += 1
    slope *= (taken * np.asarray(upstream))[:, None] * bend * logit_scale / temperature
    return logps, entropy, slope @ w, slope.T @ h, slope.sum(0)


OPTIONS = {
    "plain": {},
    "temperature": {"temperature": 0.7},
    "scale and cap": {"logit_scale": 1.3, "softcap": 9.0},
    "bias": {"bias": np.linspace(-1, 1, VOCABULARY).astype(np.float32)},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("memory", ["1GiB", "smallest"])
def test_values_and_gradients_are_those_of_the_dense_formula(options, memory):
    hidden, weight, targets = inputs()
    settings = dict(OPTIONS[options])
    upstream = np.linspace(-1, 1, ROWS)
    if memory == "smallest":
        memory = _smallest(hidden, weight, targets) if "softcap" not in settings else "1MiB"
    bias = settings.pop("bias", None)

    def total(h, w, b):
        logps = linear_logps(h, w, targets, bias=b, memory=memory, **settings)
        return (logps * upstream.astype(np.float32)).sum(), logps

    leaves = (hidden, weight, None if bias is None else jnp.asarray(bias))
    which = (0, 1) if bias is None else (0, 1, 2)
    slopes, logps = jax.jit(jax.grad(total, argnums=which, has_aux=True))(*leaves)
    expected = dense(hidden, weight, targets, upstream, bias, **settings)
    # float32: logits of size 30 carry 2e-6; gradients are sums of 37 or 211 such terms.
    np.testing.assert_allclose(logps, expected[0], rtol=2e-6, atol=1e-5)
    for ours, theirs in zip(slopes, expected[2:], strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def _smallest(hidden, weight, targets):
    """The least memory that works with gradients, which the error for too little names."""
    with pytest.raises(ValueError, match="smallest") as caught:
        jax.grad(lambda h, w: linear_logps(h, w, targets, memory=1).sum(), (0, 1))(hidden, weight)
    return str(caught.value).split("'")[-2]


def test_log_probs_have_the_same_bits_whatever_needs_a_gradient():
    hidden, weight, targets = inputs(rows=700, seed=3)
    plain = linear_logps(hidden, weight, targets)
    for which in (0, (0, 1)):
        _, logps = jax.grad(lambda h, w: (lambda x: (x.sum(), x))(linear_logps(h, w, targets)), which, has_aux=True)(
            hidden, weight
        )
        np.testing.assert_array_equal(plain, logps)


def test_policy_equal_to_reference_has_margin_zero_and_loss_log_two():
    hidden, weight, targets = inputs()
    policy = jax.jit(lambda h: linear_logps(h, weight, targets))(hidden).sum(keepdims=True)
    reference = jax.jit(lambda h: linear_logps(h, weight, targets))(hidden).sum(keepdims=True)
    losses = poz.dpo(poz.Pairs(policy, 0 * policy, reference, 0 * policy))
    np.testing.assert_array_equal(losses, np.float32(np.log(2)))


def test_a_frozen_head_gives_the_same_gradient_of_the_hidden_states():
    hidden, weight, targets = inputs()
    frozen = jax.jit(jax.grad(lambda h: linear_logps(h, jax.lax.stop_gradient(weight), targets).sum()))(hidden)
    np.testing.assert_allclose(frozen, dense(hidden, weight, targets, np.ones(ROWS))[2], rtol=1e-4, atol=2e-5)


def test_entropy_and_its_gradient():
    hidden, weight, targets = inputs()

    def entropy(h):
        return linear_logps(h, weight, targets, outputs=("logps", "entropy")).entropy

    def by_hand(h):
        p = jax.nn.softmax(h @ weight.T)
        return jnp.where(targets >= 0, -(p * jax.nn.log_softmax(h @ weight.T)).sum(1), 0.0)

    np.testing.assert_allclose(entropy(hidden), dense(hidden, weight, targets, np.ones(ROWS))[1], rtol=1e-5, atol=1e-5)
    ours, theirs = (jax.grad(lambda h, f=f: f(h).sum())(hidden) for f in (entropy, by_hand))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_bf16_log_probs_are_those_of_float64_on_the_same_inputs():
    hidden, weight, targets = inputs(jnp.bfloat16, rows=256, vocabulary=1000)
    logps = np.asarray(linear_logps(hidden, weight, targets), np.float64)
    error = logps - dense(hidden.astype(jnp.float32), weight.astype(jnp.float32), targets, np.ones(256))[0]
    assert np.sqrt(np.mean(error**2)) <= 1e-5


def test_nothing_takes_part():
    hidden, weight, _ = inputs()
    none = jnp.full(ROWS, -100)
    slopes, logps = jax.grad(lambda h, w: (lambda x: (x.sum(), x))(linear_logps(h, w, none)), (0, 1), has_aux=True)(
        hidden, weight
    )
    assert not np.any(logps)
    assert not any(np.any(slope) for slope in slopes)


def test_nan_in_one_row_stays_there():
    hidden, weight, targets = inputs()
    poisoned = hidden.at[4].set(jnp.nan)
    logps = np.asarray(linear_logps(poisoned, weight, targets))
    assert np.isnan(logps[4])
    assert np.isfinite(np.delete(logps, 4)).all()


def test_leading_dimensions_and_vmap():
    hidden, weight, targets = inputs(rows=36)
    flat = linear_logps(hidden, weight, targets)
    shaped = linear_logps(hidden.reshape(4, 9, WIDTH), weight, targets.reshape(4, 9))
    np.testing.assert_array_equal(shaped.reshape(-1), flat)
    mapped = jax.vmap(lambda h, t: linear_logps(h, weight, t))(hidden.reshape(4, 9, WIDTH), targets.reshape(4, 9))
    np.testing.assert_allclose(mapped.reshape(-1), flat, rtol=1e-6, atol=1e-6)  # another shape of matrix product


BAD = {
    "softcap": ({"softcap": 0.0}, ValueError, "softcap"),
    "temperature": ({"temperature": 0.0}, ValueError, "temperature"),
    "memory text": ({"memory": "lots"}, ValueError, "'lots'"),
    "memory": ({"memory": 1}, ValueError, "smallest"),
    "outputs": ({"outputs": ("logits",)}, ValueError, "logits"),
    "precision": ({"precision": "exactly"}, ValueError, "exactly"),
    "target": ({"targets": jnp.full(ROWS, VOCABULARY)}, ValueError, str(VOCABULARY)),
    "negative target": ({"targets": jnp.full(ROWS, -1)}, ValueError, "-1"),
    "target shape": ({"targets": jnp.zeros(3, int)}, ValueError, "targets"),
    "target dtype": ({"targets": jnp.zeros(ROWS)}, TypeError, "targets"),
    "weight shape": ({"weight": jnp.zeros((VOCABULARY, WIDTH + 1))}, ValueError, "weight"),
    "weight dtype": ({"weight": jnp.zeros((VOCABULARY, WIDTH), jnp.bfloat16)}, TypeError, "bfloat16"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    hidden, weight, targets = inputs()
    given, kind, word = BAD[case]
    given = dict(given)
    with pytest.raises(kind, match=word) as caught:
        linear_logps(hidden, given.pop("weight", weight), given.pop("targets", targets), **given)
    assert str(caught.value).endswith(".")


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh
from poz.jax import linear_logps
assert jax.device_count() == 8
rng = np.random.default_rng(0)
hidden = jnp.asarray(rng.normal(size=(8, 10, 16)), jnp.float32)
weight = jnp.asarray(2 * rng.normal(size=(96, 16)), jnp.float32)
targets = np.asarray(rng.integers(0, 96, (8, 10)))
targets[:, ::4] = -100
targets = jnp.asarray(targets)
up = jnp.asarray(rng.normal(size=(8, 10)), jnp.float32)
def total(h, w, **where):
    logps = linear_logps(h, w, targets, **where)
    return (logps * up).sum(), logps
alone, logps = jax.jit(jax.grad(total, (0, 1), has_aux=True))(hidden, weight)
for shape in ((2, 4), (8, 1), (1, 8)):
    mesh = Mesh(np.array(jax.devices()).reshape(shape), ("data", "vocabulary"))
    where = dict(mesh=mesh, data_axis="data", vocabulary_axis="vocabulary")
    slopes, spread = jax.jit(jax.grad(lambda h, w: total(h, w, **where), (0, 1), has_aux=True))(hidden, weight)
    np.testing.assert_allclose(spread, logps, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(slopes, alone):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
"""


def test_eight_devices_agree_with_one():
    """Data and vocabulary axes, and either alone; float32 sums in another order."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-P", "-c", SHARDED], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]

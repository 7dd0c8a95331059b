"""JAX's fused log-probs against the dense formula in float64 NumPy, on one device and on eight."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import poz
from poz._memory import bytes_of
from poz.jax import linear_logps, linear_logps_plan
from poz.jax.head import plan as plans

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


# LLVM's optimisations take longer than such small arrays are worth.
UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def compiled(function, *arrays):
    """Its results, from one program."""
    return jax.jit(function).lower(*arrays).compile(compiler_options=UNOPTIMISED)(*arrays)


OPTIONS = {
    "plain": {},
    "temperature": {"temperature": 2.0},
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
    slopes, logps = compiled(jax.grad(total, argnums=which, has_aux=True), *leaves)
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
    plain = jax.jit(linear_logps)(hidden, weight, targets)
    for which in (0, (0, 1)):
        gradient = jax.grad(lambda h, w: (lambda x: (x.sum(), x))(linear_logps(h, w, targets)), which, has_aux=True)
        np.testing.assert_array_equal(plain, jax.jit(gradient)(hidden, weight)[1])


def test_policy_equal_to_reference_has_margin_zero_and_loss_log_two():
    hidden, weight, targets = inputs()
    policy, reference = (
        compiled(lambda h: linear_logps(h, weight, targets), hidden).sum(keepdims=True) for _ in range(2)
    )
    losses = poz.dpo(poz.Pairs(policy, 0 * policy, reference, 0 * policy))
    np.testing.assert_array_equal(losses, np.float32(np.log(2)))


def test_a_frozen_head_gives_the_same_gradient_of_the_hidden_states():
    hidden, weight, targets = inputs()
    frozen = compiled(jax.grad(lambda h: linear_logps(h, jax.lax.stop_gradient(weight), targets).sum()), hidden)
    np.testing.assert_allclose(frozen, dense(hidden, weight, targets, np.ones(ROWS))[2], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("rows", "vocabulary"), [(4, 10), (37, 211)]
)  # with logits that could wait for the weight, and not
def test_a_bias_alone_may_be_trained(rows, vocabulary):
    hidden, weight, targets = inputs(rows=rows, vocabulary=vocabulary)
    upstream, bias = np.linspace(-1, 1, rows, dtype=np.float32), jnp.linspace(-1, 1, vocabulary)
    expected = dense(hidden, weight, targets, upstream, bias)

    def total(h, b):
        return (linear_logps(h, weight, targets, bias=b) * upstream).sum()

    by_hidden, by_bias = compiled(jax.grad(total, (0, 1)), hidden, bias)
    np.testing.assert_allclose(by_hidden, expected[2], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(by_bias, expected[4], rtol=1e-4, atol=2e-5)
    np.testing.assert_array_equal(by_bias, compiled(jax.grad(total, 1), hidden, bias))


def test_entropy_and_its_gradient():
    hidden, weight, targets = inputs()

    def entropy(h):
        return linear_logps(h, weight, targets, outputs=("logps", "entropy")).entropy

    def by_hand(h):
        p = jax.nn.softmax(h @ weight.T)
        return jnp.where(targets >= 0, -(p * jax.nn.log_softmax(h @ weight.T)).sum(1), 0.0)

    np.testing.assert_allclose(
        compiled(entropy, hidden), dense(hidden, weight, targets, np.ones(ROWS))[1], rtol=1e-5, atol=1e-5
    )
    ours, theirs = (compiled(jax.grad(lambda h, f=f: f(h).sum()), hidden) for f in (entropy, by_hand))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_target_that_is_far_from_the_others_adds_no_entropy():
    """Nine tokens at 0 and a target at -200 nats, whose probability is 0 in float32: log 9."""
    weight = jnp.zeros((10, 2)).at[3, 0].set(-200.0)
    found = linear_logps(jnp.ones((1, 2)), weight, jnp.array([3]), outputs=("logps", "entropy"))
    np.testing.assert_allclose(found.entropy, np.log(9), rtol=1e-6)
    np.testing.assert_allclose(found.logps, -200 - np.log(9), rtol=1e-6)


def test_a_token_that_nothing_comes_near_leaves_no_entropy():
    """A thousand nats above all others, in the first of three tiles: what the others have is lost to underflow."""
    weight = np.zeros((3000, 4), np.float32)
    weight[5, 0], weight[:, 1] = 1000, np.linspace(-1, 1, 3000)
    hidden, targets = jnp.ones((2, 4)).at[1, 1].set(0), jnp.array([5, 5])
    found = linear_logps(hidden, jnp.asarray(weight), targets, outputs=("logps", "entropy"))
    np.testing.assert_array_equal(found.entropy, 0)


def test_the_ends_of_their_integers_may_be_the_ignored_index():
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 4), (9, 4))]
    for index in (-(2**31), 2**31 - 1):
        made = jax.eval_shape(functools.partial(linear_logps, ignore_index=index), *shapes, jnp.full(2, index))
        assert made.shape == (2,)


def test_bf16_log_probs_are_those_of_float64_on_the_same_inputs():
    hidden, weight, targets = inputs(jnp.bfloat16, rows=256, vocabulary=1000)
    logps = np.asarray(compiled(linear_logps, hidden, weight, targets), np.float64)
    error = logps - dense(hidden.astype(jnp.float32), weight.astype(jnp.float32), targets, np.ones(256))[0]
    assert np.sqrt(np.mean(error**2)) <= 1e-5


def test_nothing_takes_part():
    hidden, weight, _ = inputs()
    none = jnp.full(ROWS, -100)
    gradient = jax.grad(lambda h, w: (lambda x: (x.sum(), x))(linear_logps(h, w, none)), (0, 1), has_aux=True)
    slopes, logps = compiled(gradient, hidden, weight)
    assert not np.any(logps)
    assert not any(np.any(slope) for slope in slopes)


def test_nan_in_one_row_stays_there():
    hidden, weight, targets = inputs()
    poisoned = hidden.at[4].set(jnp.nan)
    logps = np.asarray(compiled(linear_logps, poisoned, weight, targets))
    assert np.isnan(logps[4])
    assert np.isfinite(np.delete(logps, 4)).all()
    for which in (0, (0, 1)):
        gradient = jax.grad(lambda h, w: linear_logps(h, w, targets).sum(), which)
        of_hidden = np.asarray(jax.tree.leaves(compiled(gradient, poisoned, weight))[0])
        assert np.isnan(of_hidden[4]).all()
        assert np.isfinite(np.delete(of_hidden, 4, 0)).all()


def test_leading_dimensions_and_vmap():
    hidden, weight, targets = inputs(rows=36)
    cut = hidden.reshape(4, 9, WIDTH), weight, targets.reshape(4, 9)
    flat, shaped = compiled(linear_logps, hidden, weight, targets), compiled(linear_logps, *cut)
    np.testing.assert_array_equal(shaped.reshape(-1), flat)
    mapped = compiled(jax.vmap(linear_logps, (0, None, 0)), *cut)
    np.testing.assert_allclose(mapped.reshape(-1), flat, rtol=1e-6, atol=1e-6)  # another shape of matrix product


BAD = {
    "softcap": ({"softcap": 0.0}, ValueError, "softcap"),
    "negative softcap": ({"softcap": -30.0}, ValueError, "-30"),
    "temperature": ({"temperature": 0.0}, ValueError, "temperature"),
    "endless temperature": ({"temperature": float("inf")}, ValueError, "inf"),
    "bias shape": ({"bias": jnp.zeros(3)}, ValueError, "bias"),
    "a list": ({"weight": [[0.0] * WIDTH]}, TypeError, "list"),
    "memory text": ({"memory": "lots"}, ValueError, "'lots'"),
    "memory": ({"memory": 1}, ValueError, "smallest"),
    "outputs": ({"outputs": ("logits",)}, ValueError, "logits"),
    "no outputs": ({"outputs": None}, ValueError, "None"),
    "tiny temperature": ({"temperature": 1e-300}, ValueError, "float32 does not hold"),
    "huge temperature": ({"temperature": 10**400}, ValueError, "float32 does not hold"),
    "huge scale": ({"logit_scale": 1e300}, ValueError, "float32 does not hold"),
    "huge index": ({"ignore_index": 2**40}, ValueError, "must be a number of int32"),
    "no mesh": ({"mesh": 3}, TypeError, "jax.sharding.Mesh"),
    "an axis twice": (
        {"mesh": jax.make_mesh((1,), ("data",)), "data_axis": ("data", "data")},
        ValueError,
        "different ones",
    ),
    "precision": ({"precision": "exactly"}, ValueError, "exactly"),
    "target": ({"targets": jnp.full(ROWS, VOCABULARY)}, ValueError, str(VOCABULARY)),
    "negative target": ({"targets": jnp.full(ROWS, -1)}, ValueError, "-1"),
    "target over a mesh": (
        {"targets": jnp.full(ROWS, VOCABULARY), "mesh": jax.make_mesh((1,), ("data",)), "data_axis": "data"},
        ValueError,
        str(VOCABULARY),
    ),
    "target shape": ({"targets": jnp.zeros(3, int)}, ValueError, "targets"),
    "target dtype": ({"targets": jnp.zeros(ROWS)}, TypeError, "targets"),
    "weight shape": ({"weight": jnp.zeros((VOCABULARY, WIDTH + 1))}, ValueError, "weight"),
    "axis without a mesh": ({"vocabulary_axis": "model"}, ValueError, "shard_map"),
    "temperature under jit": ({"temperature": jnp.ones(())}, TypeError, "temperature"),
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


@pytest.fixture
def fine(monkeypatch):
    """Blocks of 8 rows and tiles of 16 tokens, so that small arrays have many of both, and a rest."""
    monkeypatch.setattr(plans, "CPU", plans.Grain(rows=8, tile=16, multiple=4, share=1e9))


# rows, hidden, vocabulary, dtype, memory -> mode, and which of lodged, kept and made again there are
CUTS = {
    "all kept beside and lodged": (40, 12, 211, "float32", "1GiB", "keep", (True, True, False)),
    "part kept": (40, 12, 211, "float32", 30_000, "part", (True, True, True)),
    "part lodged": (40, 12, 211, "float32", "smallest", "part", (True, False, True)),
    "all lodged": (24, 40, 130, "float32", "1GiB", "keep", (True, False, False)),
    "lodged as bits": (24, 40, 130, "bfloat16", "1GiB", "keep", (True, True, False)),
    "strips of eight tiles": (40, 4, 270, "float32", "1GiB", "keep", (True, True, False)),
    "strips of eight tiles, made again": (40, 4, 270, "float32", "smallest", "part", (True, False, True)),
    "one token of one": (1, 1, 1, "float32", "1GiB", "keep", (False, True, False)),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.usefixtures("fine")
def test_every_way_of_keeping_logits(cut):
    rows, width, vocabulary, dtype, memory, mode, ways = CUTS[cut]
    rng = np.random.default_rng(7)
    hidden = jnp.asarray(rng.normal(size=(rows, width)), dtype)
    weight = jnp.asarray(rng.normal(size=(vocabulary, width)) * 6 / width**0.5, dtype)
    targets = rng.integers(0, vocabulary, rows)
    targets[-1] = vocabulary - 1
    targets[1::4] = -100
    upstream = rng.normal(size=rows).astype(np.float32)
    if memory == "smallest":
        memory = _smallest(hidden, weight, jnp.asarray(targets))
    plan = linear_logps_plan(hidden, weight, memory=memory)
    again = plan.tiles * plan.blocks - plan.lodged - plan.kept
    assert (plan.mode, (plan.lodged > 0, plan.kept > 0, again > 0)) == (mode, ways)
    assert plan.tiles == (8 if cut.startswith("strips") else 1)

    def total(h, w):
        logps = linear_logps(h, w, jnp.asarray(targets), memory=memory)
        return jnp.vdot(logps, upstream), logps

    slopes, logps = compiled(jax.grad(total, (0, 1), has_aux=True), hidden, weight)
    expected = dense(hidden.astype(jnp.float32), weight.astype(jnp.float32), targets, upstream)
    np.testing.assert_allclose(logps, expected[0], rtol=2e-6, atol=1e-5)
    for ours, exact in zip(slopes, expected[2:], strict=False):
        # No worse than rounding the exact gradient to the dtype, but for float32 logits of size 30.
        rounded = np.asarray(jnp.asarray(exact, dtype), np.float64)
        error, floor = (np.linalg.norm(np.asarray(x, np.float64) - exact) for x in (ours, rounded))
        assert error <= 1.05 * floor + 3e-6 * np.linalg.norm(exact)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.usefixtures("fine")
def test_all_outputs_and_settings_at_once(frozen):
    """Against autodiff of the unfused formula in float64; a token with bias -inf has no probability."""
    with jax.enable_x64(True):
        hidden, weight, targets = inputs(np.float64)
        bias = jnp.asarray(np.where(np.arange(VOCABULARY) % 50 == 3, -np.inf, np.linspace(-1, 1, VOCABULARY)))
        targets = jnp.where(targets % 50 == 3, 5, targets)
        upstream = np.random.default_rng(2).normal(size=(3, ROWS))
        settings = {"temperature": 0.8, "logit_scale": 1.2, "outputs": ("logps", "lse", "entropy")}

        def fused(h, w, b):
            found = linear_logps(h, w, targets, bias=b, **settings)
            return sum(jnp.vdot(g, x) for g, x in zip(upstream, found, strict=True)), found

        def by_hand(h, w, b):
            z = 1.2 * (h @ w.T + b) / 0.8
            log_p = jax.nn.log_softmax(z)
            p = jnp.exp(log_p)
            taken = jnp.take_along_axis(log_p, jnp.maximum(targets, 0)[:, None], 1)[:, 0]
            entropy = -jnp.where(p > 0, p * jnp.where(p > 0, log_p, 0), 0).sum(1)
            found = [jnp.where(targets >= 0, x, 0) for x in (taken, jax.nn.logsumexp(z, 1), entropy)]
            return sum(jnp.vdot(g, x) for g, x in zip(upstream, found, strict=True)), found

        which = 0 if frozen else (0, 1, 2)
        ours = compiled(jax.grad(fused, which, has_aux=True), hidden, weight, bias)
        theirs = compiled(jax.grad(by_hand, which, has_aux=True), hidden, weight, bias)
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            finite = np.isfinite(y)  # autodiff of the formula by hand is NaN where a bias is -inf
            assert finite.mean() > 0.9
            np.testing.assert_allclose(np.asarray(x)[finite], np.asarray(y)[finite], rtol=1e-10, atol=1e-11)
            assert np.isfinite(x).all()


@pytest.mark.usefixtures("fine")
def test_log_probs_have_the_same_bits_whatever_the_memory():
    hidden, weight, targets = inputs(rows=100)
    plain = jax.jit(linear_logps)(hidden, weight, targets)
    smallest = bytes_of(_smallest(hidden, weight, targets))
    amounts = set()
    for memory in (smallest, smallest + 30_000, 2**30):
        amounts.add(linear_logps_plan(hidden, weight, memory=memory).kept)

        def total(h, w, memory=memory):
            logps = linear_logps(h, w, targets, memory=memory)
            return logps.sum(), logps

        np.testing.assert_array_equal(plain, jax.jit(jax.grad(total, (0, 1), has_aux=True))(hidden, weight)[1])
    assert len(amounts) == 3


def test_a_confident_token_keeps_its_small_gradient():
    """Margins of 1 to 60 nats: log p and 1 - p have relative accuracy where float32 has p == 1."""
    margins = np.array([1.0, 8.0, 16.0, 20.0, 30.0, 60.0])
    hidden, weight = jnp.asarray(margins[:, None], jnp.float32), jnp.asarray([[0.0], [1.0]], jnp.float32)
    targets = jnp.ones(6, int)
    exact_logp, exact_slope = -np.log1p(np.exp(-margins)), np.exp(-margins) / (1 + np.exp(-margins))
    for which in (0, (0, 1)):
        gradient = jax.grad(lambda h, w: (lambda x: (x.sum(), x))(linear_logps(h, w, targets)), which, has_aux=True)
        slopes, logps = compiled(gradient, hidden, weight)
        np.testing.assert_allclose(logps, exact_logp, rtol=1e-6)
        np.testing.assert_allclose(jax.tree.leaves(slopes)[0][:, 0], exact_slope, rtol=1e-6)


def test_nan_in_an_ignored_row_is_nowhere_and_no_upstream_gradient_is_none():
    hidden, weight, targets = inputs()
    hidden = hidden.at[3].set(jnp.nan)  # ignored
    upstream = jnp.where(jnp.arange(ROWS) == 4, 0.0, 1.0)
    for which in (0, (0, 1)):
        gradient = jax.grad(lambda h, w: linear_logps(h, w, targets) @ upstream, which)
        slopes = jax.tree.leaves(compiled(gradient, hidden, weight))
        assert all(np.isfinite(slope).all() for slope in slopes)
        assert not np.any(slopes[0][np.array([0, 3, 4])])


# Which of (hidden, weight, bias) get a gradient, and the other settings.
UNWANTED = {
    "log-probs": ((0, 1), {}),
    "frozen": (0, {}),
    "frozen, all outputs": (0, {"outputs": ("logps", "lse", "entropy")}),
    "head alone": (1, {"softcap": 9.0}),
    "everything": ((0, 1, 2), {"outputs": ("entropy", "lse", "logps"), "softcap": 9.0, "temperature": 0.8}),
}


def by_autodiff(hidden, weight, bias, targets, outputs=("logps",), temperature=1.0, softcap=None):
    """The unfused formula, in the order of `outputs`."""
    x = hidden @ weight.T + bias
    z = (x if softcap is None else softcap * jnp.tanh(x / softcap)) / temperature
    log_p = jax.nn.log_softmax(z)
    logps = jnp.take_along_axis(log_p, jnp.maximum(targets, 0)[:, None], 1)[:, 0]
    found = {"logps": logps, "lse": jax.nn.logsumexp(z, 1), "entropy": -(jnp.exp(log_p) * log_p).sum(1)}
    return [jnp.where(targets >= 0, found[name], 0) for name in outputs]


# With all logits kept, some and fewest. Memory changes nothing in one pass, nor does it matter twice who asks for what.
@pytest.mark.parametrize(
    ("case", "memory"),
    [
        *((case, memory) for case in ("log-probs", "everything") for memory in ("1GiB", "30KB", "smallest")),
        *(("frozen, all outputs", memory) for memory in ("1GiB", "smallest")),
        ("frozen", "1GiB"),
        ("head alone", "30KB"),
    ],
)
@pytest.mark.usefixtures("fine")
def test_what_is_not_finite_in_a_row_with_no_upstream_gradient_is_nowhere(case, memory):
    """As if the row were not there, in the sums over rows too."""
    which, settings = UNWANTED[case]
    hidden, weight, targets = inputs(rows=40)
    bias = jnp.linspace(-1, 1, VOCABULARY)
    memory = {"30KB": 30_000, "smallest": _smallest(hidden, weight, targets)}.get(memory, memory)
    unwanted = np.array([11, 17, 22, 37])  # each takes part
    poisoned = hidden.at[unwanted].set(jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1.0])[:, None])
    upstream = np.random.default_rng(4).normal(size=(3, 40)).astype(np.float32)
    upstream[:, unwanted] = 0
    if len(settings.get("outputs", ())) == 3:
        upstream[0, 2], upstream[1, 4], upstream[2, 5] = 0, 0, 0  # of one output only: the row counts

    def fused(h, w, b):
        found = linear_logps(h, w, targets, bias=b, memory=memory, **settings)
        found = [getattr(found, name) for name in settings["outputs"]] if "outputs" in settings else [found]
        return sum(jnp.vdot(g, x) for g, x in zip(upstream, found, strict=False))

    def by_hand(h, w, b):
        return sum(jnp.vdot(g, x) for g, x in zip(upstream, by_autodiff(h, w, b, targets, **settings), strict=False))

    ours = compiled(jax.grad(fused, which), poisoned, weight, bias)
    theirs = compiled(jax.grad(by_hand, which), hidden.at[unwanted].set(0.0), weight, bias)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)  # float32 logits of size 30
    if which != 1:
        assert not np.any(jax.tree.leaves(ours)[0][unwanted])


@pytest.mark.parametrize("which", [0, (0, 1)])
def test_rows_with_no_upstream_gradient_under_vmap_beside_a_nan_head_and_nan_upstream(which):
    hidden, weight, targets = inputs(rows=24)
    upstream = jnp.ones(24).at[4].set(0.0)
    cut = hidden.at[4].set(jnp.nan).reshape(2, 12, WIDTH), weight, targets.reshape(2, 12), upstream.reshape(2, 12)
    gradient = jax.grad(lambda h, w, t, g: linear_logps(h, w, t) @ g, which)
    slopes = jax.tree.leaves(compiled(jax.vmap(gradient, (0, None, 0, 0)), *cut))
    expected = dense(hidden, weight, targets, upstream)
    for x, y in zip((slopes[0].reshape(-1, WIDTH), *(x.sum(0) for x in slopes[1:])), expected[2:], strict=False):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5)
    # Nor does a head that is not finite reach such rows, or ignored ones.
    of_hidden = jax.tree.leaves(compiled(gradient, hidden, weight.at[0, 0].set(jnp.nan), targets, upstream))[0]
    np.testing.assert_array_equal(np.isnan(of_hidden).any(1), (targets >= 0) & (upstream != 0))
    # A coefficient that is NaN is not none.
    of_hidden = jax.tree.leaves(compiled(gradient, hidden, weight, targets, upstream.at[4].set(jnp.nan)))[0]
    assert np.isnan(of_hidden[4]).all()
    assert np.isfinite(np.delete(of_hidden, 4, 0)).all()


def test_a_token_that_does_not_exist_is_nan_under_jit():
    hidden, weight, targets = inputs()
    wrong = targets.at[jnp.array([1, 2])].set(jnp.array([VOCABULARY, -1]))
    logps = compiled(linear_logps, hidden, weight, wrong)
    assert np.isnan(logps[jnp.array([1, 2])]).all()
    assert np.isnan(logps).sum() == 2


def test_no_tokens_at_all():
    _, weight, _ = inputs()
    empty = jnp.zeros((0, WIDTH)), weight, jnp.zeros(0, int)
    assert linear_logps(*empty).shape == (0,)
    assert not np.any(jax.grad(lambda w: linear_logps(empty[0], w, empty[2]).sum())(weight))


def test_transformations_agree():
    """Gradients under vmap, per element and summed, and under checkpoint, against plain ones; no second derivative."""
    hidden, weight, targets = inputs(rows=24)
    upstream = jnp.linspace(-1, 1, 24)

    def total(h, w, t, g):
        return linear_logps(h, w, t) @ g

    cut = hidden.reshape(2, 12, WIDTH), weight, targets.reshape(2, 12), upstream.reshape(2, 12)
    each = compiled(jax.vmap(jax.grad(total, (0, 1)), (0, None, 0, 0)), *cut)
    plain = compiled(jax.grad(jax.checkpoint(total), (0, 1)), hidden, weight, targets, upstream)
    summed = compiled(jax.grad(lambda w: jax.vmap(total, (0, None, 0, 0))(cut[0], w, *cut[2:]).sum()), weight)
    np.testing.assert_allclose(each[0].reshape(-1, WIDTH), plain[0], rtol=1e-5, atol=1e-6)
    for found in (each[1].sum(0), summed):
        np.testing.assert_allclose(found, plain[1], rtol=1e-5, atol=1e-5)
    with pytest.raises(NotImplementedError, match="linear_logps has first derivatives only"):
        jax.hessian(lambda h: total(h, weight, targets, upstream))(hidden)


def extra_bytes(kind, rows, width, vocabulary, function):
    """What a compiled program allocates beside its arguments and results, which is settled before LLVM sees it."""
    shapes = (rows, width), (vocabulary, width), (rows,), (rows,)
    dtypes = jnp.float32, jnp.float32, jnp.int32, jnp.float32
    arrays = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def loss(h, w, t, g):
        return jnp.vdot(g, function(h, w, t))

    program = {"train": jax.value_and_grad(loss, (0, 1)), "frozen": jax.value_and_grad(loss), "forward": loss}[kind]
    built = jax.jit(program).lower(*arrays).compile(compiler_options={"xla_backend_optimization_level": 0})
    return built.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("kind", ["train", "frozen", "forward"])
def test_memory_stays_within_its_budget(kind):
    def fused(h, w, t):
        return linear_logps(h, w, t, memory="64MiB")

    assert extra_bytes(kind, 16384, 32, 64000, fused) <= 64 * 2**20


def test_the_smallest_memory_holds_what_many_rows_need():
    """Of a head so small that the numbers for each row are most of it."""
    rows, width, vocabulary = 65536, 4, 64
    shapes = jnp.zeros((rows, width)), jnp.zeros((vocabulary, width)), jnp.zeros(rows, jnp.int32)
    smallest = _smallest(*shapes)

    def fused(h, w, t):
        return linear_logps(h, w, t, memory=smallest)

    found = extra_bytes("train", rows, width, vocabulary, fused)
    assert bytes_of(smallest) / 4 < found <= bytes_of(smallest)


def test_training_takes_a_quarter_of_the_memory_of_the_plain_formula():
    """Peaks, with the gradients in them, by default."""

    def plain(h, w, t):
        return jnp.take_along_axis(jax.nn.log_softmax(h @ w.T), t[:, None], 1)[:, 0]

    rows, width, vocabulary = shape = 1024, 512, 32000
    gradients = 4 * width * (rows + vocabulary)
    ours, theirs = (gradients + extra_bytes("train", *shape, function) for function in (linear_logps, plain))
    assert ours <= 0.25 * theirs


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import PartitionSpec as P
import poz
from poz.jax import linear_logps
assert jax.device_count() == 8
rng = np.random.default_rng(0)
hidden = jnp.asarray(rng.normal(size=(8, 10, 16)), jnp.float32)
weight = jnp.asarray(2 * rng.normal(size=(96, 16)), jnp.float32)
targets = np.asarray(rng.integers(0, 96, (8, 10)))
targets[:, ::4] = -100
targets = jnp.asarray(targets)
up = jnp.asarray(rng.normal(size=(8, 10)), jnp.float32).at[3, 5].set(0.0)
poisoned = hidden.at[3, 5].set(jnp.nan)
def total(h, w, **where):
    logps = linear_logps(h, w, targets, **where)
    return (logps * up).sum(), logps
alone, logps = jax.jit(jax.grad(total, (0, 1), has_aux=True))(hidden, weight)
everything = dict(bias=jnp.linspace(-1, 1, 96), softcap=8.0, temperature=0.8, outputs=("logps", "lse", "entropy"))
def total_of_everything(h, w, **where):
    return sum((x * up).sum() for x in linear_logps(h, w, targets, **everything, **where))
everything_alone = jax.jit(jax.grad(total_of_everything, (0, 1)))(hidden, weight)
def compare(found, wanted):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
Auto, Explicit = jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit
for shape, kind in (((2, 4), Auto), ((8, 1), Explicit), ((1, 8), Auto)):
    mesh = jax.make_mesh(shape, ("data", "vocabulary"), axis_types=(kind, kind))
    where = dict(mesh=mesh, data_axis="data", vocabulary_axis="vocabulary")
    program = jax.jit(jax.grad(lambda h, w: total(h, w, **where), (0, 1), has_aux=True))
    slopes, spread = program(hidden, weight)
    np.testing.assert_allclose(spread, logps, rtol=1e-5, atol=1e-5)
    compare(slopes, alone)
    compare(program(poisoned, weight)[0], alone)
    if shape == (2, 4):
        axes = ((hidden, "data"), (weight, "vocabulary"))
        sharded = [jax.device_put(x, jax.NamedSharding(mesh, P(axis))) for x, axis in axes]
        assert "all-gather" not in program.lower(*sharded).compile().as_text()
        compare(jax.jit(jax.grad(lambda h: total(h, weight, **where)[0]))(hidden), alone[0])
        spread_everything = jax.jit(jax.grad(lambda h, w: total_of_everything(h, w, **where), (0, 1)))
        compare(spread_everything(hidden, weight), everything_alone)
        def inside(h, w, t, g):
            def local(h, w):
                return (linear_logps(h, w, t, vocabulary_axis="vocabulary") * g).sum()
            return jax.grad(local, (0, 1))(h, w)
        specs = (P("data"), P("vocabulary"), P("data"), P("data"))
        mapped = jax.jit(jax.shard_map(inside, mesh=mesh, in_specs=specs, out_specs=specs[:2]))
        compare(mapped(hidden, weight, targets, up), alone)
        eager = linear_logps(hidden, weight, targets, mesh=mesh, **everything)
        compare(eager, linear_logps(hidden, weight, targets, **everything))
        compare(jax.grad(lambda h, w: total(h, w, **where)[0], (0, 1))(hidden, weight), alone)
        for given, wrong in ((dict(data_axis="rows"), "'rows'"), (dict(vocabulary_axis="vocabulary"), "Pad")):
            try:
                linear_logps(hidden, weight[:95], jnp.minimum(targets, 94), mesh=mesh, **given)
            except ValueError as error:
                assert wrong in str(error), error
            else:
                raise AssertionError(wrong)
# What jax.make_mesh makes by default: explicit axes, on which every gather has to say where its result lies.
mesh = jax.make_mesh((8,), ("data",))
assert mesh.axis_types == (Explicit,)
spread = lambda x: jax.device_put(x, jax.NamedSharding(mesh, P("data")))
sides = [jnp.asarray(-rng.uniform(1, 5, 16), jnp.float32) for _ in range(4)]
whole = poz.Pairs(*sides, annotator=jnp.asarray(rng.integers(0, 3, 16)))
for objective in (poz.lcpo.bind(reliability=jnp.asarray([0.9, 0.8, 0.7])), poz.gr_dpo.bind(weights=(0.2, 0.3, 0.5))):
    wanted = objective(whole)
    parted = jax.tree.map(spread, whole)
    for run in (objective, jax.jit(objective)):
        np.testing.assert_allclose(run(parted), wanted, rtol=1e-6)
for run in (linear_logps, jax.jit(linear_logps)):
    compare(run(spread(hidden), weight, spread(targets)), logps)
compare(linear_logps(spread(hidden), weight, spread(targets), mesh=mesh, data_axis="data"), logps)
"""


@pytest.mark.parametrize(
    ("dtype", "vocabulary"),
    [("int8", 100), ("int8", 128), ("int8", 200), ("uint8", 200), ("uint8", 256), ("int16", 200), ("uint16", 200)],
)
def test_targets_of_narrow_integers(dtype, vocabulary):
    """Neither -100 nor V need fit in: 156 is a token and -100 is none. A head of zeros gives -log V to every token."""
    hidden, weight = jnp.ones((3, 4)), jnp.zeros((vocabulary, 4))
    last = min(vocabulary - 1, jnp.iinfo(dtype).max, 156)
    targets = jnp.asarray([0, last, 1], dtype)

    def known_and_traced(given):
        return linear_logps(hidden, weight, targets), linear_logps(hidden, weight, given)

    for logps in compiled(known_and_traced, targets):
        np.testing.assert_allclose(logps, -np.log(vocabulary), rtol=1e-6)


def test_eight_devices_agree_with_one():
    """Data and vocabulary axes, and either alone; float32 sums in another order."""
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-P", "-c", SHARDED], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]

"""A bias of -inf takes a token out: what is left is what a head without those tokens gives, under any cap and scale."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from poz.torch import fused_objective, linear_logps

ROWS, WIDTH, VOCABULARY = 40, 6, 150
SCALINGS = [
    {"softcap": 1.0},
    {"softcap": 1.0, "temperature": 0.7, "logit_scale": 1.3},
    {"logit_scale": -0.8},
    {"logit_scale": 0.0},
    {"softcap": 3.0, "logit_scale": -0.8},
    {"softcap": 3.0, "logit_scale": 0.0},
]


def problem(seed=0):
    """float64 arrays: hidden, weight, bias without the masked tokens, targets, upstream, and which tokens are in."""
    rng = np.random.default_rng(seed)
    kept = np.ones(VOCABULARY, bool)
    kept[20:60] = kept[149] = False
    targets = rng.choice(np.flatnonzero(kept), ROWS)
    shapes = (ROWS, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,), (2, ROWS)
    hidden, weight, bias, upstream = (rng.normal(size=shape) for shape in shapes)
    return hidden, weight, bias, targets, upstream, kept


def expected(scaling, second="entropy"):
    """By hand, of the tokens that are in: log-probs, entropy or lse, and gradients of hidden, weight and bias."""
    hidden, weight, bias, targets, upstream, kept = problem()
    scale, cap, temperature = (scaling.get(name) for name in ("logit_scale", "softcap", "temperature"))
    scale, temperature = 1.0 if scale is None else scale, temperature or 1.0
    x = scale * (hidden @ weight[kept].T + bias[kept])
    bend = np.ones_like(x) if cap is None else 1 - np.tanh(x / cap) ** 2
    z = (x if cap is None else cap * np.tanh(x / cap)) / temperature
    lse = np.log(np.exp(z).sum(1))
    log_p = z - lse[:, None]
    p, entropy = np.exp(log_p), -(np.exp(log_p) * log_p).sum(1)
    at = np.arange(ROWS), np.cumsum(kept)[targets] - 1
    onehot = np.zeros_like(p)
    onehot[at] = 1
    of_second = p if second == "lse" else -p * (log_p + entropy[:, None])
    slope = (upstream[0][:, None] * (onehot - p) + upstream[1][:, None] * of_second) * bend * scale / temperature
    of_weight, of_bias = np.zeros_like(weight), np.zeros_like(bias)
    of_weight[kept], of_bias[kept] = slope.T @ hidden, slope.sum(0)
    return log_p[at], lse if second == "lse" else entropy, slope @ weight[kept], of_weight, of_bias


def close(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(
            np.asarray(ours, np.float64), theirs, rtol=2e-5, atol=2e-5
        )  # float32 sums of 150 terms


def masked(bias, kept):
    return np.where(kept, bias, -np.inf)


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
def test_torch(scaling):
    check(scaling, "torch")


def check(scaling, implementation):
    hidden, weight, bias, targets, upstream, kept = problem()
    wanted = expected(scaling)
    targets, upstream = torch.tensor(targets), torch.tensor(upstream).float()
    for memory in ("1GiB", "180KiB"):
        leaves = [torch.tensor(x).float().requires_grad_() for x in (hidden, weight, masked(bias, kept))]
        made = linear_logps(
            leaves[0], leaves[1], targets, bias=leaves[2], outputs=("logps", "entropy"), memory=memory,
            implementation=implementation, **scaling,
        )  # fmt: skip
        slopes = torch.autograd.grad((made.logps * upstream[0] + made.entropy * upstream[1]).sum(), leaves)
        close([made.logps.detach(), made.entropy.detach(), *slopes], wanted)
    frozen = [leaf.detach() for leaf in leaves[1:]]
    alone = linear_logps(leaves[0], frozen[0], targets, bias=frozen[1], implementation=implementation, **scaling)
    by_hidden = torch.autograd.grad(alone.sum(), leaves[0])[0]
    again = linear_logps(
        leaves[0], leaves[1], targets, bias=frozen[1], implementation=implementation, memory="1GiB", **scaling
    )
    for slope in (by_hidden, torch.autograd.grad(again.sum(), leaves[0])[0]):
        assert slope.isfinite().all()
        torch.testing.assert_close(slope, by_hidden, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
def test_jax(scaling):
    jax = pytest.importorskip("jax")
    from poz.jax import linear_logps as jax_linear_logps

    hidden, weight, bias, targets, upstream, kept = problem()
    leaves = [jax.numpy.asarray(x, "float32") for x in (hidden, weight, masked(bias, kept))]

    def total(h, w, b):
        made = jax_linear_logps(h, w, jax.numpy.asarray(targets), bias=b, outputs=("logps", "entropy"), **scaling)
        return (made.logps * upstream[0] + made.entropy * upstream[1]).sum(), made

    def alone(h, w, b):
        return jax_linear_logps(h, w, targets, bias=b, **scaling).sum()

    def both(*given):
        return jax.grad(total, (0, 1, 2), has_aux=True)(*given), jax.grad(alone)(*given)

    quick = {"xla_backend_optimization_level": 0}  # LLVM takes longer than such small arrays are worth
    (slopes, made), by_hidden = jax.jit(both).lower(*leaves).compile(compiler_options=quick)(*leaves)
    close([made.logps, made.entropy, *slopes], expected(scaling))
    assert np.isfinite(by_hidden).all()


def test_the_loss_in_the_loop():
    import poz

    hidden, weight, bias, targets, _, kept = problem()
    shape = (2, 4, 5)
    given = [torch.tensor(x).float() for x in (hidden, weight, masked(bias, kept))]
    found = fused_objective(
        poz.cpo, given[0].view(*shape, WIDTH), given[1], torch.tensor(targets).view(shape), bias=given[2], softcap=1.0
    )
    close([found.logps], [expected({"softcap": 1.0})[0].reshape(shape).sum(-1)])


def test_a_masked_target_has_no_chance_and_finite_slopes():
    hidden, weight, bias, targets, _, kept = problem()
    targets[0] = 30
    for scaling in SCALINGS:
        leaves = [torch.tensor(x).float().requires_grad_() for x in (hidden, weight, masked(bias, kept))]
        made = linear_logps(leaves[0], leaves[1], torch.tensor(targets), bias=leaves[2], **scaling)
        assert made[0] == -np.inf
        assert made[1:].isfinite().all()
        assert all(slope.isfinite().all() for slope in torch.autograd.grad(made.sum(), leaves))


def test_triton():
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    for one in (SCALINGS[1], SCALINGS[2], SCALINGS[5]):  # the interpreter is slow
        check(one, "triton")
        hidden, weight, bias, targets, _, kept = problem()
        given = [torch.tensor(x).float() for x in (hidden, weight, masked(bias, kept))]
        made = linear_logps(
            given[0],
            given[1],
            torch.tensor(targets),
            bias=given[2],
            outputs=("logps", "lse"),
            implementation="fused",
            **one,
        )
        close([made.logps, made.lse], expected(one, "lse")[:2])

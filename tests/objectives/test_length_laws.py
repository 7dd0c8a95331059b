"""Losses that know the length: of means per token, and those that pay for tokens."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp
from points import close, margin, means, slopes

import poz
import poz.reference

Z = np.concatenate([np.linspace(-40, 40, 161), [-700.0, -100.0, 100.0, 700.0]])


def exact_orpo(p, q, weight=0.1):
    """ORPO and its gradient by the textbook odds, in 60 digits."""
    with mp.workdps(60):
        p, q = mp.mpf(float(p)), min(mp.mpf(float(q)), mp.mpf(-1e-12))
        odds = [mp.exp(x) / (-mp.expm1(x)) if x < 0 else mp.inf for x in (p, q)]
        ratio = mp.zero if mp.isinf(odds[0]) else odds[1] / odds[0]
        mass = mp.exp(p) * -mp.expm1(q) + mp.exp(q) * -mp.expm1(p)
        slope = -1 - weight * mp.exp(q) / mass
        back = weight * mp.exp(q) * -mp.expm1(p) / (mass * -mp.expm1(q))
        return float(-p + weight * mp.log1p(ratio)), float(slope), float(back)


LENGTHS = [n for n, o in poz.zoo.items() if o.family is poz.Pairs and {"chosen_len", "rejected_len"} <= o.reads]


def test_length_is_paid_for():
    """R-DPO: the loss falls, and the gradient with it, the longer chosen is."""
    h = np.zeros(5)
    pairs = margin(h, chosen_len=np.array([0, 5, 10, 15, 20]), rejected_len=np.full(5, 10))
    losses, slope, _ = slopes(poz.r_dpo.bind(alpha=0.1), pairs)
    assert (np.diff(losses) < 0).all()
    assert (np.diff(np.abs(slope)) < 0).all()
    close(losses, np.log1p(np.exp(-0.1 * np.array([-10, -5, 0, 5, 10]))))


@given(n=st.integers(1, 50), beta=st.floats(0.1, 10))
def test_length_normalised_dpo_of_equal_lengths_is_dpo_and_ignores_repetition(n, beta):
    pairs = margin(Z, chosen_len=np.full(len(Z), n), rejected_len=np.full(len(Z), n))
    losses = poz.ln_dpo(pairs, beta=beta)
    close(losses, poz.dpo(pairs, beta=beta / n), size=1e4)
    twice = poz.Pairs(*[2 * x for x in pairs[:4]], chosen_len=2 * pairs.chosen_len, rejected_len=2 * pairs.rejected_len)
    close(poz.ln_dpo(twice, beta=beta), losses, size=1e4)


def test_repo_is_the_steep_limit_of_simpo():
    pairs = poz.Pairs(-np.linspace(0.1, 3, 9), -np.linspace(2, 0.2, 9), chosen_len=np.ones(9), rejected_len=np.ones(9))
    steep = poz.simpo(pairs, beta=1e6, gamma=0.4e6) / 1e6
    np.testing.assert_allclose(steep, poz.repo(pairs), atol=1e-6)


def test_arpo_rewards_a_tied_rejection_as_its_authors_do():
    tie = means([-2.0, -2.0], [-2.0, -9.0])
    for detach in (False, True):
        _, _, rejected = slopes(poz.arpo.bind(detach=detach), tie)
        assert rejected[0] < 0 < rejected[1]  # descent raises the tied one, and lowers the clearly worse one
    near = means([-2.0], [-2.5])
    undetached, detached = (slopes(poz.arpo.bind(detach=d), near)[2][0] for d in (False, True))
    u = 0.1 * (-2 + 2.5 * (0.9 * math.exp(0.2) - 1))
    weight = 1 / (1 + math.exp(u))
    close(detached, 0.1 * weight * (0.9 * math.exp(0.2) - 1))
    close(undetached, detached + 0.1 * weight * -2.5 * -0.36 * math.exp(0.2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("p", "q"),
    [
        (-1e-8, -2.0),  # B1: log1mexp has a finite value and a NaN gradient there
        (-2.9e-8, -1.0),
        (0.0, -2.0),  # B2: a certain answer of one token
        (-0.0, -1e-8),
        (-2.0, -1e-8),
        (-200.0, -1e-6),
        (-300.0, -300.0),
        (-1.0, -200.0),
        (-0.5, -0.5),
    ],
)
def test_orpo_is_finite_and_right_where_others_give_nan(p, q, dtype):
    pairs = means([p], [q], dtype)
    expected = exact_orpo(pairs.chosen.item(), pairs.rejected.item())
    losses, slope, back = slopes(poz.orpo, pairs)
    rtol = 2e-5 if dtype is torch.float32 else 1e-10
    np.testing.assert_allclose([losses[0], slope[0], back[0]], expected, rtol=rtol, atol=1e-38)


def test_orpo_of_an_empty_rejected_completion():
    losses, slope, back = slopes(poz.orpo, means([-1.0], [0.0])._replace(rejected_len=torch.zeros(1)))
    assert np.isfinite(losses).all()
    assert np.isfinite(slope).all()
    assert back[0] == 0


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("alpha", [0.0, 1e-7, 1e-4, 2e-3, -0.02, 0.25, -1e-4])
def test_the_slope_of_alpha_po_in_alpha_is_that_of_its_losses(alpha, backend):
    """Against central differences of the reference; their error is 1e-10 of the third derivative, and 1e-16 / 1e-5."""
    p, q, step = np.array([-0.5, -3.0, -8.0, -9.9, -1e-3]), np.array([-2.0, -1.0, -9.0, -10.1, 0.0]), 1e-5
    fields = {"chosen": p, "rejected": q, "chosen_len": np.ones(5), "rejected_len": np.ones(5)}
    up, down = (poz.reference.alpha_po(**fields, alpha=a)[0] for a in (alpha + step, alpha - step))
    if backend == "jax":
        with jax.enable_x64(True):
            in_x64 = {n: jnp.asarray(x) for n, x in fields.items()}
            (slope,) = jax.vjp(lambda a: poz.alpha_po(poz.Pairs(**in_x64), alpha=a), jnp.full(5, alpha))[1](jnp.ones(5))
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7, atol=1e-9)
        return
    # From |α p| = 0.1 on, float32 loses up to 20 roundings of β p² / 2
    for dtype, atol in ((torch.float64, 1e-9), (torch.float32, 20 * 6e-8 * 2.5 * (p**2 + q**2).max() / 2)):
        traced = torch.full((5,), alpha, dtype=dtype, requires_grad=True)
        pairs = poz.Pairs(**{n: torch.tensor(x, dtype=dtype) for n, x in fields.items()})
        (slope,) = torch.autograd.grad(poz.alpha_po(pairs, alpha=traced).sum(), traced)
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7, atol=atol)


@pytest.mark.parametrize("alpha", [0.0, 1e-7, 0.25])
def test_an_infinite_log_prob_leaves_the_slope_of_alpha_po_known(alpha):
    """Of the other pairs, and of an impossible completion where α = 0 makes its reward the log-prob."""
    traced = torch.full((3,), alpha, dtype=torch.float64, requires_grad=True)
    pairs = means([-math.inf, -1.0, -2.0], [-1.0, -math.inf, -1.0])
    losses = poz.alpha_po(pairs, alpha=traced)
    slopes = torch.autograd.grad(losses.sum(), [traced, pairs.chosen, pairs.rejected])
    assert losses[0] == math.inf
    assert losses[1] == 0
    assert all(torch.isfinite(slope[2]) for slope in slopes)
    assert alpha or all(torch.isfinite(slope).all() for slope in slopes)


@pytest.mark.parametrize("logp", [-200.0, -2000.0, -1e4])
def test_alpha_po_of_summed_log_probs_is_finite(logp):
    """B6: (e^-200)^-α is 0^-α = inf in float32."""
    losses, slope, back = slopes(poz.alpha_po, means([logp / 2], [logp], torch.float32))
    assert np.isfinite([losses, slope, back]).all()
    if logp == -200.0:
        with mp.workdps(60):
            reward = [(1 - mp.exp(-mp.mpf("0.25") * x)) / mp.mpf("0.25") for x in (logp / 2, logp)]
            expected = mp.log1p(mp.exp(-(mp.mpf("2.5") * (reward[0] - reward[1]) - mp.mpf("0.1"))))
        assert losses[0] == pytest.approx(float(expected), abs=1e-30)
        backwards = slopes(poz.alpha_po, means([logp], [logp / 2], torch.float32))[0][0]
        assert backwards == pytest.approx(float(mp.mpf("2.5") * (reward[0] - reward[1]) + mp.mpf("0.1")), rel=1e-5)


@pytest.mark.parametrize("alpha", [1e-9, -1e-9])
def test_alpha_po_joins_simpo(alpha):
    pairs = means(-np.linspace(0.01, 5, 9), -np.linspace(6, 0.1, 9))
    near = slopes(poz.alpha_po.bind(alpha=alpha), pairs)
    limit = slopes(poz.simpo.bind(beta=2.5, gamma=0.1), pairs)
    np.testing.assert_allclose(near[0], limit[0], rtol=1e-7)
    np.testing.assert_allclose(near[1:], limit[1:], rtol=1e-7)


@pytest.mark.parametrize("name", [n for n in LENGTHS if n != "r_dpo"])
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_an_empty_completion_counts_as_one_token(name, side):
    other = {"chosen": "rejected", "rejected": "chosen"}[side]
    fields = {side: np.zeros(1), f"ref_{side}": np.zeros(1), other: np.full(1, -4.0), f"ref_{other}": np.full(1, -3.0)}
    lens = {f"{side}_len": np.array([0]), f"{other}_len": np.array([2])}
    pairs = poz.Pairs(**fields, **lens)
    losses, *gradients = slopes(poz.zoo[name], pairs)
    assert np.isfinite(losses).all()
    assert np.isfinite(gradients).all()
    one = pairs._replace(**{f"{side}_len": np.array([1])})
    np.testing.assert_array_equal(poz.zoo[name](one), poz.zoo[name](pairs))


BAD = {
    "two completions": (
        lambda: poz.tpo(poz.Ranked(np.zeros((1, 2)), None, np.ones((1, 2)))),
        "needs 3 completions, gold, chosen and rejected in this order; got K = 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")

"""Laws of the objectives on tokens and on denoising errors: whom a token's weight reaches, what is held, what is left out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

import poz
from poz.algorithms.sampo import sampo_subset

SEEDS = st.integers(0, 2**32 - 1)
SIDES = ("chosen", "rejected")


def close(actual, expected):
    """A dozen roundings of 1e-16 on numbers of some nats, with a margin of a hundred."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def drawn(seed, sizes=(4, 6), b=3, **fields):
    """Token pairs in torch, float64, log-probs of some nats, with the valid tokens of each row anywhere in it."""
    rng = np.random.default_rng(seed)
    shapes = {side: (b, size) for side, size in zip(SIDES, sizes, strict=True)}
    made = {f"{of}{side}": -rng.exponential(size=shapes[side]) for of in ("", "ref_") for side in SIDES}
    made |= {f"{side}_mask": rng.random(shapes[side]) < 0.7 for side in SIDES}
    made |= {name: draw(rng, shapes[name.partition("_")[0]]) for name, draw in fields.items()}
    return poz.TokenPairs(**{name: torch.tensor(value) for name, value in made.items()})


def differentiated(objective, batch, names=SIDES):
    """Losses, and the gradients of their sum in those fields."""
    leaves = {name: getattr(batch, name).clone().requires_grad_() for name in names}
    losses = objective(batch._replace(**leaves))
    return losses.detach(), torch.autograd.grad(
        losses.sum(), leaves.values(), allow_unused=True, materialize_grads=True
    )


def slope(losses, beta):
    """d loss / d margin of -log sigmoid(beta margin), from the loss alone: -beta (1 - e^-loss)."""
    return beta * torch.expm1(-losses)


def kl(rng, shape):
    return rng.exponential(size=shape)


@given(SEEDS)
def test_a_changed_token_weighs_gamma(seed):
    """Each token's slope is its weight over the sum of weights, times the slope in the margin; masked ones get none."""
    changed = {f"{side}_changed": lambda rng, shape: rng.random(shape) < 0.5 for side in SIDES}
    pairs = drawn(seed, **changed)
    for normalize in (True, False):
        losses, gradients = differentiated(poz.ddpo.bind(beta=0.3, gamma=2.5, normalize=normalize), pairs)
        for sign, side, gradient in zip((1, -1), SIDES, gradients, strict=True):
            weights = (1 + 1.5 * getattr(pairs, f"{side}_changed")) * getattr(pairs, f"{side}_mask")
            total = weights.sum(-1).clamp(min=1) if normalize else torch.ones(3)
            close(gradient, sign * slope(losses, 0.3)[:, None] * weights / total[:, None])


def test_only_the_changed_tokens_count_as_gamma_grows():
    """The weighted mean tends to that over the changed tokens, which is DPO where there is one; they differ as 1 / γ."""
    changed = {f"{side}_changed": lambda rng, shape: np.arange(shape[-1]) == np.zeros(shape) for side in SIDES}
    pairs = drawn(0, **changed)._replace(chosen_mask=None, rejected_mask=None)
    of_one = poz.dpo(poz.Pairs(*[x[:, 0] for x in pairs[:4]]), beta=0.3)
    # 3 or 5 other tokens of weight 1 / γ and a few nats.
    np.testing.assert_allclose(poz.ddpo(pairs, beta=0.3, gamma=1e8), of_one, atol=1e-6)


@given(SEEDS)
def test_tokens_beyond_the_shorter_length_weigh_alpha(seed):
    """LD-DPO: the t-th valid token has weight 1 up to the shorter length, α beyond; at α = 0 it is as if it were not there."""
    pairs = drawn(seed)
    places = {side: getattr(pairs, f"{side}_mask").cumsum(-1) for side in SIDES}
    shorter = torch.minimum(*(place[:, -1:] for place in places.values()))
    losses, gradients = differentiated(poz.ld_dpo.bind(beta=0.3, alpha=0.2), pairs)
    for sign, side, gradient in zip((1, -1), SIDES, gradients, strict=True):
        weights = (0.2 + 0.8 * (places[side] <= shorter).double()) * getattr(pairs, f"{side}_mask")
        close(gradient, sign * slope(losses, 0.3)[:, None] * weights)
    cut = {f"{side}_mask": getattr(pairs, f"{side}_mask") & (places[side] <= shorter) for side in SIDES}
    close(poz.ld_dpo(pairs, beta=0.3, alpha=0.0), poz.step_dpo(pairs._replace(**cut), beta=0.3))


def test_a_summed_reference_keeps_its_excess_tokens():
    """LD-DPO, reference="summed": only the policy is weighted, so policy = reference has the excess as margin, not 0."""
    pairs = drawn(1)._replace(chosen_mask=None, rejected_mask=None)
    same = pairs._replace(ref_chosen=pairs.chosen, ref_rejected=pairs.rejected)
    close(poz.ld_dpo(same, alpha=0.2), math.log(2))
    excess = 0.8 * same.rejected[:, 4:].sum(-1)
    close(poz.ld_dpo(same, beta=0.3, alpha=0.2, reference="summed"), -torch.nn.functional.logsigmoid(0.3 * excess))


@given(SEEDS)
def test_tdpo2_holds_the_kl_of_chosen(seed):
    """The gap in KL lowers the margin: TDPO1 moves both KLs, TDPO2 that of rejected alone, times α; alike at 1."""
    pairs = drawn(seed, chosen_kl=kl, rejected_kl=kl)
    names = (*SIDES, "chosen_kl", "rejected_kl")
    one, first = differentiated(poz.tdpo.bind(beta=0.3, version="tdpo1"), pairs, names)
    two, second = differentiated(poz.tdpo.bind(beta=0.3, version="tdpo2", alpha=1.0), pairs, names)
    close(one, two)
    for gradient in (first, second):
        close(gradient[3], -slope(one, 0.3)[:, None] * pairs.rejected_mask)
        close(gradient[0], slope(one, 0.3)[:, None] * pairs.chosen_mask)
    close(first[2], slope(one, 0.3)[:, None] * pairs.chosen_mask)
    assert not second[2].any()
    assert (poz.tdpo(pairs._replace(rejected_kl=pairs.rejected_kl + 1), alpha=0.5) >= poz.tdpo(pairs, alpha=0.5)).all()


@given(SEEDS)
def test_a_step_is_all_that_counts(seed):
    """Step-DPO: what stands outside the step has neither influence nor slope, even if it is not a number."""
    pairs = drawn(seed)
    spoilt = pairs._replace(
        **{
            f"{of}{side}": torch.where(getattr(pairs, f"{side}_mask"), getattr(pairs, f"{of}{side}"), math.nan)
            for of in ("", "ref_")
            for side in SIDES
        }
    )
    losses, gradients = differentiated(poz.step_dpo.bind(beta=0.3), spoilt)
    sums = [
        (getattr(pairs, f"{of}{side}") * getattr(pairs, f"{side}_mask")).sum(-1)
        for of in ("", "ref_")
        for side in SIDES
    ]
    close(losses, poz.dpo(poz.Pairs(*sums), beta=0.3))
    for sign, side, gradient in zip((1, -1), SIDES, gradients, strict=True):
        close(gradient, sign * slope(losses, 0.3)[:, None] * getattr(pairs, f"{side}_mask"))


@given(SEEDS)
def test_a_subset_is_as_long_as_the_shorter_side(seed):
    """SamPO's weights: 0 or 1, on valid tokens only, as many as the shorter side has; the same again from the same seed."""
    rng = np.random.default_rng(seed)
    masks = rng.random((5, 7)) < 0.6, rng.random((5, 9)) < 0.4
    subset = sampo_subset(*masks, np.random.default_rng(seed))
    shorter = np.minimum(masks[0].sum(-1), masks[1].sum(-1))
    for mask, weights in zip(masks, subset, strict=True):
        assert set(np.unique(weights)) <= {0.0, 1.0}
        assert not weights[~mask].any()
        np.testing.assert_array_equal(weights.sum(-1), shorter)
    again = sampo_subset(*masks, np.random.default_rng(seed))
    assert all((a == b).all() for a, b in zip(subset, again, strict=True))


def test_every_subset_is_as_likely():
    """2 of 4 tokens, 6000 times: each of the 6 subsets 1000 times within 5 standard deviations, sqrt(6000 · 1/6 · 5/6) = 29."""
    many = 6000
    weights = sampo_subset(np.ones((many, 4), bool), np.ones((many, 2), bool), np.random.default_rng(0))[0]
    counts = np.unique(weights @ (1, 2, 4, 8), return_counts=True)[1]
    assert len(counts) == 6
    assert (abs(counts - many / 6) < 5 * 29).all()


def test_a_subset_has_the_mean_of_its_tokens():
    """Over many subsets, the weighted sum of log-ratios has the mean n/m times the whole sum: no length is favoured."""
    ratios, many = np.array([0.5, -1.0, 2.0, 0.25]), 20_000
    weights = sampo_subset(np.ones((many, 4), bool), np.ones((many, 2), bool), np.random.default_rng(1))[0]
    sums = weights @ ratios
    # The mean of so many sums is off by their deviation over sqrt(20 000); five of those.
    assert abs(sums.mean() - ratios.sum() / 2) < 5 * sums.std() / math.sqrt(many)


def errors(seed, b=6):
    rng = np.random.default_rng(seed)
    made = poz.Denoising(*[torch.tensor(rng.exponential(size=b)) for _ in range(4)])
    return made._replace(timestep=torch.tensor(rng.integers(0, 1000, b)))


@given(SEEDS)
def test_diffusion_dpo_is_dpo_of_half_the_negative_errors(seed):
    pairs = errors(seed)
    halves = poz.Pairs(*[-0.5 * x for x in pairs[:4]])
    plain = pairs._replace(timestep=None)
    losses, gradients = differentiated(poz.diffusion_dpo.bind(beta=2.0), plain)
    expected, slopes = differentiated(poz.dpo.bind(beta=2.0), halves)
    close(losses, expected)
    for gradient, through_half in zip(gradients, slopes, strict=True):
        close(gradient, -0.5 * through_half)


@given(SEEDS, st.integers(1, 999))
def test_experts_of_intervals_share_the_timesteps(seed, border):
    """Two intervals that meet: each pair costs and moves one expert, at the border the later; together they are the whole."""
    pairs = errors(seed)
    pairs.timestep[0] = border
    early, early_slope = differentiated(poz.diffusion_dpo.bind(beta=2.0, last=border), pairs)
    late, late_slope = differentiated(poz.diffusion_dpo.bind(beta=2.0, first=border), pairs)
    whole, slopes = differentiated(poz.diffusion_dpo.bind(beta=2.0), pairs._replace(timestep=None))
    np.testing.assert_array_equal(early == 0, pairs.timestep >= border)
    np.testing.assert_array_equal(late == 0, pairs.timestep < border)
    close(early + late, whole)
    for a, b, together in zip(early_slope, late_slope, slopes, strict=True):
        close(a + b, together)


def mapo_score(x):
    """x / (e^x - 1), the odds of e^-x, in fifty digits."""
    with mp.workdps(50):
        x = mp.mpf(x)
        return x / mp.expm1(x) if x else mp.mpf(1)


@pytest.mark.parametrize("error", [0.0, 1e-12, 1e-3, 0.5, 0.999, 1.001, 3.0, 40.0, 800.0])
def test_mapo_scores_are_the_odds_ratio_of_the_errors(error):
    """u = T [f(c E_w) - f(c E_l)] with f(x) = x / (e^x - 1), no digit lost near 0 nor beyond e^700; f(0) = 1."""
    pairs = poz.Denoising(
        chosen=torch.tensor([error], dtype=torch.float64), rejected=torch.tensor([2.0], dtype=torch.float64)
    )
    loss = poz.mapo(pairs, ratio_weight=1.0, snr=0.5, timesteps=4.0)
    with mp.workdps(50):
        u = 4 * (mapo_score(mp.mpf(error) / 2) - mapo_score(1))
        expected = mp.mpf(error) + mp.log1p(mp.exp(-u))
    close(loss, [float(expected)])


@given(SEEDS)
def test_mapo_lowers_the_error_of_chosen_and_raises_that_of_rejected(seed):
    pairs = errors(seed)._replace(ref_chosen=None, ref_rejected=None, timestep=None)
    losses, (chosen, rejected) = differentiated(poz.mapo.bind(ratio_weight=0.5, timesteps=8.0), pairs)
    assert (chosen >= 1).all()  # of the denoising error itself 1, and more from the ratio
    assert (rejected <= 0).all()
    close(poz.mapo(pairs, ratio_weight=0.0), pairs.chosen)
    same = pairs._replace(rejected=pairs.chosen)
    close(poz.mapo(same, ratio_weight=0.5), pairs.chosen + 0.5 * math.log(2))
    assert (losses >= pairs.chosen).all()

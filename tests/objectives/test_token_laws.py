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
from poz.testing import draw_batch
from poz.testing.draws import draw_values

SEEDS = st.integers(0, 2**32 - 1)
SIDES = ("chosen", "rejected")
NAMES = ("ddpo", "tdpo", "ld_dpo", "sampo", "step_dpo", "diffusion_dpo", "mapo")
LIMITS = [(poz.zoo[name], limit) for name in NAMES for limit in poz.zoo[name].reduces_to]
LOG2 = math.log(2)


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


def some(rng, shape):
    return rng.random(shape) < 0.5


CHANGED = {f"{side}_changed": some for side in SIDES}
KLS = {f"{side}_kl": kl for side in SIDES}


def unmasked(pairs):
    return pairs._replace(chosen_mask=None, rejected_mask=None)


@pytest.mark.parametrize(("spec", "limit"), LIMITS, ids=[f"{spec.name}-{limit.to}" for spec, limit in LIMITS])
@given(SEEDS)
def test_a_limit_has_the_slopes_of_the_other(spec, limit, seed):
    """`reduces_to` for the gradients: of the tokens, through this objective or through the sums that the other is given."""
    rng = np.random.default_rng(seed)
    values = draw_values(spec, rng)
    this, other = spec.bind(**limit.when(values)), poz.zoo[limit.to].bind(**limit.then(values))
    batch = draw_batch(this, rng, 5, 10.0)
    batch = type(batch)(*[x if x is None else torch.tensor(x) for x in batch])
    names = [name for name in batch._fields if name.removeprefix("ref_") in SIDES and getattr(batch, name) is not None]
    leaves = {name: getattr(batch, name).requires_grad_() for name in names}
    mine, others = (
        torch.autograd.grad(o(b).sum(), leaves.values(), allow_unused=True, materialize_grads=True)
        for o, b in zip((this, other), limit.batch(batch), strict=True)
    )
    for a, b in zip(mine, others, strict=True):
        close(a, b)


@pytest.mark.parametrize("name", ["ddpo", "tdpo", "ld_dpo", "sampo", "step_dpo"])
@given(SEEDS)
def test_a_policy_that_is_the_reference_has_loss_log_2(name, seed):
    """Whatever the lengths, the masks and the weights, which are the same for both; where they have not moved, KL is 0."""
    rng = np.random.default_rng(seed)
    objective = poz.zoo[name].bind(**draw_values(poz.zoo[name], rng))
    if name == "ld_dpo":
        objective = objective.bind(reference="weighted")
    batch = draw_batch(objective, rng, 5, 100.0)
    if name == "tdpo":
        batch = batch._replace(chosen_kl=0 * batch.chosen, rejected_kl=0 * batch.rejected)
    close(objective(batch._replace(ref_chosen=batch.chosen, ref_rejected=batch.rejected)), np.full(5, LOG2))


@given(SEEDS)
def test_a_changed_token_weighs_gamma(seed):
    """Each token's slope is its weight over the sum of weights, times the slope in the margin; masked ones get none."""
    pairs = drawn(seed, **CHANGED)
    for normalize in (True, False):
        losses, gradients = differentiated(poz.ddpo.bind(beta=0.3, gamma=2.5, normalize=normalize), pairs)
        for sign, side, gradient in zip((1, -1), SIDES, gradients, strict=True):
            weights = (1 + 1.5 * getattr(pairs, f"{side}_changed")) * getattr(pairs, f"{side}_mask")
            total = weights.sum(-1).clamp(min=1) if normalize else torch.ones(3)
            close(gradient, sign * slope(losses, 0.3)[:, None] * weights / total[:, None])


@given(SEEDS)
def test_a_mean_does_not_see_what_all_tokens_share(seed):
    """DDPO's weighted mean: γ cancels where all are changed, each token twice is as once; the sums double their margin."""
    pairs = unmasked(drawn(seed, **CHANGED))
    all_changed = pairs._replace(**{name: torch.ones_like(getattr(pairs, name)) for name in CHANGED})
    plain, slopes = differentiated(poz.ddpo.bind(gamma=1.0), all_changed)
    for gamma in (0.01, 5.0):
        same, same_slopes = differentiated(poz.ddpo.bind(gamma=gamma), all_changed)
        close(same, plain)
        for a, b in zip(same_slopes, slopes, strict=True):
            close(a, b)
    twice = poz.TokenPairs(**{k: x.repeat_interleave(2, -1) for k, x in pairs._asdict().items() if x is not None})
    for normalize, factor in ((True, 1), (False, 2)):
        once, slopes = differentiated(poz.ddpo.bind(beta=0.2 * factor, normalize=normalize), pairs)
        again, halves = differentiated(poz.ddpo.bind(beta=0.2, normalize=normalize), twice)
        close(again, once)
        for half, slope_once in zip(halves, slopes, strict=True):
            close(half[:, ::2] + half[:, 1::2], slope_once)


def test_shared_tokens_cancel_in_sums_alone():
    """DDPO: the same token on both sides leaves the difference of sums, and thins the means."""
    pairs = unmasked(drawn(3, **CHANGED))
    shared = {"chosen": -1.5, "rejected": -1.5, "ref_chosen": -0.5, "ref_rejected": -0.5} | dict.fromkeys(
        CHANGED, False
    )
    longer = poz.TokenPairs(
        **{
            k: torch.cat([getattr(pairs, k), torch.full((3, 1), x)], -1).to(getattr(pairs, k))
            for k, x in shared.items()
        }
    )
    close(poz.ddpo(longer, normalize=False), poz.ddpo(pairs, normalize=False))
    assert (abs(poz.ddpo(longer) - poz.ddpo(pairs)) > 1e-3).all()


@given(SEEDS)
def test_changed_tokens_of_no_weight_are_not_there(seed):
    """DDPO at γ = 0: DPO on what did not change; where all of it did, no weight is left, and neither score nor slope."""
    pairs = drawn(seed, **CHANGED)
    kept = {f"{side}_mask": getattr(pairs, f"{side}_mask") & ~getattr(pairs, f"{side}_changed") for side in SIDES}
    losses, slopes = differentiated(poz.ddpo.bind(beta=0.3, gamma=0.0, normalize=False), pairs)
    others, expected = differentiated(poz.step_dpo.bind(beta=0.3), pairs._replace(**kept))
    close(losses, others)
    for a, b in zip(slopes, expected, strict=True):
        close(a, b)
    nothing = pairs._replace(**{name: torch.ones_like(getattr(pairs, name)) for name in CHANGED})
    losses, slopes = differentiated(poz.ddpo.bind(gamma=0.0), nothing)
    close(losses, np.full(3, LOG2))
    assert not any(slope.any() for slope in slopes)


def test_only_the_changed_tokens_count_as_gamma_grows():
    """The weighted mean tends to that over the changed tokens, which is DPO where there is one; they differ as 1 / γ."""
    changed = {f"{side}_changed": lambda rng, shape: np.arange(shape[-1]) == np.zeros(shape) for side in SIDES}
    pairs = unmasked(drawn(0, **changed))
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
    # Not even a token that the policy thinks impossible counts there.
    beyond = {side: torch.where(places[side] <= shorter, getattr(pairs, side), -math.inf) for side in SIDES}
    losses, gradients = differentiated(poz.ld_dpo.bind(beta=0.3, alpha=0.0), pairs._replace(**beyond))
    others, expected = differentiated(poz.step_dpo.bind(beta=0.3), pairs._replace(**cut))
    close(losses, others)
    for side, gradient, slopes in zip(SIDES, gradients, expected, strict=True):
        assert not gradient[~cut[f"{side}_mask"]].any()
        close(gradient, slopes)


def test_a_summed_reference_keeps_its_excess_tokens():
    """LD-DPO, reference="summed": only the policy is weighted, so policy = reference has the excess as margin, not 0."""
    pairs = unmasked(drawn(1))
    same = pairs._replace(ref_chosen=pairs.chosen, ref_rejected=pairs.rejected)
    close(poz.ld_dpo(same, alpha=0.2), np.full(3, LOG2))
    excess = 0.8 * same.rejected[:, 4:].sum(-1)
    close(poz.ld_dpo(same, beta=0.3, alpha=0.2, reference="summed"), -torch.nn.functional.logsigmoid(0.3 * excess))


@given(SEEDS)
def test_tdpo2_holds_the_kl_of_chosen(seed):
    """The gap in KL lowers the margin: TDPO1 moves both KLs, TDPO2 that of rejected alone, times α; alike at 1."""
    pairs = drawn(seed, **KLS)
    names = (*SIDES, "chosen_kl", "rejected_kl")
    one, first = differentiated(poz.tdpo.bind(beta=0.3, version="tdpo1"), pairs, names)
    two, second = differentiated(poz.tdpo.bind(beta=0.3, version="tdpo2", alpha=1.0), pairs, names)
    close(one, two)
    for gradient in (first, second):
        close(gradient[3], -slope(one, 0.3)[:, None] * pairs.rejected_mask)
        close(gradient[0], slope(one, 0.3)[:, None] * pairs.chosen_mask)
    close(first[2], slope(one, 0.3)[:, None] * pairs.chosen_mask)
    assert not second[2].any()
    more = pairs._replace(rejected_kl=pairs.rejected_kl + 1)
    assert (poz.tdpo(more, alpha=0.5) >= poz.tdpo(pairs, alpha=0.5)).all()
    # α scales the gap: TDPO2 is TDPO1 of α times the KLs, but for what is held.
    scaled = pairs._replace(chosen_kl=0.7 * pairs.chosen_kl, rejected_kl=0.7 * pairs.rejected_kl)
    one, first = differentiated(poz.tdpo.bind(beta=0.3, version="tdpo1"), scaled, names)
    two, second = differentiated(poz.tdpo.bind(beta=0.3, alpha=0.7), pairs, names)
    close(two, one)
    for place, factor in ((0, 1), (1, 1), (3, 0.7)):
        close(second[place], factor * first[place])
    assert not second[2].any()


@given(SEEDS)
def test_tdpo1_sees_only_the_difference_of_the_kls(seed):
    """As much KL more on both sides changes nothing, and neither does α, which is TDPO2's."""
    pairs = unmasked(drawn(seed, **KLS))
    more = pairs._replace(chosen_kl=pairs.chosen_kl + 0.6, rejected_kl=pairs.rejected_kl + 0.4)  # 4 · 0.6 = 6 · 0.4
    for alpha in (0.0, 2.0):
        close(poz.tdpo(more, alpha=alpha, version="tdpo1"), poz.tdpo(pairs, version="tdpo1"))


@pytest.mark.parametrize("version", ["tdpo1", "tdpo2"])
def test_tdpo_starts_with_the_gradient_of_dpo(version):
    """From logits: KL(reference || policy) has slope π - π_ref, which is 0 where both are the same."""
    rng, slopes = np.random.default_rng(5), {}
    logits = {side: torch.tensor(rng.normal(size=(3, n, 7))) for side, n in zip(SIDES, (4, 6), strict=True)}
    labels = {side: torch.tensor(rng.integers(0, 7, x.shape[:-1])) for side, x in logits.items()}

    def batch(leaves):
        fields = {}
        for side, leaf in leaves.items():
            policy, reference = leaf.log_softmax(-1), logits[side].log_softmax(-1)
            fields[f"{side}_kl"] = (reference.exp() * (reference - policy)).sum(-1)
            for name, logps in ((side, policy), (f"ref_{side}", reference)):
                fields[name] = logps.gather(-1, labels[side][..., None])[..., 0]
        return poz.TokenPairs(**fields)

    for name, objective in (("tdpo", poz.tdpo.bind(version=version)), ("dpo", poz.tdpo.bind(alpha=0.0))):
        leaves = {side: x.clone().requires_grad_() for side, x in logits.items()}
        losses = objective(batch(leaves))
        close(losses.detach(), np.full(3, LOG2))
        slopes[name] = torch.autograd.grad(losses.sum(), leaves.values())
    for a, b in zip(slopes["tdpo"], slopes["dpo"], strict=True):
        assert b.any()
        close(a, b)


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
        np.testing.assert_array_equal(weights.sum(-1), shorter)  # so the shorter side is kept whole
    again = sampo_subset(*masks, np.random.default_rng(seed))
    assert all((a == b).all() for a, b in zip(subset, again, strict=True))


@pytest.mark.parametrize("longer", [0, 1])
def test_every_subset_is_as_likely(longer):
    """2 of 4 tokens, 6000 times: each of the 6 subsets 1000 times within 5 standard deviations, sqrt(6000 · 1/6 · 5/6) = 29."""
    many = 6000
    masks = [np.tile([True, False, True, True, False, True], (many, 1)), np.ones((many, 2), bool)]
    subset = sampo_subset(*masks[:: 1 - 2 * longer], np.random.default_rng(0))
    subsets, counts = np.unique(subset[longer][:, masks[0][0]], axis=0, return_counts=True)
    assert len(subsets) == 6
    assert (abs(counts - many / 6) < 5 * 29).all()
    np.testing.assert_array_equal(subset[1 - longer], 1.0)


def test_a_subset_has_the_mean_of_its_tokens():
    """Over many subsets, the weighted sum of log-ratios has the mean n/m times the whole sum: no length is favoured."""
    ratios, many = np.array([0.5, -1.0, 2.0, 0.25]), 20_000
    weights = sampo_subset(np.ones((many, 4), bool), np.ones((many, 2), bool), np.random.default_rng(1))[0]
    sums = weights @ ratios
    # The mean of so many sums is off by their deviation over sqrt(20 000); five of those.
    assert abs(sums.mean() - ratios.sum() / 2) < 5 * sums.std() / math.sqrt(many)


@given(SEEDS)
def test_sampo_does_not_read_the_length(seed):
    """A policy that is as much likelier at every token has no margin, where DPO's is that times the difference in length."""
    pairs = drawn(seed)
    masks = [getattr(pairs, f"{side}_mask") for side in SIDES]
    weights = sampo_subset(*[mask.numpy() for mask in masks], np.random.default_rng(seed))
    kept = dict(zip(("chosen_weights", "rejected_weights"), map(torch.tensor, weights), strict=True))
    likelier = pairs._replace(ref_chosen=pairs.chosen - 0.4, ref_rejected=pairs.rejected - 0.4, **kept)
    losses, gradients = differentiated(poz.sampo.bind(beta=0.3), likelier)
    close(losses, np.full(3, LOG2))
    for sign, gradient, weight in zip((-1, 1), gradients, kept.values(), strict=True):
        close(gradient, sign * 0.15 * weight)  # β/2 at each token that was drawn
    excess = masks[0].sum(-1) - masks[1].sum(-1)
    close(poz.step_dpo(likelier, beta=0.3), -torch.nn.functional.logsigmoid(0.3 * 0.4 * excess.double()))


def errors(seed, b=6):
    rng = np.random.default_rng(seed)
    made = poz.Denoising(*[torch.tensor(rng.exponential(size=b)) for _ in range(4)])
    return made._replace(timestep=torch.tensor(rng.integers(0, 1000, b)))


@given(SEEDS, st.sampled_from([1e-3, 0.5, 1000.0]))
def test_beta_of_diffusion_dpo_holds_the_timesteps(seed, scale):
    """β holds T ω: a factor there is one of all errors, and ± β σ(-u) / 2 are the slopes, the reference's opposite."""
    plain = errors(seed)._replace(timestep=None)
    scaled = plain._replace(**{name: scale * getattr(plain, name) for name in plain._fields[:4]})
    losses, gradients = differentiated(poz.diffusion_dpo.bind(beta=2.0 * scale), plain, plain._fields[:4])
    expected, slopes = differentiated(poz.diffusion_dpo.bind(beta=2.0), scaled, plain._fields[:4])
    half = -slope(losses, scale)  # β / 2 = scale
    # u is scaled times a few nats: its rounding is that many times 1e-16, absolute, and so is the slopes', relative.
    far = {"rtol": 1e-12 * max(1, scale), "atol": 1e-13 * max(1, scale)}
    np.testing.assert_allclose(losses, expected, **far)
    for sign, gradient, other in zip((1, -1, -1, 1), gradients, slopes, strict=True):
        np.testing.assert_allclose(gradient, scale * other, **far)
        np.testing.assert_allclose(gradient, sign * half, **far)


def test_confpo_of_one_token_costs_nothing():
    """No token is below a mean that is its own: the pair is idle, whatever the other side."""
    pairs = poz.TokenPairs(torch.tensor([[-3.0]], requires_grad=True), torch.tensor([[-1.0, -2.0]]))
    (loss,) = poz.confpo(pairs)
    loss.backward()
    assert loss == 0
    assert pairs.chosen.grad == 0
    assert poz.confpo(pairs._replace(chosen=torch.tensor([[-3.0, -3.5]]))) > 0.7  # as soon as one is below


@given(SEEDS, st.integers(1, 40), st.sampled_from([0.02, 1.0, 3.0]))
def test_beta_of_diffusion_dpo_is_twice_the_papers_for_each_number(seed, width, strength):
    """Eq. 14 has β T ω (here `strength`) and squared norms, the code β / 2 and means over the D numbers of a prediction."""
    w, v, ref_w, ref_v = np.random.default_rng(seed).standard_normal((4, 3, width))
    norms = [(error**2).sum(-1) for error in (w, v, ref_w, ref_v)]
    u = -strength * ((norms[0] - norms[2]) - (norms[1] - norms[3]))
    mine = poz.diffusion_dpo(poz.Denoising(*[norm / width for norm in norms]), beta=2 * width * strength)
    # u is up to 500: its rounding is a few times 1e-13, absolute.
    np.testing.assert_allclose(mine, np.logaddexp(0, -u), rtol=1e-12, atol=1e-12)


@given(SEEDS, st.integers(1, 999))
def test_experts_of_intervals_share_the_timesteps(seed, border):
    """Two intervals that meet: each pair costs and moves one expert, at the border the later; together they are the whole."""
    pairs = errors(seed)
    pairs.timestep[0] = border
    early, early_slope = differentiated(poz.diffusion_dpo.bind(beta=2.0, last=border), pairs)
    late, late_slope = differentiated(poz.diffusion_dpo.bind(beta=2.0, first=border), pairs)
    whole, slopes = differentiated(poz.diffusion_dpo.bind(beta=2.0), pairs._replace(timestep=None))
    np.testing.assert_array_equal(poz.diffusion_dpo(pairs, beta=2.0, first=0, last=1000), whole)
    np.testing.assert_array_equal(early == 0, pairs.timestep >= border)
    np.testing.assert_array_equal(late == 0, pairs.timestep < border)
    close(early + late, whole)
    for a, b, together in zip(early_slope, late_slope, slopes, strict=True):
        close(a + b, together)


def mapo_score(x):
    """x / (e^x - 1): -log p times the odds of p = e^-x, in fifty digits."""
    x = mp.mpf(x)
    return x / mp.expm1(x) if x else mp.mpf(1)


def mapo_slope(x):
    """Its slope; at 0 it is -1/2."""
    x = mp.mpf(x)
    return (mp.expm1(x) - x * mp.exp(x)) / mp.expm1(x) ** 2 if x else mp.mpf(-0.5)


def denoising(chosen, rejected):
    return poz.Denoising(*[torch.tensor(x, dtype=torch.float64) for x in (chosen, rejected)])


@pytest.mark.parametrize("error", [0.0, 1e-12, 1e-3, 0.5, 0.599, 0.601, 2.0, 3.0, 40.0, 800.0])
def test_mapo_scores_errors_by_their_odds(error):
    """u = T [f(c E_w) - f(c E_l)] with f(x) = x / (e^x - 1), no digit lost near 0 nor beyond e^700; f(0) = 1."""
    losses, gradients = differentiated(
        poz.mapo.bind(ratio_weight=0.7, snr=0.5, timesteps=4.0), denoising([error, 2.0], [2.0, error])
    )
    with mp.workdps(50):
        for i, (w, v) in enumerate([(mp.mpf(error), mp.mpf(2)), (mp.mpf(2), mp.mpf(error))]):
            u = 4 * (mapo_score(w / 2) - mapo_score(v / 2))
            close(losses[i], float(w + 0.7 * mp.log1p(mp.exp(-u))))
            pull = mp.mpf(0.7) * 4 / (1 + mp.exp(u)) * mp.mpf(0.5)
            close(gradients[0][i], float(1 - pull * mapo_slope(w / 2)))
            close(gradients[1][i], float(pull * mapo_slope(v / 2)))


@given(SEEDS)
def test_mapo_lowers_the_error_of_chosen_and_raises_that_of_rejected(seed):
    """f falls, by at most c/2: the slope of chosen is 1 and up to λ T c / 2 more, that of rejected up to that below 0."""
    pairs = denoising(*[x.tolist() for x in errors(seed)[:2]])
    losses, (chosen, rejected) = differentiated(poz.mapo.bind(ratio_weight=0.5, snr=0.5, timesteps=8.0), pairs)
    assert ((chosen >= 1) & (chosen <= 2)).all()
    assert ((rejected <= 0) & (rejected >= -1)).all()
    same = pairs._replace(rejected=pairs.chosen)
    close(poz.mapo(same, ratio_weight=0.5), pairs.chosen + 0.5 * LOG2)
    assert (losses >= pairs.chosen).all()


@given(SEEDS)
def test_mapo_of_small_errors_is_diffusion_dpo_without_a_reference(seed):
    """f(x) = 1 - x/2 + r with 0 <= r <= x²/12: as c falls with β = T c, u tends to -β (E_w - E_l) / 2."""
    beta, c, weight = 2.0, 1e-4, 0.7
    pairs = denoising(*[x.tolist() for x in errors(seed)[:2]])
    losses, slopes = differentiated(poz.mapo.bind(ratio_weight=weight, snr=c, timesteps=beta / c), pairs)
    zero = torch.zeros_like(pairs.chosen)
    bare = pairs._replace(ref_chosen=zero, ref_rejected=zero)
    preference, others = differentiated(poz.diffusion_dpo.bind(beta=beta), bare)
    largest = torch.maximum(*pairs[:2])
    off = beta * c * largest**2 / 12  # of u; scores are near 1, and T = 2e4 times their rounding is 1e-11 of u
    assert (abs(losses - (pairs.chosen + weight * preference)) <= weight * off + 1e-11).all()
    # A slope is λ σ(-u) times that of u: the first moves by a quarter of u's change, the second by β c E / 6.
    off_slope = weight * (beta / 2 * off / 4 + beta * c * largest / 6) + 1e-11
    for own, a, b in zip((1, 0), slopes, others, strict=True):
        assert (abs(a - (own + weight * b)) <= off_slope).all()


@pytest.mark.parametrize("timesteps", [10.0, 1000.0, 1e6])
def test_mapo_of_many_timesteps_is_a_hinge(timesteps):
    """softplus(-T d) / T is within log 2 / T of max(0, -d): a pair in the right order is left to denoising alone."""
    pairs = denoising([0.2, 0.5, 3.0], [0.5, 0.2, 3.0])
    losses, (chosen, rejected) = differentiated(poz.mapo.bind(ratio_weight=0.1, timesteps=timesteps), pairs)
    with mp.workdps(50):
        near, far, tie = ((float(mapo_score(x / 2)), float(mapo_slope(x / 2)) / 2) for x in (0.2, 0.5, 3.0))
    behind = torch.tensor([0.0, near[0] - far[0], 0.0])
    over = (losses - pairs.chosen) / (0.1 * timesteps) - behind
    # The rounding of scores near 1, beside that of an error over λ T.
    assert ((over >= -1e-14) & (over <= LOG2 / timesteps + 1e-14)).all()
    gone = math.exp(-timesteps * (near[0] - far[0]))  # how much of the slope the order has taken away
    pull = 0.1 * timesteps
    expected = [1 - pull * near[1] * gone / (1 + gone), 1 - pull * far[1] / (1 + gone), 1 - pull * tie[1] / 2]
    # u is T times scores near 1: an absolute rounding of T times 1e-16.
    tolerance = {"rtol": 1e-12 + 1e-15 * timesteps, "atol": 1e-13}
    np.testing.assert_allclose(chosen, expected, **tolerance)
    opposite = [pull * far[1] * gone / (1 + gone), pull * near[1] / (1 + gone), pull * tie[1] / 2]
    np.testing.assert_allclose(rejected, opposite, **tolerance)

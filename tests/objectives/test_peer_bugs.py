"""Inputs on which released trainers give NaN or a wrong number, and traps in published formulas.

More of them stand beside their objectives: ORPO, AlphaPO and ARPO in `test_length_laws`, DiscoPOP in `test_discovered_laws`,
the exponentials in `test_link_laws`, infinities in `test_laws`, ignored tokens in `test_linear_logps`.
"""

import math

import numpy as np
import pytest
import torch
from mpmath import mp

import poz
from poz.testing import draw_case
from poz.testing.runners import log_prob_fields

MASKS = ("mask", "chosen_mask", "rejected_mask")


def pairs(chosen, rejected, **fields):
    """Pairs under a uniform reference of log-prob 0, in float64."""
    sides = [np.atleast_1d(np.asarray(x, float)) for x in (chosen, rejected)]
    return poz.Pairs(
        *sides, **{"ref_chosen": np.zeros_like(sides[0]), "ref_rejected": np.zeros_like(sides[1]), **fields}
    )


def with_slopes(objective, batch, fields):
    """Losses, and the gradient of their sum by field, in the dtypes of the batch."""
    given = {f: torch.as_tensor(x) for f, x in batch._asdict().items() if x is not None}
    given |= {f: given[f].clone().requires_grad_() for f in fields}
    losses = objective(type(batch)(**given))
    found = torch.autograd.grad(losses.sum(), [given[f] for f in fields], materialize_grads=True)
    return losses.detach().numpy(), {f: g.numpy() for f, g in zip(fields, found, strict=True)}


@pytest.mark.parametrize("name", poz.zoo)
def test_logits_beyond_ten_thousand_in_sixteen_bits(name):
    """Float16 ends at 65504: a margin of log-probs down to -60000, or its square, is infinite in it; a slope may be."""
    objective, batch = draw_case(poz.zoo[name], np.random.default_rng(3), 8, 6e4)
    half = [x if x is None or x.dtype.kind != "f" else x.astype(np.float16) for x in batch]
    losses, slopes = with_slopes(objective, type(batch)(*half), log_prob_fields(objective, batch))
    assert losses.dtype == np.float32
    assert np.isfinite(losses).all()
    assert not any(np.isnan(slope).any() for slope in slopes.values())


@pytest.mark.parametrize("name", [n for n, o in poz.zoo.items() if o.optional & set(MASKS) or "chosen_mask" in o.reads])
def test_a_batch_without_a_valid_token_has_no_slope(name):
    objective, batch = draw_case(poz.zoo[name], np.random.default_rng(5), 4, 30.0)
    of = dict(zip(MASKS, ("logps", "chosen", "rejected"), strict=True))
    read = (objective.reads | objective.optional) & set(MASKS)
    none = {f: np.zeros(getattr(batch, of[f]).shape, bool) for f in read}
    losses, slopes = with_slopes(objective, batch._replace(**none), log_prob_fields(objective, batch))
    assert np.isfinite(losses).all()
    assert not any(slope.any() for slope in slopes.values())


@pytest.mark.parametrize("name", [n for n, o in poz.zoo.items() if o.family in (poz.Ranked, poz.Samples)])
def test_lists_of_no_completions_are_refused(name):
    spec = poz.zoo[name]
    read = spec.reads | {"mask"} & spec.optional
    with pytest.raises(ValueError, match=f"`{name}` needs at least one completion per prompt; got K = 0."):
        spec(spec.family(**{f: np.zeros((2, 0), bool if f == "mask" else float) for f in read}))


@pytest.mark.parametrize(("name", "parameter"), [("ipo", "tau"), ("sppo", "eta"), ("dpo", "beta"), ("gpo", "beta")])
def test_a_strength_of_zero_is_refused(name, parameter):
    """IPO's target is 1 / (2 τ)."""
    with pytest.raises(ValueError, match=rf"in \(0, inf\) for {parameter}; got 0.0"):
        poz.zoo[name].bind(**{parameter: 0.0})


@pytest.mark.parametrize("name", ["dpo", "ipo", "hinge", "chi_po", "f_dpo", "cal_dpo", "apo_zero", "r_dpo"])
def test_impossible_under_policy_and_reference_is_unknown_in_its_pair_alone(name):
    """-inf - -inf: a log-ratio that no limit settles."""
    lens = {f"{side}_len": np.full(2, 3) for side in ("chosen", "rejected")}
    clean = pairs([-2.0, -2.0], [-3.0, -3.0], **lens)
    never = pairs([-np.inf, -2.0], [-3.0, -3.0], **lens, ref_chosen=np.array([-np.inf, 0.0]))
    fields = ("chosen", "rejected", "ref_chosen", "ref_rejected")
    losses, slopes = with_slopes(poz.zoo[name], never, fields)
    expected, wanted = with_slopes(poz.zoo[name], clean, fields)
    assert np.isnan(losses[0])
    assert losses[1] == expected[1]
    assert all(slopes[f][1] == wanted[f][1] for f in fields)


def test_length_normalised_ipo_at_the_reference():
    """HALOs divides by the tokens whose log-ratio is not 0, of which there are none: (0 - 1/(2τ))², slope -1/(τ n)."""
    start = pairs([-6.0], [-8.0], chosen_len=np.array([3]), rejected_len=np.array([4]))
    start = start._replace(ref_chosen=start.chosen, ref_rejected=start.rejected)
    losses, slopes = with_slopes(poz.ipo.bind(tau=0.25, length_normalized=True), start, ("chosen", "rejected"))
    np.testing.assert_allclose(losses, [4.0], rtol=1e-15)
    np.testing.assert_allclose([slopes["chosen"], slopes["rejected"]], [[-4 / 3], [1.0]], rtol=1e-15)


def test_slic_charges_each_pair_its_own_likelihood():
    """HALOs adds losses by pair to likelihoods by token. Here: max(0, 1 - 2 + 5) + 0.5 · 2, max(0, 1 - 4 + 1) + 0.5 · 4."""
    losses, slopes = with_slopes(
        poz.slic_hf.bind(delta=1.0, regularization_weight=0.5),
        pairs([-2.0, -1.0], [-0.5, -4.0]),
        ("chosen", "rejected"),
    )
    np.testing.assert_array_equal(losses, [1 + 1.5 + 1.0, 0.5])
    np.testing.assert_array_equal(slopes["chosen"], [-1.5, -0.5])
    np.testing.assert_array_equal(slopes["rejected"], [1, 0])


def test_simpo_with_a_row_of_padding():
    """Liger's mean over no tokens is 0 / 0; ours is 0, so the pair has the logit β (p̄ - 0) - γ."""
    tokens = torch.tensor([[-1.0, -3.0], [-2.0, -2.0]], dtype=torch.float64)
    batch = poz.Pairs.from_tokens(tokens, tokens, rejected_mask=torch.tensor([[False, False], [True, True]]))
    losses = poz.simpo(batch, beta=2.0, gamma=0.5)
    np.testing.assert_allclose(losses, [math.log1p(math.exp(4.5)), math.log1p(math.exp(0.5))], rtol=1e-14)


def focal(z, gamma, detach):
    """FocalPO's -σ(z)^γ log σ(z), its weight constant or not, and the slope in z."""
    z = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    weight = torch.sigmoid(z) ** gamma
    loss = (weight.detach() if detach else weight) * poz.dpo(poz.Pairs(z, *[0 * z.detach()] * 3), beta=1.0)
    return torch.autograd.grad(loss.sum(), z)[0].numpy()


@pytest.mark.parametrize("gamma", [0.05, 0.5, 2.0])
def test_focal_po_pushes_misranked_pairs_down_unless_its_weight_is_held(gamma):
    """The slope is -σ^γ σ(-z) (1 + γ log σ): it changes sign at σ(z) = e^(-1/γ), that is z = -log(e^(1/γ) - 1)."""
    turn = -math.log(math.expm1(1 / gamma))
    z = turn + np.array([-3.0, -0.01, 0.01, 3.0])
    np.testing.assert_array_equal(np.sign(focal(z, gamma, detach=False)), [1, 1, -1, -1])
    assert (focal(z, gamma, detach=True) < 0).all()
    with mp.workdps(40):
        exact = [mp.diff(lambda t: -((1 / (1 + mp.exp(-t))) ** gamma) * -mp.log1p(mp.exp(-t)), v) for v in z]
    np.testing.assert_allclose(focal(z, gamma, detach=False), [float(e) for e in exact], rtol=1e-11)


def test_focal_po_without_focus_is_dpo():
    z = np.linspace(-20, 20, 9)
    np.testing.assert_allclose(focal(z, 0.0, detach=False), -1 / (1 + np.exp(z)), rtol=1e-13)


def test_qrpo_of_the_identity_keeps_the_minus_one_of_its_normaliser():
    """Z = ∫ e^(q/β) dq = β (e^(1/β) - 1): at β = 1 log Z is log(e - 1) = 0.541, and 1 without the -1."""
    best = poz.Samples(np.zeros((1, 1)), ref_logps=np.zeros((1, 1)), winrates=np.ones((1, 1)))
    (loss,), slopes = with_slopes(poz.qrpo.bind(beta=1.0, transform="identity"), best, ["logps"])
    distance = 1 - math.log(math.e - 1)
    assert distance == pytest.approx(1 - 0.541, abs=4e-4)
    assert loss == pytest.approx(distance**2 / 2, rel=1e-14)
    assert slopes["logps"][0, 0] == pytest.approx(-distance, rel=1e-14)
    # Without it the best completion would be at its target already, at the reference.
    for beta, lost in ((1.0, 0.4587), (0.2, 1.4e-3), (0.1, 4.6e-6)):  # β log(1 - e^(-1/β)): harmless from 0.2 on down
        assert -beta * math.log(-math.expm1(-1 / beta)) == pytest.approx(lost, rel=0.05)

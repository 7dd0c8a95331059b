"""Weighted sums of objectives."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz
from poz.testing.draws import draw_batch

GENERATOR = np.random.default_rng(0)
PAIRS = poz.Pairs(*(-GENERATOR.exponential(9, 4) for _ in range(4)), *(np.array([3.0, 5.0, 1.0, 9.0]),) * 2)


def test_the_sum_of_the_parts():
    both = poz.combine([(poz.dpo.bind(beta=0.3), 1.5), ("simpo", 0.25)])
    np.testing.assert_allclose(both(PAIRS), 1.5 * poz.dpo(PAIRS, beta=0.3) + 0.25 * poz.simpo(PAIRS), rtol=1e-15)
    assert both.reads == poz.dpo.reads | poz.simpo.reads
    assert both.family is poz.Pairs
    assert not both.reference_free
    assert poz.combine({"simpo": 1.0, "repo": 1.0}).reference_free


def test_what_a_pair_can_serve_goes_together():
    """Each part by its formula, on the numbers of the pair: a = chosen's log-ratio, b = rejected's."""
    a, b = PAIRS.chosen - PAIRS.ref_chosen, PAIRS.rejected - PAIRS.ref_rejected
    bco, nca, sppo = poz.bco.bind(beta=0.3), poz.nca.bind(beta=0.2, alpha=1e-3), poz.sppo.bind(eta=4.0)
    all_of_them = poz.combine([("dpo", 0.8), (bco, 0.4), (nca, 0.1), (sppo, 0.5), ("npo", 2.0)])
    assert all_of_them.family is poz.Pairs
    assert all_of_them.reads == {"chosen", "rejected", "ref_chosen", "ref_rejected"}
    assert all_of_them.optional == {"label", "margin"}
    expected = 0.8 * poz.dpo(PAIRS)
    expected += 0.2 * (np.log1p(np.exp(-0.3 * a)) + np.log1p(np.exp(0.3 * b)))
    expected += 0.1 * (np.log1p(np.exp(-0.2 * a)) + 0.5 * (np.log1p(np.exp(0.2 * a)) + np.log1p(np.exp(0.2 * b))))
    expected += 0.25 * ((a - 2.0) ** 2 + (b + 2.0) ** 2)
    expected += 2.0 * poz.npo(poz.Unpaired(PAIRS.rejected, ref_logps=PAIRS.ref_rejected))
    np.testing.assert_allclose(all_of_them(PAIRS), expected, rtol=1e-12)
    soft = PAIRS._replace(label=np.array([0.9, 0.5, 1.0, 0.2]))
    halves = 0.5 * ((a - 4.0 * (soft.label - 0.5)) ** 2 + (b + 4.0 * (soft.label - 0.5)) ** 2)
    np.testing.assert_allclose(poz.combine([(sppo, 1.0), ("sft", 0.0)])(soft), halves, rtol=1e-12)


def test_torch_and_jax_differentiate_what_goes_together():
    mixed = poz.combine([("dpo", 0.8), ("bco", 0.4), ("nca", 0.1), (poz.sft.bind(normalizer="batch_tokens"), 1.0)])
    logps = [torch.tensor(x, requires_grad=True) for x in PAIRS[:4]]
    whole = poz.Pairs(*logps, chosen_len=torch.tensor(PAIRS.chosen_len))
    (slope,) = torch.autograd.grad(mixed(whole).sum(), logps[0])
    a, scale = PAIRS.chosen - PAIRS.ref_chosen, 4 / PAIRS.chosen_len.sum()
    h = a - PAIRS.rejected + PAIRS.ref_rejected
    s = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    by_hand = -0.08 * s(-0.1 * h) - 0.2 * 0.1 * s(-0.1 * a) + 0.1 * 0.01 * (0.5 * s(0.01 * a) - s(-0.01 * a)) - scale
    np.testing.assert_allclose(slope, by_hand, rtol=1e-9)
    with jax.enable_x64(True):
        pairs = poz.Pairs(*(x if x is None else jnp.asarray(x) for x in PAIRS))
        there = jax.jit(jax.grad(lambda chosen: mixed(pairs._replace(chosen=chosen)).sum()))(pairs.chosen)
    np.testing.assert_allclose(there, by_hand, rtol=1e-9)


def test_weights_per_example():
    weights = np.array([0.0, 1.0, 2.0, 0.5])
    np.testing.assert_allclose(poz.combine({"dpo": weights})(PAIRS), weights * poz.dpo(PAIRS), rtol=1e-15)


def test_an_optional_field_of_one_part_may_be_required_by_another():
    both = poz.combine({"spce": 1.0, "odpo": 1.0})
    assert both.optional == {"label"}
    assert "margin" in both.reads


def test_what_couples_the_batch_depends_on_the_hyper_parameters():
    assert poz.sft.coupled == poz.sft.bind(normalizer="mean").coupled == ""
    per_token = poz.sft.bind(normalizer="batch_tokens")
    assert per_token.coupled == "the number of tokens of the batch"
    assert per_token.bind(normalizer="sum").coupled == ""
    for estimator in ("mean", "nonzero_mean"):
        assert "KL samples" in poz.kto.bind(estimator=estimator).coupled
    for estimator in ("given", "zero"):
        assert poz.kto.bind(estimator=estimator).coupled == ""
    assert poz.aot.bind(beta=0.5).coupled == poz.aot.coupled != ""


def test_a_sum_is_coupled_by_those_parts_that_are():
    assert poz.combine({"dpo": 1.0, "sft": 0.2}).coupled == ""
    both = poz.combine([("aot", 1.0), ("dpo", 1.0), (poz.sft.bind(normalizer="batch_tokens"), 0.2)])
    assert both.coupled == both.bind().coupled == f"{poz.aot.coupled}, the number of tokens of the batch"


@pytest.mark.parametrize("weight", [None, 0.2])
def test_parts_of_a_batch_whose_tokens_are_counted(weight):
    """The NLL of each completion, over 18 tokens of four: what the whole batch gives, from a part of it."""
    per_token = poz.sft.bind(normalizer="batch_tokens")
    spec = per_token if weight is None else poz.combine([("dpo", 0.8), ("bco", 0.4), (per_token, weight)])
    parts = [poz.Pairs(*(None if x is None else x[rows] for x in PAIRS)) for rows in (slice(1), slice(1, 4))]
    for counts in ((4, 18, 0), torch.tensor([4, 18, 0])):
        inside = spec.within(poz.Counts(*counts))
        assert not inside.coupled
        split = np.concatenate([inside(part) for part in parts])
        np.testing.assert_allclose(split, spec(PAIRS), rtol=1e-12)
    if weight is None:
        np.testing.assert_allclose(split, -PAIRS.chosen * 4 / 18, rtol=1e-12)
        np.testing.assert_array_equal(spec.within(poz.Counts(4, 0, 4))(PAIRS), -4 * PAIRS.chosen)


def test_torch_and_jax_differentiate_it():
    both = poz.combine({"dpo": 1.0, "ipo": 0.5})
    logps = [torch.tensor(x, requires_grad=True) for x in PAIRS[:4]]
    slope = torch.autograd.grad(both(poz.Pairs(*logps)).sum(), logps[0])[0]
    parts = [torch.autograd.grad(o(poz.Pairs(*logps)).sum(), logps[0])[0] for o in (poz.dpo, poz.ipo)]
    torch.testing.assert_close(slope, parts[0] + 0.5 * parts[1])
    with jax.enable_x64(True):
        pairs = poz.Pairs(*(x if x is None else jnp.asarray(x) for x in PAIRS))
        there = jax.jit(jax.grad(lambda chosen: both(pairs._replace(chosen=chosen)).sum()))(pairs.chosen)
    np.testing.assert_allclose(there, slope, rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({}, ValueError, "objectives of one family.*; got none"),
        ({"dpo": 1.0, "wpo": 1.0}, ValueError, r"got dpo \(poz.Pairs\), wpo \(poz.TokenPairs\)"),
        (
            {"dpo": 1.0, "kto": 1.0},
            ValueError,
            r"puts `kto` on pairs, which do not give the kl_logps, kl_ref_logps it reads",
        ),
        ({"dpp": 1.0}, KeyError, "There is no objective 'dpp'"),
        ({"dpo": None}, TypeError, r"a number or an array; got \('dpo', None\)"),
        ({"dpo": [1.0]}, TypeError, "a number or an array"),
        ("dpo", TypeError, "pairs of an objective, or its name, and a weight, .*; got 'dpo'. Say"),
        (None, TypeError, "pairs of an objective, or its name, and a weight, .*; got None. Say"),
        ([poz.dpo], TypeError, "pairs of an objective, or its name, and a weight"),
        ([(abs, 1.0)], TypeError, "pairs of an objective, or its name, and a weight"),
    ],
)
def test_errors_are_sentences(given, error, sentence):
    with pytest.raises(error, match=sentence):
        poz.combine(given)
    with pytest.raises(TypeError, match="has no hyper-parameter"):
        poz.combine({"dpo": 1.0}).bind(beta=0.1)


@pytest.mark.parametrize(
    ("weight", "error", "sentence"),
    [
        (
            np.ones((4, 1)),
            ValueError,
            r"one weight per example, an array of shape \(4,\), for `dpo`; got shape \(4, 1\)",
        ),
        (np.ones(3), ValueError, r"got shape \(3,\)"),
        (torch.ones(4), TypeError, "got torch as the weight of `dpo` but numpy"),
    ],
)
def test_weights_that_do_not_fit(weight, error, sentence):
    with pytest.raises(error, match=sentence):
        poz.combine({"dpo": weight, "ipo": 1.0})(PAIRS)


def test_a_numpy_weight_suits_jax_alone():
    weight = np.array([1.0, 2.0, 3.0, 4.0])
    both = poz.combine({"dpo": weight})
    under_jax = PAIRS._replace(**{k: jnp.asarray(v) for k, v in PAIRS._asdict().items() if v is not None})
    np.testing.assert_allclose(both(under_jax), both(PAIRS), rtol=1e-5)  # float32
    under_torch = PAIRS._replace(**{k: torch.tensor(v) for k, v in PAIRS._asdict().items() if v is not None})
    with pytest.raises(TypeError, match="got numpy as the weight of `dpo` but torch"):
        both(under_torch)


def test_a_weight_of_zero_removes_an_infinity():
    impossible = PAIRS._replace(chosen=np.array([-np.inf, -1.0, np.nan, -1.0]))
    for zero in (0.0, np.zeros(4)):
        losses = poz.combine({"sft": zero})(impossible)
        np.testing.assert_array_equal(losses, [0.0, 0.0, np.nan, 0.0])


def test_it_survives_a_copy():
    both = poz.combine([(poz.dpo.bind(beta=0.3), 1.5), ("simpo", 0.25)])
    for other in (copy.deepcopy(both), pickle.loads(pickle.dumps(both))):
        np.testing.assert_array_equal(other(PAIRS), both(PAIRS))
        assert repr(other) == repr(both)
    assert eval(repr(both), {"poz": poz})(PAIRS).tolist() == both(PAIRS).tolist()


def test_lcpo_takes_a_base_whose_samples_belong_to_all():
    """VPO's calibration samples couple a batch, but leave each pair its own posterior."""
    batch = draw_batch(poz.vpo, np.random.default_rng(0), 4, 5.0)
    bound = poz.lcpo.bind(base=poz.vpo.bind(alpha=0.5), reliability=0.8)
    assert bound.coupled == poz.vpo.coupled
    assert not poz.lcpo.coupled
    np.testing.assert_array_equal(bound(batch), poz.lcpo(batch, base=poz.vpo.bind(alpha=0.5), reliability=0.8))
    with pytest.raises(ValueError, match="takes each pair alone; got `aot`"):
        poz.lcpo.bind(base=poz.aot)

"""Laws of Relative Preference Optimization: what the embeddings, the temperature and the diagonal do, and errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import poz
from poz.kernels.packed import token_loss

SEEDS = st.integers(0, 2**32 - 1)


def close(actual, expected):
    """A dozen roundings of 1e-16 on numbers of some tens of nats, with a margin of a hundred."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def batch(seed=0, count=5, width=3):
    rng = np.random.default_rng(seed)
    return poz.Pairs(*-rng.exponential(4, (4, count)), prompt_embedding=rng.normal(size=(count, width)))


def without(pairs):
    return pairs._replace(prompt_embedding=None)


def taken(pairs, index):
    return poz.Pairs(**{name: x[index] for name, x in pairs._asdict().items() if x is not None})


@given(seed=SEEDS, count=st.integers(1, 8), beta=st.floats(0.05, 2))
def test_one_prompt_for_all_divides_beta_by_their_number(seed, count, beta):
    pairs = batch(seed, count)
    same = pairs._replace(prompt_embedding=np.repeat(pairs.prompt_embedding[:1], count, 0))
    close(poz.relative_po(same, beta=beta), poz.relative_po(without(pairs), beta=beta / count))


def test_unlike_prompts_at_a_low_temperature_leave_dpo_beside_constants():
    # cos = 0 and 1, so the others have e^-50 of the weight: their margins are 0, their losses log 2.
    pairs = batch()._replace(prompt_embedding=np.eye(5))
    close(poz.relative_po(pairs, temperature=0.02), (poz.dpo(pairs) + 4 * np.log(2)) / 5)


def test_weights_of_two_prompts_by_hand():
    # cos = 0.6 and T = 0.4 / log 3: the softmax of 0 and -0.4 / T = -log 3 is 3/4 and 1/4.
    pairs = poz.Pairs(*np.array([[2.0, 0], [0, 1], [0, 0], [0, 0]]), prompt_embedding=np.array([[5.0, 0], [3, 4]]))
    margins = np.array([[2 * 3 / 4, 1 / 4], [0, -3 / 4]])  # a = (2, 0), b = (0, 1)
    expected = np.log1p(np.exp(-margins)).mean(1)
    close(poz.relative_po(pairs, beta=1.0, temperature=0.4 / np.log(3)), expected)


@given(seed=SEEDS, temperature=st.floats(0.05, 3))
def test_only_the_angles_of_embeddings_count(seed, temperature):
    pairs = batch(seed)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = pairs._replace(prompt_embedding=pairs.prompt_embedding @ turn * rng.uniform(0.1, 10, (5, 1)))
    # The rounding of a cosine is divided by T.
    np.testing.assert_allclose(
        poz.relative_po(turned, temperature=temperature), poz.relative_po(pairs, temperature=temperature), rtol=1e-11
    )


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_lengths_whose_square_float32_does_not_hold(size):
    pairs = poz.Pairs(*[x.astype(np.float32) for x in batch()[:4]])
    angles = batch().prompt_embedding
    found, expected = (
        poz.relative_po(pairs._replace(prompt_embedding=(x * angles).astype(np.float32))) for x in (size, 1)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # a few roundings of 6e-8


def test_an_embedding_of_0_is_like_none():
    pairs = batch()
    pairs.prompt_embedding[2] = 0
    evenly = poz.relative_po(without(pairs), beta=0.1 / 5)
    found = poz.relative_po(pairs)
    close(found[2], evenly[2])
    assert np.isfinite(found).all()
    assert np.abs(found - evenly)[[0, 1, 3, 4]].min() > 1e-6


@given(seed=SEEDS, weight=st.floats(0, 1))
def test_the_diagonal_is_dpo_and_the_rest_a_mean(seed, weight):
    pairs = without(batch(seed))
    a, b = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    others = [np.mean([np.logaddexp(0, -0.1 * (a[i] - b[j])) for j in range(5) if j != i]) for i in range(5)]
    found = poz.relative_po(pairs, diagonal_weight=weight)
    close(found, weight * poz.dpo(pairs) + (1 - weight) * np.array(others))


def test_a_fifth_for_the_diagonal_of_five_is_the_plain_mean():
    pairs = batch()
    close(poz.relative_po(pairs, diagonal_weight=0.2), poz.relative_po(pairs))


@pytest.mark.parametrize("weight", [None, 0.0, 0.3, 1.0])
def test_one_pair_is_dpo_whatever_its_prompt(weight):
    pairs = batch(count=1)
    close(poz.relative_po(pairs, diagonal_weight=weight), poz.dpo(pairs))


def test_what_a_prompt_adds_to_both_its_log_ratios_does_not_cancel():
    # β log Z of a prompt: DPO does not see it. Added to all prompts alike it cancels here too.
    pairs, shift = batch(), np.array([3.0, 0, 0, 0, 0])
    moved = pairs._replace(chosen=pairs.chosen + shift, rejected=pairs.rejected + shift)
    everywhere = pairs._replace(chosen=pairs.chosen + 3, rejected=pairs.rejected + 3)
    close(poz.dpo(moved), poz.dpo(pairs))
    close(poz.relative_po(everywhere), poz.relative_po(pairs))
    assert np.abs(poz.relative_po(moved) - poz.relative_po(pairs)).min() > 1e-4


@given(seed=SEEDS)
def test_the_order_of_the_batch_does_not_matter(seed):
    pairs = batch(seed)
    order = np.random.default_rng(seed).permutation(5)
    np.testing.assert_allclose(poz.relative_po(taken(pairs, order)), poz.relative_po(pairs)[order], rtol=1e-11)


def test_a_loss_pulls_at_the_rejected_completions_of_all_prompts():
    # d L_0 / d b_j = β w_0j σ(-β w_0j (a_0 - b_j)) / 5, here with w = 1.
    pairs = without(batch())
    rejected = torch.tensor(pairs.rejected, requires_grad=True)
    tensors = poz.Pairs(*map(torch.tensor, pairs[:4]))._replace(rejected=rejected)
    (slope,) = torch.autograd.grad(poz.relative_po(tensors)[0], rejected)
    a, b = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    close(slope, 0.1 / (1 + np.exp(0.1 * (a[0] - b))) / 5)


def test_a_hyper_parameter_for_each_pair_is_that_of_its_loss():
    pairs = batch()
    given_ = {
        "beta": np.linspace(0.1, 1, 5),
        "temperature": np.linspace(0.2, 2, 5),
        "diagonal_weight": np.linspace(0, 1, 5),
    }
    one_by_one = [poz.relative_po(pairs, **{name: float(x[i]) for name, x in given_.items()})[i] for i in range(5)]
    close(poz.relative_po(pairs, **given_), one_by_one)


def test_packed_tokens_bring_their_embeddings():
    pairs = batch()
    policy, reference = (torch.tensor(np.concatenate(pairs[i : i + 2])) for i in (0, 2))
    columns = {"prompt_embedding": torch.tensor(pairs.prompt_embedding)}
    # A completion of one token is its sum.
    found = token_loss("relative_po", policy, torch.arange(11), anchors=[reference], columns=columns)
    close(found, poz.relative_po(pairs))
    with pytest.raises(ValueError, match=r"prompt_embedding must have shape \(5, width\); got \(5,\)"):
        token_loss(
            "relative_po", policy, torch.arange(11), anchors=[reference], columns={"prompt_embedding": policy[:5]}
        )


ONE = np.array([-1.0, -2.0])
BAD = {
    "one number for each prompt": (
        {"prompt_embedding": ONE},
        r"prompt_embedding of shape \(2,\), which does not fit chosen",
    ),
    "prompts of another batch": ({"prompt_embedding": np.ones((3, 4))}, r"prompt_embedding of shape \(3, 4\)"),
    "a share above one": ({"diagonal_weight": 1.5}, r"in \[0, 1\] or None for diagonal_weight; got 1.5"),
    "no temperature": ({"temperature": 0.0}, r"in \(0, inf\) for temperature; got 0.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    given_, sentence = BAD[case]
    fields = {name: x for name, x in given_.items() if name in poz.Pairs._fields}
    with pytest.raises(ValueError, match=sentence):
        poz.relative_po(poz.Pairs(*[ONE] * 4, **fields), **{k: x for k, x in given_.items() if k not in fields})

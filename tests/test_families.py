"""Families: built from tokens, swapped, and taken by JAX and torch as pytrees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz

TOKENS = np.array([[-1.0, -2.0, -4.0], [-8.0, -16.0, -32.0]])
MASK = np.array([[True, False, True], [False, False, False]])


@pytest.mark.parametrize("library", [np.asarray, torch.tensor, jnp.asarray])
def test_pairs_from_tokens_sums_what_is_not_masked(library):
    pairs = poz.Pairs.from_tokens(
        library(TOKENS),
        library(TOKENS[:, :2]),
        chosen_mask=library(MASK),
        ref_chosen=library(2 * TOKENS),
        ref_rejected=library(np.array([-5.0, -6.0])),
        opponents_chosen=library(np.stack([TOKENS, 3 * TOKENS])),
        annotator=library(np.array([1, 0])),
    )
    np.testing.assert_array_equal(pairs.chosen, [-5, 0])
    np.testing.assert_array_equal(pairs.rejected, [-3, -24])
    np.testing.assert_array_equal(pairs.chosen_len, [2, 0])
    np.testing.assert_array_equal(pairs.rejected_len, [2, 2])
    np.testing.assert_array_equal(pairs.ref_chosen, [-10, 0])
    np.testing.assert_array_equal(pairs.ref_rejected, [-5, -6])
    np.testing.assert_array_equal(pairs.opponents_chosen, [[-5, 0], [-15, 0]])
    np.testing.assert_array_equal(pairs.annotator, [1, 0])


def test_what_is_no_longer_per_token_is_taken_as_it_is():
    opponents = np.array([[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]])
    pairs = poz.Pairs.from_tokens(
        TOKENS, TOKENS, chosen_mask=MASK, ref_chosen=TOKENS[0, :2], opponents_chosen=opponents
    )
    np.testing.assert_array_equal(pairs.opponents_chosen, opponents)
    np.testing.assert_array_equal(pairs.ref_chosen, [-1, -2])


LENGTHS = (3, 0, 2, 1)
ROWS = np.array([[-1.0, np.nan, -4.0], [np.nan] * 3, [-8.0, -16.0, np.nan], [-32.0, np.nan, np.nan]])


@pytest.mark.parametrize("layout", ["cat", "interleaved"])
@pytest.mark.parametrize("library", [np.asarray, torch.tensor, jnp.asarray])
def test_halves_and_packed_tokens_are_the_same_pairs(library, layout):
    """Rows of 3, 0, 2 and 1 tokens, one of them masked; what stands at masked places is NaN."""
    valid = ~np.isnan(ROWS)
    inside = np.arange(3) < np.array(LENGTHS)[:, None]
    ends = library(np.cumsum((0, *LENGTHS)))
    half = poz.Pairs.from_halves(library(ROWS), mask=library(valid), ref_logps=library(3 * ROWS), layout=layout)
    packed = poz.Pairs.from_packed(
        library(ROWS[inside]),
        ends,
        mask=library(valid[inside]),
        ref_logps=library(np.array([-15.0, 0.0, -72.0, -96.0])),
        layout=layout,
        margin=library(np.ones(2)),
    )
    first = [0, 1] if layout == "cat" else [0, 2]
    other = [2, 3] if layout == "cat" else [1, 3]
    sums, counts = np.array([-5.0, 0.0, -24.0, -32.0]), np.array([2, 0, 2, 1])
    for pairs in (half, packed):
        for side, rows in (("chosen", first), ("rejected", other)):
            np.testing.assert_array_equal(getattr(pairs, side), sums[rows])
            np.testing.assert_array_equal(getattr(pairs, f"{side}_len"), counts[rows])
            np.testing.assert_array_equal(getattr(pairs, f"ref_{side}"), 3 * sums[rows])
    np.testing.assert_array_equal(packed.margin, 1)


def test_a_sum_of_packed_bf16_is_taken_in_float32():
    tokens = torch.full((2000,), -1.01, dtype=torch.bfloat16)
    pairs = poz.Pairs.from_packed(tokens, torch.tensor([0, 1000, 2000]))
    assert pairs.chosen.item() == pytest.approx(1000 * tokens[0].item(), rel=1e-6)
    assert pairs.chosen_len.item() == 1000


@pytest.mark.parametrize("library", [np.asarray, torch.tensor, jnp.asarray])
def test_the_last_of_packed_completions_may_be_empty(library):
    pairs = poz.Pairs.from_packed(library(np.array([-1.0, -2.0, -4.0])), library(np.array([0, 2, 3, 3, 3])))
    for side, sums, counts in (("chosen", [-3, -4], [2, 1]), ("rejected", [0, 0], [0, 0])):
        np.testing.assert_array_equal(getattr(pairs, side), sums)
        np.testing.assert_array_equal(getattr(pairs, f"{side}_len"), counts)


def test_of_one_token_each_the_reference_is_masked_as_the_policy_is():
    tokens = np.array([-1.0, -2.0])
    pairs = poz.Pairs.from_packed(tokens, np.arange(3), mask=np.array([False, True]), ref_logps=3 * tokens)
    assert (pairs.chosen[0], pairs.ref_chosen[0], pairs.rejected[0], pairs.ref_rejected[0]) == (0, 0, -2, -6)


ONE = np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: poz.Pairs.from_halves(np.ones((3, 2))), ValueError, "as many chosen as rejected .* got 3"),
        (lambda: poz.Pairs.from_halves(ONE), ValueError, r"must be \(2 \* batch, tokens\).*got \(3,\)"),
        (lambda: poz.Pairs.from_halves(TOKENS, layout="rows"), ValueError, "'cat', 'interleaved'.*got 'rows'"),
        (lambda: poz.Pairs.from_halves(TOKENS, mask=MASK[:, :2]), ValueError, r"shape of logps, \(2, 3\)"),
        (lambda: poz.Pairs.from_halves(TOKENS, mask=ONE > 0), ValueError, r"row for each of the 2 .* got \(3,\)"),
        (lambda: poz.Pairs.from_halves(TOKENS, ref_logps=ONE), ValueError, r"row for each of the 2 .* got \(3,\)"),
        (lambda: poz.Pairs.from_packed(TOKENS, np.arange(3)), ValueError, r"logps must be \(tokens,\).*got \(2, 3\)"),
        (lambda: poz.Pairs.from_packed(ONE, np.array([0, 2, 4])), ValueError, r"from 0 to the 3 tokens.*\[0, 2, 4\]"),
        (lambda: poz.Pairs.from_packed(ONE, np.array([0, 3, 2, 3])), ValueError, "must ascend"),
        (
            lambda: poz.Pairs.from_packed(ONE[:2], np.array([0, 2, 2]), ref_logps=ONE[:2]),
            ValueError,
            "of 2 numbers may be those of as many tokens or sums",
        ),
        (lambda: poz.Pairs.from_packed(ONE, np.array([0, 2, 2, 3])), ValueError, "as many chosen .* got 3"),
        (lambda: poz.Pairs.from_packed(ONE, np.zeros((2, 2), int)), ValueError, r"\(completions \+ 1,\).*\(2, 2\)"),
        (lambda: poz.Pairs.from_packed(ONE, np.zeros(0, int)), ValueError, r"\(completions \+ 1,\).*\(0,\)"),
        (lambda: poz.Pairs.from_packed(ONE, np.array([0.0, 2, 3])), TypeError, "integers of numpy.*got float64"),
        (lambda: poz.Pairs.from_packed(ONE, torch.arange(3)), TypeError, "integers of numpy.*of torch"),
        (
            lambda: poz.Pairs.from_packed(ONE, np.array([0, 2, 3]), ref_logps=np.ones(4)),
            ValueError,
            r"ref_logps must have the shape of logps, \(3,\)",
        ),
    ],
)
def test_what_makes_no_pairs_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_ranked_from_tokens():
    lists = poz.Ranked.from_tokens(
        TOKENS[None], token_mask=MASK[None], ref_logps=TOKENS[None], scores=np.array([[1.0, 0.0]])
    )
    np.testing.assert_array_equal(lists.logps, [[-5, 0]])
    np.testing.assert_array_equal(lists.ref_logps, [[-5, 0]])
    np.testing.assert_array_equal(lists.lengths, [[2, 0]])


def test_masks_of_tokens_become_booleans_on_either_side():
    tokens = poz.TokenPairs.from_tokens(TOKENS, TOKENS, chosen_mask=MASK.astype(int), rejected_mask=MASK.astype(int))
    for mask in (tokens.chosen_mask, tokens.rejected_mask):
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, MASK)


def test_a_bf16_sum_is_taken_in_float32():
    """Added up in bf16, a thousand tokens of -1.01 give -256: from there on adding one changes nothing."""
    tokens = torch.full((1, 1000), -1.01, dtype=torch.bfloat16)
    pairs = poz.Pairs.from_tokens(tokens, tokens)
    assert pairs.chosen.dtype == torch.float32
    assert pairs.chosen.item() == pytest.approx(1000 * tokens[0, 0].item(), rel=1e-6)


def test_what_is_masked_gets_no_gradient_and_no_nan():
    tokens = torch.tensor(np.where(MASK, TOKENS, np.nan), requires_grad=True)
    pairs = poz.Pairs.from_tokens(tokens, torch.tensor(TOKENS), chosen_mask=torch.tensor(MASK))
    (slope,) = torch.autograd.grad(pairs.chosen.sum(), tokens)
    np.testing.assert_array_equal(slope, MASK.astype(float))


def test_families_are_pytrees():
    pairs = poz.Pairs(jnp.zeros(2), jnp.ones(2), margin=jnp.ones(2))
    doubled = jax.tree.map(lambda x: 2 * x, pairs)
    assert isinstance(doubled, poz.Pairs)
    assert doubled.ref_chosen is None
    assert jax.jit(lambda p: p)(pairs).margin.shape == (2,)
    leaves, _ = torch.utils._pytree.tree_flatten(pairs)
    assert len([x for x in leaves if x is not None]) == 3


def test_swapping_exchanges_sides_and_turns_labels():
    one = np.ones(1)
    pairs = poz.Pairs(1 * one, 2 * one, 3 * one, 4 * one, 5 * one, 6 * one, 0.25 * one, 7 * one, None, 8 * one, 9 * one)
    swapped = pairs.swap()
    assert (swapped.chosen, swapped.rejected, swapped.ref_chosen, swapped.chosen_len) == (2, 1, 4, 6)
    assert (swapped.label, swapped.margin, swapped.opponents_chosen) == (0.75, -7, 9)
    tokens = poz.TokenPairs(one, 2 * one, chosen_mask=3 * one, label=0.25 * one).swap()
    assert (tokens.chosen, tokens.rejected_mask, tokens.chosen_mask, tokens.label) == (2, 3, None, 0.75)


@pytest.mark.parametrize("array", [np.asarray, torch.tensor, jnp.asarray], ids=["numpy", "torch", "jax"])
def test_a_tokenizers_mask_is_as_good_as_a_boolean_one(array):
    logps, mask = array([[-1.0, -2.0, -4.0]] * 2), np.array([[1, 1, 0], [0, 0, 0]])
    for whole in (array(mask), array(mask.astype(np.uint8))):
        pairs = poz.Pairs.from_tokens(logps, logps, chosen_mask=whole, rejected_mask=whole, ref_chosen=logps)
        lists = poz.Ranked.from_tokens(logps[None], token_mask=whole[None])
        for found in (pairs.chosen, pairs.rejected, pairs.ref_chosen, lists.logps[0]):
            assert np.asarray(found).tolist() == [-3.0, 0.0]
        assert np.asarray(pairs.chosen_len).tolist() == np.asarray(lists.lengths[0]).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("masked", [True, False])
def test_lengths_are_counted_exactly_in_16_bits(dtype, masked):
    """bfloat16 rounds 1001 to 1000, float16 knows no 70000."""
    tokens = torch.full((1, 70001), -0.5, dtype=dtype)
    mask = torch.arange(70001)[None] < 70001 if masked else None
    pairs = poz.Pairs.from_tokens(tokens, tokens[:, :1001], chosen_mask=mask)
    assert (pairs.chosen_len.item(), pairs.rejected_len.item()) == (70001, 1001)
    assert poz.Ranked.from_tokens(tokens[:, None], token_mask=None if mask is None else mask[:, None]).lengths == 70001
    assert poz.Unpaired.from_tokens(tokens, token_mask=mask).lengths == 70001
    assert poz.Pairs.from_tokens(*[np.full((1, 2049), -0.5, np.float16)] * 2).chosen_len == 2049
    assert poz.Pairs.from_tokens(*[jnp.full((1, 1001), -0.5, jnp.bfloat16)] * 2).chosen_len == 1001


def test_single_completions_and_samples_from_tokens():
    tokens = np.array([[-1.0, -2.0, -4.0], [-8.0, -16.0, np.nan]])
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    one = poz.Unpaired.from_tokens(tokens, token_mask=mask, ref_logps=tokens / 2, desirable=np.array([True, False]))
    assert (one.logps.tolist(), one.ref_logps.tolist(), one.lengths.tolist()) == ([-7, -24], [-3.5, -12], [3, 2])
    assert one.desirable.tolist() == [True, False]
    assert poz.Unpaired.from_tokens(tokens, token_mask=mask, ref_logps=one.ref_logps).ref_logps is one.ref_logps
    many = poz.Samples.from_tokens(
        tokens[None],
        token_mask=mask[None],
        anchor_logps=2 * tokens[None],
        ref_logps=tokens[None],
        winrates=np.ones((1, 2)),
    )
    assert (many.logps.tolist(), many.anchor_logps.tolist()) == ([[-7, -24]], [[-14, -48]])
    assert many.ref_logps.tolist() == many.logps.tolist()
    with pytest.raises(ValueError, match="anchor_logps must have the shape of logps"):
        poz.Samples.from_tokens(tokens[None], anchor_logps=tokens[None, :, :2])


def test_a_tokenizers_mask_of_tokens_is_a_boolean_one():
    tokens = torch.tensor([[-1.0, -2.0]])
    made = poz.TokenPairs.from_tokens(tokens, tokens, chosen_mask=torch.tensor([[1, 0]]))
    assert made.chosen_mask.tolist() == [[True, False]]
    assert made.rejected_mask is None
    with pytest.raises(ValueError, match="rejected_mask must have the shape of rejected"):
        poz.TokenPairs.from_tokens(tokens, tokens, rejected_mask=torch.ones(1, 3, dtype=torch.bool))

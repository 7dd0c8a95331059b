"""What scores are where the others are log-probs: refused by what needs tokens, in a sentence, and served by the rest."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import poz
from poz.jax import train_step
from poz.kernels.loss import fused_losses
from poz.plotting import curve
from poz.torch import LCPO, Scored, fused_objective, implicit_rewards, scored_losses

OWN = r"call it in a loop of your own, as in poz\.bradley_terry\(poz\.RewardPairs\(chosen=\.\.\., rejected=\.\.\.\)\)"
ZEROS = np.zeros(3)
SCORED = Scored(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
HEAD = torch.zeros(2, 2, 3), torch.zeros(4, 3), torch.zeros(2, 2, dtype=torch.long)


def scores(**fields):
    return poz.RewardPairs(ZEROS, ZEROS, **fields)


@pytest.mark.parametrize(
    ("do", "error", "said"),
    [
        (lambda: scored_losses("bradley_terry", SCORED), TypeError, rf"RewardTrainer\. Or {OWN}"),
        (lambda: scored_losses("heron", SCORED), TypeError, r"RewardTrainer\. Or call it in a loop .*rejected_factors="),
        (lambda: scored_losses("adaptive_margin", SCORED), TypeError, r"RewardTrainer\. Or call it in a loop .*strength="),
        (lambda: scored_losses("odpo", SCORED), ValueError, "'margin', which the scored batch does not have; it has no columns"),
        (lambda: curve(poz.gpm, ZEROS), ValueError, "`gpm` reads no score, so there is no margin to draw it against"),
        (lambda: train_step(2, id), TypeError, "train_step needs a text or an Objective for objective; got 2"),
        (lambda: train_step("bradly_terry", id), KeyError, "Did you mean 'bradley_terry'"),
        (lambda: implicit_rewards(poz.bradley_terry, SCORED), TypeError, OWN),
        (lambda: implicit_rewards(poz.diffusion_dpo, SCORED), TypeError, "reads poz.Denoising, which pairs"),
        (lambda: fused_objective(poz.bradley_terry, *HEAD), ValueError, "log-probs of tokens. Call it on what the model gives"),
        (lambda: LCPO(poz.bradley_terry), ValueError, "needs a base on pairs; got `bradley_terry`, which reads poz.RewardPairs"),
        (lambda: poz.bradley_terry(poz.Pairs(ZEROS, ZEROS)), TypeError, "reads poz.RewardPairs; got Pairs"),
        (lambda: poz.bradley_terry(poz.RewardPairs(ZEROS)), ValueError, "reads rejected, which is missing"),
        (lambda: poz.bradley_terry(poz.RewardPairs(np.arange(3), ZEROS)), TypeError, "scores for chosen; got int64"),
        (lambda: poz.bradley_terry(scores(tie=ZEROS)), TypeError, "needs booleans for tie; got float64"),
        (lambda: poz.bradley_terry(scores(label=ZEROS - 1)), ValueError, r"needs labels in \[0, 1\]"),
        (lambda: poz.bradley_terry(scores(margin=np.zeros(2))), ValueError, r"margin of shape \(2,\), which does not fit chosen"),
        (lambda: poz.bradley_terry(scores(), temperature=torch.ones(3)), TypeError, "numpy for the scores; give"),
        (lambda: poz.adaptive_margin(scores()), ValueError, "reads strength, which is missing"),
        (lambda: poz.adaptive_margin.bind(flip_below=0.5), ValueError, r"\(-inf, 0\] or None for flip_below; got 0.5"),
        (lambda: poz.combine({"bradley_terry": 1, "dpo": 1}), ValueError, r"got bradley_terry \(poz.RewardPairs\), dpo"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(do, error, said):
    with pytest.raises(error, match=said):
        do()


@pytest.mark.parametrize("array", [np.asarray, torch.tensor, jnp.asarray], ids=["numpy", "torch", "jax"])
def test_heads_are_pairs_of_their_own(array):
    rng = np.random.default_rng(0)
    chosen, rejected, label = *rng.normal(0, 2, (2, 4, 5)), rng.choice([0.0, 0.5, 1.0], (4, 5))
    margin, tie = rng.normal(0, 1, 4), np.array([True, False, True, False])
    with pytest.raises(ValueError, match=r"one score per .*got shape \(4, 5\)\..*Of several heads, take .*from_heads"):
        poz.bradley_terry(poz.RewardPairs(array(chosen), array(rejected)))
    given = {"label": array(label), "margin": array(margin), "tie": array(tie)}
    flat = poz.RewardPairs.from_heads(array(chosen), array(rejected), **given)
    losses = np.asarray(poz.bradley_terry(flat, centering=0.1)).reshape(4, 5)
    for h in range(5):
        one = poz.RewardPairs(chosen[:, h], rejected[:, h], label[:, h], margin, tie)
        rtol = 1e-6 if array is jnp.asarray else 1e-14  # JAX makes float32 of it
        np.testing.assert_allclose(losses[:, h], poz.bradley_terry(one, centering=0.1), rtol=rtol)


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"margin": np.zeros(5)}, ValueError, r"needs \(4, 5\) for margin, as chosen; got \(5,\)"),
        ({"margin": np.zeros((4, 1))}, ValueError, r"for margin, as chosen; got \(4, 1\)"),
        ({"rejected": np.zeros(4)}, ValueError, r"for rejected, as chosen; got \(4,\)"),
        ({"chosen": np.zeros(4)}, ValueError, r"shape \(batch, heads\) for chosen; got \(4,\)"),
        ({"scales": np.zeros((4, 5))}, TypeError, "got scales, which is none"),
        ({"label": [1.0] * 4}, TypeError, "An array of NumPy, torch or JAX is needed; got list"),
    ],
)
def test_heads_that_do_not_fit_are_refused(fields, error, said):
    with pytest.raises(error, match=said):
        poz.RewardPairs.from_heads(**{"chosen": np.zeros((4, 5)), "rejected": np.zeros((4, 5)), **fields})


def test_swapping_turns_margin_and_strength_round():
    given = scores(label=ZEROS + 0.25, margin=ZEROS + 1, strength=ZEROS - 2, chosen_factors=np.ones((3, 2)))
    swapped = given._replace(chosen=ZEROS + 7).swap()
    assert swapped.rejected[0] == 7
    assert (swapped.label[0], swapped.margin[0], swapped.strength[0]) == (0.75, -1, 2)
    assert swapped.chosen_factors is None
    assert swapped.rejected_factors is given.chosen_factors


@pytest.mark.parametrize("array", [np.asarray, torch.tensor, jnp.asarray], ids=["numpy", "torch", "jax"])
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8])
@pytest.mark.parametrize("family", [poz.Pairs, poz.RewardPairs, poz.TokenPairs])
def test_swapping_turns_numbers_without_a_sign_round(array, kind, family):
    most = np.iinfo(kind).min if kind is np.int8 else 1  # -128, which has no opposite of 8 bits
    sides = array(np.zeros((2, 3) if family is poz.TokenPairs else 2, np.float32))
    margin = {} if family is poz.TokenPairs else {"margin": array(np.array([most, 0], kind))}
    swapped = family(sides, sides, label=array(np.array([1, 0], kind)), **margin).swap()
    assert np.array_equal(swapped.label, [0, 1])
    if margin:
        assert np.array_equal(swapped.margin, [-int(most), 0])


def test_swapping_needs_one_library():
    with pytest.raises(TypeError, match="label is of numpy and the sides of torch; give one library's arrays"):
        poz.RewardPairs(torch.zeros(2), torch.zeros(2), label=np.array([True, False])).swap()


def test_a_kernel_takes_scores_in_their_family():
    given = poz.RewardPairs(torch.tensor([2.0, 1.0]), torch.tensor([1.0, -1.0]), tie=torch.tensor([False, True]))
    losses = fused_losses("bradley_terry", given, {"tie_weight": 0.5})
    torch.testing.assert_close(losses, torch.tensor([float(np.log1p(np.exp(-1))), 2.0]))


def test_a_score_is_drawn_against_its_margin():
    """Both move, so that what centres them adds nothing; the slope is that of the loss along the margin."""
    margins = np.array([-1.0, 0.0, 2.0])
    losses, slope = curve(poz.bradley_terry.bind(centering=0.3, temperature=2.0), margins)
    np.testing.assert_allclose(losses, np.log1p(np.exp(-margins / 2)))
    np.testing.assert_allclose(slope, -0.5 / (1 + np.exp(margins / 2)))


class Linear(nnx.Module):
    def __init__(self):
        self.weight = nnx.Param(jnp.zeros(2))


def test_a_reward_model_is_trained_in_jax():
    """And its margin and accuracy are told."""
    model, rows = Linear(), jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 0.0]]])
    optimizer = nnx.Optimizer(model, optax.sgd(1.0), wrt=nnx.Param)
    step = train_step(
        "bradley_terry", lambda model, rows: poz.RewardPairs(*jnp.swapaxes(rows @ model.weight[...], 0, 1))
    )
    first, second = step(model, optimizer, rows), step(model, optimizer, rows)
    assert float(first["loss"]) == pytest.approx(np.log(2))
    # slope of the weights: -((1, -1) + (-3, 2)) / 4 = (0.5, -0.25), so they are (-0.5, 0.25): margins -0.75 and 2
    assert float(second["margin"]) == pytest.approx(0.625)
    assert float(second["accuracy"]) == 0.5


def test_accuracy_in_jax_is_of_what_is_known_to_be_better():
    """Right, right, wrong; of a draw and of a tie nothing is."""
    from poz.jax import train_step

    model, margins = Linear(), jnp.array([1.0, -1.0, 1.0, -1.0, -1.0])
    model.weight[...] = jnp.array([1.0, 0.0])
    label, tie = jnp.array([0.8, 0.2, 0.2, 0.5, 1.0]), jnp.arange(5) == 4
    step = train_step(
        poz.bradley_terry,
        lambda model, rows: poz.RewardPairs(rows * model.weight[0], 0 * rows, label=label, tie=tie),
    )
    metrics = step(model, nnx.Optimizer(model, optax.sgd(1.0), wrt=nnx.Param), margins)
    assert float(metrics["accuracy"]) == pytest.approx(2 / 3)
    assert float(metrics["margin"]) == pytest.approx(-0.2)

"""A family that a user declares is as good as one of poz's: drawn, checked, verified, plotted, filled and shared out."""

import copy
import pickle
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz
from poz.columns import columns_read
from poz.domains import Real
from poz.families import family, layout_of
from poz.kernels.loss import fused_losses
from poz.objective import objective
from poz.plotting import curve
from poz.testing import conform, draw_case, draws_of, refusal, verify
from poz.torch import Scored, scored_losses, slopes, whole_batch

SIDES = {"chosen": ("b", "logp"), "rejected": ("b", "logp")}
SHAPES = {**SIDES, "margin": ("b", "number"), "weights": ("b", "amount")}


@family(SHAPES, sides=("chosen", "rejected"))
class RewardPairs(NamedTuple):
    """Scores of a reward model, and by how much people prefer chosen."""

    chosen: Any
    rejected: Any
    margin: Any = None
    weights: Any = None


@draws_of(RewardPairs)
def reward_pairs(objective, rng, size, widest):
    scores = rng.normal(0, min(widest, 50.0), (2, size))
    return RewardPairs(
        *scores, rng.integers(0, 4, size), np.where(rng.random(size) < 0.2, 0.0, rng.uniform(0, 2, size))
    )


def reference(chosen, rejected, margin, *, scale=1.0, weights=None):
    """w softplus(-(c - r - s m)); d/dc = -w σ(-z)."""
    z = chosen - rejected - scale * margin
    w = np.ones_like(z) if weights is None else weights
    slope = -w * np.exp(-np.logaddexp(0, z))
    return np.where(w == 0, 0.0, w * np.logaddexp(0, -z)), {"chosen": slope, "rejected": -slope}


SPEC = {"title": "Reward margin", "paper": "none", "equation": "none", "formula": r"-\log\sigma(r_w-r_l-sm)"}
Scale = Annotated[float, Real("how much a step of preference is", low=0)]


@objective(**SPEC, reads="chosen rejected margin", optional="weights", reference=reference)
def reward_margin(xp, pairs: RewardPairs, *, scale: Scale = 1.0):
    """A Bradley-Terry loss of scores with a margin."""
    weights = xp.ones_like(pairs.chosen) if pairs.weights is None else pairs.weights
    margin = scale * xp.astype(pairs.margin, pairs.chosen)
    return poz.terms.times(xp, weights, xp.softplus(-(pairs.chosen - pairs.rejected - margin)))


@objective(**SPEC, reads="chosen rejected margin", reference=reference)
def wrong(xp, pairs: RewardPairs, *, scale: Scale = 1.0):
    """With the sign of the margin turned."""
    return xp.softplus(-(pairs.chosen - pairs.rejected + scale * pairs.margin))


@objective(**SPEC, reads="chosen rejected")
def alone(xp, pairs: RewardPairs):
    """Without a reference."""
    return xp.softplus(pairs.rejected - pairs.chosen)


@pytest.mark.parametrize("backend", ["numpy", "torch", "torch.compile", "jax"])
def test_it_conforms(backend):
    result = conform(reward_margin.bind(scale=0.7), backend=backend, cases=8, without=["infinite"])
    assert result, result


def test_a_mistake_is_found_and_written_in_the_users_words():
    result = conform(wrong, cases=4)
    assert not result
    assert "RewardPairs(chosen=torch.tensor(" in result.inputs
    assert "poz.RewardPairs" not in str(result)
    assert not conform(reward_margin, lambda pairs: pairs.chosen, cases=2)


def test_verify_takes_it_beside_those_of_poz():
    found = [*verify(["dpo"], ["numpy"], cases=2), *verify([reward_margin], ["numpy", "torch", "triton"], cases=2)]
    ran = [(one.objective, one.backend) for one in found]
    assert ran == [("dpo", "numpy"), ("reward_margin", "numpy"), ("reward_margin", "torch")]
    assert all(found), found
    assert "by name" in refusal(reward_margin, "triton")


def test_draws_hold_what_it_reads():
    objective, batch = draw_case(reward_margin, np.random.default_rng(0), 6)
    assert type(batch) is RewardPairs
    assert batch.chosen.shape == batch.margin.shape == (6,)
    given = {draw_case(reward_margin, np.random.default_rng(seed), 2).batch.weights is None for seed in range(9)}
    assert given == {True, False}
    losses, _ = reference(*batch[:3], weights=batch.weights, **objective.values)
    np.testing.assert_allclose(objective(batch), losses, rtol=1e-9)


def test_it_is_drawn_against_its_margin():
    losses, slope = curve(reward_margin.bind(scale=0.0), np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_allclose(losses, np.log1p(np.exp([1.0, 0.0, -2.0])))
    np.testing.assert_allclose(slope, [-0.7310585786300049, -0.5, -0.11920292202211755])  # -1 / (1 + e^z)


def test_a_trainer_on_pairs_fills_it():
    assert columns_read(reward_margin) == (("margin",), ("weights",))
    scored = Scored(
        torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), torch.ones(2, 2, dtype=torch.bool), torch.tensor([2, 2]),
        columns={"margin": torch.tensor([2.0])},
    )  # fmt: skip
    np.testing.assert_allclose(scored_losses(reward_margin, scored), [np.log1p(np.exp(-2))], rtol=1e-6)  # -3 + 7 - 2


def test_its_gradients_are_shared_out():
    batch = RewardPairs(torch.zeros(2), torch.ones(2), torch.tensor([1, 2]))
    assert whole_batch(reward_margin, batch).tolist() == reward_margin(batch).tolist()
    _, slope = slopes(reward_margin, batch)
    np.testing.assert_allclose(slope.chosen, -1 / (2 + 2 * np.exp([-2.0, -3.0])), rtol=1e-6)
    assert slope.margin is None


@pytest.mark.parametrize("array", [np.asarray, torch.tensor, jnp.asarray], ids=["numpy", "torch", "jax"])
def test_its_batches_are_checked(array):
    two, three = array(np.zeros(2)), array(np.zeros(3))
    for batch, error, said in (
        (RewardPairs(two, two), ValueError, r"reads margin, which is missing. Give RewardPairs\(chosen=\.\.\."),
        (RewardPairs(two, three, two), ValueError, "got rejected of shape"),
        (poz.Pairs(two, two, margin=two), TypeError, "reads RewardPairs; got Pairs"),
        (RewardPairs(two, two, two, two - 1), ValueError, "needs weights of 0 or more; got -1"),
        (RewardPairs(array(np.zeros((2, 3))), two, two), ValueError, "Sum those of tokens, and put"),
    ):
        with pytest.raises(error, match=said):
            reward_margin(batch)


def test_a_family_of_another_library_is_refused_while_compiling_too():
    compiled = torch.compile(lambda pairs: reward_margin(pairs), backend="eager")
    right = RewardPairs(torch.zeros(2), torch.ones(2), torch.zeros(2))
    assert compiled(right).tolist() == reward_margin(right).tolist()
    with pytest.raises(Exception, match="reads RewardPairs; got Pairs"):
        compiled(poz.Pairs(torch.zeros(2), torch.ones(2), margin=torch.zeros(2)))


def test_objectives_of_it_are_combined_copied_and_pickled():
    both = poz.combine([(reward_margin, 1.0), (wrong, 0.5)])
    batch = RewardPairs(np.zeros(2), np.ones(2), np.array([1, 2]))
    np.testing.assert_allclose(both(batch), reward_margin(batch) + 0.5 * wrong(batch))
    assert type(copy.deepcopy(batch)) is type(pickle.loads(pickle.dumps(batch))) is RewardPairs
    with pytest.raises(ValueError, match=r"one family, .*; got reward_margin \(RewardPairs\), dpo \(poz.Pairs\)"):
        poz.combine([(reward_margin, 1.0), ("dpo", 1.0)])


def test_what_it_cannot_do_is_said():
    with pytest.raises(TypeError, match="conform needs an objective that has a reference"):
        conform(alone)
    with pytest.raises(poz.UnknownObjective, match="There is no objective 'reward_margin'"):
        fused_losses("reward_margin", RewardPairs(torch.zeros(2), torch.zeros(2)))
    with pytest.raises(ValueError, match="RewardPairs has no ref_chosen to hold constant"):
        conform(reward_margin, constant=["ref_chosen"])


class Bare(NamedTuple):
    chosen: Any
    rejected: Any = None
    mask: Any = None


def test_a_class_that_is_no_family_is_refused_everywhere():
    for do in (layout_of, draws_of):
        with pytest.raises(TypeError, match=r"A family is required: poz\.Denoising.*@poz\.families\.family.*got Bare"):
            do(Bare)

    def bare(xp, pairs: Bare):
        return pairs.chosen

    with pytest.raises(TypeError, match=r"needs a family of poz.families .*@poz.families.family\(\.\.\.\); got Bare"):
        objective(**SPEC, reads="chosen")(bare)


def test_a_family_that_nobody_draws_is_refused():
    @family({**SIDES, "mask": ("b", "mask")}, sides=("chosen", "rejected"))
    class Undrawn(NamedTuple):
        chosen: Any
        rejected: Any = None
        mask: Any = None

    def undrawn(xp, pairs):
        return pairs.chosen

    undrawn.__annotations__["pairs"] = Undrawn
    this = objective(**SPEC, reads="chosen", reference=lambda chosen: (chosen, {"chosen": np.ones_like(chosen)}))(
        undrawn
    )
    with pytest.raises(TypeError, match=r"Nothing is known about drawing .*Undrawn. Put @poz.testing.draws_of"):
        conform(this)

    @draws_of(Undrawn)
    def other(objective, rng, size, widest):
        return RewardPairs(np.zeros(size), np.zeros(size))

    with pytest.raises(TypeError, match=r"What draws .*Undrawn gave RewardPairs; return the family itself"):
        conform(this)


def test_scores_are_of_either_sign_and_of_no_tokens():
    @family(SIDES, sides=("chosen", "rejected"), scores=True)
    class Scores(NamedTuple):
        chosen: Any
        rejected: Any = None

    @draws_of(Scores)
    def scores(objective, rng, size, widest):
        return Scores(*-np.abs(rng.normal(0, min(widest, 50.0), (2, size))))  # the edges alone are of either sign

    def mine(xp, pairs):
        return xp.softplus(pairs.rejected - pairs.chosen)

    mine.__annotations__["pairs"] = Scores
    this = objective(**SPEC, reads="chosen rejected", reference=lambda **pair: reference(**pair, margin=0.0))(mine)
    assert conform(this, cases=2)
    assert not conform(
        this, lambda pairs: this(pairs._replace(chosen=np.minimum(pairs.chosen, 0))), backend="numpy", cases=2
    )
    with pytest.raises(TypeError, match="needs floating-point scores for chosen; got int64"):
        this(Scores(np.arange(2), np.arange(2)))
    scored = Scored(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(TypeError, match="scores of a reward model, which a policy does not give"):
        scored_losses(this, scored)


WHOLE = {**SIDES, "mask": ("b", "mask")}


@pytest.mark.parametrize(
    ("made", "shapes", "more", "said"),
    [
        (dict, WHOLE, {}, "`dict` is no family: a NamedTuple with fields is required"),
        (Bare, SIDES, {}, "mask are fields without a shape. Declare each field, chosen, rejected, mask"),
        (Bare, {**WHOLE, "label": ("b", "number")}, {}, "label are declared and are no fields"),
        (Bare, {**WHOLE, "mask": ("b", "boolean")}, {}, r"the shape of mask must be .*got \('b', 'boolean'\)"),
        (Bare, {**WHOLE, "mask": ("x", "mask")}, {}, r"the shape of mask must be dimensions, one of b, bd"),
        (Bare, WHOLE, {"sides": "chosen"}, "sides must be .*got 'chosen'"),
        (Bare, WHOLE, {"sides": ("rejected", "chosen")}, "sides must be"),
        (Bare, WHOLE, {"sides": ("mask",)}, "its sides must hold log-probs"),
        (Bare, {**WHOLE, "rejected": ("bk", "logp")}, {}, "its sides must hold log-probs"),
        (Bare, WHOLE, {"lengths": {"chosen": "mask"}}, "lengths must name for a side a field .*'amount'; got chosen: mask"),
        (Bare, WHOLE, {"plain": {"label": 1.0}}, "plain names label, which it has not"),
        (Bare, WHOLE, {"order": "best first"}, "it has no order to declare"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_fit_is_refused(made, shapes, more, said):
    with pytest.raises(TypeError, match=said):
        family(shapes, **{"sides": ("chosen", "rejected"), **more})(made)


def test_every_field_but_the_sides_is_optional():
    class Demanding(NamedTuple):
        chosen: Any
        rejected: Any
        margin: Any

    with pytest.raises(TypeError, match="margin must be optional, as in margin: Any = None"):
        family({**SIDES, "margin": ("b", "number")}, sides=("chosen", "rejected"))(Demanding)

"""Contrastive Preference Learning: regret preferences over segments of any sequential policy."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs, TokenPairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: TokenPairs, values: Values) -> None:
    labels.check(xp, "cpl", pairs)


@objective(
    title="Contrastive Preference Learning",
    paper="arXiv:2310.13639",
    equation="eq. 5 (discounted) and eq. 6 (conservative bias)",
    formula=r"p\log(1+e^{\lambda A^--A^+})+(1-p)\log(1+e^{\lambda A^+-A^-})+w_{BC}\,\overline{-\log\pi(a_t|s_t)},\quad A=\sum_t\gamma^t\,\alpha\log\pi(a_t|s_t)",
    reads=lambda p: "chosen rejected" + " ref_chosen ref_rejected" * (p["regularizer"] == "kl"),
    optional="chosen_mask rejected_mask label",
    check_values=_check_values,
    answers=[
        Answer(
            "off-policy",
            paper="abstract: segments of any policy's behaviour are learned from, without reinforcement learning",
        )
    ],
    published=[
        Published("jhejna/cpl@b333667 configs/mw_*/cpl.yaml", {"alpha": (0.1,), "bias": (0.5,), "bc_weight": (0.0,)}),
        Published(
            "jhejna/cpl@b333667 configs/mw_state_*/cpl_bc.yaml", {"alpha": (0.1,), "bias": (1.0,), "bc_weight": (1.0,)}
        ),
        Published(
            "jhejna/cpl@b333667 configs/mw_image_*/cpl_bc.yaml", {"alpha": (0.1,), "bias": (1.0,), "bc_weight": (1.5,)}
        ),
        Published(
            "jhejna/cpl@b333667 configs/mw_*/cpl_kl.yaml", {"alpha": (0.2,), "bias": (0.75,), "regularizer": ("kl",)}
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "λ = γ = 1, log-ratios to the reference, certain labels: DPO of the sums with β = α",
            lambda p: {**p, "bias": 1.0, "discount": 1.0, "regularizer": "kl", "bc_weight": 0.0},
            lambda p: {"beta": p["alpha"]},
            lambda pairs: (
                pairs._replace(chosen_mask=None, rejected_mask=None, label=None),
                Pairs(*(x.sum(-1) for x in (pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected))),
            ),
        )
    ],
    deviations=[
        Deviation("the authors' code", "has no discount", "discount=1"),
        Deviation(
            "the authors' code", "averages CPL(BC) over the batch's segments; the same here but for ties", "bc_data"
        ),
    ],
    basis="The authors' code, executed in float64 (jhejna/cpl@b333667): tests/authors/cpl.json. The discount is the paper's, through two re-implementations that quote it. mw_image_dense ranks: poz.cpl_ranking.",
)
def cpl(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    alpha: Annotated[float, Real("α, temperature of the max-entropy policy", low=0, open="low", unit="1/nat")] = 0.1,
    bias: Annotated[
        float,
        Real(
            "λ, discount of the worse segment; below 1 it is conservative", low=0, high=1, open="low", usual=(0.1, 1.0)
        ),
    ] = 0.5,
    discount: Annotated[
        float, Real("γ, per valid step from the segment's first", low=0, high=1, open="low", usual=(0.5, 1.0))
    ] = 1.0,
    regularizer: Annotated[str, Choice("'kl' replaces log π by log(π/π_ref)", ("none", "kl"))] = "none",
    bc_weight: Annotated[float, Real("weight of the behaviour-cloning term", low=0, usual=(0.0, 1.5))] = 0.0,
    bc_data: Annotated[str, Choice("clone both segments, or the preferred one", ("all", "preferred"))] = "all",
) -> Array:
    """Logistic loss of the difference of discounted segment scores, the worse one shrunk by λ.

    A label between 0 and 1 mixes the two orders; each order shrinks its own worse segment.
    """
    sides = {"chosen": pairs.chosen_mask, "rejected": pairs.rejected_mask}
    score, cloning = {}, {}
    for side, mask in sides.items():
        logps = getattr(pairs, side)
        valid = xp.ones_like(logps) if mask is None else xp.astype(mask, logps)
        logps = logps if mask is None else xp.where(mask, logps, xp.constant(0.0, logps))
        cloning[side] = -xp.sum(logps, -1) / xp.maximum(xp.sum(valid, -1), 1.0)
        if regularizer == "kl":
            reference = getattr(pairs, f"ref_{side}")
            logps = logps - (reference if mask is None else xp.where(mask, reference, xp.constant(0.0, logps)))
        step = xp.cumsum(valid, -1) - valid
        score[side] = alpha * xp.sum(discount**step * logps, -1)
    right = xp.softplus(bias * score["rejected"] - score["chosen"])
    label = 1.0 if pairs.label is None else xp.astype(pairs.label, right)
    loss = right
    if pairs.label is not None:
        wrong = xp.softplus(bias * score["chosen"] - score["rejected"])
        loss = terms.times(xp, label, right) + terms.times(xp, 1 - label, wrong)
    if bc_data == "all":
        cloned = 0.5 * (cloning["chosen"] + cloning["rejected"])
    elif pairs.label is None:
        cloned = cloning["chosen"]
    else:
        share = xp.where(label == 0.5, label, xp.astype(label > 0.5, right))
        cloned = terms.times(xp, share, cloning["chosen"]) + terms.times(xp, 1 - share, cloning["rejected"])
    return loss + terms.times(xp, bc_weight, cloned)

"""MM-DPO: a stronger constraint on pairs with a larger known reward gap."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="DPO with dynamic reward scaling (MM-RLHF)",
    paper="arXiv:2502.10391",
    equation="eq. 5, section 4.2: the dynamic reward scaling β(δ)",
    formula=r"-\log\sigma(\beta(\delta)h),\quad\beta(\delta)=\beta\bigl(1+w(1-e^{-k\max(\delta,0)})\bigr),\ \delta=r_w-r_l",
    reads="chosen rejected ref_chosen ref_rejected margin",
    published=[
        Published("second hand: arXiv:2502.10391, section 4.2", {"beta": (0.1,), "w": (0.5,), "k": (0.5,)}),
        Published("yfzhang114/MM-RLHF@7c8af1d scripts/train/dpo_ov7b.sh", {"beta": (0.1,), "w": (0.1,)}),
    ],
    answers=[
        Answer(
            "preference-strength",
            paper="section 4.2: β rises with the gap in rewards, so that clear pairs count for more",
            test="objectives/test_reward_laws.py::test_what_is_paid_for_the_gap",
        ),
    ],
    reduces_to=[
        Limit("dpo", "w = 0", lambda p: {**p, "w": 0.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "dpo",
            "no known gap",
            lambda p: p,
            lambda p: {"beta": p["beta"]},
            lambda b: (b._replace(margin=0 * b.chosen), b),
        ),
    ],
    deviations=[
        Deviation("the authors' code", "by default one implicit β per batch, from the batch's own h", "not offered"),
        Deviation("the authors' code", "label_smoothing = 1 means no smoothing", "none"),
        Deviation("the paper", "adds λ NLL of chosen and sums over all pairs of a list", "poz.combine, and lists"),
    ],
    basis="The paper's β(δ); with it the authors' explicit branch, which their trainer does not take, executed in float64 (yfzhang114/MM-RLHF@7c8af1d): tests/authors/mm_dpo.json.",
)
def mm_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint at no gap", low=0, open="low", unit="1/nat")] = 0.1,
    w: Annotated[float, Real("w, how much larger β can get", low=0)] = 0.5,
    k: Annotated[float, Real("k, how fast it gets there", low=0, open="low")] = 0.5,
) -> Array:
    """DPO with β between β and (1 + w) β, rising with the known reward gap; a negative gap counts as 0."""
    h = terms.log_ratio_margin(pairs)
    scale = 1 - w * xp.expm1(-k * xp.relu(xp.astype(pairs.margin, h)))
    return -xp.log_sigmoid(beta * scale * h)

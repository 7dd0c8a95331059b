"""Reward-aware Preference Optimization: the implicit reward gap meets the known one."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Reward-aware Preference Optimization",
    paper="arXiv:2406.11704",
    equation="the RPO loss; its family of distances: arXiv:2502.00203",
    formula=r"D\bigl(\beta h\,\big\|\,\eta(r_w-r_l)\bigr),\quad D\in\{(z-g)^2,\ \mathrm{KL}(\sigma(g)\|\sigma(z)),\ \mathrm{KL}(\sigma(z)\|\sigma(g))\}",
    reads="chosen rejected ref_chosen ref_rejected margin",
    aliases=("rpo_sq", "rpo_bwd_kl", "rpo_fwd_kl"),
    published=[
        Published("NVIDIA/NeMo-Aligner@af2b3bd examples/nlp/gpt/conf/gpt_dpo.yaml", {"beta": (0.2,), "eta": (1.0,)})
    ],
    answers=[
        Answer(
            "preference-strength",
            test="objectives/test_reward_laws.py::test_regressions_are_zero_exactly_at_their_target",
        ),
        Answer("overfitting", test="objectives/test_purposes_shown.py::test_no_push_beyond_a_finite_margin"),
    ],
    reduces_to=[
        Limit(
            "rebel",
            "squared, β = 1",
            lambda p: {**p, "beta": 1.0, "distance": "squared"},
            lambda p: {"eta": p["eta"]},
        ),
        Limit(
            "mnpo",
            "the reference is the only opponent",
            lambda p: {**p, "distance": p["distance"].replace("forward", "backward")},
            lambda p: {
                "beta": p["beta"],
                "eta": p["eta"],
                "tau": 0.0,
                "weights": (1.0,),
                "distance": p["distance"].replace("forward", "backward"),
                "target": "reward",
            },
            lambda b: (b, b._replace(opponents_chosen=b.ref_chosen[None], opponents_rejected=b.ref_rejected[None])),
        ),
    ],
    basis="The authors' trainer, executed in float64 (NVIDIA/NeMo-Aligner@af2b3bd): tests/authors/reward_aware_po.json.",
)
def reward_aware_po(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    eta: Annotated[float, Real("η, scale of the known reward gap", low=0, open="low")] = 1.0,
    distance: Annotated[
        str,
        Choice(
            "squared difference, KL(known || implicit) or KL(implicit || known)",
            ("squared", "backward_kl", "forward_kl"),
        ),
    ] = "squared",
) -> Array:
    """Distance between the implicit reward gap z = β h and the known one g = η (r_w - r_l)."""
    z = beta * terms.log_ratio_margin(pairs)
    g = eta * xp.astype(pairs.margin, z)
    if distance == "squared":
        return (z - g) ** 2
    p, q = (g, z) if distance == "backward_kl" else (z, g)
    kept = terms.times(xp, xp.sigmoid(p), xp.log_sigmoid(p) - xp.log_sigmoid(q))
    return kept + terms.times(xp, xp.sigmoid(-p), xp.log_sigmoid(-p) - xp.log_sigmoid(-q))

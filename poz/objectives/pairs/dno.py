"""Direct Nash Optimization: regress onto win rates against the last iterate."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Limit, objective
from poz.purposes import Answer


@objective(
    title="Direct Nash Optimization",
    paper="arXiv:2404.03715",
    equation="Algorithm 1 (soft), Algorithm 2, DNO-Prct (hard)",
    formula=r"-t\log\sigma(\eta h)-(1-t)\log\sigma(-\eta h),\quad t=\sigma(r_w-r_l)",
    reads=lambda p: "chosen rejected ref_chosen ref_rejected" + " margin" * (p["target"] == "soft"),
    answers=[
        Answer(
            "intransitive", paper="abstract: a reward cannot express cycles, so general preferences are regressed on"
        ),
        Answer("online", paper="abstract: batches on policy, from round to round"),
        Answer(
            "preference-strength",
            test="objectives/test_reward_laws.py::test_regressions_are_zero_exactly_at_their_target",
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "hard labels (DNO-Prct)",
            lambda p: {**p, "target": "hard"},
            lambda p: {"beta": p["eta"]},
        ),
        Limit(
            "dno",
            "a gap too large to doubt",
            lambda p: {**p, "target": "soft"},
            lambda p: {**p, "target": "hard"},
            lambda b: (b._replace(margin=0 * b.chosen + 800), b),
        ),
    ],
    basis="The paper; no code of its authors was found. The cross-entropy of DPO's authors, "
    "executed in float64 (eric-mitchell/direct-preference-optimization@f8b8c0f): tests/authors/dno.json. The default η is DPO's β.",
)
def dno(
    xp: Namespace,
    pairs: Pairs,
    *,
    eta: Annotated[
        float, Real("η, strength of the constraint to the last iterate, `ref_`", low=0, open="low", unit="1/nat")
    ] = 0.1,
    target: Annotated[str, Choice("t, σ of the known gap in win rates, or 1", ("soft", "hard"))] = "soft",
) -> Array:
    """Cross-entropy of σ(η h) to the preference that the gap in win rates against the last iterate implies."""
    z = eta * terms.log_ratio_margin(pairs)
    if target == "hard":
        return -xp.log_sigmoid(z)
    gap = xp.astype(pairs.margin, z)
    return -xp.sigmoid(gap) * xp.log_sigmoid(z) - xp.sigmoid(-gap) * xp.log_sigmoid(-z)

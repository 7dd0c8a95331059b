"""RPO, the provably robust one: DPO with an SFT term as adversarial regulariser."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Regularized Preference Optimization",
    paper="arXiv:2405.16436",
    equation="the RPO loss, section 5 as TRL cites it",
    formula=r"-\log\sigma(\beta h)-\eta\beta\log\pi(y_w)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published(
            "YSLIU627/Regularized-Preference-Optimization@d0389c4 alignment-handbook/recipes/zephyr-7b-beta/rpo/config_full.yaml",
            {"beta": (0.01,), "eta": (0.005,)},
        ),
        Published("the same, zephyr-7b-gemma/rpo/config_full.yaml", {"beta": (0.05,), "eta": (0.005,)}),
    ],
    answers=[
        Answer(
            "over-optimisation",
            paper="abstract: the NLL of a baseline's completions is an adversarial regulariser against an imperfect reward",
        ),
        Answer(
            "displacement",
            world="displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[Limit("dpo", "η = 0", lambda p: {**p, "eta": 0.0}, lambda p: {"beta": p["beta"]})],
    basis="The authors' code, executed in float64 (YSLIU627/Regularized-Preference-Optimization@d0389c4): tests/authors/rpo_regularized.json.",
)
def rpo_regularized(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    eta: Annotated[float, Real("η, weight of the summed NLL of chosen, times β", low=0)] = 0.005,
) -> Array:
    """DPO plus η β times the summed NLL of the chosen completion."""
    return -xp.log_sigmoid(beta * terms.log_ratio_margin(pairs)) - terms.times(xp, eta * beta, pairs.chosen)

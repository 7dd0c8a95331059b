"""Value-Incentivized Preference Optimization: optimism online, pessimism offline."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Limit, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    if pairs.calibration.shape[0] == 0:
        raise ValueError("`vpo` averages over calibration samples; got none. Give at least one, or use poz.dpo.")


@objective(
    title="Value-Incentivized Preference Optimization",
    paper="arXiv:2405.19320",
    equation="Algorithms 1 and 2 with the reward written as β log(π/π_ref), v4",
    formula=r"-\log\sigma(\beta h)+s\,\alpha\beta\;\mathbb{E}_{\pi_{cal}}\bigl[\log\tfrac{\pi(y)}{\pi_{ref}(y)}\bigr]",
    reads="chosen rejected ref_chosen ref_rejected calibration ref_calibration",
    answers=[
        Answer(
            "exploration",
            paper="abstract: the value of the policy regularises the reward, with a sign for optimism online",
            test="objectives/test_theorems.py::test_vpo_incentive_is_monotone",
        ),
        Answer(
            "over-optimisation",
            under="sign=-1",
            paper="abstract: and with the other sign it is pessimistic offline",
            test="objectives/test_theorems.py::test_vpo_incentive_is_monotone",
        ),
    ],
    coupled="a mean over the calibration samples of the batch",
    check_values=_check_values,
    reduces_to=[Limit("dpo", "α = 0: no bonus", lambda p: {**p, "alpha": 0.0}, lambda p: {"beta": p["beta"]})],
    basis="Derived from the paper's principle with the gauge E_cal[r] = 0; sign corroborated by SELM eq. 4.2 and DPO-COV. SELM's loss, with "
    "either sign of α, executed in float64 (shenao-zhang/SELM@0ba546a): tests/authors/vpo.json. No code of its own was released, and the "
    "α of the experiments is not published; the default is SELM's.",
)
def vpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, weight of the value incentive", low=0, usual=(0.0, 0.5))] = 1e-3,
    sign: Annotated[int, Choice("s, +1 for optimism (online), -1 for pessimism (offline)", (1, -1))] = 1,
) -> Array:
    """DPO plus s α β times the mean log-ratio of calibration samples, the same for each pair.

    Optimism is unbounded below: however small α is, a calibration sample that wins no pair is driven out.
    """
    bonus = xp.mean(pairs.calibration - pairs.ref_calibration)
    return terms.times(xp, sign * alpha * beta, bonus) - xp.log_sigmoid(beta * terms.log_ratio_margin(pairs))

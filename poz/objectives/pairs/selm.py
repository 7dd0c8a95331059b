"""Self-Exploring Language Models: DPO that doubts the reference's own responses."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    if pairs.calibration.shape[0] == 0:
        raise ValueError("`selm` averages over samples of the reference; got none. Give at least one, or use poz.dpo.")


@objective(
    title="Self-Exploring Language Models",
    paper="arXiv:2405.19332",
    equation="eq. 4.2",
    formula=r"-\log\sigma(\beta h)+\alpha\beta\,\mathbb{E}_{\tilde y\sim\pi_{ref}}\bigl[\log\tfrac{\pi(\tilde y)}{\pi_{ref}(\tilde y)}\bigr]",
    reads="chosen rejected ref_chosen ref_rejected calibration ref_calibration",
    published=[
        Published(
            "shenao-zhang/SELM@0ba546a recipes/zephyr-selm, recipes/phi3-selm", {"alpha": (1e-3,), "beta": (0.01,)}
        ),
        Published("shenao-zhang/SELM@0ba546a recipes/llama3-selm", {"alpha": (1e-4,), "beta": (0.01,)}),
        Published(
            "shenao-zhang/SELM@0ba546a scripts/selm_trainer.py, its defaults", {"alpha": (1e-3,), "beta": (0.1,)}
        ),
    ],
    answers=[
        Answer(
            "exploration",
            paper="abstract: the objective is biased to completions that may be rewarded highly, beyond the data",
        ),
        Answer("online", paper="abstract: pairs are elicited actively, from iteration to iteration"),
    ],
    coupled="a mean over the calibration samples of the batch",
    check_values=_check_values,
    reduces_to=[
        Limit("vpo", "optimistic", lambda p: p, lambda p: {**p, "sign": 1}),
        Limit(
            "xpo",
            "αβ for its α, but for a constant",
            lambda p: p,
            lambda p: {"beta": p["beta"], "alpha": p["alpha"] * p["beta"]},
            lambda b: ((bare := b._replace(ref_calibration=0 * b.calibration)), bare),
        ),
    ],
    deviations=[Deviation("the authors' code", "each pair has its own ỹ", "the batch's mean; the same mean loss")],
    basis="The authors' code, executed in float64 (shenao-zhang/SELM@0ba546a): tests/authors/selm.json.",
)
def selm(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, weight of the optimism", low=0, usual=(0.0, 0.5))] = 1e-3,
) -> Array:
    """DPO plus α β times the mean log-ratio of samples of the iteration's reference, the same for each pair."""
    bonus = xp.mean(pairs.calibration - pairs.ref_calibration)
    return terms.times(xp, alpha * beta, bonus) - xp.log_sigmoid(beta * terms.log_ratio_margin(pairs))

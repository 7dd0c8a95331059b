"""Exploratory Preference Optimization: optimism by unlearning the reference's own samples."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    if pairs.calibration.shape[0] == 0:
        raise ValueError("`xpo` averages over samples of the reference; got none. Give at least one, or use poz.dpo.")


@objective(
    title="Exploratory Preference Optimization",
    paper="arXiv:2405.21046",
    equation="Algorithm 1 (body not read)",
    formula=r"-\log\sigma(\beta h)+\alpha\,\mathbb{E}_{\tilde y\sim\pi_{ref}}[\log\pi(\tilde y)]",
    reads="chosen rejected ref_chosen ref_rejected calibration",
    published=[
        Published(
            "TRL's default, huggingface/trl@f2cd577 docs/source/paper_index.md", {"alpha": (1e-5,), "beta": (0.1,)}
        ),
        Published("sail-sg/oat@c1a074c oat/algorithms/xpo.py, its default", {"alpha": (5e-6,)}),
    ],
    answers=[
        Answer(
            "exploration",
            paper="abstract: a bonus explores beyond the support of the first policy, provably with few samples",
        ),
        Answer("online", paper="abstract: one line more than online DPO"),
    ],
    coupled="a mean over the calibration samples of the batch",
    check_values=_check_values,
    reduces_to=[
        Limit("dpo", "α = 0", lambda p: {**p, "alpha": 0.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "vpo",
            "optimistic, α/β, without the constant of the reference",
            lambda p: p,
            lambda p: {"beta": p["beta"], "alpha": p["alpha"] / p["beta"], "sign": 1},
            lambda b: (b, b._replace(ref_calibration=0 * b.calibration)),
        ),
    ],
    basis="A port, executed in float64 (huggingface/trl@f2cd577): tests/authors/xpo.json. Another (sail-sg/oat@c1a074c), read, has the same term, though its step raises. No code of the authors was found; the "
    "paper's body was not read.",
)
def xpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, weight of the optimism", low=0, usual=(0.0, 0.5))] = 1e-5,
) -> Array:
    """Online DPO plus α times the mean log-prob of samples of the reference, the same for each pair.

    `calibration` holds those samples: the side of each pair that the reference wrote, in the policy's graph.
    """
    return terms.times(xp, alpha, xp.mean(pairs.calibration)) - xp.log_sigmoid(beta * terms.log_ratio_margin(pairs))

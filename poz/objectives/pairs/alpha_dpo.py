"""AlphaDPO: SimPO whose target margin follows how far each pair is ahead of the reference."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.purposes import Answer


def _coupled(p: Values) -> str:
    own = p["mean_gap"] is None or p["gap_std"] is None
    return "the target margins follow the mean and the spread of the batch's gaps" * own


@objective(
    title="AlphaDPO, adaptive reward margin for DPO",
    paper="arXiv:2410.10148",
    equation="the AlphaDPO loss",
    formula=r"-\log\sigma\Bigl(\beta\bigl[\Delta_\pi-\gamma'-\alpha\tfrac{G-M}{S}\bigr]\Bigr),\quad G=\Delta_\pi-\Delta_{ref},\ \Delta=\tfrac{\log p(y_w)}{|y_w|}-\tfrac{\log p(y_l)}{|y_l|}",
    reads="chosen rejected ref_chosen ref_rejected chosen_len rejected_len",
    published=[
        Published(
            "junkangwu/alpha-DPO@fab3209, training_configs/gemma-2-9b-it-alpha-dpo.yaml",
            {"beta": (10.0,), "gamma_beta_ratio": (0.4,), "alpha": (0.05,)},
        ),
        Published(
            "junkangwu/alpha-DPO@fab3209, training_configs/llama-3-8b-instruct-alpha-dpo-v2.yaml",
            {"beta": (10.0,), "gamma_beta_ratio": (0.4,), "alpha": (0.2,)},
        ),
        Published(
            "junkangwu/alpha-DPO@fab3209, training_configs/llama-3-8b-instruct-alpha-dpo.yaml",
            {"beta": (2.5,), "gamma_beta_ratio": (0.6,), "alpha": (0.2,)},
        ),
        Published(
            "junkangwu/alpha-DPO@fab3209, training_configs/mistral-7b-instruct-alpha-dpo.yaml",
            {"beta": (2.5,), "gamma_beta_ratio": (0.15,), "alpha": (0.05,)},
        ),
    ],
    answers=[
        Answer(
            "wrong-reference",
            paper="abstract: DPO depends on a reference that may be poor",
            test="objectives/test_purposes_shown.py::test_alpha_dpo_asks_for_more_where_the_reference_ranks_wrongly",
        ),
        Answer("uneven-pairs", paper="abstract: the margin of each pair adapts, where that of SimPO is one for all"),
    ],
    gradient_stops="γ' + α (G - M) / S, the target margin of a pair",
    coupled=_coupled,
    reduces_to=[
        Limit(
            "simpo",
            "α = 0",
            lambda p: {**p, "alpha": 0.0},
            lambda p: {"beta": p["beta"], "gamma": None, "gamma_beta_ratio": p["gamma_beta_ratio"]},
        )
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "keeps running means of M and S (0.9, from 0, updated before use)",
            "give them, mean_gap and gap_std",
        )
    ],
    basis="The authors' code, executed in float64 (junkangwu/alpha-DPO@fab3209): tests/authors/alpha_dpo.json. The default of α is between the released values; of the paper the abstract alone was read.",
)
def alpha_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token reward", low=0, open="low", unit="1/nat", usual=(0.5, 10.0))
    ] = 10.0,
    gamma_beta_ratio: Annotated[float, Real("γ' = γ/β, target margin", low=0, unit="nat", usual=(0.0, 1.0))] = 0.4,
    alpha: Annotated[float, Real("α, how far the margin follows a gap", low=0, unit="nat", usual=(0.0, 0.5))] = 0.1,
    mean_gap: Annotated[
        float | None, Real("M, mean of G; None: the batch's", unit="nat", usual=(-1.0, 1.0), optional=True)
    ] = None,
    gap_std: Annotated[
        float | None,
        Real("S, its spread; None: the batch's", low=0, open="low", unit="nat", usual=(0.1, 2.0), optional=True),
    ] = None,
) -> Array:
    """SimPO whose target is larger for pairs ahead of M; where all gaps are equal, or there is one, α adds nothing."""
    gap = terms.gap(xp, pairs, "", True)
    if 0 in gap.shape:
        return gap
    ahead = xp.stop_gradient(gap - terms.gap(xp, pairs, "ref_", True))
    zero, total = xp.constant(0.0, gap), xp.sum(abs(ahead))
    lag = None if mean_gap is None else ahead - mean_gap
    spread = None if gap_std is None else terms.numbers(xp, gap_std, gap)
    if lag is None or spread is None:
        apart = ~(xp.amax(ahead, -1) <= -xp.amax(-ahead, -1))  # the rounding of the mean of equal gaps is no spread
        off = xp.where(apart, ahead - xp.mean(ahead), zero)
        lag = off if lag is None else lag
        spread = (xp.sum(off**2) / max(gap.shape[-1] - 1, 1)) ** 0.5 if spread is None else spread
    safe = xp.where(spread == 0, xp.ones_like(spread), spread)
    flat = (spread == 0) | ((terms.numbers(xp, alpha, gap) == 0) & (total == total))  # an α of 0 removes infinities
    target = xp.stop_gradient(gamma_beta_ratio + terms.times(xp, alpha, xp.where(flat, zero, lag / safe)))
    both = (abs(gap) == np.inf) & (gap == target)  # then the larger one decides
    rest = xp.where(both, 1 - alpha / safe, xp.ones_like(gap))
    return -xp.log_sigmoid(beta * xp.where(both, rest * gap, gap - target))

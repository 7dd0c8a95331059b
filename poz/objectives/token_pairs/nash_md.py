"""Nash-MD-PG: policy gradient of the regularised preference game against a mixture of policy and reference."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import TokenPairs
from poz.objective import Deviation, Published, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: TokenPairs, values: Values) -> None:
    labels.check(xp, "nash_md", pairs)


@objective(
    title="Nash Learning from Human Feedback, Nash-MD-PG",
    paper="arXiv:2312.00886",
    equation="the policy gradient of Nash-MD-PG",
    formula=r"-\sum_t\operatorname{sg}\bigl[P(y\succ y')-\tfrac12-\tau c_t\bigr]\log\pi(y_t),\quad c_t=\sum_{s\ge t\text{, or all, or }t}\log\tfrac{\pi(y_s)}{\pi_{ref}(y_s)}",
    reads="chosen ref_chosen label",
    optional="chosen_mask",
    check_values=_check_values,
    aliases=("nash_md_pg",),
    published=[Published("second hand: arXiv:2312.00886, its sweep", {"tau": (0.005, 0.008, 0.01, 0.02)})],
    answers=[
        Answer(
            "intransitive",
            paper="abstract: a policy that no other is preferred to, as a reward cannot represent all preferences",
            test="objectives/test_game_losses.py::test_nash_md_climbs_the_regularised_win_rate",
        ),
        Answer(
            "online", paper="the algorithm: a completion of the policy against one of its mixture with the reference"
        ),
    ],
    deviations=[
        Deviation("the paper's main text", "log-ratio of the whole completion", "kl_credit='sequence'"),
        Deviation("the paper's appendix", "a token is charged for the log-ratios from it on", "kl_credit='to_go'"),
        Deviation("Nash-EMA-PG, self-play", "y' from an average of past policies, or π itself", "sample y' so"),
    ],
    gradient_stops="the factor of each token: win probability and log-ratios",
    basis="Second hand on the paper; no code of its authors was found. TRL's trainer, executed in float64 (huggingface/trl@f2cd577): "
    "tests/authors/nash_md.json, 'token' alone. The expectation over y: tests/objectives/test_game_losses.py::test_nash_md_climbs_the_regularised_win_rate",
)
def nash_md(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    tau: Annotated[float, Real("τ, strength of the KL constraint to the reference", low=0, unit="1/nat")] = 0.008,
    kl_credit: Annotated[
        str,
        Choice(
            "which log-ratios a token is charged for: all, those from it on, its own", ("sequence", "to_go", "token")
        ),
    ] = "sequence",
) -> Array:
    """REINFORCE on the policy's own sample `chosen`, `label` being P(it beats the mixture's); rejected is not read."""
    logps = terms.masked(xp, pairs.chosen, pairs.chosen_mask)
    charge = terms.masked(xp, pairs.chosen - pairs.ref_chosen, pairs.chosen_mask)
    if kl_credit == "sequence":
        charge = xp.sum(charge, -1)[..., None]
    elif kl_credit == "to_go":
        charge = _to_go(xp, charge)
    gain = xp.astype(pairs.label, logps)[..., None] - 0.5
    held = xp.stop_gradient(gain - terms.times(xp, tau, charge))
    return -xp.sum(terms.spared(xp, held, logps) * terms.spared(xp, xp.stop_gradient(logps), held), -1)


def _to_go(xp: Namespace, charge: Array) -> Array:
    """The sum from each token on; infinities apart, since a sum less one of them is no number."""
    endless = abs(charge) == np.inf
    finite, one = xp.where(endless, xp.constant(0.0, charge), charge), xp.astype(endless, charge)
    here, ahead = (xp.sum(x, -1)[..., None] - (xp.cumsum(x, -1) - x) for x in (finite, one))
    return xp.where(ahead > 0, xp.sum(charge, -1)[..., None], here)

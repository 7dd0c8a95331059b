"""Adaptive Rejection Preference Optimization (X-ALMA): near ties are hardly rejected."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Adaptive Rejection Preference Optimization",
    paper="arXiv:2410.03115",
    equation="the ARPO loss; constants from the authors' code",
    formula=r"-\log\sigma\bigl(\beta[\log\pi(y_w)-\tau\log\pi(y_l)]\bigr)-\alpha\,\bar p_w,\quad\tau=\min(1,s\,e^{\rho|\bar p_w-\bar p_l|}-1),\ \bar p=\tfrac{1}{|y|}\log\pi(y)",
    reads="chosen rejected chosen_len rejected_len",
    published=[
        Published(
            "fe1ixxu/ALMA@10360c3 utils/cpo_config.py",
            {"beta": (0.1,), "nll_weight": (1.0,), "scale": (0.9,), "rate": (0.4,)},
        )
    ],
    answers=[
        Answer(
            "over-rejection",
            paper="second hand: it mitigates that translations nearly as good as the chosen ones are rejected too strongly",
        ),
        Answer(
            "displacement",
            world="displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[
        Limit(
            "cpo",
            "s = 2, so that τ is always 1",
            lambda p: {**p, "scale": 2.0},
            lambda p: {"beta": p["beta"], "nll_weight": p["nll_weight"], "nll": "mean"},
        )
    ],
    deviations=[
        Deviation("the authors' code", "does not hold τ constant", "detach=False"),
        Deviation(
            "the authors' code",
            "NLL is the mean over all chosen tokens of the batch",
            "nll_weight=0, and poz.combine with poz.sft(normalizer='batch_tokens')",
        ),
        Deviation("the authors' code", "τ = -0.1 at a tie: a rejected completion is then rewarded", "as they do"),
    ],
    gradient_stops="τ, if detach",
    basis="The authors' code, executed in float64 (fe1ixxu/ALMA@10360c3): tests/authors/arpo.json. detach=True is not theirs.",
)
def arpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, scale of the summed log-probs", low=0, open="low", unit="1/nat")] = 0.1,
    nll_weight: Annotated[float, Real("α, weight of the NLL per token of chosen", low=0)] = 1.0,
    scale: Annotated[float, Real("s; τ is s - 1 at a tie", low=0, high=2, open="low")] = 0.9,
    rate: Annotated[float, Real("ρ, how fast τ rises with the gap", low=0, open="low", unit="1/nat")] = 0.4,
    detach: Annotated[bool, Choice("hold τ constant under differentiation", FLAG)] = False,
) -> Array:
    """CPO with the rejected log-prob weighted by τ, which is 1 for clearly different completions."""
    p = terms.average(xp, pairs.chosen, pairs.chosen_len)
    gap = p - terms.average(xp, pairs.rejected, pairs.rejected_len)
    rise = rate * (xp.relu(gap) + xp.relu(-gap))  # slope 0 at a tie
    below = rise < xp.log(terms.numbers(xp, 2 / scale, gap))
    tau = xp.where(below, scale * xp.exp(xp.where(below, rise, xp.constant(0.0, rise))) - 1, xp.ones_like(gap))
    tau = xp.stop_gradient(tau) if detach else tau
    return -xp.log_sigmoid(beta * (pairs.chosen - tau * pairs.rejected)) - terms.times(xp, nll_weight, p)

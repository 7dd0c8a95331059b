"""DDPO: DPO in which the tokens that a correction changed count more."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import TokenPairs
from poz.objective import Deviation, Published, objective
from poz.objectives._tokens import limit
from poz.purposes import Answer


@objective(
    title="Dense Direct Preference Optimization",
    paper="arXiv:2312.00849",
    equation="eq. 5 (v2), the segment-weighted log-prob",
    formula=r"-\log\sigma\bigl(\beta(S_w-S_l)\bigr),\quad S=\tfrac{1}{N}\sum_tw_t\log\tfrac{\pi(y_t)}{\pi_{ref}(y_t)},\ w_t\in\{1,\gamma\},\ N=\sum_tw_t",
    reads="chosen rejected ref_chosen ref_rejected chosen_changed rejected_changed",
    optional="chosen_mask rejected_mask",
    published=[
        Published("second hand: arXiv:2312.00849", {"beta": (0.5,), "gamma": (5.0,)}),
        Published("thunlp/Muffin@85d72b4 readme.md", {"beta": (0.1,), "gamma": (1.1,), "normalize": (False,)}),
        Published(
            "thunlp/Muffin@85d72b4 muffin/train/train_muffin.py, its defaults",
            {"beta": (0.5,), "gamma": (3.0,), "normalize": (False,)},
        ),
    ],
    answers=[
        Answer(
            "token-credit",
            paper="abstract: people correct segments of a response, and those count for more",
            test="objectives/test_token_laws.py::test_a_changed_token_weighs_gamma",
        ),
    ],
    reduces_to=[
        limit("dpo", "γ = 1, sums", gamma=1.0, normalize=False),
        limit("ln_dpo", "γ = 1, means", gamma=1.0, normalize=True),
    ],
    deviations=[Deviation("the authors' script", "gamma 1.1, beta 0.1, sums", "normalize=False and those numbers")],
    basis="Paper, and the authors' code, executed in float64 (thunlp/Muffin@85d72b4): tests/authors/ddpo.json.",
)
def ddpo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.5,
    gamma: Annotated[float, Real("γ, weight of a changed token", low=0, usual=(0.0, 5.0))] = 5.0,
    normalize: Annotated[bool, Choice("divide by the sum of the weights", FLAG)] = True,
) -> Array:
    """DPO on weighted sums, or weighted means, of token log-ratios; no weight at all counts as 1."""

    def score(side: str) -> Array:
        mask, changed = getattr(pairs, f"{side}_mask"), getattr(pairs, f"{side}_changed")
        ratio = terms.masked(xp, getattr(pairs, side) - getattr(pairs, f"ref_{side}"), mask)
        one = xp.ones_like(ratio)
        weights = terms.masked(xp, xp.where(changed, gamma * one, one), mask)
        total = xp.sum(terms.times(xp, weights, ratio), -1)
        size = xp.sum(weights, -1)
        return total / xp.where(size == 0, xp.ones_like(size), size) if normalize else total

    return -xp.log_sigmoid(beta * (score("chosen") - score("rejected")))

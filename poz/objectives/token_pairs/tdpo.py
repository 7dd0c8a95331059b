"""TDPO: DPO with the forward KL of each token's distribution, in two versions."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import TokenPairs
from poz.objective import Deviation, Published, objective
from poz.objectives._tokens import both, limit, summed
from poz.purposes import Answer


@objective(
    title="Token-level Direct Preference Optimization",
    paper="arXiv:2404.11999",
    equation="the TDPO1 and TDPO2 losses",
    formula=r"-\log\sigma\bigl(\beta[h-\alpha(D_l-\mathrm{sg}\,D_w)]\bigr),\quad D=\sum_tD_{KL}(\pi_{ref}\|\pi)_t",
    reads="chosen rejected ref_chosen ref_rejected chosen_kl rejected_kl",
    optional="chosen_mask rejected_mask",
    published=[
        Published(
            "Vance0124/Token-level-Direct-Preference-Optimization@2a736ec config/loss/tdpo.yaml",
            {"beta": (0.1,), "alpha": (0.5,), "version": ("tdpo1",)},
        )
    ],
    answers=[
        Answer(
            "diversity",
            paper="abstract: a KL constraint on each token balances alignment with diversity better than DPO",
        ),
    ],
    reduces_to=[
        limit("dpo", "TDPO2 with α = 0", version="tdpo2", alpha=0.0),
        limit("dpo", "no KL on either side", lambda t: (both(t, kl=0.0), summed(t))),
    ],
    gradient_stops="the KL of the chosen side in TDPO2; nothing in TDPO1",
    deviations=[Deviation("the authors' configuration", "selects TDPO1", "version='tdpo1'")],
    basis="The authors' code, executed in float64 (Vance0124/Token-level-Direct-Preference-Optimization@2a736ec): tests/authors/tdpo.json; "
    "the sums over tokens are given.",
)
def tdpo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, weight of the gap in KL, in TDPO2", low=0)] = 0.5,
    version: Annotated[str, Choice("which of the two", ("tdpo2", "tdpo1"))] = "tdpo2",
) -> Array:
    """DPO whose margin is lowered where the policy has moved further on the rejected completion."""

    def total(field: str, side: str) -> Array:
        return xp.sum(terms.masked(xp, getattr(pairs, field), getattr(pairs, f"{side}_mask")), -1)

    h = (total("chosen", "chosen") - total("rejected", "rejected")) - (
        total("ref_chosen", "chosen") - total("ref_rejected", "rejected")
    )
    moved, kept = total("rejected_kl", "rejected"), total("chosen_kl", "chosen")
    gap = moved - kept if version == "tdpo1" else terms.times(xp, alpha, moved - xp.stop_gradient(kept))
    return -xp.log_sigmoid(beta * (h - gap))

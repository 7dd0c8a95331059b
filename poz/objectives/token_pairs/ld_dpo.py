"""LD-DPO: the tokens beyond the shorter completion's length count less."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import TokenPairs
from poz.objective import Published, objective
from poz.objectives._tokens import first, limit, summed, whole
from poz.purposes import Answer


@objective(
    title="Length-Desensitized DPO",
    paper="arXiv:2409.06411",
    equation="the LD-DPO loss; the split likelihood is eq. 10 as a review of the paper cites it",
    formula=r"-\log\sigma\bigl(\beta(S_w-S_l)\bigr),\quad S=\sum_{t\le L}r_t+\alpha\sum_{t>L}r_t,\ L=\min(|y_w|,|y_l|),\ r_t=\log\tfrac{\pi(y_t)}{\pi_{ref}(y_t)}",
    reads="chosen rejected ref_chosen ref_rejected",
    optional="chosen_mask rejected_mask",
    published=[Published("second hand: huggingface/trl@f2cd577 docs/source/paper_index.md", {"alpha": (0.5,)})],
    answers=[
        Answer(
            "length-bias",
            world="length",
            paper="abstract: what length alone contributes is decoupled, as the implicit reward follows it",
            test="objectives/test_token_laws.py::test_tokens_beyond_the_shorter_length_weigh_alpha",
        ),
    ],
    reduces_to=[
        limit("dpo", "α = 1", alpha=1.0),
        limit("dpo", "equal lengths", lambda t: (first(t), summed(first(t)))),
        limit(
            "dpo",
            "α = 0, on the shorter length",
            lambda t: (whole(t), summed(first(t))),
            alpha=0.0,
            reference="weighted",
        ),
    ],
    basis="TRL 1.16, which cites the paper, and LLaMA-Factory, executed in float64 (huggingface/trl@v1.16.0, hiyouga/LLaMA-Factory@ff6d4d1): tests/authors/ld_dpo.json. No authors' code was found.",
)
def ld_dpo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[
        float, Real("α, weight of a token beyond the shorter length", low=0, high=1, usual=(0.0, 1.0))
    ] = 0.5,
    reference: Annotated[str, Choice("the reference's tokens", ("weighted", "summed"))] = "weighted",
) -> Array:
    """DPO on sums in which the excess tokens of the longer completion have weight α."""
    ones = {
        side: terms.masked(xp, xp.ones_like(getattr(pairs, side)), getattr(pairs, f"{side}_mask"))
        for side in ("chosen", "rejected")
    }
    places = {side: xp.cumsum(one, -1) for side, one in ones.items()}  # 1, 2, ... along the valid tokens
    sizes = {side: xp.sum(one, -1) for side, one in ones.items()}
    shorter = xp.where(sizes["chosen"] < sizes["rejected"], sizes["chosen"], sizes["rejected"])[..., None]

    def score(side: str) -> Array:
        mask = getattr(pairs, f"{side}_mask")
        weights = xp.where(places[side] <= shorter, ones[side], alpha * ones[side])
        policy, anchor = (terms.masked(xp, getattr(pairs, f"{of}{side}"), mask) for of in ("", "ref_"))
        policy = terms.times(xp, weights, policy)
        return xp.sum(policy, -1) - xp.sum(terms.times(xp, weights, anchor) if reference == "weighted" else anchor, -1)

    return -xp.log_sigmoid(beta * (score("chosen") - score("rejected")))

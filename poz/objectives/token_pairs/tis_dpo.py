"""TIS-DPO: DPO with token weights, by importance sampling of the tokens' rewards."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import TokenPairs
from poz.objective import Deviation, Published, objective
from poz.objectives._tokens import both, limit, summed
from poz.purposes import Answer


@objective(
    title="Token-level Importance Sampling DPO",
    paper="arXiv:2410.04350",
    equation="the TIS-DPO loss without its KL term",
    formula=r"-\log\sigma\Bigl(\beta\bigl[\sum_tw^w_t\log\tfrac{\pi(y_{w,t})}{\pi_{ref}(y_{w,t})}-\sum_tw^l_t\log\tfrac{\pi(y_{l,t})}{\pi_{ref}(y_{l,t})}\bigr]\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected chosen_weights rejected_weights",
    optional="chosen_mask rejected_mask",
    published=[Published("exlaw/TIS-DPO@cbad7c1 config/loss/tisdpo.yaml", {"beta": (0.1,)})],
    answers=[
        Answer(
            "token-credit", paper="abstract: tokens are weighted by their estimated reward, which DPO takes for equal"
        ),
    ],
    reduces_to=[limit("dpo", "every token counts 1", lambda t: (both(t, weights=1.0), summed(t)))],
    deviations=[
        Deviation("the authors' code", "with `token_level`, a term of weighted KL(π || π_ref)", "not offered"),
        Deviation("the authors' code", "weights from two contrastive models, [-1.5, 1.5] -> [0.7, 1.3]", "given"),
    ],
    basis="The authors' code, executed in float64 (exlaw/TIS-DPO@cbad7c1): tests/authors/tis_dpo.json.",
)
def tis_dpo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """DPO on sums of token log-ratios weighted by what each token is worth."""

    def weighted(side: str) -> Array:
        mask = getattr(pairs, f"{side}_mask")
        ratio = terms.masked(xp, getattr(pairs, side) - getattr(pairs, f"ref_{side}"), mask)
        weights = terms.masked(xp, xp.astype(getattr(pairs, f"{side}_weights"), ratio), mask)
        return xp.sum(terms.times(xp, weights, ratio), -1)

    return -xp.log_sigmoid(beta * (weighted("chosen") - weighted("rejected")))

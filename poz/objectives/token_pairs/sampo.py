"""SamPO: DPO on as many tokens of either completion as the shorter one has."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import TokenPairs
from poz.objective import Deviation, Limit, Published, objective
from poz.objectives._tokens import both, limit, summed, whole
from poz.objectives.token_pairs.tis_dpo import tis_dpo
from poz.purposes import Answer


@objective(
    title="Down-Sampled DPO",
    paper="arXiv:2406.10957",
    equation="eq. 3 with eq. 10",
    formula=r"-\log\sigma\Bigl(\beta\bigl[\sum_{t\in T_w}\log\tfrac{\pi(y_{w,t})}{\pi_{ref}(y_{w,t})}-\sum_{t\in T_l}\log\tfrac{\pi(y_{l,t})}{\pi_{ref}(y_{l,t})}\bigr]\Bigr),\quad|T_w|=|T_l|=\min(|y_w|,|y_l|)",
    reads="chosen rejected ref_chosen ref_rejected chosen_weights rejected_weights",
    optional="chosen_mask rejected_mask",
    published=[Published("LuJunru/SamPO@25e9631 dpo.sh, dpo_iterative.sh", {"beta": (0.1, 0.5)})],
    answers=[
        Answer(
            "length-bias",
            paper="abstract: verbosity comes from sums over unequal numbers of tokens, so as many are sampled on both sides",
            test="objectives/test_token_laws.py::test_sampo_does_not_read_the_length",
        ),
    ],
    reduces_to=[
        Limit("tis_dpo", "drawn weights", then=lambda p: p, batch=lambda t: (whole(t), whole(t))),
        limit("dpo", "every token kept, as of equal lengths", lambda t: (both(t, weights=1.0), summed(t))),
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "draws the tokens anew for the reference",
            "one draw, so that policy = reference gives log 2",
        )
    ],
    basis="Paper (section 3), and the authors' code, executed in float64 (LuJunru/SamPO@25e9631): tests/authors/sampo.json. `poz.algorithms.sampo.sampo_subset` draws the weights, 1 for a token that is kept.",
)
def sampo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """TIS-DPO with a drawn subset of the tokens as weights, the same for policy and reference."""
    return tis_dpo.function(xp, pairs, beta=beta)

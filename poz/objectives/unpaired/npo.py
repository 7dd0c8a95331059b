"""NPO: unlearning by negative examples alone."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs, Unpaired
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Negative Preference Optimization",
    paper="arXiv:2404.05868",
    equation="eq. 3",
    formula=r"-\tfrac{2}{\beta}\log\sigma\Bigl(-\beta\log\tfrac{\pi(y)}{\pi_{ref}(y)}\Bigr)",
    reads="logps ref_logps",
    optional="weights",
    published=[
        Published("licong-lin/negative-preference-optimization@1207bbe TOFU/config/forget.yaml", {"beta": (0.1,)})
    ],
    answers=[
        Answer(
            "unlearning",
            paper="abstract: exponentially slower towards collapse than gradient ascent on what is to be forgotten",
            test="objectives/test_unpaired_laws.py::test_npo_stops_where_a_completion_is_forgotten",
        ),
    ],
    reduces_to=[
        Limit(
            "sim_npo",
            "log-ratios in place of mean log-probs, nothing to retain",
            then=lambda p: {"beta": p["beta"], "gamma": 0.0, "forget_weight": 1.0, "retain_weight": 0.0},
            batch=lambda b: (
                b._replace(weights=None),
                Pairs(0 * b.logps, b.logps - b.ref_logps, chosen_len=0 * b.logps + 1, rejected_len=0 * b.logps + 1),
            ),
        ),
    ],
    deviations=[
        Deviation(
            "OPTML-Group/Unlearn-Simple on MUSE", "the gap of the logits of the whole vocabulary for a", "not offered"
        )
    ],
    basis="Paper (section 3). The authors' code, executed in float64 (licong-lin/negative-preference-optimization@1207bbe): tests/authors/npo.json.",
)
def npo(
    xp: Namespace,
    batch: Unpaired,
    *,
    beta: Annotated[
        float,
        Real("β, how soon forgetting slows down; towards 0 it is gradient ascent", low=0, open="low", unit="1/nat"),
    ] = 0.1,
) -> Array:
    """The rejected half of DPO: the slope 2σ(βa) dies out once a completion is unlikely."""
    losses = (2 / beta) * xp.softplus(beta * (batch.logps - batch.ref_logps))
    return losses if batch.weights is None else terms.times(xp, xp.astype(batch.weights, losses), losses)

"""MinorDPO: no push on a rejected completion that is below the reference already."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, objective
from poz.purposes import Answer


@objective(
    title="MinorDPO",
    paper="arXiv:2408.09834",
    equation="the MinorDPO loss",
    formula=r"-\log\sigma\Bigl(\beta\bigl[\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)}-\max\bigl(0,\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}\bigr)\bigr]\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected",
    answers=[
        Answer(
            "over-rejection",
            paper="abstract: what DPO simplified away makes its training less stable; by the title, the penalty on rejected",
            test="objectives/test_link_laws.py::test_one_sided_ones",
        ),
        Answer(
            "displacement",
            world="displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "rejected above the reference",
            lambda p: p,
            lambda p: p,
            lambda b: ((above := b._replace(ref_rejected=b.rejected - 1)), above),
        )
    ],
    basis="A port, executed in float64 (warlockee/oxRL@2a2bd5d): tests/authors/minor_dpo.json. No authors' code was found, and of "
    "the paper the abstract alone was read.",
)
def minor_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """DPO that counts a rejected log-ratio only where it is positive."""
    return -xp.log_sigmoid(beta * (pairs.chosen - pairs.ref_chosen - xp.relu(pairs.rejected - pairs.ref_rejected)))

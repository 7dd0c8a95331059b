"""AltPO: unlearn by preferring an alternate answer."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Alternate Preference Optimization",
    paper="arXiv:2409.13474",
    equation="the forget loss",
    formula=r"-\tfrac{2}{\beta}\log\sigma(\beta h)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[Published("molereddy/Alternate-Preference-Optimization@c9b78bd README.md", {"beta": (0.1,)})],
    answers=[
        Answer(
            "unlearning",
            paper="abstract: negative feedback on what is to be forgotten beside a positive one on alternatives, so that answers stay sensible",
        ),
    ],
    reduces_to=[Limit("dpo", "β = 2", lambda p: {"beta": 2.0}, lambda p: {"beta": 2.0})],
    basis="The authors' code, executed in float64 (molereddy/Alternate-Preference-Optimization@c9b78bd): tests/authors/alt_po.json; the retain "
    "term is left to poz.combine.",
)
def alt_po(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """2/β times DPO, the alternate answer as chosen and the answer to forget as rejected: NPO with an alternative."""
    return -(2 / beta) * xp.log_sigmoid(beta * terms.log_ratio_margin(pairs))

"""BPO: only the weaker side of a pair is trained."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective
from poz.purposes import Answer


@objective(
    title="Balanced Preference Optimization",
    paper="arXiv:2506.03557",
    equation="the balanced reward margin",
    formula=r"f\bigl(\beta\min(a,-\alpha b)\bigr),\quad (a,b)=\log\tfrac{\pi}{\pi_{ref}}\text{ of }(y_w,\ y_l),\ f(z)\in\{-\log\sigma(z),\ \max(0,1-z),\ (1-z)^2,\ e^{-z},\ \max(0,1-z)^2,\ \sigma(-z)^2\}",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published(
            "sunlin-ai/BPO@d882c0f train_config.yaml, train_dpo.py",
            {"beta": (0.1,), "alpha": (0.3,), "link": ("hinge",)},
        )
    ],
    answers=[
        Answer(
            "displacement",
            world="displacement",
            paper="abstract: degraded chosen responses, which the smaller of both sides' margins prevents",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    deviations=[
        Deviation("BPO of arXiv:2505.19601", "is another one, from Bregman divergences", "not this objective"),
    ],
    basis="The authors' code, executed in float64 (sunlin-ai/BPO@d882c0f): tests/authors/bpo.json; with α only its logistic and "
    "hinge, the other links at α = 1. Of the paper the abstract alone was read.",
)
def bpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, weight of the rejected log-ratio", low=0, open="low")] = 0.3,
    link: Annotated[str, Choice("f, a loss of the margin", terms.LINKS)] = "logistic",
) -> Array:
    """A classification loss of the smaller of what chosen has gained and α times what rejected has lost."""
    gain, lost = pairs.chosen - pairs.ref_chosen, -alpha * (pairs.rejected - pairs.ref_rejected)
    weaker = xp.where((gain < lost) | (gain != gain), gain, lost)  # NaN stays NaN
    return terms.linked(xp, beta * xp.where(gain == lost, 0.5 * (gain + lost), weaker), link)  # a tie is shared

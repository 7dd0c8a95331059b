"""Alignment via Optimal Transport, paired: stochastic dominance of the policy's gaps over the reference's."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.objectives._pairs import one


@objective(
    title="Distributional alignment via Optimal Transport (paired)",
    paper="arXiv:2406.05882",
    equation="the paired AOT loss with the logistic penalty, section 3 as TRL 0.28 cites it",
    formula=r"-(1-\varepsilon)\log\sigma(\beta\delta)-\varepsilon\log\sigma(-\beta\delta),\quad \delta_{(i)}=u_{(i)}-v_{(i)},\ u=\log\tfrac{\pi(y_w)}{\pi(y_l)},\ v=\log\tfrac{\pi_{ref}(y_w)}{\pi_{ref}(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("aot_paired",),
    published=[
        Published(
            "second hand: huggingface/trl@f2cd577 docs/source/paper_index.md, caption of figure 2", {"beta": (0.01,)}
        )
    ],
    coupled="both sorts run over all pairs of the batch",
    reduces_to=[Limit("dpo", "one pair", then=lambda p: p, batch=one)],
    basis="The first author's code, as added to TRL, executed in float64 (huggingface/trl@f5168fd), and TRL 1.16: "
    "tests/authors/aot.json. The paper was not read.",
)
def aot(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.01,
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, usual=(0.0, 0.5))
    ] = 0.0,
) -> Array:
    """DPO after both policies' gaps are sorted; each loss belongs to the pair whose policy gap has that place."""
    gap, reference = terms.gap(xp, pairs), terms.gap(xp, pairs, "ref_")
    place = xp.argsort(xp.argsort(xp.stop_gradient(gap)))
    partner = xp.gather(reference, xp.gather(xp.argsort(xp.stop_gradient(reference)), place))
    return terms.smoothed(xp, beta * (gap - partner), label_smoothing)

"""Alignment via Optimal Transport, unpaired: good completions' log-ratios dominate bad ones'."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.objectives._pairs import one
from poz.purposes import Answer


@objective(
    title="Distributional alignment via Optimal Transport (unpaired)",
    paper="arXiv:2406.05882",
    equation="the unpaired AOT loss with the logistic penalty, section 3 as TRL 0.28 cites it",
    formula=r"-(1-\varepsilon)\log\sigma(\beta\delta)-\varepsilon\log\sigma(-\beta\delta),\quad \delta_{(i)}=a_{(i)}-b_{(i)},\ a=\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)},\ b=\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published(
            "second hand: huggingface/trl@f2cd577 docs/source/paper_index.md, caption of figure 2", {"beta": (0.01,)}
        )
    ],
    answers=[
        Answer(
            "unpaired-data",
            paper="abstract: the rewards of good samples are to dominate those of bad ones as a distribution, with no pairs",
        ),
    ],
    coupled="both sorts run over all completions of the batch",
    reduces_to=[Limit("dpo", "one pair", then=lambda p: p, batch=one)],
    basis="The first author's code, as added to TRL, executed in float64 (huggingface/trl@f5168fd), and TRL 0.27 and 1.16: "
    "tests/authors/aot_unpaired.json. Of the paper the abstract alone was read.",
)
def aot_unpaired(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.01,
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, usual=(0.0, 0.5))
    ] = 0.0,
) -> Array:
    """Logistic loss of sorted log-ratios, chosen minus rejected; each loss belongs to the owner of the chosen one."""
    chosen, rejected = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    place = xp.argsort(xp.argsort(xp.stop_gradient(chosen)))
    partner = xp.gather(rejected, xp.gather(xp.argsort(xp.stop_gradient(rejected)), place))
    return terms.smoothed(xp, beta * (chosen - partner), label_smoothing)

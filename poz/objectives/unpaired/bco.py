"""Binary Classifier Optimization: good or bad, by a classifier whose logit is the implicit reward."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Unpaired
from poz.objective import Published, objective


@objective(
    title="Binary Classifier Optimization",
    paper="arXiv:2404.04656",
    equation="eq. 8; its δ is eq. 7",
    formula=r"-\log\sigma(\pm(\beta a-\delta)),\quad a=\log\tfrac{\pi(y)}{\pi_{ref}(y)}",
    reads="logps ref_logps desirable",
    optional="weights",
    published=[
        Published(
            "second hand: huggingface/trl@f2cd577 docs/source/paper_index.md, of the paper's section C",
            {"beta": (0.01,)},
        )
    ],
    gradient_stops="δ, a number from outside",
    basis="Paper (section 4), whose δ is half the sum of the class means, smoothed by an exponential average. TRL's removed trainer, executed "
    "in float64 (huggingface/trl@f2cd577): tests/authors/bco.json.",
)
def bco(
    xp: Namespace,
    batch: Unpaired,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    baseline: Annotated[float, Real("δ, the reward at which a completion is as likely good as bad")] = 0.0,
) -> Array:
    """Binary cross-entropy of the reward βa above the baseline δ."""
    logit = beta * (batch.logps - batch.ref_logps) - baseline
    losses = -xp.log_sigmoid(xp.where(batch.desirable, logit, -logit))
    return losses if batch.weights is None else terms.times(xp, xp.astype(batch.weights, losses), losses)

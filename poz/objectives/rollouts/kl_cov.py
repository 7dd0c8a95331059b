"""KL-Cov: the tokens whose log-prob and advantage vary together most are held to the old policy."""

from typing import Annotated

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._covariance import covariance, first
from poz.purposes import Answer


@objective(
    title="KL-Cov",
    paper="arXiv:2505.22617",
    equation="eq. 13; as the authors have it, without a clip",
    formula=r"-rA+\kappa\,[t\in I]\,\bigl|\log r\bigr|,\quad I=\text{the }\rho\text{ with the largest }(A-\bar A)(\log\pi-\overline{\log\pi}),\ r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "PRIME-RL/Entropy-Mechanism-of-RL@8850579, its scripts", {"share": (0.002, 0.0002), "kl_strength": (1.0,)}
        ),
        Published("verl@1dda039", {"share": (0.0002,), "kl_strength": (0.1,)}),
    ],
    answers=[
        Answer(
            "entropy-collapse",
            paper="the authors' README: tokens of high covariance make the entropy fall, and their updates are held back",
        ),
    ],
    basis="The authors' code, executed in float64 (PRIME-RL/Entropy-Mechanism-of-RL@8850579): tests/authors/kl_cov.json, which has verl's beside it.",
    **steps.DECLARED | {"coupled": "the covariance is over the tokens of the batch"},
)
@steps.member(aggregation="token_mean", weighs=True)
def kl_cov(
    at: steps.Steps,
    *,
    share: Annotated[
        float, Real("ρ, share of the tokens that are held; one at least", low=0, high=1, open="low", usual=(0.01, 1.0))
    ] = 0.002,
    kl_strength: Annotated[float, Real("κ, weight of their absolute log-ratio", low=0)] = 1.0,
) -> Array:
    """The unclipped surrogate, and a penalty on those few tokens that would lose most entropy."""
    xp, (found, mean) = at.xp, covariance(at)
    held = first(at, -found, at.valid > 0, share)
    plain, far = at.surrogate(at.weighted(at.log_ratio)), xp.relu(at.log_ratio) + xp.relu(-at.log_ratio)
    penalty = terms.times(xp, kl_strength * terms.exponential(xp, at.log_weights), far)
    return plain + 0 * mean + xp.where(held, penalty, xp.constant(0.0, plain))  # beside an infinity none is largest

"""KL-Cov: the tokens whose log-prob and advantage vary together most are held to the old policy."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps


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
    basis="The authors' code, executed in float64 (PRIME-RL/Entropy-Mechanism-of-RL@8850579): tests/authors/kl_cov.json, which has verl's beside it.",
    **steps.DECLARED | {"coupled": "the covariance is over the tokens of the batch"},
)
@steps.member(aggregation="token_mean")
def kl_cov(
    at: steps.Steps,
    *,
    share: Annotated[
        float, Real("ρ, share of the tokens that are held; one at least", low=0, high=1, open="low", usual=(0.01, 1.0))
    ] = 0.002,
    kl_strength: Annotated[float, Real("κ, weight of their absolute log-ratio", low=0)] = 1.0,
) -> Array:
    """The unclipped surrogate, and a penalty on those few tokens that would lose most entropy."""
    xp = at.xp
    flat = [xp.stop_gradient(x * xp.ones_like(at.logps)).reshape(-1) for x in (at.valid, at.advantages, at.logps)]
    valid, advantages, logps = flat
    number = xp.sum(valid)
    means = [xp.sum(valid * x) / xp.maximum(number, 1.0) for x in (advantages, logps)]
    covariance = xp.where(valid > 0, (advantages - means[0]) * (logps - means[1]), valid - np.inf)
    rank = xp.astype(xp.argsort(xp.argsort(-covariance)), logps) + 1
    most = xp.maximum(share * number, 1.0)
    held = ((rank <= most) & (valid > 0)).reshape(at.logps.shape)
    plain = at.surrogate(terms.exponential(xp, at.log_ratio))
    return plain + kl_strength * xp.where(held, xp.relu(at.log_ratio) + xp.relu(-at.log_ratio), xp.constant(0.0, plain))

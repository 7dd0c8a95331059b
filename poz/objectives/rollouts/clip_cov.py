"""Clip-Cov: PPO without a few tokens whose log-prob and advantage vary together much, taken at random."""

from typing import Annotated

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Deviation, Limit, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.objectives.rollouts._covariance import covariance, first
from poz.purposes import Answer


@objective(
    title="Clip-Cov",
    paper="arXiv:2505.22617",
    equation="as the authors have it",
    formula=r"-[t\notin I]\min\bigl(rA,\operatorname{clip}(r,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad I=\text{a share }\rho\text{, at random, of those not clipped with }\omega_l<(A-\bar A)(\log\pi-\overline{\log\pi})<\omega_h,\ r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "PRIME-RL/Entropy-Mechanism-of-RL@8850579, its scripts",
            {
                "share": (0.0002,),
                "band_low": (1.0,),
                "band_high": (5.0,),
                "epsilon_low": (1.0,),
                "epsilon_high": (1.0,),
            },
        ),
        Published("verl@1dda039", {"share": (0.0002,), "epsilon_low": (0.2,), "epsilon_high": (0.2,)}),
    ],
    answers=[
        Answer(
            "entropy-collapse",
            paper="the authors' README: tokens of high covariance make the entropy fall, and their updates are held back",
        ),
    ],
    deviations=[
        Deviation(
            "PRIME-RL/Entropy-Mechanism-of-RL@8850579",
            "draws the tokens inside the loss from the global generator, so that two calls differ",
            "the choice is that of `noise`",
        ),
    ],
    reduces_to=[
        Limit(
            "ppo_clip",
            "an empty band",
            lambda p: {**p, "band_high": p["band_low"]},
            lambda p: {k: x for k, x in p.items() if k not in ("share", "band_low", "band_high")},
        )
    ],
    basis="The authors' code, executed in float64 (PRIME-RL/Entropy-Mechanism-of-RL@8850579): tests/authors/clip_cov.json, which has verl's beside it.",
    **steps.DECLARED
    | {
        "reads": lambda p: f"{steps.needs(p)} noise",
        "coupled": "the covariance is over the tokens of the batch",
    },
)
@steps.member(aggregation="token_mean", weighs=True)
def clip_cov(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 1.0,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 1.0,
    share: Annotated[
        float,
        Real("ρ, share of the tokens that are left out; one at least", low=0, high=1, open="low", usual=(0.01, 1.0)),
    ] = 0.0002,
    band_low: Annotated[float, Real("ω below, covariances of the band are above that", low=0, usual=(0.0, 1.0))] = 1.0,
    band_high: Annotated[float, Real("ω above, and below that", low=0, usual=(1.0, 10.0))] = 5.0,
) -> Array:
    """PPO's surrogate, and neither a value nor a gradient of the chosen tokens."""
    xp, (found, mean) = at.xp, covariance(at)
    d = at.log_ratio
    low, high = steps.log(xp, 1 - terms.numbers(xp, epsilon_low, d)), xp.log1p(terms.numbers(xp, epsilon_high, d))
    free = xp.where(at.advantages > 0, d <= high, (d >= low) | (at.advantages == 0))
    inside = free & (at.valid > 0) & (found > band_low) & (found < band_high)
    left_out = first(at, xp.astype(at.noise, found), inside, share)
    plain = at.surrogate(clipped(at, d, epsilon_low, epsilon_high))
    kept = xp.where(left_out & (plain == plain), xp.constant(0.0, plain), plain)
    return xp.where(mean == mean, kept, mean)  # beside an infinity the band is empty

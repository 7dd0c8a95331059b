"""MaPO: a diffusion objective without a reference, on a bounded score of the errors."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Denoising, Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer

SMALL = 0.3  # below, x / (e^x - 1) and its slope come from their series: the quotient has lost its digits


@objective(
    title="Margin-aware Preference Optimization",
    paper="arXiv:2406.06424",
    equation="eq. 9 to 11 (v2), in the form of the authors' code",
    formula=r"m_w-\lambda\log\sigma\bigl(T(f(m_w)-f(m_l))\bigr),\quad f(m)=\tfrac{cm}{e^{cm}-1}",
    reads="chosen rejected",
    answers=[
        Answer("wrong-reference", paper="abstract: a reference far from what is preferred hinders learning"),
    ],
    published=[
        Published("mapo-t2i/mapo@374b3d3 args.py", {"ratio_weight": (0.1,), "snr": (0.5,)}),
        Published("second hand: the scheduler of Stable Diffusion XL", {"timesteps": (1000.0,)}),
    ],
    reduces_to=[
        Limit("sft", "λ = 0", lambda p: {**p, "ratio_weight": 0.0}, batch=lambda b: (b, Pairs(-b.chosen))),
    ],
    deviations=[Deviation("the authors' code", "0 / 0 at an error of 0", "f(0) = 1")],
    basis="The authors' code, executed in float64 (mapo-t2i/mapo@374b3d3): tests/authors/mapo.json. The paper (v2) has the score "
    "(m / (e^m - 1))^β and the weight 1/β.",
)
def mapo(
    xp: Namespace,
    pairs: Denoising,
    *,
    ratio_weight: Annotated[float, Real("λ, weight of the preference term", low=0, usual=(0.0, 1.0))] = 0.1,
    snr: Annotated[float, Real("c, scale of the errors", low=0, open="low", usual=(0.05, 2.0))] = 0.5,
    timesteps: Annotated[float, Real("T, scale of the scores", low=0, open="low", usual=(0.5, 8.0))] = 1000.0,
) -> Array:
    """The denoising error of chosen, plus λ times the logistic loss of the gap in scores f, which fall from 1 to 0."""

    def score(error: Array) -> Array:
        x = snr * error
        near = x < SMALL
        small, large = xp.where(near, x, xp.constant(0.0, x)), xp.where(near, xp.ones_like(x), x)
        q = small**2
        series = 1 - small / 2 + q / 12 * (1 - q / 60 * (1 - q / 42 * (1 - q / 40 * (1 - q / 39.6))))
        return xp.where(near, series, -terms.times(xp, xp.exp(-large), large) / xp.expm1(-large))

    u = timesteps * (score(pairs.chosen) - score(pairs.rejected))
    return pairs.chosen - terms.times(xp, ratio_weight, xp.log_sigmoid(u))

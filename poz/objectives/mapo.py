"""MaPO: a diffusion objective without a reference, on a bounded score of the errors."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Denoising
from poz.objective import Deviation, objective


@objective(
    title="Margin-aware Preference Optimization",
    paper="arXiv:2406.06424",
    equation="the MaPO loss (number not checked)",
    formula=r"m_w-\lambda\log\sigma\bigl(T(f(m_w)-f(m_l))\bigr),\quad f(m)=\tfrac{cm}{e^{cm}-1}",
    reads="chosen rejected",
    published={"ratio_weight": (0.1,), "snr": (0.5,), "timesteps": (1000.0,)},
    deviations=[Deviation("the authors' code", "0 / 0 at an error of 0", "f(0) = 1")],
    basis="The authors' code, executed in float32 (2e-7).",
)
def mapo(
    xp: Namespace,
    pairs: Denoising,
    *,
    ratio_weight: Annotated[float, Real("λ, weight of the preference term", low=0, usual=(0.0, 1.0))] = 0.1,
    snr: Annotated[float, Real("c, scale of the errors", low=0, open="low", usual=(0.05, 2.0))] = 0.5,
    timesteps: Annotated[float, Real("T, scale of the scores", low=0, open="low", usual=(1.0, 100.0))] = 1000.0,
) -> Array:
    """The denoising error of chosen, plus λ times the logistic loss of the gap in scores f, which fall from 1 to 0."""

    def score(error: Array) -> Array:
        x = snr * error
        still = x == 0
        safe = xp.where(still, xp.ones_like(x), x)
        # x / (e^x - 1) = x e^-x / (1 - e^-x), which does not overflow; its slope at 0 is -1/2
        return xp.where(still, 1 - x / 2, -safe * xp.exp(-safe) / xp.expm1(-safe))

    u = timesteps * (score(pairs.chosen) - score(pairs.rejected))
    return pairs.chosen - ratio_weight * xp.log_sigmoid(u)

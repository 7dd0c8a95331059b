"""Quantile Reward Policy Optimization: regression onto absolute rewards."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Samples
from poz.objective import Deviation, Published, Values, objective


def _check_values(xp: Namespace, batch: Samples, values: Values) -> None:
    quantiles = xp.values(batch.winrates)
    if quantiles is not None and (np.isfinite(quantiles) & ((quantiles < 0) | (quantiles > 1))).any():
        raise ValueError(
            f"`qrpo` reads quantiles in [0, 1] from winrates; got {quantiles.min()} to {quantiles.max()}. Give the "
            "share of reference completions whose reward is no higher."
        )


@objective(
    title="Quantile Reward Policy Optimization",
    paper="arXiv:2507.08068",
    equation="the QRPO loss",
    formula=r"\tfrac12\sum_i\bigl(T(q_i)-\beta\log Z-\beta\log\tfrac{\pi(y_i)}{\pi_{ref}(y_i)}\bigr)^2,\quad Z=\mathbb E_{q\sim U(0,1)}e^{T(q)/\beta}",
    reads="logps ref_logps winrates",
    published=[Published("", {"beta": (0.1,), "transform": ("log",)})],
    check_values=_check_values,
    deviations=[
        Deviation("the authors' code, T = identity", "β log(β e^{1/β}), without the -1 of Z", "Z as defined"),
        Deviation("the authors' code", "q is at least 1/M of M reference rewards", "floor=1/M"),
    ],
    basis="The authors' code, executed (2e-7, its quantiles are float32).",
)
def qrpo(
    xp: Namespace,
    batch: Samples,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    transform: Annotated[
        str, Choice("T, of a quantile into a reward: its log, or itself", ("log", "identity"))
    ] = "log",
    floor: Annotated[
        float, Real("least quantile, the resolution of the estimate", low=0, high=1, open="both", usual=(0.001, 0.5))
    ] = 0.01,
) -> Array:
    """Half the squared distance of β times the log-ratio from the reward less its known normaliser."""
    ratio = batch.logps - batch.ref_logps
    quantile = xp.astype(batch.winrates, ratio)
    least, scale = terms.numbers(xp, floor, ratio), terms.numbers(xp, beta, ratio)
    quantile = xp.where(quantile < least, least, quantile)
    if transform == "log":
        target = xp.log(quantile) + scale * xp.log1p(1 / scale)  # Z = β / (1 + β)
    else:
        target = quantile - 1 - scale * xp.log(-scale * xp.expm1(-1 / scale))  # Z = β (e^(1/β) - 1)
    return 0.5 * xp.sum((target - scale * ratio) ** 2, -1)

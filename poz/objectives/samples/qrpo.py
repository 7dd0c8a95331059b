"""Quantile Reward Policy Optimization: regression onto absolute rewards."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Samples
from poz.objective import Deviation, Published, Values, objective
from poz.purposes import Answer


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
    published=[
        Published(
            "CLAIRE-Labo/quantile-reward-policy-optimization@0d80ee5, src/qrpo/trainers/qrpo_config.py, defaults",
            {"beta": (0.1,), "transform": ("log",)},
        ),
        Published(
            "CLAIRE-Labo/quantile-reward-policy-optimization@0d80ee5, reproducibility-scripts/neurips-2025-chat/9-train/generate_submit.py",
            {"beta": (3e-4, 1e-3, 3e-3), "transform": ("identity",)},
        ),
        Published(
            "CLAIRE-Labo/quantile-reward-policy-optimization@0d80ee5, reproducibility-scripts/neurips-2025-code/9-train/generate_submit.py",
            {"beta": (3e-3, 1e-2, 3e-2), "transform": ("identity",)},
        ),
        Published(
            "CLAIRE-Labo/quantile-reward-policy-optimization@0d80ee5, src/qrpo/configs/train-qrpo.yaml",
            {"beta": (3e-3,), "transform": ("log",)},
        ),
    ],
    answers=[
        Answer(
            "scalar-feedback",
            paper="abstract: pointwise absolute rewards, without relative signals",
            test="objectives/test_unpaired_laws.py::test_qrpo_vanishes_at_its_optimum",
        ),
        Answer("off-policy", paper="abstract: offline, as DPO is and policy gradients are not"),
        Answer("length-bias", paper="abstract: robust rewards in place of preferences from them induce less of it"),
    ],
    check_values=_check_values,
    deviations=[
        Deviation("the authors' code, T = identity", "β log(β e^{1/β}), without the -1 of Z", "Z as defined"),
        Deviation("the authors' code, T = log", "q is at least 1/M of M reference rewards", "floor=1/M"),
        Deviation("the authors' code", "the mean over chosen and rejected of squares without the ½", "the same sum"),
    ],
    basis="The authors' code, executed in float64 (CLAIRE-Labo/quantile-reward-policy-optimization@0d80ee5): tests/authors/qrpo.json; its other transforms, its absolute error and the paper beyond the abstract were not read.",
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
        float,
        Real(
            "least quantile of the log, the resolution of the estimate", low=0, high=1, open="both", usual=(0.001, 0.5)
        ),
    ] = 0.01,
) -> Array:
    """Half the squared distance of β times the log-ratio from the reward less its known normaliser."""
    ratio = batch.logps - batch.ref_logps
    quantile = xp.astype(batch.winrates, ratio)
    scale = terms.numbers(xp, beta, ratio)
    if transform == "log":
        least = terms.numbers(xp, floor, ratio)
        target = xp.log(xp.where(quantile < least, least, quantile)) + scale * xp.log1p(1 / scale)  # Z = β / (1 + β)
    else:
        target = quantile - 1 - scale * xp.log(-scale * xp.expm1(-1 / scale))  # Z = β (e^(1/β) - 1)
    return 0.5 * xp.sum((target - scale * ratio) ** 2, -1)

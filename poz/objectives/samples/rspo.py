"""Regularised Self-Play Policy Optimization: SPPO, and a term that holds the policy near a fixed reference."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Samples
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives.samples.sppo import sppo, win_rates
from poz.purposes import Answer


def _check_values(xp: Namespace, samples: Samples, values: Values) -> None:
    win_rates("rspo", xp, samples)


@objective(
    title="Regularised Self-Play Policy Optimization",
    paper="arXiv:2503.00030",
    equation="the RSPO loss",
    formula=r"\mathcal L_{SPPO}+\lambda\sum_k R(d_k),\ d=\log\tfrac{\pi}{\pi_{ref}},\quad R\in\{d^2,\ e^{\min(-d,c)},\ e^{\min(-d,c)}+\kappa d^2,\ e^{\min(d,c)},\ (\log\pi)^2\}",
    reads="logps anchor_logps ref_logps winrates",
    published=[
        Published("xiaohangt/RSPO@104e6f8 scripts/pipeline_reg.sh, 1/β", {"eta": (1000.0,)}),
        Published(
            "the same, scripts/run_sppo_gemma-2-2b_ABC_reg.sh, 'Best ReverseKL'",
            {"regularizer": ("reverse_kl",), "regularization_weight": (0.5,)},
        ),
        Published(
            "the same, 'Best ForwardKL'",
            {"regularizer": ("forward_kl",), "regularization_weight": (0.1,), "clamp": (7.0,)},
        ),
        Published(
            "the same, 'Best ForwardKL + ReverseKL', which is two pairs; c = 10",
            {"regularizer": ("forward_reverse_kl",), "regularization_weight": (0.1, 0.01), "reverse_weight": (5, 50)},
        ),
    ],
    answers=[
        Answer(
            "intransitive",
            paper="the authors' code: SPPO anchored at the last iterate, with a regulariser beside it",
            test="algorithms/test_self_play.py::test_rspo_fixed_point_is_the_equilibrium",
        ),
        Answer("online", paper="the authors' code: each iteration anchors at the policy that sampled"),
    ],
    check_values=_check_values,
    reduces_to=[
        Limit(
            "sppo",
            "no regulariser",
            lambda p: {**p, "regularization_weight": 0.0},
            lambda p: {"eta": p["eta"]},
        )
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "adds the batch mean of R over chosen plus that over rejected to every loss",
            "the R of an example stay with it; the batch mean is the same",
        ),
        Deviation("the authors' `sppo_forward`", "mean -log π over all positions of reference samples", "not offered"),
        Deviation("the authors' `sppo_reverseklnoent`", "R = -log π log π_ref", "not offered"),
        Deviation("the authors' `sppo_chisqsm1`", "R = u / (1 + u), u the clamped π/π_ref", "not offered"),
    ],
    basis="The authors' code, executed in float64 (xiaohangt/RSPO@104e6f8): tests/authors/rspo.json. R = d² is twice the usual on-policy "
    "surrogate of KL(π || π_ref).",
)
def rspo(
    xp: Namespace,
    samples: Samples,
    *,
    eta: Annotated[
        float, Real("η, step size: log-ratio that a win rate of 1 rather than 0 buys", low=0, open="low", unit="nat")
    ] = 1000.0,
    regularization_weight: Annotated[float, Real("λ, weight of the regulariser", low=0)] = 0.1,
    regularizer: Annotated[
        str,
        Choice(
            "R, which divergence to the reference it estimates",
            ("reverse_kl", "forward_kl", "forward_reverse_kl", "chi2", "entropy"),
        ),
    ] = "reverse_kl",
    reverse_weight: Annotated[
        float, Real("κ, weight of the reverse KL beside the forward one, in 'forward_reverse_kl'", low=0)
    ] = 5.0,
    clamp: Annotated[
        float,
        Real(
            "c, largest exponent; beyond it 'forward_kl' and 'chi2' do not pull",
            low=0,
            open="low",
            unit="nat",
            usual=(0.1, 10.0),
        ),
    ] = 10.0,
) -> Array:
    """SPPO anchored at the last iterate plus λ times a divergence from the reference, both summed over completions."""
    anchored = sppo.function(xp, samples, eta=eta)
    d = terms.spared(xp, regularization_weight, samples.logps - samples.ref_logps)
    if regularizer == "reverse_kl":
        size = d**2
    elif regularizer == "entropy":
        size = terms.spared(xp, regularization_weight, samples.logps) ** 2
    else:
        size = xp.exp(xp.minimum(d if regularizer == "chi2" else -d, clamp))
        if regularizer == "forward_reverse_kl":
            size = size + terms.times(xp, reverse_weight, terms.spared(xp, reverse_weight, d) ** 2)
    return anchored + regularization_weight * xp.sum(size, -1)

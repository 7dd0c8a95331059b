"""RainbowPO: length normalisation, a mixed reference, a home advantage and dispersion, in one."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    if values["kappa"] is not None:
        labels.check_entropy(xp, "rainbow_po", pairs)


@objective(
    title="RainbowPO",
    paper="arXiv:2410.04203",
    equation="the RainbowPO loss, logistic link",
    formula=r"-\log\sigma\bigl(\beta\varphi[\bar\Delta_\pi-\alpha\bar\Delta_{ref}-(1-\alpha)h]\bigr),\quad\bar\Delta=\tfrac{\log\pi(y_w)}{|y_w|}-\tfrac{\log\pi(y_l)}{|y_l|},\ \varphi=-\kappa\log\bar H_{ref}",
    reads=lambda p: (
        "chosen rejected ref_chosen ref_rejected chosen_len rejected_len" + " entropy" * (p["kappa"] is not None)
    ),
    published=[
        Published(
            "hanyang1999/RainbowPO@d9cad54, trl/trainer/dpo_config.py",
            {"alpha": (0.25,), "h": (0.1,), "kappa": (0.29,)},
        ),
        Published(
            "hanyang1999/RainbowPO@d9cad54, name of its released model in alpaca_eval/src/alpaca_eval/models_configs/Llama-3-Instruct-8B-RainbowPO/configs.yaml",
            {"beta": (10.0,), "alpha": (0.25,), "h": (0.1,)},
        ),
    ],
    answers=[
        Answer(
            "length-bias",
            paper="second hand: means over tokens are one of the components that were found to help",
            test="objectives/test_purposes_shown.py::test_length_alone_is_no_margin",
        ),
        Answer(
            "wrong-reference",
            paper="second hand: mixing the reference with a margin is another",
            test="objectives/test_purposes_shown.py::test_a_reference_that_ranks_wrongly_does_not_hold_a_pair_back",
        ),
    ],
    check_values=_check_values,
    reduces_to=[
        Limit(
            "simpo",
            "φ = 1, α = 0; γ = β h",
            lambda p: {**p, "alpha": 0.0, "kappa": None},
            lambda p: {"beta": p["beta"], "gamma": p["beta"] * p["h"], "gamma_beta_ratio": None},
        ),
        Limit("ln_dpo", "φ = 1, α = 1", lambda p: {**p, "alpha": 1.0, "kappa": None}, lambda p: {"beta": p["beta"]}),
    ],
    deviations=[
        Deviation("the authors' code", "offers the Cauchy link too", "the logistic one only"),
        Deviation(
            "the authors' code",
            "H̄ is the mean of the two completions' means, not the mean over all tokens of both",
            "entropy, averaged that way",
        ),
    ],
    basis="The authors' code, executed in float64 (hanyang1999/RainbowPO@d9cad54): tests/authors/rainbow_po.json.",
)
def rainbow_po(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token reward", low=0, open="low", unit="1/nat", usual=(0.5, 10.0))
    ] = 10.0,
    alpha: Annotated[
        float, Real("α, weight of the reference against the home advantage", low=0, high=1, usual=(0.0, 1.0))
    ] = 0.25,
    h: Annotated[float, Real("h, home advantage: target margin per token", low=0, unit="nat", usual=(0.0, 1.0))] = 0.1,
    kappa: Annotated[
        float | None,
        Real("κ, scale of the dispersion; None: φ = 1", low=0, open="low", optional=True),
    ] = None,
) -> Array:
    """SimPO with a share α of the reference in place of its margin, sharper where the reference is sure."""
    margin = (
        terms.gap(xp, pairs, "", True) - terms.times(xp, alpha, terms.gap(xp, pairs, "ref_", True)) - (1 - alpha) * h
    )
    if kappa is not None:
        margin = -kappa * xp.log(xp.astype(pairs.entropy, margin)) * margin
    return -xp.log_sigmoid(beta * margin)

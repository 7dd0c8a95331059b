"""From an objective with its hyper-parameters to what a skeleton is told; the same for Triton and for its twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from poz.objective import Objective

Values = Mapping[str, Any]


class PairPlan(NamedTuple):
    """What the pair skeleton does.

    Attributes:
        point: "file.function" of the point.
        params: Its hyper-parameters.
        weights: One weight per anchor: the reference first where the objective reads it, then the opponents.
        columns: Names of the per-pair numbers that the point takes.
        base: The point under it (LCPO), or None.
        mean: Whether a score is the mean over the tokens of its segment, not the sum.
        discount: Factor per token.
        bonus: Factor of the mean calibration log-ratio, which is added to every loss (VPO); None: no such term.
        cloning: Factor of the behaviour-cloning term (CPL).
        cloning_data: Which segments that term picks: "all" or "preferred".
    """

    point: str
    params: tuple[float, ...]
    weights: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    base: str | None = None
    mean: bool = False
    discount: float = 1.0
    bonus: float | None = None
    cloning: float = 0.0
    cloning_data: str = "all"


class ListPlan(NamedTuple):
    """What the skeleton of ranked lists does.

    Attributes:
        point: "file.function" of the point.
        params: Its hyper-parameters.
        weights: One weight per anchor.
        rewards: Whether the point reads the rewards.
        mean: Whether a score is the mean over the tokens of its completion, not the sum.
        sft_weight: Factor of (K - 1)² times the negative summed log-prob of the best completion.
    """

    point: str
    params: tuple[float, ...]
    weights: tuple[float, ...] = ()
    rewards: bool = True
    mean: bool = False
    sft_weight: float = 0.0


def plan(objective: Objective, anchors: int) -> PairPlan | ListPlan:
    """The plan of an objective that is given so many anchors.

    Raises:
        NotImplementedError: No kernel is written for the objective.
        ValueError: The objective needs another number of anchors.
    """
    if objective.name not in PLANS:
        raise NotImplementedError(f"`{objective.name}` has no kernel; those that have: {', '.join(PLANS)}.")
    made = PLANS[objective.name](objective.values, anchors)
    if len(made.weights) != anchors:
        raise ValueError(
            f"`{objective.name}` needs {len(made.weights)} anchors with these hyper-parameters "
            f"(the reference first where it is read, then each opponent); got {anchors}."
        )
    return made._replace(params=tuple(map(float, made.params)), weights=tuple(map(float, made.weights)))


def _dpo(values: Values, anchors: int) -> PairPlan:
    return PairPlan("dpo.logistic", (values["beta"], values["label_smoothing"]), (1.0,))


def _ipo(values: Values, anchors: int) -> PairPlan:
    return PairPlan("ipo.squared", (0.5 / values["tau"],), (1.0,), mean=values["length_normalized"])


def _simpo(values: Values, anchors: int) -> PairPlan:
    beta, gamma, ratio = values["beta"], values["gamma"], values["gamma_beta_ratio"]
    if gamma is None:
        gamma = beta * (0.25 if ratio is None else ratio)
    if values["link"] == "hinge":
        return PairPlan("simpo.hinge", (beta, gamma), mean=True)
    point = {"trl": "simpo.logistic", "swap": "simpo.swapped"}[values["smoothing"]]
    return PairPlan(point, (beta, gamma, values["label_smoothing"]), mean=True)


def _pro(values: Values, anchors: int) -> ListPlan:
    temperature = values["temperature"]
    return ListPlan(
        f"pro.{temperature}", (), rewards=temperature == "reward_gap", mean=True, sft_weight=values["sft_weight"]
    )


def _cpl(values: Values, anchors: int) -> PairPlan:
    return PairPlan(
        "cpl.labelled",
        (values["alpha"], values["bias"]),
        (1.0,) if values["regularizer"] == "kl" else (),
        columns=("label",),
        discount=values["discount"],
        cloning=values["bc_weight"],
        cloning_data=values["bc_data"],
    )


def _cpl_ranking(values: Values, anchors: int) -> ListPlan:
    weights = (1.0,) if values["regularizer"] == "kl" else ()
    return ListPlan("cpl_ranking.comparisons", (values["alpha"], values["bias"]), weights)


def _lcpo(values: Values, anchors: int) -> PairPlan:
    base = plan(values["base"], anchors)
    if isinstance(base, ListPlan) or base.base is not None:
        raise NotImplementedError(f"`lcpo` over `{values['base'].name}` has no kernel; give a base on plain pairs.")
    if values["mode"] == "gibbs":  # what a pair and its swap have in common leaves u alone
        base = base._replace(bonus=None, cloning=0.0)
    return base._replace(
        point=f"lcpo.{values['mode']}",
        base=base.point,
        columns=("reliability", *base.columns, *(f"swapped {name}" for name in base.columns)),
    )


def _vpo(values: Values, anchors: int) -> PairPlan:
    return PairPlan(
        "vpo.logistic", (values["beta"], 0.0), (1.0,), bonus=values["sign"] * values["alpha"] * values["beta"]
    )


def _inpo(values: Values, anchors: int) -> PairPlan:
    ratio = 1.0 / 3.0 if values["tau"] is None else values["tau"] / values["eta"]
    return PairPlan("inpo.squared", (0.5 / values["eta"],), (ratio, 1.0 - ratio), mean=values["length_normalized"])


def _mnpo(values: Values, anchors: int) -> PairPlan:
    ratio = values["tau"] / values["eta"]
    reference = (ratio,) if ratio > 0 else ()
    opponents = anchors - len(reference)
    shares = (1.0 / opponents,) * opponents if values["weights"] is None else tuple(values["weights"])
    weights = (*reference, *((1.0 - ratio) * share for share in shares))
    target = values["target"]
    if target == "hard":
        return PairPlan("dpo.logistic", (values["beta"], 0.0), weights, mean=values["length_normalized"])
    number, columns = (values["eta"], ("margin",)) if target == "reward" else (0.5 / values["eta"], ())
    return PairPlan(
        f"mnpo.{values['distance']}", (values["beta"], number), weights, columns, mean=values["length_normalized"]
    )


PLANS: Mapping[str, Callable[[Values, int], PairPlan | ListPlan]] = {
    "dpo": _dpo,
    "ipo": _ipo,
    "simpo": _simpo,
    "pro": _pro,
    "cpl": _cpl,
    "cpl_ranking": _cpl_ranking,
    "lcpo": _lcpo,
    "vpo": _vpo,
    "inpo": _inpo,
    "mnpo": _mnpo,
}
"""Objectives that have a kernel."""

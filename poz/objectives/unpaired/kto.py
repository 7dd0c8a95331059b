"""Kahneman-Tversky Optimization: completions that are good or bad on their own."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Unpaired
from poz.objective import Deviation, Published, Values, objective
from poz.purposes import Answer


def _needs(p: Values) -> str:
    kl = {"given": " kl", "zero": ""}.get(p["estimator"], " kl_logps kl_ref_logps")
    return "logps ref_logps desirable" + kl


def _check_values(xp: Namespace, batch: Unpaired, values: Values) -> None:
    if values["estimator"] in ("mean", "nonzero_mean") and batch.kl_logps.shape[0] == 0:
        raise ValueError("`kto` averages kl_logps; got none. Give some, or use estimator='zero'.")


@objective(
    title="Kahneman-Tversky Optimization",
    paper="arXiv:2402.01306",
    equation="eq. 7 of v1, section 4.1",
    formula=r"\lambda_y\,\sigma(\mp\beta(a-K)),\quad a=\log\tfrac{\pi(y)}{\pi_{ref}(y)},\ K=\max\bigl(0,\overline{\log\tfrac{\pi(y')}{\pi_{ref}(y')}}\bigr)",
    reads=_needs,
    optional="weights",
    published=[
        Published(
            "ContextualAI/HALOs@4831988 config/loss/kto.yaml",
            {"beta": (0.1,), "desirable_weight": (1.0,), "undesirable_weight": (1.0,)},
        ),
        Published("ContextualAI/HALOs@4831988 scripts/launch_llama_instruct_kto.sh", {"desirable_weight": (1.1,)}),
    ],
    answers=[
        Answer(
            "noisy-labels",
            paper="section 4.3: what is too hard to learn is left alone, such as noise, at the risk of underfitting",
            test="objectives/test_unpaired_laws.py::test_kto_leaves_alone_what_is_too_hard_to_learn",
        ),
        Answer(
            "disagreement",
            paper="theorem 4.3: annotators who contradict each other change nothing",
            test="objectives/test_unpaired_laws.py::test_annotators_who_contradict_each_other_change_nothing",
        ),
    ],
    gradient_stops="K, the estimate of the KL",
    coupled=lambda p: "K comes from the KL samples of the batch" * (p["estimator"] in ("mean", "nonzero_mean")),
    check_values=_check_values,
    deviations=[
        Deviation(
            "the authors' code", "averages over the samples with a nonzero log-ratio", "estimator='nonzero_mean'"
        ),
    ],
    basis="Paper (v1, section 4.1). The authors' code, executed in float64 (ContextualAI/HALOs@4831988): tests/authors/kto.json, which has "
    "TRL's 'mean' and 'zero' and Liger's 'given' beside it.",
)
def kto(
    xp: Namespace,
    batch: Unpaired,
    *,
    beta: Annotated[
        float, Real("β, how soon value saturates with the log-ratio", low=0, open="low", unit="1/nat")
    ] = 0.1,
    desirable_weight: Annotated[float, Real("λ_D, weight of the good completions", low=0)] = 1.0,
    undesirable_weight: Annotated[float, Real("λ_U, weight of the bad completions", low=0)] = 1.0,
    estimator: Annotated[
        str,
        Choice(
            "K: the mean log-ratio of the KL samples, the same over the nonzero ones, the field `kl`, or 0",
            ("mean", "nonzero_mean", "given", "zero"),
        ),
    ] = "mean",
) -> Array:
    """1 minus the value of a completion, bounded by its weight; the point of reference K is held constant."""
    ratio = batch.logps - batch.ref_logps
    point = _point(xp, batch, estimator, ratio)
    sign = xp.where(batch.desirable, xp.ones_like(ratio), -xp.ones_like(ratio))
    weight = xp.where(
        batch.desirable, terms.numbers(xp, desirable_weight, ratio), terms.numbers(xp, undesirable_weight, ratio)
    )
    if batch.weights is not None:
        weight = weight * xp.astype(batch.weights, ratio)
    return weight * xp.sigmoid(-sign * beta * (ratio - point))


def _point(xp: Namespace, batch: Unpaired, estimator: str, like: Array) -> Array:
    if estimator == "zero":
        return xp.constant(0.0, like)
    if estimator == "given":
        return xp.stop_gradient(xp.relu(xp.astype(batch.kl, like)))
    others = xp.stop_gradient(batch.kl_logps - batch.kl_ref_logps)
    if estimator == "mean":
        return xp.relu(xp.mean(others))
    return xp.relu(xp.sum(others) / xp.maximum(xp.sum(xp.astype(others != 0, others)), 1.0))

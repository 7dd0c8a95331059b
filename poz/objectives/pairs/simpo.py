"""Simple Preference Optimization: no reference, per-token means, a target margin."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Published, Values, objective
from poz.purposes import Answer


def _constraint(p: Values) -> str | None:
    if p["gamma"] is not None and p["gamma_beta_ratio"] is not None:
        return f"takes gamma or gamma_beta_ratio, not both; got {p['gamma']} and {p['gamma_beta_ratio']}. gamma = ratio * beta."
    if p["link"] == "hinge" and isinstance(p["label_smoothing"], int | float) and p["label_smoothing"] > 0:
        return f"has no label smoothing for link='hinge'; got {p['label_smoothing']}. Leave it 0."
    return None


@objective(
    title="Simple Preference Optimization",
    paper="arXiv:2405.14734",
    equation="eq. 6; hinge and label smoothing from the authors' trainer",
    formula=r"-\log\sigma\bigl(\tfrac{\beta}{|y_w|}\log\pi(y_w)-\tfrac{\beta}{|y_l|}\log\pi(y_l)-\gamma\bigr)",
    reads="chosen rejected chosen_len rejected_len",
    published=[
        Published(
            "princeton-nlp/SimPO@1b3e8f3, training_configs/mistral-7b-base-simpo.yaml",
            {"beta": (2.0,), "gamma_beta_ratio": (0.8,)},
        ),
        Published(
            "princeton-nlp/SimPO@1b3e8f3, training_configs/mistral-7b-instruct-simpo.yaml",
            {"beta": (2.5,), "gamma_beta_ratio": (0.1,)},
        ),
        Published(
            "princeton-nlp/SimPO@1b3e8f3, training_configs/llama-3-8b-base-simpo.yaml",
            {"beta": (2.0,), "gamma_beta_ratio": (0.5,)},
        ),
        Published(
            "princeton-nlp/SimPO@1b3e8f3, training_configs/llama-3-8b-instruct-simpo.yaml",
            {"beta": (2.5,), "gamma_beta_ratio": (0.55,)},
        ),
        Published(
            "princeton-nlp/SimPO@1b3e8f3, training_configs/llama-3-8b-instruct-simpo-v2.yaml",
            {"beta": (10.0,), "gamma_beta_ratio": (0.3,)},
        ),
        Published(
            "princeton-nlp/SimPO@1b3e8f3, training_configs/gemma-2-9b-it-simpo.yaml",
            {"beta": (10.0,), "gamma_beta_ratio": (0.5,)},
        ),
    ],
    answers=[
        Answer(
            "length-bias",
            paper="abstract: the reward is the mean log-prob, and completions hardly grow longer",
            test="objectives/test_purposes_shown.py::test_length_alone_is_no_margin",
        ),
    ],
    constraint=_constraint,
    deviations=[
        Deviation("the authors", "label smoothing negates the whole logit, margin included", "smoothing='trl'"),
    ],
    basis="The authors' code, executed in float64 (princeton-nlp/SimPO@1b3e8f3): tests/authors/simpo.json.",
)
def simpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token reward", low=0, open="low", unit="1/nat", usual=(0.5, 10.0))
    ] = 2.0,
    gamma: Annotated[
        float | None,
        Real("γ, target margin; None leaves it to gamma_beta_ratio", low=0, usual=(0.0, 5.0), optional=True),
    ] = None,
    gamma_beta_ratio: Annotated[
        float | None, Real("γ/β; None for both means 0.25", low=0, unit="nat", usual=(0.0, 1.0), optional=True)
    ] = None,
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, usual=(0.0, 0.5))
    ] = 0.0,
    smoothing: Annotated[
        str,
        Choice("the smoothed term: 'trl' negates the logit, 'swap' is the loss of the swapped pair", ("trl", "swap")),
    ] = "trl",
    link: Annotated[str, Choice("logistic loss, or hinge max(0, 1 - z)", ("logistic", "hinge"))] = "logistic",
) -> Array:
    """Logistic (or hinge) loss of z = β Δ - γ, Δ the difference of mean token log-probs."""
    if gamma is None:
        gamma = beta * (0.25 if gamma_beta_ratio is None else gamma_beta_ratio)
    scaled = beta * terms.gap(xp, pairs, "", length_normalized=True)
    if link == "hinge":
        return xp.relu(1 - (scaled - gamma))
    if smoothing == "trl":
        return terms.smoothed(xp, scaled - gamma, label_smoothing)
    swapped = terms.times(xp, label_smoothing, xp.softplus(gamma + scaled))
    return (1 - label_smoothing) * xp.softplus(gamma - scaled) + swapped

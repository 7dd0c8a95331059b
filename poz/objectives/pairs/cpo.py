"""Contrastive Preference Optimization: DPO without a reference, held by an NLL term."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.objectives.pairs.sft import sft
from poz.purposes import Answer


@objective(
    title="Contrastive Preference Optimization",
    paper="arXiv:2401.08417",
    equation="eq. 3 and 5; label smoothing as TRL has it",
    formula=r"-(1-\varepsilon)\log\sigma(z)-\varepsilon\log\sigma(-z)-\alpha\tfrac{1}{|y_w|}\log\pi(y_w),\quad z=\beta\log\pi(y_w)-\beta\log\pi(y_l)",
    reads=lambda p: "chosen rejected" + " chosen_len rejected_len" * (p["nll"] != "sum"),
    coupled=lambda p: "the number of chosen tokens of the batch" * (p["nll"] == "batch_tokens"),
    published=[
        Published(
            "fe1ixxu/CPO_SIMPO@dd6caf5 training_configs/llama-3-8b-instruct-cpo.yaml",
            {"beta": (0.1,), "nll_weight": (1.0,)},
        ),
        Published("fe1ixxu/ALMA@10360c3 runs/cpo_ft.sh", {"beta": (0.1,), "nll_weight": (1.0,)}),
    ],
    answers=[
        Answer(
            "weak-completions",
            paper="abstract: it avoids translations that are adequate but not perfect, where fine-tuning imitates references of poor quality",
        ),
        Answer(
            "displacement",
            world="displacement",
            paper="the authors' README: the NLL of chosen keeps the policy near to what was preferred",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "α = 0 and a uniform reference",
            lambda p: {**p, "nll_weight": 0.0},
            lambda p: {"beta": p["beta"], "label_smoothing": p["label_smoothing"]},
            lambda b: (b, b._replace(ref_chosen=0 * b.chosen, ref_rejected=0 * b.rejected)),
        )
    ],
    deviations=[
        Deviation("the authors' code", "NLL is the mean over all chosen tokens of the batch", "nll='batch_tokens'"),
        Deviation("the authors' README", "summed NLL", "nll='sum'"),
    ],
    basis="Paper (section 3.2), and the authors' code, executed in float64 (fe1ixxu/CPO_SIMPO@dd6caf5): tests/authors/cpo.json, which has TRL's label smoothing beside it.",
)
def cpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, scale of the summed log-probs", low=0, open="low", unit="1/nat")] = 0.1,
    nll_weight: Annotated[float, Real("α, weight of the NLL of chosen", low=0)] = 1.0,
    nll: Annotated[
        str, Choice("per token of the completion or of the batch's, or summed", ("mean", "batch_tokens", "sum"))
    ] = "mean",
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, usual=(0.0, 0.5))
    ] = 0.0,
) -> Array:
    """Logistic loss of the difference of summed log-probs, plus α times the NLL of chosen, as `sft` counts it."""
    pair = terms.smoothed(xp, beta * terms.gap(xp, pairs), label_smoothing)
    return pair + terms.times(xp, nll_weight, sft.function(xp, pairs, normalizer=nll))

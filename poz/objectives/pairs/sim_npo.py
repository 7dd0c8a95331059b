"""SimNPO: unlearning without a reference."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective
from poz.purposes import Answer


@objective(
    title="Simple Negative Preference Optimization",
    paper="arXiv:2410.07163",
    equation="eq. 4",
    formula=r"-\omega\tfrac{2}{\beta}\log\sigma\bigl(-\beta[\bar p_l+\gamma]\bigr)-\rho\,\bar p_w,\quad\bar p=\tfrac{1}{|y|}\log\pi(y)",
    reads="chosen rejected chosen_len rejected_len",
    published=[
        Published(
            "OPTML-Group/Unlearn-Simple@f1a355d TOFU/README.md, TOFU/config/forget.yaml, forget05",
            {"beta": (2.5,), "gamma": (0.0,), "forget_weight": (0.1375,), "retain_weight": (1.0,)},
        ),
        Published(
            "the same, forget10", {"beta": (4.5,), "gamma": (0.0,), "forget_weight": (0.125,), "retain_weight": (1.0,)}
        ),
        Published(
            "the same, MUSE/README.md, and MUSE/baselines/unlearn.py for γ; news, then books",
            {"beta": (0.7, 0.75), "gamma": (0.1,), "forget_weight": (1.0,), "retain_weight": (0.1,)},
        ),
    ],
    answers=[
        Answer(
            "unlearning",
            paper="abstract: NPO without the bias of its reference model, over data that are hard to forget or easy",
        ),
    ],
    deviations=[
        Deviation("second hand: the paper's eq. 4", "γ outside β: βp + γ' with γ' = βγ", "gamma=gamma/beta"),
        Deviation("the authors' code", "separate batches to forget and to retain", "one pair: rejected, chosen"),
        Deviation(
            "the authors' code",
            "retains by the mean NLL over the tokens of the batch",
            "poz.combine with poz.sft(normalizer='batch_tokens'), and retain_weight=0",
        ),
        Deviation(
            "the authors' code on MUSE",
            "forgets by logsigmoid of the logits of the whole vocabulary, which no normaliser enters",
            "not offered",
        ),
    ],
    basis="The paper's text around eq. 4. The authors' code for TOFU, executed in float64 (OPTML-Group/Unlearn-Simple@f1a355d): "
    "tests/authors/sim_npo.json.",
)
def sim_npo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token log-prob", low=0, open="low", unit="1/nat", usual=(0.1, 5.0))
    ] = 2.5,
    gamma: Annotated[float, Real("γ, added to the mean log-prob", low=0, unit="nat")] = 0.0,
    forget_weight: Annotated[float, Real("ω, weight of forgetting", low=0)] = 1.0,
    retain_weight: Annotated[float, Real("ρ, weight of the NLL of what is retained", low=0)] = 1.0,
) -> Array:
    """Forgets the rejected completion, ever more gently, and keeps the chosen one by its NLL per token."""
    retained = terms.average(xp, pairs.chosen, pairs.chosen_len)
    forgotten = terms.average(xp, pairs.rejected, pairs.rejected_len)
    forgetting = terms.times(xp, forget_weight * (2 / beta), xp.softplus(beta * (forgotten + gamma)))
    return forgetting - terms.times(xp, retain_weight, retained)

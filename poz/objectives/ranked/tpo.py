"""Triple Preference Optimization: a gold completion to imitate, and a pair to tell apart."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import Pairs, Ranked
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives.pairs.sft import sft
from poz.purposes import Answer


def _check_values(xp: Namespace, lists: Ranked, values: Values) -> None:
    if lists.logps.shape[-1] != 3:
        raise ValueError(
            f"`tpo` needs 3 completions, gold, chosen and rejected in this order; got K = {lists.logps.shape[-1]}."
        )


def _pair(lists: Ranked, one_token: bool = False) -> Pairs:
    length = 0 * lists.lengths if one_token else lists.lengths
    return Pairs(lists.logps[:, 1], lists.logps[:, 2], chosen_len=length[:, 1], rejected_len=length[:, 2])


@objective(
    title="Triple Preference Optimization",
    paper="arXiv:2405.16681",
    equation="the TPO and TPO-L losses",
    formula=r"-\log\sigma\bigl(\beta\log\pi(y_w)-\beta\log\pi(y_l)\bigr)-\alpha\tfrac{1}{|y_{gold}|}\log\pi(y_{gold})",
    reads="logps lengths",
    published=[
        Published("sahsaeedi/TPO@71a4425 README.md, TPO", {"beta": (0.01,), "nll_weight": (1.0, 0.05)}),
        *(
            Published(
                f"sahsaeedi/TPO@71a4425 README.md, TPO-L {model}",
                {"beta": (beta,), "nll_weight": weights, "gamma": gammas},
            )
            for model, beta, weights, gammas in (
                ("Llama-3-Base", 0.01, (1.0,), (0.5, 1.5, 3.0, 10.0)),
                ("Mistral-v0.3-Base", 2.0, (1.0, 0.05), (1.6,)),
                ("Llama-3-Instruct", 10.0, (0.05,), (3.0,)),
                ("Mistral-v0.2-Instruct", 2.5, (0.05,), (0.3,)),
            )
        ),
    ],
    answers=[
        Answer(
            "one-stage",
            paper="abstract: three preferences align a model in a single step, without fine-tuning before it",
        ),
    ],
    coupled=lambda p: "the number of gold tokens of the batch" * (p["nll"] == "batch_tokens"),
    check_values=_check_values,
    reduces_to=[
        Limit(
            "cpo",
            "gold is chosen",
            lambda p: {**p, "nll": "mean", "length_normalized": False},
            lambda p: {"beta": p["beta"], "nll_weight": p["nll_weight"], "nll": "mean"},
            lambda b: (b._replace(logps=b.logps[:, [1, 1, 2]], lengths=b.lengths[:, [1, 1, 2]]), _pair(b)),
        ),
        Limit(
            "simpo",
            "TPO-L without gold",
            lambda p: {**p, "length_normalized": True, "nll_weight": 0.0},
            lambda p: {"beta": p["beta"], "gamma": p["gamma"], "gamma_beta_ratio": None},
            lambda b: (b, _pair(b)),
        ),
    ],
    deviations=[
        Deviation("the authors' code", "NLL is the mean over all gold tokens of the batch", "nll='batch_tokens'"),
        Deviation("the authors' class", "β = 0.1, α = 0.05; their script β = 0.01, α = 1", "beta=0.1, nll_weight=0.05"),
    ],
    basis="The authors' code, executed in float64 (sahsaeedi/TPO@71a4425): tests/authors/tpo.json, which has TRL's beside it.",
)
def tpo(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, scale of the log-probs", low=0, open="low", unit="1/nat")] = 0.01,
    nll_weight: Annotated[float, Real("α, weight of the NLL of gold", low=0)] = 1.0,
    nll: Annotated[
        str,
        Choice("gold's: per token of the completion or of the batch's, or summed", ("mean", "batch_tokens", "sum")),
    ] = "mean",
    length_normalized: Annotated[bool, Choice("means in place of sums, and a margin: TPO-L", FLAG)] = False,
    gamma: Annotated[float, Real("γ, target margin of TPO-L", low=0, usual=(0.0, 5.0))] = 0.5,
) -> Array:
    """Logistic loss of the pair plus α times the NLL of the gold completion, as `sft` counts it."""
    score = terms.average(xp, lists.logps, lists.lengths) if length_normalized else lists.logps
    z = beta * (score[..., 1] - score[..., 2]) - (gamma if length_normalized else 0)
    gold = Pairs(lists.logps[..., 0], chosen_len=lists.lengths[..., 0])
    return -xp.log_sigmoid(z) + terms.times(xp, nll_weight, sft.function(xp, gold, normalizer=nll))

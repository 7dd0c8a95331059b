"""Odds Ratio Preference Optimization."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Published, Values, objective
from poz.objectives import _labels
from poz.objectives.pairs.sft import sft
from poz.purposes import Answer

CERTAIN = -1e-12  # nats: a rejected completion that is certain has infinite odds, and so an infinite loss
LARGE = 30.0  # nats; beyond, chosen is so unlikely that 1 - e^p is near 1


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    _labels.check_probabilities(xp, "orpo", pairs)


@objective(
    title="Odds Ratio Preference Optimization",
    paper="arXiv:2403.07691",
    equation="eq. 6 and 7, with the odds of eq. 4",
    formula=r"-\bar p_w-\lambda\log\sigma\Bigl(\log\tfrac{e^{\bar p_w}}{1-e^{\bar p_w}}-\log\tfrac{e^{\bar p_l}}{1-e^{\bar p_l}}\Bigr),\quad\bar p=\tfrac{1}{|y|}\log\pi(y)",
    reads="chosen rejected chosen_len rejected_len",
    published=[
        Published("xfactlab/orpo@208d2d6 scripts/run_mistral_orpo_beta.sh", {"odds_weight": (0.1,)}),
        Published("xfactlab/orpo@208d2d6 scripts/run_mistral_orpo_capybara.sh", {"odds_weight": (0.05,)}),
    ],
    answers=[
        Answer(
            "one-stage",
            paper="abstract: a small penalty on the disfavoured style within fine-tuning makes a further stage needless",
        ),
        Answer(
            "displacement",
            world="displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    deviations=[
        Deviation("the authors' command line", "λ = 1", "odds_weight=1.0"),
        Deviation("the authors", "NLL over prompt and response, over all tokens of the batch", "over the response"),
        Deviation(
            "the authors' code", "counts the first padding token, except in full rows", "lengths are the caller's"
        ),
    ],
    basis="Paper (section 4), and the authors' code and two ports, executed in float64 (xfactlab/orpo@208d2d6, huggingface/trl@v1.16.0, hiyouga/LLaMA-Factory@ff6d4d1): tests/authors/orpo.json. Their NLLs are other ones.",
    coupled=lambda p: "the number of chosen tokens of the batch" * (p["nll"] == "batch_tokens"),
    check_values=_check_values,
)
def orpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    odds_weight: Annotated[float, Real("λ, weight of the odds-ratio term", low=0)] = 0.1,
    nll: Annotated[
        str, Choice("chosen's NLL: per token of the completion, or of the batch's", ("mean", "batch_tokens"))
    ] = "mean",
) -> Array:
    """NLL per token of chosen plus λ times the logistic loss of the log odds ratio of the per-token likelihoods.

    The loss is finite for an empty rejected completion, whose log-prob then gets no gradient.
    """
    p = terms.average(xp, pairs.chosen, pairs.chosen_len)
    q = xp.minimum(terms.average(xp, pairs.rejected, pairs.rejected_len), CERTAIN)
    # log(1 + odds(q) / odds(p)) = log(1 + (1 - e^p) e^x): nothing here is singular at p = 0.
    x, doubt = q - p - xp.log(-xp.expm1(q)), -xp.expm1(p)
    large = x > LARGE
    zero = xp.constant(0.0, x)
    near, far = xp.where(large, zero, x), xp.where(large, x, zero)
    term = xp.where(large, far + xp.log(xp.exp(-far) + doubt), xp.log1p(doubt * xp.exp(near)))
    return terms.times(xp, odds_weight, term) + (-p if nll == "mean" else sft.function(xp, pairs, normalizer=nll))

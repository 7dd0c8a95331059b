"""Preference Ranking Optimization: a list of any length, each stage sharpened by the reward gaps."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Ranked
from poz.objective import Deviation, Published, Values, objective
from poz.objectives import _lists as ranked
from poz.purposes import Answer


def _check_values(xp: Namespace, lists: Ranked, values: Values) -> None:
    if lists.logps.shape[-1] < 2:
        raise ValueError(f"`pro` ranks at least 2 completions; got K = {lists.logps.shape[-1]}.")
    if values["temperature"] != "none":
        ranked.check_descending(xp, "pro", lists)


@objective(
    title="Preference Ranking Optimization",
    paper="arXiv:2306.17492",
    equation="eq. 5 to 9 and the implementation details (SFT weight)",
    formula=r"\sum_{k<K}\Bigl[\operatorname{LSE}\bigl(s_k G_k,\{s_i g_{ki}\}_{i>k}\bigr)-s_k G_k\Bigr]+\beta(K-1)^2(-\log\pi(y_1)),\quad g_{ki}=R_k-R_i,\ G_k=\max_{i>k}g_{ki}",
    reads=lambda p: "logps lengths" + " scores" * (p["temperature"] == "reward_gap"),
    optional="mask",
    published=[Published("AlibabaResearch/DAMO-ConvAI@64f4da7 PRO/train/train_hh.sh", {"sft_weight": (0.05,)})],
    answers=[
        Answer(
            "preference-strength",
            against="clean",
            paper="second hand: eq. 7 to 9, where the gaps in rewards are the temperatures of the contrasts",
            test="objectives/test_theorems.py::test_pro_with_equal_rewards_is_a_constant",
        ),
    ],
    check_values=_check_values,
    deviations=[
        Deviation(
            "the authors' code", "log(1e-10 + Σ exp) saturates when all exponents are below -23", "exact log-sum-exp"
        ),
        Deviation(
            "the authors' code", "counts the first padding token of all but the longest row", "lengths are the caller's"
        ),
        Deviation(
            "the authors' code", "argparse default sft_weight = 2; every released script sets 0.05", "sft_weight=2.0"
        ),
    ],
    basis="Paper, and the authors' code, executed in float64 (AlibabaResearch/DAMO-ConvAI@64f4da7): tests/authors/pro.json. temperature='none' is not theirs.",
)
def pro(
    xp: Namespace,
    lists: Ranked,
    *,
    sft_weight: Annotated[
        float, Real("β, weight of the NLL of the best completion, times (K-1)²", low=0, usual=(0.0, 0.5))
    ] = 0.05,
    temperature: Annotated[
        str, Choice("scale each stage by its reward gaps, or not at all (Plackett-Luce)", ("reward_gap", "none"))
    ] = "reward_gap",
) -> Array:
    """One-against-the-rest log-likelihoods over the ranking of mean token log-probs, plus an SFT term."""
    size = lists.logps.shape[-1]
    valid = xp.ones_like(lists.logps) > 0 if lists.mask is None else lists.mask
    zero = xp.constant(0.0, lists.logps)
    mean = xp.where(valid, terms.average(xp, lists.logps, lists.lengths), zero)
    count = xp.sum(xp.astype(valid, mean), -1)
    rest = [valid[..., k + 1 :] & valid[..., k : k + 1] for k in range(size)]  # who is left when k is picked
    loss = zero * count
    for k in range(size - 1):
        pivot, others = mean[..., k : k + 1], mean[..., k + 1 :]
        if temperature == "reward_gap":
            scores = xp.where(valid, xp.astype(lists.scores, mean), zero)
            gaps = xp.where(rest[k], scores[..., k : k + 1] - scores[..., k + 1 :], zero)
            pivot, others = terms.times(xp, xp.amax(gaps, -1)[..., None], pivot), terms.times(xp, gaps, others)
        logits = xp.where(rest[k], others - pivot, xp.constant(-np.inf, mean))
        top = xp.amax(logits, -1)
        certain = abs(top) == np.inf  # nobody is left, or an impossible completion decides
        stage = xp.softplus(xp.logsumexp(xp.where(certain[..., None], zero, logits), -1))
        loss = loss + xp.where(certain, xp.relu(top), stage)
    first = xp.cumsum(xp.astype(valid, mean), -1) * xp.astype(valid, mean) == 1
    best = xp.sum(xp.where(first, lists.logps, zero), -1)
    return loss - terms.times(xp, sft_weight * (count - 1) ** 2, best)

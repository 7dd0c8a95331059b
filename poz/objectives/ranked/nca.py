"""NCA: noise contrastive alignment, each completion against noise."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Ranked
from poz.objective import Deviation, Published, objective
from poz.objectives.ranked.info_nca import targets
from poz.purposes import Answer


@objective(
    title="Noise Contrastive Alignment",
    paper="arXiv:2402.05369",
    equation="the NCA loss; section 4.1 as TRL cites it, table 1 of v3 by a secondary source",
    formula=r"-\sum_i\bigl[q_i\log\sigma(s_i)+\tfrac1K\log\sigma(-s_i)\bigr],\quad s=\beta\log\tfrac{\pi}{\pi_{ref}},\ q=\operatorname{softmax}(r/\alpha)",
    reads="logps ref_logps scores",
    optional="mask",
    published=[
        Published(
            "thu-ml/Noise-Contrastive-Alignment@cbb9248 yamls/reward_qlora.yaml", {"beta": (0.01,), "alpha": (1e-4,)}
        )
    ],
    answers=[
        Answer(
            "preference-strength",
            against="clean",
            paper="abstract: rewards are given as scalars, for which preferences are a special case",
        ),
        Answer(
            "displacement",
            paper="abstract: absolute likelihoods are optimised, so that chosen does not fall as where only ratios count",
            test="objectives/test_unpaired_laws.py::test_nca_of_a_pair_is_bco_and_a_pull_on_both",
        ),
    ],
    deviations=[
        Deviation("the authors' code", "adds 0.01 to the first score, against ties", "scores with the 0.01 in"),
        Deviation("the authors' code", "says that its α is 1/α of the paper, and divides by it", "divides by alpha"),
    ],
    basis="The authors' code, executed in float64 (thu-ml/Noise-Contrastive-Alignment@cbb9248): tests/authors/nca.json. Masked lists "
    "are not in it, and the default α is not theirs. Of the paper the abstract alone was read.",
)
def nca(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, scale of the policy's log-ratios", low=0, open="low", unit="1/nat")] = 0.01,
    alpha: Annotated[float, Real("α, temperature of the scores", low=0, open="low")] = 0.01,
) -> Array:
    """Each completion is classified on its own, so rewarded ones rise in probability, not only in rank."""
    valid = xp.ones_like(lists.logps) > 0 if lists.mask is None else lists.mask
    s = beta * terms.masked(xp, lists.logps - lists.ref_logps, lists.mask)
    count = xp.maximum(xp.sum(xp.astype(valid, s), -1), 1.0)
    pulled = xp.sum(terms.times(xp, targets(xp, lists, alpha, valid), xp.softplus(-s)), -1)
    return pulled + xp.sum(terms.masked(xp, xp.softplus(s), lists.mask), -1) / count

"""A loss that is trained along with that of the scores, for a weighted sum of both."""

from poz.backends import Array, Namespace
from poz.families import RewardPairs
from poz.objective import Deviation, objective


@objective(
    title="Auxiliary loss beside the scores (Themis)",
    paper="arXiv:2310.01045",
    equation="eq. 2, section 2.2, the terms beside Bradley-Terry",
    formula=r"\ell_{\mathrm{LM}},\quad\text{in a sum such as }-\log\sigma(r_w-r_l)+\alpha\,\ell_{\mathrm{LM}}",
    reads="auxiliary",
    deviations=[
        Deviation(
            "the paper, eq. 2",
            "Bradley-Terry plus α times the cross-entropies of tool calls, of observations where β is 1, and of rationales where ω is; α = 1",
            "poz.combine({'bradley_terry': 1.0, 'auxiliary': 1.0})",
        ),
        Deviation(
            "ernie-research/Tool-Augmented-Reward-Model@1601b5f",
            "the cross-entropy per token of the batch, of both completions with their tool calls, plus half of Bradley-Terry",
            "poz.combine({'auxiliary': 1.0, 'bradley_terry': 0.5}), of each pair B times its cross-entropy over the tokens of the batch",
        ),
        Deviation(
            "OpenLMLab/MOSS-RLHF@4865d82",
            "Bradley-Terry plus reward_lm_loss_factor times the cross-entropy per token of chosen",
            "poz.combine, that factor as the weight of auxiliary",
        ),
    ],
    basis="The sum is what the authors' code gave in float64: tests/test_reward_terms.py::test_themis_is_a_sum. The paper's eq. 2 "
    "gives Bradley-Terry a weight of 1, the code 1/2.",
)
def auxiliary(xp: Namespace, pairs: RewardPairs) -> Array:
    """The loss given in `auxiliary`, as a part of `poz.combine`; the scores have no say."""
    return pairs.auxiliary * 1.0

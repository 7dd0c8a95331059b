"""The loss of a reward model under Bradley and Terry, with soft labels, margins, ties and centred scores."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs, RewardPairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: RewardPairs, values: Values) -> None:
    labels.check(xp, "bradley_terry", pairs)


def _plain(pairs: RewardPairs) -> tuple[RewardPairs, Pairs]:
    none = 0 * pairs.chosen
    return pairs._replace(label=None, margin=None, tie=None), Pairs(pairs.chosen, pairs.rejected, none, none)


@objective(
    title="Bradley-Terry reward model",
    paper="arXiv:2203.02155",
    equation="eq. 1; margin: arXiv:2307.09288 eq. 2; centring: arXiv:2312.09244 eq. 2; all as others quote them; ties: MM-RLHF's trainer",
    formula=r"-p\log\sigma(z)-(1-p)\log\sigma(-z)+c\,(r_w+r_l)^2,\quad z=\frac{r_w-r_l-m}{\tau};\quad w\,(r_w-r_l)^2+c\,(r_w+r_l)^2\text{ of a tie}",
    reads="chosen rejected",
    optional="label margin tie",
    check_values=_check_values,
    aliases=("softmax_ce",),
    published=[
        Published(
            "huggingface/trl v1.16.0 trl/trainer/reward_config.py, None and 0.01 recommended",
            {"centering": (0.0, 0.01)},
        ),
        Published(
            "Kwai-YuanQi/MM-RLHF@7c8af1d trl/trainer/reward_config.py, scripts/train/critic_reward_7b.sh",
            {"centering": (0.01,)},
        ),
        Published(
            "general-preference/general-preference-model@a376d95 general_preference/models/loss.py, scripts",
            {"temperature": (0.1, 1.0)},
        ),
    ],
    answers=[
        Answer(
            "preference-strength",
            test="objectives/test_purposes_shown.py::test_a_stronger_preference_pulls_scores_apart_harder",
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "the scores are the rewards that a policy implies",
            lambda p: {**p, "centering": 0.0, "temperature": 1.0},
            lambda p: {"beta": 1.0, "label_smoothing": 0.0},
            _plain,
        )
    ],
    deviations=[
        Deviation(
            "Kwai-YuanQi/MM-RLHF@7c8af1d",
            "adds the mean over the pairs without ties to w times the mean over the ties; raises where it is given ties and margins",
            "with l = poz.bradley_terry(pairs, centering=0): l[~tie].sum() / max((~tie).sum(), 1) + l[tie].sum() / max(tie.sum(), 1) + c * ((chosen + rejected) ** 2).mean()",
        ),
        Deviation(
            "tgxs002/HPSv2@866735e", "sums over the pairs", "poz.bradley_terry(pairs).sum(), the label that of image 0"
        ),
        Deviation(
            "3DTopia/3DGen-Bench@6c2e018",
            "sums over pairs and heads, and takes log 2 from each tie, so that its least loss is 0",
            "poz.bradley_terry(pairs).sum() - (label == 0.5).sum() * log(2), heads flattened",
        ),
        Deviation(
            "OpenLMLab/MOSS-RLHF@4865d82",
            "is -log(sigmoid(d) + 1e-5): at most 11.51, and flat where the pair is most wrong",
            "poz.bradley_terry without it",
        ),
    ],
    basis="Trainers' code, executed in float64: huggingface/trl@v1.16.0, OpenRLHF/OpenRLHF@3c3be62, Kwai-YuanQi/MM-RLHF@7c8af1d: "
    "tests/authors/bradley_terry.json. The weight of ties has no published default: MM-RLHF's configuration does not have what its trainer reads.",
)
def bradley_terry(
    xp: Namespace,
    pairs: RewardPairs,
    *,
    temperature: Annotated[float, Real("τ, divides the margin", low=0, open="low")] = 1.0,
    tie_weight: Annotated[float, Real("w, weight of a tie's squared margin", low=0)] = 1.0,
    centering: Annotated[float, Real("c, weight of the squared sum of both scores", low=0)] = 0.0,
) -> Array:
    """Logistic loss of the margin between two scores; of a tie its square; scores may be drawn to mean 0.

    The margin and the label of a tie have no say. A softmax over two scores (HPSv2, PickScore, 3DGen-Bench) is the same loss
    with the first entry of its target as the label.
    """
    apart = pairs.chosen - pairs.rejected
    decided = None if pairs.tie is None else ~pairs.tie  # unknown numbers of a tie would reach its slope
    z = apart if pairs.margin is None else apart - terms.masked(xp, xp.astype(pairs.margin, apart), decided)
    wrong = 0.0 if pairs.label is None else terms.masked(xp, 1 - xp.astype(pairs.label, apart), decided)
    losses = terms.smoothed(xp, z / temperature, wrong)
    if pairs.tie is not None:
        tied = terms.spared(xp, tie_weight, terms.masked(xp, apart, pairs.tie))
        losses = xp.where(pairs.tie, tie_weight * tied**2, losses)
    both = terms.spared(xp, centering, pairs.chosen + pairs.rejected)
    return losses + centering * both**2

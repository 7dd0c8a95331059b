"""A reward model's loss whose margins, flips and soft labels follow how strongly an ensemble prefers chosen."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import RewardPairs
from poz.objective import Deviation, Limit, objective
from poz.purposes import Answer


def _alone(pairs: RewardPairs) -> tuple[RewardPairs, RewardPairs]:
    return pairs, RewardPairs(pairs.chosen, pairs.rejected)


@objective(
    title="Adaptive margin, label flipping and label smoothing by preference strength",
    paper="arXiv:2401.06080",
    equation="eq. 5, 6 and section 2.3",
    formula=r"-(1-\alpha_s)\log\sigma(z)-\alpha_s\log\sigma(-z),\quad z=s\,(r_w-r_l-\lambda\hat\mu),\ s=-1\text{ where }\hat\mu<\mu_0\text{, else }1,\ \alpha_s=\alpha\text{ where }s\hat\mu<\mu_1\text{, else }0",
    reads="chosen rejected strength",
    answers=[
        Answer(
            "noisy-labels",
            under="flip_below or smooth_below",
            paper="abstract: incorrect and ambiguous preferences, found by the strength on which several reward models vote",
            test="rewards/test_rewards_fits_claims.py::test_flipping_the_least_sure_labels_helps_until_the_noise_is_gone",
        ),
        Answer(
            "preference-strength",
            test="objectives/test_purposes_shown.py::test_a_stronger_preference_pulls_scores_apart_harder",
        ),
    ],
    reduces_to=[
        Limit(
            "bradley_terry",
            "nothing follows the strength",
            lambda p: {**p, "margin_scale": 0.0, "flip_below": None, "label_smoothing": 0.0},
            lambda p: {"temperature": 1.0, "centering": 0.0},
            _alone,
        ),
        Limit(
            "bradley_terry",
            "the margin alone, which is the strength",
            lambda p: {**p, "margin_scale": 1.0, "flip_below": None, "label_smoothing": 0.0},
            lambda p: {"temperature": 1.0, "centering": 0.0},
            lambda b: (b, RewardPairs(b.chosen, b.rejected, margin=b.strength)),
        ),
        Limit(
            "bradley_terry",
            "a label of 1 - α for all",
            lambda p: {**p, "margin_scale": 0.0, "flip_below": None, "smooth_below": None, "label_smoothing": 0.25},
            lambda p: {"temperature": 1.0, "centering": 0.0},
            lambda b: (b, RewardPairs(b.chosen, b.rejected, label=0 * b.chosen + 0.75)),
        ),
    ],
    deviations=[
        Deviation(
            "arXiv:2401.06080 eq. 6, as it is typeset",
            "has the strength outside of the logarithm, where it has no gradient",
            "poz.adaptive_margin, with the strength within, as the text means it and Llama 2 has its margin",
        ),
        Deviation(
            "OpenLMLab/MOSS-RLHF@4865d82",
            "has none of it but a baseline, -log(sigmoid(d) + 1e-5)",
            "margin_scale=0, without the 1e-5, which caps the loss at 11.51",
        ),
    ],
    basis="Paper. Its authors released the baseline alone, executed in float64 (OpenLMLab/MOSS-RLHF@4865d82); margin and smoothing stand beside "
    "those of OpenRLHF/OpenRLHF@3c3be62 and of DPO's authors: tests/authors/adaptive_margin.json. Thresholds and α are not in the text that was read, "
    "so the defaults flip and smooth nothing.",
)
def adaptive_margin(
    xp: Namespace,
    pairs: RewardPairs,
    *,
    margin_scale: Annotated[float, Real("λ, factor of the strength in the margin", low=0)] = 1.0,
    flip_below: Annotated[
        float | None, Real("μ0, strength below which a label is flipped", high=0, usual=(-1.0, 0.0), optional=True)
    ] = None,
    smooth_below: Annotated[
        float | None,
        Real("μ1, strength, after a flip, below which a label is smoothed", usual=(-0.5, 1.5), optional=True),
    ] = None,
    label_smoothing: Annotated[float, Real("α, smoothing of those labels", low=0, high=0.5, usual=(0.0, 0.5))] = 0.0,
) -> Array:
    """Logistic loss with the ensemble's strength as the margin, which is negative where it disagrees with the label.

    A flipped pair is the swapped pair: margin and strength change sign with it. Without a threshold none are flipped, and
    all are smoothed alike.
    """
    strength = xp.astype(pairs.strength, pairs.chosen)
    z = pairs.chosen - pairs.rejected - terms.times(xp, margin_scale, strength)
    if flip_below is not None:
        flipped = strength < flip_below
        z, strength = xp.where(flipped, -z, z), xp.where(flipped, -strength, strength)
    if smooth_below is not None:
        smoothing = terms.numbers(xp, label_smoothing, z)
        label_smoothing = terms.masked(xp, smoothing, strength < smooth_below)
    return terms.smoothed(xp, z, label_smoothing)

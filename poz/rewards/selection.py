"""Which pairs to train on: picked from scored completions, split by difficulty, asked for next. NumPy, on the host.

Whatever is random takes a generator, and nothing else remembers anything. Scores have to be finite: what is chosen by a
NaN would be chosen in silence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz._nearest import meant
from poz.rewards._host import Floats, Places, finite, places

Mask = npt.NDArray[np.bool_]


class Selected(NamedTuple):
    """Pairs, at most one per prompt.

    Attributes:
        prompt: (pairs,) place of the prompt.
        chosen: (pairs,) place of the chosen completion among those of its prompt.
        rejected: (pairs,) place of the rejected one.
        margin: (pairs,) score of chosen minus score of rejected, above 0, by what put them in order.
    """

    prompt: Places
    chosen: Places
    rejected: Places
    margin: Floats


@given
def select_pairs(
    scores: npt.ArrayLike,
    rule: str = "max_min",
    *,
    generator: np.random.Generator | None = None,
    penalty: npt.ArrayLike | None = None,
    order_by: str = "raw",
) -> Selected:
    """One pair of the K scored completions of each prompt, as the rounds of RLHF Workflow pick them.

    `max_min` takes best and worst, `max_max` best and second best, `max_random` best and any other, `random` any two. A
    pair of equal scores is dropped, and so is a prompt with one completion. Of equal candidates the first counts as best,
    and the first as worst.

    Args:
        scores: (prompts, K) rewards.
        rule: One of the four; the authors' file of settings has max_min, their parser max_random.
        generator: Of the rules with random in them. The authors' take the first completion in place of a drawn one,
            which is as good where completions are independent draws in the order of drawing.
        penalty: (prompts, K) subtracted from the scores before the rule picks: their max_min_p, with a number times the
            length in characters.
        order_by: "raw" or "penalised": the scores that put the picked pair in order. By the raw ones, as the authors do,
            a penalty never makes the worse completion win; by the penalised ones it may.

    Source: Dong et al. 2024, arXiv 2405.07863; RLHFlow/Online-RLHF@3a00ed8 dpo_iteration/run_dpo.py.

    Raises:
        ValueError: Scores that are not finite or of another shape, another rule, or a rule without its generator.
    """
    raw = finite("scores", scores, "prompts K")
    known = {"max_min": False, "max_max": False, "max_random": True, "random": True}
    if rule not in known:
        raise ValueError(f"rule is one of {', '.join(known)}; got {rule!r}.{meant(rule, [*known])}")
    if order_by not in ("raw", "penalised"):
        raise ValueError(f'order_by is "raw" or "penalised"; got {order_by!r}.')
    if generator is None and known[rule]:
        raise ValueError(f'"{rule}" draws completions; give generator=np.random.default_rng(seed).')
    picked_by = raw
    if penalty is not None:
        taken = finite("penalty", penalty, "prompts K")
        if taken.shape != raw.shape:
            raise ValueError(f"A penalty is per completion, {raw.shape}; got {taken.shape}.")
        picked_by = raw - taken
    prompts, completions = raw.shape
    if completions < 2 or not prompts:
        nothing = np.zeros(0, np.intp)
        return Selected(nothing, nothing, nothing, np.zeros(0))
    rows = np.arange(prompts)
    one = np.argmax(picked_by, 1)
    if rule == "max_min":
        two = np.argmin(picked_by, 1)
    elif rule == "max_max":
        others = picked_by.copy()
        others[rows, one] = -np.inf
        two = np.argmax(others, 1)
    else:
        assert generator is not None
        if rule == "random":
            one = generator.integers(completions, size=prompts)
        two = (one + generator.integers(1, completions, size=prompts)) % completions
    ordering = raw if order_by == "raw" else picked_by
    ahead = ordering[rows, one] - ordering[rows, two]
    chosen, rejected = np.where(ahead > 0, one, two), np.where(ahead > 0, two, one)
    kept = ahead != 0
    return Selected(rows[kept], chosen[kept], rejected[kept], np.abs(ahead[kept]))


class Split(NamedTuple):
    """Each pair is in one of two.

    Attributes:
        easy: (pairs,) true where |margin| >= threshold.
        hard: (pairs,) true elsewhere.
        threshold: γ, in units of the reward.
    """

    easy: Mask
    hard: Mask
    threshold: float


@given
def split_by_margin(margins: npt.ArrayLike, *, threshold: float | None = None, quantile: float | None = None) -> Split:
    """Easy and hard pairs by how far apart a reward model sees them.

    MPO trains by DPO on easy pairs first, then by reinforcement learning on the prompts of hard ones with that model as the
    reference; MixDPO (arXiv 2602.00954) takes supervised steps on the chosen completions of hard ones.

    Args:
        margins: (pairs,) score of one completion minus score of the other, in units of the reward.
        threshold: γ >= 0.
        quantile: In place of γ, a share in [0, 1]: γ is that quantile of |margin|. It is of these pairs, so ranks have to
            share one threshold.

    Source: Gou & Nguyen 2024, arXiv 2403.19443 (abstract; its γ could not be read).

    Raises:
        ValueError: Both or neither of threshold and quantile, one outside its domain, margins that are not finite, or a
            quantile of no pair.
    """
    size = np.abs(finite("margins", margins, "pairs"))
    if (threshold is None) == (quantile is None):
        raise ValueError(f"Give threshold or quantile; got {threshold} and {quantile}.")
    if threshold is None:
        assert quantile is not None
        if not 0 <= quantile <= 1 or not size.size:
            raise ValueError(f"quantile is a share, from 0 to 1, of one pair at least; got {quantile} of {size.size}.")
        threshold = float(np.quantile(size, quantile))
    if not threshold >= 0:
        raise ValueError(f"threshold is of sizes of margins, so 0 or more; got {threshold}.")
    easy = size >= threshold
    return Split(easy, ~easy, float(threshold))


@given
def neighbour_directions(
    direction: npt.ArrayLike, k: int, generator: np.random.Generator, *, max_angle: float = np.pi / 6
) -> Floats:
    """Directions of preference near the wanted one, to generate one completion for each.

    Args:
        direction: (2,) weights of two rewards, such as helpfulness and verbosity; divided by its length.
        k: How many, 1 or more; the paper has 5.
        generator: Of the angles, uniform in [-max_angle, max_angle]. (How the paper draws them could not be read.)
        max_angle: In radians, from 0 to π; the paper has 30 degrees. A weight may become negative.

    Returns:
        (k, 2) unit vectors.

    Source: Mao et al. 2025, *Robust Preference Alignment via Directional Neighborhood Consensus*, arXiv 2510.20498 (second
    hand; their repository could not be had).

    Raises:
        ValueError: A direction that is not of two finite weights or has no length, no neighbour, or another angle.
    """
    wanted = finite("direction", direction, "2")
    length = np.hypot(*wanted) if wanted.shape == (2,) else 0.0
    if not length > 0:
        raise ValueError(f"direction must be two weights, not both 0; got {wanted.tolist()}.")
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}.")
    if not 0 <= max_angle <= np.pi:
        raise ValueError(f"max_angle must lie from 0 to π radians; got {max_angle}.")
    angle = generator.uniform(-max_angle, max_angle, k)
    (x, y), cos, sin = wanted / length, np.cos(angle), np.sin(angle)
    return np.stack([x * cos - y * sin, y * cos + x * sin], -1)


@given
def best_along(direction: npt.ArrayLike, rewards: npt.ArrayLike) -> Places:
    """Place of the completion with the highest v · r, the first of equal ones.

    Args:
        direction: (attributes,) v, the wanted direction and not the one a completion was generated for.
        rewards: (prompts, k, attributes) rewards of the k completions of each prompt.

    Returns:
        (prompts,) places from 0.

    Raises:
        ValueError: Numbers that are not finite, other attributes, or no completion.
    """
    v, r = finite("direction", direction, "attributes"), finite("rewards", rewards, "prompts k attributes")
    if r.shape[-1] != v.size or not r.shape[1]:
        raise ValueError(f"rewards must be (prompts, k, {v.size}) with a completion at least; got {r.shape}.")
    return np.asarray(np.argmax(r @ v, 1))


class Duel(NamedTuple):
    """The two arms to ask about.

    Attributes:
        first: Place of the arm with the highest score.
        second: Place of another one, which may win or teaches most.
        bonus: (arms,) what uncertainty about the difference to `first` adds to a score; 0 at `first`.
    """

    first: int
    second: int
    bonus: Floats


@given
def duel_information(gradients: npt.ArrayLike, history: npt.ArrayLike) -> Floats:
    """Σ (g_a - g_b)² over the duels that were fought, the diagonal of what they taught. It adds up over duels.

    Args:
        gradients: (arms, parameters) derivatives of each arm's score by the parameters of the score model.
        history: (duels, 2) integer places of both arms.

    Returns:
        (parameters,) sums.

    Raises:
        TypeError: Places that are no integers.
        ValueError: Shapes that differ, gradients that are not finite, or an arm that is not there.
    """
    g = finite("gradients", gradients, "arms parameters")
    fought = _history(history, len(g))
    return np.asarray(np.sum((g[fought[:, 0]] - g[fought[:, 1]]) ** 2, axis=0))


@given
def next_duel(
    scores: npt.ArrayLike,
    gradients: npt.ArrayLike,
    information: npt.ArrayLike,
    *,
    nu: float = 1.0,
    damping: float = 0.1,
) -> Duel:
    """The best arm, and the one with the highest h(x) + sqrt(ν Σ_j (g_j(x) - g_j(x₁))² / V_jj), V = λ + information.

    Where that is the best arm again, the runner-up. ν stands inside the root; at ν = 0 the two best arms meet. Of equal
    arms the first is taken.

    Args:
        scores: (arms,) h, scores by the model, in nats of the Bradley-Terry loss that it learns by.
        gradients: (arms, parameters) g, derivatives of the scores by the parameters.
        information: (parameters,) as of `duel_information`; zeros before the first duel.
        nu: ν >= 0. The authors' scripts have 1, their parser .1.
        damping: λ > 0.

    Source: Lin et al. 2024, arXiv 2405.17346; xqlin98/APOHF@26eea14 Induction/experiments/LlamaForMLPRegression.py
    `NeuralDBDiag.select`, whose V is also the diagonal only.

    Raises:
        ValueError: Fewer than two arms, shapes that differ, numbers that are not finite, or a ν or λ out of its domain.
    """
    h, g = finite("scores", scores, "arms"), finite("gradients", gradients, "arms parameters")
    seen = finite("information", information, "parameters")
    if h.size < 2:
        raise ValueError(f"A duel needs two arms at least; got {h.size}.")
    if len(g) != h.size or g.shape[1] != seen.size:
        raise ValueError(f"{h.size} arms and {seen.size} parameters need gradients of that shape; got {g.shape}.")
    if not 0 <= nu < np.inf or not 0 < damping < np.inf or np.any(seen < 0):
        raise ValueError(
            f"nu and information must be at least 0, damping above 0; got {nu}, {seen.tolist()}, {damping}."
        )
    first = int(np.argmax(h))
    bonus = np.sqrt(nu * np.sum((g - g[first]) ** 2 / (damping + seen), axis=1))
    rivals = h + bonus
    rivals[first] = -np.inf
    return Duel(first, int(np.argmax(rivals)), bonus)


@given
def best_fought(scores: npt.ArrayLike, history: npt.ArrayLike) -> int:
    """Place of the highest score among the arms that were asked about: what APOHF reports, not the best of all arms.

    Args:
        scores: (arms,) scores by the model.
        history: (duels, 2) integer places of both arms, one duel at least.

    Raises:
        TypeError: Places that are no integers.
        ValueError: No duel, scores that are not finite, or an arm that is not there.
    """
    h = finite("scores", scores, "arms")
    fought = _history(history, h.size)
    if not fought.size:
        raise ValueError("Before the first duel no arm was asked about.")
    arms = np.unique(fought)
    return int(arms[np.argmax(h[arms])])


def _history(history: npt.ArrayLike, arms: int) -> Places:
    found = places("history", history, arms, "duels 2")
    if found.shape[1] != 2:
        raise ValueError(f"A duel has two arms, so history is (duels, 2); got {found.shape}.")
    return found

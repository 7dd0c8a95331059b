"""Pairs picked from scores: by what the authors' functions gave, by the laws of each rule, and by simulated claims."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from poz.rewards import selection
from poz.rewards.selection import select_pairs

DRAWS = np.random.default_rng

# RLHFlow/Online-RLHF@3a00ed8 dpo_iteration/run_dpo.py `prepare_data`, executed on these rewards and numbers of characters.
REWARDS = np.array(
    [[1.0126192138718095, -0.22354527647295575, -0.8712893301153637, -0.17239781746615324],
     [-0.10359228389727097, -0.5172124083496293, 0.140319575499284, 0.0034892784609675607],
     [-0.9353535489791893, -0.12897314698490236, -0.5021823540482193, -0.9087260567788915],
     [0.7537356891723972, 0.9672174260357097, -0.24252096302888912, -0.716628266352247],
     [-0.3458991313394637, -0.09629795932551771, -0.7977088172296984, 0.3709178946459207]]
)  # fmt: skip
CHARACTERS = np.array([[19, 15, 9, 14], [10, 11, 8, 12], [19, 14, 5, 10], [12, 16, 13, 14], [15, 19, 7, 13]])
AUTHORS = {
    ("max_min", 0.0): ([0, 2, 1, 1, 3], [2, 1, 0, 3, 2], 1.883908543987173),
    ("max_max", 0.0): ([0, 2, 1, 1, 3], [3, 3, 2, 0, 1], 1.185017031337963),
    ("max_min", 0.1): ([0, 2, 2, 0, 3], [2, 1, 0, 3, 1], 1.883908543987173),
    ("max_min", 1.0): ([0, 2, 2, 1, 1], [2, 3, 0, 0, 2], 1.8839085439871732),
}
RULES = ("max_min", "max_max", "max_random", "random")


@pytest.mark.parametrize(("rule", "times"), AUTHORS)
def test_pairs_are_the_authors(rule, times):
    chosen, rejected, margin = AUTHORS[rule, times]
    found = select_pairs(REWARDS, rule, penalty=times * CHARACTERS)
    np.testing.assert_array_equal(found.prompt, np.arange(5))
    np.testing.assert_array_equal(found.chosen, chosen)
    np.testing.assert_array_equal(found.rejected, rejected)
    assert found.margin[0] == pytest.approx(margin, rel=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_every_pair_is_in_order_with_its_own_margin(rule):
    scores = DRAWS(0).integers(0, 4, (300, 5)).astype(float)  # with many ties
    found = select_pairs(scores, rule, generator=DRAWS(1))
    assert 0 < len(found.prompt) < 300
    won, lost = scores[found.prompt, found.chosen], scores[found.prompt, found.rejected]
    assert np.all(won > lost)
    np.testing.assert_array_equal(found.margin, won - lost)
    if rule != "random":
        np.testing.assert_array_equal(won, scores[found.prompt].max(1))
    # The margin of best against worst is the largest there is.
    largest = select_pairs(scores)
    assert np.all(np.ptp(scores, axis=1)[largest.prompt] == largest.margin)
    assert np.all(np.ptp(scores, axis=1)[found.prompt] >= found.margin)


def test_best_against_worst_follows_a_permutation():
    scores, order = DRAWS(2).normal(size=(50, 6)), DRAWS(3).permutation(6)
    there, permuted = select_pairs(scores), select_pairs(scores[:, order])
    np.testing.assert_array_equal(order[permuted.chosen], there.chosen)
    np.testing.assert_array_equal(order[permuted.rejected], there.rejected)
    np.testing.assert_array_equal(permuted.margin, there.margin)


def test_two_completions_make_one_pair_by_every_rule():
    scores = DRAWS(4).normal(size=(40, 2))
    for rule in RULES:
        for ours, theirs in zip(select_pairs(scores, rule, generator=DRAWS(5)), select_pairs(scores), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    # A penalty that levels them leaves nothing to pick: argmax is argmin.
    assert len(select_pairs(scores, penalty=scores).prompt) == 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scores", [np.zeros((3, 1)), np.zeros((0, 4)), np.ones((3, 4))], ids=["K=1", "none", "ties"])
def test_nothing_to_prefer_makes_no_pair(rule, scores):
    found = select_pairs(scores, rule, generator=DRAWS(0))
    assert [len(x) for x in found] == [0] * 4


def test_equal_best_ones_make_no_pair_of_best_and_second_best():
    found = select_pairs([[1.0, 2.0, 2.0], [3.0, 1.0, 2.0]], "max_max")
    assert (found.prompt.tolist(), found.chosen.tolist(), found.rejected.tolist()) == ([1], [0], [2])


def test_draws_come_from_the_generator_alone_and_reach_every_pair():
    scores = np.tile([3.0, 2.0, 1.0, 0.0], (6000, 1))
    one, same, other = (select_pairs(scores, "random", generator=DRAWS(s)) for s in (6, 6, 7))
    np.testing.assert_array_equal(one.chosen, same.chosen)
    assert np.any(one.chosen != other.chosen)
    # Six pairs, a thousand draws each: five standard errors are 5 sqrt(6000 * 1/6 * 5/6) = 144.
    counts = np.bincount(4 * one.chosen + one.rejected, minlength=16)
    assert np.all(np.abs(counts[counts > 0] - 1000) < 144)
    assert np.count_nonzero(counts) == 6
    against = select_pairs(scores, "max_random", generator=DRAWS(6))
    assert set(against.chosen) == {0}
    assert np.all(np.abs(np.bincount(against.rejected)[1:] - 2000) < 5 * np.sqrt(6000 * 2 / 9))


def test_a_penalty_picks_and_only_where_asked_decides():
    # The longer completion scores higher by .5 and is 10 longer: raw it wins, penalised it loses by .5.
    given = {"scores": [[1.5, 1.0]], "penalty": [[1.0, 0.0]]}
    raw, penalised = (select_pairs(**given, order_by=by) for by in ("raw", "penalised"))
    assert (raw.chosen[0], raw.margin[0]) == (0, 0.5)
    assert (penalised.chosen[0], penalised.margin[0]) == (1, 0.5)


@pytest.mark.parametrize(("k", "expected"), [(2, 1.128), (4, 2.059), (8, 2.847)])
def test_the_margin_grows_as_the_range_of_normals(k, expected):
    # The range of a normal sample has a standard deviation below .86: five standard errors of 40000 are .022.
    assert select_pairs(DRAWS(8).normal(size=(40_000, k))).margin.mean() == pytest.approx(expected, abs=0.022)


# -- easy and hard


def test_a_split_is_a_partition_that_shrinks_with_the_threshold():
    margins = DRAWS(9).normal(size=500)
    sizes = []
    for threshold in (0.0, 0.3, 1.0, 99.0):
        split = selection.split_by_margin(margins, threshold=threshold)
        np.testing.assert_array_equal(split.easy, ~split.hard)
        np.testing.assert_array_equal(split.easy, selection.split_by_margin(-margins, threshold=threshold).easy)
        sizes.append(split.easy.sum())
    assert sizes[0] == 500 > sizes[1] > sizes[2] > sizes[3] == 0


def test_a_quantile_is_a_share_of_hard_pairs():
    margins = DRAWS(10).normal(size=1001)
    split = selection.split_by_margin(margins, quantile=0.25)
    assert split.hard.sum() == 250
    assert split.threshold == np.sort(np.abs(margins))[250]
    assert selection.split_by_margin(np.full(7, 2.0), quantile=0.9).easy.all()
    assert selection.split_by_margin([3.0], quantile=1.0).easy.tolist() == [True]
    assert selection.split_by_margin([], threshold=1.0).easy.shape == (0,)


def test_labels_of_easy_pairs_are_right_more_often():
    # P(label right) = σ(|d|), labels drawn; the accuracy of easy pairs rises with γ by more than its noise.
    margins = DRAWS(11).normal(0, 2, 100_000)
    right = DRAWS(12).random(100_000) < scipy.special.expit(np.abs(margins))
    rates = [right[selection.split_by_margin(margins, threshold=g).easy].mean() for g in (0.0, 1.0, 2.0, 3.0)]
    assert np.all(np.diff(rates) > 0.02)


# -- directions


def test_neighbours_are_unit_vectors_within_the_angle():
    wanted = np.array([3.0, 4.0])
    found = selection.neighbour_directions(wanted, 4000, DRAWS(13), max_angle=0.5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-14)
    angle = np.arctan2(found[:, 1], found[:, 0]) - np.arctan2(4, 3)
    assert 0.49 < np.max(angle) <= 0.5 + 1e-12
    assert -0.49 > np.min(angle) >= -0.5 - 1e-12
    assert np.array_equal(found, selection.neighbour_directions(wanted, 4000, DRAWS(13), max_angle=0.5))
    # The paper's 30 degrees by default.
    default = selection.neighbour_directions([1.0, 0.0], 4000, DRAWS(14))
    assert np.cos(np.pi / 6) <= default[:, 0].min() < np.cos(np.pi / 6) + 1e-3


def test_one_neighbour_at_no_angle_is_the_direction():
    np.testing.assert_allclose(
        selection.neighbour_directions([3.0, 4.0], 1, DRAWS(0), max_angle=0.0), [[0.6, 0.8]], rtol=1e-15
    )


def test_the_best_is_judged_by_the_wanted_direction():
    rewards = [[[1.0, 0.0], [0.0, 1.0], [0.7, 0.7]], [[2.0, 2.0], [2.0, 2.0], [0.0, 0.0]]]
    np.testing.assert_array_equal(selection.best_along([1.0, 0.0], rewards), [0, 0])
    np.testing.assert_array_equal(selection.best_along([0.0, 1.0], rewards), [1, 0])
    np.testing.assert_array_equal(selection.best_along([1.0, 1.0], rewards), [2, 0])


@pytest.mark.parametrize(("k", "expected"), [(1, 0.0), (2, 0.564), (5, 1.163)])
def test_the_best_of_k_normals(k, expected):
    scores = DRAWS(15).normal(size=(40_000, k, 1))
    best = np.take_along_axis(scores[..., 0], selection.best_along([1.0], scores)[:, None], 1)
    # Five standard errors: 5 / 200.
    assert best.mean() == pytest.approx(expected, abs=0.025)

    # The same by E[max] = ∫ x d(Φ^k).
    def density(x):
        return x * k * scipy.stats.norm.cdf(x) ** (k - 1) * scipy.stats.norm.pdf(x)

    assert scipy.integrate.quad(density, -9, 9)[0] == pytest.approx(expected, abs=5e-4)


def test_neighbours_that_dominate_make_a_better_best():
    # The paper's theorem: where every neighbour's scores dominate those of the wanted direction stochastically, E[max] over
    # neighbours is larger than over as many draws at the direction. Here the policy is better trained near (1, 0).
    wanted, generator = np.array([np.cos(0.7), np.sin(0.7)]), DRAWS(16)
    means = []
    for max_angle in (0.0, np.pi / 6):
        directions = selection.neighbour_directions(wanted, 5 * 4000, generator, max_angle=max_angle)
        quality = 2 - np.abs(np.arctan2(directions[:, 1], directions[:, 0]) - 0.7)
        quality = quality if max_angle == 0 else 2 + np.abs(quality - 2)  # neighbours are better, at any angle
        rewards = (quality[:, None] * wanted + generator.normal(0, 0.3, (20_000, 2))).reshape(4000, 5, 2)
        best = selection.best_along(wanted, rewards)
        means.append((rewards @ wanted)[np.arange(4000), best].mean())
    # Five standard errors of a difference of two means of 4000, each of deviation below .3.
    assert means[1] - means[0] > 5 * 0.3 * np.sqrt(2 / 4000)


# -- duels

# xqlin98/APOHF@26eea14 NeuralDBDiag.select, executed with a linear score h = x w, so that the gradient is x; ν 1, λ .1.
ARMS = np.array(
    [[0.8485071122475574, -0.9615227584731151, 1.9551621743102408],
     [-1.082003638951351, 1.0859164975049678, -0.4165953988993202],
     [0.08842330379613772, 0.6122966003108947, 1.5530185268959036],
     [1.8262691555429955, 0.17188109165822096, -1.445669428705639],
     [1.2593162688526398, 2.578074513266832, -1.1760278642755435],
     [0.19437219319982654, 1.7202052135135446, 2.8868025874020433],
     [0.02325749021296908, 1.1324338785602526, 0.13525838699420437]]
)  # fmt: skip
WEIGHTS = np.array([0.33964472146666935, -0.983157008186438, -1.9582952477734732])
HISTORY = [[0, 1], [2, 3], [4, 1]]


def test_the_next_duel_is_the_authors():
    information = selection.duel_information(ARMS, HISTORY)
    duel = selection.next_duel(ARMS @ WEIGHTS, ARMS, information)
    assert duel[:2] == (3, 4)
    # By loops: V_jj = λ + Σ (g_a - g_b)_j², and ν inside the root.
    for arm in range(7):
        total = 0.0
        for j in range(3):
            v = 0.1 + sum((ARMS[a, j] - ARMS[b, j]) ** 2 for a, b in HISTORY)
            total += (ARMS[arm, j] - ARMS[3, j]) ** 2 / v
        assert duel.bonus[arm] == pytest.approx(total**0.5, rel=1e-13)
    assert duel.bonus[3] == 0


def test_information_adds_up_and_lowers_the_bonus():
    some, more = selection.duel_information(ARMS, HISTORY[:1]), selection.duel_information(ARMS, HISTORY[1:])
    np.testing.assert_allclose(some + more, selection.duel_information(ARMS, HISTORY), rtol=1e-15)
    np.testing.assert_array_equal(selection.duel_information(ARMS, np.zeros((0, 2), int)), np.zeros(3))
    before, after = (selection.next_duel(ARMS @ WEIGHTS, ARMS, x).bonus for x in (some, some + more))
    others = np.arange(7) != 3
    assert np.all(after[others] < before[others])
    wider = selection.next_duel(ARMS @ WEIGHTS, ARMS, some, nu=4.0).bonus
    np.testing.assert_allclose(wider, 2 * before, rtol=1e-14)


def test_without_a_bonus_the_two_best_meet():
    scores = np.array([0.3, 2.0, -1.0, 1.9])
    assert selection.next_duel(scores, DRAWS(0).normal(size=(4, 2)), np.zeros(2), nu=0.0)[:2] == (1, 3)
    assert selection.next_duel(np.zeros(3), np.zeros((3, 2)), np.zeros(2))[:2] == (0, 1)


def test_duels_find_the_best_arm():
    # A linear score learnt by ridge on the logits of the answers, from 60 duels over 30 arms of noise-free preferences.
    generator = DRAWS(17)
    arms, truth = generator.normal(size=(30, 3)), np.array([1.0, -2.0, 0.5])
    history, won = [], []
    weights = np.zeros(3)
    for _ in range(60):
        duel = selection.next_duel(
            arms @ weights, arms, selection.duel_information(arms, np.array(history, int).reshape(-1, 2))
        )
        history.append(duel[:2])
        won.append(1.0 if arms[duel.first] @ truth > arms[duel.second] @ truth else -1.0)
        ahead = np.array([arms[a] - arms[b] for a, b in history])
        weights = np.linalg.solve(ahead.T @ ahead + 0.1 * np.eye(3), ahead.T @ won)
    reported = selection.best_fought(arms @ weights, history)
    assert np.argsort(arms @ truth)[::-1].tolist().index(reported) < 3
    assert reported in np.unique(history)


def test_the_best_fought_is_not_the_best_of_all():
    assert selection.best_fought([5.0, 1.0, 2.0, 9.0], [[1, 2]]) == 2


@pytest.mark.parametrize(("call", "error", "sentence"), [
    (lambda: select_pairs([1.0, 2.0]), ValueError, r"scores must have the shape \(prompts, K\); got \(2,\)"),
    (lambda: select_pairs([[1.0, np.nan]]), ValueError, "scores must be finite; got nan"),
    (lambda: select_pairs([[1.0, 2.0]], "best"), ValueError, "rule is one of max_min, max_max, max_random, random; got 'best'"),
    (lambda: select_pairs([[1.0, 2.0]], order_by="length"), ValueError, "order_by is"),
    (lambda: select_pairs([[1.0, 2.0]], "random"), ValueError, "give generator=np.random.default_rng"),
    (lambda: select_pairs([[1.0, 2.0]], penalty=[[1.0]]), ValueError, r"per completion, \(1, 2\); got \(1, 1\)"),
    (lambda: select_pairs([[1.0, 2.0]], penalty=[[np.inf, 0.0]]), ValueError, "penalty must be finite"),
    (lambda: selection.split_by_margin([1.0]), ValueError, "Give threshold or quantile; got None and None"),
    (lambda: selection.split_by_margin([1.0], threshold=1.0, quantile=0.5), ValueError, "Give threshold or quantile"),
    (lambda: selection.split_by_margin([1.0], threshold=-1.0), ValueError, "0 or more; got -1"),
    (lambda: selection.split_by_margin([1.0], quantile=1.5), ValueError, "quantile is a share"),
    (lambda: selection.split_by_margin([], quantile=0.5), ValueError, "of one pair at least; got 0.5 of 0"),
    (lambda: selection.split_by_margin([np.inf], threshold=1.0), ValueError, "margins must be finite"),
    (lambda: selection.neighbour_directions([1.0, 0.0, 0.0], 1, DRAWS(0)), ValueError, "two weights, not both 0"),
    (lambda: selection.neighbour_directions([0.0, 0.0], 1, DRAWS(0)), ValueError, "two weights, not both 0"),
    (lambda: selection.neighbour_directions([1.0, 0.0], 0, DRAWS(0)), ValueError, "k must be at least 1"),
    (lambda: selection.neighbour_directions([1.0, 0.0], 1, DRAWS(0), max_angle=4.0), ValueError, "from 0 to π"),
    (lambda: selection.best_along([1.0], np.zeros((2, 0, 1))), ValueError, "with a completion at least"),
    (lambda: selection.best_along([1.0], np.zeros((2, 3, 2))), ValueError, r"rewards must be \(prompts, k, 1\)"),
    (lambda: selection.next_duel([1.0], [[1.0]], [0.0]), ValueError, "two arms at least; got 1"),
    (lambda: selection.next_duel([1.0, 2.0], [[1.0]] * 3, [0.0]), ValueError, r"got \(3, 1\)"),
    (lambda: selection.next_duel([1.0, 2.0], [[1.0]] * 2, [0.0], damping=0.0), ValueError, "damping above 0"),
    (lambda: selection.next_duel([1.0, 2.0], [[1.0]] * 2, [0.0], nu=-1.0), ValueError, "must be at least 0"),
    (lambda: selection.duel_information([[1.0]] * 2, [[0, 2]]), ValueError, "history must lie from 0 to 1"),
    (lambda: selection.duel_information([[1.0]] * 2, [[0.0, 1.0]]), TypeError, "history must hold integers"),
    (lambda: selection.duel_information([[1.0]] * 2, [[0, 1, 1]]), ValueError, "A duel has two arms"),
    (lambda: selection.best_fought([1.0, 2.0], np.zeros((0, 2), int)), ValueError, "Before the first duel"),
])  # fmt: skip
def test_is_refused_in_a_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()

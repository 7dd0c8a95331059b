"""Tabular games against closed forms and golden numbers of a three-action bench, and the iterations that solve them."""

import itertools

import numpy as np
import pytest
from tabular import random_game

from poz import games
from poz.algorithms import tabular

BENCH = games.rock_paper_scissors(0.8)
SKEWED = np.array([0.6, 0.3, 0.1])
UNIFORM = np.full(3, 1 / 3)
TAU = 0.2
EQUILIBRIUM = games.regularized_nash(BENCH, SKEWED, TAU)


def nth(iterates, n):
    return next(itertools.islice(iterates, n, None))


def test_equilibrium_of_the_bench():
    # Golden number: strength 0.8, reference (.6, .3, .1), tau 0.2; the fixed point to 8 digits and its residual.
    np.testing.assert_allclose(EQUILIBRIUM, [0.5762748, 0.17423276, 0.24949244], atol=5e-9, rtol=0)
    np.testing.assert_allclose(games.best_response(BENCH, EQUILIBRIUM, SKEWED, TAU), EQUILIBRIUM, atol=1e-15, rtol=0)


def test_duality_gap_of_the_bench():
    # Golden number: the gap of the reference is 0.0687975406593, that of the equilibrium 0.
    assert games.duality_gap(BENCH, SKEWED, SKEWED, TAU) == pytest.approx(0.0687975406593, abs=5e-14)
    assert games.duality_gap(BENCH, EQUILIBRIUM, SKEWED, TAU) < 1e-15


@pytest.mark.parametrize("tau", [10.0, 1.0, 0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("actions", [2, 3, 12])
def test_equilibrium_is_its_own_best_response(tau, actions):
    # The definition, on random non-transitive games and skewed references; rounding of win rates is divided by tau.
    generator = np.random.default_rng(actions)
    for _ in range(5):
        P, reference = random_game(generator, actions), generator.dirichlet(np.full(actions, 0.5))
        found = games.regularized_nash(P, reference, tau)
        answer = games.best_response(P, found, reference, tau)
        np.testing.assert_allclose(answer, found, atol=1e-14 * max(1, 1 / tau), rtol=0)
        assert games.duality_gap(P, found, reference, tau) < 1e-14


def test_equilibrium_of_a_tiny_tau_is_nash():
    # As tau -> 0 the game of rock, paper, scissors has the uniform equilibrium, whatever the reference.
    found = games.regularized_nash(BENCH, SKEWED, 1e-4)
    np.testing.assert_allclose(found, UNIFORM, atol=1e-3)
    assert games.duality_gap(BENCH, UNIFORM, SKEWED, 0) == 0


def test_equilibrium_of_a_transitive_game_without_a_fixed_point_iteration():
    # Two actions, P12 = 3/4: the win rates differ by 1/4 against any opponent, so log p1/p2 = log r1/r2 + 1 / (4 tau).
    P, reference = np.array([[0.5, 0.75], [0.25, 0.5]]), np.array([0.2, 0.8])
    odds = 0.25 * np.exp(0.25 / 0.05)
    np.testing.assert_allclose(games.regularized_nash(P, reference, 0.05)[0], odds / (1 + odds), rtol=1e-14)


@pytest.mark.parametrize("tau", [0.0, 0.05, 2.0])
def test_duality_gap_is_what_best_responses_win(tau):
    # max_p J(p, q) - min_p J(q, p) with J from its definition, by the best responses themselves; no policy does better.
    generator = np.random.default_rng(3)
    for _ in range(10):
        P, reference, policy = random_game(generator, 5), *generator.dirichlet(np.ones(5), 2)
        answer = games.best_response(P, policy, reference, tau)

        def value(p, q, P=P, reference=reference):
            return games.preference_value(P, p, q) - tau * games.kl(p, reference) + tau * games.kl(q, reference)

        expected = value(answer, policy) - value(policy, answer)
        assert games.duality_gap(P, policy, reference, tau) == pytest.approx(expected, abs=1e-14)
        assert expected > 0
        for rival in generator.dirichlet(np.ones(5), 20):
            assert value(rival, policy) <= value(answer, policy) + 1e-14


def test_actions_that_the_reference_never_plays():
    P, reference = games.rock_paper_scissors(1.0), np.array([0.5, 0.5, 0.0])
    # Without scissors' predator the game has two actions: log odds 1/tau * (P[0, 1] - 1/2) = 1 / (2 tau).
    np.testing.assert_allclose(games.regularized_nash(P, reference, 0.5), [np.e / (1 + np.e), 1 / (1 + np.e), 0])
    np.testing.assert_array_equal(games.best_response(P, UNIFORM, reference, 0.0), reference)
    assert games.duality_gap(P, UNIFORM, reference, 0.1) == games.duality_gap(P, UNIFORM, reference, 0) == np.inf


def test_win_rates_by_hand():
    # Against (.6, .3, .1): rock .6/2 + .3 * .9 + .1 * .1 = .58, and so on round the cycle.
    np.testing.assert_allclose(games.win_rates(BENCH, SKEWED), [0.58, 0.6 * 0.1 + 0.15 + 0.09, 0.54 + 0.03 + 0.05])
    assert games.preference_value(BENCH, [1, 0, 0], SKEWED) == pytest.approx(0.58)
    assert games.preference_value(BENCH, SKEWED, SKEWED) == pytest.approx(0.5)
    assert games.kl([0.5, 0.5, 0], [0.25, 0.5, 0.25]) == pytest.approx(0.5 * np.log(2))
    assert games.kl([0.5, 0.5], [1, 0]) == np.inf


@pytest.mark.parametrize("eta", [0.3, 1.0, 5.0])
def test_inpo_last_iterate_reaches_the_equilibrium(eta):
    # Golden number: KL(equilibrium || policy_3000) <= 2e-16 on a game without a best action, for any constant eta here.
    last = nth(tabular.inpo_iterates(BENCH, SKEWED, tau=TAU, eta=eta), 3000)
    assert games.kl(EQUILIBRIUM, last) <= 2e-16
    assert games.duality_gap(BENCH, last, SKEWED, TAU) <= 1e-15


def test_inpo_stability_threshold():
    # Golden numbers: uniform reference, start (.6, .3, .1), stable iff eta > (tau^2 + s^2/12) / (2 tau) = 0.23333.
    # After 20000 rounds, eta = 0.225 is on a cycle, KL(policy || uniform) = .0400 and KL(uniform || policy) = .0443.
    with pytest.warns(UserWarning, match="At eta = 0.225 and tau = 0.2 the iterates leave the equilibrium"):
        cycle = tabular.inpo_iterates(BENCH, UNIFORM, tau=TAU, eta=0.225, start=SKEWED)
    cycling = nth(cycle, 20_000)
    settled = [
        nth(tabular.inpo_iterates(BENCH, UNIFORM, tau=TAU, eta=eta, start=SKEWED), 20_000) for eta in (0.235, 0.24)
    ]
    assert games.kl(cycling, UNIFORM) == pytest.approx(0.0400, abs=5e-5)
    assert games.kl(UNIFORM, cycling) == pytest.approx(0.0443, abs=5e-5)
    for last in settled:
        assert games.kl(last, UNIFORM) < 1e-14


@pytest.mark.parametrize("eta", [0.25, 0.5, 3.0])
def test_inpo_rate_around_a_uniform_equilibrium(eta):
    # Linearised there, one round multiplies log-ratios by 1 - tau/eta +- i s / (sqrt(12) eta), and KL by the squared
    # modulus, (1 - tau/eta)^2 + s^2 / (12 eta^2), which is below 1 just where eta is above the threshold.
    start = games.tilted(1e-4 * np.array([2.0, -1.0, 0.5]))
    path = list(itertools.islice(tabular.inpo_iterates(BENCH, UNIFORM, tau=TAU, eta=eta, start=start), 21))
    rate = (games.kl(path[20], UNIFORM) / games.kl(path[0], UNIFORM)) ** (1 / 20)
    assert rate == pytest.approx((1 - TAU / eta) ** 2 + 0.8**2 / (12 * eta**2), rel=1e-4)


def test_inpo_without_regularisation_spirals_outward():
    # tau = 0 is self-play by multiplicative weights (SPPO's ideal step), learning rate 1/eta = 0.1. Golden numbers: the
    # last iterate leaves for the boundary, the average of policy_0 to policy_3999 is near the uniform equilibrium.
    path = np.array(list(itertools.islice(tabular.inpo_iterates(BENCH, SKEWED, tau=0.0, eta=10.0), 4001)))
    away = [games.kl(UNIFORM, path[t]) for t in (10, 100, 1000, 4000)]
    np.testing.assert_allclose(away, [0.2413, 0.2490, 0.3326, 0.6714], atol=5e-5)
    np.testing.assert_allclose(path[4000], [0.611, 0.022, 0.367], atol=5e-4)
    np.testing.assert_allclose(path[:4000].mean(0), [0.34148, 0.33066, 0.32786], atol=5e-6)


def slope_bound(path, reference, tau):
    """C = max(B tau, 1) of the INPO theorems, B the largest log-ratio to the reference on the path."""
    return max(tau * np.max(np.abs(np.log(path / reference))), 1.0)


@pytest.mark.parametrize("eta", [0.3, 1.0, 5.0])
def test_inpo_contracts_in_kl(eta):
    # INPO, one round: KL(p*, p_{t+1}) <= (1 - tau/eta) KL(p*, p_t) + 8 C^2 / eta^2 (slack; the exact rate is above).
    path = np.array(list(itertools.islice(tabular.inpo_iterates(BENCH, SKEWED, tau=TAU, eta=eta), 60)))
    off = np.array([games.kl(EQUILIBRIUM, policy) for policy in path])
    assert np.all(off[1:] <= (1 - TAU / eta) * off[:-1] + 8 * slope_bound(path, SKEWED, TAU) ** 2 / eta**2)


def test_inpo_rate_with_growing_eta():
    # INPO: eta_t = tau (t + 2) / 2 gives KL(p*, p_T) <= 32 C^2 / (tau^2 (T + 1)).
    path = np.array(
        list(itertools.islice(tabular.inpo_iterates(BENCH, SKEWED, tau=TAU, eta=lambda t: TAU * (t + 2) / 2), 2001))
    )
    off = np.array([games.kl(EQUILIBRIUM, policy) for policy in path])
    rounds = np.arange(1, len(path))
    assert np.all(off[1:] <= 32 * slope_bound(path, SKEWED, TAU) ** 2 / (TAU**2 * (rounds + 1)))
    assert off[2000] < 1e-6 < off[0]


def test_mnpo_with_one_opponent_is_inpo():
    ours = tabular.mnpo_iterates(BENCH, SKEWED, tau=TAU, eta=0.7, history=1)
    theirs = tabular.inpo_iterates(BENCH, SKEWED, tau=TAU, eta=0.7)
    for a, b in itertools.islice(zip(ours, theirs, strict=True), 30):
        np.testing.assert_array_equal(a, b)
    # Also by the recursion of the paper, written out.
    policy = tabular.inpo_step([0.2, 0.3, 0.5], SKEWED, BENCH, tau=TAU, eta=0.7)
    rates = BENCH @ [0.2, 0.3, 0.5]
    weights = SKEWED ** (TAU / 0.7) * np.array([0.2, 0.3, 0.5]) ** (1 - TAU / 0.7) * np.exp(rates / 0.7)
    np.testing.assert_allclose(policy, weights / weights.sum(), rtol=1e-14)


@pytest.mark.parametrize(("history", "weights"), [(2, None), (3, (0.5, 0.3, 0.2)), (2, (0.2, 0.6))])
def test_mnpo_reaches_the_equilibrium_with_any_history(history, weights):
    # At a fixed point all opponents are one policy, so it is INPO's; equal weights are those of the released code.
    last = nth(tabular.mnpo_iterates(BENCH, SKEWED, tau=TAU, eta=2.0, history=history, weights=weights), 2000)
    assert games.kl(EQUILIBRIUM, last) < 1e-15


def test_mnpo_history_is_first_in_first_out():
    # Round 3 by hand: opponents policy_2 (weight .75) and policy_1 (.25); round 1 has only the start, with full weight.
    path = list(itertools.islice(tabular.mnpo_iterates(BENCH, SKEWED, tau=0.1, eta=1.0, weights=(3, 1)), 4))
    assert len(path) == 4
    np.testing.assert_allclose(path[1], tabular.inpo_step(SKEWED, SKEWED, BENCH, tau=0.1, eta=1.0), rtol=1e-14)
    logs = 0.1 * np.log(SKEWED) + 0.9 * (0.75 * np.log(path[2]) + 0.25 * np.log(path[1])) + BENCH @ path[2]
    np.testing.assert_allclose(path[3], np.exp(logs) / np.exp(logs).sum(), rtol=1e-14)


def test_tau_equal_to_eta_forgets_the_current_policy():
    # tau = eta is online IPO: the base measure is the reference alone, so one round is a best response.
    step = tabular.inpo_step(UNIFORM, SKEWED, BENCH, tau=0.3, eta=0.3)
    np.testing.assert_allclose(step, games.best_response(BENCH, UNIFORM, SKEWED, 0.3), rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: games.rock_paper_scissors(1.5), "strength must lie in"),
        (lambda: games.win_rates(np.ones((2, 3)), [1, 0]), "square matrix"),
        (lambda: games.win_rates(2 * BENCH, SKEWED), r"probabilities in \[0, 1\]; got 1.8"),
        (lambda: games.win_rates(BENCH * np.nan, SKEWED), "got nan"),
        (lambda: games.win_rates(BENCH, [0.5, 0.5]), r"shape \(3,\); got shape \(2,\)"),
        (lambda: games.kl([0.5, 0.6], [0.5, 0.5]), "its sum is 1.1"),
        (lambda: games.kl([1.5, -0.5], [0.5, 0.5]), "weights >= 0"),
        (lambda: games.kl([1, 0], [[1, 0]]), "other must be one weight per action"),
        (lambda: games.regularized_nash(BENCH * 0.9, SKEWED, TAU), r"P \+ P.T must be 1, with 1/2 on the diagonal"),
        (lambda: games.duality_gap(BENCH * 0.9, SKEWED, SKEWED, TAU), r"P \+ P.T must be 1"),
        (lambda: games.regularized_nash(BENCH, SKEWED, 0), "tau > 0"),
        (lambda: games.best_response(BENCH, SKEWED, SKEWED, -1.0), "must be >= 0"),
        (lambda: games.squared_minimiser([0, 0], [0.5, 0.5], 1.0), "not all 0"),
        (lambda: games.squared_minimiser([1, 2], [0.5], 1.0), "shape of base"),
        (lambda: tabular.inpo_step(SKEWED, SKEWED, BENCH, tau=0.3, eta=0.2), "negative weight"),
        (lambda: tabular.inpo_step(SKEWED, SKEWED, BENCH, tau=0.0, eta=0.0), "eta is an inverse learning rate"),
        (lambda: tabular.mnpo_step([], None, SKEWED, BENCH, tau=0, eta=1), "at least one opponent"),
        (lambda: tabular.mnpo_step([SKEWED], [1, 2], SKEWED, BENCH, tau=0, eta=1), "one number >= 0 per opponent"),
        (lambda: tabular.mnpo_step([SKEWED], [1], SKEWED, BENCH, tau=0, eta=1, beta=0), "beta scales"),
        (lambda: tabular.mnpo_step([SKEWED], [1], SKEWED, BENCH, tau=0, eta=1, beta=np.inf), "beta scales"),
        (
            lambda: tabular.mnpo_step([[1, 1, 0]], [1], SKEWED, BENCH, tau=0, eta=1, sampler=SKEWED),
            "an opponent must sum",
        ),
        (lambda: tabular.mnpo_iterates(BENCH, SKEWED, tau=0, eta=1, history=0), "history is the number"),
        (lambda: tabular.mnpo_iterates(BENCH, SKEWED, tau=0, eta=1, weights=(1,)), "must hold 2 numbers"),
        (lambda: tabular.mnpo_iterates(BENCH, SKEWED, tau=0, eta=1, weights=(2, -1)), "must hold 2 numbers >= 0"),
    ],
)
def test_errors_are_sentences(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()

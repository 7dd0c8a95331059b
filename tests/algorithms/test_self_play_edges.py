"""Self-play at the ends of its domains: actions that the reference never plays, no constraint, rates that are none."""

import itertools

import numpy as np
import pytest

from poz import games
from poz.algorithms import self_play
from poz.algorithms.tabular import inpo_iterates, inpo_step, mnpo_iterates

BENCH = games.rock_paper_scissors(0.8)
UNIFORM = np.full(3, 1 / 3)
SKEWED = np.array([0.6, 0.3, 0.1])
PARTLY = np.array([0.5, 0.5, 0.0])  # the third action is never played


def after(iterates, rounds):
    return next(itertools.islice(iterates, rounds, None))


WITHOUT_PULL = {
    "egpo": lambda reference: self_play.egpo(BENCH, SKEWED, reference, tau=0.0, eta=0.1),
    "nash_md": lambda reference: self_play.nash_md(BENCH, SKEWED, reference, tau=0.0, eta=0.1),
    "rspo": lambda reference: self_play.rspo(BENCH, SKEWED, reference, eta=0.1, regularization_weight=0.0),
}


@pytest.mark.parametrize("make", WITHOUT_PULL.values(), ids=WITHOUT_PULL)
def test_without_a_constraint_the_reference_does_not_matter(make):
    found = after(make(PARTLY), 3)
    np.testing.assert_array_equal(found, after(make(UNIFORM), 3))
    assert (found > 0).all()


PULLED = {
    "egpo": (lambda eta: self_play.egpo(BENCH, SKEWED, PARTLY, tau=0.5, eta=eta), (0.4, 2.0)),
    "nash_md": (lambda eta: self_play.nash_md(BENCH, SKEWED, PARTLY, tau=0.5, eta=eta), (0.4, 2.0)),
    "rspo": (lambda eta: self_play.rspo(BENCH, SKEWED, PARTLY, eta=eta, regularization_weight=0.25 * eta), (0.4, 2.0)),
}


@pytest.mark.parametrize(("make", "eta"), [(make, eta) for make, rates in PULLED.values() for eta in rates])
def test_what_the_reference_never_plays_is_not_played(make, eta):
    """At eta = 2, eta tau is 1: nothing of the last policy is left. Of two actions the equilibrium is the reference tilted."""
    found = after(make(eta), 1)
    assert found[2] == 0
    assert np.isfinite(found).all()
    last = after(make(eta), 400)
    if eta < 2:  # Nash-MD at a constant eta ends elsewhere
        assert last[2] == 0
        assert last.sum() == pytest.approx(1)
    if eta < 2 and "nash_md" not in make.__code__.co_names:
        np.testing.assert_allclose(last, games.regularized_nash(BENCH, PARTLY, 0.5), atol=1e-12)


def test_nothing_of_a_policy_is_left_where_the_reference_has_all_the_weight():
    """tau = eta: what the policy never plays comes back, as reference times exp(win rate / eta)."""
    policy = np.array([0.5, 0.5, 0.0])
    found = inpo_step(policy, UNIFORM, BENCH, tau=0.5, eta=0.5)
    tilted = UNIFORM * np.exp(BENCH @ policy / 0.5)
    np.testing.assert_allclose(found, tilted / tilted.sum(), rtol=1e-14)


def test_all_the_way_to_the_mixture():
    """eta_t = 2 / (tau (t + 2)) begins at eta tau = 1, to rounding."""
    for tau in (0.1, 0.3, 0.7, 1.1, 3.3):
        found = after(self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=tau, eta=lambda t, tau=tau: 2 / (tau * (t + 2))), 5)
        assert np.isfinite(found).all()


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(("make", "error", "sentence"), [
    (lambda: self_play.egpo(BENCH, SKEWED, UNIFORM, tau=NAN, eta=0.1), ValueError, "tau .* must be >= 0 and finite; got nan"),
    (lambda: self_play.egpo(BENCH, SKEWED, UNIFORM, tau=-1.0, eta=0.1), ValueError, "tau .* must be >= 0 and finite; got -1"),
    (lambda: self_play.egpo(BENCH, SKEWED, UNIFORM, tau=INF, eta=0.1), ValueError, "tau .* must be >= 0 and finite; got inf"),
    (lambda: self_play.egpo(BENCH, SKEWED, UNIFORM, tau=2.0, eta=1.0), ValueError, "eta tau must be at most 1.*got 2"),
    (lambda: self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=NAN, eta=0.1), ValueError, "tau .* got nan"),
    (lambda: self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=-1.0, eta=0.1), ValueError, "tau .* got -1"),
    (lambda: self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=0.1, eta=NAN), ValueError, "eta must be > 0 and finite; got nan"),
    (lambda: self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=0.1, eta=-1.0), ValueError, "eta must be > 0 and finite; got -1"),
    (lambda: self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=0.1, eta=0.0), ValueError, "eta must be > 0 and finite; got 0"),
    (lambda: self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=4.0, eta=1.0), ValueError, "eta tau must be at most 1"),
    (lambda: after(self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=0.1, eta=lambda t: NAN), 2), ValueError, "eta must be > 0"),
    (lambda: after(self_play.nash_md(BENCH, SKEWED, UNIFORM, tau=0.1, eta=lambda t: "x"), 2), TypeError, "a number for eta"),
    (lambda: self_play.rspo(BENCH, SKEWED, UNIFORM, eta=0.1, regularization_weight=-0.5), ValueError, "regularization_weight"),
    (lambda: self_play.rspo(BENCH, SKEWED, UNIFORM, eta=0.1, regularization_weight=NAN), ValueError, "regularization_weight"),
    (lambda: self_play.rspo(BENCH, SKEWED, UNIFORM, eta=0.1, regularization_weight=INF), ValueError, "regularization_weight"),
    (lambda: self_play.gpo([[0, INF], [-INF, 0]], [0.5, 0.5], beta=1.0), ValueError, "scores / beta must be finite"),
    (lambda: self_play.gpo([[0, 1.0], [-1.0, 0]], [0.5, 0.5], beta=1e-320), ValueError, "scores / beta must be finite"),
    (lambda: self_play.gpo([[0, 1.0], [-1.0, 0]], [1.0, 0.0], beta=1.0), ValueError, "start must play every action"),
    (lambda: self_play.gpo([[0, 1.0], [-1.0, 0]], [0.5, 0.5], beta=-1.0), ValueError, "beta must be > 0 and finite; got -1"),
])  # fmt: skip
def test_a_number_out_of_its_domain_is_refused(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def test_the_reference_as_the_only_base_can_leave_the_equilibrium_too():
    """tau = eta: stable above (tau² + s²/12) / (2 tau), that is tau > s / sqrt(12) = .2309 of s = .8."""
    with pytest.warns(UserWarning, match="leave the equilibrium"):
        near = inpo_iterates(BENCH, UNIFORM, tau=0.22, eta=0.22, start=SKEWED)
    assert games.kl(after(near, 2000), UNIFORM) > 1e-3
    assert games.kl(after(inpo_iterates(BENCH, UNIFORM, tau=0.24, eta=0.24, start=SKEWED), 2000), UNIFORM) < 1e-12


def test_where_the_equilibrium_is_not_found_that_is_said():
    with pytest.warns(UserWarning, match="Whether the iterates leave the equilibrium is not known"):
        iterates = inpo_iterates(BENCH, SKEWED, tau=1e-310, eta=0.1)
    assert np.isfinite(after(iterates, 3)).all()


def test_a_large_game_with_a_history_is_looked_at_in_seconds():
    generator = np.random.default_rng(0)
    upper = np.triu(generator.uniform(size=(300, 300)), 1)
    game = upper + np.tril(1 - upper.T, -1) + np.eye(300) / 2
    iterates = mnpo_iterates(game, np.full(300, 1 / 300), tau=0.1, eta=0.3, history=8)  # 2400 eigenvalues
    assert after(iterates, 3).sum() == pytest.approx(1)

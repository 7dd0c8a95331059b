"""What the papers prove about their losses, reproduced by minimising the population loss on tabular policies.

Every pair of actions is one row of a batch, weighted by its probability, so nothing is sampled and the minimiser is
reached to rounding. The objectives are the ones that users call; the expected policies are closed forms.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from tabular import bradley_terry, minimiser, population, random_game

import poz
from poz import games
from poz.algorithms import tabular

SKEWED = np.array([0.6, 0.3, 0.1])
BENCH = games.rock_paper_scissors(0.8)
SAMPLERS = {"uniform": np.full(3, 1 / 3), "reference": SKEWED, "other": np.array([0.2, 0.1, 0.7])}


def fit(objective, sampler, P, **batch):
    """The tabular policy at the minimum of the population loss of an objective."""

    def loss(logits):
        pairs, mass = population(logits, sampler, P, **batch)
        return torch.sum(mass * objective(pairs))

    return minimiser(loss, len(sampler))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_dpo_recovers_the_bradley_terry_policy(beta, sampler):
    # DPO, section 4: under Bradley-Terry labels with rewards R the minimiser is ref exp(R / beta), for any sampler.
    rewards = np.array([1.0, 0.0, -0.5])
    found = fit(poz.dpo.bind(beta=beta), SAMPLERS[sampler], bradley_terry(rewards), reference=SKEWED)
    np.testing.assert_allclose(found, games.tilted(np.log(SKEWED) + rewards / beta), rtol=1e-9)


def test_conservative_dpo_minimiser():
    # cDPO: the margin that minimises sp(-z) + eps z is logit(1 - eps), where the loss is the entropy H(eps).
    for eps in (0.05, 0.3, 0.499):
        z = math.log((1 - eps) / eps)
        logp = torch.tensor([z], dtype=torch.float64, requires_grad=True)
        zero = torch.zeros(1, dtype=torch.float64)
        loss = poz.dpo(poz.Pairs(logp, zero, zero, zero), beta=1.0, label_smoothing=eps)
        (slope,) = torch.autograd.grad(loss.sum(), logp)
        assert abs(slope.item()) < 1e-15
        assert loss.item() == pytest.approx(-eps * math.log(eps) - (1 - eps) * math.log(1 - eps), rel=1e-14)


def test_conservative_dpo_stays_finite_where_all_labels_agree():
    # The same in a population of two actions, the first always preferred: a finite gap of logit(1 - eps) / beta.
    always = np.array([[0.0, 1.0], [0.0, 0.0]])
    found = fit(poz.dpo.bind(beta=0.5, label_smoothing=0.2), np.array([0.5, 0.5]), always, reference=[0.3, 0.7])
    np.testing.assert_allclose(found, games.tilted([np.log(0.3) + np.log(4) / 0.5, np.log(0.7)]), rtol=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("tau", [0.2, 1.5])
def test_ipo_minimiser(tau, sampler):
    # IPO, Theorem 2: the unique minimiser is ref exp(P(y > mu) / tau), here on a game without a best action.
    mu = SAMPLERS[sampler]
    found = fit(poz.ipo.bind(tau=tau), mu, BENCH, reference=SKEWED)
    np.testing.assert_allclose(found, games.best_response(BENCH, mu, SKEWED, tau), rtol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_minimiser_of_the_squared_family(seed):
    # The master identity: base exp(2 c P(y > mu)) minimises (g_w - g_l - c)^2, for any base and sampler; fitted through
    # MNPO with two opponents, weights that do not sum to 1, and a factor beta, which makes it P / (eta beta).
    generator = np.random.default_rng(seed)
    actions = 4
    P, mu, reference, *opponents = random_game(generator, actions), *generator.dirichlet(np.ones(actions), 4)
    weights, eta, beta = (0.7, 0.5), 0.8, 1.7
    tau = (0.0, 0.3)[seed % 2]
    objective = poz.mnpo.bind(beta=beta, eta=eta, tau=tau, weights=weights)
    found = fit(objective, mu, P, reference=reference, opponents=opponents)
    base = np.prod([q ** (w * (1 - tau / eta)) for w, q in zip(weights, opponents, strict=True)], axis=0)
    base = base * reference ** (tau / eta)
    expected = games.squared_minimiser(base, games.win_rates(P, mu), 1 / (2 * eta * beta))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    step = tabular.mnpo_step(opponents, weights, reference, P, tau=tau, eta=eta, beta=beta, sampler=mu)
    np.testing.assert_allclose(step, expected, rtol=1e-13)


def test_soft_targets_have_the_same_minimiser():
    # Replacing the label by its probability, target 2c (P - 1/2) on unlabelled pairs, keeps the minimiser: MNPO's
    # reward target eta * margin with margin = (2P - 1) / (2 eta^2).
    eta, mu = 0.8, SAMPLERS["other"]
    margin = torch.as_tensor((2 * BENCH - 1).ravel()) / (2 * eta**2)
    soft = poz.mnpo.bind(eta=eta, tau=0.0, target="reward")
    found = fit(soft, mu, np.full((3, 3), 0.5), opponents=[SKEWED], margin=margin)
    hard = fit(poz.mnpo.bind(eta=eta, tau=0.0), mu, BENCH, opponents=[SKEWED])
    np.testing.assert_allclose(found, hard, rtol=1e-11)


def test_inpo_rounds_fitted_through_the_loss_reach_the_equilibrium():
    # INPO: the loss on pairs from policy_t regresses on the exact mirror-descent step, and its rounds reach it.
    tau, eta, policy = 0.2, 0.3, SKEWED
    for _ in range(60):
        fitted = fit(poz.inpo.bind(tau=tau, eta=eta), policy, BENCH, reference=SKEWED, opponents=[policy])
        np.testing.assert_allclose(fitted, tabular.inpo_step(policy, SKEWED, BENCH, tau=tau, eta=eta), rtol=1e-11)
        policy = fitted
    assert games.duality_gap(BENCH, policy, SKEWED, tau) < 1e-10


def test_mnpo_rounds_fitted_through_the_loss_are_its_iterates():
    # TD-MNPO with a history of two, first in, first out.
    tau, eta, history = 0.2, 0.6, [SKEWED]
    exact = list(itertools.islice(tabular.mnpo_iterates(BENCH, SKEWED, tau=tau, eta=eta, history=2), 9))
    for policy in exact[1:]:
        objective = poz.mnpo.bind(tau=tau, eta=eta)
        fitted = fit(objective, history[0], BENCH, reference=SKEWED, opponents=history)
        np.testing.assert_allclose(fitted, policy, rtol=1e-10)
        history = [fitted, *history][:2]


def test_online_ipo_is_stationary_at_the_equilibrium_only():
    # Online IPO, pairs from the policy itself, held constant: slope -4/tau times that of P(pi > SG pi) - tau KL.
    tau, generator = 0.2, np.random.default_rng(0)
    for policy in generator.dirichlet(np.ones(3), 5):
        logits = torch.log(torch.as_tensor(policy)).requires_grad_()
        pairs, mass = population(logits, policy, BENCH, reference=SKEWED)
        (slope,) = torch.autograd.grad(torch.sum(mass * poz.ipo(pairs, tau=tau)), logits)
        pi = torch.softmax(logits, 0)
        value = pi @ torch.as_tensor(games.win_rates(BENCH, policy)) - tau * torch.sum(
            pi * (torch.log(pi) - torch.log(torch.as_tensor(SKEWED)))
        )
        (ascent,) = torch.autograd.grad(value, logits)
        np.testing.assert_allclose(slope, -4 / tau * ascent, atol=1e-13)
    equilibrium = games.regularized_nash(BENCH, SKEWED, tau)
    logits = torch.log(torch.as_tensor(equilibrium)).requires_grad_()
    pairs, mass = population(logits, equilibrium, BENCH, reference=SKEWED)
    (slope,) = torch.autograd.grad(torch.sum(mass * poz.ipo(pairs, tau=tau)), logits)
    assert slope.abs().max() < 1e-14


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    chosen, rejected, ref_chosen, ref_rejected = torch.randn(4, 64, generator=generator, dtype=torch.float64) * 5 - 20
    opponents = torch.randn(2, 3, 64, generator=generator, dtype=torch.float64) * 5 - 20
    return poz.Pairs(
        chosen.requires_grad_(),
        rejected,
        ref_chosen,
        ref_rejected,
        opponents_chosen=opponents[0],
        opponents_rejected=opponents[1],
    )


def slopes(losses, pairs):
    return torch.autograd.grad(losses.sum(), pairs.chosen)[0]


def test_mnpo_with_one_opponent_is_the_inpo_loss(drawn):
    # MNPO, Table 1 with INPO's own weights: one history policy is INPO; loss and gradient, row by row.
    one = drawn._replace(opponents_chosen=drawn.opponents_chosen[:1], opponents_rejected=drawn.opponents_rejected[:1])
    for eta, tau in ((0.7, 0.2), (0.0075, 0.0025), (1.0, 0.0)):
        ours, theirs = poz.mnpo(one, eta=eta, tau=tau), poz.inpo(one, eta=eta, tau=tau)
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=0)
        torch.testing.assert_close(slopes(ours, one), slopes(theirs, one), rtol=1e-13, atol=0)


def test_mnpo_with_ratio_one_is_the_ipo_loss(drawn):
    # The released form with ratio = tau/eta = 1: opponents drop out, whatever they are, and IPO with tau = eta remains.
    ours, theirs = poz.mnpo(drawn, eta=0.4, tau=0.4), poz.ipo(drawn, tau=0.4)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=0)
    torch.testing.assert_close(slopes(ours, drawn), slopes(theirs, drawn), rtol=1e-13, atol=0)


REWARDS = np.array([1.0, 0.0, -1.0])
# The three unordered pairs equally often, labelled by Bradley-Terry: mass 1/3 of a pair shared between its two orders.
WINS = np.where(np.eye(3) == 1, 0, bradley_terry(REWARDS)) / 3


def optimism(alpha, sign):
    """VPO on its bench, by logits: reference and calibration policy (.6, .3, .1), beta 1."""
    drawn = torch.repeat_interleave(torch.arange(3), torch.tensor([6, 3, 1]))  # calibration samples in exact proportion
    log_reference = torch.log(torch.as_tensor(SKEWED))
    chosen, rejected = map(torch.as_tensor, np.divmod(np.arange(9), 3))

    def loss(logits):
        logps = torch.log_softmax(logits, 0)
        pairs = poz.Pairs(
            logps[chosen],
            logps[rejected],
            log_reference[chosen],
            log_reference[rejected],
            calibration=logps[drawn],
            ref_calibration=log_reference[drawn],
        )
        return torch.sum(torch.as_tensor(WINS.ravel()) * poz.vpo(pairs, beta=1.0, alpha=alpha, sign=sign))

    return loss


def test_vpo_incentive_is_monotone():
    # VPO: E_cal[log pi/ref] at the optimum falls with optimism and rises with pessimism (minus signs). The figures are
    # roots of the stationarity conditions in 40-digit arithmetic, without this library.
    golden = {
        -0.2: -0.11023819021081,
        -0.1: -0.13616437330364,
        -0.05: -0.15401951259646,
        0.0: -0.17689433633033,
        0.05: -0.20706370931403,
        0.1: -0.24833023191727,
        0.2: -0.39909446236536,
        0.3: -0.96849996381570,
    }
    found = {}
    for signed in golden:
        policy = minimiser(optimism(abs(signed), 1 if signed >= 0 else -1), 3)
        found[signed] = float(SKEWED @ np.log(policy / SKEWED))
    np.testing.assert_allclose(list(found.values()), list(golden.values()), rtol=1e-12)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_vpo_optimism_is_unbounded_beyond_its_threshold():
    # A set S of actions is driven out when alpha cal(S) exceeds the mass of pairs that S wins against the rest. The
    # first to go here is S = {2, 3} at 0.3234536195, long before a single action at 0.895; from there the loss falls
    # without end.
    thresholds = {}
    for members in itertools.chain.from_iterable(itertools.combinations(range(3), size) for size in (1, 2)):
        others = [a for a in range(3) if a not in members]
        thresholds[members] = WINS[np.ix_(members, others)].sum() / SKEWED[list(members)].sum()
    assert min(thresholds, key=thresholds.get) == (1, 2)
    assert thresholds[1, 2] == pytest.approx(0.3234536195, abs=5e-11)
    assert min(v for s, v in thresholds.items() if len(s) == 1) == pytest.approx(0.895, abs=5e-4)
    for alpha, falls in ((0.32, False), (0.35, True)):
        loss = optimism(alpha, 1)
        far, further = (loss(torch.tensor([0.0, -t, -t], dtype=torch.float64)).item() for t in (50.0, 100.0))
        # The slope of the ray is the excess of alpha cal(S) over what S wins.
        assert (further - far) / 50 == pytest.approx(0.4 * (thresholds[1, 2] - alpha), abs=1e-12)
        assert (further < far) == falls


@pytest.mark.parametrize("size", [2, 3, 7])
def test_pro_with_equal_rewards_is_a_constant(size):
    # PRO: all gaps 0, so each stage is uniform: log K! and a ranking gradient of zero, whatever the policy.
    generator = torch.Generator().manual_seed(size)
    logps = torch.randn(5, size, generator=generator, dtype=torch.float64).requires_grad_()
    lists = poz.Ranked(logps, lengths=torch.full((5, size), 3), scores=torch.full((5, size), 1.5, dtype=torch.float64))
    losses = poz.pro(lists, sft_weight=0.0)
    torch.testing.assert_close(losses, torch.full_like(losses, math.lgamma(size + 1)), rtol=1e-14, atol=0)
    (slope,) = torch.autograd.grad(losses.sum(), logps)
    assert torch.count_nonzero(slope) == 0
    (slope,) = torch.autograd.grad(poz.pro(lists, sft_weight=0.05).sum(), logps)
    expected = torch.zeros_like(slope)
    expected[:, 0] = -0.05 * (size - 1) ** 2
    torch.testing.assert_close(slope, expected, rtol=1e-14, atol=0)

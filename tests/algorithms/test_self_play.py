"""Self-play against golden numbers and rates, the extragradient step, and parameters moved along a line."""

import contextlib
import itertools
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tabular import random_game

import poz
from poz import games
from poz.algorithms import self_play
from poz.algorithms.apo_nesterov import next_reference
from poz.algorithms.tabular import inpo_iterates, mnpo_iterates
from poz.algorithms.weights import towards
from poz.torch.extragradient import Extragradient

BENCH = games.rock_paper_scissors(0.8)
SKEWED = np.array([0.6, 0.3, 0.1])
UNIFORM = np.full(3, 1 / 3)
TAU = 0.2
EQUILIBRIUM = games.regularized_nash(BENCH, SKEWED, TAU)


def first(iterates, n):
    return list(itertools.islice(iterates, n))


def test_sppo_average_converges_and_the_last_iterate_spirals_outward():
    # SPPO, Theorem 4.1, is about the average. Golden numbers: step 0.1 from (.6, .3, .1), 4000 rounds: the average is
    # (.34148, .33066, .32786), while KL(uniform || last) grows from .2413 (t = 10) to .6714 (t = 4000).
    policies = first(self_play.sppo(BENCH, SKEWED, eta=0.1), 4001)
    np.testing.assert_allclose(np.mean(policies[:4000], 0), [0.34148, 0.33066, 0.32786], atol=6e-6)
    away = [games.kl(UNIFORM, policies[t]) for t in (10, 100, 1000, 4000)]
    np.testing.assert_allclose(away, [0.2413, 0.2490, 0.3326, 0.6714], atol=6e-5)


@pytest.mark.parametrize(("eta", "average", "last"), [(0.01, 0.019, 1.21), (0.05, 0.014, 1.96), (0.2, 0.018, 2.00)])
def test_gpo_duality_gap_of_the_average(eta, average, last):
    # GPO: the average's duality gap is O(1/sqrt T); the last iterate cycles. Payoffs +-2, 4000 rounds from (.6, .3, .1).
    scores = 2.0 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]])
    policies = first(self_play.gpo(scores, SKEWED, beta=1 / eta), 4001)

    def gap(policy):
        return 2 * np.max(scores @ policy)

    # The source gives the gaps as max_a (S p)_a, half of the symmetric profile's, to two or three digits.
    assert gap(np.mean(policies[:4000], 0)) / 2 == pytest.approx(average, rel=0.05)
    assert gap(policies[4000]) / 2 == pytest.approx(last, rel=0.01)


def test_rspo_fixed_point_is_the_equilibrium():
    # RSPO with weight λ: the fixed point is the equilibrium for tau = 2 λ / eta, on random games.
    generator = np.random.default_rng(0)
    for weight, eta in ((0.1, 1.0), (0.02, 0.2), (0.3, 0.5)):
        P, reference = random_game(generator, 4), generator.dirichlet(np.ones(4))
        found = games.regularized_nash(P, reference, 2 * weight / eta)
        stays = first(self_play.rspo(P, found, reference, eta=eta, regularization_weight=weight), 2)[1]
        np.testing.assert_allclose(stays, found, atol=1e-14)
        arrived = first(self_play.rspo(P, reference, reference, eta=eta, regularization_weight=weight), 4000)[-1]
        np.testing.assert_allclose(arrived, found, atol=1e-12)


def test_rspo_round_is_inpo_round():
    # The RSPO round is INPO's with tau/eta_inpo = 2 λ / (1 + 2 λ) and 1/eta_inpo = eta / (1 + 2 λ).
    from poz.algorithms.tabular import inpo_step

    weight, eta = 0.15, 0.7
    inverse = (1 + 2 * weight) / eta
    there = inpo_step(SKEWED, UNIFORM, BENCH, tau=2 * weight / eta, eta=inverse)
    ours = first(self_play.rspo(BENCH, SKEWED, UNIFORM, eta=eta, regularization_weight=weight), 2)[1]
    np.testing.assert_allclose(ours, there, rtol=1e-14)


def test_onpo_last_iterate_converges():
    # ONPO: the last iterate converges without regularisation. Golden numbers, step 0.5 from (.6, .3, .1):
    # KL(uniform || policy) = .2285 (n = 10), .0894 (100), 5.14e-7 (1000), 0 (4000).
    policies = first(self_play.onpo(BENCH, SKEWED, eta=0.5), 4001)
    away = [games.kl(UNIFORM, policies[n]) for n in (10, 100, 1000)]
    np.testing.assert_allclose(away, [0.2285, 0.0894, 5.14e-7], rtol=2e-3)
    assert games.kl(UNIFORM, policies[4000]) < 1e-15


def test_onpo_is_linear_for_small_steps():
    # ONPO, last-iterate theorem: eta <= 1/8 and a unique equilibrium give a linear rate; halves of the run shrink alike.
    policies = first(self_play.onpo(BENCH, SKEWED, eta=0.125), 24001)
    far, middle, near = (games.kl(UNIFORM, policies[n]) for n in (8000, 12000, 16000))
    assert far > middle > near > 1e-14
    assert np.log(far / middle) == pytest.approx(np.log(middle / near), rel=0.01)


def test_nash_md_with_a_constant_rate_ends_elsewhere():
    # Golden number: constant eta 0.5 converges to (.58448873, .16120075, .25431052), where
    # policy = reference exp(P(y > mixture) / tau), not to the equilibrium.
    last = first(self_play.nash_md(BENCH, SKEWED, SKEWED, tau=TAU, eta=0.5), 3000)[-1]
    np.testing.assert_allclose(last, [0.58448873, 0.16120075, 0.25431052], atol=5e-9)
    assert games.kl(EQUILIBRIUM, last) > 1e-4


def test_nash_md_rate_with_a_falling_step():
    # Nash-MD, Theorem 1: eta_t = 2 / (tau (t + 2)) gives KL(p*, p_T) <= 8 / (tau^2 (T + 1)).
    policies = first(self_play.nash_md(BENCH, SKEWED, SKEWED, tau=TAU, eta=lambda t: 2 / (TAU * (t + 2))), 4000)
    for T, policy in enumerate(policies):
        assert games.kl(EQUILIBRIUM, policy) <= 8 / (TAU**2 * (T + 1))
    assert games.kl(EQUILIBRIUM, policies[-1]) < 1e-6


def test_egpo_last_iterate_is_linear():
    # EGPO: KL falls at least as fast as (1 - eta tau)^t. Golden numbers, eta 1: 3.8e-6 (21 rounds), 1.3e-14 (60).
    policies = first(self_play.egpo(BENCH, SKEWED, SKEWED, tau=TAU, eta=1.0), 61)
    away = [games.kl(EQUILIBRIUM, policy) for policy in policies]
    assert all(found <= (1 - TAU) ** t * away[0] + 1e-15 for t, found in enumerate(away))
    assert away[21] == pytest.approx(3.8e-6, rel=0.02)
    assert away[60] < 2e-14


@pytest.mark.parametrize(
    ("step", "mirror_descent", "extragradient"), [(4.0, True, True), (4.44, False, True), (5.0, False, False)]
)
def test_egpo_is_stable_where_mirror_descent_cycles(step, mirror_descent, extragradient):
    # EGPO against online mirror descent around a uniform equilibrium: at step 1/.225 = 4.44 only EGPO converges, at 4.0
    # both do, at 5.0 (eta tau = 1) neither does.
    looks = first(self_play.egpo(BENCH, SKEWED, UNIFORM, tau=TAU, eta=step), 8001)[-1]
    with contextlib.nullcontext() if mirror_descent else pytest.warns(UserWarning, match="leave the"):
        iterates = inpo_iterates(BENCH, UNIFORM, tau=TAU, eta=1 / step, start=SKEWED)
    plain = next(itertools.islice(iterates, 8000, None))
    assert (games.kl(UNIFORM, plain) < 1e-8) == mirror_descent
    assert (games.kl(UNIFORM, looks) < 1e-8) == extragradient


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: self_play.sppo(BENCH, [1.0, 0.0, 0.0], eta=0.1), "start must play every action"),
    (lambda: self_play.onpo(BENCH, SKEWED, eta=0.0), "eta must be > 0 and finite; got 0.0"),
    (lambda: self_play.gpo(BENCH, SKEWED, beta=1.0), "antisymmetric"),
    (lambda: towards({"a": 1}, {"b": 1}, 0.5), "only one has"),
    (lambda: towards({"a": np.ones(2)}, {"a": np.ones(2)}, 2.0), "share must be at least 0 and below 2; got 2.0"),
    (lambda: towards({"a": np.ones(2)}, {"a": np.ones(2)}, float("nan")), "share must be at least 0 and below 2; got nan"),
    (lambda: towards({"a": np.ones(2)}, {"a": np.ones((3, 2))}, 0.5), r"'a' has shape \(2,\) and \(3, 2\)"),
    (lambda: towards({"a": np.ones((2, 1))}, {"a": np.ones((2, 3))}, 1), "both need the same"),
    (lambda: games.win_rates(np.full((2, 2), 0.7), [0.5, 0.5]), "P \\+ P.T must be 1"),
    (lambda: next_reference({"a": 1}, {"a": 2}, 1.0), "alpha must be at least 0 and below 1.*got 1.0"),
    (lambda: next_reference({"a": 1}, {"b": 2}), "only one has"),
])  # fmt: skip
def test_errors_are_sentences(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9])
def test_acceleration_factor(alpha):
    # Accelerated PO, Theorem 4.1: with a constant reward the t-th solved round has moved by
    # (r / beta) sum_{k<=t} (1 - alpha^k) / (1 - alpha), an asymptotic speed-up of 1 / (1 - alpha).
    beta, reward = 0.5, np.array([0.3, -0.2, 0.9])
    solved = extrapolated = {"logits": np.log(SKEWED)}
    for t in range(1, 30):
        last, solved = solved, {"logits": extrapolated["logits"] + reward / beta}
        extrapolated = next_reference(last, solved, alpha)
        moved = sum((1 - alpha**k) / (1 - alpha) for k in range(1, t + 1))
        np.testing.assert_allclose(solved["logits"] - np.log(SKEWED), reward / beta * moved, rtol=1e-13)
    speed = (moved - 29 / (1 - alpha)) * (1 - alpha)
    assert abs(speed) <= alpha / (1 - alpha)


def test_acceleration_with_rewards_that_change():
    # Theorem 4.1 in general: u_{t+1} = u_0 + (1 / beta) sum_{i<=t} (1 - alpha^(t+1-i)) / (1 - alpha) r_i.
    alpha, beta, generator = 0.3, 0.1, np.random.default_rng(0)
    rewards = generator.normal(size=(12, 5))
    start = generator.normal(size=5)
    solved = extrapolated = {"u": start}
    for t, reward in enumerate(rewards):
        last, solved = solved, {"u": extrapolated["u"] + reward / beta}
        extrapolated = next_reference(last, solved, alpha)
        shares = (1 - alpha ** (t + 1 - np.arange(t + 1))) / (1 - alpha)
        np.testing.assert_allclose(solved["u"], start + shares @ rewards[: t + 1] / beta, rtol=1e-12)


def test_no_momentum_is_iterative_dpo():
    solved = {"u": np.array([0.1, -3.0])}
    np.testing.assert_array_equal(next_reference({"u": np.array([7.0, 0.3])}, solved, 0.0)["u"], solved["u"])
    np.testing.assert_allclose(
        next_reference({"u": np.zeros(2)}, solved)["u"], [0.13, -3.9], rtol=1e-15
    )  # 0.3, the paper's


def test_towards_has_exact_ends_and_any_library():
    a, b = {"w": np.array([0.1, 7.0])}, {"w": np.array([0.3, -1.0])}
    np.testing.assert_array_equal(towards(a, b, 1)["w"], b["w"])
    np.testing.assert_array_equal(towards(a, b, 0)["w"], a["w"])
    np.testing.assert_allclose(towards(a, b, 0.25)["w"], [0.15, 5.0], rtol=1e-15)
    there = towards({"w": torch.zeros(2)}, {"w": torch.ones(2)}, 1e-3)["w"]
    torch.testing.assert_close(there, torch.full((2,), 1e-3))


@pytest.mark.parametrize(
    "array", [lambda x: torch.tensor(x, dtype=torch.bfloat16), lambda x: jnp.asarray(x, jnp.bfloat16)]
)
def test_an_average_of_16_bit_parameters_moves(array):
    # From 1 towards 1.5 by 1e-3 a step: 1.5 - 0.5 (1 - 1e-3)^5000 = 1.4966; a step of 5e-4 rounds away in bfloat16.
    average, policy = {"w": array([1.0])}, {"w": array([1.5])}
    for _ in range(5000):
        average = towards(average, policy, 1e-3)
    assert average["w"].dtype in (torch.float32, jnp.float32)
    assert float(average["w"][0]) == pytest.approx(1.4966, abs=1e-4)  # float32 rounds 5000 times


def test_counters_lie_on_no_line():
    start = {"num_batches_tracked": torch.tensor(3), "mask": torch.tensor([True])}
    end = {"num_batches_tracked": torch.tensor(4), "mask": torch.tensor([False])}
    assert towards(start, end, 0.5) == towards(start, end, 1) == end
    assert towards(start, end, 0) == start
    assert towards(start, end, 0.5)["num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_extragradient_goes_back_bit_for_bit(kind):
    # EGPO's even and odd steps: parameters and optimiser state after `back` are those before `look_ahead`.
    weight = torch.nn.Parameter(torch.tensor([0.3, -1.7, 2.2]))
    optimizer = getattr(torch.optim, kind)([weight], lr=0.1)
    looks = Extragradient(optimizer)

    def backward():
        (weight.square().sum() + weight.prod()).backward()

    for _ in range(3):
        backward()
        before = (
            weight.detach().clone(),
            [{k: torch.as_tensor(v).clone() for k, v in s.items()} for s in optimizer.state.values()],
        )
        looks.look_ahead()
        assert not torch.equal(weight, before[0])
        looks.back()
        assert torch.equal(weight, before[0])
        after = [{k: torch.as_tensor(v) for k, v in s.items()} for s in optimizer.state.values()]
        assert all(torch.equal(s[k], o[k]) for s, o in zip(after, before[1], strict=False) for k in o)
        backward()
        looks.step()
    with pytest.raises(RuntimeError, match="nothing to go back to"):
        looks.back()
    backward()
    looks.look_ahead()
    for wrong, sentence in ((looks.look_ahead, "Already at the midpoint"), (looks.step, "Still at the midpoint")):
        with pytest.raises(RuntimeError, match=sentence):
            wrong()


def test_extragradient_by_sgd_is_the_tabular_round():
    # EGPO's LM algorithm with SGD of rate eta tau N / 4 on the exact loss over uniform pairs is the tabular round.
    eta, actions = 0.5, 3
    logits = torch.nn.Parameter(torch.log(torch.tensor(SKEWED)))
    looks = Extragradient(torch.optim.SGD([logits], lr=eta * TAU * actions / 4))
    reference = torch.log(torch.tensor(UNIFORM))
    chosen, rejected = (torch.tensor(x.ravel()) for x in np.mgrid[:actions, :actions])
    P = torch.tensor(BENCH)

    def backward(sampler):
        logps, wins = torch.log_softmax(logits, 0), P @ sampler
        gap = (logps - reference)[chosen] - (logps - reference)[rejected]
        (gap - (wins[chosen] - wins[rejected]) / TAU).square().mean().backward()

    for expected in first(self_play.egpo(BENCH, SKEWED, UNIFORM, tau=TAU, eta=eta), 8)[1:]:
        backward(torch.softmax(logits, 0).detach())
        looks.look_ahead()
        midpoint = torch.softmax(logits, 0).detach()
        looks.back()
        backward(midpoint)
        looks.step()
        np.testing.assert_allclose(torch.softmax(logits, 0).detach().numpy(), expected, rtol=1e-12)


def test_robust_dpo_is_unbiased_under_flips():
    # Robust DPO, Lemma 3.1: with labels flipped with probability eps, the expected loss is DPO's on clean labels.
    generator = np.random.default_rng(0)
    pairs = poz.Pairs(*(-generator.exponential(9, 50) for _ in range(4)))
    for eps in (0.1, 0.3, 0.45):
        robust = poz.robust_dpo.bind(label_smoothing=eps)
        noisy = (1 - eps) * robust(pairs) + eps * robust(pairs.swap())
        # the two weights, (1 - eps) / (1 - 2 eps) and eps / (1 - 2 eps), are up to 5.5
        np.testing.assert_allclose(noisy, poz.dpo(pairs), rtol=1e-12)


def test_ranking_threshold_is_an_exact_iff():
    # Preference learning algorithms do not learn preference rankings (arXiv 2405.19534), Theorem 4.1: the policy ranks
    # a pair correctly iff the DPO loss is at most -log sigmoid(beta c), c = log ref(rejected) / ref(chosen).
    generator = np.random.default_rng(1)
    chosen, rejected, ref_chosen, ref_rejected = (-generator.exponential(20, 1000) for _ in range(4))
    losses = poz.dpo(poz.Pairs(chosen, rejected, ref_chosen, ref_rejected), beta=0.1)
    threshold = np.logaddexp(0, -0.1 * (ref_rejected - ref_chosen))
    np.testing.assert_array_equal(losses <= threshold, chosen >= rejected)


def test_ranking_flips_only_at_the_threshold():
    # The same along gradient descent on the margin, beta .1, c = 30: the loss falls from log 2 to .048587 with no change of
    # the ranking, and flips below softplus(-3).
    margin, losses, right = np.zeros(1), [], []
    for _ in range(40000):
        pair = poz.Pairs(margin - 30.0, np.zeros(1), np.full(1, -30.0), np.zeros(1))
        losses.append(poz.dpo(pair, beta=0.1)[0])
        right.append(margin[0] > 30.0)
        margin = margin + 0.05 * (1 - np.exp(-losses[-1])) * 0.1 * 20
        if right[-1]:
            break
    flip = right.index(True)
    assert losses[0] == pytest.approx(np.log(2), abs=1e-15)
    assert losses[flip] < 0.048587 < losses[flip - 1] + 1e-6
    assert not any(right[:flip])


def test_optimum_of_soft_labels_can_outrank_the_reference():
    # SPCE: beta .1, label .8 and a reference log-ratio of -3: the margin ends at logit(.8) / .1 = 13.862944, so the policy's
    # own log-ratio is 10.862944 and the pair is ranked right although the reference is wrong.
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logit], lr=1.0, max_iter=200, tolerance_grad=1e-14, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    zero, label = torch.zeros(1, dtype=torch.float64), torch.full((1,), 0.8, dtype=torch.float64)

    def closure():
        optimizer.zero_grad()
        loss = poz.spce(poz.Pairs(logit, zero, zero - 3.0, zero, label=label), beta=0.1).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert logit.item() == pytest.approx(10.862943611, abs=1e-6)


PUBLISHED = 0.005  # INPO's and MNPO's eta in the released configurations, with tau = eta / 3


def inpo_distance(eta, strength, rounds):
    tau, game = eta / 3, games.rock_paper_scissors(strength)
    iterates = inpo_iterates(game, UNIFORM, tau=tau, eta=eta, start=SKEWED)
    return games.kl(next(itertools.islice(iterates, rounds, None)), UNIFORM)


def test_the_published_step_leaves_the_equilibrium_of_a_mildly_cyclic_game():
    # strength .1: stable above (tau^2 + .01/12) / (2 tau) = .2508; from .0333 + .0125 on at eta = .1, which holds
    with pytest.warns(UserWarning, match=r"leave the equilibrium .* grows 5.81187-fold"):
        assert inpo_distance(PUBLISHED, 0.1, 2000) > 0.07
    assert inpo_distance(0.1, 0.1, 2000) < 1e-15


@pytest.mark.parametrize("step", [0.98, 1.02])
def test_the_warning_comes_at_the_threshold_of_the_docstring(step):
    # (tau^2 + s^2 / 12) / (2 tau), at a tau of its own, not eta / 3
    tau, strength = 0.2, 0.8
    eta = step * (tau**2 + strength**2 / 12) / (2 * tau)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        inpo_iterates(games.rock_paper_scissors(strength), UNIFORM, tau=tau, eta=eta)
    assert bool(said) == (step < 1)


@pytest.mark.parametrize(("history", "beta"), [(1, 1.0), (2, 1.0), (3, 0.5)])
def test_the_warning_tells_how_the_iterates_go(history, beta):
    # A start next to the equilibrium: after 4000 rounds it is nearer or further, as was said; eta on either side.
    tau = 0.05
    equilibrium = games.regularized_nash(BENCH, SKEWED, tau * beta)
    near = games.tilted(np.log(equilibrium) + 1e-3 * np.array([1.0, -0.5, 0.0]))
    seen = set()
    for eta in (0.06, 0.15, 0.3, 0.5, 0.8, 1.5):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            iterates = mnpo_iterates(BENCH, SKEWED, tau=tau, eta=eta, beta=beta, history=history, start=near)
        last = next(itertools.islice(iterates, 4000, None))
        grows = games.kl(last, equilibrium) > games.kl(near, equilibrium)
        assert grows == bool(said), eta
        seen.add(grows)
    assert seen == {True, False}

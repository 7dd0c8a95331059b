"""The rounds of `poz.torch.SelfPlay`, where the law of the policy is known, are the exact rounds of each method."""

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from self_play_tiny import Recurrent, Tree, cyclic_game, everything, judge_of, law, play, rows, solve
from tabular import bradley_terry, minimiser

import poz
from poz import games
from poz.algorithms import self_play, tabular

TAU, ETA = 0.1, 0.2
P, START = cyclic_game(16)
EQUILIBRIUM = games.regularized_nash(P, START, TAU)
WEIGHTS = (0.6, 0.3, 0.1)
ROUNDS = {
    "inpo": (poz.inpo.bind(tau=TAU, eta=ETA), {}, tabular.inpo_iterates(P, START, tau=TAU, eta=ETA)),
    "mnpo": (
        poz.mnpo.bind(tau=TAU, eta=ETA, weights=WEIGHTS),
        {"history": 3},
        tabular.mnpo_iterates(P, START, tau=TAU, eta=ETA, history=3, weights=WEIGHTS),
    ),
    "onpo": (poz.onpo.bind(eta=0.5), {}, self_play.onpo(P, START, eta=0.5)),
    "sppo": (poz.sppo.bind(eta=0.5), {}, self_play.sppo(P, START, eta=0.5)),
    "rspo": (
        poz.rspo.bind(eta=0.5, regularization_weight=TAU / 4),
        {},
        self_play.rspo(P, START, START, eta=0.5, regularization_weight=TAU / 4),
    ),
}
NEAR = {"sppo": 1e-4, "rspo": 1e-4}  # 1/2 stands for the logarithm of what normalises a round; else the end of the fit


@pytest.mark.parametrize("name", ROUNDS)
def test_rounds_of_a_policy_are_the_exact_iterates(name):
    objective, settings, exact = ROUNDS[name]
    for found, expected in zip(play(Tree(START), objective, P, 3, **settings), exact, strict=False):
        np.testing.assert_allclose(found, expected, atol=NEAR.get(name, 1e-6))


def test_a_gru_over_64_completions_comes_as_near_the_equilibrium_as_the_exact_rounds():
    torch.manual_seed(0)
    model = Recurrent(3).double()
    P, _ = cyclic_game(64)
    start = law(model).numpy()
    equilibrium = games.regularized_nash(P, start, TAU)
    exact = [games.kl(equilibrium, policy) for policy in islice(tabular.inpo_iterates(P, start, tau=TAU, eta=ETA), 3)]
    objective = poz.inpo.bind(tau=TAU, eta=ETA)
    found = play(model, objective, P, 2, train=lambda model, loss: solve(model, loss, steps=120))
    assert exact[0] > 3 * exact[1] > 3 * exact[2]
    np.testing.assert_allclose([games.kl(equilibrium, policy) for policy in found], exact, atol=2e-3)


def test_egpo_by_gradient_descent_is_the_tabular_round():
    # A step of rate eta tau N / 4 of the mean over all pairs; those of a completion with itself, 1 of N, are not here.
    uniform, eta = np.full(16, 1 / 16), 1.0
    model = Tree(uniform, letters=16)
    optimizer = torch.optim.SGD(model.parameters(), eta * TAU * 15 / 4)

    def step(model, loss):
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    found = play(model, poz.egpo.bind(beta=TAU), P, 5, train=step, optimizer=optimizer)
    for policy, expected in zip(found, self_play.egpo(P, uniform, uniform, tau=TAU, eta=eta), strict=False):
        np.testing.assert_allclose(policy, expected, atol=1e-12)


def test_nash_md_climbs_the_game_against_the_mixture_and_ends_where_it_says():
    # Golden number: rock, paper, scissors of strength .8, tau .2, a mixture of share .1 (Nash-MD of a constant eta of .5).
    tau, share, start = 0.2, 0.1, np.array([0.6, 0.3, 0.1])
    wins = games.rock_paper_scissors(0.8)
    model = Tree(start, letters=3)
    game = poz.torch.SelfPlay(model, poz.nash_md.bind(tau=tau), everything, judge_of(wins), mixture=share)
    for index in range(300):
        (turn,) = game.round(None)
        turn.losses(model).sum().backward()
        if index < 3:
            policy, reference = model.table.detach().clone().requires_grad_(), torch.log(torch.as_tensor(start))
            logps = policy[0].log_softmax(0)
            mixed = (1 - share) * logps.detach() + share * reference
            value = logps.exp() @ (torch.as_tensor(wins) @ mixed.softmax(0) - tau * (logps - reference))
            (ascent,) = torch.autograd.grad(value, policy)
            np.testing.assert_allclose(model.table.grad, -ascent, atol=1e-14)
        with torch.no_grad():
            model.table -= 3 * model.table.grad
        model.table.grad = None
    np.testing.assert_allclose(law(model), (0.58448873, 0.16120075, 0.25431052), atol=1e-8)


@pytest.mark.parametrize(("alpha", "golden"), [(0.05, -0.2070637093), (0.2, -0.3990944624)])
def test_vpo_online_has_its_golden_optimum(alpha, golden):
    # Rewards (1, 0, -1), beta 1, each pair as likely, calibrated by the reference (.6, .3, .1).
    reference = np.array([0.6, 0.3, 0.1])
    model = Tree(reference, letters=3)
    written = iter([torch.full((1, 3), 1 / 3, dtype=torch.float64), torch.as_tensor(reference)[None]])
    game = poz.torch.SelfPlay(
        model,
        poz.vpo.bind(beta=1.0, alpha=alpha),
        lambda policy, prompts: rows(policy)._replace(weights=next(written)),
        judge_of(bradley_terry([1, 0, -1])),
    )
    for turn in game.round(None):
        solve(model, lambda turn=turn: turn.losses(model).mean())
    np.testing.assert_allclose(reference @ np.log(law(model).numpy() / reference), golden, atol=1e-7)


def test_selm_doubts_what_the_policy_of_the_round_writes():
    beta, alpha, start = 0.5, 0.05, np.array([0.5, 0.3, 0.2])
    wins = torch.as_tensor(games.rock_paper_scissors(0.6))
    found = play(Tree(start, letters=3), poz.selm.bind(beta=beta, alpha=alpha), wins, 2)
    for last, policy in pairwise(found):
        q = torch.as_tensor(last)
        pairs = q[:, None] * q * (1 - torch.eye(3))

        def loss(logits, q=q, pairs=pairs):
            r = logits.log_softmax(0) - torch.log(q)
            told = wins * torch.nn.functional.softplus(-beta * (r[:, None] - r))
            return 2 * (pairs * told).sum() / pairs.sum() + alpha * beta * (q * r).sum()

        np.testing.assert_allclose(policy, minimiser(loss, 3), atol=1e-6)

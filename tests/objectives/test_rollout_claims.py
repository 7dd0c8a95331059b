"""What is said of gradients that objectives on rollouts estimate, by enumeration of all that a policy can write.

That the baseline leaves RLOO unbiased, and what dividing by a deviation does, is in `tests/advantages/test_advantage_claims.py`.
"""

import itertools

import numpy as np
import pytest
import torch
from points import close

import poz
from poz import advantages as adv

OPTIONS = 4


def log_policies(count):
    """Log-probs of `count` policies on a few actions; the first one's logits have a gradient."""
    logits = torch.tensor(np.random.default_rng(8).normal(0, 1, (count, OPTIONS)))
    logits = [row.clone().requires_grad_() for row in logits]
    return logits[0], [torch.log_softmax(row, 0) for row in logits]


def gradient(value, logits):
    return torch.autograd.grad(value, logits, retain_graph=True, allow_unused=True, materialize_grads=True)[0].numpy()


def expected(estimator, sampled, logp, ref, old=None):
    """E of the estimate and of its gradient, over the actions of `sampled`, each a completion of one token."""
    objective = poz.reinforce.bind(kl_weight=1.0, kl=estimator)
    batch = poz.Rollouts(logp[:, None], None if old is None else old.detach()[:, None], ref.detach()[:, None])
    losses = objective(batch._replace(advantages=torch.zeros(OPTIONS, dtype=torch.float64)))
    return (sampled.exp().detach() * losses).sum()


def test_what_estimators_of_the_kl_estimate():
    # Under samples of π: k1, k3, k1+, k3+ and s*k1 have the value KL(π || q), and k2 and |k1| have not. The gradient is that of
    # KL(π || q) for k2, k1+, k3+ and s*k1; of k1 it is 0, and of k3 that of KL(q || π).
    logits, (logp, ref) = log_policies(2)
    forward, backward = (logp.exp() * (logp - ref)).sum(), (ref.exp() * (ref - logp)).sum()
    right, other = gradient(forward, logits), gradient(backward, logits)
    assert np.abs(right - other).max() > 0.05
    for estimator in ("k1", "k3", "k1+", "k3+", "s*k1"):
        close(expected(estimator, logp, logp, ref).item(), forward.item())
    for estimator in ("k2", "abs"):
        assert abs(expected(estimator, logp, logp, ref).item() / forward.item() - 1) > 0.1
    slopes = {
        name: gradient(expected(name, logp, logp, ref), logits) for name in ("k1", "k2", "k3", "k1+", "k3+", "s*k1")
    }
    for estimator in ("k2", "k1+", "k3+", "s*k1"):
        close(slopes[estimator], right)
    close(slopes["k1"], 0)
    close(slopes["k3"], other)


@pytest.mark.parametrize("estimator", ["r*k1", "r*k3"])
def test_estimators_with_the_ratio_are_right_off_policy(estimator):
    # Under samples of any old policy r k1 and r k3 have the value KL(π || q), and its gradient.
    logits, (logp, ref, old) = log_policies(3)
    forward = (logp.exp() * (logp - ref)).sum()
    found = expected(estimator, old, logp, ref, old)
    close(found.item(), forward.item())
    close(gradient(found, logits), gradient(forward, logits))


def answers(batch):
    """Logits of a policy that is uniform over three answers, as a loss sees them, and the answers with their log-probs.

    The first token settles which: a right one of 2 tokens, a wrong one of 2 and a wrong one of 8; the other tokens are certain.
    """
    logits, lengths = torch.zeros(3, dtype=torch.float64, requires_grad=True), torch.tensor([2, 2, 8])
    first = torch.log_softmax(logits, 0)[list(batch)]
    logps = torch.cat([first[:, None], torch.zeros(len(batch), 7, dtype=torch.float64)], 1)
    return logits, logps, torch.arange(8) < lengths[list(batch)][:, None]


MOVES = {  # of the logits, in 72nds
    "sequence_mean": (7, -5, -2),
    "sequence_sum": (16, -8, -8),
    "token_mean": (4, -2, -2),
}


@pytest.mark.parametrize(("aggregation", "moves"), MOVES.items())
@pytest.mark.parametrize("name", ["reinforce", "ppo_clip", "cispo"])
def test_length_bias(name, aggregation, moves):
    # Dr. GRPO (arXiv 2503.20783): a mean over each completion punishes long wrong answers less. One right answer of 2 tokens, a
    # wrong one of 2 and a wrong one of 8, a third each, A = 2/3, -1/3, -1/3: the logits move by (7, -5, -2) / 72. The sum over
    # tokens has the gradient of the mean reward, (2, -1, -1) / 9, and the mean over the 12 tokens a quarter of it.
    logits, logps, mask = answers(range(3))
    batch = poz.Rollouts(logps, mask=mask, advantages=torch.tensor([2 / 3, -1 / 3, -1 / 3], dtype=torch.float64))
    close(gradient(-poz.zoo[name](batch, aggregation=aggregation).mean(), logits), np.array(moves) / 72)


@pytest.mark.parametrize("how", [{}, {"aggregation": "sequence_mean"}])
def test_whose_expectation_is_the_gradient_of_the_mean_reward(how):
    # All 27 groups of three answers: with leave-one-out and a sum over tokens (`reinforce` as it is) the mean of the estimates is
    # that gradient, (2, -1, -1) / 9; the mean over each completion makes it (7, -5, -2) / 72 with the same advantages.
    total = 0
    for group in itertools.product(range(3), repeat=3):
        logits, logps, mask = answers(group)
        rewards = np.array([1.0, 0.0, 0.0])[list(group)]
        advantages = torch.tensor(adv.leave_one_out(rewards, np.zeros(3, int)))
        total = (
            total
            - gradient(poz.reinforce(poz.Rollouts(logps, mask=mask, advantages=advantages), **how).mean(), logits) / 27
        )
    close(total, np.array([7, -5, -2]) / 72 if how else np.array([2, -1, -1]) / 9)

"""What holds of VPL: its KL, and users who want opposite things."""

import functools

import numpy as np
import torch

import poz
from poz.algorithms import latents

RNG = np.random.default_rng(2408)


def kl(mean, log_variance, **bound):
    """What the loss has beside log 2."""
    zero = np.zeros(len(mean))
    pairs = poz.RewardPairs(zero, zero, latent_mean=mean, latent_log_variance=log_variance)
    return poz.vpl(pairs, kl_weight=1.0, **bound) - np.log(2)


def test_the_kl_is_the_mean_of_log_q_minus_log_p_under_q():
    """By quadrature, which three nodes make exact for squares."""
    mean, log_variance = RNG.normal(size=(2, 5, 3))
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    z = mean[..., None] + np.exp(log_variance / 2)[..., None] * nodes
    logs = -(nodes**2) / 2 - log_variance[..., None] / 2 + z**2 / 2
    expected = (logs * weights / weights.sum()).sum((-2, -1))
    np.testing.assert_allclose(kl(mean, log_variance), expected, rtol=1e-13)
    np.testing.assert_allclose(kl(mean, log_variance, half=False), 2 * expected, rtol=1e-13)


def test_the_kl_is_none_at_the_prior_and_above_it_elsewhere():
    assert kl(np.zeros((1, 4)), np.zeros((1, 4))) == 0
    moved = RNG.normal(size=(40, 4)) * 10.0 ** RNG.integers(-3, 1, (40, 1))
    assert (kl(moved, np.zeros((40, 4))) > 0).all()
    assert (kl(np.zeros((40, 4)), moved) > 0).all()


def test_without_kl_and_noise_it_is_bradley_terry_at_the_mean():
    mean, weights = RNG.normal(size=(6, 3)), RNG.normal(size=(2, 3))
    z = latents.sample(mean, np.full((6, 3), -1400.0), RNG.normal(size=(6, 3)))  # σ = e^-700
    np.testing.assert_array_equal(z, mean)
    pairs = poz.RewardPairs(*(z @ weights.T).T, latent_mean=mean, latent_log_variance=np.full((6, 3), -1400.0))
    rewards = poz.RewardPairs(*(mean @ weights.T).T)
    np.testing.assert_allclose(poz.vpl(pairs, kl_weight=0.0), poz.bradley_terry(rewards), rtol=1e-15)


def test_gradients_reach_the_posterior_through_the_draw():
    """∂L/∂μ = ∂L/∂z + w μ and ∂L/∂v = σ ε / 2 ∂L/∂z + w (e^v - 1) / 2, with ∂L/∂z = -σ(-d) a of rewards a·z against 0."""
    mean, log_variance, noise, a = RNG.normal(size=(4, 5, 3))
    mu, v = (torch.tensor(x, requires_grad=True) for x in (mean, log_variance))
    z = latents.sample(mu, v, torch.tensor(noise))
    d = (torch.tensor(a) * z).sum(-1)
    poz.vpl(poz.RewardPairs(d, 0 * d, latent_mean=mu, latent_log_variance=v), kl_weight=0.3).sum().backward()
    by_z = -a / (1 + np.exp(d.detach().numpy()))[:, None]
    np.testing.assert_allclose(mu.grad, by_z + 0.3 * mean, rtol=1e-12)
    share = np.exp(log_variance / 2) * noise / 2
    np.testing.assert_allclose(v.grad, share * by_z + 0.15 * np.expm1(log_variance), rtol=1e-12)


class Rewards(torch.nn.Module):
    """Linear throughout: a posterior from the mean context of a user, and the reward (a + A z)·x."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.mean, self.log_variance, self.taste = (torch.nn.Linear(2, 2, dtype=torch.float64) for _ in range(3))

    def posterior(self, apart):
        """Of each user, from the first 8 pairs."""
        context = apart[:, :8].mean(1)
        return self.mean(context), self.log_variance(context)

    def margins(self, apart, z):
        return torch.einsum("upi,ui->up", apart, self.taste(z))


@functools.cache
def trained(*wants):
    """Rewards after 150 steps, chosen minus rejected by user and pair, and the KL of each user.

    Of each of 60 pairs, 20 of which are held out, the first is further to the right; a user wants that (1) or the other (-1).
    """
    right = torch.tensor(np.random.default_rng(0).normal(size=(60, 2)))
    right[:, 0] = right[:, 0].abs() + 0.5
    apart = torch.tensor(wants, dtype=right.dtype)[:, None, None] * right
    rewards, seen = Rewards(), apart[:, :40]
    adam = torch.optim.Adam(rewards.parameters(), lr=0.05)
    for _ in range(150):
        mean, log_variance = rewards.posterior(seen)
        d = rewards.margins(seen, latents.sample(mean, log_variance, torch.randn_like(mean)))
        of_pairs = [x.repeat_interleave(40, 0) for x in (mean, log_variance)]
        adam.zero_grad()
        pairs = poz.RewardPairs(d.flatten(), 0 * d.flatten(), latent_mean=of_pairs[0], latent_log_variance=of_pairs[1])
        poz.vpl(pairs, kl_weight=0.1).mean().backward()
        adam.step()
    posterior = [x.detach() for x in rewards.posterior(seen)]
    return rewards, apart, posterior, kl(*[x.numpy() for x in posterior])


def test_opposite_users_are_told_apart_by_their_latents_and_are_a_coin_to_bradley_terry():
    """The claim of arXiv 2408.10075 on users who disagree: on held-out pairs 100 % given z = μ, against 50 %."""
    rewards, apart, (mean, _), _ = trained(1.0, -1.0)
    assert (rewards.margins(apart[:, 40:], mean) > 0).all()
    taste = torch.nn.Parameter(torch.tensor([1.0, 0.5], dtype=torch.float64))  # right for the first user
    descent = torch.optim.SGD([taste], lr=0.5)
    for _ in range(150):
        d = (apart[:, :40] @ taste).flatten()
        descent.zero_grad()
        poz.bradley_terry(poz.RewardPairs(d, 0 * d)).mean().backward()
        descent.step()
    assert ((apart[:, 40:] @ taste) > 0).double().mean() == 0.5
    assert taste.detach().abs().max() < 1e-3  # nothing is learnt but that nobody agrees


def test_the_posterior_of_users_who_agree_falls_to_the_prior():
    """The posterior collapses: where nothing is to be said of a user, hardly anything is paid for saying it."""
    *_, agreed = trained(1.0, 1.0)
    *_, opposed = trained(1.0, -1.0)
    assert agreed.max() < 0.1 < 1 < opposed.min()

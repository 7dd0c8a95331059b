"""Token-level losses that are DPO of sums, of subsets and of weighted tokens."""

import math

import numpy as np
from points import close, slopes

import poz
import poz.reference
from poz.algorithms.sampo import sampo_subset


def tokens(rng, **fields):
    chosen, rejected = -rng.exponential(1, (3, 4)), -rng.exponential(1, (3, 6))
    return poz.TokenPairs(chosen, rejected, chosen - 0.1, rejected + 0.2, **fields)


def summed(pairs):
    return poz.Pairs(*[x.sum(-1) for x in pairs[:4]])


def test_token_weights_of_one_are_dpo():
    pairs = tokens(np.random.default_rng(0))
    ones = pairs._replace(chosen_weights=0 * pairs.chosen + 1, rejected_weights=0 * pairs.rejected + 1)
    close(poz.tis_dpo(ones, beta=0.3), poz.dpo(summed(pairs), beta=0.3))


def test_token_losses_that_are_dpo_of_the_sums():
    """LD-DPO at α = 1, whatever the lengths; Step-DPO of the whole; TDPO at α = 0, and where both sides moved alike."""
    pairs = tokens(np.random.default_rng(2))
    dpo = poz.dpo(summed(pairs), beta=0.3)
    for reference in ("weighted", "summed"):
        close(poz.ld_dpo(pairs, beta=0.3, alpha=1.0, reference=reference), dpo)
    masks = {f"{side}_mask": np.ones(getattr(pairs, side).shape, bool) for side in ("chosen", "rejected")}
    close(poz.step_dpo(pairs._replace(**masks), beta=0.3), dpo)
    moved = pairs._replace(chosen_kl=pairs.chosen**2, rejected_kl=pairs.rejected**2)
    close(poz.tdpo(moved, beta=0.3, alpha=0.0), dpo)
    alike = pairs._replace(chosen_kl=0 * pairs.chosen + 0.6, rejected_kl=0 * pairs.rejected + 0.4)  # 4 · 0.6 = 6 · 0.4
    for version in ("tdpo1", "tdpo2"):
        close(poz.tdpo(alike, beta=0.3, alpha=1.0, version=version), dpo)


def test_sampo_of_equal_lengths_is_dpo_and_of_others_keeps_the_shorter():
    pairs, rng = tokens(np.random.default_rng(3)), np.random.default_rng(0)
    even = poz.TokenPairs(*[x[:, :4] for x in pairs[:4]])
    for batch, kept in ((even, 4), (pairs, 4)):
        masks = [np.ones(x.shape, bool) for x in batch[:2]]
        weights = sampo_subset(*masks, rng)
        np.testing.assert_array_equal([w.sum(-1) for w in weights], kept)
        drawn = batch._replace(chosen_weights=weights[0], rejected_weights=weights[1])
        left = [x * w for x, w in zip(batch[:4], weights * 2, strict=True)]
        close(poz.sampo(drawn, beta=0.3), poz.dpo(summed(left), beta=0.3))
    drawn = even._replace(chosen_weights=0 * even.chosen + 1, rejected_weights=0 * even.rejected + 1)
    close(poz.sampo(drawn, beta=0.3), poz.dpo(summed(even), beta=0.3))


def test_dense_dpo_without_extra_weight():
    """γ = 1: its sums are DPO's, its weighted means the means per token of length-normalised DPO."""
    rng = np.random.default_rng(4)
    pairs = tokens(rng, chosen_changed=rng.random((3, 4)) < 0.5, rejected_changed=rng.random((3, 6)) < 0.5)
    sums = summed(pairs)._replace(chosen_len=np.full(3, 4), rejected_len=np.full(3, 6))
    close(poz.ddpo(pairs, beta=0.3, gamma=1.0, normalize=False), poz.dpo(sums, beta=0.3))
    close(poz.ddpo(pairs, beta=0.3, gamma=1.0), poz.ln_dpo(sums, beta=0.3))


def test_wpo_weights():
    """1 where every token is as likely as a collision; never above 1 if clamped; held constant."""
    pairs = tokens(np.random.default_rng(1))
    even = pairs._replace(chosen_collision=pairs.chosen, rejected_collision=pairs.rejected)
    dpo = poz.dpo(summed(pairs), beta=0.01, label_smoothing=0.1)
    close(poz.wpo(even, label_smoothing=0.1), dpo)
    greedy = even._replace(chosen_collision=pairs.chosen - 0.5)
    close(poz.wpo(greedy, label_smoothing=0.1), dpo)
    close(poz.wpo(greedy, label_smoothing=0.1, clamp=False), math.exp(0.5) * dpo)
    rare = even._replace(rejected_collision=pairs.rejected + 2)
    losses, slope = slopes(poz.wpo, rare, "chosen")
    close(losses, math.exp(-2) * poz.dpo(summed(pairs), beta=0.01))
    _, plain = slopes(poz.dpo.bind(beta=0.01), summed(pairs), "chosen")
    close(slope, math.exp(-2) * plain[:, None] + 0 * pairs.chosen)

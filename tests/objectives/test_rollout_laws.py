"""What the objectives on rollouts have in common: on-policy, with one token, without a clip, and however a batch is split."""

import numpy as np
import pytest
import torch
from points import close, slopes

import poz
from poz.torch import slopes as whole_slopes

AGGREGATIONS = (
    {"aggregation": "sequence_mean"},
    {"aggregation": "token_mean"},
    {"aggregation": "sequence_sum", "length": 7.0},
)
OF_TOKENS = (
    "ppo_clip",
    "grpo",
    "dapo",
    "dr_grpo",
    "gspo_token",
    "cispo",
    "sapo",
    "vespo",
    "dppo_tv",
    "dppo_kl",
    "dro",
    "kl_cov",
)
OF_COMPLETIONS = ("gspo", "gmpo", "luspo")
PER_TOKEN = {"per_token": True}


def rollouts(seed=0, size=6, width=5, spread=0.4, **fields):
    """Completions of different lengths and holes, whose old policy is `spread` nats away."""
    rng = np.random.default_rng(seed)
    logps = -rng.exponential(1, (size, width))
    mask = rng.random((size, width)) < 0.7
    mask[:, 0] = True
    given = {
        "old_logps": logps + rng.normal(0, spread, logps.shape),
        "mask": mask,
        "advantages": rng.normal(0, 1, size),
    }
    return poz.Rollouts(logps, **{**given, "token_advantages": rng.normal(0, 1, logps.shape), **fields})


def with_slope(name, batch, **values):
    """Losses and their slope, without a KL."""
    return slopes(poz.zoo[name].bind(**{"kl_weight": 0.0, **values}), batch, "logps")


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_on_policy_all_have_the_gradient_of_reinforce(how):
    # At l = o, for any aggregation; with an advantage per token those whose ratio is of one: r = 1 with slope 1 of PPO, 4/τ times
    # τ σ'(0) = 1 of SAPO, φ(1) = 1 of VESPO, a mean of T log-ratios T times over of GSPO. RLOO's completion counts T times.
    drawn = rollouts()
    for old in (drawn.logps, None):
        batch = drawn._replace(old_logps=old)
        _, wanted = with_slope("reinforce", batch, **how)
        _, wanted_of_tokens = with_slope("reinforce", batch, **how, **PER_TOKEN)
        assert np.abs(wanted[batch.mask]).min() > 1e-3
        for name in (*OF_TOKENS, *OF_COMPLETIONS):
            close(with_slope(name, batch, **how)[1], wanted)
        for name in OF_TOKENS:
            close(with_slope(name, batch, **how, **PER_TOKEN)[1], wanted_of_tokens)
        close(with_slope("rloo", batch, **how)[1], wanted * batch.mask.sum(1, keepdims=True))


def test_with_one_token_a_completion_is_its_token():
    # T = 1: GSPO, GSPO-token, LUSPO and RLOO are PPO; and GMPO is, whose ε are nats, clipped at e^ε - 1 above and 1 - e^-ε below.
    batch = rollouts(1, 40, 1)
    band = {"epsilon_low": 0.2, "epsilon_high": 0.3}
    wanted = with_slope("ppo_clip", batch, **band, aggregation="sequence_mean")
    assert 0 < (wanted[1] == 0).sum() < 40
    for name in ("gspo", "gspo_token", "luspo", "rloo"):
        for found, right in zip(with_slope(name, batch, **band), wanted, strict=True):
            close(found, right)
    same = {"epsilon_low": 1 - np.exp(-0.2), "epsilon_high": np.exp(0.3) - 1, "aggregation": "sequence_mean"}
    for found, right in zip(with_slope("gmpo", batch, **band), with_slope("ppo_clip", batch, **same), strict=True):
        close(found, right)


def test_gspo_token_with_one_advantage_is_gspo():
    # The same value and gradient where the tokens of a completion have one advantage; the gradient is each token's own, once.
    batch = rollouts(2, 30, spread=0.01)
    wanted = with_slope("gspo", batch)
    assert 5 < (wanted[1] == 0).all(1).sum() < 25  # beyond the band
    for found, right in zip(with_slope("gspo_token", batch), wanted, strict=True):
        close(found, right)


def test_without_a_clip_they_are_the_importance_sampled_objective():
    # ε to infinity: -A r and its gradient -A r; of the geometric mean s of the completion, -A s, T times over in sum.
    batch = rollouts(3, spread=3.0)
    open_ = {"epsilon_low": 1.0, "epsilon_high": 1e30}
    d, count = np.where(batch.mask, batch.logps - batch.old_logps, 0), batch.mask.sum(1)
    weight = -batch.advantages[:, None] * np.exp(d) * batch.mask
    for name in ("ppo_clip", "grpo", "dapo", "dr_grpo", "clip_cov"):
        left_out = {"band_low": 1e300, "band_high": 1e300} if name == "clip_cov" else {}
        noise = batch._replace(noise=np.zeros_like(d)) if left_out else batch
        losses, slope = with_slope(name, noise, **open_, **left_out, aggregation="sequence_sum", length=1.0)
        close(losses, weight.sum(1), 1e3)
        close(slope, weight, 1e3)
    mean = -batch.advantages * np.exp(d.sum(1) / count)
    for name in ("gspo", "gmpo"):
        losses, slope = with_slope(name, batch, epsilon_low=1.0 if name == "gspo" else 1e30, epsilon_high=1e30)
        close(losses, mean, 1e3)
        close(slope, (mean / count)[:, None] * batch.mask, 1e3)


def test_where_the_clip_of_ppo_takes_the_gradient_and_that_of_cispo_does_not():
    # PPO's vanishes exactly where A > 0 and r > 1 + ε, or A < 0 and r < 1 - ε; CISPO's is -A times the clipped ratio everywhere.
    batch = rollouts(4, 300, 3)._replace(mask=None)
    a, ratio = batch.advantages[:, None], np.exp(batch.logps - batch.old_logps)
    band = {"epsilon_low": 0.2, "epsilon_high": 0.28, "aggregation": "sequence_sum"}
    clipped = ((a > 0) & (ratio > 1.28)) | ((a < 0) & (ratio < 0.8))
    assert 100 < clipped.sum() < 500
    np.testing.assert_array_equal(with_slope("dapo", batch, **band, length=1.0)[1] == 0, clipped)
    close(with_slope("cispo", batch, **band)[1], -a * np.clip(ratio, 0.8, 1.28))


def test_a_dual_clip_changes_nothing_where_an_advantage_is_not_below_0():
    # Dual-clip PPO (arXiv 1912.09729): with A < 0 the loss is at most -c A, and above a ratio of c there is no gradient.
    batch = rollouts(5, 200, 1, spread=2.0)
    plain, dual = (with_slope("ppo_clip", batch, dual_clip=c, aggregation="sequence_sum") for c in (None, 3.0))
    a, ratio = batch.advantages, np.exp(batch.logps - batch.old_logps)[:, 0]
    changed = (a < 0) & (ratio > 3)
    assert 10 < changed.sum() < 100
    for found, right in zip(dual, plain, strict=True):
        np.testing.assert_array_equal(found[~changed], right[~changed])
    close(dual[0][changed], -3 * a[changed])
    assert not dual[1][changed].any()


def test_micro_batches_of_a_mean_over_tokens():
    # Exact for any split, by the slopes of the whole batch or by its counts. A mean over the tokens of each micro-batch (TRL's
    # `bnpo`) is not: of 10 tokens, 2 in the first micro-batch and 8 in the second, each counts 1/4 and 1/16 in place of 1/10.
    lengths = np.array([2, 8])
    batch = rollouts(6, 2, 8, mask=np.arange(8) < lengths[:, None], advantages=np.array([1.0, -1.0]))
    full = poz.Rollouts(*[None if x is None else torch.tensor(x) for x in batch])
    parts = [type(full)(*[None if x is None else x[i : i + 1] for x in full]) for i in range(2)]
    _, whole = slopes(poz.dapo, batch, "logps")
    close(whole_slopes(poz.dapo, full)[1].logps.numpy(), whole / 2)
    counted = poz.dapo.within(poz.Counts.of(batch.mask))
    close(np.concatenate([slopes(counted, part, "logps")[1] for part in parts]), whole)
    alone = np.concatenate([slopes(poz.dapo, part, "logps")[1] for part in parts])
    off = np.divide(alone, whole, where=whole != 0, out=np.ones_like(whole))
    np.testing.assert_allclose(
        off[whole != 0], np.repeat([10 / 4, 10 / 16], [np.count_nonzero(row) for row in whole]), rtol=1e-14
    )
    assert np.count_nonzero(whole[0])
    assert np.count_nonzero(whole[1])


@pytest.mark.parametrize(("name", "wanted"), [("grpo", -1.2), ("sapo", -4.0)])
def test_a_token_far_beyond_the_clip_has_no_gradient(name, wanted):
    # l = -1, o = -90, A = 1 in float32: a loss of -1.2, or -4 σ(∞), and a gradient of 0, where TRL 1.16 and Liger 0.8.5 have NaN.
    batch = poz.Rollouts(np.float32([[-1]]), np.float32([[-90]]), advantages=np.float32([1]))
    losses, slope = with_slope(name, batch)
    assert losses == pytest.approx(wanted, rel=1e-6)
    assert slope == 0


def test_k3_pulls_back_a_policy_that_has_lost_a_token():
    # The slope of k3 is 1 - π_ref / π, however large; where k3 is capped at 10, as in verl, OpenRLHF and NeMo-RL, it is 0 from a
    # factor of 13.6 on.
    apart = np.log([[13.5, 14.0, 1e4]])
    batch = poz.Rollouts(-apart - 1, ref_logps=-np.ones_like(apart), advantages=np.zeros(1))
    losses, slope = slopes(poz.reinforce.bind(kl_weight=1.0), batch, "logps")
    close(slope, 1 - np.exp(apart), 1e4)
    values = np.exp(apart) - 1 - apart
    assert values[0, 0] < 10 < values[0, 1]
    close(losses, values.sum(1), 1e4)

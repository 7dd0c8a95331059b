"""Objectives beside verl's own functions, by verl's registry and on verl's signature: `make trainers-verl`.

verl 0.9.1, as it is on the package index, in float64. What it does otherwise is executed here, each with a number.
"""

import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from verl.trainer.ppo import core_algos
from verl.utils import tensordict_utils
from verl.utils.import_utils import import_external_libs
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

import poz
from poz.integrations.verl import policy_loss, register

VERLS = {
    "vanilla": "ppo_clip",
    "gspo": "gspo_token",
    "geo_mean": "gmpo",
    "cispo": "cispo",
    "dppo_tv": "dppo_tv",
    "dppo_kl": "dppo_kl",
    "sapo": "sapo",
    "dro": "dro",
    "kl_cov": "kl_cov",
    "gpg": "reinforce",
}
MODES = ("token-mean", "token-sum", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")
ONE_MODE = {"geo_mean", "sapo"}  # whatever loss_agg_mode says

pytestmark = pytest.mark.filterwarnings("ignore:.*runs with defaults of verl's")


def actor(**fields):
    policy = PolicyLossConfig(dro_beta=0.3, kl_cov_ratio=0.1, ppo_kl_coef=0.5)
    fields = {"clip_ratio_low": 0.1, "clip_ratio_high": 0.3, "tau_neg": 1.4, "policy_loss": policy, **fields}
    return FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1, **fields)


@pytest.fixture(scope="module", autouse=True)
def names():
    return register()


@pytest.fixture
def batch():
    """Six completions of five tokens; as poz's reference has it, ratios on both sides of every clip."""
    rng = torch.Generator().manual_seed(7)
    logps = -2 * torch.rand(6, 5, generator=rng, dtype=torch.float64)
    mask = torch.rand(6, 5, generator=rng) < 0.7
    mask[:, 0] = True
    return {
        "old_log_prob": logps + 0.6 * torch.randn(6, 5, generator=rng, dtype=torch.float64),
        "log_prob": logps,
        "advantages": torch.randn(6, 1, generator=rng, dtype=torch.float64).expand(6, 5) * mask,
        "response_mask": mask,
    }


def trained(name, batch, mode="token-mean", config=None, weights=None):
    """Loss, gradient in the log-probs and metrics, by verl's registry."""
    leaf = batch["log_prob"].clone().requires_grad_()
    given = {**batch, "log_prob": leaf, "rollout_is_weights": weights}
    loss, metrics = core_algos.get_policy_loss_fn(name)(loss_agg_mode=mode, config=config or actor(), **given)
    loss.backward()
    return loss.item(), leaf.grad, metrics


def one(log_ratio, advantage, tokens=1):
    """One completion whose tokens have that log-ratio, by the old policy's log-prob of -30."""
    old = torch.full((1, tokens), -30.0, dtype=torch.float64)
    whole = torch.ones_like(old)
    return {
        "old_log_prob": old,
        "log_prob": old + log_ratio,
        "advantages": advantage * whole,
        "response_mask": whole.bool(),
    }


def agree(ours, theirs, tolerance):
    assert ours[0] == pytest.approx(theirs[0], rel=tolerance, abs=tolerance)
    torch.testing.assert_close(ours[1], theirs[1], rtol=tolerance, atol=tolerance)
    assert theirs[1].any()


def test_every_objective_is_in_verls_registry(names):
    assert {
        f"poz:{name}" for name in (*VERLS.values(), "gspo", "dapo", "dr_grpo", "grpo", "rloo", "luspo", "vespo")
    } <= set(names)
    assert all(core_algos.get_policy_loss_fn(name).__name__ == name.replace(":", "_") for name in names)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("theirs", VERLS)
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradient_are_verls(theirs, mode, weighted, batch):
    counts = {"batch_num_tokens": 40, "global_batch_size": 12, "dp_size": 2, "loss_scale_factor": 9}
    ours = mode if theirs not in ONE_MODE else "seq-mean-token-mean"
    counted = {} if theirs == "geo_mean" else counts  # which counts the micro-batch, see below
    weights = None
    if weighted:
        weights = 2 * torch.rand(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        weights[2] = 0.0
        if theirs == "geo_mean":
            weights = weights[:, :1].clamp(min=0.1).expand(6, 5)  # of completions, see below
    config = actor(global_batch_info=counted)
    # verl adds 1e-8 to lengths, and 1e-10 to weights before it takes their logarithm
    tolerance = 1e-8 if ours == "seq-mean-token-mean" else 1e-13
    agree(
        trained(f"poz:{VERLS[theirs]}", batch, ours, config, weights),
        trained(theirs, batch, mode, config, weights),
        tolerance,
    )


@pytest.mark.parametrize("mode", ["token-mean", "token-sum", "seq-mean-token-mean", "seq-mean-token-sum"])
def test_without_counts_both_count_the_micro_batch(mode, batch):
    batch["response_mask"][3] = False  # in neither's mean over completions
    agree(trained("poz:ppo_clip", batch, mode), trained("vanilla", batch, mode), 1e-8)


@pytest.mark.parametrize("theirs", ["vanilla", "gspo", "sapo"])
def test_metrics_are_verls(theirs, batch):
    ours, its = (trained(name, batch)[2] for name in (f"poz:{VERLS[theirs]}", theirs))
    assert ours == pytest.approx(its, abs=1e-6)  # verl has shares in float32
    assert its["actor/ppo_kl"] != 0
    assert (its["actor/pg_clipfrac"] > 0) == (theirs != "sapo")


def test_metrics_that_are_others(batch):
    ours, its = trained("poz:dppo_tv", batch)[2], trained("dppo_tv", batch)[2]
    assert ours["actor/pg_clipfrac"] == pytest.approx(its["actor/pg_clipfrac"], abs=1e-6)
    assert trained("poz:cispo", batch)[2]["actor/pg_clipfrac"] == 0 < trained("cispo", batch)[2]["actor/pg_clipfrac"]
    log_ratio = (batch["log_prob"] - batch["old_log_prob"])[batch["response_mask"]]
    assert trained("kl_cov", batch)[2] == {"actor/ppo_kl": pytest.approx(log_ratio.abs().mean().item())}
    assert trained("poz:kl_cov", batch)[2]["actor/ppo_kl"] == pytest.approx(-log_ratio.mean().item())


@pytest.mark.parametrize("theirs", ["vanilla", "cispo", "sapo", "dppo_tv"])
def test_verl_clamps_the_log_ratio_at_20(theirs):
    far = one(25.0, -1.0)
    config = actor(clip_ratio_c=1e30, clip_ratio_high=1e30, clip_ratio_low=1.0, tau_neg=1e-12)
    ours, its = (trained(name, far, config=config) for name in (f"poz:{VERLS[theirs]}", theirs))
    if theirs == "sapo":
        assert its[1].item() == 0
        assert ours[1].item() == pytest.approx(math.exp(25), rel=0.1)
    else:
        sign = 1 if theirs == "vanilla" else -5.0  # times the log-prob, -5
        assert ours[0] == pytest.approx(sign * math.exp(25))
        assert its[0] == pytest.approx(sign * math.exp(20))
    if theirs == "vanilla":
        assert its[1].item() == 0
        assert ours[1].item() == pytest.approx(math.exp(25))


def test_verl_caps_gspo_at_10():
    far = one(12.0, -1.0, tokens=3)
    ours, its = trained("poz:gspo_token", far), trained("gspo", far)
    assert (ours[0], its[0]) == (pytest.approx(math.exp(12)), pytest.approx(math.exp(10)))
    assert ours[1].sum().item() == pytest.approx(math.exp(12))
    assert not its[1].any()


def test_gspo_follows_loss_agg_mode_and_sapo_does_not(batch):
    """Of 0.9.1; at commit 1dda039, 0.10.0.dev, which was only read, gspo does not either."""
    apart = abs(trained("poz:gspo_token", batch)[0] - trained("poz:gspo_token", batch, "seq-mean-token-mean")[0])
    assert apart > 0.01
    assert trained("gspo", batch)[0] == pytest.approx(trained("poz:gspo_token", batch)[0])
    assert trained("sapo", batch)[0] == trained("sapo", batch, "seq-mean-token-mean")[0]
    assert abs(trained("poz:sapo", batch)[0] - trained("sapo", batch)[0]) > 0.01


def halves(name, batch, mode):
    counts = {"batch_num_tokens": int(batch["response_mask"].sum()), "global_batch_size": 6}
    parts = [{field: x[rows] for field, x in batch.items()} for rows in (slice(3), slice(3, 6))]
    return sum(trained(name, part, mode, actor(global_batch_info=counts))[0] for part in parts)


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"])
@pytest.mark.parametrize("theirs", [name for name in VERLS if name != "kl_cov"])
def test_micro_batches_add_up_here(theirs, mode, batch):
    whole = trained(f"poz:{VERLS[theirs]}", batch, mode)[0]
    assert halves(f"poz:{VERLS[theirs]}", batch, mode) == pytest.approx(whole)


def test_of_verls_geo_mean_two_micro_batches_are_twice_the_whole(batch):
    """It takes the mean over the micro-batch, and verl's engine adds the micro-batches up."""
    assert halves("geo_mean", batch, "seq-mean-token-mean") == pytest.approx(2 * trained("geo_mean", batch)[0])


def test_geo_mean_counts_completions_without_a_token_and_poz_follows_the_global_count(batch):
    batch["response_mask"][3] = False
    its = trained("geo_mean", batch)[0]
    ours = trained("poz:gmpo", batch, "seq-mean-token-mean")[0]
    counted = trained("poz:gmpo", batch, "seq-mean-token-mean", actor(global_batch_info={"global_batch_size": 6}))[0]
    assert (ours, counted) == (pytest.approx(its * 6 / 5), pytest.approx(its))


def test_geo_mean_takes_the_geometric_mean_of_weights_and_poz_the_mean(batch):
    weights = 2 * torch.rand(6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    row = {field: x[:1] for field, x in batch.items()}
    used = weights[:1][row["response_mask"]]
    alone = trained("geo_mean", row)[0]
    assert trained("geo_mean", row, weights=weights[:1])[0] == pytest.approx(alone * used.log().mean().exp().item())
    ours = trained("poz:gmpo", row, "seq-mean-token-mean", weights=weights[:1])[0]
    assert ours == pytest.approx(alone * used.mean().item())
    assert used.std() > 0.1


def test_a_nan_under_the_mask_moves_verls_and_a_micro_batch_without_tokens_is_nan_there(batch):
    batch["response_mask"][:, -1] = False
    padded = {**batch, "log_prob": batch["log_prob"].clone()}
    padded["log_prob"][:, -1] = math.nan
    assert math.isnan(trained("gspo", padded)[0])
    assert trained("poz:gspo_token", padded)[0] == trained("poz:gspo_token", batch)[0]
    empty = {**batch, "response_mask": torch.zeros_like(batch["response_mask"])}
    assert math.isnan(trained("vanilla", empty)[0])
    assert trained("poz:ppo_clip", empty)[0] == 0


def test_verl_divides_by_the_padded_width_where_nothing_is_said(batch):
    wider = {field: torch.nn.functional.pad(x, (0, 5)) for field, x in batch.items()}
    norm = "seq-mean-token-sum-norm"
    assert trained("vanilla", wider, norm)[0] == pytest.approx(trained("vanilla", batch, norm)[0] / 2)
    with pytest.raises(ValueError, match=r"needs actor\.loss_scale_factor"):
        trained("poz:dr_grpo", batch, norm)
    config = actor(loss_scale_factor=5)  # of the row on Dr. GRPO: what verl takes for L of itself
    assert trained("poz:dr_grpo", wider, norm, config)[0] == pytest.approx(
        trained("vanilla", batch, norm, actor(clip_ratio_c=1e30))[0]
    )


def test_clip_ratio_alone_is_never_read_by_verl(batch):
    plain = FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    tight = FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio=0.01)
    assert trained("vanilla", batch, config=plain)[0] == trained("vanilla", batch, config=tight)[0]
    with pytest.raises(ValueError, match=r"clip_ratio=0\.01 has no effect"):
        trained("poz:ppo_clip", batch, config=tight)


def test_defaults_of_verls_that_are_not_the_objectives_are_said(batch):
    plain = FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1)
    said = {
        "gspo_token": "clip_ratio_low=0.2 for epsilon_low=0.0003",
        "gmpo": "clip_ratio_high=0.2 for epsilon_high=0.4",
        "cispo": "clip_ratio_low=0.2 for epsilon_low=1.0",
        "dppo_tv": "clip_ratio_c=3.0 for ratio_cap=20.0",  # verl's own 20 is never read: the field is always there
        "kl_cov": "policy_loss.ppo_kl_coef=0.1 for kl_strength=1.0",
    }
    for name, sentence in said.items():
        with pytest.warns(UserWarning, match="runs with defaults of verl's") as caught:
            trained(f"poz:{name}", batch, config=plain)
        assert sentence in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(
            "poz:dapo", batch, config=FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio_high=0.28)
        )


@pytest.mark.parametrize("name", ["dppo_tv", "dppo_kl"])
def test_dppo_caps_at_3_in_verl_as_configured_by_default(name):
    far = one(math.log(10.0), 1.0)
    assert trained(name, far)[0] == pytest.approx(-3 * far["log_prob"].item())
    assert policy_loss(name, ratio_cap=20.0)(**far, config=actor())[0].item() == pytest.approx(
        -10 * far["log_prob"].item()
    )


@pytest.mark.parametrize(("floor", "ours"), [(0.2, 0.2), (1.0, 1.0)])
def test_cispo_has_verls_floor_unless_clip_ratio_low_is_1(floor, ours):
    low = one(math.log(0.1), 1.0)
    config = actor(clip_ratio_low=floor, clip_ratio_high=0.28)
    expected = -max(1 - floor, 0.1) * low["log_prob"].item()
    assert trained("cispo", low, config=config)[0] == pytest.approx(expected)
    assert policy_loss("cispo", epsilon_low=ours, epsilon_high=0.28)(
        **low, loss_agg_mode="token-mean", config=actor(clip_ratio_low=floor, clip_ratio_high=0.28)
    )[0].item() == pytest.approx(expected)


def test_group_advantages_of_1_0_0_0_are_verls():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    mask = torch.ones(4, 1, dtype=torch.float64)
    index = np.zeros(4, dtype=int)
    theirs, _ = core_algos.compute_grpo_outcome_advantage(rewards[:, None].clone(), mask, index)
    assert theirs[:, 0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)
    ours = poz.advantages.group(rewards, torch.zeros(4, dtype=torch.int64), epsilon=1e-6)
    torch.testing.assert_close(ours, theirs[:, 0], rtol=1e-12, atol=0)


def test_verls_actor_trains_with_it(batch):
    """verl's own loss of the actor, which adds entropy and KL in place, in two micro-batches."""

    def step(rows, config, tokens):
        part = {field: x[rows] for field, x in batch.items()}
        size, width = part["log_prob"].shape
        leaf = part["log_prob"].clone().requires_grad_()
        # as packed output of a model has it: a prompt of one token, and each log-prob one place to the left
        packed = torch.cat([leaf, leaf[:, -1:]], -1).reshape(-1)
        data = TensorDict(
            {
                "prompts": torch.ones(size, 1, dtype=torch.int64),
                "responses": torch.ones(size, width, dtype=torch.int64),
                "attention_mask": torch.ones(size, width + 1, dtype=torch.int64),
                "response_mask": part["response_mask"].long(),
                "old_log_probs": part["old_log_prob"],
                "advantages": part["advantages"],
                "ref_log_prob": part["old_log_prob"],
            },
            batch_size=size,
        )
        tensordict_utils.assign_non_tensor(data, dp_size=1, batch_num_tokens=tokens, global_batch_size=6)
        output = {"log_probs": packed, "entropy": packed.detach() ** 2}
        loss, metrics = ppo_loss(config, output, data)
        loss.backward()
        return loss.item(), leaf.grad, metrics

    def config(name):
        policy = PolicyLossConfig(loss_mode=name)
        return actor(policy_loss=policy, use_kl_loss=True, kl_loss_coef=0.1, entropy_coeff=0.01)

    tokens = int(batch["response_mask"].sum())
    theirs = step(slice(6), config("vanilla"), tokens)
    agree(step(slice(6), config("poz:ppo_clip"), tokens), theirs, 1e-13)
    agree(
        step(slice(6), config("poz:grpo"), tokens), step(slice(6), actor_without_dual(config("vanilla")), tokens), 1e-13
    )
    parts = [step(rows, config("poz:ppo_clip"), tokens) for rows in (slice(3), slice(3, 6))]
    agree((parts[0][0] + parts[1][0], torch.cat([parts[0][1], parts[1][1]])), theirs, 1e-13)
    assert parts[0][2].keys() == theirs[2].keys()


def actor_without_dual(config):
    object.__setattr__(config, "clip_ratio_c", 1e30)  # verl's dual clip, which GRPO has not
    return config


@pytest.mark.parametrize("way", ["external_lib", "environment"])
def test_verl_registers_them_itself(way):
    if way == "external_lib":  # what verl's workers do with model.external_lib
        core_algos.POLICY_LOSS_REGISTRY.pop("poz:gspo")
        sys.modules.pop("poz.integrations.verl.external", None)
        import_external_libs("poz.integrations.verl.external")
        assert "poz:gspo" in core_algos.POLICY_LOSS_REGISTRY
        return
    code = "import verl; from verl.trainer.ppo.core_algos import get_policy_loss_fn as f; print(f('poz:gspo').__name__)"
    there = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "poz.integrations.verl.external"}
    said = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", code], env=there, capture_output=True, text=True, check=False
    )
    assert said.stdout.split()[-1:] == ["poz_gspo"], said.stderr

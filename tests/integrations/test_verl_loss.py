"""What poz hands to verl, with a configuration like verl's; beside verl itself it stands in tests/trainers/test_verl.py."""

import dataclasses
import math
import warnings
from types import SimpleNamespace

import pytest
import torch

import poz
from poz.integrations.verl import policy_loss, register

NAMES = ("reinforce", "ppo_clip", "rloo", "dapo", "dr_grpo", "gspo", "gspo_token", "gmpo", "cispo", "sapo", "dppo_tv")
NAMES += ("luspo", "vespo", "dro", "kl_cov", "dppo_kl")
MODES = {
    "token-mean": {"aggregation": "token_mean"},
    "seq-mean-token-mean": {"aggregation": "sequence_mean"},
    "seq-mean-token-sum": {"aggregation": "sequence_sum", "length": 1.0},
    "seq-mean-token-sum-norm": {"aggregation": "sequence_sum", "length": 7.0},
}


@dataclasses.dataclass
class Policy:
    kl_cov_ratio: float = 0.0002
    ppo_kl_coef: float = 0.1
    dro_beta: float | None = None


@dataclasses.dataclass
class Actor:
    """The fields of verl's ActorConfig that are read, at its defaults."""

    clip_ratio: float = 0.2
    clip_ratio_low: float | None = 0.2
    clip_ratio_high: float | None = 0.2
    clip_ratio_c: float = 3.0
    tau_pos: float = 1.0
    tau_neg: float = 1.05
    loss_agg_mode: str = "token-mean"
    loss_scale_factor: float | None = None
    use_kl_loss: bool = False
    policy_loss: Policy = dataclasses.field(default_factory=Policy)
    global_batch_info: dict = dataclasses.field(default_factory=dict)


def silent(**given):
    """A configuration that says nothing of hyper-parameters."""
    return SimpleNamespace(**{"global_batch_info": {}, "loss_scale_factor": 7, **given})


@pytest.fixture
def drawn():
    """Six completions, the last one empty, with NaN where the mask is false."""
    rng = torch.Generator().manual_seed(3)
    logps = -2 * torch.rand(6, 5, generator=rng, dtype=torch.float64)
    old = logps + 0.4 * torch.randn(6, 5, generator=rng, dtype=torch.float64)
    mask = torch.rand(6, 5, generator=rng) < 0.7
    mask[:, 0], mask[5] = True, False
    advantages = torch.randn(6, 5, generator=rng, dtype=torch.float64)
    nan = torch.full_like(logps, math.nan)
    return {
        "old_log_prob": old.where(mask, nan),
        "log_prob": logps.where(mask, nan),
        "advantages": advantages.where(mask, nan),
        "response_mask": mask,
    }


def graded(loss, batch, **how):
    """The loss with its gradient in the log-probs."""
    leaf = batch["log_prob"].clone().requires_grad_()
    value, metrics = loss(**{**batch, "log_prob": leaf}, **how)
    (slope,) = torch.autograd.grad(value, leaf)
    return value.detach(), slope, metrics


def same(one, other, tolerance=1e-13):
    # sums in another order
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_an_aggregation_of_verl_is_one_of_the_objective(name, mode, drawn):
    value, slope, _ = graded(policy_loss(name), drawn, loss_agg_mode=mode, config=silent())

    def itself(log_prob, old_log_prob, advantages, response_mask):
        batch = poz.Rollouts(log_prob, old_logps=old_log_prob, mask=response_mask, token_advantages=advantages)
        return poz.zoo[name](batch, per_token=True, count_empty=False, **MODES[mode]).mean(), {}

    expected, its_slope, _ = graded(itself, drawn)
    assert expected != 0
    assert same(value, expected)
    assert same(slope, its_slope)


@pytest.mark.parametrize("mode", [*MODES, "token-sum"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "kl_cov"])
def test_micro_batches_and_processes_add_up_to_the_whole(name, mode, drawn):
    """Two processes of two micro-batches each; losses are added within one, and gradients averaged over them."""
    counts = {"batch_num_tokens": int(drawn["response_mask"].sum()), "global_batch_size": 6}
    loss = policy_loss(name)
    whole = graded(loss, drawn, loss_agg_mode=mode, config=silent(global_batch_info=counts))
    config, parts = silent(global_batch_info={**counts, "dp_size": 2}), []
    for rows in ([0], [1, 2], [3, 4], [5]):  # the last has no token
        batch = {field: x[rows] for field, x in drawn.items()}
        parts.append(graded(loss, batch, loss_agg_mode=mode, config=config))
    assert same(sum(part[0] for part in parts) / 2, whole[0])
    assert same(torch.cat([part[1] for part in parts]) / 2, whole[1])


@pytest.mark.parametrize("mode", MODES)
def test_a_micro_batch_without_a_token_is_0(mode, drawn):
    batch = {field: x[5:] for field, x in drawn.items()}
    value, slope, metrics = graded(policy_loss("ppo_clip"), batch, loss_agg_mode=mode, config=silent())
    assert value == 0
    assert not slope.any()
    assert set(metrics.values()) == {0.0}


@pytest.mark.parametrize(
    ("name", "config", "hyper"),
    [
        ("ppo_clip", {"clip_ratio_low": 0.1}, {"epsilon_low": 0.1}),
        ("ppo_clip", {"clip_ratio_high": 0.05}, {"epsilon_high": 0.05}),
        ("ppo_clip", {"clip_ratio_c": 1.1}, {"dual_clip": 1.1}),
        (
            "ppo_clip",
            {"clip_ratio": 0.1, "clip_ratio_low": None, "clip_ratio_high": None},
            {"epsilon_low": 0.1, "epsilon_high": 0.1},
        ),
        ("gspo_token", {}, {"epsilon_low": 0.2, "epsilon_high": 0.2}),
        ("gmpo", {"clip_ratio_low": 0.1}, {"epsilon_low": 0.1, "epsilon_high": 0.2}),
        ("cispo", {"clip_ratio_high": 0.28}, {"epsilon_low": 0.2, "epsilon_high": 0.28}),
        ("dppo_tv", {"clip_ratio_low": 0.05, "clip_ratio_c": 1.2}, {"divergence_low": 0.05, "ratio_cap": 1.2}),
        (
            "dppo_kl",
            {"clip_ratio_low": 0.01, "clip_ratio_c": 1.2},
            {"divergence_low": 0.01, "divergence_high": 0.2, "ratio_cap": 1.2},
        ),
        ("sapo", {"tau_pos": 2.0, "tau_neg": 0.5}, {"tau_positive": 2.0, "tau_negative": 0.5}),
        ("kl_cov", {"policy_loss": Policy(kl_cov_ratio=0.3)}, {"share": 0.3, "kl_strength": 0.1}),
        ("kl_cov", {"policy_loss": Policy(ppo_kl_coef=2.0)}, {"share": 0.0002, "kl_strength": 2.0}),
        ("dro", {"policy_loss": Policy(dro_beta=0.7)}, {"beta": 0.7}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*runs with defaults of verl's")
def test_fields_of_verls_configuration_are_hyper_parameters(name, config, hyper, drawn):
    if name == "ppo_clip":
        hyper = {"dual_clip": 3.0, **hyper}
    value, slope, _ = graded(policy_loss(name), drawn, loss_agg_mode="token-mean", config=Actor(**config))
    expected, its_slope, _ = graded(policy_loss(name, **hyper), drawn, loss_agg_mode="token-mean", config=silent())
    assert value != graded(policy_loss(name), drawn, loss_agg_mode="token-mean", config=silent())[0]
    assert same(value, expected)
    assert same(slope, its_slope)


def test_what_is_given_goes_before_a_default_of_verls(drawn):
    given = policy_loss("gspo_token", epsilon_low=0.01, epsilon_high=0.02)
    how = {"loss_agg_mode": "seq-mean-token-mean"}
    expected, *_ = graded(given, drawn, config=silent(), **how)
    assert same(graded(given, drawn, config=Actor(), **how)[0], expected)
    assert same(graded(given, drawn, config=Actor(clip_ratio_low=0.01), **how)[0], expected)
    assert same(
        graded(policy_loss(poz.gspo_token.bind(epsilon_low=0.01, epsilon_high=0.02)), drawn, config=Actor())[0],
        expected,
    )


def test_a_default_of_the_objectives_that_is_given_goes_before_one_of_verls(drawn):
    expected, *_ = graded(policy_loss("cispo"), drawn, loss_agg_mode="token-mean", config=silent())
    given = policy_loss("cispo", epsilon_low=1.0, epsilon_high=0.28)
    for config in (Actor(), Actor(clip_ratio_low=1.0)):
        assert same(graded(given, drawn, loss_agg_mode="token-mean", config=config)[0], expected)


def test_a_default_of_verls_is_said_where_the_objective_has_another(drawn):
    with pytest.warns(
        UserWarning, match=r"clip_ratio_low=0\.2 for epsilon_low=0\.0003.*loss_agg_mode='token-mean' for"
    ):
        policy_loss("gspo_token")(**drawn, loss_agg_mode="token-mean", config=Actor())
    told = policy_loss("gspo_token", epsilon_low=0.2, epsilon_high=0.2, aggregation="token_mean")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told(**drawn, loss_agg_mode="token-mean", config=Actor())
        policy_loss("gspo_token")(
            **drawn, loss_agg_mode="seq-mean-token-mean", config=Actor(clip_ratio_low=0.1, clip_ratio_high=0.3)
        )


@pytest.mark.parametrize(
    ("name", "hyper", "sentence"),
    [
        ("simpo", {}, "reads another family"),
        ("grpo", {"kl_weight": 0.04}, r"reads ref_logps.*actor\.use_kl_loss=True"),
        ("ppo_clip", {"entropy_weight": 0.1}, r"reads entropy.*actor\.entropy_coeff"),
        ("ppo_clip", {"correction": "token_mask"}, r"reads sampler_logps.*algorithm\.rollout_correction"),
        ("clip_cov", {}, "reads noise.*its own loss_mode=clip_cov"),
        ("ppo_clip", {"per_token": True}, "got per_token=True, which has no use in verl"),
        ("ppo_clip", {"epsilon_low": 2.0}, "needs .* for epsilon_low"),
    ],
)
def test_what_verl_cannot_train_with_is_refused_at_once(name, hyper, sentence):
    with pytest.raises(ValueError, match=sentence):
        policy_loss(name, **hyper)


@pytest.mark.parametrize(
    ("name", "hyper", "changed", "sentence"),
    [
        ("dapo", {}, {"loss_agg_mode": "mean"}, "must be one of token-mean, .*; got 'mean'"),
        ("dapo", {}, {"config": None}, "needs verl's ActorConfig for config; got NoneType"),
        ("dapo", {}, {"config": Actor(clip_ratio=0.1)}, r"clip_ratio=0\.1 has no effect beside clip_ratio_low"),
        (
            "dapo",
            {"epsilon_high": 0.3},
            {"config": Actor(clip_ratio_high=0.28)},
            r"epsilon_high=0\.3, and verl's clip_ratio_high",
        ),
        (
            "grpo",
            {},
            {"config": silent()},
            r"has a KL to the reference, kl_weight=0\.04, and verl adds .*use_kl_loss=True",
        ),
        ("dapo", {}, {"response_mask": torch.full((6, 5), 0.5)}, "response_mask is of 0 and 1"),
        ("dapo", {}, {"config": silent(global_batch_info={"dp_size": 2})}, "needs batch_num_tokens of all 2 processes"),
        (
            "gspo",
            {"aggregation": "token_mean"},
            {"loss_agg_mode": "seq-mean-token-sum"},
            "was registered for loss_agg_mode",
        ),
        ("dr_grpo", {"length": 7.0}, {"loss_agg_mode": "seq-mean-token-sum"}, "was registered for loss_agg_mode"),
        (
            "dr_grpo",
            {"length": 8.0},
            {"loss_agg_mode": "seq-mean-token-sum-norm"},
            r"length=8\.0 was registered, and verl's loss_scale_factor is 7",
        ),
        (
            "dr_grpo",
            {},
            {"loss_agg_mode": "seq-mean-token-sum-norm", "config": silent(loss_scale_factor=None)},
            r"needs actor\.loss_scale_factor",
        ),
        ("dapo", {}, {"rollout_is_weights": torch.ones(6)}, r"one per token, \(6, 5\); got shape \(6,\)"),
        ("vespo", {}, {"rollout_is_weights": torch.ones(6, 5)}, "asks how likely the sampler was"),
        (
            "dapo",
            {"off_policy_limit": 0.1},
            {"rollout_is_weights": torch.ones(6, 5)},
            "asks how likely the sampler was",
        ),
    ],
)
def test_settings_that_are_missing_or_contradict_each_other_are_refused(name, hyper, changed, sentence, drawn):
    with pytest.raises(ValueError, match=sentence):
        policy_loss(name, **hyper)(**{**drawn, "loss_agg_mode": "token-mean", "config": silent(), **changed})


def test_the_kl_is_left_to_verl(drawn):
    config = silent(use_kl_loss=True)
    value, slope, _ = graded(policy_loss("grpo"), drawn, loss_agg_mode="token-mean", config=config)
    expected, its_slope, _ = graded(policy_loss("ppo_clip"), drawn, loss_agg_mode="token-mean", config=config)
    assert same(value, expected)
    assert same(slope, its_slope)


@pytest.mark.parametrize("name", ["reinforce", "ppo_clip", "cispo", "sapo", "dppo_tv", "dro"])
def test_weights_of_the_sampler_multiply_the_term_of_a_token(name, drawn):
    weights = 2 * torch.rand(6, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    weights[1] = 0.0
    loss, how = policy_loss(name), {"loss_agg_mode": "token-sum", "config": silent()}
    value, slope, _ = graded(loss, drawn, rollout_is_weights=weights, **how)
    expected, its_slope = 0.0, torch.zeros_like(weights)
    for place in drawn["response_mask"].nonzero().tolist():
        alone = torch.zeros_like(drawn["response_mask"])
        alone[*place] = True
        term, one, _ = graded(loss, {**drawn, "response_mask": alone}, **how)
        expected, its_slope = expected + weights[*place] * term, its_slope + weights[*place] * one
    assert same(value, expected)
    assert same(slope, its_slope)


def test_metrics_of_a_batch_by_hand():
    """A of 1 and -1; ratios 1.5 and 0.5 on the sides that gain are clipped, 4 where A < 0 by the dual clip."""
    ratios = torch.tensor([[1.5, 0.5, 1.0, 9.0], [1.5, 0.5, 4.0, 9.0]], dtype=torch.float64)
    batch = {
        "log_prob": ratios.log(),
        "old_log_prob": torch.zeros_like(ratios),
        "advantages": torch.tensor([[1.0], [-1.0]]).expand(2, 4),
        "response_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0]]),
    }
    how = {"loss_agg_mode": "token-mean", "config": silent()}
    _, metrics = policy_loss("ppo_clip", dual_clip=3.0)(**batch, **how)
    assert metrics == {
        "actor/pg_clipfrac": pytest.approx(2 / 6),
        "actor/pg_clipfrac_lower": pytest.approx(1 / 6),
        "actor/ppo_kl": pytest.approx(-math.log(1.5 * 0.5 * 1.5 * 0.5 * 4.0) / 6),
    }
    _, metrics = policy_loss("cispo")(**batch, **how)  # caps the weight, and leaves every token its gradient
    assert metrics["actor/pg_clipfrac"] == 0


def test_verl_may_add_to_the_loss_in_place_and_measure_without_a_gradient(drawn):
    leaf = drawn["log_prob"].clone().requires_grad_()
    how = {"loss_agg_mode": "token-mean", "config": silent()}
    value, metrics = policy_loss("dapo")(**{**drawn, "log_prob": leaf}, **how)
    before = value.detach().clone()
    value -= 0.5
    value.backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad.any()
    with torch.no_grad():
        measured, its_metrics = policy_loss("dapo")(**drawn, **how)
    assert measured == before
    assert its_metrics == metrics


def test_without_verl_nothing_is_registered():
    with pytest.raises(ImportError, match="registers objectives with verl, which cannot be imported"):
        register("dapo")

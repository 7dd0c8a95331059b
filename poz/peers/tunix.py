"""Tunix: `dpo_loss_fn` of its DPOTrainer, and the losses of its GRPO and PPO learners, with log-probs in place of a model."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

from poz.families import Pairs, Rollouts
from poz.peers._library import Library

library = Library("Tunix", "google-tunix")


def _of_pairs(pairs: Pairs, mask: Any = None, **settings: Any) -> Any:
    from tunix.sft.dpo import dpo_trainer

    example = mock.Mock(completion_mask=mask, ref_chosen_logps=pairs.ref_chosen, ref_rejected_logps=pairs.ref_rejected)
    with mock.patch.object(dpo_trainer, "compute_logps", return_value=(pairs.chosen, pairs.rejected)):
        return dpo_trainer.dpo_loss_fn(None, example, **settings)[0]


@library.loss("dpo", "DPOTrainer", topic="dpo_smoothing", backend="jax", reduction="mean")
def _dpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Any:
        return _of_pairs(pairs, beta=beta, label_smoothing=label_smoothing)

    return call


@library.loss(
    "orpo", "DPOTrainer, algorithm='orpo'", does="odds of summed log-probs", topic="orpo_log_probs", backend="jax",
    reduction="mean",
)  # fmt: skip
def _orpo() -> Callable[..., Any]:
    import jax.numpy as jnp

    def call(pairs: Pairs, *, odds_weight: float = 0.1) -> Any:
        lengths = jnp.concatenate([pairs.chosen_len, pairs.rejected_len])  # of the mask its sum over tokens is read
        return _of_pairs(pairs, lengths[:, None], algorithm="orpo", lambda_orpo=odds_weight)

    return call


def _learner(function: str, rollouts: Rollouts, **config: Any) -> Any:
    """Their loss of log-probs; the logits beside them are read by what is logged alone."""
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from tunix.rl import algo_core, common

    logps, old, mask = rollouts.logps, rollouts.old_logps, rollouts.mask
    example = SimpleNamespace(
        prompt_ids=None, completion_ids=None, ref_per_token_logps=rollouts.ref_logps,
        completion_mask=jnp.ones_like(logps) if mask is None else mask.astype(int),
        advantages=rollouts.advantages if rollouts.token_advantages is None else rollouts.token_advantages,
        old_per_token_logps=jax.lax.stop_gradient(logps) if old is None else old,
    )  # fmt: skip
    settings = SimpleNamespace(temperature=1.0, kl_clamp_value=None, entropy_coef=None, **config)
    scored = logps, jnp.zeros((*logps.shape, 2))
    with mock.patch.object(common, "compute_per_token_logps", return_value=scored):
        return getattr(algo_core, function)(nnx.Module(), example, settings, 0, 0)[0]


# ε is as it is by default: at 0, which is drawn too, a ratio of 1 is a kink, where JAX has a half of the slope.
def _grpo(aggregation: str, kl: str, low: float = 0.2, high: float = 0.2, **config: Any) -> Callable[..., Any]:
    config = {"loss_algo": "grpo", "loss_agg_mode": aggregation, "kl_loss_mode": kl} | config

    def call(rollouts: Rollouts, *, kl_weight: float = 0.0) -> Any:
        return _learner("grpo_loss_fn", rollouts, epsilon=low, epsilon_high=high, beta=kl_weight, **config)

    return lambda: call


def _dr_grpo() -> Callable[..., Any]:
    grpo = _grpo("sequence-mean-token-scale", "low_var_kl")()

    def call(rollouts: Rollouts, *, length: float = 1.0, kl_weight: float = 0.0) -> Any:
        return grpo(rollouts, kl_weight=kl_weight) * rollouts.logps.shape[-1] / length

    return call


def _ppo() -> Callable[..., Any]:
    return lambda rollouts: _learner("ppo_policy_loss_fn", rollouts, epsilon_low=0.2, epsilon_high=0.2)


mean = "sequence-mean-token-mean"
fixed: dict[str, Any] = {"backend": "jax", "reduction": "mean", "constant": ("old_logps", "ref_logps")}
rows: list[tuple[str, str, dict[str, Any], Callable[[], Any]]] = [
    ("grpo", "GRPOLearner",
     {"does": "has k1 for the KL, and leaves completions without a token out of the mean", "topic": "kl_estimator",
      "settings": {"kl": "k1", "count_empty": False}}, _grpo(mean, "kl")),
    ("grpo", "GRPOLearner, kl_loss_mode='low_var_kl'", {}, _grpo(mean, "low_var_kl")),
    ("gspo_token", "GRPOLearner, loss_algo='gspo-token'", {},
     _grpo(mean, "low_var_kl", 3e-4, 4e-4, loss_algo="gspo-token")),
    ("dapo", "DAPOLearner", {}, _grpo("token-mean", "low_var_kl", 0.2, 0.28)),
    ("dr_grpo", "DrGRPOLearner",
     {"given": "L in place of the padded width, which it divides by", "topic": "dr_grpo_length"}, _dr_grpo),
    ("ppo_clip", "PPOLearner", {"does": "has advantages of tokens", "settings": {"per_token": True}}, _ppo),
]  # fmt: skip
for objective, function, rest, made in rows:
    library.loss(objective, function, **fixed | rest)(made)


@library.log_probs("selective_log_softmax, times the mask", logits=True, backend="jax")
def _log_probs() -> Callable[..., Any]:
    import jax.numpy as jnp
    from tunix.rl.common import selective_log_softmax

    def call(logits: Any, targets: Any) -> Any:  # as compute_logps does it
        return selective_log_softmax(logits, jnp.maximum(targets, 0)) * (targets >= 0)

    return call


@library.fact(
    "ORPO's NLL is over the completion, the mean over its tokens and then over the batch",
    gives=0.75,
    objective="orpo",
    topic="orpo_nll",
)
def orpo_nll() -> float:
    """Two chosen completions, of two and of four tokens, each of log-prob -2; the odds weigh 0."""
    import jax.numpy as jnp
    from tunix.sft.dpo import dpo_trainer

    mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]] * 2)
    sums = jnp.array([-2.0, -2.0]), jnp.array([-3.0, -3.0])
    with mock.patch.object(dpo_trainer, "compute_logps", return_value=sums):
        example = mock.Mock(completion_mask=mask)
        return float(dpo_trainer.dpo_loss_fn(None, example, algorithm="orpo", lambda_orpo=0.0)[0])


@library.fact(
    "ORPO's gradient is NaN where the probability of the chosen completion rounds to 1",
    gives=float("nan"),
    right=-1.058198,
    objective="orpo",
    because="The loss -p + λ log(1 + odds(q) (1 - e^p) / e^p) has the slope -1 - λ odds(q) at p = 0, with λ = 0.1, q = -1.",
)
def orpo_certain() -> float:
    """One pair of one token each, chosen of log-prob -1e-9 in float32, rejected of -1."""
    import jax
    import jax.numpy as jnp
    from tunix.sft.dpo import dpo_trainer

    def loss(chosen: Any) -> Any:
        with mock.patch.object(dpo_trainer, "compute_logps", return_value=(chosen, jnp.array([-1.0]))):
            example = mock.Mock(completion_mask=jnp.ones((2, 1)))
            return dpo_trainer.dpo_loss_fn(None, example, algorithm="orpo", lambda_orpo=0.1)[0]

    return float(jax.grad(loss)(jnp.array([-1e-9]))[0])


@library.fact(
    "GRPO's KL as it is by default, kl_loss_mode='kl', has on-policy an expected gradient of 0 in each token, wherever the "
    "reference is",
    gives=[0.0, 0.0],
    right=[0.5493061, -0.5493061],
    objective="grpo",
    topic="kl_estimator",
    because="KL(π || ref) has the slope π_i (log(π_i / ref_i) - KL) by logit i, ±log(9)/4 here.",
)
def grpo_kl() -> Any:
    """By the logits of two tokens, over what the policy writes; the policy has 1/2 and 1/2, the reference 0.1 and 0.9."""
    import jax
    import jax.numpy as jnp
    from tunix.rl.common import compute_kl_divergence

    def expected(logits: Any) -> Any:
        logps = jax.nn.log_softmax(logits)
        kl = compute_kl_divergence(logps, jnp.log(jnp.array([0.1, 0.9])), method="kl")
        return (jax.lax.stop_gradient(jnp.exp(logps)) * kl).sum()

    return jax.grad(expected)(jnp.zeros(2)).tolist()


@library.fact(
    "The advantages of rewards 1, 0, 0, 0 in GRPO: the deviation is that of a sample, plus 1e-6",
    gives=[1.499997, -0.499999, -0.499999, -0.499999],
    topic="group_advantage",
)
def group_advantage() -> Any:
    """Rewards of four completions of one prompt."""
    import numpy as np
    from tunix.rl.algo_core import compute_advantages

    return compute_advantages(np.array([1.0, 0.0, 0.0, 0.0]), 4).tolist()


@library.fact(
    "Dr. GRPO divides by the padded width: two tokens, and the same padded to four",
    gives=[1.0, 0.5],
    objective="dr_grpo",
    topic="dr_grpo_length",
)
def dr_grpo_width() -> list[float]:
    """One completion of two tokens whose losses are 1."""
    import jax.numpy as jnp
    from tunix.rl.common import aggregate_loss

    padded = jnp.array([[1.0, 1.0, 0.0, 0.0]])
    return [float(aggregate_loss(x, x, "sequence-mean-token-scale")) for x in (padded[:, :2], padded)]


@library.fact(
    "A completion without tokens does not count in the mean over completions",
    gives=1.0,
    topic="empty_completion",
)
def empty_completion() -> float:
    """Two completions, one of two tokens whose losses are 1, and an empty one."""
    import jax.numpy as jnp
    from tunix.rl.common import aggregate_loss

    mask = jnp.array([[1.0, 1.0], [0.0, 0.0]])
    return float(aggregate_loss(mask, mask, "sequence-mean-token-mean"))


@library.fact(
    "Rows of log-probs are all chosen completions, then all rejected ones",
    gives=[[-1.0, -2.0], [-3.0, -4.0]],
    topic="layout",
)
def layout() -> list[Any]:
    """Four rows, of log-probs -1 to -4."""
    import jax.numpy as jnp
    from tunix.sft.dpo import dpo_trainer

    rows = jnp.array([[-1.0], [-2.0], [-3.0], [-4.0]])
    with mock.patch.object(dpo_trainer.common, "get_per_token_logps", return_value=rows):
        return [x.tolist() for x in dpo_trainer.compute_logps(None, rows, rows, rows, 1, jnp.ones((4, 1)))]


@library.fact(
    "DPO's and ORPO's mask of a completion leaves out the end of text that it has, where that is the padding token",
    gives=[1, 1, 0, 0],
    right=[1, 1, 1, 0],
    because="The end of text is what the policy writes last, and tokenizers without a padding token are padded with it.",
)
def padding_is_end() -> Any:
    """A tokenizer whose padding token ends the text, and a completion of two tokens and its end, padded to four."""
    from tunix.sft.dpo import dpo_trainer

    tokenizer = mock.Mock(pad_id=lambda: 2, eos_id=lambda: 2, bos_id=lambda: None, dedup_bos_ids=list)
    tokenizer.encode.return_value = [7, 8, 2]
    _, mask = dpo_trainer._generate_ids_and_masks(["a completion"], tokenizer, 4, left_pad=False)
    return mask[0].tolist()

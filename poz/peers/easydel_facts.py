"""EasyDeL: on which side it is where libraries disagree."""

from collections.abc import Callable
from typing import Any
from unittest import mock

from poz.peers._library import Library
from poz.peers.easydel import alone, fact_of

library = Library("EasyDeL", "easydel")
fact = fact_of(library)


@library.log_probs("DPOTrainer, where the mask is", logits=True, backend="jax")
def _log_probs() -> Callable[..., Any]:
    import jax.numpy as jnp

    with alone():
        from easydel.trainers.direct_preference_optimization_trainer._fn import _compute_token_logps_chunked as scored

    def call(logits: Any, targets: Any) -> Any:  # as concatenated_forward does it
        return jnp.where(targets >= 0, scored(logits[None], jnp.maximum(targets, 0)[None], chunk_size=None)[0], 0.0)

    return call


@fact(
    "KTO holds logits within ±30, beyond which there is no gradient",
    gives=[0.0, 1.125352e-07],
    objective="kto",
    topic="kto_saturation",
)
def kto_saturation() -> Any:
    """By the log-prob of a good completion, of log-ratios -31 and -16, β = 1."""
    import jax
    import jax.numpy as jnp
    from easydel.trainers.kto_trainer._fn import kto_objective

    def loss(x: Any) -> Any:
        weights = {"desirable_weight": 1.0, "undesirable_weight": 1.0}
        return kto_objective(x[None], jnp.zeros(1), jnp.ones(1), beta=1.0, loss_type="kto", **weights)[0]

    return [-float(jax.grad(loss)(jnp.array(x))) for x in (-31.0, -16.0)]


@fact("KTO's K is the mean over the batch, then at least 0", gives=0.0, objective="kto", topic="kto_baseline")
def kto_baseline() -> Any:
    """Log-ratios of -2 and 1 of the samples of the KL."""
    import jax.numpy as jnp
    from easydel.trainers.kto_trainer._fn import kto_objective

    zero, weights = jnp.zeros(2), {"desirable_weight": 1.0, "undesirable_weight": 1.0}
    samples = {"policy_kl_logps": jnp.array([-2.0, 1.0]), "reference_kl_logps": zero}
    return float(kto_objective(zero, zero, zero, beta=1.0, loss_type="kto", **weights, **samples)[3])


@fact("KTO's mean is over all examples, whatever their weights", gives=0.75, objective="kto", topic="kto_reduction")
def kto_reduction() -> Any:
    """A good and a bad completion at the reference, of weights 2 and 1."""
    import jax.numpy as jnp
    from easydel.trainers.kto_trainer._fn import kto_objective

    zero, weights = jnp.zeros(2), {"desirable_weight": 2.0, "undesirable_weight": 1.0}
    return float(kto_objective(zero, zero, jnp.array([1, 0]), beta=1.0, loss_type="kto", **weights)[0])


@fact(
    "A reward model subtracts margins, and is centered by the mean of the squared sums",
    gives=1.5931472,
    objective="bradley_terry",
    topic="reward_model",
)
def reward_model() -> Any:
    """Scores of 2 and 1, a margin of 1, centering 0.1."""
    import jax.numpy as jnp
    from easydel.trainers.reward_trainer import _fn

    batch = {
        f"{name}_{side}": jnp.ones(1) for name in ("input_ids", "attention_mask") for side in ("chosen", "rejected")
    }
    model = mock.Mock(side_effect=[mock.Mock(logits=jnp.array([score])) for score in (2.0, 1.0)])
    state = mock.Mock(merge=lambda tree: model)
    return float(_fn.evaluation_step(state, batch | {"margin": jnp.ones(1)}, center_rewards_coefficient=0.1).loss)


@fact(
    "Dr. GRPO divides by the padded width: one token, and the same padded to two",
    gives=[-1.0, -0.5],
    objective="dr_grpo",
    topic="dr_grpo_length",
)
def dr_grpo_width() -> Any:
    """One completion of one token of advantage 1, on-policy."""
    import jax.numpy as jnp
    from easydel.trainers.group_relative_policy_optimization import _fn

    losses = []
    for mask in (jnp.array([[1.0]]), jnp.array([[1.0, 0.0]])):
        batch = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"), mask)
        with mock.patch.object(_fn, "get_per_token_logps", return_value=0 * mask):
            batch |= {"advantages": jnp.ones(1)}
            losses.append(float(_fn.grpo_step(mock.Mock(), batch, 1, 0.0, is_training=False, loss_type="dr_grpo").loss))
    return losses


@fact(
    "ORPO's NLL is over prompt and completion, and over all tokens of the batch",
    gives=1.0397208,
    objective="orpo",
    topic="orpo_nll",
)
def orpo_nll() -> Any:
    """A prompt of two tokens, the second of probability 1/2, and a completion of one token of probability 1/4."""
    import types

    import jax.numpy as jnp
    from easydel.trainers.odds_ratio_preference_optimization_trainer._fn import concatenated_forward

    class Model:
        config = types.SimpleNamespace(lmhead_chunksize=1)

        def __call__(self, input_ids: Any, attention_mask: Any, apply_lm_head: bool) -> Any:
            logits = jnp.log(jnp.array([[1.0, 1.0], [3.0, 1.0], [1.0, 1.0]]))
            return types.SimpleNamespace(logits=None, last_hidden_state=jnp.stack([logits] * len(input_ids)))

        def compute_lm_logits(self, hidden_states: Any) -> Any:
            return hidden_states

    row, labels = jnp.array([[0, 0, 1]]), jnp.array([[-100, -100, 1]])
    side = {"input_ids": row, "attention_mask": jnp.ones_like(row), "labels": labels}
    batch = {f"{name}_{field}": x for name in ("chosen", "rejected") for field, x in side.items()}
    return float(concatenated_forward(types.SimpleNamespace(model=Model()), batch, False, -100, 0)[4])


@fact("Inputs are all chosen rows, then all rejected ones", gives=[1, 2, 3, 4], topic="layout")
def layout() -> Any:
    """Two pairs of one token each."""
    import jax.numpy as jnp
    from easydel.trainers.odds_ratio_preference_optimization_trainer._fn import concatenated_inputs

    batch = {"chosen_input_ids": jnp.array([[1], [2]]), "rejected_input_ids": jnp.array([[3], [4]])}
    return concatenated_inputs(batch)["concatenated_input_ids"][:, 0].tolist()

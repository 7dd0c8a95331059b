"""EasyDeL: what it gets wrong, on the smallest input that shows it."""

from typing import Any
from unittest import mock

from poz.peers._library import Library
from poz.peers.easydel import fact_of

library = Library("EasyDeL", "easydel")
fact = fact_of(library)
NAN = float("nan")


@fact(
    "GRPO is optimistic where the advantage is negative: it takes the larger of both surrogates",
    gives=[1.2, 0.0],
    right=[1.5, 1.5],
    because="Eq. 7 of arXiv:1707.06347 is min(r A, clip(r) A) whatever the sign of A; a bad token that grew is pushed down.",
    objective="grpo",
)
def grpo_negative_advantage() -> Any:
    """Loss and slope of one token of advantage -1 whose probability has grown by half, ε = 0.2."""
    import jax
    import jax.numpy as jnp
    from easydel.trainers.group_relative_policy_optimization import _fn

    def loss(logps: Any) -> Any:
        one = jnp.ones((1, 1))
        batch = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"), one)
        batch |= {"advantages": -one[0], "old_per_token_logps": 0 * one}
        with mock.patch.object(_fn, "get_per_token_logps", return_value=logps):
            return _fn.grpo_step(mock.Mock(), batch, 1, 0.0, is_training=False, loss_type="grpo").loss

    return [float(x.item()) for x in jax.value_and_grad(loss)(jnp.log(jnp.array([[1.5]])))]


@fact(
    "CISPO takes epsilon_high for the cap itself, so 0.2 where it is not given: on-policy every gradient is a fifth",
    gives=0.1386294,
    objective="cispo",
    topic="cispo_cap",
)
def cispo_cap() -> Any:
    """One token of probability 1/2 and advantage 1, on-policy."""
    import jax.numpy as jnp
    from easydel.trainers.group_relative_policy_optimization import _fn

    one = jnp.ones((1, 1))
    batch = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"), one) | {
        "advantages": one[0]
    }
    with mock.patch.object(_fn, "get_per_token_logps", return_value=jnp.log(one / 2)):
        return float(_fn.grpo_step(mock.Mock(), batch, 1, 0.0, is_training=False, loss_type="cispo").loss)


@fact(
    "CISPO's ratio is not held constant: its gradient is added to that of the log-prob",
    gives=-0.3068528,
    right=-1.0,
    because="The ratio is a weight, sg[r] A log π, whose slope is -r A.",
    objective="cispo",
)
def cispo_gradient() -> Any:
    """The slope by the log-prob of one token of probability 1/2 and advantage 1, on-policy, ε_high = 5."""
    import jax
    import jax.numpy as jnp
    from easydel.trainers.group_relative_policy_optimization import _fn

    def loss(logps: Any) -> Any:
        one = jnp.ones((1, 1))
        batch = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"), one) | {
            "advantages": one[0]
        }
        with mock.patch.object(_fn, "get_per_token_logps", return_value=logps):
            return _fn.grpo_step(
                mock.Mock(), batch, 1, 0.0, is_training=False, loss_type="cispo", epsilon_high=5.0
            ).loss

    return float(jax.grad(loss)(jnp.log(jnp.array([[0.5]])))[0, 0])


@fact(
    "Nash-MD has a gradient through the log-ratio that is its penalty, so that log π counts twice against log ref",
    gives=[0.4436142, -0.4436142],
    right=[0.2218071, -0.2218071],
    because="KL(π || ref) has the slope π_i (log(π_i / ref_i) - KL) by logit i; π is 0.8, 0.2 and ref 1/2, 1/2.",
    objective="nash_md",
)
def nash_md_kl() -> Any:
    """The gradient by two logits, over the completions of one token that the policy writes; win rates 1/2, β = 1."""
    import jax
    import jax.numpy as jnp
    from easydel.trainers.nash_md_trainer import _fn

    def expected(logits: Any) -> Any:
        logps, ones = jax.nn.log_softmax(logits)[:, None], jnp.ones((1, 1))
        batch = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"), ones)
        batch |= {"ref_token_logps": jnp.log(ones / 2), "probabilities": ones[0] / 2}
        total = 0.0
        for token in range(2):
            with mock.patch.object(_fn, "_compute_policy_logps", lambda *_, at=token: logps[at : at + 1]):
                loss = _fn.nash_md_step(mock.Mock(), batch, 1.0, None, None, None, None, 1, is_train=False).loss
            total += jax.lax.stop_gradient(jnp.exp(logps[token, 0])) * loss
        return total

    return jax.grad(expected)(jnp.log(jnp.array([0.8, 0.2]))).tolist()


@fact(
    "`exo_pair` raises under jax.jit, under which the trainer runs it",
    gives="ConcretizationTypeError",
    right=2.7612307,
    because="At the reference it is the mean of log(1/2 / (1 - ε)) and log(1/2 / ε), with ε = 0.001.",
    objective="exo",
    topic="exo_zero",
)
def exo_under_jit() -> Any:
    """One pair at the reference; ε = 0, which it takes as 0.001."""
    import jax
    import jax.numpy as jnp
    from easydel.trainers.direct_preference_optimization_trainer._fn import get_loss_function

    loss = get_loss_function("exo_pair", 0.1, 0.0)
    try:
        return float(jax.jit(lambda x: loss(x, x, x, x, 0.1, 0.0))(jnp.zeros(1))[0])
    except Exception as error:
        return type(error).__name__


@fact(
    "`bco_pair` has a gradient through its δ, the mean of the batch's rewards",
    gives=-0.6100060,
    right=-0.6224593,
    because="δ is a threshold, held constant: the slope is -σ(δ - r), with r = 0 and the same δ of 1/2.",
    objective="bco",
    topic="bco_baseline",
)
def bco_pair_baseline() -> Any:
    """By the second of two chosen log-ratios, 2 and 0; those of rejected are 0, β = 1."""
    import jax
    import jax.numpy as jnp
    from easydel.trainers.direct_preference_optimization_trainer._fn import get_loss_function

    loss, zero = get_loss_function("bco_pair", 1.0, 0.0), jnp.zeros(2)
    return float(jax.grad(lambda x: loss(x, zero, zero, zero, 1.0, 0.0).sum())(jnp.array([2.0, 0.0]))[1])


@fact(
    "ORPO takes the logarithm of a sigmoid that has underflowed to 0",
    gives=float("-inf"),
    right=-120.0,
    because="log σ(x) is x for such x, and both log-odds are finite.",
    objective="orpo",
)
def orpo_underflow() -> Any:
    """Mean log-probs of -120 and of log 1/2, whose odds are 1; β = 1, in float32."""
    import jax.numpy as jnp
    from easydel.trainers.odds_ratio_preference_optimization_trainer._fn import odds_ratio_loss

    return float(odds_ratio_loss(1.0, jnp.array([-120.0]), jnp.log(jnp.array([0.5])))[0][0])


@fact(
    "ORPO's gradient is NaN where the probability of the chosen completion rounds to 1",
    gives=NAN,
    right=0.5819767,
    because="-log(1 + odds(q) (1 - e^p) / e^p) has the slope odds(q) at p = 0, 1 / (e - 1) at q = -1.",
    objective="orpo",
)
def orpo_certain() -> Any:
    """By the mean log-prob of chosen, -1e-9 in float32; that of rejected is -1, β = 1."""
    import jax
    import jax.numpy as jnp
    from easydel.trainers.odds_ratio_preference_optimization_trainer._fn import odds_ratio_loss

    return float(jax.grad(lambda x: odds_ratio_loss(1.0, x, jnp.array([-1.0]))[0][0])(jnp.array([-1e-9]))[0])


@fact(
    "`discopop` is NaN in float32 where the pair is misjudged by more than 88.7 nats over β",
    gives=NAN,
    right=90.0,
    because="exp(90) is infinite in float32, and its weight sigmoid(-90) is 8e-40: the loss is softplus(90), and 1.",
    objective="discopop",
)
def discopop_overflow() -> Any:
    """A margin of -90, β = 1."""
    import jax.numpy as jnp
    from easydel.trainers.direct_preference_optimization_trainer._fn import get_loss_function

    zero = jnp.zeros(1)
    return float(get_loss_function("discopop", 1.0, 0.0)(zero - 90, zero, zero, zero, 1.0, 0.0)[0])


@fact(
    "IPO divides by the length of a completion without tokens, 0, where the model is not run in chunks",
    gives=[-0.6931472, NAN],
    right=[-0.6931472, 0.0],
    because="A sum over no tokens is 0; where the model is run in chunks the length is at least 1.",
    objective="ipo",
    topic="empty_mean",
)
def ipo_empty() -> Any:
    """Mean log-probs of a chosen completion of one token of probability 1/2 and of an empty rejected one."""
    import types

    import jax.numpy as jnp
    from easydel.trainers.direct_preference_optimization_trainer._fn import concatenated_forward

    class Model:
        def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
            return types.SimpleNamespace(logits=jnp.zeros((*input_ids.shape, 2)))

    one = jnp.ones((1, 1), int)
    batch = {
        f"{side}_{name}": one for side in ("prompt", "chosen", "rejected") for name in ("input_ids", "attention_mask")
    }
    out = concatenated_forward(Model(), batch | {"rejected_attention_mask": 0 * one}, False, -100, 0, loss_type="ipo")
    return [float(out[name][0]) for name in ("chosen_logps", "rejected_logps")]

"""EasyDeL: the losses of its trainers, from the files `_fn.py` that hold them.

The package asks for Ray and for a server's packages wherever it is imported; its files of losses are loaded by themselves.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from poz.families import Pairs, Rollouts, TokenPairs, Unpaired
from poz.peers._library import Absent, Library

library = Library("EasyDeL", "easydel")
Call = Callable[[], Any]
Row = tuple[str, str, dict[str, Any], Callable[[], Callable[..., Any]]]
TRAINERS = {
    "dpo": "direct_preference_optimization_trainer",
    "kto": "kto_trainer",
    "cpo": "contrastive_preference_optimization_trainer",
    "orpo": "odds_ratio_preference_optimization_trainer",
    "bco": "binary_classifier_optimization_trainer",
    "grpo": "group_relative_policy_optimization",
    "nash_md": "nash_md_trainer",
    "reward": "reward_trainer",
}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Lets `easydel.trainers.*._fn` be imported: nothing else of the package is run, sharding and metrics are no-ops."""
    spec = importlib.util.find_spec("easydel")
    if spec is None or spec.submodule_search_locations is None:
        raise Absent("EasyDeL is not installed.")
    (root,) = spec.submodule_search_locations
    folders = {"easydel": "", "easydel.trainers": "/trainers"}
    folders |= {f"easydel.trainers.{folder}": f"/trainers/{folder}" for folder in TRAINERS.values()}
    modules: dict[str, Any] = {name: types.ModuleType(name) for name in folders}
    for name, module in modules.items():
        module.__path__ = [root + folders[name]]
    escale = mock.Mock(with_sharding_constraint=lambda arr, sharding: arr)
    modules |= {"eformer": mock.Mock(escale=escale), "eformer.escale": escale}
    named = type("Named", (), {"model": object})  # in annotations
    infra = mock.Mock(EasyDeLBaseModule=named, EasyDeLState=named, LossConfig=named, LossMetrics=types.SimpleNamespace)
    modules |= {f"easydel.infra{name}": infra for name in ("", ".base_module", ".base_state", ".loss_utils")}
    modules |= {f"easydel.{name}": mock.Mock() for name in ("utils", "utils.helpers")}
    modules["easydel.trainers.utils"] = mock.Mock(pad_to_length=lambda x, *_, **__: x)
    modules[f"easydel.trainers.{TRAINERS['dpo']}.dpo_config"] = mock.Mock(LOSS_FN_VARIANTS=str)
    sys.modules.update(modules)
    try:
        yield
    finally:  # what else was imported, as JAX, stays
        for name in [name for name in sys.modules if name.partition(".")[0] in ("easydel", "eformer")]:
            del sys.modules[name]


def fact_of(this: Library) -> Callable[..., Callable[[Call], Call]]:
    """`fact` of a library, for calls that import the files of losses."""

    def fact(does: str, **rest: Any) -> Callable[[Call], Call]:
        def keep(call: Call) -> Call:
            @functools.wraps(call)
            def run() -> Any:
                with alone():
                    return call()

            return this.fact(does, **rest)(run)

        return keep

    return fact


def _file(trainer: str) -> Any:
    with alone():
        return importlib.import_module(f"easydel.trainers.{TRAINERS[trainer]}._fn")


def _dpo(loss_type: str, smoothed: bool = False, length_normalized: bool = False) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import jax.numpy as jnp

        get = _file("dpo").get_loss_function

        def call(pairs: Pairs, beta: Any, label_smoothing: Any) -> Any:
            sums = [pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected]
            if length_normalized:
                sums = [
                    x / jnp.maximum(n, 1) for x, n in zip(sums, 2 * [pairs.chosen_len, pairs.rejected_len], strict=True)
                ]
            return get(loss_type, beta, label_smoothing)(*sums, beta, label_smoothing).mean()

        if loss_type == "ipo":
            return lambda pairs, *, tau: call(pairs, tau, 0.0)
        if smoothed:
            return lambda pairs, *, beta, label_smoothing: call(pairs, beta, label_smoothing)
        return lambda pairs, *, beta: call(pairs, beta, 1e-3)

    return make


ROWS: list[Row] = [
    ("sigmoid", "dpo", {"topic": "dpo_smoothing"}, _dpo("sigmoid", smoothed=True)),
    ("kto", "dpo", {"topic": "kto_in_dpo"}, _dpo("kto", smoothed=True)),
    ("ipo", "ipo", {"does": "means per token, of policy and reference", "settings": {"length_normalized": True},
                    "given": "the means, which its forward pass takes", "topic": "ipo_sum_or_mean"},
     _dpo("ipo", length_normalized=True)),
    ("hinge", "hinge", {}, _dpo("hinge")),
    ("robust", "robust_dpo", {}, _dpo("robust", smoothed=True)),
    ("exo_pair", "exo", {"does": "raises under jax.jit", "topic": "exo_zero"}, _dpo("exo_pair")),
    ("aot", "aot", {}, _dpo("aot", smoothed=True)),
    ("aot_pair", "aot_unpaired", {"topic": "aot_names"}, _dpo("aot_pair", smoothed=True)),
    ("apo_zero", "apo_zero", {}, _dpo("apo_zero")),
    ("apo_down", "apo_down", {}, _dpo("apo_down")),
    ("discopop", "discopop", {"does": "τ = 1, which no configuration sets", "settings": {"tau": 1.0},
                              "topic": "discopop_tau"}, _dpo("discopop")),
]  # fmt: skip
for loss_type, objective, rest, made in ROWS:
    library.loss(objective, f"DPOTrainer, loss_type='{loss_type}'", backend="jax", reduction="mean", **rest)(made)


@library.loss(
    "kto", "KTOTrainer", given="one example at a time, beside all samples of the KL; weights multiply its loss",
    topic="kto_weights", backend="jax",
)  # fmt: skip
def _kto() -> Callable[..., Any]:
    import jax

    objective = _file("kto").kto_objective

    def call(batch: Unpaired, *, beta: float, desirable_weight: float, undesirable_weight: float) -> Any:
        def one(policy: Any, reference: Any, good: Any) -> Any:
            return objective(
                policy[None], reference[None], good[None], beta=beta, desirable_weight=desirable_weight,
                undesirable_weight=undesirable_weight, loss_type="kto", policy_kl_logps=batch.kl_logps,
                reference_kl_logps=batch.kl_ref_logps,
            )[0]  # fmt: skip

        losses = jax.vmap(one)(batch.logps, batch.ref_logps, batch.desirable)
        return losses if batch.weights is None else losses * batch.weights

    return call


@library.loss("bco", "BCOTrainer", given="one example at a time; weights multiply its loss", backend="jax")
def _bco() -> Callable[..., Any]:
    import jax

    compute = _file("bco").compute_bco_loss

    def call(batch: Unpaired, *, beta: float, baseline: float) -> Any:
        def one(policy: Any, reference: Any, good: Any) -> Any:
            return compute(policy[None], reference[None], good[None], ~good[None], beta=beta, delta=baseline)[0]

        losses = jax.vmap(one)(batch.logps, batch.ref_logps, batch.desirable)
        return losses if batch.weights is None else losses * batch.weights

    return call


@library.loss(
    "simpo", "CPOTrainer, loss_type='simpo'", given="the means, which its forward pass takes", topic="simpo_margin",
    backend="jax",
)  # fmt: skip
def _simpo() -> Callable[..., Any]:
    import jax.numpy as jnp

    loss = _file("cpo").cpo_loss

    def call(pairs: Pairs, *, beta: float, gamma: float | None, gamma_beta_ratio: float | None) -> Any:
        ratio = 0.25 if gamma_beta_ratio is None else gamma_beta_ratio
        means = (
            pairs.chosen / jnp.maximum(pairs.chosen_len, 1),
            pairs.rejected / jnp.maximum(pairs.rejected_len, 1),
        )
        return loss(
            *means, beta=beta, label_smoothing=0.0, loss_type="simpo", alpha=0.0,
            simpo_gamma=ratio * beta if gamma is None else gamma,
        )[0]  # fmt: skip

    return call


@library.loss(
    "orpo", "ORPOTrainer", does="the logarithm of the sigmoid, which underflows; NLL over all tokens of the batch",
    settings={"nll": "batch_tokens"}, given="means, and the NLL over the completions alone", topic="orpo_log_probs",
    backend="jax", reduction="mean",
)  # fmt: skip
def _orpo() -> Callable[..., Any]:
    import jax.numpy as jnp

    step = _file("orpo").orpo_step

    def call(pairs: Pairs, *, odds_weight: float) -> Any:
        chosen, rejected = (jnp.maximum(n, 1) for n in (pairs.chosen_len, pairs.rejected_len))
        nll = -pairs.chosen.sum() / jnp.maximum(pairs.chosen_len.sum(), 1)
        logits = jnp.zeros(1)
        forward = lambda *_: (pairs.chosen / chosen, pairs.rejected / rejected, logits, logits, nll, logits)  # noqa: E731
        state = mock.Mock(graphstate=None)
        return step(state, {"rows": pairs.chosen}, forward, odds_weight, mode="eval").loss

    return call


def _grpo(loss_type: str, **settings: Any) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import jax.numpy as jnp

        file = _file("grpo")

        def call(rollouts: Rollouts, *, kl_weight: float = 0.0) -> Any:
            logps, mask = rollouts.logps, rollouts.mask
            each = jnp.ones_like(logps) if mask is None else mask.astype(logps.dtype)
            batch = {"prompt_ids": jnp.zeros((len(logps), 1), int), "prompt_mask": jnp.ones((len(logps), 1))}
            batch |= {"completion_ids": jnp.zeros(logps.shape, int), "completion_mask": each}
            batch |= {"advantages": rollouts.advantages, "old_per_token_logps": rollouts.old_logps}
            batch |= {
                "ref_per_token_logps": jnp.zeros_like(logps) if rollouts.ref_logps is None else rollouts.ref_logps
            }
            with mock.patch.multiple(
                file, get_per_token_logps=mock.Mock(return_value=logps), extract_generation_model_kwargs=mock.Mock(),
                repeat_prompt_aligned_model_kwargs=mock.Mock(), make_assertions_and_get_sizes=lambda **_: (1, 1, None),
            ):  # fmt: skip
                return file.grpo_step(
                    mock.Mock(), batch, 1, kl_weight, is_training=False, loss_type=loss_type, **settings
                ).loss

        return call

    return make


for loss_type, objective, rest, settings in [
    ("grpo", "grpo", {"does": "clips the wrong side where the advantage is negative"}, {}),
    ("dapo", "dapo", {"does": "clips the wrong side where the advantage is negative"}, {"epsilon_high": 0.28}),
    ("cispo", "cispo", {"does": "caps the ratio at ε, not 1 + ε, and has a gradient through it", "topic": "cispo_cap"},
     {"epsilon_high": 0.28}),
]:  # fmt: skip
    library.loss(
        objective, f"GRPOTrainer, loss_type='{loss_type}'", backend="jax", reduction="mean",
        constant=("old_logps", "ref_logps"), **rest,
    )(_grpo(loss_type, **settings))  # fmt: skip


@library.loss(
    "nash_md", "NashMDTrainer", does="has a gradient through the log-ratio", settings={"kl_credit": "token"},
    constant=("ref_chosen",), backend="jax", reduction="mean",
)  # fmt: skip
def _nash_md() -> Callable[..., Any]:
    import jax.numpy as jnp

    file = _file("nash_md")

    def call(pairs: TokenPairs, *, tau: float) -> Any:
        mask = (
            jnp.ones_like(pairs.chosen) if pairs.chosen_mask is None else pairs.chosen_mask.astype(pairs.chosen.dtype)
        )
        batch = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids"), pairs.chosen)
        batch |= {"completion_mask": mask, "ref_token_logps": pairs.ref_chosen, "probabilities": pairs.label}
        with mock.patch.multiple(
            file, _compute_policy_logps=mock.Mock(return_value=pairs.chosen),
            make_assertions_and_get_sizes=lambda **_: (1, 1, None),
        ):  # fmt: skip
            return file.nash_md_step(mock.Mock(), batch, tau, None, None, None, None, 1, is_train=False).loss

    return call

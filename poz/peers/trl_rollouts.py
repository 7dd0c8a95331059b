"""TRL: the losses of GRPOTrainer, RLOOTrainer and their relatives, which give a mean over the completions of a micro-batch.

Each trainer is made as its users make it, of a model of two words, and given log-probs in place of the model's; in evaluation,
where a batch is whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Absent, Library, taking

library = Library("TRL", "trl", since="0.29")
GMPO, A2PO, GSPO_TOKEN = "trl.experimental.gmpo", "trl.experimental.a2po", "trl.experimental.gspo_token"


def _trainer(name: str, module: str) -> Any:
    """A trainer by the name of its class, at rest."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    try:
        where = import_module(module)
    except ModuleNotFoundError as error:
        raise Absent(f"no {module} in this version") from error
    config = getattr(where, name.replace("Trainer", "Config"), None) or import_module("trl").GRPOConfig
    kind: Any = PreTrainedTokenizerFast
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, "a"))
    made = getattr(where, name)(
        GPT2LMHeadModel(GPT2Config(vocab_size=2, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0)),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config(
            "none", report_to="none", use_cpu=True, bf16=False, **{"beta": 0.0} if hasattr(config, "beta") else {}
        ),
        train_dataset=Dataset.from_list([{"prompt": "b"}] * 8),
        processing_class=kind(tokenizer_object=words, eos_token="a", pad_token="a"),
    )
    made.model.eval()
    return made


def _loss(trainer: Any, settings: dict[str, Any], rollouts: Rollouts, correction: tuple[Any, ...]) -> Any:
    import torch

    for key, value in settings.items():
        for owner in (trainer, trainer.args):
            if hasattr(owner, key):
                setattr(owner, key, value)
    logps, shape = rollouts.logps, rollouts.logps.shape
    kept = {"logps", "entropy"}  # the rest is made without a gradient
    rollouts = Rollouts(*(x if x is None or n in kept else x.detach() for n, x in rollouts._asdict().items()))
    mask = torch.ones(shape, dtype=torch.bool) if rollouts.mask is None else rollouts.mask
    old = logps.detach() if rollouts.old_logps is None else rollouts.old_logps
    entropy = torch.zeros_like(logps) if rollouts.entropy is None else rollouts.entropy
    _gives(trainer, logps, entropy)
    inputs = {
        "prompt_ids": torch.ones(shape[0], 1, dtype=torch.long),
        "prompt_mask": torch.ones(shape[0], 1, dtype=torch.long),
        "completion_ids": torch.ones(shape, dtype=torch.long),
        "completion_mask": mask.long(),
        "num_items_in_batch": mask.sum(),
        "advantages": rollouts.advantages,
        "old_per_token_logps": rollouts.old_logps,
        "old_logps": (old * mask).sum(-1),
        "ref_per_token_logps": rollouts.ref_logps,
    }
    if rollouts.sampler_logps is not None:
        inputs["sampling_per_token_logps"] = rollouts.sampler_logps
    if correction:
        _gives(trainer, old, entropy)
        inputs["importance_sampling_ratio"] = _ratio(trainer, rollouts.sampler_logps, mask, *correction)
        _gives(trainer, logps, entropy)
    return trainer._compute_loss(trainer.model, inputs)


def _gives(trainer: Any, logps: Any, entropy: Any) -> None:
    """The log-probs are those of its model."""
    kind = type(trainer)._get_per_token_logps_and_entropies
    auxiliary = (None,) * ("compute_aux_loss" in inspect.signature(kind).parameters)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logps, entropy, *auxiliary)


def _ratio(trainer: Any, sampler: Any, mask: Any, mode: str, low: float, high: float) -> Any:
    """Its own weights that correct the sampler, of completions that the sampler gave it."""
    size = len(mask)
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    trainer.vllm_importance_sampling_mode = mode
    trainer.vllm_importance_sampling_clip_min, trainer.vllm_importance_sampling_clip_max = low, high
    trainer.num_generations = trainer.num_generations_eval = 1
    ids, some = [[1]] * size, [[1] * mask.shape[1]] * size
    trainer._generate = lambda _: (ids, some, mask.long().tolist(), ["b"] * size, sampler.tolist(), {}, None, None)
    made = trainer._generate_and_score_completions([{"prompt": "b"}] * size)
    return made["importance_sampling_ratio"].to(sampler)


def _made(
    trainer: str, module: str, names: Mapping[str, str], correction: str = "", **held: Any
) -> Callable[[], Callable[..., Any]]:
    """What makes the call: `names` are theirs of hyper-parameters of poz, `held` are theirs with values."""

    def make() -> Callable[..., Any]:
        there = _trainer(trainer, module)
        for theirs in (*held, *names.values()):
            if not any(hasattr(owner, theirs) for owner in (there, there.args)):
                raise Absent(f"no {theirs} in this version")

        def call(rollouts: Rollouts, **values: Any) -> Any:
            settings = {theirs: values[ours] for ours, theirs in names.items()} | held
            bounds = (correction, values["correction_low"], values["correction_high"]) if correction else ()
            return _loss(there, settings, rollouts, bounds)

        return taking(call, [*names, *("correction_low", "correction_high") * bool(correction)])

    return make


CLIP = {"epsilon_low": "epsilon_low", "epsilon_high": "epsilon_high"}
CAP = {"epsilon_high": "epsilon_high"}
KL, LIMIT = {"kl_weight": "beta"}, {"off_policy_limit": "off_policy_mask_threshold"}
K = {"k_positive": "vespo_k_pos", "k_negative": "vespo_k_neg"}
LAMBDA = {"lambda_positive": "vespo_lambda_pos", "lambda_negative": "vespo_lambda_neg"}
TAU = {"tau_positive": "sapo_temperature_pos", "tau_negative": "sapo_temperature_neg"}
ENTROPY, BONUS = {"entropy_weight": "entropy_coef"}, {"_entropy_bonus_enabled": True}
SEQUENCE, PLAIN = {"importance_sampling_level": "sequence"}, {"use_bias_correction_kl": False}

WHOLE = "importance_sampling_level='sequence'"

rows: list[tuple[str, str, dict[str, str], dict[str, Any], dict[str, Any]]] = [
    ("grpo", "", CLIP | KL | LIMIT, {},
     {"does": "multiplies the KL by the ratio", "settings": {"kl": "r*k3"}, "topic": "kl_estimator"}),
    ("grpo", "use_bias_correction_kl=False", CLIP | KL | LIMIT, PLAIN, {"topic": "kl_estimator"}),
    ("grpo", "entropy_coef", CLIP | ENTROPY, {"beta": 0.04} | BONUS | PLAIN,
     {"does": "has the mean of the entropy over all tokens of the micro-batch"}),
    ("dapo", "", CLIP | LIMIT, {}, {"topic": "empty_completion"}),
    ("dapo", "entropy_coef", CLIP | ENTROPY, BONUS, {}),
    ("ppo_clip", "delta", CLIP | {"ratio_cap": "delta"}, {"loss_type": "dapo"}, {}),
    ("ppo_clip", "", CLIP, {"loss_type": "bnpo"}, {"topic": "accumulation"}),
    ("dr_grpo", "", CLIP | {"length": "max_completion_length"}, {},
     {"given": "L as max_completion_length", "topic": "dr_grpo_length"}),
    ("gspo", WHOLE, CLIP | KL, {"loss_type": "grpo"} | SEQUENCE,
     {"does": "multiplies the KL of each token by the ratio of the completion"}),
    ("gspo", f"{WHOLE}, use_bias_correction_kl=False", CLIP | KL, {"loss_type": "grpo"} | SEQUENCE | PLAIN, {}),
    ("luspo", WHOLE, CLIP, SEQUENCE, {}),
    ("sapo", "", TAU, {}, {}),
    ("vespo", "", K | LAMBDA, {}, {}),
]  # fmt: skip

for objective, said, names, held, rest in rows:
    held = {"loss_type": objective} | held
    function = ", ".join(filter(None, ["GRPOTrainer", f"loss_type='{held['loss_type']}'", said]))
    library.loss(objective, function, reduction="mean", **rest)(_made("GRPOTrainer", "trl", names, **held))

for objective, mode, rest in [
    ("dapo", "token_truncate", {}),
    ("dapo", "token_mask", {}),
    ("dapo", "sequence_truncate", {}),
    ("dapo", "sequence_mask", {"topic": "sequence_mask"}),
    ("gspo", "sequence_mask", {"topic": "gspo_sampler"}),
    ("gspo", "token_truncate", {"topic": "gspo_sampler"}),
    ("vespo", "token_truncate", {}),
]:
    level = {"loss_type": "grpo"} | SEQUENCE if objective == "gspo" else {"loss_type": objective}
    function = f"GRPOTrainer, loss_type='{level['loss_type']}'" + f", {WHOLE}" * (objective == "gspo")
    library.loss(
        objective, f"{function}, vllm_importance_sampling_mode='{mode}'", settings={"correction": mode},
        reduction="mean", **rest,
    )(_made("GRPOTrainer", "trl", {"gspo": CLIP, "dapo": CLIP, "vespo": K}[objective], mode, **level))  # fmt: skip

for objective, trainer, module, names, rest in [
    ("gmpo", "GMPOTrainer", GMPO, CLIP | KL, {"topic": "gmpo_clip"}),
    ("rloo", "RLOOTrainer", "trl", CLIP, {}),
]:
    library.loss(objective, trainer, reduction="mean", **rest)(_made(trainer, module, names))

SAID = "GRPOTrainer of trl.experimental.gspo_token, importance_sampling_level='sequence_token'"
library.loss("gspo_token", SAID, reduction="mean")(
    _made("GRPOTrainer", GSPO_TOKEN, CLIP | KL, loss_type="grpo", importance_sampling_level="sequence_token")
)


@library.loss(
    "cispo", "GRPOTrainer, loss_type='cispo', epsilon_high=1 + ε", given="1 + epsilon_high for theirs",
    reduction="mean", topic="cispo_cap",
)  # fmt: skip
def cispo() -> Callable[..., Any]:
    inner = _made("GRPOTrainer", "trl", CAP, loss_type="cispo")()
    return lambda rollouts, *, epsilon_high=0.28: inner(rollouts, epsilon_high=1 + epsilon_high)


@library.loss("a2po", "A2POTrainer", given="the advantage as the reward, V* = 0", reduction="mean")
def a2po() -> Callable[..., Any]:
    trainer = _trainer("A2POTrainer", A2PO)

    def call(rollouts: Rollouts, *, beta: float = 1e-3) -> Any:
        import torch

        mask = torch.ones_like(rollouts.logps) if rollouts.mask is None else rollouts.mask
        summed = [torch.where(mask > 0, x, 0).sum(-1) for x in (rollouts.logps, rollouts.ref_logps.detach())]
        trainer.args.beta2, trainer._get_sequence_logps = beta, lambda *_: summed[0]
        given = {"ref_logps": summed[1], "rewards": rollouts.advantages, "v_star": torch.zeros(len(mask))}
        return trainer.compute_loss(
            trainer.model, dict.fromkeys(("input_ids", "attention_mask", "logits_to_keep")) | given
        )

    return call

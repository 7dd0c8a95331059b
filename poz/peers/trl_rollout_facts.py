"""TRL: what GRPOTrainer and RLOOTrainer do beside their losses, and where they break."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from poz.peers._library import Library

library = Library("TRL", "trl", since="1.14")


def _trainer(name: str, **settings: Any) -> Any:
    """A trainer of a model of two words, whose first completion of four is worth 1, the others nothing."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, "a"))
    trl: Any = import_module("trl")
    kind: Any = PreTrainedTokenizerFast
    shape: dict[str, Any] = {
        "vocab_size": 2,
        "n_embd": 8,
        "n_layer": 1,
        "n_head": 1,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    given = {"per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 1, "use_cpu": True}
    made = getattr(trl, f"{name}Trainer")(
        GPT2LMHeadModel(GPT2Config(**shape)),
        reward_funcs=lambda completions, **_: [1.0, 0.0, 0.0, 0.0],
        args=getattr(trl, f"{name}Config")("none", report_to="none", **given, **settings),
        train_dataset=Dataset.from_list([{"prompt": "b"}] * 4),
        processing_class=kind(tokenizer_object=words, eos_token="a", pad_token="a"),
    )
    return made


def _loss(made: Any, logps: Any, old: Any, mask: Any, advantages: Any) -> Any:
    import torch

    one = torch.ones(len(mask), 1, dtype=torch.long)
    made._get_per_token_logps_and_entropies = lambda *_, **__: (logps, logps.detach(), None)
    inputs = {"prompt_ids": one, "prompt_mask": one, "completion_ids": mask, "completion_mask": mask}
    inputs |= {"advantages": advantages, "old_per_token_logps": old, "num_items_in_batch": mask.sum()}
    return made._compute_loss(made.model.eval(), inputs)


def _advantages(name: str, **settings: Any) -> Any:
    made = _trainer(name, **settings)
    if name == "RLOO":
        made._get_per_token_logps_and_entropies = lambda *_, **__: (made.reward_weights.new_zeros(4, 1), None, None)
    return made._generate_and_score_completions([{"prompt": "b"}] * 4)["advantages"].tolist()


@library.fact(
    "divides by the sample deviation of the group plus 1e-4", gives=[1.4997, -0.4999, -0.4999, -0.4999],
    topic="group_advantage",
)  # fmt: skip
def grpo_advantage() -> Any:
    return _advantages("GRPO")


@library.fact(
    "takes the mean of the others off, itself left out",
    gives=[1.0, -1 / 3, -1 / 3, -1 / 3],
    topic="group_advantage",
    objective="rloo",
)
def rloo_advantage() -> Any:
    return _advantages("RLOO", beta=0.0)


@library.fact(
    "has the loss `dapo`, a β of 0 and an upper ε of 0.2 where none is given",
    gives=["dapo", 0.0, 0.2],
    objective="dapo",
)
def grpo_defaults() -> list[Any]:
    made = _trainer("GRPO")
    return [made.loss_type, made.beta, made.epsilon_high]


@library.fact("has an ε of 0.4 by default", gives=0.4, topic="gmpo_clip", objective="gmpo")
def gmpo_epsilon() -> float:
    return float(import_module("trl.experimental.gmpo").GMPOConfig.epsilon)


@library.fact(
    "puts the KL into the reward: with a β of 0.5, and the first of four completions 2 nats likelier than under the reference",
    gives=[0.0, 0.0, 0.0, 0.0], objective="rloo",
)  # fmt: skip
def rloo_kl() -> list[float]:
    import torch

    made = _trainer("RLOO", beta=0.0)
    made.beta, made.ref_model = 0.5, made.model
    both = iter([torch.tensor([[2.0], [0.0], [0.0], [0.0]]), torch.zeros(4, 1)])
    made._get_per_token_logps_and_entropies = lambda *_, **__: (next(both), None, None)
    advantages: list[float] = made._generate_and_score_completions([{"prompt": "b"}] * 4)["advantages"].tolist()
    return advantages


@library.fact(
    "`grpo` counts a completion without a token among those of the batch: one of one token with A = 1, and an empty one",
    gives=-0.5, topic="empty_completion", objective="grpo",
)  # fmt: skip
def grpo_empty() -> float:
    import torch

    logps, mask = torch.zeros(2, 1), torch.tensor([[1], [0]])
    return float(_loss(_trainer("GRPO", loss_type="grpo"), logps, logps, mask, torch.ones(2)))


@library.fact(
    "`bnpo`, then `dapo`, where micro-batches of one token with A = 1 and of three with A = 0 make a step", gives=[-0.5, -0.25],
    topic="accumulation", objective="ppo_clip",
)  # fmt: skip
def bnpo_accumulation() -> list[float]:
    import torch

    found = []
    for name in ("bnpo", "dapo"):
        made = _trainer("GRPO", loss_type=name, gradient_accumulation_steps=2)
        made.current_gradient_accumulation_steps = 2
        found.append(0.0)
        for tokens, advantage in ((1, 1.0), (3, 0.0)):
            one, logps = torch.ones(1, tokens, dtype=torch.long), torch.zeros(1, tokens)
            made._get_per_token_logps_and_entropies = lambda *_, logps=logps, **__: (logps, logps, None)
            inputs = {"prompt_ids": one, "prompt_mask": one, "completion_ids": one, "completion_mask": one}
            inputs |= {"advantages": torch.tensor([advantage]), "num_items_in_batch": torch.tensor(4)}
            found[-1] += float(made._compute_loss(made.model.train(), inputs))
    return found


@library.fact(
    "`vespo` takes the weight of a whole completion to nothing where one of its 100 tokens is masked for the sampler, by k = 2 "
    "and λ = 3",
    gives=[1.0, 2.00855e-15], objective="vespo",
)  # fmt: skip
def vespo_masked() -> list[float]:
    import torch

    weights: Any = import_module("trl").GRPOTrainer.get_gamma_weights
    still, ratio, found = torch.zeros(1, 100), torch.ones(1, 100), []
    for weight in (1.0, 0.0):
        ratio[0, 0] = weight
        found.append(float(weights(torch.ones(1, 1), still, still + 1, ratio)))
    return found


@library.fact(
    "`vespo` keeps log w above log 1e-8, and λ above 1e-4: φ(e^-30) of k = 0.1 and λ = 0, which is e^-3",
    gives=0.158505,
    objective="vespo",
)  # fmt: skip
def vespo_clamp() -> float:
    import torch

    weights: Any = import_module("trl").GRPOTrainer.get_gamma_weights
    far, one = torch.full((1, 3), -10.0), torch.ones(1, 3)
    return float(weights(one[:, :1], far, one, None, k_pos=0.1, lambda_pos=0.0))

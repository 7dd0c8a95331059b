"""TRL: where GRPOTrainer is wrong, each as a script of its own."""

from __future__ import annotations

from poz.peers._library import Library

library = Library("TRL", "trl", since="1.14")


@library.fact(
    "`cispo` takes epsilon_high for the cap itself, of which its documentation recommends 5; where it is not given the cap is "
    "epsilon, 0.2, and every gradient on-policy a fifth", gives=0.2, topic="cispo_cap", objective="cispo",
)  # fmt: skip
def trl_cispo_default_cap() -> float:
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")), pad_token="a")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=1, n_embd=8, n_layer=1, n_head=1)).eval()
    args = GRPOConfig("none", loss_type="cispo", report_to="none", use_cpu=True)
    data = Dataset.from_dict({"prompt": ["a"]})
    trainer = GRPOTrainer(model, lambda completions, **_: [0.0], args, data, processing_class=words)
    logps, one = torch.tensor([[-1.0]], requires_grad=True), torch.ones(1, 1, dtype=torch.long)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logps, torch.zeros(1, 1), None)
    inputs = {f"{x}_{y}": one for x in ("prompt", "completion") for y in ("ids", "mask")}
    trainer._compute_loss(model, inputs | {"advantages": torch.ones(1), "num_items_in_batch": one.sum()}).backward()
    return -float(logps.grad)


@library.fact(
    "`grpo`, `dapo` and `sapo` give a token whose ratio is infinite in float32 a gradient of NaN: 89 nats likelier than it was, "
    "of advantage 1",
    gives=[float("nan")] * 3, right=[0.0, 0.0, 0.0],
    because="The loss is clipped there (-1.2 of `grpo`), or flat: its gradient is 0, as it is at every other ratio beyond.",
    objective="ppo_clip",
)  # fmt: skip
def trl_grpo_infinite_ratio() -> list[float]:
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")), pad_token="a")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=1, n_embd=8, n_layer=1, n_head=1)).eval()
    args, data = GRPOConfig("none", report_to="none", use_cpu=True), Dataset.from_dict({"prompt": ["a"]})
    trainer = GRPOTrainer(model, lambda completions, **_: [0.0], args, data, processing_class=words)
    logps, one = torch.tensor([[-1.0]], requires_grad=True), torch.ones(1, 1, dtype=torch.long)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logps, torch.zeros(1, 1), None)
    inputs = {f"{x}_{y}": one for x in ("prompt", "completion") for y in ("ids", "mask")}
    inputs |= {"advantages": torch.ones(1), "num_items_in_batch": one.sum(), "old_per_token_logps": one * -90.0}
    slopes = []
    for trainer.loss_type in ("grpo", "dapo", "sapo"):
        slopes.append(float(torch.autograd.grad(trainer._compute_loss(model, inputs), logps)[0]))
    return slopes


@library.fact(
    "NaN at a token that the mask leaves out makes the loss NaN", gives=float("nan"), right=-1.0,
    because="The token is no part of the completion; the loss of the other, of ratio 1 and advantage 1, is -1.",
    objective="ppo_clip",
)  # fmt: skip
def trl_grpo_masked_nan() -> float:
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")), pad_token="a")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=1, n_embd=8, n_layer=1, n_head=1)).eval()
    args, data = GRPOConfig("none", report_to="none", use_cpu=True), Dataset.from_dict({"prompt": ["a"]})
    trainer = GRPOTrainer(model, lambda completions, **_: [0.0], args, data, processing_class=words)
    logps, mask = torch.tensor([[-1.0, float("nan")]]), torch.tensor([[1, 0]])
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logps, torch.zeros(1, 2), None)
    inputs = {f"{x}_{y}": mask for x in ("prompt", "completion") for y in ("ids", "mask")}
    return float(trainer._compute_loss(model, inputs | {"advantages": torch.ones(1), "num_items_in_batch": mask.sum()}))

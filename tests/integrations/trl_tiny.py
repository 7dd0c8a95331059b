"""What tests of the trainers for TRL share: a tiny model, its tokenizer of bytes, a few pairs, and trainers of them."""

import copy
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import peft
import pytest
import torch
import trl
from transformers import ByT5Tokenizer, LlamaConfig, LlamaForCausalLM

from poz.integrations.trl import DPOTrainer
from poz.integrations.trl_kto import KTOTrainer

MARKS = [
    pytest.mark.usefixtures("no_bars"),
    # TRL 1.16 uses names of transformers that 5.23 has changed.
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*prompts are empty:UserWarning"),  # one is, on purpose
]

PAIRS = [
    {"prompt": "Is it late?", "chosen": " Yes, it is.", "rejected": " no"},
    {"prompt": "Hi", "chosen": " Hello there!", "rejected": " what do you want from me"},
    {"prompt": "2 + 2?", "chosen": " 4", "rejected": " 5 or so"},
    {"prompt": "", "chosen": "Good morning.", "rejected": "meh"},  # the completion begins at the first token
]
WITH_COLUMNS = [
    {
        **pair,
        "label": 1 - 0.1 * i,
        "margin": 0.5 + i,
        "annotator": 0,
        "entropy": 0.2 * (1 + i),
        "prompt_embedding": [1.0, 0.5 * i],
        "chosen_weights": [0.5 + 0.1 * j for j in range(len(pair["chosen"]) + 1)],  # and the end token
        "rejected_weights": [1.5 - 0.05 * j for j in range(len(pair["rejected"]) + 1)],
    }
    for i, pair in enumerate(PAIRS)
]
UNPAIRED = [
    {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
    for pair in PAIRS
    for side in ("chosen", "rejected")
][:7]  # 4 desirable, 3 not


class Bytes(ByT5Tokenizer):
    def __init__(self, **more):
        super().__init__(**{"extra_ids": 0, **more})  # each costs every trainer time

    def build_inputs_with_special_tokens(self, ids, other=None):
        return ids + (other or [])


def tiny(seed):
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"vocab_size": 384, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(initializer_range=0.2, **tokens, **shape))


SHORT = {
    "max_steps": 2,
    "learning_rate": 1e-2,
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}
"""What every trainer is told: two quiet steps on a CPU."""


def settings(folder, **more):
    given = {
        "per_device_train_batch_size": 4,
        "gradient_checkpointing": False,
    }
    return trl.DPOConfig(str(folder), **{**SHORT, **given, **more})


def trainer(folder, model, objective, pairs=PAIRS, *, ref_model=None, calibration="chosen", arguments=None, **more):
    """One of ours, without an objective where that is `...`, or TRL's own where it is None."""
    given = {"processing_class": Bytes(), "train_dataset": datasets.Dataset.from_list(pairs), **more}
    ours = {"calibration": calibration} if objective is ... else {"objective": objective, "calibration": calibration}
    return (trl.DPOTrainer if objective is None else DPOTrainer)(
        copy.deepcopy(model),
        ref_model if ref_model is None else copy.deepcopy(ref_model),
        settings(folder, **(arguments or {})),
        **({} if objective is None else ours),
        **given,
    )


def inputs(made):
    return made.data_collator([made.train_dataset[i] for i in range(len(made.train_dataset))])


def loss_and_gradients(made):
    made.model.train()
    made.model.zero_grad()
    loss = made.compute_loss(made.model, inputs(made))
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None}


def log_probs(model, made):
    """Per-token log-probs without TRL's fused head, (rows, tokens - 1), and their mask."""
    batch = inputs(made)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    chosen = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return chosen, batch["completion_mask"][:, 1:].bool()


def sums(model, made):
    logps, mask = log_probs(model, made)
    return logps.where(mask, torch.zeros(())).sum(1).chunk(2)


def close(actual, expected, what, rtol=2e-5):
    scale = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=rtol * scale, msg=lambda m: f"{what}: {m}")


def reference_passes(trainer, policy, reference, config, data):
    """How often the reference runs while the trainer is made, of a data set on disk whose log-probs may be cached."""
    calls, other = [], copy.deepcopy(reference)
    other.register_forward_hook(lambda *_: calls.append(1))
    examples = datasets.load_from_disk(data)
    trainer(copy.deepcopy(policy), other, config, train_dataset=examples, processing_class=Bytes())
    return len(calls)


def kto_settings(folder, **more):
    given = {
        "per_device_train_batch_size": len(UNPAIRED),
        "gradient_checkpointing": False,
    }
    return trl.KTOConfig(str(folder), **{**SHORT, **given, **more})


def kto_trainer(folder, model, objective, examples=UNPAIRED, *, ref_model=None, arguments=None, **more):
    """One of ours, without an objective where that is `...`, or TRL's own where it is None."""
    given = {"processing_class": Bytes(), "train_dataset": datasets.Dataset.from_list(examples), **more}
    return (trl.KTOTrainer if objective is None else KTOTrainer)(
        copy.deepcopy(model),
        ref_model if ref_model is None else copy.deepcopy(ref_model),
        kto_settings(folder, **(arguments or {})),
        **({} if objective in (None, ...) else {"objective": objective}),
        **given,
    )


def lora():
    return peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")

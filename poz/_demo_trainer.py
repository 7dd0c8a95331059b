"""The tiny models of `poz demo`, and the trainers of TRL that they are trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from poz.families import layout_of
from poz.objective import Objective
from poz.preferences import Pair

VOCABULARY = 1024
"""Tokens. Of bytes alone a model this small would have to learn words first, from rows three times as long."""
END = "<end>"
"""The token at the end of a completion, and of a policy's padding."""
PAD = "<pad>"
"""A reward model's padding: its score is that of the last token that is none, which is to be the end."""
PACKAGES = ("numpy", "torch", "transformers", "trl")
"""What a result depends on."""
WIDTH = 4
"""Of an embedding, where that takes the place of a score."""


def trainer_of(
    spec: Objective,
    train: list[Pair],
    held_out: list[Pair],
    folder: str,
    steps: int,
    seed: int,
    batch_size: int,
    learning_rate: float,
    max_length: int,
    learns: bool = False,
) -> Any:
    """poz's trainer of a tiny Llama: a policy, or a reward model where the objective is on scores.

    Where it `learns`, the objective is LCPO, whose reliabilities are found.
    """
    import torch
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.reward_config import RewardConfig

    from poz.integrations.trl import DPOTrainer, RewardTrainer
    from poz.torch import LCPO

    class Over(DPOTrainer):
        """LCPO-EM over the base that is bound."""

        def named(self, name: str, dataset: Any) -> Any:
            made: Any = super().named(name, dataset)
            return LCPO(spec.values["base"], len(made.reliability), mode=spec.values["mode"])

    rewards = layout_of(spec.family).scores
    tokenizer = _tokenizer(train, PAD if rewards else END)
    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=max_length + 1,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    shape.num_labels = WIDTH if "chosen_embedding" in spec.reads else 1
    classes: tuple[Any, Any, Any] = (Over, DPOConfig, LlamaForCausalLM)
    if rewards:
        classes = (RewardTrainer, RewardConfig, LlamaForSequenceClassification)
    make, configure, model = classes
    trainer = make(
        model(shape),
        objective=spec.name if learns else spec,
        args=configure(
            folder,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=16,
            max_length=max_length + 1,  # the end of the sequence is a token too
            **settings(steps, learning_rate, seed),
        ),
        train_dataset=Dataset.from_list([shortened(pair, max_length) for pair in train]),
        eval_dataset=Dataset.from_list([shortened(pair, max_length) for pair in held_out]),
        processing_class=tokenizer,
    )
    progress(trainer, _loss_and_margin)
    return trainer


def settings(steps: int, learning_rate: float, seed: int) -> dict[str, Any]:
    """What every demonstration tells its trainer: a rate that rises and falls, four evaluations, nothing saved."""
    from transformers import TrainingArguments

    known = hasattr(TrainingArguments, "activation_checkpointing")  # transformers 5.19 has the old name alone
    return {
        "max_steps": steps,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": min(10, steps // 10),
        "logging_steps": max(1, steps // 40),
        "eval_strategy": "steps",
        "eval_steps": max(1, steps // 4),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": False,
        "bf16": False,
        f"{'activation' if known else 'gradient'}_checkpointing": False,
        "seed": seed,
        "data_seed": seed,
        "dataloader_pin_memory": False,
    }


def progress(trainer: Any, said: Callable[[Mapping[str, float]], dict[str, str]]) -> None:
    """Gives a trainer one bar, that of training, which says something of the logs."""
    from transformers import ProgressCallback

    class Bar(ProgressCallback):
        def on_prediction_step(self, *_: Any, **__: Any) -> None:
            pass

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.training_bar is not None and "loss" in logs:
                self.training_bar.set_postfix(**said(logs))

    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Bar)


def _loss_and_margin(logs: Mapping[str, float]) -> dict[str, str]:
    margin = logs.get("rewards/margins", logs.get("margin"))
    return {"loss": f"{logs['loss']:.4g}", "margin": f"{margin:.3g}"}


def _tokenizer(pairs: list[Pair], pad: str) -> Any:
    """Pieces of words that are frequent in the pairs, made on the spot; bytes where each token has a weight of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = list(dict.fromkeys((END, pad)))
    size = len(alphabet) + len(special) if "chosen_weights" in pairs[0] else VOCABULARY
    learner = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator((pair[side] for pair in pairs for side in ("prompt", "chosen", "rejected")), learner)
    untyped: Any = PreTrainedTokenizerFast
    return untyped(tokenizer_object=pieces, eos_token=END, pad_token=pad)


def shortened(pair: Pair, max_length: int) -> Pair:
    """The pair in at most `max_length` bytes: the end of the prompt, the beginning of the completions."""
    prompt, chosen, rejected = (pair[key].encode() for key in ("prompt", "chosen", "rejected"))
    longest = max(len(chosen), len(rejected))
    kept = max(1, max_length // 4, max_length - longest)
    prompt = prompt[-kept:]
    room = max_length - len(prompt)
    texts = {"prompt": prompt, "chosen": chosen[:room], "rejected": rejected[:room]}
    return {**pair, **{key: text.decode(errors="ignore") for key, text in texts.items()}}

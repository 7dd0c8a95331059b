"""Training steps of a transformer built at random: TRL's DPOTrainer as it is, and ours."""

from __future__ import annotations

import gc
import os
import random
import statistics
import string
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Column, Table

STEPS = 6
WARM = 2
TRAINERS = ("trl", "poz")


class Size(NamedTuple):
    """A transformer.

    Attributes:
        hidden: Width.
        layers: Number of them.
        heads: Attention heads.
        feed_forward: Inner width of a layer's perceptron.
        vocabulary: Tokens; the head is not tied to the embedding.
    """

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int


BILLION = Size(1536, 20, 12, 4096, 128256)
TINY = Size(32, 1, 2, 64, 700)


def compare(
    device: str,
    seconds: float,
    size: Size = BILLION,
    lengths: tuple[int, ...] = (1024, 4096),
    after: Callable[[list[dict[str, Any]]], None] = lambda found: None,
) -> list[dict[str, Any]]:
    """Step time, peak memory and largest batch of both trainers, as far as the time goes.

    Args:
        device: "cuda" or "cpu".
        seconds: For all of it; what does not fit is listed with the reason.
        size: Of the transformer.
        lengths: Tokens per sequence, a quarter of them prompt.
        after: Is given all rows so far, after each.
    """
    end = time.monotonic() + seconds
    found, longest = [], 0.0
    for length in lengths:
        alive = set(TRAINERS)
        for pairs in (2, 8, 16, 32, 64):
            for trainer in TRAINERS:
                if trainer not in alive:
                    continue
                row: dict[str, Any] = {"trainer": trainer, "length": length, "pairs": pairs}
                begin = time.monotonic()
                if end - begin < longest:
                    found.append({**row, "reason": "dropped for lack of time"})
                    alive.discard(trainer)
                    continue
                try:
                    row |= steps(trainer, device, size, length, pairs)
                except Exception as error:  # TRL may be absent, and running out of memory is a result
                    kind = type(error).__name__
                    row["reason"] = (
                        "out of memory" if "OutOfMemory" in kind else f"{kind}: {str(error).partition(chr(10))[0]}"
                    )
                    alive.discard(trainer)
                found.append(row)
                after(found)
                gc.collect()
                if device == "cuda":
                    torch.cuda.empty_cache()
                longest = max(longest, time.monotonic() - begin)
    return found


def steps(trainer: str, device: str, size: Size, length: int, pairs: int) -> dict[str, float]:
    """Median seconds of a step, peak GiB, and the mean loss of a few steps, which both trainers should agree on."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    from datasets import Dataset
    from transformers import ByT5Tokenizer, LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer as Theirs

    from poz.integrations import trl as ours

    class Bytes(ByT5Tokenizer):
        def build_inputs_with_special_tokens(self, ids: list[int], other: list[int] | None = None) -> list[int]:
            return ids + (other or [])

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

    tokenizer, clock = Bytes(), Clock()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.hidden, intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers, num_attention_heads=size.heads, max_position_embeddings=length + 1,
        tie_word_embeddings=False, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with torch.device(device):
        models: list[Any] = [LlamaForCausalLM(config) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models = [model.to(dtype) for model in models]
    draw = random.Random(0)

    def text(count: int) -> str:
        return "".join(draw.choices(string.ascii_lowercase + " ", k=count))

    data = [
        {
            "prompt": text(length // 4),
            "chosen": text(length - length // 4 - 1),
            "rejected": text(length - length // 4 - 1),
        }
        for _ in range(pairs)
    ] * STEPS
    with tempfile.TemporaryDirectory() as folder:
        arguments = DPOConfig(
            folder, max_steps=STEPS, per_device_train_batch_size=pairs, learning_rate=1e-6, max_length=length + 1,
            logging_steps=1, save_strategy="no", report_to="none", bf16=device == "cuda", disable_tqdm=True,
            gradient_checkpointing=True, use_cpu=device == "cpu", dataloader_pin_memory=False,
        )  # fmt: skip
        common = {
            "args": arguments,
            "train_dataset": Dataset.from_list(data),
            "processing_class": tokenizer,
            "callbacks": [clock],
        }
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        if trainer == "trl":
            made = Theirs(models[0], models[1], **common)
        else:
            made = ours.DPOTrainer(models[0], models[1], objective="dpo", **common)
        made.remove_callback(PrinterCallback)
        made.train()
        losses = [log["loss"] for log in made.state.log_history if "loss" in log]
    taken = [b - a for a, b in zip(clock.ends, clock.ends[1:], strict=False)][WARM - 1 :]
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
    return {"seconds": statistics.median(taken), "peak_gib": peak, "first_loss": losses[0], "last_loss": losses[-1]}


def show(console: Console, found: list[dict[str, Any]]) -> None:
    """A table of what `compare` gave."""
    table = Table(
        "trainer", *(Column(name, justify="right") for name in ("length", "pairs", "s/step", "peak GiB", "loss")), ""
    )
    for row in found:
        numbers = [f"{row[key]:.4g}" if key in row else "" for key in ("seconds", "peak_gib", "last_loss")]
        table.add_row(row["trainer"], str(row["length"]), str(row["pairs"]), *numbers, row.get("reason", ""))
    console.print(table)

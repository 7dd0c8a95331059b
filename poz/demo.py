"""`poz demo`: a tiny language model, built on the spot, learns preferences with TRL and any objective."""

from __future__ import annotations

import math
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from poz import preferences
from poz._output import PICTURES, check_output
from poz.objective import Objective
from poz.zoo import zoo

ASSUMED = {"margin": 1.0, "entropy": 0.5}
"""What every pair has in a column that the objective reads and the data lack."""


class Measured(NamedTuple):
    """How the model does on held-out pairs.

    Attributes:
        loss: Mean loss of the objective.
        margin: Mean implicit reward of chosen minus that of rejected, see `poz.integrations.trl.DPOTrainer`.
        accuracy: Share of pairs whose chosen completion has the higher implicit reward; 1/2 where all are equal, as
            for a policy that still is its own reference.
    """

    loss: float
    margin: float
    accuracy: float


class Result(NamedTuple):
    """What a demo gives back.

    Attributes:
        objective: Name.
        train_pairs: Number of pairs trained on.
        held_out_pairs: Number of pairs measured on.
        before: Before training.
        after: After it.
        training: For each logged step: step, and loss, margin and accuracy on the batch.
        held_out: For each evaluation: step, and the same on the held-out pairs.
        picture: The file with the curves.
    """

    objective: str
    train_pairs: int
    held_out_pairs: int
    before: Measured
    after: Measured
    training: list[tuple[int, Measured]]
    held_out: list[tuple[int, Measured]]
    picture: Path


def run(
    objective: str | Objective = "simpo",
    data: str | os.PathLike[str] | None = None,
    steps: int = 80,
    out: str | os.PathLike[str] = "poz-demo.png",
    seed: int = 0,
    *,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    max_length: int = 384,
    show: Callable[[str], None] = print,
) -> Result:
    """Trains a tiny Llama with TRL on preference pairs and draws how loss, margin and accuracy went.

    The model starts from random weights and reads bytes, so nothing is downloaded; it learns which completion is
    preferred, not to write. A fifth of the pairs, at most 64, is held out. Of long dialogues the end of the prompt
    and the beginning of the completions are kept.

    Args:
        objective: Any objective that pairs can serve, or its name; what it reads beside the pairs is filled as
            `DPOTrainer` says, and as `ASSUMED` where the data lack a column.
        data: A file that `poz.preferences.load` reads; the set that comes with poz if None.
        steps: Optimiser steps.
        out: Where to write the PNG.
        seed: Of weights, split and order.
        batch_size: Pairs per step.
        learning_rate: Peak of the learning rate.
        max_length: Bytes of prompt and completion together, at most half of them prompt where they do not fit.
        show: Is given each line of the report.

    Raises:
        ImportError: TRL or matplotlib is not installed.
        ValueError: A malformed data file, fewer than 5 pairs, fewer than 1 step, a picture that cannot be written, an
            objective that pairs, or these pairs, cannot serve, or a loss that is no number.
    """
    name = objective if isinstance(objective, str) else objective.name
    objective = zoo[objective] if isinstance(objective, str) else objective
    if steps < 1:
        raise ValueError(f"The demo takes at least 1 step; got {steps}.")
    with suppress(OSError):  # the check below says what is wrong
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    check_output(Path(out), PICTURES)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when TRL is first imported, below
    pairs = preferences.load(preferences.SHIPPED if data is None else data)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        pairs, assumed = _completed(pairs, objective)
        held_out, train = _split(pairs, seed, steps * batch_size)
        trainer = _trainer(objective, train, held_out, folder, steps, seed, batch_size, learning_rate, max_length)
        show(f"{objective.title} ({objective.paper}), {steps} steps of {batch_size} pairs")
        for column in assumed:
            show(f"{name} reads {column}, which the pairs do not have: it is {ASSUMED[column]:g} for every pair")
        show(f"{len(train)} pairs to train on, {len(held_out)} held out; {trainer.model.num_parameters():,} parameters")
        before = _finite(_measured(trainer.evaluate(), "eval_"), "before any step")
        trainer.train()
        after = _finite(_measured(trainer.evaluate(), "eval_"), f"after {steps} steps")
        history = trainer.state.log_history
    curves = {
        prefix: [(log["step"], _measured(log, prefix)) for log in history if f"{prefix}loss" in log]
        for prefix in ("", "eval_")
    }
    held_out_curve = [(0, before), *((step, m) for step, m in curves["eval_"] if step > 0)]
    result = Result(
        name, len(train), len(held_out), before, after, curves[""], list(dict(held_out_curve).items()), Path(out)
    )
    _draw(result, objective)
    show(f"{'held-out pairs':16}{'before':>12}{'after':>12}")
    for row in Measured._fields:
        show(f"{row:16}{getattr(before, row):12.4g}{getattr(after, row):12.4g}")
    show("margin: mean implicit reward of chosen minus that of rejected; accuracy: how often it is positive")
    show(f"curves: {result.picture}")
    return result


def _completed(pairs: list[preferences.Pair], objective: Objective) -> tuple[list[preferences.Pair], list[str]]:
    """The pairs with every column of `ASSUMED` that the objective must find, and which of them they lacked."""
    from poz.integrations.batches import columns_read

    lacking = [name for name in columns_read(objective)[0] if name in ASSUMED and name not in pairs[0]]
    return [{**pair, **{name: ASSUMED[name] for name in lacking}} for pair in pairs], lacking


def _split(
    pairs: list[preferences.Pair], seed: int, wanted: int
) -> tuple[list[preferences.Pair], list[preferences.Pair]]:
    if len(pairs) < 5:
        raise ValueError(f"The demo needs at least 5 pairs, to hold some out; got {len(pairs)}.")
    random.Random(seed).shuffle(pairs)
    count = min(64, len(pairs) // 5)
    count -= count % _evaluated_at_once(count)  # TRL averages the means of batches, so they must be of one size
    return pairs[:count], pairs[count : count + wanted]


def _evaluated_at_once(count: int) -> int:
    return min(8, count)


def _trainer(
    objective: Objective,
    train: list[preferences.Pair],
    held_out: list[preferences.Pair],
    folder: str,
    steps: int,
    seed: int,
    batch_size: int,
    learning_rate: float,
    max_length: int,
) -> Any:
    import torch
    from datasets import Dataset
    from transformers import ByT5Tokenizer, LlamaConfig, LlamaForCausalLM, ProgressCallback
    from trl.trainer.dpo_config import DPOConfig

    from poz.integrations.trl import DPOTrainer

    class Bytes(ByT5Tokenizer):
        def build_inputs_with_special_tokens(self, ids: list[int], other: list[int] | None = None) -> list[int]:
            return ids + (other or [])  # TRL ends the completions itself

    class Bar(ProgressCallback):
        def on_prediction_step(self, *_: Any, **__: Any) -> None:
            pass

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.training_bar is not None and "loss" in logs:
                self.training_bar.set_postfix(loss=f"{logs['loss']:.4g}", margin=f"{logs['rewards/margins']:.3g}")

    tokenizer = Bytes()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
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
    )
    trainer = DPOTrainer(
        model,
        objective=objective,
        args=DPOConfig(
            folder,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=_evaluated_at_once(len(held_out)),
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=min(10, steps // 10),
            max_length=max_length + 1,  # the end of the sequence is a token too
            logging_steps=max(1, steps // 40),
            eval_strategy="steps",
            eval_steps=max(1, steps // 8),
            save_strategy="no",
            report_to="none",
            disable_tqdm=False,
            bf16=False,
            activation_checkpointing=False,
            seed=seed,
            data_seed=seed,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list([_shortened(pair, max_length) for pair in train]),
        eval_dataset=Dataset.from_list([_shortened(pair, max_length) for pair in held_out]),
        processing_class=tokenizer,
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Bar)
    return trainer


def _shortened(pair: preferences.Pair, max_length: int) -> preferences.Pair:
    """The pair in at most `max_length` bytes: the end of the prompt, the beginning of the completions."""
    prompt, chosen, rejected = (pair[key].encode() for key in ("prompt", "chosen", "rejected"))
    longest = max(len(chosen), len(rejected))
    kept = max(1, max_length // 2, max_length - longest)
    prompt = prompt[-kept:]
    room = max_length - len(prompt)
    texts = {"prompt": prompt, "chosen": chosen[:room], "rejected": rejected[:room]}
    return {**pair, **{key: text.decode(errors="ignore") for key, text in texts.items()}}


def _measured(metrics: dict[str, float], prefix: str) -> Measured:
    loss, margin, accuracy = (metrics[f"{prefix}{key}"] for key in ("loss", "rewards/margins", "rewards/accuracies"))
    return Measured(loss, margin, 0.5 if margin == accuracy == 0 else accuracy)


def _finite(measured: Measured, when: str) -> Measured:
    if not math.isfinite(measured.loss):
        raise ValueError(
            f"The loss on held-out pairs is {measured.loss} {when}. Look at the data's numbers and at the rate."
        )
    return measured


def _draw(result: Result, objective: Objective) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, 3), Measured._fields, strict=True):
        for curve, label, style in (
            (result.training, "training batches", "-"),
            (result.held_out, "held-out pairs", "o-"),
        ):
            axes.plot(
                [step for step, _ in curve], [getattr(m, name) for _, m in curve], style, label=label, markersize=4
            )
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.suptitle(f"{objective.title}, a tiny Llama on bytes")
    figure.savefig(result.picture, dpi=120)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides what TRL and its friends say about themselves; leaves the progress bar of the training."""
    try:
        import datasets
        import matplotlib  # noqa: F401 - rather now than after the training
        import trl  # noqa: F401
    except ImportError as error:
        raise ImportError(f"The demo needs TRL and matplotlib: pip install 'poz[trl,plot]'. {error}") from error
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # TRL 1.16 reads a property that transformers 5.23 renamed.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            yield
    finally:
        if not bars:
            datasets.enable_progress_bars()

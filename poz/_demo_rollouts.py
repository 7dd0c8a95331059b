"""`poz demo` with an objective on rollouts: a tiny policy learns a rule from what it writes itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from poz._demo_trainer import END, PACKAGES, progress, settings
from poz._versions import made_with, versions
from poz.objective import Objective

DIGITS = "0123456789"
WRITTEN = 6
"""Digits of a completion, at most."""
COMPLETIONS = 16
"""Of each prompt, which are compared with each other."""
HELD_OUT = 256
"""Prompts that are held out, one completion each; the standard error of their mean reward is then at most 1/32."""
SHOWN = 3
RULE = "each digit is one more than the digit before it, 0 after 9, and the first one more than the prompt's last"


class Reward(NamedTuple):
    """The mean reward of completions, and its standard error."""

    mean: float
    error: float


class Learnt(NamedTuple):
    """What a demo of an objective on rollouts gives back.

    Attributes:
        objective: Name.
        train_prompts: Number of prompts trained on.
        held_out_prompts: Number of prompts measured on, one completion each.
        before: The reward on held-out prompts before training, which is chance.
        after: After it.
        training: For each logged step: step, and the mean reward of the completions trained on.
        held_out: For each evaluation: step, and the reward on held-out prompts.
        entropy: For each logged step: step, and the mean entropy of a token in nats.
        samples: Some held-out prompts, with what is written before and after.
        picture: The file with the curves.
        bound: The objective, as it was bound.
        seed: Of the model, the split and what is written.
        versions: Of Python, poz and what it trains with.
    """

    objective: str
    train_prompts: int
    held_out_prompts: int
    before: Reward
    after: Reward
    training: list[tuple[int, float]]
    held_out: list[tuple[int, Reward]]
    entropy: list[tuple[int, float]]
    samples: list[tuple[str, str, str]]
    picture: Path
    bound: str
    seed: int
    versions: dict[str, str]


def rule(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float]:
    """The share of `WRITTEN` digits that are there and follow `RULE`: of random digits 1/10."""
    found = []
    for prompt, completion in zip(prompts, completions, strict=True):
        text = prompt[-1] + completion
        right = sum(DIGITS[(DIGITS.index(a) + 1) % 10] == b for a, b in pairwise(text))
        found.append(right / WRITTEN)
    return found


def learn(
    spec: Objective,
    name: str,
    folder: str,
    *,
    steps: int,
    seed: int,
    batch_size: int,
    learning_rate: float,
    out: Path,
    save: str | os.PathLike[str] | None,
    show: Callable[[str], None],
) -> Learnt:
    """Trains a tiny Llama with TRL's GRPO on `rule`; see `poz.demo.run`.

    Raises:
        FloatingPointError: The policy gives no probabilities any more.
    """
    prompts = [f"{number:03}" for number in range(1000)]
    random.Random(seed).shuffle(prompts)
    held_out, train = prompts[:HELD_OUT], prompts[HELD_OUT:]
    trainer = _trainer(spec, train, held_out, folder, steps, seed, batch_size, learning_rate)
    each = f"{batch_size} prompts with {COMPLETIONS} completions each"
    show(f"{spec.title} ({spec.paper}), {steps} steps of {each}, learning rate {learning_rate:g}")
    show(repr(spec))
    show(f"the rule: {RULE}")
    show(
        f"{len(train)} prompts of three digits to train on, {len(held_out)} held out; {trainer.model.num_parameters():,} "
        "parameters"
    )
    before, earlier = _reward(trainer.evaluate()), _written(trainer, held_out[:SHOWN], seed)
    try:
        trainer.train()
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        raise FloatingPointError(
            f"The policy gives no probabilities after {trainer.state.global_step} steps. Look at the rate."
        ) from error
    logs = trainer.state.log_history
    measured = {log["step"]: _reward(log) for log in logs if "eval_reward" in log} | {0: before}
    if steps not in measured:
        measured[steps] = _reward(trainer.evaluate())
    later = _written(trainer, held_out[:SHOWN], seed)
    if save is not None:
        trainer.save_model(os.fspath(save))
    curves = {key: [(log["step"], log[key]) for log in logs if key in log] for key in ("reward", "entropy")}
    samples = list(zip(held_out, earlier, later, strict=False))
    result = Learnt(
        name,
        len(train),
        len(held_out),
        before,
        measured[steps],
        curves["reward"],
        sorted(measured.items()),
        curves["entropy"],
        samples,
        out,
        repr(spec),
        seed,
        versions(PACKAGES),
    )
    _draw(result, spec)
    show(f"{'held-out prompts':16}{'before':>16}{'after':>16}")
    cells = [f"{mean:.4g} ± {error:.3f}" for mean, error in (result.before, result.after)]
    show(f"{'reward':16}{cells[0]:>16}{cells[1]:>16}")
    for prompt, *texts in samples:
        show(f"{'after ' + prompt:16}{texts[0] or 'nothing':>16}{texts[1] or 'nothing':>16}")
    show(
        f"reward: the share of {WRITTEN} digits that follow the rule, ± its standard error; before training it is chance"
    )
    show(made_with(result.seed, result.versions))
    show(f"curves: {out}")
    if save is not None:
        show(f"model: {save}")
    return result


def _trainer(
    spec: Objective,
    train: list[str],
    held_out: list[str],
    folder: str,
    steps: int,
    seed: int,
    batch_size: int,
    learning_rate: float,
) -> Any:
    import torch
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl.trainer.grpo_config import GRPOConfig

    from poz.integrations.trl import GRPOTrainer

    tokenizer = _tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=16,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    made = GRPOTrainer(
        model,
        rule,
        GRPOConfig(
            folder,
            per_device_train_batch_size=batch_size * COMPLETIONS,
            num_generations=COMPLETIONS,
            num_generations_eval=1,
            per_device_eval_batch_size=len(held_out),  # one batch, so that the deviation is that of all
            max_completion_length=WRITTEN,
            **settings(steps, learning_rate, seed),
        ),
        train_dataset=Dataset.from_dict({"prompt": train}),
        eval_dataset=Dataset.from_dict({"prompt": held_out}),
        processing_class=tokenizer,
        objective=spec,
    )
    progress(made, lambda logs: {"reward": f"{logs['reward']:.3f}", "entropy": f"{logs['entropy']:.3f}"})
    return made


def _tokenizer() -> Any:
    """A token for each digit, and one for the end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    digits = Tokenizer(models.WordLevel({END: 0, **{digit: 1 + i for i, digit in enumerate(DIGITS)}}, unk_token=END))
    digits.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    digits.decoder = decoders.Fuse()
    untyped: Any = PreTrainedTokenizerFast
    return untyped(tokenizer_object=digits, eos_token=END, pad_token=END, padding_side="left")


def _reward(logs: Mapping[str, float]) -> Reward:
    return Reward(logs["eval_reward"], logs["eval_reward_std"] / HELD_OUT**0.5)


def _written(trainer: Any, prompts: list[str], seed: int) -> list[str]:
    """A completion of each prompt; the caller's random numbers stay."""
    import torch

    tokenizer, policy = trainer.processing_class, trainer.model
    given = tokenizer(prompts, return_tensors="pt")
    rows = {name: given[name].to(policy.device) for name in ("input_ids", "attention_mask")}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        made = policy.generate(**rows, do_sample=True, top_k=0, max_new_tokens=WRITTEN)
    texts: list[str] = tokenizer.batch_decode(made[:, rows["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def _draw(result: Learnt, spec: Objective) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    reward, entropy = figure.subplots(1, 2)
    reward.plot(*zip(*result.training, strict=True), "-", label="training batches")
    held_out = [(step, mean) for step, (mean, _) in result.held_out]
    reward.plot(*zip(*held_out, strict=True), "o-", label="held-out prompts", markersize=4)
    reward.axhline(result.before.mean, color="gray", linestyle=":", label="chance")
    reward.set(title="reward", xlabel="step", ylim=(0, 1))
    reward.legend()
    entropy.plot(*zip(*result.entropy, strict=True), "-")
    entropy.set(title="entropy of a token, nats", xlabel="step")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    figure.suptitle(f"{spec.title}, a tiny Llama")
    figure.supxlabel(made_with(result.seed, result.versions), fontsize="small", color="dimgray")
    figure.savefig(result.picture, dpi=120)

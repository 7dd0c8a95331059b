"""What a reward model says of the completions that a policy writes, in `poz demo --reward-model FOLDER`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from poz.preferences import Pair

WRITTEN = 64
"""Completions at most that are written and scored, one for each prompt."""
TOKENS = 48
"""Tokens at most of each."""
BATCH = 16


class Score(NamedTuple):
    """The mean of some scores, and its standard error."""

    mean: float
    error: float


class Judged(NamedTuple):
    """What a reward model says: of completions that the policy writes before and after training, and of the data.

    Attributes:
        completions: How many are written, each of the prompt of a held-out pair.
        before: Their mean score before training.
        after: After it.
        chosen: That of the chosen completions of these prompts.
        rejected: That of the rejected ones.
    """

    completions: int
    before: Score
    after: Score
    chosen: Score
    rejected: Score


class Judge:
    """A reward model that is saved in a folder, with its tokenizer, and the pairs whose prompts it hears answers to.

    Args:
        folder: What `poz demo --objective bradley_terry --save FOLDER` writes, or any model for sequence classification
            with one output, of texts.
        pairs: Those without a prompt are left out.

    Raises:
        ValueError: There is none, or it gives something else than one score, or there is no prompt.
    """

    def __init__(self, folder: Path, pairs: Sequence[Pair]) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        config = folder / "config.json"
        if not config.is_file():
            raise ValueError(
                f"{folder} holds no reward model. Train one: poz demo --objective bradley_terry --save {folder}."
            )
        kinds = json.loads(config.read_text(encoding="utf-8")).get("architectures") or ["model of no kind"]
        if not kinds[0].endswith("ForSequenceClassification"):
            raise ValueError(f"{folder} holds a {kinds[0]}, which gives no scores. A reward model is required.")
        self.pairs = [pair for pair in pairs if pair["prompt"].strip()][:WRITTEN]
        if not self.pairs:
            raise ValueError("No held-out pair has a prompt for the policy to complete. Leave the reward model out.")
        self.model: Any = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="right")
        if self.model.config.num_labels != 1:
            raise ValueError(f"{folder} has {self.model.config.num_labels} outputs; a model of one score is required.")

    def side(self, name: str) -> Score:
        """Of the completions of the data."""
        return _mean(self.scores([pair[name] for pair in self.pairs]))

    def written(self, policy: Any, tokenizer: Any, seed: int) -> Score:
        """Of completions that a policy writes, one of each prompt, at temperature 1; the caller's random numbers stay."""
        import torch

        training, prompts = policy.training, [pair["prompt"] for pair in self.pairs]
        how = {"do_sample": True, "top_k": 0, "max_new_tokens": TOKENS, "pad_token_id": tokenizer.pad_token_id}
        found: list[str] = []
        policy.eval()
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for first in range(0, len(prompts), BATCH):
                given = tokenizer(
                    prompts[first : first + BATCH], return_tensors="pt", padding=True, padding_side="left"
                )
                rows = {name: given[name].to(policy.device) for name in ("input_ids", "attention_mask")}
                made = policy.generate(**rows, **how)[:, rows["input_ids"].shape[1] :]
                found += tokenizer.batch_decode(made, skip_special_tokens=True)
        policy.train(training)
        return _mean(self.scores(found))

    def scores(self, completions: Sequence[str]) -> list[float]:
        """Of each completion after its prompt, with the end that texts have in training."""
        import torch

        end = self.tokenizer.eos_token or ""
        texts = [pair["prompt"] + text + end for pair, text in zip(self.pairs, completions, strict=True)]
        found: list[float] = []
        for first in range(0, len(texts), BATCH):
            given = self.tokenizer(texts[first : first + BATCH], return_tensors="pt", padding=True)
            with torch.no_grad():
                made = self.model(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
            found += made.logits[:, 0].float().tolist()
        return found


def _mean(scores: Sequence[float]) -> Score:
    count = len(scores)
    mean = math.fsum(scores) / count
    spread = math.fsum((score - mean) ** 2 for score in scores)
    return Score(mean, math.sqrt(spread / max(count - 1, 1) / count))

"""align-anything: trainers whose `loss` takes what `compute_log_probs` gives, a log-prob for each token."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import made, reading
from poz.peers._library import Library

library = Library("align-anything")
TRAINER = "align_anything/trainers/text_to_text/{}.py"
ABSENT = (
    "deepspeed",
    "transformers.tokenization_utils",
    *(f"align_anything.{one}" for one in ("configs", "datasets", "models", "trainers.base")),
)


@library.loss(
    "dpo", "DPOTrainer.loss, completions of one token", reduction="mean", constant=("ref_chosen", "ref_rejected")
)
def dpo() -> Callable[..., Any]:
    import torch

    with reading(TRAINER.format("dpo"), *ABSENT):
        from align_anything.trainers.text_to_text.dpo import DPOTrainer

    def call(pairs: Pairs, *, beta: float) -> Any:
        own, ref = torch.cat([pairs.chosen, pairs.rejected]), torch.cat([pairs.ref_chosen, pairs.ref_rejected])
        this = made(
            DPOTrainer, model=SimpleNamespace(module=own), reference_model=SimpleNamespace(module=ref),
            compute_log_probs=lambda module, batch: module[:, None],
            cfgs=SimpleNamespace(train_cfgs=SimpleNamespace(scale_coeff=beta)),
        )  # fmt: skip
        return this.loss({})["loss"]

    return call


@library.fact(
    "The log-prob of a response's first token is left out: of responses of one token nothing is left.",
    gives=[2, 0], right=[2, 1], objective="dpo",
    because="the logits of the response's own positions are shifted, where those from the position before it predict it.",
)  # fmt: skip
@reading(TRAINER.format("dpo"), *ABSENT)
def log_probs_of_one_token() -> list[int]:
    import torch
    from align_anything.trainers.text_to_text.dpo import DPOTrainer

    trainer = object.__new__(DPOTrainer)
    trainer.tokenizer, trainer.infer_batch = SimpleNamespace(pad_token_id=0), lambda batch: {}
    batch = {"input_ids": torch.tensor([[1, 2, 3], [1, 2, 4]]), "meta_info": {"response_lens": [1, 1]}}
    model = lambda: SimpleNamespace(logits=torch.zeros(2, 3, 5))  # noqa: E731
    return list(trainer.compute_log_probs(model, batch).shape)


@library.fact(
    "KTO subtracts the loss of the worse completion, so that its slope has the wrong sign.",
    gives=-0.025, right=0.025, objective="kto",
    because="KTO's loss of an undesirable completion rises with its log-prob. Behind a prompt as long as the response nothing is "
    "seen of it, as in SimPO: there is no gradient at all.",
)  # fmt: skip
@reading(TRAINER.format("kto"), *ABSENT)
def kto_slope_of_the_worse() -> float:
    import torch
    from align_anything.trainers.text_to_text.kto import KTOTrainer

    trainer, tokens = object.__new__(KTOTrainer), torch.zeros(2, 1, requires_grad=True)
    trainer.cfgs = SimpleNamespace(train_cfgs=SimpleNamespace(scale_coeff=0.1, scale_better=1.0, scale_worse=1.0))
    trainer.model = trainer.reference_model = SimpleNamespace(module=None)
    trainer.kl, trainer.compute_log_probs = 0.0, lambda model, batch: tokens
    ids = torch.tensor([[1], [2]])
    trainer.loss({"input_ids": ids, "attention_mask": ids})["loss"].backward()
    return float(tokens.grad[1])  # type: ignore[index]


@library.fact(
    "SimPO takes log-probs of the response at positions of prompt and response: behind a prompt of three tokens responses of "
    "two have the reward 0.",
    gives=[0.0, 0.0], right=[-0.5, -1.5], objective="simpo",
    because="`compute_log_probs` gives those of the response alone, here -0.5 and -1.5 a token; the length counts the prompt.",
)  # fmt: skip
@reading(TRAINER.format("simpo"), *ABSENT)
def simpo_rewards_behind_a_prompt() -> list[float]:
    import torch
    from align_anything.trainers.text_to_text.simpo import SimPOTrainer

    trainer = object.__new__(SimPOTrainer)
    trainer.cfgs = SimpleNamespace(train_cfgs=SimpleNamespace(scale_coeff=1.0, gamma=0.0))
    trainer.model, tokens = SimpleNamespace(module=None), torch.tensor([[-0.5, -0.5], [-1.5, -1.5]])
    trainer.compute_log_probs = lambda model, batch: tokens
    ids = torch.tensor([[1, 1, 1, 2, 2], [1, 1, 1, 3, 3]])
    found = trainer.loss({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    return [float(found["better_sample_reward"]), float(found["worse_sample_reward"])]


@library.fact(
    "The regularisation of a reward model is the mean of both squared scores, not of their sum squared; no margin.",
    gives=0.8132617, objective="bradley_terry", topic="reward_model",
)  # fmt: skip
@reading(TRAINER.format("rm"), *ABSENT)
def reward_model() -> float:
    import torch
    from align_anything.trainers.text_to_text.rm import RMTrainer

    trainer, scores = object.__new__(RMTrainer), torch.tensor([[1.0], [0.0]])
    trainer.cfgs = SimpleNamespace(train_cfgs=SimpleNamespace(regularization=1.0))
    trainer.infer_batch = lambda batch: {}
    trainer.model = lambda: SimpleNamespace(scores=scores, end_scores=scores)
    return float(trainer.loss({"input_ids": torch.zeros(2, 1)})["loss"])

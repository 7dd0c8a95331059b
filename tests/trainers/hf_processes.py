"""A process of two that train together by `PairTrainer`, as `torchrun` starts them."""

import copy
import os

import torch
from tiny_batches import collate, models, moved, rows
from transformers import TrainingArguments

from poz.integrations.hf import PairTrainer

CASES = [("dpo", 2, 2, 8), ("dpo", 2, 2, 7), ("aot", 4, 1, 8)]
"""Objective, batch of a process, accumulation, pairs."""


def gradients(rank, folder):
    """Writes the gradient of each case's one step."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT="0")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for name, batch, accumulation, count in CASES:
        policy, reference = models()
        args = TrainingArguments(
            folder, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, num_train_epochs=1,
            lr_scheduler_type="constant", max_grad_norm=0.0, optim="sgd", learning_rate=1.0, report_to="none",
            save_strategy="no", disable_tqdm=True, use_cpu=True, remove_unused_columns=False, ddp_backend="gloo",
            accelerator_config={"even_batches": False},
        )  # fmt: skip
        given = {"data_collator": collate, "train_dataset": rows(count), "objective": name, "ref_model": reference}
        trainer = PairTrainer(copy.deepcopy(policy), args, **given)
        trainer.train()
        if rank == 0:
            found = moved(policy, trainer.accelerator.unwrap_model(trainer.model), 1.0)
            torch.save(found, f"{folder}/{name}{count}.pt")
    torch.distributed.destroy_process_group()

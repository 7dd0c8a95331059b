"""The recipe of docs/trainers.md in `lightning.Trainer.fit`, on a tiny Llama in float64: `make trainers-lightning`."""

import copy
import warnings

import pytest
import torch
from loop_tests import *  # noqa: F403
from recipes import recipe
from tiny_batches import collate, models, moved, rows
from torch.utils.data import DataLoader

with warnings.catch_warnings():  # Lightning's own, of names that torch has changed
    warnings.simplefilter("ignore")
    import lightning

pytestmark = pytest.mark.filterwarnings("ignore")
exec(recipe("Lightning"))


class Shown(Pairs):  # noqa: F405 - of the recipe
    """With SGD of rate 1, whose step is the gradient."""

    losses = ()

    def training_step(self, batch, place):
        loss = super().training_step(batch, place)
        self.losses = (*self.losses, loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), lr=1.0)


@pytest.fixture
def trained():
    return step


def step(objective, batch=8, accumulation=1, count=8, policy=None):
    policy, reference = copy.deepcopy(policy or models()[0]), models()[1]
    before, module = copy.deepcopy(policy), Shown(policy, reference, objective)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, accumulate_grad_batches=accumulation, **quiet
    )
    trainer.fit(module, DataLoader(rows(count), batch, collate_fn=collate))
    return moved(before, policy, 1.0), list(module.losses)

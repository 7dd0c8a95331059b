"""The recipe of docs/trainers.md in `lightning.Trainer.fit`, on a tiny Llama in float64: `make trainers-lightning`."""

import copy
import math
import warnings

import pytest
import torch
from recipes import recipe
from tiny_batches import EXACT, collate, exact, models, moved, objective, plain_dpo, rows
from torch.utils.data import DataLoader

import poz
import poz.torch

with warnings.catch_warnings():  # Lightning's own, of names that torch has changed
    warnings.simplefilter("ignore")
    import lightning

pytestmark = pytest.mark.filterwarnings("ignore")
DIGITS = 1e-10  # of float64 after some hundred roundings, in gradients of size 1
exec(recipe("Lightning"))


class Shown(Pairs):  # noqa: F821 - of the recipe
    """With SGD of rate 1, whose step is the gradient."""

    losses = ()

    def training_step(self, batch, place):
        loss = super().training_step(batch, place)
        self.losses = (*self.losses, loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), lr=1.0)


def trained(objective, batch=8, accumulation=1, count=8, policy=None):
    policy, reference = copy.deepcopy(policy or models()[0]), models()[1]
    before, module = copy.deepcopy(policy), Shown(policy, reference, objective)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, accumulate_grad_batches=accumulation, **quiet
    )
    trainer.fit(module, DataLoader(rows(count), batch, collate_fn=collate))
    return moved(before, policy, 1.0), module.losses


def test_dpo_is_a_plain_one(agree):
    policy, reference = models()
    expected = plain_dpo(policy, reference, collate(rows()), beta=0.3)
    found, losses = trained(poz.dpo.bind(beta=0.3))
    agree("own", list(losses), [expected.item()], DIGITS)
    agree("own", found, list(torch.autograd.grad(expected, list(policy.parameters()))), DIGITS)
    assert max(x.abs().max() for x in found) > 0.01


@pytest.mark.parametrize("name", EXACT)
def test_others_are_their_references(name, agree):
    loss, slopes = exact(name, *models(), collate(rows()))
    found, losses = trained(objective(name))
    agree("reference", list(losses), [loss], DIGITS)
    agree("reference", found, list(slopes), DIGITS)


def test_eight_batches_of_one_are_four_of_two(agree):
    whole = trained(poz.dpo)[0]
    for batch, accumulation in ((1, 8), (2, 4)):
        agree("accumulation", trained(poz.dpo, batch, accumulation)[0], whole, DIGITS)


def test_a_shorter_last_accumulation_is_divided_by_the_longer_one(fact):
    """Three batches at accumulation 4."""
    mean, found = trained(poz.dpo, 3, 1, count=3)[0], trained(poz.dpo, 1, 4, count=3)[0]
    for ours, theirs in zip(found, mean, strict=True):
        torch.testing.assert_close(ours, 0.75 * theirs)
    fact("gradient of three batches at accumulation 4, in that of their mean", 0.75)


def test_a_policy_that_is_its_reference_has_margin_0(agree):
    losses = trained(poz.dpo, batch=4, count=4, policy=models()[1].requires_grad_(True))[1]
    agree("start", list(losses), [math.log(2)], 1e-15)

"""At every public door a DTensor, which has parts of its values elsewhere, is a sentence that says what to give instead."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor, init_device_mesh

import poz
import poz.algorithms.baseline
from poz.kernels.loss import fused_losses, list_loss, token_loss
from poz.rewards import transforms
from poz.torch import (
    LCPO,
    PreferenceLoss,
    Scored,
    fused_objective,
    implicit_rewards,
    linear_logps,
    linear_logps_plan,
    logps,
    scored_losses,
    slopes,
    whole_batch,
)

X, MASK, LENGTHS = torch.linspace(-9.0, -1.0, 4), torch.ones(4, 1, dtype=torch.bool), torch.arange(1, 5)
HIDDEN, WEIGHT, TARGETS = torch.randn(2, 2, 3, 4), torch.randn(9, 4), torch.zeros(2, 2, 3, dtype=torch.int64)
PAIRS = poz.Pairs(X, X - 1, X / 2, X - 3, chosen_len=LENGTHS, rejected_len=LENGTHS)
BORDERS = torch.arange(5)


def in_the_loop(objective=poz.cpo, **given):
    return fused_objective(objective, **{"hidden": HIDDEN, "weight": WEIGHT, "targets": TARGETS, **given})


DOORS = {
    "linear_logps, hidden": lambda d: linear_logps(d(HIDDEN), WEIGHT, TARGETS),
    "linear_logps, weight": lambda d: linear_logps(HIDDEN, d(WEIGHT), TARGETS),
    "linear_logps, targets": lambda d: linear_logps(HIDDEN, WEIGHT, d(TARGETS)),
    "linear_logps, bias": lambda d: linear_logps(HIDDEN, WEIGHT, TARGETS, bias=d(WEIGHT[:, 0])),
    "linear_logps, rows": lambda d: linear_logps(HIDDEN, WEIGHT, TARGETS, rows=d(LENGTHS)),
    "linear_logps_plan": lambda d: linear_logps_plan(HIDDEN, d(WEIGHT), TARGETS),
    "logps, logits": lambda d: logps(d(HIDDEN), TARGETS),
    "logps, targets": lambda d: logps(HIDDEN, d(TARGETS)),
    "fused_objective, hidden": lambda d: in_the_loop(hidden=d(HIDDEN)),
    "fused_objective, weight": lambda d: in_the_loop(weight=d(WEIGHT)),
    "fused_objective, targets": lambda d: in_the_loop(targets=d(TARGETS)),
    "fused_objective, fields": lambda d: in_the_loop(poz.dpo, fields={"ref_chosen": d(X[:2]), "ref_rejected": X[:2]}),
    "fused_objective, weights": lambda d: in_the_loop(example_weights=d(torch.ones(2))),
    "dpo": lambda d: poz.dpo(PAIRS._replace(chosen=d(X))),
    "dpo, reference": lambda d: poz.dpo(PAIRS._replace(ref_chosen=d(X))),
    "simpo, lengths": lambda d: poz.simpo(PAIRS._replace(chosen_len=d(LENGTHS))),
    "aot": lambda d: poz.aot(PAIRS._replace(chosen=d(X), rejected=d(X), ref_chosen=d(X), ref_rejected=d(X))),
    "combine": lambda d: poz.combine({"aot": 1.0, "dpo": 0.5})(PAIRS._replace(rejected=d(X))),
    "kto": lambda d: poz.kto(poz.Unpaired(X, X, desirable=d(X < -3))),
    "grpo": lambda d: poz.zoo["grpo"](poz.Rollouts(d(X[:, None]), mask=MASK, advantages=X)),
    "from_tokens": lambda d: poz.Pairs.from_tokens(d(X[:, None]), X[:, None], chosen_mask=MASK, rejected_mask=MASK),
    "from_tokens, mask": lambda d: poz.Pairs.from_tokens(
        X[:, None], X[:, None], chosen_mask=d(MASK), rejected_mask=MASK
    ),
    "whole_batch": lambda d: whole_batch(poz.aot, PAIRS._replace(rejected=d(X))),
    "whole_batch, not coupled": lambda d: whole_batch(poz.dpo, PAIRS._replace(chosen=d(X))),
    "slopes": lambda d: slopes(poz.aot, PAIRS._replace(chosen=d(X))),
    "PreferenceLoss": lambda d: PreferenceLoss("dpo")(d(X), d(X), d(X), d(X)),
    "PreferenceLoss, weights": lambda d: PreferenceLoss("slic_hf", "mean")(X, X, example_weights=d(X)),
    "scored_losses": lambda d: scored_losses("slic_hf", Scored(d(X[:, None]), MASK)),
    "implicit_rewards": lambda d: implicit_rewards(poz.cpo, Scored(d(X[:, None]), MASK)),
    "LCPO": lambda d: LCPO()(PAIRS._replace(chosen=d(X))),
    "token_loss": lambda d: token_loss("slic_hf", d(X), BORDERS),
    "token_loss, anchors": lambda d: token_loss("dpo", X, BORDERS, anchors=d(X[None])),
    "token_loss, borders": lambda d: token_loss("slic_hf", X, d(BORDERS)),
    "list_loss": lambda d: list_loss("plackett_luce", d(X), BORDERS, torch.tensor([0, 4]), anchors=X[None]),
    "fused_losses": lambda d: fused_losses("dpo", PAIRS._replace(chosen=d(X))),
    "baseline": lambda d: poz.algorithms.baseline.sums(d(X), X, beta=0.1),
    "centred": lambda d: transforms.par(d(X), X[:, None]),
    "counts": lambda d: poz.Counts.of(d(MASK)),
}


@pytest.fixture(scope="module")
def mesh():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize("door", DOORS)
def test_a_dtensor_is_refused_in_a_sentence(mesh, door):
    for placement in (Shard(0), Replicate(), Partial()):
        with pytest.raises((TypeError, ValueError), match=r"DTensor.*(to_local|full_tensor|LogpsHead)"):
            DOORS[door](lambda x, placement=placement: distribute_tensor(x, mesh, [placement]))


def test_a_head_that_is_one_says_what_to_do(mesh):
    for door in ("linear_logps, weight", "linear_logps, bias", "linear_logps_plan", "fused_objective, weight"):
        with pytest.raises(ValueError, match=r"poz.torch.LogpsHead.*head.unshard\(\).*`group=`"):
            DOORS[door](lambda x: distribute_tensor(x, mesh, [Shard(0)]))

"""What the loss functions of trainers that are not installed gave in float64, and what poz gives on the same call.

`functions.json`: `source` says whose function it was and what was stubbed; log-probs are of tokens, chosen rows and then
rejected ones, of NeMo-RL interleaved; gradients are of the sum of its losses.
"""

import importlib
import json
import sys
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import poz
import poz.reference
from poz.torch import PreferenceLoss, Scored, scored_losses

ROWS = json.loads(Path(__file__).with_name("functions.json").read_text(encoding="utf-8"))
NEMO = [row for row in ROWS if "NeMo" in row["source"]["repository"]]
OTHERS = [row for row in ROWS if row not in NEMO]


@pytest.fixture
def nemo_rl(monkeypatch):
    """poz's module beside what it takes of NeMo-RL, two enumerations."""
    kinds = SimpleNamespace(
        LossInputType=Enum("LossInputType", {"LOGPROB": "logprob"}),
        LossType=Enum("LossType", {"SEQUENCE_LEVEL": "sequence_level"}),
    )
    for name in ("nemo_rl", "nemo_rl.algorithms", "nemo_rl.algorithms.loss", "nemo_rl.algorithms.loss.interfaces"):
        monkeypatch.setitem(sys.modules, name, kinds)
    monkeypatch.delitem(sys.modules, "poz.integrations.nemo_rl", raising=False)
    yield importlib.import_module("poz.integrations.nemo_rl")
    sys.modules.pop("poz.integrations.nemo_rl", None)


def tensors(row):
    return {name: torch.tensor(x, dtype=None if name == "mask" else torch.float64) for name, x in row["inputs"].items()}


def called(loss, given, rows=slice(None), leaf=None):
    """Of those rows, as NeMo-RL's workers call it: masks have a place for the first token, the reference's log-probs for
    the last."""
    none = torch.zeros_like(given["mask"][rows, :1], dtype=torch.float64)
    data = {
        "token_mask": torch.cat([none, given["mask"][rows]], 1),
        "reference_policy_logprobs": torch.cat([given["ref_logps"][rows], none + torch.nan], 1),
        "sample_mask": given["sample_mask"][rows],
    }
    logps = (given["logps"] if leaf is None else leaf)[rows]
    seqs = given["global_valid_seqs"]
    return loss(next_token_logprobs=logps, data=data, global_valid_seqs=seqs, global_valid_toks=None)


def same(ours, theirs, tolerance=1e-12):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("row", NEMO, ids=lambda row: row["objective"])
def test_loss_gradient_and_metrics_are_nemo_rls(row, nemo_rl):
    given, loss = tensors(row), nemo_rl.Loss(row["objective"], **row["hyper_parameters"])
    leaf = given["logps"].clone().requires_grad_()
    value, metrics = called(loss, given, leaf=leaf)
    (slope,) = torch.autograd.grad(value, leaf)
    same(value.item(), row["losses"], 1e-8)  # 1e-8 is added to its denominators
    same(slope, row["gradients"], 1e-8)
    assert metrics.keys() == row["metrics"].keys()
    for name, its in row["metrics"].items():  # whose rewards are without beta
        same(metrics[name], its * row["hyper_parameters"]["beta"] if name.startswith("rewards") else its, 1e-8)
    assert np.any(row["gradients"])
    assert (loss.loss_type.value, loss.input_type.value) == ("sequence_level", "logprob")


def test_micro_batches_of_nemo_rl_add_up_and_a_masked_pair_may_be_nan(nemo_rl):
    given = tensors(NEMO[0])
    given["logps"][6:] = torch.nan
    loss = nemo_rl.Loss("simpo", gamma=1.0)
    whole, parts = called(loss, given), [called(loss, given, slice(i, i + 2)) for i in range(0, 8, 2)]
    assert whole[0] > 0
    assert parts[3][0] == 0
    for name in whole[1]:
        same(sum(part[1][name] for part in parts), whole[1][name])


@pytest.mark.parametrize(
    ("name", "hyper"), [("simpo", {"gamma": 1.0}), ("ipo", {"tau": 0.2}), ("mnpo", {"eta": 0.5, "tau": 0.1})]
)
def test_others_on_nemo_rls_call_are_their_references(name, hyper, nemo_rl):
    given = tensors(NEMO[0])
    fields = {}
    for field, x in (("{}", "logps"), ("ref_{}", "ref_logps")):
        sums = (given[x] * given["mask"]).sum(1).numpy()
        fields |= {field.format("chosen"): sums[::2], field.format("rejected"): sums[1::2]}
    if name == "simpo":
        counts = given["mask"].sum(1).numpy()
        fields = {side: fields[side] for side in ("chosen", "rejected")} | {
            "chosen_len": counts[::2],
            "rejected_len": counts[1::2],
        }
    if name == "mnpo":
        fields |= {f"opponents_{side}": fields[f"ref_{side}"][None] for side in ("chosen", "rejected")}
    losses, _ = getattr(poz.reference, name)(**fields, **hyper)
    value, _ = called(nemo_rl.Loss(name, **hyper), given)
    same(value, losses[:3].sum() / 7)


def test_what_nemo_rl_cannot_serve_is_refused(nemo_rl):
    with pytest.raises(ValueError, match=r"`aot` is defined over a batch .*NeMo-RL shows micro-batches"):
        nemo_rl.Loss("aot")
    start = tensors(NEMO[0])
    start["ref_logps"] = start["logps"]
    assert called(nemo_rl.Loss("dpo"), start)[1]["rewards_chosen_mean"] == 0


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: f"{row['source']['function']}-{row['objective']}")
def test_losses_and_gradients_are_theirs(row):
    """open-instruct's and HALOs', from tokens by `scored_losses` and from sums by `PreferenceLoss`."""
    given, objective = tensors(row), poz.zoo[row["objective"]].bind(**row["hyper_parameters"])
    pairs = poz.Pairs.from_halves(given["logps"], mask=given["mask"], ref_logps=given["ref_logps"])
    lengths = {"chosen_len": pairs.chosen_len, "rejected_len": pairs.rejected_len}
    same(PreferenceLoss(objective)(*pairs[:4], **lengths)[0], row["losses"])
    leaf = given["logps"].clone().requires_grad_()
    losses = scored_losses(objective, Scored(leaf, given["mask"], ref_logps=given["ref_logps"]))
    (slope,) = torch.autograd.grad(losses.sum(), leaf)
    same(losses.detach(), row["losses"])
    same(slope, row["gradients"])

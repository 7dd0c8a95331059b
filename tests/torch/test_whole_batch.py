"""Coupled objectives are the same for any split of the batch into processes and micro-batches."""

import json

import numpy as np
import pytest
import torch
from ranks import ranks

import poz
from poz.torch import slopes, whole_batch

WORKER = """
import json, sys, torch, poz
from poz.torch import whole_batch, slopes
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
torch.set_default_dtype(torch.float64)
answers = []
for name, fields in json.loads(sys.argv[3])[rank]:
    family = poz.zoo[name].family
    tensors = {key: torch.tensor(value) for key, value in fields.items()}
    first = next(iter(tensors.values())).requires_grad_()
    losses = whole_batch(poz.zoo[name], family(**tensors))
    losses.sum().backward()
    still = family(**{key: value.detach() for key, value in tensors.items()})
    mean = slopes(poz.zoo[name], still)[1]
    if "mask" in tensors:  # a mean over tokens needs to know of the other process how many it has
        torch.distributed.all_reduce(total := torch.tensor(poz.Counts.of(still.mask)))
        counted = poz.zoo[name].within(poz.Counts(*total.tolist()))(still)
        torch.testing.assert_close(counted, losses.detach(), rtol=1e-12, atol=0)
    total = slopes(poz.zoo[name], still, reduction="sum")[1]
    answers.append((losses.tolist(), first.grad.tolist(), mean[0].tolist(), total[0].tolist()))
print(json.dumps(answers))
torch.distributed.destroy_process_group()
"""
NAMES = ("aot", "aot_unpaired", "dr_dpo", "beta_dpo", "amapo", "gamma_po", "alpha_dpo", "aql", "aqfl", "dpo")


def pairs():
    generator = np.random.default_rng(3)
    logps = {key: -generator.exponential(9, 5) for key in ("chosen", "rejected", "ref_chosen", "ref_rejected")}
    return {**logps, "chosen_len": np.array([3.0, 1, 2, 7, 4]), "rejected_len": np.array([2.0, 2, 5, 1, 6])}


def unpaired():
    logps, ref_logps, kl_ref_logps, *_ = pairs().values()
    desirable = np.array([True, False, True, True, False])
    kl = {"kl_logps": kl_ref_logps + np.arange(5), "kl_ref_logps": kl_ref_logps}  # K = 2, with fewer samples another
    return {"logps": logps, "ref_logps": ref_logps, "desirable": desirable, **kl}


def rollouts():
    generator = np.random.default_rng(4)
    mask = np.arange(6) < np.array([6, 0, 2, 3, 1])[:, None]
    logps = -generator.exponential(2, (5, 6))
    old = logps + generator.normal(0, 0.2, (5, 6))
    return {"logps": logps, "old_logps": old, "mask": mask, "advantages": generator.normal(size=5)}


def test_two_processes_see_one_batch(tmp_path):
    share = (slice(0, 3), slice(3, 5))
    given = {
        **dict.fromkeys(NAMES, pairs()),
        "gr_dpo": {**pairs(), "annotator": np.array([0, 1, 1, 0, 1])},
        "kto": unpaired(),
        "dapo": rollouts(),
    }
    work = [[(name, {key: x[part].tolist() for key, x in given[name].items()}) for name in given] for part in share]
    printed = ranks(WORKER, 2, tmp_path, json.dumps(work))
    first, second = map(json.loads, printed)
    for name, (losses, grads, means, sums), (more, further, others, totals) in zip(given, first, second, strict=True):
        family = poz.zoo[name].family
        tensors = {key: torch.tensor(x) for key, x in given[name].items()}
        moving = next(iter(tensors.values())).requires_grad_()
        whole = poz.zoo[name](family(**tensors))
        whole.sum().backward()
        # float64, in another order of summation
        np.testing.assert_allclose([*losses, *more], whole.detach(), rtol=1e-12)
        slope = moving.grad.numpy()
        # the average over the two processes is the gradient of the mean over all five examples
        np.testing.assert_allclose(np.array([*means, *others]) / 2, slope / 5, rtol=1e-12)
        # what the sums over both processes add up to, each of its own examples
        np.testing.assert_allclose(np.array([*sums, *totals]), slope, rtol=1e-12)
        # of a sum, that of a mean times the examples here
        shares = np.reshape([3, 3, 3, 2, 2], (5, *[1] * (slope.ndim - 1)))
        np.testing.assert_allclose(np.array([*grads, *further]) / shares / 2, slope / 5, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_slopes_hand_the_gradient_to_micro_batches(name):
    weight = torch.tensor([0.7, -1.3], dtype=torch.float64, requires_grad=True)
    inputs = torch.tensor(np.random.default_rng(0).normal(size=(5, 2)))
    others = {key: torch.tensor(x) for key, x in pairs().items() if key != "chosen"}
    whole = poz.zoo[name](poz.Pairs(inputs @ weight, **others)).mean()
    expected = torch.autograd.grad(whole, weight)[0]
    losses, slope = slopes(poz.zoo[name], poz.Pairs((inputs @ weight).detach(), **others))
    assert losses.mean().item() == pytest.approx(whole.item(), rel=1e-14)
    for part in (slice(0, 2), slice(2, 5)):
        (slope.chosen[part] * (inputs[part] @ weight)).sum().backward()
    torch.testing.assert_close(weight.grad, expected, rtol=1e-12, atol=0)


def test_slopes_of_numbers_that_were_made_without_a_graph():
    batch = poz.Pairs(*(torch.tensor(x) for x in pairs().values()))
    with torch.no_grad():
        losses, slope = slopes(poz.dpo, batch)
    assert torch.equal(slope.chosen, slopes(poz.dpo, batch)[1].chosen)
    assert slope.chosen.all()
    assert not losses.requires_grad


def test_without_processes_it_is_the_objective():
    batch = poz.Pairs(*(torch.tensor(x) for x in pairs().values()))
    assert torch.equal(whole_batch(poz.dpo, batch), poz.dpo(batch))


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (poz.aot.bind(beta=np.array([0.1, 0.2])), "got beta with one number for each of them, \\(2,\\)"),
        (poz.combine([("aot", torch.ones(2))]), "got the weight of aot"),
        (poz.combine([(poz.aot.bind(beta=torch.ones(2)), 1.0)]), "got beta"),
    ],
)
def test_numbers_per_example_are_refused_in_a_batch_of_several_processes(tmp_path, objective, said):
    """Each process has those of its own examples only."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        batch = poz.Pairs(*(torch.tensor(x[:2]) for x in pairs().values()))
        with pytest.raises(ValueError, match=said):
            whole_batch(objective, batch)
        impossible = batch._replace(chosen=torch.tensor([-torch.inf, -1.0], dtype=torch.float64))
        assert whole_batch(poz.aot, impossible).isinf().tolist() == [True, False]  # an infinite loss makes no NaN
        combined = poz.combine([("gr_dpo", 1.0), ("aot", 0.5)])
        labelled = batch._replace(annotator=torch.tensor([0, 1]))
        torch.testing.assert_close(whole_batch(combined, labelled), combined(labelled), rtol=1e-14, atol=0)
    finally:
        torch.distributed.destroy_process_group()

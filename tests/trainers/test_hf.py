"""transformers' Trainer on pairs, by `Trainer.train()` on a tiny Llama in float64: `make trainers-hf`."""

import copy
import math

import hf_processes
import pytest
import torch
from tiny_batches import EXACT, collate, exact, models, moved, objective, plain_dpo, rows, sums
from transformers import Trainer, TrainingArguments

import poz
from poz.integrations.hf import OnPairs, PairTrainer

DIGITS = 1e-10  # of float64 after some hundred roundings, in gradients of size 1


def arguments(folder, batch, accumulation, **more):
    """SGD of rate 1, so that a step shows the gradient."""
    plain = {"lr_scheduler_type": "constant", "max_grad_norm": 0.0, "optim": "sgd", "learning_rate": 1.0}
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "logging_steps": 1}
    given = {"num_train_epochs": 1, "remove_unused_columns": False, **plain, **quiet, **more}
    split = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    return TrainingArguments(str(folder), **split, **given)


@pytest.fixture
def made(tmp_path):
    def make(objective, batch=8, accumulation=1, *, policy=None, count=8, kind=PairTrainer, data=None, **more):
        own = {name: more.pop(name) for name in ("ref_model", "compute_loss_func") if name in more}
        ours = {"objective": objective} if issubclass(kind, OnPairs) else {}
        return kind(
            copy.deepcopy(policy or models()[0]),
            arguments(tmp_path, batch, accumulation, **more),
            data_collator=data or collate,
            train_dataset=rows(count),
            **ours,
            **own,
        )

    return make


def gradients(trainer, before=None):
    before = before or copy.deepcopy(trainer.model)
    trainer.train()
    return moved(before, trainer.model, 1.0)


def test_dpo_is_a_plain_one_in_trainer(made, agree):
    policy, reference = models()
    expected = plain_dpo(policy, reference, collate(rows()), beta=0.3)
    trainer = made(poz.dpo.bind(beta=0.3), ref_model=reference)
    found = gradients(trainer)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected.item(), abs=1e-4)  # as Trainer rounds it
    agree("own", found, list(torch.autograd.grad(expected, list(policy.parameters()))), DIGITS)
    assert max(x.abs().max() for x in found) > 0.01


@pytest.mark.parametrize("name", EXACT)
def test_others_are_their_references(name, made, agree):
    policy, reference = models()
    loss, slopes = exact(name, policy, reference, collate(rows()))
    trainer = made(objective(name), ref_model=None if name == "simpo" else reference)
    batch = collate(rows())
    trainer.model.eval()
    agree("reference", trainer.compute_loss(trainer.model, batch), loss, DIGITS)
    agree("reference", gradients(trainer), list(slopes), DIGITS)


@pytest.mark.parametrize("count", [8, 7])
@pytest.mark.parametrize("name", ["simpo", "dpo", "kto"])
def test_eight_batches_of_one_are_four_of_two(name, count, made, agree):
    """Of 7 pairs the last accumulation is shorter, and has a batch of one beside those of two."""
    chosen = poz.kto.bind(estimator="zero") if name == "kto" else poz.zoo[name]
    found = [
        gradients(made(chosen, batch, accumulation, count=count, ref_model=None if name == "simpo" else models()[1]))
        for batch, accumulation in ((1, 8), (2, 4), (8, 1))
    ]
    agree("accumulation", found[0], found[2], DIGITS)
    agree("accumulation", found[1], found[2], DIGITS)
    reference = None if name == "simpo" else models()[1]
    two = [gradients(made(chosen, *how, count=count, ref_model=reference)) for how in ((1, 4), (2, 2), (4, 1))]
    agree("accumulation", two[0], two[2], DIGITS)
    agree("accumulation", two[1], two[2], DIGITS)


def test_a_policy_that_is_its_reference_has_margin_0(made, agree):
    policy = models()[0]
    trainer = made("dpo", policy=policy, ref_model=copy.deepcopy(policy).requires_grad_(False))
    losses = trainer.compute_loss(trainer.model.eval(), collate(rows()), return_outputs=True)[1]["losses"]
    agree("start", losses, [math.log(2)] * 8, 1e-15)


class Plain(Trainer):
    """What anyone would write."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        chosen, rejected = sums(model, inputs)
        return -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).mean()


class Said(Plain):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False


def test_trainer_makes_gradients_four_times_too_large_unless_told(made, fact):
    whole = gradients(made(None, 8, 1, kind=Plain))
    for kind, times in ((Plain, 4.0), (Said, 1.0)):
        found = gradients(made(None, 2, 4, kind=kind))
        for x, y in zip(found, whole, strict=True):
            torch.testing.assert_close(x, times * y)
    fact("gradient of a loss of one's own at accumulation 4, unless told", 4.0)


def test_precomputed_log_probs_and_columns(made):
    """Instead of a reference, and a margin by name."""
    policy, reference = models()
    batch = collate(rows())
    with torch.no_grad():
        refs = torch.cat(sums(reference, batch))
    trainer = made("dpo")
    expected = made("dpo", ref_model=reference).compute_loss(policy.eval(), batch)
    torch.testing.assert_close(trainer.compute_loss(policy, {**batch, "ref_logps": refs}), expected)
    margin = torch.linspace(0, 1, 8, dtype=torch.float64)
    told = made("odpo").compute_loss(policy, {**batch, "ref_logps": refs, "margin": margin})
    chosen, rejected = sums(policy, batch)
    torch.testing.assert_close(told, poz.odpo(poz.Pairs(chosen, rejected, *refs.chunk(2), margin=margin)).mean())
    with pytest.raises(ValueError, match="`dpo` reads a reference: give its model, or batches with ref_logps"):
        trainer.compute_loss(policy, batch)
    with pytest.raises(ValueError, match="A batch has ref_logps, and there is a reference model too"):
        made("dpo", ref_model=reference).compute_loss(policy, {**batch, "ref_logps": refs})
    with pytest.raises(ValueError, match="A batch has marign, which neither `dpo` nor LlamaForCausalLM reads"):
        trainer.compute_loss(policy, {**batch, "marign": margin, "ref_logps": refs})


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"objective": "aot", "accumulation": 2}, "gradient_accumulation_steps > 1 drops .*aot.* parts its batch"),
        ({"objective": "dpo", "remove_unused_columns": True}, "remove_unused_columns drops"),
        ({"objective": "dpo", "label_smoothing_factor": 0.1}, "label_smoothing_factor drops"),
        ({"objective": "dpo", "compute_loss_func": print}, "compute_loss_func drops"),
        ({"objective": "grpo"}, "`grpo` reads poz.Rollouts"),
    ],
)
def test_what_would_be_another_loss_is_refused(how, said, made):
    with pytest.raises(ValueError, match=said):
        made(**how)


def test_an_objective_over_the_batch_sees_it(made, agree):
    policy, reference = models()
    found = gradients(made("aot", ref_model=reference))
    chosen, rejected = sums(policy, collate(rows()))
    with torch.no_grad():
        refs = sums(reference, collate(rows()))
    loss = poz.aot(poz.Pairs(chosen, rejected, *refs)).mean()
    for ours, theirs in zip(found, torch.autograd.grad(loss, list(policy.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_evaluation_is_the_mean(made):
    policy, reference = models()
    trainer = made("dpo", ref_model=reference, per_device_eval_batch_size=4)
    found = trainer.evaluate(rows())["eval_loss"]
    expected = plain_dpo(policy, reference, collate(rows()), beta=trainer.objective.values["beta"])
    assert found == pytest.approx(expected.item())


def test_two_processes_are_one(tmp_path, agree):
    """With seven pairs one of them has a batch of one where the other has two, and a tied batch is that of both."""
    torch.multiprocessing.spawn(hf_processes.gradients, (str(tmp_path),), 2)
    for name, _, _, count in hf_processes.CASES:
        policy, reference = models()
        scored = sums(policy, collate(rows(count)))
        with torch.no_grad():
            refs = sums(reference, collate(rows(count)))
        loss = poz.zoo[name](poz.Pairs(*scored, *refs)).mean()
        found = torch.load(tmp_path / f"{name}{count}.pt")
        agree("accumulation", found, list(torch.autograd.grad(loss, list(policy.parameters()))), DIGITS)

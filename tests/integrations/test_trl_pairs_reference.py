"""The reference of the DPOTrainer: where it is read, precomputed, and an adapter's."""

import copy
import functools
import math

import datasets
import peft
import pytest
import torch
import trl
from trl.trainer import dpo_trainer
from trl_tiny import (
    MARKS,
    PAIRS,
    Bytes,
    close,
    inputs,
    lora,
    loss_and_gradients,
    reference_passes,
    settings,
    sums,
    trainer,
)

import poz
from poz.integrations.trl import DPOTrainer

pytestmark = MARKS


class TestReference:
    def test_free_objective_neither_loads_nor_hashes_a_reference(self, tmp_path, policy, monkeypatch):
        loaded, load = [], dpo_trainer.create_model_from_path
        monkeypatch.setattr(dpo_trainer, "create_model_from_path", lambda *a, **k: loaded.append(a) or load(*a, **k))
        monkeypatch.setattr(dpo_trainer, "hash_module", lambda model: pytest.fail("hashes all weights"))
        policy.save_pretrained(tmp_path / "policy")
        data = datasets.Dataset.from_list(PAIRS)
        arguments = settings(tmp_path, precompute_ref_log_probs=True)
        path = str(tmp_path / "policy")
        made = DPOTrainer(path, None, arguments, train_dataset=data, processing_class=Bytes(), objective="simpo")
        assert len(loaded) == 1
        assert made.ref_model is None
        assert torch.equal(made.model.lm_head.weight, policy.lm_head.weight)
        assert math.isfinite(loss_and_gradients(made)[0])

    def test_the_copy_has_no_dropout(self, tmp_path, policy):
        model = copy.deepcopy(policy)
        model.model.layers[0].self_attn.attention_dropout = 0.5
        made = trainer(tmp_path, model, "dpo", arguments={"disable_dropout": False})
        once, twice = (made.compute_ref_log_probs(made.ref_model, inputs(made))[0] for _ in range(2))
        assert torch.equal(once, twice)
        assert not any(p.requires_grad for p in made.ref_model.parameters())

    @pytest.mark.filterwarnings("ignore:The `'keep_end'` truncation mode is deprecated:FutureWarning")
    def test_precomputed_log_probs_are_cached_apart_from_trls(self, tmp_path, policy, reference):
        """And from those of other lengths, which TRL's key does not tell apart."""
        datasets.Dataset.from_list(PAIRS).save_to_disk(tmp_path / "data")

        def passes(objective, length):
            arguments = {"precompute_ref_log_probs": True, "truncation_mode": "keep_end", "max_length": length}
            made = trl.DPOTrainer if objective is None else functools.partial(DPOTrainer, objective=objective)
            return reference_passes(made, policy, reference, settings(tmp_path / "out", **arguments), tmp_path / "data")

        ways = [(None, None), (None, None), ("dpo", None), ("dpo", None), ("dpo", 12), ("ipo", None)]
        assert [passes(*way) for way in ways] == [1, 0, 1, 0, 1, 0]

    def test_free_objective_runs_no_reference_pass(self, tmp_path, policy):
        made = trainer(tmp_path, policy, "simpo", arguments={"precompute_ref_log_probs": True})
        calls = []
        made.model.register_forward_hook(lambda *_: calls.append(1))
        loss_and_gradients(made)
        assert made.ref_model is None
        assert len(calls) == 1
        assert "ref_chosen_logps" not in made.train_dataset.column_names
        assert made.evaluate(datasets.Dataset.from_list(PAIRS))["eval_loss"] > 0

    def test_one_pass_where_it_is_read(self, tmp_path, policy):
        made = trainer(tmp_path, policy, "dpo")
        calls = []
        made.ref_model.register_forward_hook(lambda *_: calls.append(1))
        loss, _ = loss_and_gradients(made)
        assert len(calls) == 1
        assert loss.item() == pytest.approx(torch.tensor(2.0).log().item(), abs=0)  # the copy is the policy, bitwise

    def test_precomputed(self, tmp_path, policy, reference):
        expected, gradients = loss_and_gradients(trainer(tmp_path, policy, "dpo", ref_model=reference))
        made = trainer(tmp_path, policy, "dpo", ref_model=reference, arguments={"precompute_ref_log_probs": True})
        calls = []
        made.ref_model.register_forward_hook(lambda *_: calls.append(1))
        loss, found = loss_and_gradients(made)
        assert not calls
        close(loss, expected, "loss", 1e-6)
        for name, gradient in gradients.items():
            close(found[name], gradient, name)

    def test_precomputed_from_the_policy_and_evaluated(self, tmp_path, policy):
        arguments = {"precompute_ref_log_probs": True, "eval_strategy": "steps", "eval_steps": 1}
        made = trainer(tmp_path, policy, "dpo", arguments=arguments, eval_dataset=datasets.Dataset.from_list(PAIRS))
        assert made.ref_model is None
        made.train()
        assert made.state.log_history[0]["loss"] == pytest.approx(0.6931, abs=1e-4)

    def test_columns_survive_precomputing(self, tmp_path, policy, reference):
        pairs = [{**pair, "margin": 1.0 + i} for i, pair in enumerate(PAIRS)]
        objective = poz.mnpo.bind(target="reward", eta=0.5, tau=0.1)
        expected, _ = loss_and_gradients(trainer(tmp_path, policy, objective, pairs, ref_model=reference))
        made = trainer(
            tmp_path, policy, objective, pairs, ref_model=reference, arguments={"precompute_ref_log_probs": True}
        )
        close(loss_and_gradients(made)[0], expected, "loss", 1e-6)
        assert made.evaluate(datasets.Dataset.from_list(pairs))["eval_loss"] == pytest.approx(expected.item(), rel=1e-5)

    def test_reference_per_token(self, tmp_path, policy, reference):
        objective = poz.cpl.bind(regularizer="kl", bias=0.75)
        made = trainer(tmp_path, policy, objective, ref_model=reference)
        (chosen, rejected), (ref_chosen, ref_rejected) = (sums(model, made) for model in (policy, reference))
        right = 0.1 * (chosen - ref_chosen)
        wrong = 0.1 * (rejected - ref_rejected)
        expected = torch.nn.functional.softplus(0.75 * wrong - right).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")


class TestPEFT:
    def moved(self, made):
        torch.manual_seed(7)
        with torch.no_grad():
            for name, p in made.model.named_parameters():
                if ".default." in name:
                    p.add_(0.1 * torch.randn(p.shape))
        return made

    def test_adapter_off_is_the_reference(self, tmp_path, policy):
        theirs, made = (self.moved(trainer(tmp_path, policy, which, peft_config=lora())) for which in (None, "dpo"))
        (expected, gradients), (loss, found) = loss_and_gradients(theirs), loss_and_gradients(made)
        close(loss, expected, "loss", 1e-6)
        assert abs(loss.item() - 0.6931) > 1e-4
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            assert "lora" in name
            close(found[name], gradient, name)

    @pytest.mark.parametrize("objective", ["dpo", "simpo"])
    def test_an_adapter_trained_before_is_the_reference(self, tmp_path, policy, objective):
        adapted = peft.get_peft_model(copy.deepcopy(policy), lora())
        made = trainer(tmp_path, adapted, objective)
        self.moved(made)
        before = {name: p.clone() for name, p in made.model.named_parameters()}
        made.train()
        changed = {name for name, p in made.model.named_parameters() if not torch.equal(before[name], p)}
        assert changed
        assert all(".default." in name for name in changed)

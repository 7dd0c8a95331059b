"""`PairTrainer` refuses what would train something else, or nothing, in a sentence."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

import poz
from poz.integrations.hf import PairTrainer
from poz.torch import LCPO

IDS = torch.tensor([[1, 4, 5, 6], [1, 4, 6, 2], [1, 4, 7, 7], [1, 4, 2, 0]])
BATCH = {
    "input_ids": IDS,
    "attention_mask": (IDS != 0).long(),
    "labels": IDS.where((torch.arange(4) > 1) & (IDS != 0), -100),
    "ref_logps": -torch.arange(1.0, 5.0, dtype=torch.float64),
}


@pytest.fixture
def made(tmp_path):
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    policy = LlamaForCausalLM(LlamaConfig(vocab_size=9, **shape)).double()

    def make(objective="dpo", reference=lambda policy: None, model=policy):
        plain = {"use_cpu": True, "report_to": "none", "remove_unused_columns": False}
        args = TrainingArguments(str(tmp_path), **plain)
        return PairTrainer(model, args, objective=objective, ref_model=reference(model))

    return make


def test_a_reference_that_would_move_with_the_policy_is_refused(made):
    """Its margin was 0 in every step, and the gradient that of the first one."""
    with pytest.raises(
        ValueError, match=r"ref_model has the parameter .* of the policy itself, .* Load it a second time"
    ):
        made(reference=lambda policy: policy)

    def tied(policy):
        other = copy.deepcopy(policy)
        other.lm_head = policy.lm_head
        return other

    with pytest.raises(ValueError, match=r"ref_model has the parameter lm_head\.weight of the policy itself"):
        made(reference=tied)
    assert made(reference=copy.deepcopy).ref_model is not None


@pytest.mark.parametrize("name", ["margin", "label", "weights"])
def test_a_column_that_the_objective_does_not_read_is_refused(name, made):
    """It belongs to other objectives, and had no effect."""
    trainer, column = made(), torch.tensor([0.5, 1.0], dtype=torch.float64)
    with pytest.raises(ValueError, match=f"A batch has {name}, which neither `dpo` nor LlamaForCausalLM reads"):
        trainer.compute_loss(trainer.model, {**BATCH, name: column})
    odpo = made("odpo")
    plain, more = (odpo.compute_loss(odpo.model.eval(), {**BATCH, "margin": margin}) for margin in (0 * column, column))
    assert more > plain


def test_what_is_no_objective_or_reads_no_reference_is_refused(made):
    with pytest.raises(TypeError, match=r"objective must be a name or a poz\.Objective; got LCPO"):
        made(LCPO(poz.dpo))
    with pytest.raises(ValueError, match=r"`simpo` reads no reference, but got a ref_model. Leave it out"):
        made("simpo", copy.deepcopy)

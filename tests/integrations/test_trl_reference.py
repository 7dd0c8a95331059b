"""The reference of poz's trainers for TRL is the policy before training, without dropout."""

import copy
from types import SimpleNamespace

import datasets
import peft
import pytest
import torch
import trl
from transformers import GPT2Config, GPT2LMHeadModel
from trl_tiny import MARKS, PAIRS, Bytes, inputs, kto_settings, kto_trainer, lora, loss_and_gradients, settings, tiny
from trl_tiny import trainer as pairs_trainer

from poz.integrations.trl import DPOTrainer
from poz.integrations.trl_kto import KTOTrainer

pytestmark = MARKS


def gpt2():
    """With the dropout of its defaults, and in train mode, as a model is after training."""
    torch.manual_seed(0)
    tokens = {"vocab_size": 384, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **tokens)).train()


def llama():
    """With dropout in its attention, which `disable_dropout` does not reach."""
    model = tiny(0).train()
    model.model.layers[0].self_attn.attention_dropout = 0.5
    return model


def log_probs(model, batch):
    """Summed log-probs of each completion, in eval mode and without a fused head."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    logps = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return (logps * batch["completion_mask"][:, 1:]).sum(1)


def modes(model):
    return [module.training for module in model.modules()]


class TestNoDropout:
    @pytest.mark.parametrize("make", [gpt2, llama])
    @pytest.mark.parametrize("disable", [True, False])
    def test_precomputed(self, tmp_path, make, disable):
        model = make()
        how = {"precompute_ref_log_probs": True, "disable_dropout": disable}
        made = pairs_trainer(tmp_path, model, "dpo", arguments=how)
        batch = inputs(made)
        found = torch.cat((batch["ref_chosen_logps"], batch["ref_rejected_logps"]))
        torch.testing.assert_close(found, log_probs(model, batch), rtol=1e-5, atol=1e-4)  # two ways in float32
        assert modes(made.model) == modes(model)

    @pytest.mark.parametrize("make", [gpt2, llama])
    def test_precomputed_for_kto_and_its_samples(self, tmp_path, make):
        model = make()
        how = {"precompute_ref_log_probs": True, "disable_dropout": False}
        batch = inputs(kto_trainer(tmp_path, model, "kto", arguments=how))
        kl = {name: batch[f"KL_{name}"] for name in ("input_ids", "attention_mask", "completion_mask")}
        for found, given in ((batch["ref_logps"], batch), (batch["ref_KL_logps"], kl)):
            torch.testing.assert_close(found, log_probs(model, given), rtol=1e-5, atol=1e-4)

    @pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])
    @pytest.mark.parametrize("adapted", [True, False])
    def test_peft_online(self, tmp_path, make, adapted):
        """Where an adapter is off, or its copy on, the policy's own modules make the reference."""
        model, plain = llama(), lora()
        plain.lora_dropout = 0.5
        given = {"peft_config": plain}
        if adapted:
            model, given = peft.get_peft_model(copy.deepcopy(model), plain), {}
        made = make(tmp_path, model, "dpo" if make is pairs_trainer else "kto", **given)
        made.model.train()
        made.model.base_model.model.lm_head.eval()  # a module of its own mode keeps it
        before, batch = modes(made.model), inputs(made)
        found = made.compute_ref_log_probs(made.model, batch)
        reference = torch.cat(found) if make is pairs_trainer else found[0]
        torch.testing.assert_close(reference, log_probs(llama(), batch), rtol=1e-5, atol=1e-4)
        assert modes(made.model) == before

    @pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])
    def test_a_reference_that_is_handed_over_in_train_mode(self, tmp_path, make):
        name = "dpo" if make is pairs_trainer else "kto"
        made = make(tmp_path, tiny(1), name, ref_model=gpt2(), arguments={"disable_dropout": False})
        batch = inputs(made)
        found = made.compute_ref_log_probs(made.ref_model, batch)
        reference = torch.cat(found) if make is pairs_trainer else found[0]
        torch.testing.assert_close(reference, log_probs(gpt2(), batch), rtol=1e-5, atol=1e-4)


class TestIsThePolicyBefore:
    """Rewards are differences to the reference, so at the first step they are 0."""

    def moved(self, folder):
        """A model with a path, whose weights have moved since it was read from there."""
        tiny(0).save_pretrained(folder / "base")
        model = type(tiny(0)).from_pretrained(folder / "base")
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.05 * torch.randn_like(p))
        return model

    @pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])
    @pytest.mark.parametrize("resized", [False, True])
    def test_a_model_with_a_path(self, tmp_path, make, resized):
        model = self.moved(tmp_path)
        if resized:
            model.resize_token_embeddings(400)
        made = make(tmp_path, model, "dpo" if make is pairs_trainer else "kto")
        batch = inputs(made)
        torch.testing.assert_close(
            log_probs(made.ref_model, batch), log_probs(model, batch), rtol=0, atol=0
        )  # the same weights
        loss_and_gradients(made)
        assert made._metrics["train"]["rewards/margins"] == [0]

    @pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])
    def test_the_policy_has_no_dropout_either_where_it_is_disabled(self, tmp_path, make):
        name = "dpo" if make is pairs_trainer else "kto"
        for disable in (True, False):
            made = make(tmp_path, llama(), name, arguments={"disable_dropout": disable})
            loss_and_gradients(made)
            assert (made._metrics["train"]["rewards/margins"] == [0]) == disable

    @pytest.mark.parametrize(("make", "free"), [(DPOTrainer, "simpo"), (KTOTrainer, None)])
    def test_a_policy_that_cannot_be_copied(self, tmp_path, make, free):
        kto = make is KTOTrainer
        arguments, data = (kto_settings if kto else settings)(tmp_path), datasets.Dataset.from_list(PAIRS)
        sharded, quantised = tiny(0), tiny(0)
        sharded.model.norm.weight.ds_id = 3  # as DeepSpeed's ZeRO-3 marks it
        quantised.hf_quantizer = SimpleNamespace(is_trainable=True, is_qat_trainable=True)
        for model, why in ((sharded, "parameter model.norm.weight of the policy is sharded"), (quantised, "quantised")):
            given = {"args": arguments, "train_dataset": data, "processing_class": Bytes()}
            with pytest.raises(ValueError, match=rf"{why}.*Load it a second time and pass it as ref_model"):
                make(model, **given)
            made = make(model, tiny(1), **given)
            assert torch.equal(made.ref_model.lm_head.weight, tiny(1).lm_head.weight)
            if free:
                assert make(model, **given, objective=free).ref_model is None

    def test_an_adapter_on_embeddings_and_one_of_ia3(self, tmp_path):
        """The reference is a copy of all of the adapter."""
        embeddings = peft.LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"], task_type="CAUSAL_LM")
        scaled = peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
        for config in (embeddings, scaled):
            model = peft.get_peft_model(tiny(0), config)
            with torch.no_grad():
                for name, p in model.named_parameters():
                    if ".default" in name:
                        p.add_(0.3 * torch.randn_like(p))
            made = pairs_trainer(tmp_path, model, "dpo")
            loss_and_gradients(made)
            assert made._metrics["train"]["rewards/margins"] == [0], config.peft_type


class TestSecondTrainer:
    """TRL's head on a model holds that model, and its plain forward, which `generate` runs, would run it in a copy."""

    def runs_itself(self, model, other, batch):
        ids = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            before = model(**ids).logits
            assert before.abs().max() > 0
            for p in other.parameters():
                p.zero_()
            assert torch.equal(model(**ids).logits, before)
            for p in model.parameters():
                p.zero_()
            assert model(**ids).logits.abs().max() == 0

    @pytest.mark.parametrize("bf16", [False, True])
    @pytest.mark.parametrize("made_by", [trl.DPOTrainer, DPOTrainer])
    def test_the_reference(self, tmp_path, made_by, bf16):
        model, data = tiny(0), datasets.Dataset.from_list(PAIRS)
        arguments = settings(tmp_path, bf16=bf16, max_steps=1)
        for make in (made_by, made_by, DPOTrainer):
            reference = tiny(0) if make is trl.DPOTrainer else None
            made = make(model, reference, arguments, train_dataset=data, processing_class=Bytes())
            made.train()
            model = made.model
        self.runs_itself(made.ref_model, made.model, inputs(made))

    def test_a_copy_of_the_callers(self, tmp_path):
        made = pairs_trainer(tmp_path, tiny(0), "dpo")
        self.runs_itself(copy.deepcopy(made.model), made.model, inputs(made))

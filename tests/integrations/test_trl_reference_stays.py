"""What is trained is no part of the reference, no cache gives another model's, and dropout of every kind is disabled."""

import copy

import datasets
import peft
import pytest
import torch
from torch import nn
from trl_tiny import (
    MARKS,
    PAIRS,
    UNPAIRED,
    Bytes,
    inputs,
    kto_settings,
    kto_trainer,
    lora,
    loss_and_gradients,
    settings,
    tiny,
)
from trl_tiny import trainer as pairs_trainer

import poz
from poz.integrations.trl import DPOTrainer, folder
from poz.integrations.trl_kto import KTOTrainer

pytestmark = [
    *MARKS,
    pytest.mark.filterwarnings("ignore:The given model type with weights:UserWarning"),  # of LoKr, by peft
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),  # of LNTuning, by peft
]
BOTH = pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])


def made_as_given(make, folder, model, reference=None, objective=None, **more):
    """A trainer of the very objects, not of copies."""
    if make is kto_trainer:
        arguments, rows, trainer = kto_settings(folder), UNPAIRED, KTOTrainer
    else:
        arguments, rows, trainer = settings(folder), PAIRS, DPOTrainer
    more |= {} if objective is None else {"objective": objective}
    data = datasets.Dataset.from_list(rows)
    return trainer(model, reference, arguments, train_dataset=data, processing_class=Bytes(), **more)


def name_for(make):
    return "dpo" if make is pairs_trainer else "kto"


def with_biases():
    config = tiny(0).config
    config.attention_bias = True
    torch.manual_seed(0)
    return type(tiny(0))(config)


def adapter(**more):
    return peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", **more)


class TestNothingTrainedIsInTheReference:
    def stays(self, made):
        batch = inputs(made)
        model = made.model if made.ref_model is None else made.ref_model
        before, _ = made.compute_ref_log_probs(model, batch)
        made.train()
        assert torch.equal(made.compute_ref_log_probs(model, batch)[0], before)

    @BOTH
    @pytest.mark.parametrize("bias", ["all", "lora_only"])
    def test_biases_that_are_trained_beside_an_adapter(self, tmp_path, make, bias):
        config = adapter(bias=bias)
        with pytest.raises(ValueError, match=r"with the adapter off.*q_proj.*bias.*is trained.*ref_model"):
            make(tmp_path, with_biases(), name_for(make), peft_config=config)
        self.stays(make(tmp_path, with_biases(), name_for(make), peft_config=config, ref_model=with_biases()))

    @BOTH
    def test_weights_that_are_trained_beside_an_adapter(self, tmp_path, make):
        model = peft.get_peft_model(tiny(0), lora())
        model.get_parameter("base_model.model.model.norm.weight").requires_grad_(True)
        with pytest.raises(ValueError, match=r"model\.norm\.weight.*is trained.*modules_to_save.*ref_model"):
            make(tmp_path, model, name_for(make))
        self.stays(make(tmp_path, model, name_for(make), ref_model=tiny(0)))

    @BOTH
    @pytest.mark.parametrize(
        "config",
        [
            adapter(modules_to_save=["lm_head", "norm"]),
            adapter(trainable_token_indices=[35, 114]),
            peft.LNTuningConfig(target_modules=["norm"], task_type="CAUSAL_LM"),
            peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        ],
        ids=lambda config: str(config.peft_type),
    )
    def test_adapters_that_train_more_than_products(self, tmp_path, make, config):
        self.stays(make(tmp_path, tiny(0), name_for(make), peft_config=config))

    def test_without_a_reference_biases_are_trained(self, tmp_path):
        made = pairs_trainer(tmp_path, with_biases(), poz.simpo, peft_config=adapter(bias="all"))
        name = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias"
        before = made.model.get_parameter(name).clone()
        made.train()
        assert not torch.equal(made.model.get_parameter(name), before)

    @BOTH
    def test_a_reference_that_shares_its_weights(self, tmp_path, make):
        model, head = tiny(0), tiny(1)
        head.lm_head.weight = model.lm_head.weight
        base = tiny(0)
        wrapped = peft.get_peft_model(base, lora())
        said = r"ref_model has the parameter .* of the policy itself, which is trained.*deepcopy"
        for policy, reference in ((model, copy.copy(model)), (model, head), (wrapped, base)):
            with pytest.raises(ValueError, match=said):
                made_as_given(make, tmp_path, policy, reference)
        model = tiny(0)
        with pytest.raises(ValueError, match=said):
            made_as_given(make, tmp_path, model, copy.copy(model), peft_config=lora())

    @BOTH
    @pytest.mark.parametrize("init", ["pissa", "olora"])
    def test_an_adapter_whose_start_moves_the_weights_below(self, tmp_path, make, init):
        config = adapter(init_lora_weights=init)
        with pytest.raises(ValueError, match=r"q_proj.* when it is put on.*get_peft_model.*ref_model"):
            make(tmp_path, tiny(0), name_for(make), peft_config=config)
        torch.manual_seed(0)
        handed_over = make(tmp_path, peft.get_peft_model(tiny(0), config), name_for(make))
        beside = make(tmp_path, tiny(0), name_for(make), peft_config=config, ref_model=tiny(0))
        for made in (handed_over, beside):
            loss_and_gradients(made)
            # the product and what is left of a weight are rounded
            assert made._metrics["train"]["rewards/margins"][0] == pytest.approx(0, abs=1e-5)


class TestPrecomputed:
    """The cache is found by the weights, of which other models make other log-probs."""

    def check(self, made):
        batch = inputs(made)
        found = batch["ref_logps"] if "ref_logps" in batch else batch["ref_chosen_logps"]
        torch.testing.assert_close(made.compute_ref_log_probs(made.model, batch)[0], found, rtol=0, atol=1e-4)

    @BOTH
    def test_the_same_weights_in_another_configuration(self, tmp_path, make):
        for theta in (10000.0, 3.0):
            config = tiny(0).config
            config.rope_parameters = {"rope_type": "default", "rope_theta": theta}
            model = type(tiny(0))(config)
            model.load_state_dict(tiny(0).state_dict())
            self.check(make(tmp_path, model, name_for(make), arguments={"precompute_ref_log_probs": True}))

    @BOTH
    def test_the_same_adapter_with_another_scale(self, tmp_path, make):
        for alpha in (4, 64):
            torch.manual_seed(0)
            model = peft.get_peft_model(tiny(0), adapter(lora_alpha=alpha, init_lora_weights=False))
            self.check(make(tmp_path, model, name_for(make), arguments={"precompute_ref_log_probs": True}))


class NoisyDropout(nn.Module):
    """One of a model's own, as BOFT has."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return x * (1 + self.p * torch.randn_like(x)) if self.training else x


class TestDropout:
    @BOTH
    @pytest.mark.parametrize("kind", [nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Dropout1d, NoisyDropout])
    def test_modules_of_other_kinds(self, tmp_path, make, kind):
        model = tiny(0)
        model.model.norm = nn.Sequential(model.model.norm, kind(0.5))
        self.none(make(tmp_path, model.train(), name_for(make)))

    @BOTH
    @pytest.mark.parametrize(
        "config",
        [
            peft.LoKrConfig(r=4, target_modules=["q_proj"], rank_dropout=0.5, init_weights=False),
            peft.LoHaConfig(r=4, target_modules=["q_proj"], module_dropout=0.5, init_weights=False),
        ],
        ids=lambda config: str(config.peft_type),
    )
    def test_rates_of_adapters(self, tmp_path, make, config):
        torch.manual_seed(0)
        self.none(make(tmp_path, peft.get_peft_model(tiny(0), config), name_for(make)))

    def none(self, made):
        for _ in range(3):
            loss_and_gradients(made)
        assert made._metrics["train"]["rewards/margins"] == [0] * 3


class TestWhatIsNoModel:
    @BOTH
    def test_sentences(self, tmp_path, make):
        class Plain(nn.Module):
            pass

        tiny(0).save_pretrained(tmp_path / "base")
        wrapped = peft.get_peft_model(tiny(0), lora())
        wrapped.save_pretrained(tmp_path / "adapter")
        no_model = r"must be a model of transformers.*got {}"
        for model, reference, said in (
            (Plain(), None, "model " + no_model.format("Plain")),
            (nn.DataParallel(tiny(0)), None, "model " + no_model.format("DataParallel")),
            (None, tiny(0), "model " + no_model.format("NoneType")),
            (None, None, "model " + no_model.format("NoneType")),
            (tiny(0), Plain(), "ref_model " + no_model.format("Plain")),
            (tiny(0), str(tmp_path / "base"), "ref_model " + no_model.format("str")),
            (tiny(0), wrapped, r"ref_model is a PeftModel.*merge_and_unload"),
            (str(tmp_path / "adapter"), None, r"holds an adapter.*AutoPeftModelForCausalLM.*is_trainable=True"),
        ):
            with pytest.raises(ValueError, match=said):
                made_as_given(make, tmp_path, model, reference)
        assert folder(Plain(), poz.dpo) == "model-dpo"

    @BOTH
    def test_adapters_that_peft_keeps_alone(self, tmp_path, make):
        alone = peft.AdaLoraConfig(total_step=10, target_modules=["q_proj"], task_type="CAUSAL_LM")
        for config, model in ((alone, tiny(0)), (adapter(bias="all"), with_biases())):
            with pytest.raises(ValueError, match=r"second adapter.*only 1.*ref_model"):
                make(tmp_path, peft.get_peft_model(model, config), name_for(make))

"""What poz's trainers for TRL do with weights that `max_length` cuts, and models that they say no to."""

import datasets
import peft
import pytest
import torch
from transformers import LlamaForSequenceClassification, LlamaModel, T5Config, T5ForConditionalGeneration
from trl_tiny import MARKS, PAIRS, WITH_COLUMNS, Bytes, inputs, kto_settings, kto_trainer, lora, settings, tiny
from trl_tiny import trainer as pairs_trainer

import poz
from poz.integrations.trl import DPOTrainer
from poz.integrations.trl_kto import KTOTrainer

pytestmark = [
    *MARKS,
    pytest.mark.filterwarnings("ignore:The `'keep_end'` truncation mode is deprecated:FutureWarning"),
]


def t5():
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 2}
    tokens = {"vocab_size": 384, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return T5ForConditionalGeneration(T5Config(**shape, **tokens))


class TestWeightsThatAreCut:
    @pytest.mark.parametrize("mode", ["keep_start", "keep_end"])
    @pytest.mark.parametrize("length", [16, 20])
    def test_along_with_their_tokens(self, tmp_path, mode, length):
        arguments = {"max_length": length, "truncation_mode": mode}
        made = pairs_trainer(tmp_path, tiny(0), "tis_dpo", WITH_COLUMNS, arguments=arguments)
        batch = inputs(made)
        cut = 0
        for i, row in enumerate(made.train_dataset):
            for side, at in (("chosen", i), ("rejected", len(made.train_dataset) + i)):
                before = len(row["prompt_ids"])
                whole = [0.0] * before + row[f"{side}_weights"]
                kept = whole[:length] if mode == "keep_start" else whole[-length:]
                cut += len(kept) < len(whole)
                found = batch[f"{side}_weights"][i]
                assert found.tolist() == pytest.approx([*kept, *[0.0] * (len(found) + 1 - len(kept))][1:])
                assert bool(batch["completion_mask"][at, 1:][found != 0].all())
        assert cut >= 2
        made.train()
        assert made.state.global_step == 2

    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            ({"chosen_weights": [1.0] * 4}, r"row 2.*'chosen_weights' must hold one number .* got 4 for 3 tokens"),
            ({"chosen_weights": [1.0, -0.5, 1.0]}, r"row 2.*'chosen_weights' must hold numbers of 0 or more; got -0.5"),
            ({"rejected_weights": []}, r"row 2.*'rejected_weights' must hold one number .* got 0 for 9 tokens"),
        ],
    )
    def test_other_numbers_are_found_when_the_trainer_is_made(self, tmp_path, columns, said):
        rows = [{**row, **(columns if i == 2 else {})} for i, row in enumerate(WITH_COLUMNS)]
        with pytest.raises(ValueError, match=said):
            pairs_trainer(tmp_path, tiny(0), "tis_dpo", rows)
        made = pairs_trainer(tmp_path, tiny(0), "tis_dpo", WITH_COLUMNS)
        with pytest.raises(ValueError, match=said):
            made.evaluate(datasets.Dataset.from_list(rows))

    def test_lists_of_several_lengths(self, tmp_path):
        rows = [{**row, "prompt_embedding": [1.0] * (2 + (i == 3))} for i, row in enumerate(WITH_COLUMNS)]
        with pytest.raises(ValueError, match=r"row 3.*'prompt_embedding' holds 3 numbers, and 2 in the rows before"):
            pairs_trainer(tmp_path, tiny(0), "relative_po", rows)


class TestModels:
    @pytest.mark.parametrize(("make", "free"), [(DPOTrainer, "simpo"), (KTOTrainer, "bco")])
    def test_an_encoder_decoder(self, tmp_path, make, free):
        arguments = (kto_settings if make is KTOTrainer else settings)(tmp_path)
        t5().save_pretrained(tmp_path / "t5")
        given = {"args": arguments, "train_dataset": datasets.Dataset.from_list(PAIRS), "processing_class": Bytes()}
        said = "`t5` is an encoder-decoder.*poz.torch.logps"
        for model in (t5(), str(tmp_path / "t5")):
            for more in ({}, {"objective": free}):
                with pytest.raises(ValueError, match=said):
                    make(model, **given, **more)
        with pytest.raises(ValueError, match=said):
            make(tiny(0), t5(), **given)

    @pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])
    @pytest.mark.parametrize("kind", [LlamaModel, LlamaForSequenceClassification])
    def test_a_model_without_a_head(self, tmp_path, make, kind):
        with pytest.raises(ValueError, match=rf"{kind.__name__} has no language-model head.*AutoModelForCausalLM"):
            make(tmp_path, kind(tiny(0).config), "dpo" if make is pairs_trainer else "kto")

    @pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])
    @pytest.mark.parametrize(("names", "active"), [(["mine"], "mine"), (["default", "other"], "other")])
    def test_adapters_of_other_names(self, tmp_path, make, names, active):
        """The reference would be a copy of another adapter than the one that is active."""
        first, *rest = names
        model = peft.get_peft_model(tiny(0), lora(), adapter_name=first)
        for name in rest:
            model.add_adapter(name, lora())
        model.set_adapter(active)
        with pytest.raises(ValueError, match=rf"the adapter named default .* of which {active} is active.*alone"):
            make(tmp_path, model, "dpo" if make is pairs_trainer else "kto")

    def test_a_second_trainer_on_an_adapter(self, tmp_path):
        model = pairs_trainer(tmp_path, peft.get_peft_model(tiny(0), lora()), "dpo").model
        with pytest.raises(ValueError, match=r"got default, ref, .*goes by delete_adapter\('ref'\)"):
            pairs_trainer(tmp_path, model, "dpo")
        model.delete_adapter("ref")
        assert "ref" in pairs_trainer(tmp_path, model, "dpo").model.peft_config

    @pytest.mark.parametrize("make", [pairs_trainer, kto_trainer])
    @pytest.mark.parametrize("adapted", [True, False])
    def test_rows_of_a_tied_head(self, tmp_path, make, adapted):
        config = peft.LoraConfig(
            r=4, target_modules=["q_proj"], trainable_token_indices=[35, 114], task_type="CAUSAL_LM"
        )
        tied = tiny(0).config
        tied.tie_word_embeddings = True
        model, given = type(tiny(0))(tied), {"peft_config": config}
        if adapted:
            model, given = peft.get_peft_model(model, config), {}
        said = r"trainable_token_indices.*tied to the head.*tie_word_embeddings=False"
        with pytest.raises(ValueError, match=said):
            make(tmp_path, model, "dpo" if make is pairs_trainer else "kto", **given)

    def test_rows_of_embeddings_of_their_own_are_trained(self, tmp_path):
        config = peft.LoraConfig(
            r=4, target_modules=["q_proj"], trainable_token_indices=[35, 114], task_type="CAUSAL_LM"
        )
        made = pairs_trainer(tmp_path, tiny(0), poz.simpo, peft_config=config)
        name = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta.default"
        before = made.model.get_parameter(name).clone()
        made.train()
        assert not torch.equal(made.model.get_parameter(name), before)

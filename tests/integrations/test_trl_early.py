"""What would fail in the first step, or train something else, is refused when a trainer of TRL is made, or at its first loss."""

import copy

import datasets
import peft
import pytest
import torch
from trl_tiny import MARKS, PAIRS, Bytes, inputs, kto_settings, kto_trainer, loss_and_gradients, settings, tiny
from trl_tiny import trainer as pairs_trainer

import poz
from poz.integrations.trl import DPOTrainer
from poz.integrations.trl_kto import KTOTrainer
from poz.torch import LCPO

pytestmark = MARKS
BOTH = pytest.mark.parametrize(("make", "name"), [(pairs_trainer, "dpo"), (kto_trainer, "kto")])


def rows(count, seed=1):
    """A model of so many tokens; those of `Bytes` are 259."""
    config = tiny(seed).config
    config.vocab_size = count
    return type(tiny(seed))(config)


class TestRowsOfTheReference:
    @BOTH
    @pytest.mark.parametrize("precomputed", [False, True])
    def test_fewer_than_tokens_are_refused(self, tmp_path, make, name, precomputed):
        arguments = {"precompute_ref_log_probs": precomputed}
        said = r"ref_model has 100 rows of embeddings, and the policy 384, of which the tokenizer has ids up to 258.*resize"
        with pytest.raises(ValueError, match=said):
            make(tmp_path, tiny(0), name, ref_model=rows(100), arguments=arguments)

    @BOTH
    def test_rows_that_no_token_has_may_lack(self, tmp_path, make, name):
        """Models of one family are padded to several sizes."""
        assert loss_and_gradients(make(tmp_path, tiny(0), name, ref_model=rows(259)))[0] > 0


class TestAnnotators:
    @pytest.mark.parametrize(
        "objective",
        [
            LCPO(num_annotators=2),
            poz.gr_dpo.bind(weights=(0.5, 0.5)),
            poz.lcpo.bind(reliability=torch.tensor([0.9, 0.6])),
        ],
        ids=["LCPO", "gr_dpo", "lcpo"],
    )
    @pytest.mark.parametrize(
        ("ids", "said"),
        [
            (["bo", "al"] * 2, "row 0: .*'bo'"),
            ([0.0, 0.5, 1.0, 1.0], "row 1: .*0.5"),
            ([0, 1, 2, 1], "row 2: .*2"),
            ([0, 1, 1, -1], "row 3: .*-1"),
        ],
    )
    def test_ids_that_are_no_rows_are_refused(self, tmp_path, objective, ids, said):
        data = [{**pair, "annotator": one} for pair, one in zip(PAIRS, ids, strict=True)]
        with pytest.raises(ValueError, match=rf"'train', {said}.*whole number from 0 to 1.*'annotator'"):
            pairs_trainer(tmp_path, tiny(0), objective, data)

    def test_of_a_stream_the_first_is_looked_at(self, tmp_path):
        data = datasets.Dataset.from_list([{**pair, "annotator": "bo"} for pair in PAIRS]).to_iterable_dataset()
        given = {"args": settings(tmp_path), "train_dataset": data, "processing_class": Bytes()}
        with pytest.raises(ValueError, match=r"row 0: .*'bo'.*lcpo_em"):
            DPOTrainer(tiny(0), **given, objective=LCPO(num_annotators=2))

    @pytest.mark.parametrize("objective", [LCPO(), poz.lcpo.bind(reliability=0.8)], ids=["LCPO", "lcpo"])
    def test_of_one_reliability_for_all_ids_say_nothing(self, tmp_path, objective):
        data = [{**pair, "annotator": one} for pair, one in zip(PAIRS, ["bo", "al"] * 2, strict=True)]
        losses = [loss_and_gradients(pairs_trainer(tmp_path, tiny(0), objective, rows))[0] for rows in (data, PAIRS)]
        assert losses[0] == losses[1]


class Scaled(torch.nn.Linear):
    def forward(self, hidden):
        return 3 * super().forward(hidden)


class TestHeadsThatAreChangedAfterwards:
    def replaced(self, model):
        model.lm_head = Scaled(32, 384, bias=False)

    def wrapped(self, model):
        plain = model.lm_head.forward
        model.lm_head.forward = lambda hidden: 30 * torch.tanh(plain(hidden) / 30)

    def capped(self, model):
        model.config.final_logit_softcapping = 30.0

    def scaled(self, model):
        model.config.logit_scale = 0.5

    def adapted(self, model):
        model.add_adapter(peft.LoraConfig(target_modules=["lm_head"]))

    @BOTH
    @pytest.mark.parametrize("change", ["replaced", "wrapped", "capped", "scaled", "adapted"])
    @pytest.mark.parametrize("which", ["model", "ref_model"])
    def test_are_seen_at_the_first_loss(self, tmp_path, make, name, change, which):
        made = make(tmp_path, tiny(0), name, ref_model=tiny(1))
        getattr(self, change)(getattr(made, which))
        batch = inputs(made)
        with pytest.raises(
            ValueError, match=r"head of (the policy|ref_model), .*`llama`.* after the trainer was made.*before"
        ):
            made.compute_loss(made.model, batch)

    @pytest.mark.parametrize(("make", "arguments"), [(DPOTrainer, settings), (KTOTrainer, kto_settings)])
    def test_what_is_changed_before_is_what_is_trained(self, tmp_path, make, arguments):
        model = copy.deepcopy(tiny(0))
        model.config.logit_scale = None
        model.resize_token_embeddings(400)
        data = datasets.Dataset.from_list(PAIRS)
        made = make(model, None, arguments(tmp_path), train_dataset=data, processing_class=Bytes())
        made.train()
        assert made.state.global_step == 2


class TestAdaptionPrompt:
    """TRL's own trainers lose its log-probs too: AttributeError of TRL 1.16 in the first step."""

    @BOTH
    @pytest.mark.parametrize("wrapped", [False, True])
    @pytest.mark.parametrize("referred", [False, True])
    def test_is_refused_for_what_it_does(self, tmp_path, make, name, wrapped, referred):
        config = peft.AdaptionPromptConfig(adapter_len=4, adapter_layers=1, task_type="CAUSAL_LM")
        model, given = tiny(0), {"peft_config": config}
        if wrapped:
            model, given = peft.get_peft_model(model, config), {}
        given["ref_model"] = tiny(1) if referred else None
        with pytest.raises(ValueError, match=r"ADAPTION_PROMPT.*holds the model's forward pass.*another adapter"):
            make(tmp_path, model, name, **given)

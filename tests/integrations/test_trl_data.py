"""Data sets in the trainers: the layouts of `tests/layouts.py` as tokens, and what is found before any training."""

import re

import datasets
import pytest
from layouts import ASK, BAD, GOOD, LAYOUTS, NO, REFUSED, USER, YES
from trl_tiny import MARKS, Bytes, kto_settings, settings
from trl_tiny import kto_trainer as single_trainer
from trl_tiny import trainer as pairs_trainer

from poz.integrations.trl import DPOTrainer
from poz.integrations.trl_kto import KTOTrainer

pytestmark = MARKS[:2]  # empty prompts are counted here
AS_IN_HH = (
    "{% for m in messages %}"
    "{{ '\n\n' + {'user': 'Human', 'assistant': 'Assistant', 'system': 'System'}[m['role']] + ': ' + m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
)
SINGLE = [name for name, (rows, _) in LAYOUTS.items() if {"label", "kto_tag"} & rows[0].keys()]
FEW = ["HuggingFaceH4/ultrafeedback_binarized", "Intel/orca_dpo_pairs", "berkeley-nest/Nectar", "TRL, text"]
MANY = [
    *FEW,
    "allenai/llama-3.1-tulu-3-8b-preference-mixture",
    "argilla/distilabel-capybara-dpo-7k-binarized",
    "argilla's distilabel, not binarized",
    "stanfordnlp/SHP",
    "xinlai/Math-Step-DPO-10K",
    "lmsys/chatbot_arena_conversations",
    "LLaMA-Factory, Alpaca",
    "LLaMA-Factory, ShareGPT (hiyouga/DPO-En-Zh-20k)",
    "ms-swift, rejected_response",
    "Anthropic/hh-rlhf",
    "a text prompt before messages that answer",
    "a prompt that the answers repeat",
    "a short one, in every row",
    "a short one, by chance",
]
UNCERTAIN = [
    "a context of no known place",
    "no prompt, and a text that may be it",
    "another prompt than in the dialogues",
    "a list prompt that goes on after what the dialogues share",
    "a question that the dialogue answers",
    "roles in capitals",
]
PAIR = {"prompt": ASK, "chosen": GOOD, "rejected": BAD}
ONE = {"prompt": ASK, "completion": GOOD, "label": True}


@pytest.fixture(scope="module")
def tokenizer():
    made = Bytes()
    made.chat_template = AS_IN_HH
    return made


def trainer(folder, policy, tokenizer, rows, objective="simpo", *, stream=False, evaluated=None, **more):
    given = {"processing_class": tokenizer, "arguments": more}
    if stream:
        given["train_dataset"] = datasets.Dataset.from_list(rows).to_iterable_dataset()
    if evaluated is not None:
        given["eval_dataset"] = datasets.Dataset.from_list(evaluated)
    return pairs_trainer(folder, policy, objective, rows, **given)


def kto_trainer(folder, policy, tokenizer, rows, **more):
    return single_trainer(folder, policy, "bco", rows, processing_class=tokenizer, arguments=more)


def texts(tokenizer, rows, *names):
    end = tokenizer.eos_token
    return [tuple(tokenizer.decode(row[f"{name}_ids"]).removesuffix(end) for name in names) for row in rows]


@pytest.mark.parametrize("name", MANY)
def test_pairs(tmp_path, policy, tokenizer, name):
    rows, expected = LAYOUTS[name]
    made = trainer(tmp_path, policy, tokenizer, rows)
    assert texts(tokenizer, made.train_dataset, "prompt", "chosen", "rejected") == [pair[:3] for pair in expected]


@pytest.mark.parametrize("name", FEW)
def test_a_stream(tmp_path, policy, tokenizer, name):
    rows, expected = LAYOUTS[name]
    made = trainer(tmp_path, policy, tokenizer, rows * 3, stream=True)
    assert texts(tokenizer, made.train_dataset, "prompt", "chosen", "rejected") == [pair[:3] for pair in expected] * 3


@pytest.mark.parametrize("name", SINGLE + FEW)
def test_single_completions(tmp_path, policy, tokenizer, name):
    rows, pairs = LAYOUTS[name]
    made = kto_trainer(tmp_path, policy, tokenizer, rows).train_dataset
    found = zip(texts(tokenizer, made, "prompt", "completion"), made["label"], strict=True)
    expected = [((pair[0], pair[side]), side == 1) for side in (1, 2) for pair in pairs]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", UNCERTAIN)
def test_refused_when_the_trainer_is_made(tmp_path, policy, tokenizer, name):
    row, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=f"the training data set, row 0.*{re.escape(sentence)}"):
        trainer(tmp_path, policy, tokenizer, [row])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
@pytest.mark.parametrize("which", ["train", "eval"])
def test_no_number_in_row_17(tmp_path, policy, tokenizer, value, which):
    rows = [{**PAIR, "margin": 1.0 if i != 17 else value} for i in range(20)]
    sets = (rows, rows[:9]) if which == "train" else (rows[:9], rows)
    got = "null" if value is None else str(value)
    with pytest.raises(ValueError, match=f"'{which}', row 17: 'margin' must hold finite numbers; got {got}"):
        trainer(tmp_path, policy, tokenizer, sets[0], "odpo", evaluated=sets[1])
    assert len(trainer(tmp_path, policy, tokenizer, rows).train_dataset) == 20  # nobody reads it


@pytest.mark.parametrize(
    ("value", "got"), [("True", "a text"), ("yes", "a text"), (None, "null"), (-1, "-1"), (0.5, "0.5")]
)
def test_a_label_that_is_none(tmp_path, policy, tokenizer, value, got):
    rows = [{**ONE, "label": value}] * 2
    with pytest.raises(ValueError, match=f"row 0: 'label' says whether the completion is good: .*; got {got}"):
        kto_trainer(tmp_path, policy, tokenizer, rows)
    made = kto_trainer(tmp_path, policy, tokenizer, [{**ONE, "label": 1}, {**ONE, "label": 0}])
    assert made.train_dataset["label"] == [True, False]


def test_a_probability_that_is_none(tmp_path, policy, tokenizer):
    with pytest.raises(ValueError, match=r"row 1: 'label' is the probability .*; got 2\.0"):
        trainer(tmp_path, policy, tokenizer, [{**PAIR, "label": 1.0}, {**PAIR, "label": 2.0}], "cpl")


def test_single_completions_are_for_the_other_trainer(tmp_path, policy, tokenizer):
    with pytest.raises(ValueError, match=r"row 0 holds one completion and a label, not a pair. Use .*KTOTrainer"):
        trainer(tmp_path, policy, tokenizer, [ONE, ONE])


def test_scores_are_the_margin_where_it_is_read(tmp_path, policy, tokenizer):
    rows = [{**PAIR, "score_chosen": 3.0 + i, "score_rejected": 1.0} for i in range(3)]
    assert trainer(tmp_path, policy, tokenizer, rows, "odpo").train_dataset["margin"] == [2.0, 3.0, 4.0]
    assert "margin" not in trainer(tmp_path, policy, tokenizer, rows).train_dataset.column_names
    with pytest.raises(ValueError, match="row 3 has no 'margin', which the rows before it have"):
        trainer(tmp_path, policy, tokenizer, [*rows, {**PAIR, "score_chosen": None, "score_rejected": 1.0}], "odpo")


def test_texts_beside_messages(tmp_path, policy, tokenizer):
    dialogue = "\n\nHuman: Hi\n\nAssistant:"
    rows = [{"question": ASK, "chosen": GOOD, "rejected": BAD}]
    rows += [{"question": None, "chosen": f"{dialogue} yes", "rejected": f"{dialogue} no"}]
    with pytest.raises(
        ValueError, match=r"row 1 holds texts, and the rows before it messages. Give all as one of them"
    ):
        trainer(tmp_path, policy, tokenizer, rows)


def test_messages_without_a_prompt(tmp_path, policy, tokenizer):
    with pytest.raises(ValueError, match="row 0 has no prompt before its messages; it has 'chosen', 'rejected'"):
        trainer(tmp_path, policy, tokenizer, [{"chosen": YES, "rejected": NO}])


def test_empty_prompts_are_counted(tmp_path, policy, tokenizer):
    with pytest.warns(UserWarning, match="the data set 'train': 1 of 2 prompts are empty"):
        trainer(tmp_path, policy, tokenizer, [PAIR, {**PAIR, "prompt": ""}])


def test_prompts_that_leave_no_room(tmp_path, policy, tokenizer):
    rows = [{**PAIR, "prompt": ASK * n} for n in (1, 9, 9)]
    with pytest.warns(UserWarning, match="'train': left out 2 of 3 examples, whose prompts alone fill max_length=100"):
        assert len(trainer(tmp_path, policy, tokenizer, rows, max_length=100).train_dataset) == 1
    with pytest.warns(UserWarning, match="'train': left out 4 of 6 examples, whose prompts alone fill max_length=100"):
        assert len(kto_trainer(tmp_path, policy, tokenizer, rows, max_length=100).train_dataset) == 2
    for make in (trainer, kto_trainer):
        with pytest.raises(
            ValueError, match="No example of the data set 'train' is left: each prompt alone fills max_len"
        ):
            make(tmp_path, policy, tokenizer, rows, max_length=10)


def test_a_data_set_for_evaluation_alone(tmp_path, policy, tokenizer):
    rows, _ = LAYOUTS["HuggingFaceH4/ultrafeedback_binarized"]
    made = trainer(tmp_path, policy, tokenizer, rows, per_device_eval_batch_size=1)
    again = made.evaluate(datasets.Dataset.from_list(rows))["eval_loss"]
    plain = {"prompt": USER, "chosen": YES, "rejected": NO}
    assert again == made.evaluate(datasets.Dataset.from_list([plain]))["eval_loss"]


def test_a_dictionary_of_data_sets(tmp_path, policy, tokenizer):
    made = datasets.DatasetDict(train=datasets.Dataset.from_list([PAIR]))
    with pytest.raises(TypeError, match=r"must be one data set; got a DatasetDict of 'train'\. Give one of them"):
        DPOTrainer(policy, args=settings(tmp_path), train_dataset=made, processing_class=tokenizer, objective="simpo")


def test_ties_and_equal_answers_are_left_out_and_counted(tmp_path, policy, tokenizer):
    judged = {"prompt": ASK, "response1": GOOD, "response2": BAD}
    rows = [{**judged, "overall_preference": n} for n in (0, 1)] + [
        {**judged, "response1": BAD, "overall_preference": 1}
    ]
    with pytest.warns(UserWarning, match="left out 2 of 3 rows, which are ties or have answers that are the same"):
        made = trainer(tmp_path, policy, tokenizer, rows)
    assert texts(tokenizer, made.train_dataset, "chosen", "rejected") == [(BAD, GOOD)]
    with pytest.raises(ValueError, match="'train' are ties or have answers that are the same"):
        trainer(tmp_path, policy, tokenizer, [{**PAIR, "rejected": GOOD}])


def test_names_for_labels(tmp_path, policy, tokenizer):
    rows = datasets.Dataset.from_list([{**ONE, "label": 1}])
    named = rows.cast_column("label", datasets.ClassLabel(names=["desirable", "undesirable"]))
    with pytest.raises(ValueError, match="'label' has the classes 'desirable', 'undesirable'"):
        KTOTrainer(
            policy,
            args=kto_settings(tmp_path),
            train_dataset=named,
            processing_class=tokenizer,
            objective="bco",
        )

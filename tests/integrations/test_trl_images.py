"""Pairs and single completions with images: TRL's losses and gradients, and in sentences what cannot be right."""

import copy

import datasets
import pytest
import torch
import trl
from trl_tiny import MARKS, close, kto_settings, settings
from vlm_tiny import VISION_PAIRS, picture, processor, vision_model

import poz
from poz.integrations.trl import DPOTrainer, KTOTrainer

pytestmark = MARKS
SINGLE = [
    {"images": pair["images"], "prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
    for pair in VISION_PAIRS
    for side in ("chosen", "rejected")
]


@pytest.fixture(scope="module")
def policy():
    return vision_model(0)


@pytest.fixture(scope="module")
def other():
    return vision_model(1)


def trainer(folder, model, objective, rows=VISION_PAIRS, ref_model=None, arguments=None, **more):
    single = "completion" in rows[0]
    theirs, ours = (trl.KTOTrainer, KTOTrainer) if single else (trl.DPOTrainer, DPOTrainer)
    make = kto_settings if single else settings
    return (theirs if objective is None else ours)(
        copy.deepcopy(model),
        copy.deepcopy(ref_model),
        make(folder, **(arguments or {})),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor(),
        **({} if objective is None else {"objective": objective}),
        **more,
    )


def loss_and_gradients(made):
    made.model.train()
    batch = made.data_collator([made.train_dataset[i] for i in range(len(made.train_dataset))])
    loss = made.compute_loss(made.model, dict(batch))
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in made.model.named_parameters() if p.grad is not None}, batch


@pytest.mark.parametrize("rows", [VISION_PAIRS, SINGLE], ids=["pairs", "single completions"])
def test_loss_and_every_gradient_equal_trls(tmp_path, policy, other, rows):
    """Towers, projector and language model; the reference sees the images too."""
    objective = "kto" if rows is SINGLE else "dpo"
    found = [loss_and_gradients(trainer(tmp_path, policy, one, rows, other)) for one in (None, objective)]
    (expected, gradients, _), (loss, ours, batch) = found
    close(loss, expected, "loss", 1e-6)
    assert ours.keys() == gradients.keys()
    assert batch["pixel_values"].shape[0] == (len(rows) if rows is SINGLE else 2 * len(rows))
    assert gradients["model.vision_tower.embeddings.patch_embedding.weight"].abs().max() > 1e-6
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():  # that of a key's bias is 0, up to rounding
        torch.testing.assert_close(ours[name], gradient, rtol=2e-5, atol=2e-6 * float(largest), msg=name)


def test_an_objective_with_a_column_through_training_and_evaluation(tmp_path, policy):
    rows = [{**pair, "margin": 0.5 + i} for i, pair in enumerate(VISION_PAIRS)]
    evaluated = datasets.Dataset.from_list(rows)
    made = trainer(tmp_path, policy, poz.pro, rows, arguments={"max_steps": 1}, eval_dataset=evaluated)
    before = made.evaluate()["eval_loss"]
    made.train()
    (loss,) = (row["loss"] for row in made.state.log_history if "loss" in row)
    assert loss == pytest.approx(before, rel=1e-5)
    assert made.evaluate()["eval_loss"] != before


WEIGHTED = [{**pair, "chosen_weights": [1.0], "rejected_weights": [1.0]} for pair in VISION_PAIRS]


def refused(rows=VISION_PAIRS, **changed):
    return [{**rows[0], **changed}, *rows[1:]]


@pytest.mark.parametrize(
    ("rows", "objective", "arguments", "said"),
    [
        (refused(chosen="no"), "dpo", {}, "row 0, has two answers that are the same"),
        (refused(chosen=""), "dpo", {}, "row 0, has no 'chosen'; with images it wants 'prompt', 'chosen', 'rejected'"),
        ([{**one, "label": 2 - i} for i, one in enumerate(SINGLE)], "kto", {}, "'label' must be true or false, 1 or 0; got 2"),
        (WEIGHTED, "tis_dpo", {}, "a number for each token"),
        (VISION_PAIRS, "dpo", {"precompute_ref_log_probs": True}, "precompute_ref_log_probs"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(tmp_path, policy, rows, objective, arguments, said):
    with pytest.raises(ValueError, match=said):
        trainer(tmp_path, policy, objective, rows, arguments=arguments)


def test_texts_beside_images_and_completions_that_are_cut_off(tmp_path, policy):
    texts = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    with pytest.raises(ValueError, match="'eval' has no images, and the training data set has"):
        trainer(tmp_path, policy, "dpo", eval_dataset=texts)
    made = trainer(tmp_path, policy, "kto", SINGLE, arguments={"per_device_train_batch_size": 5})
    with pytest.raises(ValueError, match="A KL sample needs the completion of a second example in the batch"):
        made.train()
    made = trainer(tmp_path, policy, "dpo", arguments={"max_length": 6})
    with pytest.raises(ValueError, match="max_length=6 leaves nothing of a completion"):
        made.train()


def test_the_picture_counts(tmp_path, policy):
    losses = [loss_and_gradients(trainer(tmp_path, policy, "simpo", refused(images=[picture(i)])))[0] for i in (0, 9)]
    assert losses[0] != losses[1]

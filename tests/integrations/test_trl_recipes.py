"""TRL's experimental CPO and ORPO: what the recipes of docs/trainers.md say of them, beside these trainers themselves."""

import copy

import datasets
import pytest
import torch
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
from trl_tiny import MARKS, PAIRS, SHORT, Bytes, close, loss_and_gradients, trainer

import poz

pytestmark = MARKS
PROMPTED = PAIRS[:3]  # TRL's means leave out the first token of a row, which has no log-prob

plain, nll = poz.cpo.bind(nll_weight=0.0, beta=0.2), poz.sft.bind(normalizer="batch_tokens")
RECIPES = {
    "simpo": ({"loss_type": "simpo", "cpo_alpha": 0.0}, poz.simpo.bind(beta=0.2, gamma=0.5)),
    "simpo with an NLL": (
        {"loss_type": "simpo"},
        poz.combine([(poz.simpo.bind(beta=0.2, gamma=0.5), 1.0), (nll, 1.0)]),
    ),
    "sigmoid": ({"cpo_alpha": 0.0}, plain),
    "sigmoid with an NLL": ({"cpo_alpha": 0.7}, poz.combine([(plain, 1.0), (nll, 0.7)])),
}


def theirs(folder, policy, make, configure, **arguments):
    config = configure(
        str(folder), per_device_train_batch_size=3, gradient_checkpointing=False, beta=0.2, **SHORT, **arguments
    )
    data = datasets.Dataset.from_list(PROMPTED)
    return make(copy.deepcopy(policy), config, train_dataset=data, processing_class=Bytes())


@pytest.mark.parametrize("name", RECIPES)
def test_cpo_is_an_objective(tmp_path, policy, name):
    arguments, objective = RECIPES[name]
    (expected, gradients), (loss, found) = (
        loss_and_gradients(one)
        for one in (
            theirs(tmp_path, policy, CPOTrainer, CPOConfig, **arguments),
            trainer(tmp_path, policy, objective, PROMPTED),
        )
    )
    close(loss, expected, "loss", 1e-6)
    for key, gradient in gradients.items():
        close(found[key], gradient, key)
    assert gradients["lm_head.weight"].abs().max() > 1e-4


def test_orpo_but_for_the_nll_of_the_prompt(tmp_path, policy):
    """TRL's NLL is over the prompt too, as its paper's authors have it; without both NLLs the two are the same."""
    made = theirs(tmp_path, policy, ORPOTrainer, ORPOConfig)
    batch = made.data_collator([made.train_dataset[i] for i in range(3)])
    with torch.no_grad():
        loss, metrics = made.get_batch_loss_metrics(made.model, batch)
    ours, likely = (
        float(loss_and_gradients(trainer(tmp_path, policy, objective, PROMPTED))[0])
        for objective in (poz.orpo.bind(odds_weight=0.2), poz.sft.bind(normalizer="mean"))
    )
    assert ours - likely == pytest.approx(float(loss) - metrics["nll_loss"], rel=1e-5)
    assert metrics["nll_loss"] != pytest.approx(likely, rel=1e-3)

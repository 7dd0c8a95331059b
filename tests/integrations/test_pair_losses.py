"""Adapters whose trainers call a loss with summed log-probs: what they share, and what they refuse without the library."""

import re

import pytest
import torch

import poz
from poz.integrations import llamafactory
from poz.torch import PreferenceLoss

YAML = {"stage": "dpo", "pref_beta": 0.1}
POLICY, REFERENCE = torch.tensor([[-3.0, -5.0], [-4.0, -1.0]]), torch.tensor([[-2.0, -5.5], [-4.5, -2.0]])
LENGTHS = torch.tensor([[3, 2], [4, 1]])


def refused(objective, said, *, where=llamafactory.train, **params):
    with pytest.raises(ValueError, match=r"\.$") as error:
        where(objective, said, **params)
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "An objective is needed, with its hyper-parameters, as in: simpo beta=2 gamma=1. Got none."),
        (["simpo", "beta"], "After `simpo` come hyper-parameters, each once, as in beta=2; got 'beta'."),
        (["simpo", "beta=2", "beta=3", "--", "x.yaml"], "each once, as in beta=2; got 'beta=3'."),
        (["simpo", "beta=-2", "--", "x.yaml"], "for beta; got -2"),
        (["simpo", "beta=2"], "After the objective come -- and LLaMA-Factory's yaml; got none."),
        (["simpo", "--", "beta=2"], "got beta=2."),
    ],
)
def test_a_command_that_says_too_little(words, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        llamafactory.main(words)


def test_a_name_that_is_none_is_set_right():
    with pytest.raises(poz.UnknownObjective, match="simpo"):
        llamafactory.main(["simp", "--", "x.yaml"])


@pytest.mark.parametrize(
    ("objective", "said", "sentence"),
    [
        (
            "dpo",
            {"pref_beta": 0.3},
            "told pref_beta=0.3, and trains poz.dpo.bind(beta=0.1, label_smoothing=0.0). Leave that setting",
        ),
        ("ipo", YAML, "is told pref_beta=0.1, and trains poz.ipo.bind("),
        ("dpo", {"dpo_label_smoothing": 0.1}, "told dpo_label_smoothing=0.1, and trains"),
        ("simpo", {"simpo_gamma": 0.5}, "told simpo_gamma=0.5, and trains"),
        ("dpo", {"ld_alpha": 0.5}, "told ld_alpha=0.5, and trains"),
        ("dpo", {"pref_bco_weight": 1.0}, "told pref_bco_weight=1.0"),
        ("dpo", {"pref_loss": "simpo"}, "told pref_loss='simpo', and"),
        ("simpo", {"pref_loss": "sigmoid"}, "told pref_loss='sigmoid', and"),
        (
            "dpo",
            {"stage": "kto"},
            "goes into stage: dpo of LLaMA-Factory, without USE_RAY and USE_MCA; got stage: kto.",
        ),
        ("odpo", {}, "`odpo` reads the column 'margin', and LLaMA-Factory gives a loss no column of the data."),
        ("aot", {"gradient_accumulation_steps": 4}, "so gradient_accumulation_steps=4 would change it. Set 1."),
        ("tdpo", {}, "Give the tokens to poz.torch.scored_losses."),
        ("grpo", {}, "which pairs of completions do not make"),
    ],
)
def test_llamafactory_is_not_told_what_is_ignored(objective, said, sentence):
    assert sentence in refused(objective, {"stage": "dpo", **said})


@pytest.mark.parametrize("name", ["USE_RAY", "USE_MCA"])
def test_llamafactory_that_trains_elsewhere(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert f"got stage: dpo {name}=1." in refused("dpo", YAML)


@pytest.mark.parametrize("name", ["dpo", "simpo", "ipo", "mnpo", "kto", "npo"])
def test_each_pair_has_a_loss_whatever_has_one(name):
    from poz.integrations._pairs import PairLosses

    bound = poz.kto.bind(estimator="zero") if name == "kto" else poz.zoo[name]
    losses, *rewards = PairLosses("Here", bound).of(POLICY, REFERENCE, LENGTHS)
    mean, *expected = PreferenceLoss(bound, "mean")(*POLICY, *REFERENCE, chosen_len=LENGTHS[0], rejected_len=LENGTHS[1])
    assert losses.shape == (2,)
    torch.testing.assert_close(losses.mean(), mean)
    torch.testing.assert_close(rewards, expected)

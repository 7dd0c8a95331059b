"""Adapters whose trainers call a loss with summed log-probs: what they share, and what they refuse without the library."""

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import poz
from poz.integrations import llamafactory, openrlhf, swift
from poz.torch import PreferenceLoss

YAML = {"stage": "dpo", "pref_beta": 0.1}
POLICY, REFERENCE = torch.tensor([[-3.0, -5.0], [-4.0, -1.0]]), torch.tensor([[-2.0, -5.5], [-4.5, -2.0]])
LENGTHS = torch.tensor([[3, 2], [4, 1]])


def refused(*given, where):
    with pytest.raises(ValueError, match=r"\.$") as error:
        where(*given)
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
        ("dpo", {"ld_alpha": 0.0}, "told ld_alpha=0.0, and trains"),
        ("simpo", {"simpo_gamma": 0.0}, "told simpo_gamma=0.0, and trains"),
        ("dpo", {"pref_bco_weight": 1.0}, "told pref_bco_weight=1.0"),
        ("dpo", {"pref_loss": "simpo"}, "told pref_loss='simpo', and"),
        ("simpo", {"pref_loss": "sigmoid"}, "told pref_loss='sigmoid', and"),
        (
            "dpo",
            {"stage": "kto"},
            "goes into stage: dpo of LLaMA-Factory, without USE_RAY and USE_MCA; got kto.",
        ),
        ("odpo", {}, "`odpo` reads the column 'margin', and LLaMA-Factory gives a loss no column of the data."),
        ("aot", {"gradient_accumulation_steps": 4}, "so gradient_accumulation_steps=4 would change it. Set 1."),
        ("tdpo", {}, "Give the tokens to poz.torch.scored_losses."),
        ("grpo", {}, "which pairs of completions do not make"),
    ],
)
def test_llamafactory_is_not_told_what_is_ignored(objective, said, sentence):
    assert sentence in refused(objective, {"stage": "dpo", **said}, where=llamafactory.train)


@pytest.mark.parametrize(
    "said", [{"dpo_label_smoothing": 0.0, "pref_bco_weight": 0.0, "ld_alpha": None}, {"pref_ftx": 0.1}]
)
def test_what_says_nothing_to_llamafactory_is_let_through(said, monkeypatch):
    monkeypatch.setitem(sys.modules, "llamafactory", None)
    with pytest.raises(ImportError, match="llamafactory"):
        llamafactory.train("ipo", {"stage": "dpo", **said})


@pytest.mark.parametrize("name", ["USE_RAY", "USE_MCA"])
def test_llamafactory_that_trains_elsewhere(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert f"got dpo {name}." in refused("dpo", YAML, where=llamafactory.train)


@pytest.fixture
def factory(monkeypatch):
    """ms-swift's, as far as `install` asks for it."""

    class TrainerFactory:
        TRAINER_MAPPING, TRAINING_ARGS_MAPPING = {"dpo": "trainer"}, {"dpo": "arguments"}
        get_cls = staticmethod(lambda args, mapping: ModuleType if mapping["dpo"] == "trainer" else dict)

    logger = SimpleNamespace(info=lambda text: None)
    for name, held in {"trainers": {"TrainerFactory": TrainerFactory}, "utils": {"get_logger": lambda: logger}}.items():
        monkeypatch.setitem(sys.modules, f"swift.{name}", SimpleNamespace(**held))
    monkeypatch.setitem(sys.modules, "swift", ModuleType("swift"))
    return TrainerFactory


def swifts(**said):
    steps = SimpleNamespace(gradient_accumulation_steps=said.pop("gradient_accumulation_steps", 1))
    return SimpleNamespace(**{"rlhf_type": "dpo", "training_args": steps, **swift.DEFAULTS, **said})


@pytest.mark.parametrize(
    ("objective", "said", "sentence"),
    [
        ("dpo", {"beta": 0.3}, "ms-swift is told beta=0.3, and trains poz.dpo.bind"),
        (
            "dpo beta=0.2",
            {"label_smoothing": 0.1},
            "ms-swift is told label_smoothing=0.1, and trains poz.dpo.bind(beta=0.2",
        ),
        ("simpo gamma=1", {"simpo_gamma": 0.5}, "told simpo_gamma=0.5, and trains"),
        ("dpo", {"loss_type": "ipo"}, "told loss_type='ipo', and trains"),
        ("dpo", {"loss_type": ["sigmoid", "sft"]}, "told loss_type=['sigmoid', 'sft'], and trains"),
        ("dpo", {"loss_weights": [1.0]}, "told loss_weights=[1.0], and trains"),
        ("dpo", {"ld_alpha": 0.0}, "told ld_alpha=0.0, and trains"),
        ("dpo", {"rlhf_type": "orpo"}, "poz goes into rlhf_type dpo of ms-swift; got orpo."),
        ("", {}, "An objective is needed, with its hyper-parameters"),
        ("aot", {"gradient_accumulation_steps": 4}, "so gradient_accumulation_steps=4 would change it."),
        ("odpo", {}, "and ms-swift gives a loss no column of the data."),
    ],
)
def test_swift_is_not_told_what_is_ignored(objective, said, sentence, factory):
    swift.install(objective)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        factory.get_cls(swifts(**said), factory.TRAINING_ARGS_MAPPING)


def test_swift_trains_with_its_own_class_and_another_loss(factory):
    swift.install("simpo", beta=2.0, gamma=1.0)
    made = factory.get_cls(swifts(beta=2.0, simpo_gamma=1.0), factory.TRAINER_MAPPING)
    assert issubclass(made, ModuleType)
    assert made.__name__ == "DPOTrainer"
    counts = {f"{side}_completion_token_counts": x for side, x in zip(("chosen", "rejected"), LENGTHS, strict=True)}
    ours = made("x").dpo_loss(*POLICY, None, None, "sigmoid", counts)
    expected = PreferenceLoss("simpo", beta=2.0, gamma=1.0)(*POLICY, chosen_len=LENGTHS[0], rejected_len=LENGTHS[1])
    torch.testing.assert_close(ours, expected)
    assert made("x").compute_ref_log_probs({}) == (None, None)
    assert factory.get_cls(swifts(), factory.TRAINING_ARGS_MAPPING) is dict


def test_swift_of_megatron_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/site/swift/cli/_megatron/rlhf.py"])
    assert "`megatron rlhf` has trainers of its own." in refused("dpo", where=swift.install)


def openrlhfs(beta=0.1, accumulated=1, **model):
    """Its trainer, as far as `exchange` asks for it: log-probs of every second token count."""

    def sums(logps, mask, prompts):
        counted = (logps * mask).sum(-1)
        return counted, counted / mask.sum(-1)

    said = SimpleNamespace(**{"label_smoothing": 0.0, "ipo_enable": False, **model})
    strategy = SimpleNamespace(accumulated_gradient=accumulated)
    return SimpleNamespace(args=SimpleNamespace(model=said), strategy=strategy, beta=beta, _get_batch_logps=sums)


@pytest.mark.parametrize(
    ("objective", "said", "sentence"),
    [
        ("dpo", {"beta": 0.3}, "OpenRLHF is told model.beta=0.3, and trains poz.dpo.bind"),
        ("dpo", {"label_smoothing": 0.1}, "OpenRLHF is told model.label_smoothing=0.1, and trains"),
        ("ipo", {"ipo_enable": True}, "OpenRLHF is told model.ipo_enable=True, and trains"),
        ("aot", {"accumulated": 4}, "so gradient_accumulation_steps=4 would change it."),
        ("odpo", {}, "and OpenRLHF gives a loss no column of the data."),
    ],
)
def test_openrlhf_is_not_told_what_is_ignored(objective, said, sentence):
    assert sentence in refused(openrlhfs(**said), objective, where=openrlhf.exchange)


def test_a_default_of_openrlhf_says_nothing():
    openrlhf.exchange(openrlhfs(), "dpo", beta=0.3, label_smoothing=0.2)
    openrlhf.exchange(openrlhfs(beta=0.01), "simpo")


def test_openrlhf_gets_a_mean_and_lengths_from_what_it_sums():
    trainer = openrlhfs(beta=2.0)
    openrlhf.exchange(trainer, "simpo", beta=2.0, gamma=1.0)
    tokens = -torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(6) < torch.tensor([[3], [2], [4], [6]])
    summed, means = trainer._get_batch_logps(tokens, mask, [0, 0])
    loss, *rewards = trainer.loss_fn(*summed.chunk(2), *REFERENCE)
    chosen, rejected = means.chunk(2)
    torch.testing.assert_close(loss, torch.nn.functional.softplus(1 - 2 * (chosen - rejected)).mean())
    torch.testing.assert_close(rewards, [2 * chosen, 2 * rejected])


@pytest.mark.parametrize("name", ["dpo", "simpo", "ipo", "mnpo", "kto", "npo"])
def test_each_pair_has_a_loss_whatever_has_one(name):
    from poz.integrations._pairs import PairLosses

    bound = poz.kto.bind(estimator="zero") if name == "kto" else poz.zoo[name]
    losses, *rewards = PairLosses("Here", bound).of(POLICY, REFERENCE, LENGTHS)
    mean, *expected = PreferenceLoss(bound, "mean")(*POLICY, *REFERENCE, chosen_len=LENGTHS[0], rejected_len=LENGTHS[1])
    assert losses.shape == (2,)
    torch.testing.assert_close(losses.mean(), mean)
    torch.testing.assert_close(rewards, expected)

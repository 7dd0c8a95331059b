"""Objectives in Axolotl's own `do_cli`, and by its command: `make trainers-axolotl`.

A tiny Llama in float32 on a CPU, plain SGD. Axolotl's reference is the policy before training; where a test needs another one,
it is put there as Axolotl would have loaded it.
"""

import importlib.metadata
import json
import math
import os
import re
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
import yaml
from tiny_pairs import PAIRS, VALUES, Gradients, expected, save

OFFLINE = {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "ACCELERATE_USE_CPU": "true"}
os.environ |= OFFLINE

with warnings.catch_warnings():  # of what Axolotl imports
    warnings.simplefilter("ignore")
    import axolotl.train
    from axolotl.cli.train import do_cli
    from axolotl.integrations.base import BasePlugin, PluginManager
    from transformers import AutoModelForCausalLM
    from trl import DPOTrainer

pytestmark = pytest.mark.filterwarnings("ignore")  # of Axolotl, and of versions that it keeps to
CLOSE = 2e-6  # TRL scores tokens by other sums of float32 terms
FLOAT32 = 2e-5  # log-probs of some 60 nats in float32, beside float64
PLUGIN = "poz.integrations.axolotl.Plugin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axolotl")
    save(folder)
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    rows = [{**pair, "margin": 0.5 * i} for i, pair in enumerate(PAIRS)]
    (folder / "margins.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def written(folder, words=None, data="pairs", **more):
    """The path of the yaml, with an objective in words."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    pairs = {
        "path": str(folder / f"{data}.jsonl"),
        "ds_type": "json",
        "split": "train",
        "type": {"field_prompt": "prompt"},
    }
    said = {
        "base_model": str(folder / "model"),
        "rl": "dpo",
        "datasets": [pairs],
        "dataset_prepared_path": str(folder / "prepared"),
        "dataset_processes": 1,
        "shuffle_merged_datasets": False,
        "val_set_size": 0.0,
        "sequence_len": 128,
        "output_dir": str(folder / "out"),
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "max_steps": 1,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler": "constant",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "gradient_checkpointing": False,
        "attn_implementation": "eager",
        "train_sampling_strategy": "sequential",
        **({} if words is None else {"plugins": [PLUGIN], "poz": words}),
        **more,
    }
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in said.items() if value is not None}))
    return path


@pytest.fixture
def trained(folder, monkeypatch):
    """Trains with an objective in words, or as Axolotl does where there are none: the log, gradients, first batch, trainer."""

    def run(words=None, ref="ref", **more):
        batches, trainers, gradients, make = [], [], Gradients(), axolotl.train.setup_trainer

        def made(**given):
            trainer = make(**given)
            score = trainer.compute_loss

            def kept(model, inputs, *others, **more):
                batches.append({name: x.clone() for name, x in inputs.items() if torch.is_tensor(x)})
                return score(model, inputs, *others, **more)

            trainer.compute_loss = kept
            trainer.add_callback(gradients)
            trainers.append(trainer)
            return trainer

        with monkeypatch.context() as patched:
            patched.setattr(axolotl.train, "setup_trainer", made)
            if ref:
                other = AutoModelForCausalLM.from_pretrained(folder / ref, attn_implementation="eager")
                patched.setattr(axolotl.train, "setup_reference_model", lambda *given: other)
            do_cli(str(written(folder, words, **more)))
        return trainers[0].state.log_history, gradients.each, batches[0], trainers[0]

    return run


def both(run):
    """Losses and gradients of all steps, as `agree` compares them."""
    losses = [row["loss"] for row in run[0] if "loss" in row]
    return [*losses, *(grad for each in run[1] for grad in each.values())]


@pytest.mark.parametrize(
    ("words", "theirs"),
    [
        ("dpo beta=0.3", {"rl_beta": 0.3}),
        ("ipo tau=0.3 length_normalized=true", {"rl": "ipo", "rl_beta": 0.3}),
        ("hinge beta=0.3", {"rl_beta": 0.3, "dpo_loss_type": ["hinge"]}),
        ("wpo beta=0.3 clamp=false", {"rl_beta": 0.3, "dpo_use_weighting": True}),
    ],
    ids=["dpo", "ipo", "hinge", "wpo"],
)
def test_loss_and_gradient_are_its_own(words, theirs, trained, agree):
    own, its = trained(words), trained(**theirs)
    agree("own", both(own), both(its), CLOSE)
    assert type(own[3]).__module__ == "poz.integrations.axolotl.trainer"
    if words.startswith("dpo"):
        rewards = ("rewards/chosen", "rewards/rejected", "rewards/margins")
        agree("own", [own[0][0][name] for name in rewards], [its[0][0][name] for name in rewards], CLOSE)


def test_an_adapter_is_trained_against_its_base(trained, agree):
    lora = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True, "lora_dropout": 0.0}
    runs = [trained(**said, **lora, ref=None, max_steps=2) for said in ({"words": "dpo beta=0.3"}, {"rl_beta": 0.3})]
    agree("own", *map(both, runs), CLOSE)
    assert runs[0][0][1]["rewards/margins"] != 0


def test_a_precomputed_reference_is_its_own(trained, agree):
    """TRL 1.14.1 hashes the reference, for its cache, otherwise than later versions."""
    more = {"precompute_ref_log_probs": True, "max_steps": 2}
    runs = [trained(**said, **more) for said in ({"words": "dpo beta=0.3"}, {"rl_beta": 0.3})]
    agree("own", *map(both, runs), CLOSE)


@pytest.mark.parametrize("name", VALUES)
def test_loss_and_gradient_are_those_of_the_reference(name, folder, trained, agree):
    log, gradients, batch, _ = trained(" ".join([name, *(f"{x}={value}" for x, value in VALUES[name].items())]))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    loss, gradient = expected(name, folder, {**batch, "labels": labels}, **VALUES[name])
    agree("reference", log[0]["loss"], loss, FLOAT32)
    agree("reference", [*gradients[0].values()], [gradient[part] for part in gradients[0]], FLOAT32)


@pytest.mark.parametrize("name", ["dpo", "simpo", "aot"])
def test_eight_batches_of_one_are_two_of_four(name, trained, agree):
    """AOT, which ties a batch together, is that of all micro-batches of a step."""
    one, four = (trained(name, micro_batch_size=size, gradient_accumulation_steps=8 // size) for size in (1, 4))
    agree("accumulation", both(one), both(four), FLOAT32)


def test_a_policy_that_is_its_reference_has_margin_0(trained, agree):
    log = trained("dpo", ref=None)[0][0]
    agree("start", [log["rewards/margins"], log["loss"]], [0.0, math.log(2)], 1e-7)
    assert log["rewards/margins"] == 0


def test_a_column_of_the_data_is_read(trained):
    """Axolotl keeps the columns of pairs beside their texts."""
    odpo, dpo = (trained(words, data="margins")[0][0]["loss"] for words in ("odpo beta=0.3", "dpo beta=0.3"))
    assert odpo > dpo + 0.1  # by the margins, which its log-ratios are to exceed
    with pytest.raises(ValueError, match="`odpo` reads the column 'margin', which the data set 'train' does not have"):
        trained("odpo beta=0.3")


def test_a_reference_that_is_not_read_is_let_go_of(trained):
    assert trained("simpo")[3].ref_model is None


@pytest.mark.parametrize(
    ("words", "said", "sentence"),
    [
        ("dpo", {"rl_beta": 0.1}, "Axolotl is told rl_beta=0.1, and trains poz.dpo.bind"),
        ("dpo", {"trl": {"beta": 0.1}}, "told trl.beta=0.1"),
        ("dpo", {"dpo_loss_type": ["hinge"]}, "told dpo_loss_type="),
        ("dpo", {"dpo_label_smoothing": 0.0}, "told dpo_label_smoothing=0.0"),
        ("simpo", {"simpo_gamma": 0.5}, "told simpo_gamma=0.5"),
        ("dpo", {"trainer_cls": "trl.DPOTrainer"}, "told trainer_cls='trl.DPOTrainer'"),
        ("dpo", {"rl": "ipo"}, "poz goes into rl: dpo of Axolotl; got ipo."),
        ("dpo", {"rl": None}, "got None."),
        ("", {}, "An objective is needed"),
        ("dpo beta=-1", {}, "beta"),
        (None, {"plugins": [PLUGIN]}, "as in poz: simpo beta=2 gamma=1; got None."),
        ({"objective": "dpo"}, {}, "got {'objective': 'dpo'}."),
    ],
)
def test_what_would_be_ignored_is_refused(words, said, sentence, folder):
    with pytest.raises(ValueError, match=sentence.replace("{", r"\{")):
        do_cli(str(written(folder, words, **said)))


def test_another_plugin_with_a_trainer_is_refused(folder, trained, monkeypatch):
    class Other(BasePlugin):
        def get_trainer_cls(self, cfg):
            return lambda **given: DPOTrainer(str(folder / "model"), **given)

    monkeypatch.setattr(
        PluginManager.get_instance(), "plugins", {"other": Other(), **PluginManager.get_instance().plugins}
    )
    with pytest.raises(ValueError, match=r"Another plugin has put DPOTrainer in the place of poz's\."):
        trained("dpo")


def test_an_installed_poz_is_among_its_plugins():
    found = {point.name: point.value for point in importlib.metadata.entry_points(group="axolotl.plugins")}
    assert found["poz"] == "poz.integrations.axolotl:Plugin"


def test_the_command_prints_the_digits_of_its_own(folder, fact):
    """Without the line that names the plugin, as poz is installed."""
    losses = []
    for words, said in (("dpo beta=0.3", {"plugins": None}), (None, {"rl_beta": 0.3})):
        path = written(folder, words, max_steps=5, num_epochs=3, **said)
        command = [sys.executable, "-m", "axolotl.cli.main", "train", str(path), "--launcher", "python"]
        done = subprocess.run(command, cwd=folder, env={**os.environ, **OFFLINE}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        losses.append(re.findall(r"{'loss': '([^']+)'", done.stdout + done.stderr))
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 5
    fact("steps", 5)

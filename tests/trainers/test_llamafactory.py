"""Objectives in LLaMA-Factory's own `run_exp`, and by its command beside poz's: `make trainers-llamafactory`.

A tiny Llama in float32 on a CPU, plain SGD. What LLaMA-Factory does otherwise than its settings say is executed here.
"""

import importlib.machinery
import json
import math
import os
import shutil
import subprocess
import sys
import types

import pytest
import yaml

audio = sys.modules["torchaudio"] = types.ModuleType("torchaudio")  # imported for sound alone, see llamafactory.txt
audio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

from llamafactory.train.dpo.trainer import CustomDPOTrainer  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402
from tiny_pairs import PAIRS, VALUES, Gradients, expected, save  # noqa: E402

from poz.integrations.llamafactory import train  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of LLaMA-Factory, and of versions that it keeps to
CLOSE = 1e-6  # float32, where the same sums are taken in the same order
FLOAT32 = 2e-5  # log-probs of some 60 nats in float32, beside float64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llamafactory")
    save(folder)
    rows = [{"instruction": row["prompt"], "chosen": row["chosen"], "rejected": row["rejected"]} for row in PAIRS]
    (folder / "pairs.json").write_text(json.dumps(rows))
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    said = {"pairs": {"file_name": "pairs.json", "ranking": True, "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(said))
    return folder


def settings(folder, **more):
    """What the yaml has."""
    return {
        "model_name_or_path": str(folder / "model"),
        "ref_model": str(folder / "ref"),
        "stage": "dpo",
        "do_train": True,
        "finetuning_type": "full",
        "dataset": "pairs",
        "dataset_dir": str(folder),
        "template": "empty",
        "cutoff_len": 128,
        "output_dir": str(folder / "out"),
        "overwrite_output_dir": True,
        "per_device_train_batch_size": 4,
        "max_steps": 1,
        "optim": "sgd",
        "learning_rate": 0.1,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "disable_shuffling": True,
        "use_cpu": True,
        **more,
    }


def logged(folder):
    return json.loads((folder / "out/trainer_state.json").read_text())["log_history"]


@pytest.fixture
def trained(folder, monkeypatch):
    """Trains with an objective, or as LLaMA-Factory itself does where there is none: the log, gradients and first batch."""

    def run(objective=None, values=None, **more):
        batches, theirs = [], CustomDPOTrainer.get_batch_loss_metrics

        def kept(self, model, batch, *others, **more):
            batches.append({name: x.clone() for name, x in batch.items()})
            return theirs(self, model, batch, *others, **more)

        gradients, args = Gradients(), settings(folder, **more)
        shutil.rmtree(folder / "out", ignore_errors=True)  # an adapter's model card is read by the next run
        with monkeypatch.context() as patched:
            patched.setattr(CustomDPOTrainer, "get_batch_loss_metrics", kept)
            if objective is None:
                run_exp(args, [gradients])
            else:
                train(objective, args, [gradients], **(values or {}))
        return logged(folder)[0], gradients.each[0], batches[0]

    return run


def both(run):
    """Loss and gradient, as `agree` compares them."""
    log, gradient, _ = run
    return [log["loss"], *gradient.values()]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("dpo", {"beta": 0.3}), {"pref_beta": 0.3}),
        (
            ("dpo", {"beta": 0.3, "label_smoothing": 0.2}),
            {"pref_beta": 0.3, "dpo_label_smoothing": 0.2, "pref_ftx": 0.5},
        ),
        (("simpo", {"beta": 2.0, "gamma": 1.0}), {"pref_beta": 2.0, "simpo_gamma": 1.0, "pref_loss": "simpo"}),
        (("dpo", {"beta": 0.3}), {"pref_beta": 0.3, "finetuning_type": "lora", "ref_model": None}),
        (("orpo", {"odds_weight": 0.3}), {"pref_beta": 0.3, "pref_loss": "orpo"}),
    ],
    ids=["dpo", "smoothed", "simpo", "lora", "orpo"],
)
def test_loss_and_gradient_are_its_own(ours, theirs, trained, agree):
    its = trained(**theirs)
    own = trained(
        *ours, **{name: said for name, said in theirs.items() if name in ("pref_ftx", "finetuning_type", "ref_model")}
    )
    agree("own", both(own), both(its), CLOSE)
    if ours[0] != "orpo":  # of which LLaMA-Factory logs other rewards
        rewards = ("rewards/chosen", "rewards/rejected", "rewards/margins")
        agree("own", [own[0][name] for name in rewards], [its[0][name] for name in rewards], CLOSE)


@pytest.mark.parametrize("name", VALUES)
def test_loss_and_gradient_are_those_of_the_reference(name, folder, trained, agree):
    run = trained(name, VALUES[name])
    loss, gradient = expected(name, folder, run[2], **VALUES[name])
    agree("reference", run[0]["loss"], loss, FLOAT32)
    agree("reference", [*run[1].values()], [gradient[part] for part in run[1]], FLOAT32)


@pytest.mark.parametrize("name", ["dpo", "simpo", "kto"])
def test_eight_batches_of_one_are_two_of_four(name, trained, agree):
    """KTO, whose losses are of completions, with a KL of 0, as its own is taken over the batch."""
    values = {"estimator": "zero"} if name == "kto" else {}
    one, four = (
        trained(name, values, per_device_train_batch_size=size, gradient_accumulation_steps=8 // size)
        for size in (1, 4)
    )
    agree("accumulation", both(one), both(four), FLOAT32)


def test_a_policy_that_is_its_reference_has_margin_0(folder, trained, agree):
    log, *_ = trained("dpo", ref_model=str(folder / "model"))
    agree("start", [log["rewards/margins"], log["loss"]], [0.0, math.log(2)], 1e-7)
    assert log["rewards/margins"] == 0


def test_no_reference_is_loaded_where_none_is_read(trained):
    with pytest.raises(OSError, match="Failed to load"):
        trained("dpo", ref_model="/nowhere")
    assert trained("simpo", ref_model="/nowhere")[0]["loss"] > 0


@pytest.mark.parametrize("pref_loss", ["hinge", "ipo"])
def test_its_own_hinge_and_ipo_are_dpo(pref_loss, trained):
    """It calls `dpo_loss` of TRL 0.24, which is told the kind by an argument, and has "sigmoid" by default."""
    said, sigmoid = trained(pref_loss=pref_loss), trained()
    if pref_loss == "hinge":
        assert said[0]["loss"] == sigmoid[0]["loss"]
    else:  # DPO of means
        ours = trained("ln_dpo", {"beta": 0.1})
        assert said[0]["loss"] == pytest.approx(ours[0]["loss"], rel=1e-6)


def test_the_commands_print_the_same_digits(folder, fact):
    (folder / "torchaudio.py").write_text("")
    (folder / "train.yaml").write_text(yaml.safe_dump(settings(folder, max_steps=5, pref_beta=0.3)))
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    losses = []
    for command in (["llamafactory.cli", "train"], ["poz.integrations.llamafactory", "dpo", "beta=0.3", "--"]):
        words = [sys.executable, "-m", *command, "train.yaml", "seed=7"]
        done = subprocess.run(
            words, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        losses.append([row["loss"] for row in logged(folder) if "loss" in row])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 5
    fact("steps", 5)

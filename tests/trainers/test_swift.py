"""Objectives in ms-swift's own `rlhf_main`, and by `swift rlhf --external_plugins`: `make trainers-swift`.

A tiny Llama in float32 on a CPU, plain SGD.
"""

import json
import math
import os
import subprocess
import sys
import warnings

import pytest
import torch
from tiny_pairs import PAIRS, VALUES, Gradients, expected, save

os.environ["HF_HUB_OFFLINE"] = "1"

with warnings.catch_warnings():  # of what swift imports
    warnings.simplefilter("ignore")
    from swift.pipelines import rlhf_main
    from swift.rlhf_trainers import DPOTrainer
    from swift.trainers import TrainerFactory

from poz.integrations.swift import install

pytestmark = pytest.mark.filterwarnings("ignore")  # of swift, and of versions that it keeps to
CLOSE = 1e-6  # float32, where the same sums are taken in the same order
FLOAT32 = 2e-5  # log-probs of some 60 nats in float32, beside float64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swift")
    save(folder)
    rows = []
    for pair in PAIRS:
        said = {"user": pair["prompt"], "assistant": pair["chosen"]}
        messages = [{"role": role, "content": text} for role, text in said.items()]
        rows.append({"messages": messages, "rejected_response": pair["rejected"]})
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def words(folder, **more):
    """The command line, after `swift rlhf`."""
    said = {
        "rlhf_type": "dpo",
        "model": folder / "model",
        "ref_model": folder / "ref",
        "model_type": "llama",
        "template": "dummy",
        "tuner_type": "full",
        "dataset": folder / "pairs.jsonl",
        "torch_dtype": "float32",
        "max_length": 128,
        "output_dir": folder / "out",
        "add_version": "false",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_steps": 1,
        "optim": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "train_dataloader_shuffle": "false",
        "dataset_shuffle": "false",
        "split_dataset_ratio": 0,
        "dataloader_num_workers": 0,
        "dataset_num_proc": 1,
        "gradient_checkpointing": "false",
        "use_cpu": "true",
        "use_hf": "true",
        "check_model": "false",  # which asks a server about the files of the model
        **more,
    }
    return [word for name, value in said.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def trained(folder, monkeypatch):
    """Trains with an objective, or as swift does where there is none: the log, gradients, first batch and the trainer."""

    def run(objective=None, values=None, **more):
        batches, trainers, gradients = [], [], Gradients()
        begin, score = DPOTrainer.__init__, DPOTrainer.get_batch_loss_metrics

        def begun(self, *others, **more):
            begin(self, *others, **more)
            self.add_callback(gradients)
            trainers.append(self)

        def kept(self, model, batch, *others, **more):
            batches.append({name: x.clone() if torch.is_tensor(x) else x for name, x in batch.items()})
            return score(self, model, batch, *others, **more)

        with monkeypatch.context() as patched:
            patched.setattr(DPOTrainer, "__init__", begun)
            patched.setattr(DPOTrainer, "get_batch_loss_metrics", kept)
            patched.setattr(TrainerFactory, "get_cls", TrainerFactory.get_cls)  # so that it is what it was afterwards
            if objective is not None:
                install(objective, **(values or {}))
            result = rlhf_main(words(folder, **more))
        return result["log_history"][0], gradients.each[0], batches[0], trainers[0]

    return run


def both(run):
    """Loss and gradient, as `agree` compares them."""
    return [run[0]["loss"], *run[1].values()]


@pytest.mark.parametrize(
    ("ours", "said", "theirs"),
    [
        (("dpo", {"beta": 0.3}), {}, {"beta": 0.3}),
        (("dpo", {"beta": 0.3, "label_smoothing": 0.2}), {"label_smoothing": 0.2, "rpo_alpha": 0.5, "beta": 0.3}, {}),
        (("ipo", {"tau": 0.3, "length_normalized": True}), {}, {"beta": 0.3, "loss_type": "ipo"}),
        (("hinge", {"beta": 0.3}), {}, {"beta": 0.3, "loss_type": "hinge"}),
    ],
    ids=["dpo", "smoothed", "ipo", "hinge"],
)
def test_loss_and_gradient_are_its_own(ours, said, theirs, trained, agree):
    """Its IPO is on means; `rpo_alpha`, which it adds itself, stays."""
    own, its = trained(*ours, **said), trained(**said, **theirs)
    agree("own", both(own), both(its), CLOSE)
    if ours[0] == "dpo":
        rewards = ("rewards/chosen", "rewards/rejected", "rewards/margins")
        agree("own", [own[0][name] for name in rewards], [its[0][name] for name in rewards], CLOSE)


@pytest.mark.parametrize("name", VALUES)
def test_loss_and_gradient_are_those_of_the_reference(name, folder, trained, agree):
    run = trained(name, VALUES[name])
    loss, gradient = expected(name, folder, run[2], **VALUES[name])
    agree("reference", run[0]["loss"], loss, FLOAT32)
    agree("reference", [*run[1].values()], [gradient[part] for part in run[1]], FLOAT32)


@pytest.mark.parametrize("name", ["dpo", "simpo"])
def test_eight_batches_of_one_are_two_of_four(name, trained, agree):
    one, four = (
        trained(name, per_device_train_batch_size=size, gradient_accumulation_steps=8 // size) for size in (1, 4)
    )
    agree("accumulation", both(one), both(four), FLOAT32)


def test_a_policy_that_is_its_reference_has_margin_0(folder, trained, agree):
    log = trained("dpo", ref_model=folder / "model")[0]
    agree("start", [log["rewards/margins"], log["loss"]], [0.0, math.log(2)], 1e-7)
    assert log["rewards/margins"] == 0


def test_pairs_of_packed_batches_count_alike(trained, agree):
    """Packing needs flash attention; what it does to a loss is its scale, pairs of the window over all pairs."""
    scale = torch.tensor(0.07)
    values = {"kto": {"estimator": "zero"}}
    losses = {}
    for name in (None, "dpo", "kto"):
        _, _, batch, trainer = trained(name, values.get(name))
        made = [trainer.get_batch_loss_metrics(trainer.model, batch, pair_loss_scale=each)[0] for each in (scale, None)]
        losses[name] = made[0]
        assert made[0].item() == pytest.approx(4 * 0.07 * made[1].item(), rel=1e-6)
    agree("own", losses["dpo"], losses[None], CLOSE)


def test_the_reference_is_scored_where_it_is_read(trained, monkeypatch):
    scored = []
    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", lambda self, batch: scored.append(1))
    assert trained("simpo")[0]["loss"] > 0
    assert not scored


@pytest.mark.parametrize(
    ("objective", "said", "sentence"),
    [
        ("dpo", {"beta": 0.3}, "ms-swift is told beta=0.3, and trains poz.dpo.bind"),
        ("dpo", {"loss_type": "hinge"}, "told loss_type='hinge'"),
        ("dpo", {"ld_alpha": 0.3}, "told ld_alpha=0.3"),
        ("dpo", {"rlhf_type": "kto"}, "rlhf_type dpo of ms-swift; got kto."),
        ("aot", {"gradient_accumulation_steps": 2}, "gradient_accumulation_steps=2 would change it."),
    ],
)
def test_what_would_be_ignored_is_refused(objective, said, sentence, trained):
    with pytest.raises(ValueError, match=sentence):
        trained(objective, **said)


def test_the_command_trains_with_the_plugin(folder, trained, fact):
    where = subprocess.run([sys.executable, "-m", "poz.integrations.swift.plugin"], capture_output=True, text=True)
    command = [sys.executable, "-m", "swift.cli.main", "rlhf", *words(folder, max_steps=2, beta=0.3)]
    command += ["--external_plugins", where.stdout.strip()]
    environment = {**os.environ, "POZ_OBJECTIVE": "dpo beta=0.3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "poz trains poz.dpo.bind(beta=0.3, label_smoothing=0.0)" in done.stdout + done.stderr
    rows = [json.loads(line) for line in (folder / "out/logging.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row][:2]
    assert losses[0] == pytest.approx(trained(beta=0.3)[0]["loss"], rel=1e-6)
    fact("steps", 2)

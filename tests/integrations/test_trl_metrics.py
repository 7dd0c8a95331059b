"""Metrics of poz's trainers for TRL are means over examples and tokens: 7 rows in batches of 3, one and two processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from trl_tiny import MARKS, PAIRS, kto_trainer, tiny
from trl_tiny import trainer as pairs_trainer

import poz

pytestmark = MARKS

ROWS = [
    {**pair, "chosen": f"{pair['chosen']} {'so ' * i}", "rejected": f"{pair['rejected']} {i}"}
    for i, pair in enumerate((PAIRS * 2)[:7])
]
LABELS = (True, False, True, True, True, False, False)
UNPAIRED = [
    {"prompt": row["prompt"], "completion": row["chosen"], "label": label}
    for row, label in zip(ROWS, LABELS, strict=True)
]
SIZES = {"per_device_train_batch_size": 3, "per_device_eval_batch_size": 3}
KINDS = ("dpo", "aot", "vpo", "kto", "kto_zero")


def made_for(kind, folder):
    """A trainer with 7 rows for evaluation."""
    how = {**SIZES, "disable_dropout": False}
    if kind.startswith("kto"):
        objective = poz.kto.bind(estimator="zero") if kind == "kto_zero" else poz.kto
        rows = {"examples": UNPAIRED, "eval_dataset": datasets.Dataset.from_list(UNPAIRED)}
        return kto_trainer(folder, tiny(0), objective, ref_model=tiny(1), arguments=how, **rows)
    rows = {"pairs": ROWS, "eval_dataset": datasets.Dataset.from_list(ROWS)}
    objective = {"dpo": poz.dpo, "aot": poz.aot.bind(beta=0.1), "vpo": poz.vpo.bind(alpha=0.5)}[kind]
    return pairs_trainer(folder, tiny(0), objective, ref_model=tiny(1), arguments=how, **rows)


def by_hand(kind, made, groups):
    """Every metric from whole logits; an objective on a batch sees those of `groups` together."""
    batch = made.data_collator([made.eval_dataset[i] for i in range(7)])
    found = {}
    for name in ("", "KL_") if "KL_input_ids" in batch else ("",):
        ids, mask = batch[f"{name}input_ids"], batch[f"{name}completion_mask"][:, 1:].bool()
        for who, model in (("policy", tiny(0).eval()), ("reference", tiny(1).eval())):
            with torch.no_grad():
                logits = model(input_ids=ids, attention_mask=batch[f"{name}attention_mask"]).logits[:, :-1]
            per_token = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0] * mask
            found[name + who] = per_token.sum(1)
            if name + who == "policy":
                entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
                means, top = logits.mean(-1), logits.argmax(-1) == ids[:, 1:]
                tokens = mask
    pairs = not kind.startswith("kto")
    good = torch.arange(14) < 7 if pairs else torch.tensor(LABELS)
    reward = 0.1 * (found["policy"] - found["reference"])
    metrics = {"entropy": entropy[tokens].mean()}
    for side, rows in (("chosen", good), ("rejected", ~good)):
        metrics[f"rewards/{side}"] = reward[rows].mean()
        metrics[f"logps/{side}"] = found["policy"][rows].mean()
        metrics[f"logits/{side}"] = means[rows][tokens[rows]].mean()
    metrics["rewards/margins"] = metrics["rewards/chosen"] - metrics["rewards/rejected"]
    losses, kls = [], []
    for group in groups:
        if pairs:
            chosen, rejected = (
                (found["policy"][i : i + 7][group], found["reference"][i : i + 7][group]) for i in (0, 7)
            )
            given = poz.Pairs(chosen[0], rejected[0], chosen[1], rejected[1])
            given = given._replace(calibration=chosen[0], ref_calibration=chosen[1])
            losses.append(made.objective(given))
            continue
        given = poz.Unpaired(found["policy"][group], found["reference"][group], good[group])
        if kind == "kto":
            given = given._replace(kl_logps=found["KL_policy"][group], kl_ref_logps=found["KL_reference"][group])
            kls += [(given.kl_logps - given.kl_ref_logps).mean().clamp(min=0)] * len(group)
        losses.append(made.objective(given))
    metrics["loss"] = torch.cat(losses).mean()
    if pairs:
        metrics["rewards/accuracies"] = (reward[:7] > reward[7:]).float().mean()
        metrics["mean_token_accuracy"] = top[:7][tokens[:7]].float().mean()
    else:
        metrics["kl"] = torch.stack(kls).mean() if kls else torch.zeros(())
    return {f"eval_{name}": value.item() for name, value in metrics.items()}


def check(found, kind, made, groups):
    wanted = by_hand(kind, made, groups)
    assert {name for name in found if name.startswith("eval_") and "/" in name} == {n for n in wanted if "/" in n}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-6), (kind, name)  # float32, two ways


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation(tmp_path, kind):
    made = made_for(kind, tmp_path)
    made.args.prediction_loss_only = True
    for _ in range(2):  # nothing is left over from one to the next
        check(made.evaluate(), kind, made, [[0, 1, 2], [3, 4, 5], [6]])
        made.predict(made.eval_dataset)


@pytest.mark.parametrize("kind", ["dpo", "kto_zero"])
def test_training(tmp_path, kind):
    """One epoch whose last batch is one example, logged once."""
    made = made_for(kind, tmp_path)
    for name, value in {"max_steps": 3, "learning_rate": 0.0, "logging_steps": 3}.items():
        setattr(made.args, name, value)
    made.train()
    wanted = by_hand(kind, made, [[*range(7)]])
    (found,) = [log for log in made.state.log_history if "loss" in log]
    tokens = sum(
        len(row["prompt_ids"]) * (1 + (kind == "dpo")) + sum(len(row[n]) for n in row if n in IDS)
        for row in made.train_dataset
    )
    assert found["num_tokens"] == tokens
    for name, value in wanted.items():
        if name != "eval_loss":  # the loss of training is the mean of its steps
            assert found[name.removeprefix("eval_")] == pytest.approx(value, rel=1e-5, abs=1e-6), name


IDS = ("chosen_ids", "rejected_ids", "completion_ids")

WORKER = """
import json, os, sys
import datasets, torch
sys.path.insert(0, sys.argv[1])
from test_trl_metrics import KINDS, made_for
datasets.disable_progress_bars()
other = os.fork()  # so that everything is imported once
os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(int(not other))
found = {}
for kind in KINDS:
    made = made_for(kind, sys.argv[2])
    assert made.args.world_size == 2
    found[kind] = made.evaluate()
with open(f"{sys.argv[3]}/{int(not other)}.json", "w") as file:
    json.dump(found, file)
torch.distributed.destroy_process_group()
sys.stderr.flush()
failed = other and os.waitpid(other, 0)[1]
os._exit(bool(failed))  # leaving the ordinary way, gloo's threads sometimes abort the interpreter as it ends
"""


def test_two_processes(tmp_path):
    """The second has three examples and then three copies; those of both are one batch of what is coupled."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    place = {
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": 1,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", WORKER, str(Path(__file__).parent), str(tmp_path / "out"), str(tmp_path)],
        env={**os.environ, **{name: str(value) for name, value in place.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for kind in KINDS:
        made = made_for(kind, tmp_path)
        for answer in answers:
            check(answer[kind], kind, made, [[*range(6)], [6]])

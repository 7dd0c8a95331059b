"""Any objective on pairs that the policy has just written: TRL's own loss and step, the reference, and what is refused."""

import copy

import datasets
import numpy as np
import pytest
import torch
from trl.experimental.online_dpo import OnlineDPOConfig
from trl.experimental.online_dpo import OnlineDPOTrainer as TRLs
from trl_tiny import MARKS, SHORT, Bytes, close

import poz
from poz import reference as exact
from poz.integrations.trl import seams
from poz.integrations.trl.online import OnlineDPOTrainer

pytestmark = MARKS
PROMPTS = datasets.Dataset.from_dict({"prompt": ["Say a.", "Say it again:", "Hi", "And then?"]})


def rule(completions, **_):
    """No two completions have the same."""
    return [sum(ord(letter) * 0.37**i for i, letter in enumerate(text)) for text in completions]


def settings(folder, **more):
    given = {"per_device_train_batch_size": 4, "max_new_tokens": 7, "max_length": 64, "gradient_checkpointing": False}
    given["generation_kwargs"] = {"suppress_tokens": list(range(259, 384))}  # which are no bytes
    quiet = {name: value for name, value in SHORT.items() if name != "max_steps"}
    sgd = {"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    return OnlineDPOConfig(str(folder), **{**quiet, **sgd, "max_steps": 1, **given, **more})


def trainer(folder, model, objective, arguments=None, reward=rule, ref_model=None):
    """One of ours, or TRL's own where `objective` is None."""
    make, ours = (TRLs, {}) if objective is None else (OnlineDPOTrainer, {"objective": objective})
    arguments = settings(folder, **(arguments or {}))
    data = {"train_dataset": PROMPTS, "processing_class": Bytes()}
    return make(copy.deepcopy(model), copy.deepcopy(ref_model), reward, arguments, **data, **ours)


def trained(made):
    """The loss of a run of `train()` in full, how far it has moved the weights, and what was logged."""
    losses, plain = [], made.training_step

    def step(*args, **kwargs):
        loss = plain(*args, **kwargs)
        losses.append(loss)
        return loss

    made.training_step = step
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    made.train()
    moved = {name: p.detach() - before[name] for name, p in made.model.named_parameters()}
    return torch.stack(losses), moved, made.state.log_history[0]


@pytest.mark.parametrize("theirs", ["sigmoid", "ipo"])
def test_loss_step_and_logs_are_trls(tmp_path, policy, reference, theirs):
    ours = poz.dpo if theirs == "sigmoid" else poz.ipo.bind(tau=0.1)
    expected, moves, logged = trained(trainer(tmp_path, policy, None, {"loss_type": theirs}, ref_model=reference))
    loss, moved, log = trained(trainer(tmp_path, policy, ours, ref_model=reference))
    close(loss, expected, "loss", 1e-6)
    assert max(move.abs().max() for move in moves.values()) > 1e-4
    for name, move in moves.items():
        torch.testing.assert_close(moved[name], move, rtol=2e-5, atol=2e-6, msg=name)
    assert log.keys() == logged.keys() >= {"rewards/chosen", "rewards/margins", "objective/scores"}
    for name in log.keys() - {"loss"}:
        assert log[name] == pytest.approx(logged[name], rel=1e-5), name


def test_simpo_is_the_reference(tmp_path, policy):
    made, kept = trainer(tmp_path, policy, "simpo"), {}
    plain = made.loss_of

    def loss_of(logps, ref_logps, mask, rewards):
        kept.update(logps=logps.detach().double(), mask=mask, rewards=rewards)
        return plain(logps, ref_logps, mask, rewards)

    made.loss_of = loss_of
    (loss,), _, log = trained(made)
    sums = (kept["logps"] * kept["mask"]).sum(1).chunk(2)
    lengths, better = kept["mask"].sum(1).chunk(2), kept["rewards"].chunk(2)
    first = (better[0] > better[1]).numpy()

    def side(x, of):
        return np.where(first if of == "chosen" else ~first, *(one.numpy() for one in x))

    batch = {"chosen": side(sums, "chosen"), "rejected": side(sums, "rejected")}
    batch |= {"chosen_len": side(lengths, "chosen"), "rejected_len": side(lengths, "rejected")}
    assert float(loss) == pytest.approx(exact.simpo(**batch)[0].mean(), rel=1e-6)
    means = [batch[name] / batch[f"{name}_len"] for name in ("chosen", "rejected")]
    assert log["rewards/margins"] == pytest.approx(2.0 * (means[0] - means[1]).mean(), rel=1e-4)


def test_equal_rewards_say_nothing_and_margins_are_of_rewards(tmp_path, policy):
    loss, moved, _ = trained(trainer(tmp_path, policy, "dpo", reward=lambda completions, **_: [1.0] * len(completions)))
    assert loss == 0
    assert not any(move.any() for move in moved.values())
    losses = [
        trained(
            trainer(tmp_path, policy, "pro", reward=lambda completions, n=n, **_: [n * x for x in rule(completions)])
        )
        for n in (1.0, 3.0)
    ]
    assert losses[0][0] != losses[1][0]


def test_gradients_are_the_mean_of_micro_batches(tmp_path, policy):
    """Of four prompts at once, and of one four times, where each completion is the likeliest."""
    steps = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "temperature": 1e-6}
    (once, moved, _), (each, apart, _) = (
        trained(trainer(tmp_path, policy, "sft", arguments, reward=second))
        for arguments in ({"temperature": 1e-6}, steps)
    )
    assert float(each.sum()) == pytest.approx(float(once.sum()), rel=1e-5)
    assert max(move.abs().max() for move in moved.values()) > 1e-3
    for name, move in moved.items():
        torch.testing.assert_close(apart[name], move, rtol=1e-4, atol=1e-6, msg=name)


def second(completions, **_):
    """The second completion of each prompt is the better one, whatever it says."""
    return [0.0] * (len(completions) // 2) + [1.0] * (len(completions) // 2)


@pytest.mark.parametrize(
    ("objective", "arguments", "said"),
    [
        ("kto", {}, "log-probs of completions under prompts that are not theirs"),
        ("wpo", {}, "reads more than log-probs"),
        ("simpo", {"beta": 0.3}, r"beta=0\.3\) sets TRL's own loss, which `simpo` replaces"),
        ("aot", {"gradient_accumulation_steps": 2}, "defined over the whole batch"),
        ("dpo", {"max_length": 7}, "prompts would be cut off whole"),
    ],
)
@pytest.mark.filterwarnings("ignore:The configuration has `max_new_tokens`")
def test_what_cannot_be_right_is_refused(tmp_path, policy, objective, arguments, said):
    with pytest.raises(ValueError, match=said):
        trainer(tmp_path, policy, objective, arguments)


@pytest.mark.parametrize(("objective", "divided"), [("dpo", 4), (None, 1)])
def test_a_micro_batch_of_four_is_divided_by_four_and_trls_is_not(tmp_path, policy, reference, objective, divided):
    """What TRL logs is divided, and the gradient of its own step is not, so that it is as many times too large."""
    found = []
    for steps in (1, 4):
        made = trainer(tmp_path, policy, objective, {"gradient_accumulation_steps": steps}, ref_model=reference)
        made.current_gradient_accumulation_steps = steps
        torch.manual_seed(0)  # which draws the completions
        loss = made.training_step(made.model, {"prompt": PROMPTS["prompt"][:]})
        found.append((loss, made.model.lm_head.weight.grad))
    assert float(found[0][0]) == pytest.approx(4 * float(found[1][0]), rel=1e-5)
    torch.testing.assert_close(found[0][1], divided * found[1][1])
    assert found[0][1].any()


def test_a_method_of_trls_that_is_gone_is_said(monkeypatch):
    monkeypatch.delattr(TRLs, "_forward")
    with pytest.raises(
        ImportError, match=r"has no .*OnlineDPOTrainer\._forward, which poz\.integrations\.trl builds on"
    ):
        seams.online_dpo()

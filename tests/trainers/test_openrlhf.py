"""Objectives in OpenRLHF's own `DPOTrainer.fit`, on its data set and its model: `make trainers-openrlhf`.

A tiny Llama in float32 on a CPU, and a strategy that steps plainly where its own is DeepSpeed's. DeepSpeed and flash_attn,
which OpenRLHF imports, are empty modules here: with attention by torch and without packing nothing of them is called.
"""

import importlib.machinery
import json
import math
import sys
import types
import warnings

import datasets
import pytest
import torch
from tiny_pairs import PAIRS, VALUES, expected, save
from transformers import AutoTokenizer, LlamaForCausalLM

for name in ("deepspeed", "flash_attn", "flash_attn.bert_padding", "flash_attn.utils", "flash_attn.utils.distributed"):
    empty = sys.modules[name] = types.ModuleType(name)
    empty.__spec__, empty.__path__ = importlib.machinery.ModuleSpec(name, None), []
for name in ("index_first_axis", "pad_input", "rearrange", "unpad_input"):
    setattr(sys.modules["flash_attn.bert_padding"], name, None)
sys.modules["flash_attn.utils.distributed"].all_gather = None

with warnings.catch_warnings():  # of what it imports
    warnings.simplefilter("ignore")
    from openrlhf.datasets import RewardDataset
    from openrlhf.models import Actor
    from openrlhf.trainer.dpo_trainer import DPOTrainer

from poz.integrations.openrlhf import exchange  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
CLOSE = 1e-6  # float32, where the same sums are taken in the same order
FLOAT32 = 2e-5  # log-probs of some 60 nats in float32, beside float64
RATE = 0.1


class Plain:
    """The strategy of one process: gradients are means over the micro-batches of a step, as DeepSpeed's are."""

    ring_attn_group = None

    def __init__(self, args, accumulated):
        self.args, self.accumulated_gradient = args, accumulated
        self.losses, self.gradients = [], []

    def backward(self, loss, model, optimizer):
        self.losses.append(loss.item())
        (loss / self.accumulated_gradient).backward()

    def optimizer_step(self, optimizer, model, scheduler):
        if len(self.losses) % self.accumulated_gradient == 0:
            self.gradients.append({n: w.grad.clone() for n, w in model.model.named_parameters()})
            optimizer.step()
            optimizer.zero_grad()

    def all_reduce(self, logs):
        self.logs = [*getattr(self, "logs", []), dict(logs)]
        return logs

    def get_grad_norm(self, model):
        return 0.0

    def is_rank_0(self):
        return False


def arguments(**model):
    """The fields of its command that are read."""
    said = {"aux_loss_coef": 0.0, "nll_loss_coef": 0.0, "label_smoothing": 0.0, "ipo_enable": False, **model}
    tree = {
        "model": said,
        "ds": {"packing_samples": False},
        "logger": {"wandb": {"key": None}, "tensorboard_dir": None, "logging_steps": 1},
        "eval": {"steps": math.inf},
        "ckpt": {"save_steps": -1},
        "train": {"batch_size": 8},
        "data": {"prompt_key": "prompt", "chosen_key": "chosen", "rejected_key": "rejected"},
    }
    return json.loads(json.dumps(tree), object_hook=lambda fields: types.SimpleNamespace(**fields))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openrlhf")
    save(folder)
    return folder


def made(folder, *, beta=0.1, size=4, accumulated=1, ref="ref", **model):
    strategy = Plain(arguments(**model), accumulated)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    rows = RewardDataset(datasets.Dataset.from_list(PAIRS), tokenizer, 128, strategy, is_dpo=True, num_processors=1)
    policy, reference = (Actor(LlamaForCausalLM.from_pretrained(folder / part)) for part in ("model", ref))
    policy.packing_samples = reference.packing_samples = False  # which it sets for models that it loads, in bf16 alone
    optimizer = torch.optim.SGD(policy.parameters(), lr=RATE)
    return DPOTrainer(
        model=policy,
        ref_model=reference,
        strategy=strategy,
        tokenizer=tokenizer,
        optim=optimizer,
        train_dataloader=torch.utils.data.DataLoader(rows, batch_size=size, collate_fn=rows.collate_fn),
        eval_dataloader=None,
        scheduler=torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        beta=beta,
        max_epochs=1,
    )


@pytest.fixture
def trained(folder):
    """Trains with an objective, or as OpenRLHF does where there is none, and gives the strategy, which has seen it."""

    def run(objective=None, values=None, **more):
        trainer = made(folder, **more)
        if objective is not None:
            exchange(trainer, objective, **(values or {}))
        trainer.fit(trainer.args)
        return trainer.strategy

    return run


def steps(run):
    """Every loss and gradient, as `agree` compares them."""
    return [*run.losses, *(grad for step in run.gradients for grad in step.values())]


@pytest.mark.parametrize(
    ("ours", "said", "theirs"),
    [
        (("dpo", {"beta": 0.3}), {}, {"beta": 0.3}),
        (("dpo", {"beta": 0.1, "label_smoothing": 0.2}), {}, {"label_smoothing": 0.2}),
        (
            ("dpo", {"beta": 0.3, "label_smoothing": 0.2}),
            {"label_smoothing": 0.2, "nll_loss_coef": 0.5, "beta": 0.3},
            {},
        ),
        (("ipo", {"tau": 0.3}), {}, {"beta": 0.3, "ipo_enable": True}),
    ],
    ids=["dpo", "told", "smoothed", "ipo"],
)
def test_loss_and_gradient_are_its_own(ours, said, theirs, trained, agree, fact):
    """Its IPO is on sums; `nll_loss_coef`, whose term it adds itself, stays."""
    own, its = trained(*ours, **said), trained(**said, **theirs)
    agree("own", steps(own), steps(its), CLOSE)
    assert len(own.losses) == len(own.gradients) == 2
    if ours[0] == "dpo":
        shown = ("loss", "acc", "chosen_reward", "reject_reward")
        agree("own", *([log[name] for log in run.logs for name in shown] for run in (own, its)), CLOSE)
    fact("steps", 2)


@pytest.mark.parametrize("name", VALUES)
def test_loss_and_gradient_are_those_of_the_reference(name, folder, trained, agree):
    run = trained(name, VALUES[name])
    trainer = made(folder)
    *sides, prompts = next(iter(trainer.train_dataloader))
    ids, mask, prompts = trainer.concatenated_inputs(*(x.squeeze(1) for x in sides), prompts)
    completion = mask.bool() & (torch.arange(ids.shape[1]) >= torch.tensor(prompts)[:, None])
    batch = {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(~completion, -100)}
    loss, gradient = expected(name, folder, batch, **VALUES[name])
    agree("reference", run.losses[0], loss, FLOAT32)
    agree("reference", [*run.gradients[0].values()], [gradient[part] for part in run.gradients[0]], FLOAT32)


@pytest.mark.parametrize("name", ["dpo", "simpo", "kto"])
def test_eight_batches_of_one_are_two_of_four(name, trained, agree):
    """KTO, whose losses are of completions, with a KL of 0, as its own is taken over the batch."""
    values = {"estimator": "zero"} if name == "kto" else {}
    one, four = (trained(name, values, size=size, accumulated=8 // size) for size in (1, 4))
    assert (len(one.losses), len(four.losses)) == (8, 2)
    ours, theirs = ([sum(run.losses) / len(run.losses), *run.gradients[0].values()] for run in (one, four))
    agree("accumulation", ours, theirs, FLOAT32)


def test_a_policy_that_is_its_reference_has_margin_0(trained, agree):
    run = trained("dpo", ref="model", size=8)
    log = run.logs[0]
    agree("start", [log["chosen_reward"] - log["reject_reward"], log["loss"]], [0.0, math.log(2)], 1e-7)
    assert log["chosen_reward"] == log["reject_reward"] == 0


@pytest.mark.parametrize(
    ("objective", "said", "sentence"),
    [
        ("dpo", {"beta": 0.3}, "OpenRLHF is told model.beta=0.3, and trains poz.dpo.bind"),
        ("ipo", {"ipo_enable": True}, "told model.ipo_enable=True"),
        ("simpo", {"label_smoothing": 0.1}, "told model.label_smoothing=0.1"),
        ("aot", {"accumulated": 2}, "gradient_accumulation_steps=2 would change it."),
    ],
)
def test_what_would_be_ignored_is_refused(objective, said, sentence, trained):
    with pytest.raises(ValueError, match=sentence):
        trained(objective, **said)

"""A head under ZeRO 1, 2 and 3, by DeepSpeed's own engine on two processes: `make trainers-deepspeed`.

DeepSpeed 0.19.8 on gloo. On a CPU its `initialize` first compiles an operator for shared memory, which takes minutes on two
cores, and a build that is broken off leaves a lock that every later start waits for; it is switched off here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

import poz
from poz.torch import LogpsHead, fused_objective, linear_logps

VOCABULARY, HIDDEN, SHARES = 38, 8, (slice(0, 6), slice(6, 12))
FLOAT32 = 2e-6
"""Of two steps of SGD whose gradients are sums of 12 rows in another order."""


class Model(torch.nn.Module):
    """Embeddings, a layer and a head that gives sums of log-probs."""

    def __init__(self, tied, frozen):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.body = torch.nn.Embedding(VOCABULARY, HIDDEN), torch.nn.Linear(HIDDEN, HIDDEN)
        head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=not tied).requires_grad_(not frozen)
        if tied:
            head.weight = self.embed.weight
        self.lm_head = LogpsHead(head)

    def forward(self, ids, targets):
        return self.lm_head(torch.tanh(self.body(self.embed(ids))), targets).sum(-1)


def tokens():
    """(12, 5): chosen and rejected of six pairs, in turn."""
    torch.manual_seed(1)
    ids, targets = torch.randint(0, VOCABULARY, (2, 12, 5))
    return ids, targets.masked_fill(torch.arange(5) > torch.arange(12)[:, None], -100)


def loss(model, rows):
    ids, targets = (x[rows] for x in tokens())
    logps = model(ids, targets)
    start = logps.detach()  # the policy is its reference at each step, and moves all the same
    return poz.dpo(poz.Pairs(logps[::2], logps[1::2], start[::2], start[1::2])).mean()


def engine(model, stage, accumulation=1):
    import deepspeed

    moving = [p for p in model.parameters() if p.requires_grad]
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": 0.0,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    return deepspeed.initialize(model=model, optimizer=torch.optim.SGD(moving, lr=1.0), config=config)[0]


def parameters(model, stage):
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(model.parameters()), enabled=stage == 3):
        return {name: p.detach().tolist() for name, p in model.named_parameters()}


def work(rank, folder):
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    answers = {"stages": {}, "clipping": deepspeed.runtime.constants.GRADIENT_CLIPPING_DEFAULT}
    for stage in (1, 2, 3):
        for kind, (tied, frozen, accumulation) in {
            "plain": (False, False, 1),
            "frozen head": (False, True, 1),
            "tied": (True, False, 1),
            "accumulated": (False, False, 3),
        }.items():
            trained = engine(Model(tied, frozen), stage, accumulation)
            rows = SHARES[rank]
            for _ in range(2):
                for part in range(accumulation):
                    size = 6 // accumulation
                    trained.backward(loss(trained, slice(rows.start + part * size, rows.start + (part + 1) * size)))
                    trained.step()
            answers["stages"][f"{kind}, {stage}"] = parameters(trained.module, stage)
    model = engine(Model(False, False), 3).module
    weight, ids = model.lm_head.weight, torch.zeros(2, 3, 1, dtype=torch.int64)
    hidden = torch.randn(2, 3, 1, HIDDEN)
    for name, call in {
        "linear_logps": lambda: linear_logps(hidden, weight, ids),
        "fused_objective": lambda: fused_objective(poz.cpo, hidden, weight, ids),
    }.items():
        try:
            answers[name] = f"{call()}"
        except ValueError as error:
            answers[name] = str(error)
    with deepspeed.zero.GatheredParameters([weight]), torch.no_grad():
        logits = hidden @ weight.T
        answers["gathered"] = [linear_logps(hidden, weight, ids).tolist(), logits.log_softmax(-1)[..., 0].tolist()]
    Path(folder, f"{rank}.json").write_text(json.dumps(answers))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deepspeed")
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, folder], capture_output=True, text=True, env=environment, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("kind", ["plain", "frozen head", "tied", "accumulated"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_two_processes_train_as_one_does(answers, agree, stage, kind):
    alone = Model(kind == "tied", kind == "frozen head")
    optimizer = torch.optim.SGD([p for p in alone.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        loss(alone, slice(None)).backward()
        optimizer.step()
        optimizer.zero_grad()
    start, law = (
        Model(kind == "tied", kind == "frozen head"),
        "accumulation" if kind == "accumulated" else f"ZeRO-{stage}",
    )
    for answer in answers:
        found = answer["stages"][f"{kind}, {stage}"]
        agree(law, [torch.tensor(found[name]) for name, _ in alone.named_parameters()], [*alone.parameters()], FLOAT32)
    assert (alone.body.weight - start.body.weight).abs().max() > 1e-2


def test_a_head_in_parts_is_a_sentence(answers):
    for answer in answers:
        for function in ("linear_logps", "fused_objective"):
            assert "`weight` is a parameter that ZeRO-3 keeps in parts, (38, 8) in all" in answer[function]


def test_a_gathered_head_serves_without_gradients(answers, agree):
    for answer in answers:
        agree("gathered", *map(torch.tensor, answer["gathered"]), FLOAT32)


def test_gradients_are_clipped_by_default(answers, fact):
    """Which is no matter of the head, but of every comparison: here it is switched off."""
    assert answers[0]["clipping"] == 1.0
    fact("gradient_clipping", answers[0]["clipping"])


if __name__ == "__main__":
    start_processes(work, (sys.argv[1],), 2, daemon=True, start_method="fork")

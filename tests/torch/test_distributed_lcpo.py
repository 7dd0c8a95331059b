"""Two processes end with equal reliabilities, and with those of one process that saw all the data."""

import json

import pytest
import torch
from ranks import ranks

import poz
from poz.torch.lcpo import LCPO

WORKER = """
import json, sys, torch, poz
from poz.torch.lcpo import LCPO
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
loss = LCPO(poz.dpo.bind(beta=0.5), 3, reliability=0.8)
for step in json.loads(sys.argv[3]):
    for chosen, annotator in step[rank]:
        chosen = torch.tensor(chosen)
        zero = torch.zeros_like(chosen)
        loss(poz.Pairs(chosen, zero, zero, zero, annotator=torch.tensor(annotator)))
    loss.step()
print(json.dumps(loss.reliability.tolist()))
torch.distributed.destroy_process_group()
"""


def test_ranks_hold_equal_reliabilities(tmp_path):
    # Unequal shares: in step 1 rank 1 has only one label, in step 2 two micro-batches, in step 3 none of annotator 1.
    steps = [
        [[([1.0, -2.0, 0.5], [0, 1, 2])], [([3.0], [0])]],
        [[([0.2, -1.5], [1, 1])], [([2.0, -0.3], [2, 0]), ([-4.0], [1])]],
        [[([1.0], [0])], [([-1.0, 2.5], [0, 2])]],
    ]
    printed = ranks(WORKER, 2, tmp_path, json.dumps(steps))
    first, second = map(json.loads, printed)
    assert first == second

    alone = LCPO(poz.dpo.bind(beta=0.5), 3, reliability=0.8)
    for step in steps:
        batches = [batch for rank in step for batch in rank]
        chosen = torch.tensor([x for values, _ in batches for x in values])
        zero = torch.zeros_like(chosen)
        annotator = torch.tensor([k for _, ids in batches for k in ids])
        alone(poz.Pairs(chosen, zero, zero, zero, annotator=annotator))
        alone.step()
    assert first == pytest.approx(alone.reliability.tolist(), rel=1e-6)
    assert max(abs(x - 0.8) for x in first) > 0.02


OTHERS = """
import sys, torch, poz
from poz.torch.lcpo import LCPO
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
try:
    LCPO(num_annotators=2 + rank).step()
except ValueError as error:
    print(error)
torch.distributed.destroy_process_group()
"""


def test_ranks_that_count_other_annotators_raise_everywhere(tmp_path):
    printed = ranks(OTHERS, 2, tmp_path)
    for rank, said in enumerate(printed):
        assert "All processes need the same annotators; they have 2 to 3 of them" in said
        assert f"this one has {2 + rank}" in said

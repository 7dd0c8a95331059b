"""Advantages of a batch that is spread over processes, in unequal shares, are those of the whole batch."""

import json

from ranks import ranks

WORKER = """
import json, sys
import numpy as np, torch
from poz import advantages as adv

rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
world = torch.distributed.group.WORLD
rng = np.random.default_rng(1)
rewards, two = torch.tensor(rng.normal(size=7)), torch.tensor(rng.normal(size=(7, 2)))
ids, mask = torch.tensor([3, 3, 0, 0, 3, 1, 0]), torch.tensor(rng.random((7, 4)) < 0.7)
tokens, logps = torch.tensor(rng.normal(size=(7, 4))), torch.tensor(-rng.uniform(0.1, 2, (7, 4)))
whole = torch.ones(7, 4, dtype=torch.bool)
calls = {
    "group": lambda at, on: adv.group(rewards[at], ids[at], processes=on),
    "group of others": lambda at, on: adv.group(rewards[at], ids[at], leave_one_out=True, processes=on),
    "batch_std": lambda at, on: adv.batch_std(rewards[at], ids[at], processes=on),
    "length_weighted": lambda at, on: adv.length_weighted(rewards[at], ids[at], mask[at].sum(1), processes=on),
    "pass_at_k": lambda at, on: adv.pass_at_k(rewards[at], ids[at], processes=on),
    "gdpo": lambda at, on: adv.gdpo(two[at], ids[at], weights=[1.0, 0.3], processes=on),
    "gdpo over tokens": lambda at, on: adv.gdpo(two[at], ids[at], mask=mask[at], processes=on),
    "reinforce_plus_plus": lambda at, on: adv.reinforce_plus_plus(tokens[at], mask[at], processes=on),
    "baseline": lambda at, on: adv.reinforce_plus_plus_baseline(rewards[at], ids[at], mask[at], processes=on),
    "optimal": lambda at, on: adv.optimal_token_baseline(
        tokens[at], ids[at], whole[at], logps[at], logps[at].exp(), processes=on
    ),
}
wrong = []
for first in (5, 7):  # of 7, so that the second process has 2, and none
    at = slice(0, first) if rank == 0 else slice(first, 7)
    for name, call in calls.items():
        found, wanted = call(at, world), call(slice(0, 7), None)[at]
        if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-12, atol=1e-13):
            wrong.append(f"{name}, {first} of 7: {found.tolist()} for {wanted.tolist()}")
alone = calls["group"](slice(0, 5), None)
wrong += ["sharing changes nothing"] * torch.allclose(alone, calls["group"](slice(0, 7), None)[:5])
try:
    adv.group(rewards[: 3 + rank].to(torch.float32 if rank else torch.float64), ids[: 3 + rank], processes=world)
except ValueError as raised:
    wrong += [] if "arrays of one kind" in str(raised) else [str(raised)]
else:
    wrong.append("two dtypes are taken")
print(json.dumps(wrong), flush=True)
"""


def test_processes_share_a_batch(tmp_path):
    assert [json.loads(said) for said in ranks(WORKER, 2, tmp_path)] == [[], []]

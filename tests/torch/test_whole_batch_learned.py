"""`whole_batch` and `slopes` over processes: hyper-parameters that are learned, and what must not leave a peer waiting."""

import json

import pytest
from ranks import ranks

WORKER = """
import json, sys
import torch, poz
from poz.torch import slopes, whole_batch

rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
torch.set_num_threads(1)
alone = torch.distributed.new_group([0])
d = torch.linspace(-9, -1, 4, dtype=torch.float64)
whole = poz.Pairs(d, d.flip(0) - 1, d / 2, d - 1, calibration=d, ref_calibration=d / 3)


def share(cut):
    return poz.Pairs(*(None if x is None else x[:cut] if rank == 0 else x[cut:] for x in whole))


pairs = share(3)
answers = {"learned": {}, "raised": {}}
LEARNED = {
    "dpo": lambda x: poz.dpo.bind(beta=x),
    "aot": lambda x: poz.aot.bind(beta=x),
    "vpo": lambda x: poz.vpo.bind(alpha=x),
    "a weight": lambda x: poz.combine([("aot", x), ("dpo", 0.5)]),
    "of a part": lambda x: poz.combine([("ipo", 0.5), (poz.combine([(poz.aot.bind(beta=x), x)]), 0.3)]),
}
for name, make in LEARNED.items():
    wanted = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    make(wanted)(whole).mean().backward()
    for cut in (3, 4):  # of four: one process has few, or none
        for reduction, factor in (("mean", 1 / 2), ("sum", 1 / 4)):
            found = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
            losses = whole_batch(make(found), share(cut), reduction=reduction)
            (losses.sum() / (max(len(losses), 1) if reduction == "mean" else 1)).backward()
            torch.distributed.all_reduce(found.grad)
            answers["learned"][f"{name}, {cut}, {reduction}"] = (found.grad.item() * factor, wanted.grad.item())

for objective in (poz.aot, poz.dpo):
    found = []
    for wrapped in (lambda function: function, torch.compile(backend="eager")):
        leaf = pairs.chosen.clone().requires_grad_()
        wrapped(lambda x: 2 * whole_batch(objective, pairs._replace(chosen=x)).mean())(leaf).backward()
        found.append(leaf.grad)
    answers["learned"]["compiled " + objective.name] = [x.abs().sum().item() for x in found]
    assert torch.equal(*found)

odd = rank == 1
CASES = {
    "numpy": lambda: slopes(poz.aot, poz.Pairs(*(None if x is None else x.numpy() for x in pairs)) if odd else pairs),
    "integers": lambda: slopes(poz.dpo, pairs._replace(chosen=pairs.chosen.long()) if odd else pairs),
    "reduction": lambda: whole_batch(poz.aot, pairs, reduction="max" if odd else "sum"),
    "reductions": lambda: whole_batch(poz.dpo, pairs, reduction="mean" if odd else "sum"),
    "whole graph": lambda: torch.compile(lambda x: whole_batch(poz.dpo, x), fullgraph=True, backend="eager")(pairs),
    "outside": lambda: whole_batch(poz.aot, pairs, alone) if odd else "ValueError: not in the group",
}
for name, call in CASES.items():
    try:
        answers["raised"][name] = str(call())
    except Exception as error:
        answers["raised"][name] = f"{type(error).__name__}: {error}"
    torch.distributed.barrier()
print(json.dumps(answers))
torch.distributed.destroy_process_group()
"""


def test_two_processes(tmp_path):
    for answer in map(json.loads, ranks(WORKER, 2, tmp_path)):
        for name, (found, wanted) in answer["learned"].items():
            assert found == pytest.approx(wanted, rel=1e-12), name  # float64 in another order of summation
        said = answer["raised"]
        assert "needs tensors; got ndarray" in said["numpy"]
        assert "needs floating-point log-probs in nats for chosen; got torch.int64" in said["integers"]
        assert "reduction must be 'mean' or 'sum'; got 'max'" in said["reduction"]
        assert "got 'sum' on process 0 and 'mean' on process 1" in said["reductions"]
        assert "whole_batch asks the other processes" in said["whole graph"]
        assert said["outside"].startswith("ValueError: ")
        assert "not in the group" in said["outside"]

"""`whole_batch` and `slopes` over processes: hyper-parameters that are learned, and what must not leave a peer waiting."""

import json
import subprocess
import sys

import pytest

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
pairs = poz.Pairs(*(None if x is None else x[:3] if rank == 0 else x[3:] for x in whole))

answers = {"learned": {}, "raised": {}}
LEARNED = {
    "dpo": lambda x: poz.dpo.bind(beta=x),
    "aot": lambda x: poz.aot.bind(beta=x),
    "vpo": lambda x: poz.vpo.bind(alpha=x),
    "a weight": lambda x: poz.combine([("aot", x), ("dpo", 0.5)]),
    "of a part": lambda x: poz.combine([("ipo", 0.5), (poz.combine([(poz.aot.bind(beta=x), x)]), 0.3)]),
}
for name, make in LEARNED.items():
    found = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    whole_batch(make(found), pairs).mean().backward()
    torch.distributed.all_reduce(found.grad)
    wanted = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    make(wanted)(whole).mean().backward()
    answers["learned"][name] = (found.grad.item() / 2, wanted.grad.item())

odd = rank == 1
CASES = {
    "numpy": lambda: slopes(poz.aot, poz.Pairs(*(None if x is None else x.numpy() for x in pairs)) if odd else pairs),
    "integers": lambda: slopes(poz.dpo, pairs._replace(chosen=pairs.chosen.long()) if odd else pairs),
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
    command = [sys.executable, "-P", "-c", WORKER]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, str(rank), str(tmp_path / "store")], **pipes) for rank in range(2)]
    try:
        printed = [worker.communicate(timeout=90) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], [err[-2000:] for _, err in printed]
    for answer in (json.loads(out) for out, _ in printed):
        for name, (found, wanted) in answer["learned"].items():
            assert found == pytest.approx(wanted, rel=1e-12), name  # float64 in another order of summation
        said = answer["raised"]
        assert "needs tensors; got ndarray" in said["numpy"]
        assert "needs floating-point log-probs in nats for chosen; got torch.int64" in said["integers"]
        assert said["outside"].startswith("ValueError: ")
        assert "not in the group" in said["outside"]

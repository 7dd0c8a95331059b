"""`whole_batch` and `slopes` over processes with unequal shares: every objective, and what must raise everywhere."""

import json
import subprocess
import sys

import pytest

import poz

WORKER = """
import json, pathlib, sys, zlib
import numpy as np, torch, poz
from poz.families import SHAPES
from poz.testing import draw_batch
from poz.torch import slopes, whole_batch


def work(everywhere, count, folder, layouts):
    torch.distributed.init_process_group("gloo", init_method="file://" + folder + "/store", rank=everywhere, world_size=count)
    couples = [torch.distributed.new_group([first, first + 1]) for first in range(0, count, 2)]
    torch.set_num_threads(1)
    OBJECTIVES = [
        *poz.zoo.values(),
        poz.sft.bind(normalizer="batch_tokens"),
        *(poz.kto.bind(estimator=name) for name in ("zero", "nonzero_mean", "given")),
        poz.combine([("dpo", 1.0), (poz.aot.bind(beta=0.3), 0.5)]),
        poz.combine([("vpo", 1.0), ("simpo", 0.5)]),
    ]

    def share(objective, full, sizes):
        # samples that belong to nobody go to the processes in turn, but none to one without examples
        before, given = sum(sizes[:rank]), {}
        busy = [r for r in range(world) if sizes[r]]
        for name, x in full.items():
            dims = SHAPES[objective.family][name][0]
            if "b" in dims:
                given[name] = x.narrow(dims.index("b"), before, sizes[rank])
            else:
                given[name] = x[busy.index(rank) :: len(busy)] if rank in busy else x[:0]
        return given

    def leaves(objective, given):
        kinds = SHAPES[objective.family]
        given = {name: x.detach().clone() for name, x in given.items()}
        moving = {name: x.requires_grad_() for name, x in given.items() if kinds[name][1] in ("logp", "feature")}
        return given, moving

    def gradients(losses, moving):
        found = torch.autograd.grad(losses.mean(), list(moving.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(moving, found))

    def check(objective, sizes):
        rng = np.random.default_rng(zlib.crc32(repr(objective).encode()))
        drawn = draw_batch(objective, rng, sum(sizes), 50)
        full = {name: torch.tensor(np.asarray(x)) for name, x in drawn._asdict().items() if x is not None}
        given, moving = leaves(objective, full)
        whole = objective(objective.family(**given))
        slope = share(objective, gradients(whole, moving), sizes)
        given, moving = leaves(objective, share(objective, full, sizes))
        losses = whole_batch(objective, objective.family(**given), group)
        before = sum(sizes[:rank])
        expected = whole[before : before + sizes[rank]].detach()
        torch.testing.assert_close(losses, expected, rtol=1e-11, atol=1e-13, equal_nan=True)
        found = gradients(losses, moving)
        told, handed = slopes(objective, objective.family(**given), group)
        assert torch.equal(told, losses.detach()) or told.isnan().any()
        for name, wanted in slope.items():
            for x in (found[name], getattr(handed, name)):
                # float64 in another order of summation; an average over the processes is the gradient of the global mean
                scale = 1e-12 * max(1e-3, wanted.abs().max().item() if wanted.numel() else 0)
                torch.testing.assert_close(x / world, wanted, rtol=1e-10, atol=scale, equal_nan=True)

    answers = {"wrong": [], "raised": {}}
    for sizes in layouts:
        rank, world = everywhere % len(sizes), len(sizes)
        group = None if world == count else couples[everywhere // 2]
        for objective in OBJECTIVES:
            try:
                check(objective, sizes)
            except AssertionError as error:
                answers["wrong"].append(f"{objective} {sizes}: {error}")

    d = torch.linspace(-9, -1, 4, dtype=torch.float64)
    pairs = poz.Pairs(d, d - 1, d, d + 1)
    odd = everywhere == count - 1
    half = poz.Pairs(*(None if x is None else x[:0] for x in pairs))
    samples = {"calibration": d.clone().requires_grad_(), "ref_calibration": d}
    OPPONENTS = ("opponents_chosen", "opponents_rejected")
    CASES = {
        "an optional field": (poz.spce, pairs._replace(label=d.abs() / 9) if odd else pairs),
        "a field that is not read": (poz.dpo, pairs._replace(label=d.abs() / 9) if odd else pairs),
        "a dtype": (poz.dpo, poz.Pairs(*(None if x is None else x.float() for x in pairs)) if odd else pairs),
        "a dtype of one field": (poz.aot, pairs._replace(ref_chosen=d.float()) if odd else pairs),
        "a field that is read": (poz.dpo, pairs._replace(ref_chosen=None) if odd else pairs),
        "a family": (poz.dpo, poz.Unpaired(d, d) if odd else pairs),
        "no batch": (poz.dpo, None if odd else pairs),
        "numbers of NumPy": (poz.aot, poz.Pairs(*(None if x is None else x.numpy() for x in pairs)) if odd else pairs),
        "an objective": (poz.ipo if odd else poz.dpo, pairs),
        "a coupled one": (poz.aot if odd else poz.dpo, pairs),
        "a hyper-parameter": (poz.aot.bind(beta=0.3) if odd else poz.aot, pairs),
        "a weight": (poz.combine({"aot": 0.3 if odd else 0.5}), pairs),
        "a weight per example": (poz.combine([("aot", torch.ones(4) if odd else 1.0)]), pairs),
        "rows of one field": (poz.aot, pairs._replace(chosen=d[1:]) if odd else pairs),
        "rows of a field that is not coupled": (poz.dpo, pairs._replace(chosen=d[1:]) if odd else pairs),
        "samples of one side": (poz.vpo, pairs._replace(**samples)._replace(ref_calibration=d[1:] if odd else d)),
        "two dimensions": (poz.aot, poz.Pairs(*(None if x is None else x[None] for x in pairs)) if odd else pairs),
        "a value out of its domain": (poz.odpo, pairs._replace(margin=d if odd else -d)),
        "samples beside no examples": (poz.vpo, half._replace(**samples) if odd else pairs._replace(**samples)),
        "fixed samples beside no examples": (poz.vpo, (half if odd else pairs)._replace(calibration=d, ref_calibration=d)),
        "no samples at all": (poz.vpo, pairs._replace(calibration=d[:0], ref_calibration=d[:0])),
        "opponents": (poz.mnpo, pairs._replace(**dict.fromkeys(OPPONENTS, d.expand(1 + odd, 4)))),
    }
    for what, (objective, batch) in CASES.items():
        try:
            whole_batch(objective, batch)
            answers["raised"][what] = None
        except (TypeError, ValueError) as error:
            answers["raised"][what] = str(error)
        assert torch.equal(whole_batch(poz.dpo, pairs), poz.dpo(pairs))  # nobody waits for anybody
    pathlib.Path(folder, str(everywhere)).write_text(json.dumps(answers))
    torch.distributed.destroy_process_group()


given = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
torch.multiprocessing.start_processes(work, given, given[0], daemon=True, start_method="fork")
"""
MAY_DIFFER = {
    "opponents",
    "a field that is not read",
    "fixed samples beside no examples",
}  # where nothing is lost by it


LAYOUTS = [(3, 5), (8, 0), (1, 4, 0, 3)]  # those of two in two groups at once


def test_unequal_shares(tmp_path):
    """In processes that one importing everything splits into; one that fails ends all."""
    world = 4
    given = [str(world), str(tmp_path), json.dumps(LAYOUTS)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", WORKER, *given], capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(world)]
    assert [answer["wrong"] for answer in answers] == [[]] * world
    last = f"process {world - 1}"
    for what in answers[0]["raised"]:
        said = [answer["raised"][what] for answer in answers]
        if what in MAY_DIFFER:
            assert said == [None] * world, what
            continue
        assert None not in said, (what, said)
        if what != "no samples at all":
            assert all(last in text.lower() for text in said[:-1]), (what, said)
            assert max(map(len, said)) < 700, (what, said)


@pytest.mark.parametrize("name", ["vpo", "selm", "xpo"])
def test_a_mean_over_calibration_samples_couples(name):
    assert "calibration samples" in poz.zoo[name].coupled

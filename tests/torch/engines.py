"""What four processes find out for test_engines.py in one start, under names; each writes its answers beside the store."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.multiprocessing import start_processes

from poz.torch import LogpsHead, linear_logps

VOCABULARY, HIDDEN, SIZES = 38, 8, (5, 6)
HALF = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


class Model(torch.nn.Module):
    """Embeddings, a layer and a head."""

    def __init__(self, tied=False, frozen=()):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.body = torch.nn.Linear(HIDDEN, HIDDEN)
        self.lm_head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=not tied)
        if tied:
            self.lm_head.weight = self.embed.weight
        for name in frozen:
            getattr(self, name).requires_grad_(False)

    def forward(self, ids, targets=None, parts=1):
        """Log-probs of the targets in so many calls of the head, or hidden states."""
        hidden = torch.tanh(self.body(self.embed(ids)))
        if targets is None:
            return hidden
        pairs = zip(hidden.chunk(parts), targets.chunk(parts), strict=True)
        return torch.cat([self.lm_head(rows, t) for rows, t in pairs])


def headed(head=None, **options):
    model = Model(**options)
    model.lm_head = LogpsHead(model.lm_head, **(head or {}))
    return model


def tokens():
    torch.manual_seed(1)
    ids, targets = torch.randint(0, VOCABULARY, (2, sum(SIZES)))
    return ids, targets.masked_fill(torch.arange(sum(SIZES)) % 4 == 0, -100)


def alone(**options):
    """What one process finds from all tokens: the gradients of their mean."""
    model = headed(**options)
    model(*tokens()).mean().backward()
    return {name: p.grad for name, p in model.named_parameters()}


def apart(model, call, mine, shares, want):
    """The largest difference of a gradient from that of one process, relative to its largest."""
    ids, targets = tokens()
    (call(model, ids[mine], targets[mine]).sum() * shares / sum(SIZES)).backward()  # the mean over shares is taken
    found, worst = dict(model.named_parameters()), 0.0
    for name, wanted in want.items():
        if wanted is None:
            assert name not in found or found[name].grad is None, name
            continue
        made = found[name].grad.full_tensor()
        worst = max(worst, ((made - wanted).abs().max() / wanted.abs().max()).item())
    return worst


def inside(model, ids, targets):
    return model(ids, targets)


def twice(model, ids, targets):
    return model(ids, targets, parts=2)


def after(model, ids, targets):
    """The head called where the model is done."""
    with torch.no_grad():
        model.lm_head(model(ids), targets)  # as a reference is scored
    return model.lm_head(model(ids), targets)


def bare(model, ids, targets):
    return linear_logps(model(ids), model.lm_head.weight, targets, bias=model.lm_head.bias)


def with_entropies(model, ids, targets):
    return model.lm_head(model(ids), targets, outputs=("logps", "entropy")).logps


def accumulated(model, ids, targets):
    model.set_requires_gradient_sync(False)
    (model(ids[:3], targets[:3]).sum() * 2 / sum(SIZES)).backward()
    model.set_requires_gradient_sync(True)
    return model(ids[3:], targets[3:])


def root(model, mesh, **options):
    return fully_shard(model, mesh=mesh, **options)


def own(model, mesh, **options):
    fully_shard(model.lm_head, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def together(model, mesh, **options):
    fully_shard([model.embed, model.lm_head], mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def resharded(model, mesh):
    return fully_shard(model, mesh=mesh, reshard_after_forward=True)


BODY = ("embed", "body")
PATTERNS = {
    "root": (root, inside, {}, {}),
    "root, head after": (root, after, {}, {}),
    "root, frozen head": (root, inside, {"frozen": ("lm_head",)}, {}),
    "root, frozen body": (root, inside, {"frozen": BODY}, {}),
    "root, tied": (root, inside, {"tied": True}, {}),
    "root, 16 bit": (root, inside, {}, {"mp_policy": HALF}),
    "root, twice": (root, twice, {}, {}),
    "own": (own, inside, {}, {}),
    "own, head after": (own, after, {}, {}),
    "own, head after a frozen body": (own, after, {"frozen": BODY}, {}),
    "own, with entropies": (own, with_entropies, {}, {}),
    "own, frozen head": (own, inside, {"frozen": ("lm_head",)}, {}),
    "own, 16 bit": (own, inside, {}, {"mp_policy": HALF}),
    "own, twice": (own, twice, {}, {}),
    "own, accumulated": (own, accumulated, {}, {}),
    "together, tied": (together, inside, {"tied": True}, {}),
    "together, tied, 16 bit": (together, inside, {"tied": True}, {"mp_policy": HALF}),
    "own, tied": (own, inside, {"tied": True}, {}),
    "own, weight alone": (own, bare, {}, {}),
    "resharded, head after": (resharded, after, {}, {}),
}


def fsdp(rank, mesh):
    """Every pattern over the first dimension of the mesh; the second has the same twice."""
    first, answers = mesh["dp"].get_local_rank(), {}
    mine = (slice(0, SIZES[0]), slice(SIZES[0], sum(SIZES)))[first]
    for name, (shard, call, options, policy) in PATTERNS.items():
        try:
            answers[name] = apart(shard(headed(**options), mesh["dp"], **policy), call, mine, 2, alone(**options))
        except ValueError as error:
            answers[name] = str(error)
    model = own(headed(), mesh["dp"])
    model.lm_head.unshard()
    with torch.no_grad():
        ids, targets = tokens()
        made = bare(model, ids[mine], targets[mine]) - headed()(ids, targets)[mine]
    answers["own, unsharded, no gradient"] = made.abs().max().item()
    quarters = (slice(0, 3), slice(3, 5), slice(5, 9), slice(9, 11))
    answers["replicated and sharded"] = apart(own(headed(), mesh), inside, quarters[rank], 4, alone())
    return answers


def two_dimensions(_, mesh):
    """The vocabulary over one dimension of the mesh, rows over the other."""
    answers, group = {}, mesh["tp"].get_group()
    mine = (slice(0, SIZES[0]), slice(SIZES[0], sum(SIZES)))[mesh["dp"].get_local_rank()]
    for name, shard in {"two dimensions, own": own, "two dimensions, root": root}.items():
        model = Model()
        plan = {"lm_head": ColwiseParallel(), "body": ColwiseParallel(output_layouts=Replicate())}
        parallelize_module(model, mesh["tp"], plan)
        model.lm_head = LogpsHead(model.lm_head, group=group)
        answers[name] = apart(shard(model, mesh["dp"]), inside, mine, 2, alone())
    for name, call in {
        "two dimensions, whole head": lambda: own(headed(head={"group": group}), mesh["dp"])(*tokens()),
        "two dimensions, logits": lambda: LogpsHead(Model().lm_head, group=group)(torch.zeros(1, HIDDEN)),
    }.items():
        try:
            answers[name] = f"{call()}"
        except ValueError as error:
            answers[name] = str(error)
    return answers


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    answers = {}
    for check in (fsdp, two_dimensions):
        answers |= check(rank, mesh)
    Path(folder, f"{rank}.json").write_text(json.dumps(answers))
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(work, (sys.argv[1],), 4, daemon=True, start_method="fork")

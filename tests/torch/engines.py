"""What four processes find out for test_engines.py in one start, under names; each writes its answers beside the store."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.multiprocessing import start_processes

import poz
from poz.algorithms import baseline
from poz.torch import LCPO, Extragradient, LogpsHead, linear_logps, sum_over

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
        return torch.cat([self.lm_head(rows, t) for rows, t in pairs])  # (tokens,), or (batch, tokens)


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


def layouts(world):
    """Positions of 16 tokens by process: in one piece each, or in two, from both ends, as rings do to share the work."""
    pieces = torch.arange(16).chunk(2 * world)
    return {
        "ulysses": [torch.cat(pieces[2 * rank : 2 * rank + 2]) for rank in range(world)],
        "zigzag": [torch.cat([pieces[rank], pieces[-1 - rank]]) for rank in range(world)],
    }


def sequences():
    torch.manual_seed(2)
    ids = torch.randint(0, VOCABULARY, (8, 16))  # chosen and rejected of four pairs, in turn
    labels = ids.masked_fill(torch.arange(16) < torch.arange(8)[:, None], -100)
    return ids, labels


def shifted(labels):
    """The label of each position: the next token, across the edges of what will be a shard."""
    return torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)


def in_context(group, gradients):
    """SimPO's mean over pairs of which this process has some tokens."""

    def loss(model, ids, targets):
        logps, counts = model(ids, targets), (targets != -100).sum(-1)
        sums, lengths = (
            (logps.sum(-1), counts) if group is None else sum_over(group, logps.sum(-1), counts, gradients=gradients)
        )
        pairs = poz.Pairs(sums[::2], sums[1::2], chosen_len=lengths[::2], rejected_len=lengths[1::2])
        return poz.simpo(pairs).mean(), lengths

    return loss


def context(rank, mesh):
    """Parts of every sequence on each of two or four processes, and what the engine does with the gradients."""
    ids, labels = sequences()
    model, answers = headed(), {}
    loss, lengths = in_context(None, "")(model, ids, shifted(labels))
    loss.backward()
    want = {name: p.grad for name, p in model.named_parameters()}
    for world, group in ((2, mesh["tp"].get_group()), (4, dist.group.WORLD)):
        for layout, positions in layouts(world).items():
            mine = positions[dist.get_rank(group)]
            for gradients in ("summed", "averaged"):
                model = headed()
                found, counts = in_context(group, gradients)(model, ids[:, mine], shifted(labels)[:, mine])
                assert counts.tolist() == lengths.tolist()
                found.backward()
                apart = abs(found.item() - loss.item())
                for name, p in model.named_parameters():
                    dist.all_reduce(p.grad, group=group)
                    grad = p.grad / (world if gradients == "averaged" else 1)
                    apart = max(apart, ((grad - want[name]).abs().max() / want[name].abs().max()).item())
                answers[f"context, {layout}, {world}, {gradients}"] = apart
            wrong = (shifted(labels[:, mine]) != shifted(labels)[:, mine]).sum(-1)
            dist.all_reduce(wrong, group=group)
            answers[f"context, {layout}, {world}, wrong"] = wrong.tolist()[
                0
            ]  # of a completion that is the whole sequence
    half = slice(0, 4) if mesh["dp"].get_local_rank() == 0 else slice(4, 8)  # two pairs each, over two processes
    mine = layouts(2)["zigzag"][mesh["tp"].get_local_rank()]
    model = own(headed(), mesh._flatten("all"))
    found, _ = in_context(mesh["tp"].get_group(), "averaged")(model, ids[half, mine], shifted(labels)[half, mine])
    found.backward()
    answers["context, FSDP2 over all"] = max(
        ((p.grad.full_tensor() - want[name]).abs().max() / want[name].abs().max()).item()
        for name, p in model.named_parameters()
    )
    sums = torch.ones(3, requires_grad=True)
    for name, parts, gradients in (
        ("shape", (sums[: 3 - (rank == 1)],), "summed"),
        ("gradient", (sums if rank else sums.detach(),), "summed"),
        ("number", (sums,) * (1 + (rank == 1)), "summed"),
        ("word", (sums,), "mean" if rank == 1 else "summed"),
        ("kind", (sums.tolist() if rank == 1 else sums,), "summed"),
        ("words", (sums,), "averaged" if rank == 1 else "summed"),
    ):
        try:
            answers[f"sum_over, {name}"] = f"{sum_over(None, *parts, gradients=gradients)}"
        except (TypeError, ValueError) as error:
            answers[f"sum_over, {name}"] = str(error)
    apart = sum_over(None, 2 * sums, gradients="summed")
    (apart.sum() if rank == 0 else 0 * apart.sum()).backward()  # a loss on one process: the mean of all is a quarter
    answers["sum_over, one loss"] = sums.grad.tolist()
    return answers


def stepped(model, half):
    model(*tokens()).mean().backward()
    half.step()


def saved(rank, folder, mesh):
    """Two processes save what has state, at the midpoint of an extragradient step."""
    if mesh["tp"].get_local_rank():
        return {}
    model = own(headed(), mesh["dp"])
    half = Extragradient(torch.optim.AdamW(model.parameters(), lr=0.1))
    stepped(model, half)
    model(*tokens()).mean().backward()
    half.look_ahead()
    group = mesh["dp"].get_group()
    learnt = LCPO(num_annotators=3, group=group)
    learnt(poz.Pairs(*torch.randn(4, 6), annotator=torch.arange(6) % 3))
    learnt.step()
    base = baseline.sums(torch.tensor([-3.0, -1.0]), torch.tensor([-1.0, -2.0]), beta=0.5)
    dcp.save(
        {"model": model, "half": half, "learnt": learnt, "baseline": base._asdict()},
        checkpoint_id=Path(folder, "checkpoint"),
        process_group=group,
    )
    half.back()
    stepped(model, half)
    whole = {name: p.full_tensor().tolist() for name, p in model.named_parameters()}
    return {"saved": {"model": whole, "reliability": learnt.reliability.tolist(), "baseline": [x.item() for x in base]}}


def loaded(folder):
    """What one process, without the others, makes of it."""
    model, answers = headed(), {}
    half = Extragradient(torch.optim.AdamW(model.parameters(), lr=0.1))
    learnt, base = LCPO(num_annotators=3), baseline.init(like=torch.zeros(0))._asdict()

    def load(**others):
        dcp.load({"model": model, "half": half, **others}, checkpoint_id=Path(folder, "checkpoint"), no_dist=True)

    for stage in ("fresh", "stepped"):
        try:
            load()
        except ValueError as error:
            answers[stage] = str(error)
        stepped(model, half)
    model(*tokens()).mean().backward()
    half.look_ahead()
    load(learnt=learnt, baseline=base)
    half.back()
    stepped(model, half)
    whole = {name: p.tolist() for name, p in model.named_parameters()}
    reliability = learnt.reliability.tolist()
    return {**answers, "model": whole, "reliability": reliability, "baseline": [x.item() for x in base.values()]}


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    answers = {}
    for check in (fsdp, two_dimensions, context):
        answers |= check(rank, mesh)
    answers |= saved(rank, folder, mesh)
    Path(folder, f"{rank}.json").write_text(json.dumps(answers))
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(work, (sys.argv[1],), 4, daemon=True, start_method="fork")
    first = Path(sys.argv[1], "0.json")
    first.write_text(json.dumps(json.loads(first.read_text()) | {"loaded": loaded(sys.argv[1])}))

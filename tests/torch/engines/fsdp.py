"""Layouts of a head under FSDP2, with tensor parallelism too, and under DDP: gradients against those of one process."""

import torch
from models import HIDDEN, SIZES, Model, gradient, headed, own, root, sequences, tokens
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from poz.torch import LogpsHead, linear_logps, token_logps

HALF = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def alone(**options):
    """What one process finds from all tokens: the gradients of their mean."""
    model = headed(**options)
    model(*tokens()).mean().backward()
    return {name: p.grad for name, p in model.named_parameters()}


def apart(model, call, mine, shares, want):
    """The largest difference of a gradient from that of one process, relative to its largest."""
    ids, targets = tokens()
    (call(model, ids[mine], targets[mine]).sum() * shares / sum(SIZES)).backward()  # the mean over shares is taken
    found, worst = dict(getattr(model, "module", model).named_parameters()), 0.0
    for name, wanted in want.items():
        if wanted is None:
            assert name not in found or found[name].grad is None, name
            continue
        made = gradient(found[name])
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


def together(model, mesh, **options):
    fully_shard([model.embed, model.lm_head], mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def data_parallel(model, mesh):
    return DistributedDataParallel(model, process_group=mesh.get_group())


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
    "DDP": (data_parallel, inside, {}, {}),
    "DDP, tied": (data_parallel, inside, {"tied": True}, {}),
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


class Causal(Model):
    """What gives logits, as models of trainers do."""

    def forward(self, input_ids):
        return self.lm_head(super().forward(input_ids))

    def get_output_embeddings(self):
        return self.lm_head


def whole_models(_, mesh):
    """Log-probs made in the model's own pass, whose head is a layer that the engine wraps."""
    ids, labels = sequences()
    answers, half = {}, (slice(0, 4), slice(4, 8))[mesh["dp"].get_local_rank()]
    model = Causal()
    token_logps(model, labels, input_ids=ids).logps.sum().backward()
    want = {name: p.grad for name, p in model.named_parameters()}
    for name, wrap in {
        "root": root,
        "own": own,
        "DDP": data_parallel,
    }.items():
        model = Causal()
        wrapped = wrap(model, mesh["dp"])
        try:
            (token_logps(wrapped, labels[half], input_ids=ids[half]).logps.sum() * 2).backward()
        except (TypeError, ValueError) as error:
            answers[f"token_logps, {name}"] = str(error)
            continue
        found = {name: gradient(p) for name, p in model.named_parameters()}
        answers[f"token_logps, {name}"] = max(
            ((found[name] - want[name]).abs().max() / want[name].abs().max()).item() for name in want
        )
    return answers

"""Sequences shared by processes, and sums over them."""

import torch
import torch.distributed as dist
from models import headed, own, sequences

import poz
from poz.torch import sum_over


def layouts(world):
    """Positions of 16 tokens by process: in one piece each, or in two, from both ends, as rings do to share the work."""
    pieces = torch.arange(16).chunk(2 * world)
    return {
        "ulysses": [torch.cat(pieces[2 * rank : 2 * rank + 2]) for rank in range(world)],
        "zigzag": [torch.cat([pieces[rank], pieces[-1 - rank]]) for rank in range(world)],
    }


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


def whole_rows(mine):
    """GRPO's gradients, whose loss reads rows that are whole: put in their places among zeros, and summed."""
    ids, labels = sequences()
    targets, model = shifted(labels), headed()
    if mine is None:
        logps = model(ids, targets)
    else:
        here = torch.zeros(targets.shape).index_copy(1, mine, model(ids[:, mine], targets[:, mine]))
        logps = sum_over(None, here, gradients="summed")
    mask, advantages = targets != -100, torch.linspace(-1, 1, 8)
    data = {"old_logps": logps.detach(), "ref_logps": logps.detach() - 0.1, "mask": mask, "advantages": advantages}
    poz.grpo(poz.Rollouts(logps, **data)).mean().backward()
    if mine is not None:
        for p in model.parameters():
            dist.all_reduce(p.grad)
    return [p.grad for p in model.parameters()]


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
    answers["context, whole rows"] = max(
        ((found - wanted).abs().max() / wanted.abs().max()).item()
        for found, wanted in zip(whole_rows(layouts(4)["zigzag"][rank]), whole_rows(None), strict=True)
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

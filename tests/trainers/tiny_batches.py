"""Pairs as batches for trainers that have no loss of their own, a policy and its reference, and DPO written plainly."""

import copy
import inspect

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import poz
from poz.reference import ipo, mnpo, simpo

LENGTHS = [(9, 6), (4, 7), (5, 5), (8, 3), (3, 9), (6, 4), (7, 8), (4, 4)]
"""Tokens of each pair's completions, behind a prompt of two."""
EXACT = {
    "simpo": (simpo, {"beta": 2.0, "gamma": 1.0}),
    "ipo": (ipo, {"tau": 0.2}),
    "mnpo": (mnpo, {"beta": 0.5, "eta": 0.05}),
}
SIDES = ("chosen", "rejected")


def models(dtype=torch.float64):
    """A policy and a reference whose weights are near; in float64, so that what is left between two ways is theirs."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.2, **shape)
    policy = LlamaForCausalLM(config).to(dtype)
    reference = copy.deepcopy(policy)
    for weight in reference.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    return policy, reference.requires_grad_(False).eval()


def rows(count=8):
    """Token ids of both sides of each pair, whose prompts are the first two."""
    rng = torch.Generator().manual_seed(1)
    drawn = [[torch.randint(3, 40, (2 + n,), generator=rng) for n in both] for both in LENGTHS[:count]]
    return [{"chosen": chosen, "rejected": torch.cat([chosen[:2], rejected[2:]])} for chosen, rejected in drawn]


def collate(pairs):
    """(2 * batch, tokens), chosen rows first, padded with 0; labels are -100 in prompts and padding."""
    both = [pair[side] for side in SIDES for pair in pairs]
    ids = torch.nn.utils.rnn.pad_sequence(both, batch_first=True)
    mask = ids != 0
    labels = ids.where(mask & (torch.arange(ids.shape[1]) >= 2), -100)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def sums(model, batch):
    """Summed log-probs of chosen and of rejected completions, from the model's own logits."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    labels = batch["labels"][:, 1:]
    tokens = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return (tokens * (labels != -100)).sum(1).chunk(2)


def plain_dpo(policy, reference, batch, beta):
    """Rafailov et al., equation 7."""
    chosen, rejected = sums(policy, batch)
    with torch.no_grad():
        ref_chosen, ref_rejected = sums(reference, batch)
    return -torch.nn.functional.logsigmoid(beta * (chosen - ref_chosen - rejected + ref_rejected)).mean()


def exact(name, policy, reference, batch):
    """The mean of `poz.reference`'s losses, and its gradient by parameter, from its slopes."""
    function, values = EXACT[name]
    with torch.no_grad():
        refs = sums(reference, batch)
    scored = sums(policy, batch)
    fields = {side: x.detach().numpy() for side, x in zip(SIDES, scored, strict=True)}
    for side, x, counts in zip(SIDES, refs, (batch["labels"] != -100).chunk(2), strict=True):
        fields |= {f"ref_{side}": x.numpy(), f"opponents_{side}": x.numpy()[None], f"{side}_len": counts.sum(1).numpy()}
    losses, slopes = function(**{x: fields[x] for x in inspect.signature(function).parameters if x in fields}, **values)
    total = sum((torch.as_tensor(slopes[side]) * x).sum() for side, x in zip(SIDES, scored, strict=True)) / len(losses)
    return losses.mean(), torch.autograd.grad(total, list(policy.parameters()))


def objective(name):
    """With the hyper-parameters of `EXACT`."""
    return poz.zoo[name].bind(**EXACT[name][1])


def moved(before, after, rate):
    """Gradients, from what one step of plain SGD has changed."""
    return [(x - y) / rate for x, y in zip(before.parameters(), after.parameters(), strict=True)]

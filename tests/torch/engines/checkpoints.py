"""What two processes save, and one loads."""

from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from models import headed, own, tokens

import poz
from poz.algorithms import baseline
from poz.torch import LCPO, Extragradient


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

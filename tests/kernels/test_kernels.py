"""The Triton kernels in the interpreter and in the compiler, their torch twins, and how they are called.

Triton decides at import whether it interprets, so both halves run this file as a script in a process of their own,
once, and the tests below look at what came back.
"""

import atexit
import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import poz
from poz.families import layout_of
from poz.kernels.plan import PairPlan, RolloutPlan, file_of, has_kernel, plan
from poz.testing import answers as references
from poz.testing import conform, draw_case, draw_values, refusal, runs
from poz.testing.answers import expected
from poz.testing.tolerances import RTOL, assert_close

pytest.importorskip("triton")

NAMES = tuple(name for name in poz.zoo if runs(name, "triton"))
every_objective = pytest.mark.parametrize("name", NAMES)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
DRAWS = 2
# What is seldom drawn, or not at all: a base that brings a term of its own to LCPO.
OVER = {
    f"lcpo:{mode}-over-vpo": poz.lcpo.bind(base=poz.vpo.bind(alpha=0.5), mode=mode, reliability=0.7)
    for mode in ("gibbs", "weighted")
}
OVER["lcpo:over-spce"] = poz.lcpo.bind(base=poz.spce, reliability=0.7)  # reads no label, though its base may
OVER["simpo:hinge"] = poz.simpo.bind(beta=2.5, gamma=1.375, link="hinge")  # seldom drawn
OVER["adaptive_margin:flipped"] = poz.adaptive_margin.bind(flip_below=0.0, smooth_below=0.5, label_smoothing=0.4)
OVER["adaptive_margin:smoothed"] = poz.adaptive_margin.bind(label_smoothing=0.4)  # all, without a threshold
OVER["dppo_kl:near"] = poz.dppo_kl.bind(divergence_low=1e-3, divergence_high=1e-3)  # as far as what is drawn moves
CORRECTED = poz.grpo.params["correction"].domain.options[1:] * 2
for kl, correction in zip(poz.grpo.params["kl"].domain.options, CORRECTED, strict=False):
    limits = {"correction_low": 0.8, "correction_high": 1.25, "off_policy_limit": 0.1 if kl == "k2" else None}
    OVER[f"grpo:{kl},{correction}"] = poz.grpo.bind(kl=kl, kl_weight=0.5, correction=correction, **limits)
for name in filter(has_kernel, NAMES):  # every point, whatever is drawn
    variants = getattr(file_of(name), "VARIANTS", ())
    usual = {key: poz.zoo[name].params[key].default for values in variants for key in values if {} in variants}
    for values in (values or usual for values in variants):
        OVER[f"{name}:{','.join(map(str, values.values()))}"] = poz.zoo[name].bind(**values)
CHOSEN = (1, 63, 257, 0, 5, 130)
REJECTED = (257, 1, 0, 63, 130, 9)
RUNS = [0, 1500, 1501, 1501, 2603]
LISTS, THREES, FOURS = (3, 2, 5, 1), (3, 3, 3), (4, 4, 4, 4)
COMPLETIONS = (1, 63, 257, 0, 5, 130, 9, 2, 64, 31, 1, 7, 20, 3, 40, 12)
HEAD, TAIL = 3, 5  # tokens that belong to no completion
BY_TOKEN = tuple(name for name in NAMES if layout_of(poz.zoo[name].family).per_token)
FAR = [name for name in filter(has_kernel, NAMES) if poz.zoo[name].family is poz.Rollouts]
TIGHT = {"ppo_clip": {"dual_clip": 3.0, "ratio_cap": 4.0}}
EPS = {"float32": 0.0, "bfloat16": 2.0**-8, "float16": 2.0**-10}  # a gradient has the dtype of its log-probs


# -- packed tokens and what the reference says about them ------------------------------------------------------------


@dataclasses.dataclass
class Packed:
    """Arguments of a packed loss, and the float64 batch that the reference gets for the same numbers."""

    objective: poz.objective.Objective
    values: dict
    logps: np.ndarray
    anchors: list
    offsets: np.ndarray
    data: dict
    batch: object
    owner: np.ndarray  # which example a token belongs to; -1: none

    @property
    def columns(self):
        return self.data.keys() - {"lists", "rewards", "label", "margin", "entropy", "annotator", *_CALIBRATION}

    def call(self, implementation, dtype, **changes):
        from poz.kernels.packed import list_loss, token_loss

        def tensor(x):
            given = torch.full((2 * x.size,), torch.nan, dtype=getattr(torch, dtype))
            given[::2] = torch.tensor(x)
            return given[::2].detach().requires_grad_()  # every other element of a vector: strided

        logps, anchors = tensor(changes.get("logps", self.logps)), [tensor(a) for a in self.anchors]
        data = {k: torch.tensor(v) for k, v in self.data.items() if k not in self.columns}
        data["columns"] = {k: torch.tensor(self.data[k]) for k in self.columns}
        loss = list_loss if "lists" in data else token_loss
        offsets = torch.tensor(self.offsets)
        losses = loss(
            self.objective.name, logps, offsets, anchors=anchors, implementation=implementation, **data, **self.values
        )
        upstream = torch.tensor(changes.get("upstream", np.ones(losses.numel())), dtype=losses.dtype)
        slopes = torch.autograd.grad(losses, [logps, *anchors], upstream, materialize_grads=True)
        return losses.detach().numpy(), [slope.double().numpy() for slope in slopes]


_CALIBRATION = ("calibration", "ref_calibration")


def draw(name, rng, dtype="float64", infinite=False):
    """Completions of 0, 1, 63, 257, ... tokens; the last pair has a margin near 1e4 nats.

    `infinite` makes tokens impossible: under the policy, under the first anchor, or under both, on either side.
    """
    shapes = (THREES,) if poz.zoo[name].family is poz.Samples else (LISTS, THREES, FOURS)
    for lists in shapes * 300:
        packed = _drawn(poz.zoo[name].bind(**draw_values(poz.zoo[name], rng)), rng, dtype, infinite, lists)
        try:
            with np.errstate(all="ignore"):
                packed.objective(packed.batch)
        except ValueError:  # other numbers of opponents or completions, or reward gaps that it refuses
            continue
        return packed
    raise AssertionError(f"no packed batch suits `{name}`")


def _drawn(objective, rng, dtype, infinite, lists):
    sizes = np.array(COMPLETIONS[: sum(lists)] if _in_lists(objective) else CHOSEN + REJECTED * _two_sided(objective))
    offsets = HEAD + np.concatenate([[0], np.cumsum(sizes)])
    tokens = offsets[-1] + TAIL
    segment = np.searchsorted(offsets, np.arange(tokens), side="right") - 1
    inside = (segment >= 0) & (segment < len(sizes))
    logps = -np.exp(rng.uniform(-5, 1.5, tokens))
    logps[segment == len(sizes) - 1] *= 1e4 / 9 / 4
    others = [logps * np.exp(rng.normal(0, 0.3, tokens)) for _ in range(3)]
    for x in (logps, *others):
        x[~inside] = np.nan  # nothing may read them
    if infinite:
        for place, impossible in zip((1, 2, 4, 6, 7, 8), ((0,), (1,), (0, 1), (0,), (1,), (0, 1)), strict=True):
            for which in impossible * (place < len(sizes)):
                (logps, others[0])[which][offsets[place]] = -np.inf
    logps, *others = (_rounded(x, dtype) for x in (logps, *others))
    make = {
        poz.Pairs: _pairs,
        poz.RewardPairs: _reward_pairs,
        poz.TokenPairs: _token_pairs,
        poz.Ranked: functools.partial(_ranked, lists),
        poz.Unpaired: _unpaired,
        poz.Samples: functools.partial(_samples, lists),
        poz.Rollouts: _rollouts,
    }[objective.family]
    batch, anchors, data, owner = make(objective, rng, logps, others, offsets, sizes)
    owner = np.where(inside, owner[np.clip(segment, 0, len(sizes) - 1)], -1)
    return Packed(objective, dict(objective.values), logps, anchors, offsets, data, batch, owner)


def _in_lists(objective):
    return objective.family in (poz.Ranked, poz.Samples)


def _two_sided(objective):
    return "rejected" in objective.reads or objective.family is poz.Unpaired


def _rounded(x, dtype):
    return torch.tensor(x).to(getattr(torch, dtype)).double().numpy()


def _sums(x, offsets):
    return np.array([x[a:b].sum() for a, b in itertools.pairwise(offsets)])


def _columns(objective, rng, count):
    label, margin, entropy = rng.choice([0.0, 0.25, 0.5, 1.0], count), rng.normal(0, 2, count), rng.uniform(0, 1, count)
    margin = np.abs(margin) if rng.random() < 0.5 else margin
    numbers = {"margin": margin, "entropy": entropy}
    numbers = {name: value.astype(np.float32).astype(float) for name, value in numbers.items()}
    return {"label": label, "annotator": rng.integers(0, 3, count), **numbers}


def _pairs(objective, rng, logps, others, offsets, sizes):
    sides = ("chosen", "rejected")[: 1 + _two_sided(objective)]
    count = len(sizes) // len(sides)
    reference, opponents = "ref_chosen" in objective.reads, "opponents_chosen" in objective.reads
    several = objective.name == "mnpo"
    anchors = others[:reference] + others[1 : 2 + several] * opponents
    sums = {key: np.split(_sums(x, offsets), len(sides)) for key, x in (("", logps), ("ref_", others[0]))}
    data = _columns(objective, rng, count) | {name: -rng.uniform(1, 9, 4) for name in _CALIBRATION}
    rival = [np.split(_sums(x, offsets), len(sides)) for x in others[1 : 2 + several]]
    batch = poz.Pairs(
        **{f"{key}{side}": sums[key][i] for key in sums for i, side in enumerate(sides)},
        **{f"{side}_len": length for side, length in zip(sides, np.split(sizes, len(sides)), strict=True)},
        **{f"opponents_{side}": np.array([r[i] for r in rival]) for i, side in enumerate(sides)},
        **data,
    )
    data = {name: data[name] for name in data if name in objective.reads | objective.optional}
    return batch, anchors, data, np.tile(np.arange(count), len(sides))


def _reward_pairs(objective, rng, logps, others, offsets, sizes):
    """A score is what its tokens add up to, of which there is usually one."""
    scores, count = np.split(_sums(logps, offsets), 2), len(sizes) // 2
    columns = _columns(objective, rng, count) | {"tie": rng.random(count) < 0.4, "strength": rng.normal(0, 1, count)}
    factors = rng.integers(0, 2, (2, count, int(rng.integers(1, 4)))) / 1.0
    columns |= dict(zip(("chosen_factors", "rejected_factors"), factors, strict=True))
    data = {name: x for name, x in columns.items() if name in objective.reads | objective.optional}
    return poz.RewardPairs(*scores, **data), [], data, np.tile(np.arange(count), 2)


def _token_pairs(objective, rng, logps, others, offsets, sizes):
    sides = ("chosen", "rejected")[: 1 + _two_sided(objective)]
    count = len(sizes) // len(sides)
    label = _columns(objective, rng, count)["label"]
    tokens = {
        "weights": rng.uniform(0, 2, logps.size),
        "changed": rng.random(logps.size) < 0.5,
        "kl": np.exp(rng.uniform(-5, 1, logps.size)),
        "collision": -np.exp(rng.uniform(-5, 1.5, logps.size)),
    }
    tokens = {name: np.where(np.isnan(logps), np.nan, x) if x.dtype == float else x for name, x in tokens.items()}
    tokens = {name: x for name, x in tokens.items() if f"chosen_{name}" in objective.reads}

    def padded(x, half):
        return _padded(x, offsets[half * count : (half + 1) * count + 1])

    fields = {"label": label}
    for half, side in enumerate(sides):
        fields |= {side: padded(logps, half), f"ref_{side}": padded(others[0], half)}
        fields[f"{side}_mask"] = padded(np.ones_like(logps), half) > 0
        fields |= {f"{side}_{name}": padded(x, half) for name, x in tokens.items()}
    anchors = others[: "ref_chosen" in objective.reads]
    return poz.TokenPairs(**fields), anchors, {"label": label, **tokens}, np.tile(np.arange(count), len(sides))


def _padded(x, offsets):
    out = np.zeros((len(offsets) - 1, np.diff(offsets).max()), x.dtype)
    for row, (start, stop) in zip(out, itertools.pairwise(offsets), strict=True):
        row[: stop - start] = x[start:stop]
    return out


def _rollouts(objective, rng, logps, others, offsets, sizes):
    numbers = {"token_advantages": rng.normal(0, 1, logps.size), "entropy": rng.uniform(0, 3, logps.size)}
    numbers["noise"] = rng.uniform(0, 1, logps.size)
    tokens = {name: np.where(np.isnan(logps), np.nan, x) for name, x in numbers.items()}
    tokens |= dict(zip(("ref_logps", "old_logps", "sampler_logps"), others, strict=True))
    tokens = {name: x for name, x in tokens.items() if name in objective.reads | objective.optional}
    if rng.random() < 0.3:
        del tokens["old_logps"]  # exactly on-policy
    whole = {"advantages": rng.normal(0, 1, len(sizes)), "groups": rng.integers(0, 3, len(sizes))}
    whole = {name: x for name, x in whole.items() if name in objective.reads}
    fields = {name: _padded(x, offsets) for name, x in ({"logps": logps} | tokens).items()}
    batch = poz.Rollouts(**fields, **whole, mask=_padded(np.ones_like(logps), offsets) > 0)
    anchors = [tokens.pop("ref_logps")] if "ref_logps" in tokens else []
    return batch, anchors, tokens | whole, np.arange(len(sizes))


def _unpaired(objective, rng, logps, others, offsets, sizes):
    count = len(sizes)
    data = {
        "desirable": rng.random(count) < 0.5,
        "weights": rng.uniform(0, 2, count),
        "kl": rng.exponential(0.5, count),
        "kl_logps": -rng.uniform(1, 9, 4),
        "kl_ref_logps": -rng.uniform(1, 9, 4),
    }
    batch = poz.Unpaired(_sums(logps, offsets), _sums(others[0], offsets), lengths=sizes, **data)
    data = {name: data[name] for name in data if name in objective.reads | objective.optional}
    return batch, others[: "ref_logps" in objective.reads], data, np.arange(count)


def _samples(sizes_of_lists, objective, rng, logps, others, offsets, sizes):
    shape = len(sizes_of_lists), sizes_of_lists[0]
    winrates = rng.uniform(0, 1, shape)
    policy, reference, anchor = (_sums(x, offsets).reshape(shape) for x in (logps, *others[:2]))
    batch = poz.Samples(policy, anchor, reference, winrates)
    anchors = others[: "ref_logps" in objective.reads] + others[1:2] * ("anchor_logps" in objective.reads)
    data = {"lists": np.concatenate([[0], np.cumsum(sizes_of_lists)]), "winrates": winrates.reshape(-1)}
    return batch, anchors, data, np.repeat(np.arange(shape[0]), shape[1])


def _ranked(sizes_of_lists, objective, rng, logps, others, offsets, sizes):
    lists = np.concatenate([[0], np.cumsum(sizes_of_lists)])
    mask = np.arange(max(sizes_of_lists)) < np.array(sizes_of_lists)[:, None]

    def padded(x):
        out = np.zeros(mask.shape, x.dtype)
        out[mask] = x
        return out

    scores = np.sort(rng.normal(0, 2, mask.shape).astype(np.float32).astype(float))[:, ::-1]
    scores[0, 1] = scores[0, 0]
    batch = poz.Ranked(padded(_sums(logps, offsets)), padded(_sums(others[0], offsets)), padded(sizes), scores, mask)
    anchors = others[: "ref_logps" in objective.reads]
    return (
        batch,
        anchors,
        {"lists": lists, "rewards": scores[mask]},
        np.repeat(np.arange(len(sizes_of_lists)), sizes_of_lists),
    )


def reference(packed, dtype, expected=expected):
    """Losses, token gradients (policy first, then anchors) and their scales."""
    wanted = expected(packed.objective, packed.batch, dtype)
    sizes = np.diff(packed.offsets)

    def tokens(gradients, prefix, m=None):
        sides = [side for side in ("chosen", "rejected", "logps") if f"{prefix}{side}" in gradients]
        given = [gradients[f"{prefix}{side}"] if m is None else gradients[f"{prefix}{side}"][m] for side in sides]
        masks = [getattr(packed.batch, f"{side}_mask", getattr(packed.batch, "mask", None)) for side in sides]
        per = np.concatenate([x.reshape(-1) if mask is None else x[mask] for x, mask in zip(given, masks, strict=True)])
        return _edges(per if layout_of(packed.objective.family).per_token else np.repeat(per, sizes))

    fields = [("", None)]
    fields += [(p, None) for p in ("ref_", "anchor_") if {f"{p}chosen", f"{p}logps"} & packed.objective.reads]
    fields += [("opponents_", m) for m in range(len(packed.anchors) + 1 - len(fields))]
    return (
        (wanted.losses, wanted.loss_scale),
        [(tokens(wanted.gradients, *field), tokens(wanted.gradient_scale, *field)) for field in fields],
    )


def _edges(x):
    return np.concatenate([np.zeros(HEAD), x, np.zeros(TAIL)])


# -- the two processes ------------------------------------------------------------------------------------------------


def interpret():
    """Everything that runs in the interpreter, on memory full of NaN."""
    from triton.runtime import interpreter

    empty = torch.empty

    def poisoned(*sizes, **options):
        fresh = empty(*sizes, **options)
        return fresh.fill_(torch.nan) if fresh.is_floating_point() else fresh

    torch.empty = poisoned
    found = {
        "batches": {},
        "tokens": {},
        "spoiled": {},
        "infinite": {},
        "masked": {name: masked(name) for name in BY_TOKEN},
        "far": {name: far(name) for name in FAR},
        "bounds": {name: around_bounds(name) for name in FAR},
    }
    for name in NAMES:
        found["batches"][name] = conform(name, backend="triton", dtype="float32", cases=2, size=5)
        for dtype in EPS:
            found["tokens"][name, dtype] = [
                draw(name, rng, dtype).call("triton", dtype)
                for rng in _draws(name)[: DRAWS if dtype == "float32" else 1]
            ]
        found["infinite"][name] = [
            draw(name, rng, "float32", True).call("triton", "float32") for rng in _draws(name)[:1]
        ]
        packed = draw(name, _draws(name)[0], "float32")
        found["spoiled"][name] = packed.call("triton", "float32", logps=_spoiled(packed))
    long = draw("dpo", _draws("dpo")[0], "float32")
    for key, over in OVER.items():
        found["batches"][key] = conform(over, backend="triton", dtype="float32", cases=2, size=5)
    found["scaled"] = long.call("triton", "float32", upstream=np.arange(6.0))
    found["special"] = {key: special(key) for key in SPECIAL}
    found["patches"] = interpreter._patch_lang.cache_info()._asdict()
    return found


def _draws(name):
    return [np.random.default_rng([7, len(name), ord(name[0]), seed]) for seed in range(DRAWS)]


def _spoiled(packed):
    logps = packed.logps.copy()
    logps[np.flatnonzero(packed.owner == 1)[0]] = np.nan
    return logps


def masked(name):
    """Losses and gradients where masked tokens are 0, and where they are NaN."""
    from poz.kernels.loss import fused_losses

    rng = _draws(name)[0]
    case = draw_case(poz.zoo[name], rng, 5, 30.0)
    given = {field: x for field, x in case.batch._asdict().items() if x is not None}
    masks, side = layout_of(poz.zoo[name].family).masks, case.batch._fields[0]
    given |= {mask: rng.random(given[of].shape) < 0.7 for of, mask in masks.items() if of in given}
    found = []
    for nothing in (0.0, np.nan):
        fields = {}
        for field, x in given.items():
            if x.ndim > 1 and x.dtype == float:
                x = np.where(given[masks["rejected" if "rejected" in field else side]], x, nothing)
            fields[field] = torch.tensor(x, dtype=torch.float32 if x.dtype == float else None)
        fields[side].requires_grad_()
        losses = fused_losses(name, type(case.batch)(**fields), case.objective.values, "triton")
        losses.sum().backward()
        found.append((losses.detach().numpy(), fields[side].grad.numpy()))
    return found


def far(name):
    """Losses and gradients, and what the reference says, where policies are up to 1e4 nats apart; a third of the estimators."""
    apart = np.array([-1e4, -60.5, -1.0, 0.0, 1.0, 60.5, 100.0, 1e4])
    old = -(2.0**14) + 0.0 * apart
    given = {
        "logps": old + apart,
        "old_logps": old,
        "ref_logps": old - apart[::-1] / 2,
        "sampler_logps": old + apart / 64,
    }
    given = {field: np.tile(x, (3, 1)) for field, x in given.items()} | {"advantages": np.array([1.5, -1.5, 0.0])}
    options = list(zip(poz.zoo[name].params["kl"].domain.options, CORRECTED, strict=False))[FAR.index(name) % 3 :: 3]
    return [
        _beside(name, given, {"kl": kl, "kl_weight": 0.5, "correction": how, **TIGHT.get(name, {})})
        for kl, how in options
    ]


def around_bounds(name):
    """The same of completions of one token, likely and unlikely ones, on both sides of what clips them, good and bad."""
    apart = [-2.9, -0.7, -0.31, -0.07, 0.03, 0.07, 0.31, 0.7, 2.9]
    grid = [(old, d, a) for old in (-0.05, -1.0, -3.5, -9.0) for d in apart for a in (1.5, -1.5) if old + d < 0]
    old, d, advantages = np.array(grid).T
    old, now = (x[:, None].astype(np.float32).astype(float) for x in (old, old + d))
    given = {"logps": now, "old_logps": old, "ref_logps": old, "sampler_logps": old, "advantages": advantages}
    return _beside(name, given, TIGHT.get(name, {}))


def _beside(name, given, values):
    """Losses and gradients of the kernel, each before those of the reference."""
    from poz.kernels.loss import fused_losses

    wanted, slopes = references.reference(poz.zoo[name].bind(**values), poz.Rollouts(**given))
    here = {field: torch.tensor(x, dtype=torch.float32) for field, x in given.items()}
    here["logps"].requires_grad_()
    losses = fused_losses(name, poz.Rollouts(**here), values, "triton")
    losses.sum().backward()
    return losses.detach().numpy(), wanted, here["logps"].grad.numpy(), slopes["logps"]


EDGES = {
    "the kink of bpo": ("bpo", {"beta": 1.0, "alpha": 0.5, "link": "hinge"}, (1.0, -10.0), {}),
    "a tie of bpo": ("bpo", {"beta": 1.0, "alpha": 0.5, "link": "square"}, (2.0, -4.0), {}),
    "a steep mm_dpo": ("mm_dpo", {"beta": 1.0, "w": 1e4, "k": 1.0}, (1.0, 0.0), {"margin": 2e-4}),
    "a bonus": ("vpo", {"beta": 1.0, "alpha": 0.5}, (1.0, 0.0), {"calibration": -2.0, "ref_calibration": -3.0}),
    "no bonus": ("vpo", {"beta": 1.0, "alpha": 0.0}, (1.0, 0.0), {"calibration": -np.inf, "ref_calibration": -3.0}),
}
"""By name: the objective, its hyper-parameters, the log-ratios of chosen and rejected, and columns."""
SPECIAL = (
    "running",
    "kink",
    *EDGES,
    "equal",
    "one pair",
    "no pairs",
    "no gradient",
    "long",
    "swapped gibbs",
    "swapped weighted",
    "impossible dapo",
    "impossible gspo",
)


SEGMENTS = ("sum", "spread", "running")


def swapped(mode):
    """A base whose loss of the swapped pair takes another number than its own."""
    from poz.kernels import lcpo, mnpo

    return {
        "plan": PairPlan(
            getattr(lcpo, mode), (1.0, 1.0), base=mnpo.squared, columns=("reliability", "margin", "swapped margin")
        ),
        "logps": torch.tensor([-1.0, -2.0]),
        "offsets": torch.arange(3),
        "anchors": (),
        "columns": [torch.tensor([0.5]), torch.tensor([0.25]), torch.tensor([-1.5])],
        "lengths": None,
        "with_gradient": True,
    }


def special(key):
    """Small cases with an answer known beforehand."""
    from poz.kernels import launch
    from poz.kernels.packed import token_loss

    run = functools.partial(token_loss, implementation="triton")
    if key == "running":
        x = torch.randn(2603, generator=torch.Generator().manual_seed(0))
        segments, leaf = launch.Segments(torch.tensor(RUNS), x.numel()), x.clone().requires_grad_()
        scale = segments.spread(torch.tensor([1.0, -2.0, 5.0, 0.5]))
        made = segments.running(leaf)
        (made * scale * x).sum().backward()
        return x.numpy(), scale.numpy(), made.detach().numpy(), leaf.grad.numpy()
    if key == "kink":
        logps = torch.tensor([0.0, -1.0], requires_grad=True)
        losses = run("simpo", logps, torch.arange(3), beta=1.0, gamma=0.0, link="hinge")
    elif key in EDGES:
        name, params, ratios, columns = EDGES[key]
        logps = torch.tensor(ratios, requires_grad=True)
        columns = {column: torch.tensor([x]) for column, x in columns.items()}
        losses = run(name, logps, torch.arange(3), anchors=[torch.zeros(2)], **params, **columns)
    elif key == "equal":
        logps = (-torch.rand(300, generator=torch.Generator().manual_seed(0))).requires_grad_()
        losses = run("dpo", logps, torch.tensor([0, 7, 100, 300, 300]), anchors=[logps.detach()], beta=0.5)
    elif key == "one pair":
        torch.use_deterministic_algorithms(True)  # and what nobody writes is NaN
        logps = torch.full((9,), -1.0, requires_grad=True)
        losses = run("simpo", logps, torch.tensor([2, 3, 5]))
        torch.use_deterministic_algorithms(False)
    elif key == "no pairs":
        logps = torch.ones(4, requires_grad=True)
        losses = run("simpo", logps, torch.zeros(1, dtype=torch.long))
    elif key.startswith("swapped"):
        return launch.pairs(**swapped(key.split()[1]))
    elif key.startswith("impossible"):
        logps = torch.tensor([-torch.inf, -1.0], requires_grad=True)
        columns = {"advantages": torch.ones(1)}
        losses = run(key.split()[1], logps, torch.tensor([0, 2]), columns=columns, aggregation="sequence_mean")
    elif key == "no gradient":
        return run("dpo", torch.full((4,), -1.0), torch.tensor([0, 1, 4]), anchors=[torch.zeros(4)]).numpy(), None
    else:  # several blocks of 1024
        logps = torch.full((2600,), -(2.0**-6)).requires_grad_()
        losses = run("simpo", logps, torch.tensor([0, 1500, 2600]), beta=2.0, gamma=0.0)
    losses.sum().backward()
    return losses.detach().numpy(), logps.grad.numpy()


def launch():
    """Compiles for Hopper through Triton's launcher, exactly as called, without a driver; nothing runs."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    import poz.kernels.launch as launcher
    from poz.kernels import twin
    from poz.kernels.rollouts._shared import shared

    class NoDevice:
        def get_current_target(self):
            return GPUTarget("cuda", 90, 32)

        def get_current_device(self):
            return 0

        def get_current_stream(self, device=None):
            return 0

    driver.set_active(NoDevice())
    compiled = {}
    sums = launcher.sums_file
    every = launcher.pair_file.pairs, launcher.ranked_file.ranked, launcher.rollout_file.rollouts
    for kernel in (*every, sums.segment_sums, sums.segment_slopes, sums.segment_running):
        kernel.run = functools.partial(_compile_only, kernel.run, compiled)
    for name in NAMES:
        packed = draw(name, _draws(name)[0], "bfloat16")
        logps = torch.tensor(packed.logps).bfloat16()
        anchors = [torch.tensor(a) for a in packed.anchors]
        made = plan(packed.objective, len(anchors))
        rest = {"offsets": torch.tensor(packed.offsets), "anchors": anchors, "lengths": None, "with_gradient": True}
        if made is None:
            continue
        if isinstance(made, PairPlan):
            launcher.pairs(made, logps, columns=[torch.ones(len(CHOSEN)) for _ in made.columns], **rest)
        elif isinstance(made, RolloutPlan):
            data = {column: torch.tensor(x) for column, x in packed.data.items()}
            told, _ = shared(packed.objective, logps, data, twin.Segments(rest["offsets"], logps.numel()))
            launcher.rollouts(made, told, logps, anchors=anchors, offsets=rest["offsets"], with_gradient=True)
        else:
            lists, rewards = (torch.tensor(packed.data[key]) for key in ("lists", "rewards"))
            launcher.ranked(made, logps, lists=lists, rewards=rewards, longest=5, **rest)
        compiled[name] = compiled.pop("last")
    segments, tokens = launcher.Segments(torch.tensor(RUNS), RUNS[-1]), torch.ones(RUNS[-1], requires_grad=True)
    for what in SEGMENTS:
        given = tokens if what != "spread" else torch.ones(len(RUNS) - 1, requires_grad=True)
        getattr(segments, what)(given).sum().backward()
        compiled[what] = compiled.pop("last")
    return compiled


def _compile_only(run, compiled, *args, **options):
    made = run(*args, **{**options, "warmup": True})
    compiled["last"] = "ld.global" in made.asm["ptx"]
    return made


def _begin(what, tmp_path_factory, **environment):
    """Where the answers of a process of its own will be; the first worker that asks starts it."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{what}.pickle"
    with contextlib.suppress(FileExistsError):
        out.with_suffix(".begun").touch(exist_ok=False)
        begun = subprocess.Popen([sys.executable, "-P", __file__, what, out], env={**os.environ, **environment})
        atexit.register(begun.wait)
    return out


def _elsewhere(what, tmp_path_factory, **environment):
    out = _begin(what, tmp_path_factory, **environment)
    for _ in range(6000):
        if out.exists():
            return pickle.loads(out.read_bytes())
        time.sleep(0.1)
    raise TimeoutError(f"The process that should {what} kernels has not ended in ten minutes.")


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    return _elsewhere("interpret", tmp_path_factory, TRITON_INTERPRET="1")


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    return _elsewhere("launch", tmp_path_factory, TRITON_INTERPRET="0")


# -- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, *OVER])
def test_kernel_equals_reference_on_batches(interpreted, name):
    result = interpreted["batches"][name]
    assert result.passed, result.problem


@every_dtype
@every_objective
def test_kernel_equals_reference_on_tokens(interpreted, name, dtype):
    for rng, (losses, slopes) in zip(_draws(name), interpreted["tokens"][name, dtype], strict=False):
        packed = draw(name, rng, dtype)
        (wanted, scale), gradients = reference(packed, "float32")
        assert_close("losses", actual=losses, expected=wanted, scale=scale, rtol=RTOL["float32", "loss"])
        for which, slope, (want, size) in zip(("logps", *"abc"), slopes, gradients, strict=False):
            # rounded to its dtype at the end, where small numbers lose bits too
            size = size * RTOL["float32", "gradient"] + EPS[dtype] * np.abs(want) + 6e-8 * (dtype == "float16")
            with np.errstate(over="ignore"):
                want = want.astype(np.float16) if dtype == "float16" and np.abs(want).max() > 65504 else want
            assert_close(f"gradient in {which}", actual=slope, expected=want, scale=size, rtol=1.0)


@pytest.mark.parametrize("name", [name for name in NAMES if not poz.zoo[name].coupled])
def test_nan_stays_in_its_example(interpreted, name):
    clean, spoiled = interpreted["tokens"][name, "float32"][0], interpreted["spoiled"][name]
    packed = draw(name, _draws(name)[0], "float32")
    ill = np.arange(clean[0].size) == 1
    np.testing.assert_array_equal(spoiled[0], np.where(ill, np.nan, clean[0]))
    ill = packed.owner == 1
    np.testing.assert_array_equal(spoiled[1][0][~ill], clean[1][0][~ill])


def _unscaled(objective, batch, dtype):
    losses, gradients = references.reference(objective, batch)
    return references.Expected(losses, gradients, losses, gradients)


@pytest.mark.parametrize("name", [name for name in NAMES if not poz.zoo[name].coupled])
def test_infinities_give_the_reference_or_nan(interpreted, name):
    for rng, (losses, slopes) in zip(_draws(name)[:1], interpreted["infinite"][name], strict=True):
        packed = draw(name, rng, "float32", infinite=True)
        (wanted, _), gradients = reference(packed, "float32", _unscaled)
        for found, want in ((losses, wanted), *zip(slopes, (want for want, _ in gradients), strict=True)):
            # one order of operations subtracts infinities where another takes the limit
            undefined = np.isnan(found) | np.isnan(want)
            np.testing.assert_allclose(found[~undefined], want[~undefined], rtol=1e-4, atol=1e-5)
            assert not undefined.all()


@every_objective
def test_twin_equals_reference_on_batches(name):
    from poz.kernels.loss import fused_losses

    result = conform(name, lambda batch, **values: fused_losses(name, batch, values, "torch"), backend="torch", cases=6)
    assert result.passed, result.problem


@every_objective
def test_twin_equals_reference_on_tokens(name):
    packed = draw(name, _draws(name)[0])
    losses, slopes = packed.call("torch", "float64")
    (wanted, scale), gradients = reference(packed, "float64")
    assert_close("losses", actual=losses, expected=wanted, scale=scale, rtol=RTOL["float64", "loss"])
    for slope, (want, size) in zip(slopes, gradients, strict=True):
        assert_close("gradient", actual=slope, expected=want, scale=size, rtol=RTOL["float64", "gradient"])


@pytest.mark.parametrize("name", BY_TOKEN)
def test_masked_tokens_have_no_influence(interpreted, name):
    (losses, gradient), (same, slopes) = interpreted["masked"][name]
    np.testing.assert_array_equal(same, losses)
    np.testing.assert_array_equal(slopes, gradient)
    assert np.isfinite(losses).all()
    assert gradient.any()


@pytest.mark.parametrize("name", ["dapo", "gspo"])
def test_an_impossible_token_that_is_its_own_old_one_has_ratio_1_and_no_slope(interpreted, name):
    losses, gradient = interpreted["special"][f"impossible {name}"]
    assert losses.tolist() == [-1.0]
    assert gradient.tolist() == [0.0, -0.5]


@pytest.mark.parametrize("name", FAR)
def test_policies_far_apart_give_the_numbers_of_the_reference(interpreted, name):
    """A token with a ratio of e^60 goes on along its tangent, and no infinity meets another."""
    for losses, wanted, gradient, slopes in interpreted["far"][name]:
        assert np.isfinite(losses).all()
        assert np.isfinite(gradient).all()
        # e^60 in float32 has an error of 60 2^-24 where its exponent is rounded
        np.testing.assert_allclose(losses, wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FAR)
def test_on_either_side_of_a_bound_the_numbers_are_those_of_the_reference(interpreted, name):
    losses, wanted, gradient, slopes = interpreted["bounds"][name]
    assert len({*np.sign(slopes.ravel())}) > 1  # or nothing is told apart
    # differences of log-probs of 9 nats in float32 are off by 5e-7, and ratios are at most e^2.9
    np.testing.assert_allclose(losses, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5)


def test_running_sums_stay_in_their_segment(interpreted):
    values, scale, running, gradient = interpreted["special"]["running"]
    np.testing.assert_array_equal(scale, np.repeat([1.0, -2.0, 5.0, 0.5], np.diff(RUNS)))
    for start, stop in itertools.pairwise(RUNS):
        here = slice(start, stop)
        # A thousand roundings of either sign, of partial sums below 500: sqrt(1000) 500 2^-24 = 9e-4. A token is near 1.
        np.testing.assert_allclose(running[here], np.cumsum(values[here], dtype=float), atol=1e-3)
        slopes = np.cumsum((scale * values)[here][::-1], dtype=float)[::-1]
        np.testing.assert_allclose(gradient[here], slopes, atol=1e-3)


def test_upstream_gradient_scales_each_pair(interpreted):
    packed = draw("dpo", _draws("dpo")[0], "float32")
    _, (plain, reference_plain) = packed.call("torch", "float32")
    _, (scaled, reference_scaled) = interpreted["scaled"]
    weight = np.where(packed.owner < 0, 0.0, packed.owner)
    np.testing.assert_allclose(scaled, weight * plain, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(reference_scaled, weight * reference_plain, rtol=1e-5, atol=1e-12)


def test_outside_of_one_pair_the_gradient_is_zero(interpreted):
    _, gradient = interpreted["special"]["one pair"]
    assert gradient[2:5].all()
    assert not gradient[:2].any()
    assert not gradient[5:].any()


def test_hinge_slope_is_zero_at_its_kink(interpreted):
    losses, gradient = interpreted["special"]["kink"]
    assert losses.tolist() == [0.0]
    assert gradient.tolist() == [0.0, 0.0]


def test_points_at_their_edges(interpreted):
    """On the hinge of BPO, z = min(1, 5), nothing; half to each side of z = min(2, 2); and a scale far from 1."""
    assert [x.tolist() for x in interpreted["special"]["the kink of bpo"]] == [[0.0], [0.0, 0.0]]
    assert [x.tolist() for x in interpreted["special"]["a tie of bpo"]] == [[1.0], [1.0, -0.5]]
    losses, gradient = interpreted["special"]["a steep mm_dpo"]
    scale = 1 - 1e4 * np.expm1(-2e-4)
    np.testing.assert_allclose(losses, np.log1p(np.exp(-scale)), rtol=1e-6)  # a few roundings of float32
    np.testing.assert_allclose(gradient, np.array([-1, 1]) * scale / (1 + np.exp(scale)), rtol=1e-6)


@pytest.mark.parametrize(("key", "bonus"), [("a bonus", 0.5 * (-2.0 + 3.0)), ("no bonus", 0.0)])
def test_bonus_is_a_mean_log_ratio_and_nothing_where_its_weight_is_0(interpreted, key, bonus):
    losses, gradient = interpreted["special"][key]
    np.testing.assert_allclose(losses, [np.log1p(np.exp(-1)) + bonus], rtol=1e-6)
    np.testing.assert_allclose(gradient, np.array([-1, 1]) / (1 + np.e), rtol=1e-6)


def test_policy_equal_to_reference_gives_log_2_bitwise(interpreted):
    losses, gradient = interpreted["special"]["equal"]
    assert losses.tolist() == [np.float32(np.log(2.0))] * 2
    assert gradient.tolist() == [-0.25] * 100 + [0.25] * 200


def test_the_interpreter_changes_its_language_once_for_each_function(interpreted):
    """A few hundred functions, called tens of thousands of times: half of the time would go there."""
    assert interpreted["patches"]["misses"] < 400 < 10_000 < interpreted["patches"]["hits"]


def test_no_pairs_give_no_losses_and_zero_gradient(interpreted):
    losses, gradient = interpreted["special"]["no pairs"]
    assert losses.shape == (0,)
    assert gradient.tolist() == [0.0] * 4


def test_losses_do_not_need_a_gradient(interpreted):
    losses, _ = interpreted["special"]["no gradient"]
    np.testing.assert_allclose(losses, np.log1p(np.exp(-0.2)), rtol=1e-6)


@pytest.mark.parametrize("key", ["swapped gibbs", "swapped weighted"])
def test_swapped_pair_takes_its_own_numbers(interpreted, key):
    losses, gradient = interpreted["special"][key]
    kept, swap = (1.0 - 0.25) ** 2, (-1.0 + 1.5) ** 2
    up, down = 2 * (1.0 - 0.25), -2 * (-1.0 + 1.5)
    u = swap - kept
    w = 1 / (1 + np.exp(-u - 0.5))
    if key == "swapped gibbs":
        loss, slope = np.log1p(np.exp(-u)) + (1 - w) * u, (1 / (1 + np.exp(-u)) - w) * (down - up)
    else:
        loss, slope = w * kept + (1 - w) * swap, w * up + (1 - w) * down
    np.testing.assert_allclose(losses, loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, [slope, -slope], rtol=1e-5)


def test_long_completions_take_several_blocks(interpreted):
    losses, gradient = interpreted["special"]["long"]
    np.testing.assert_allclose(losses, np.log(2.0), rtol=1e-6)
    np.testing.assert_allclose(gradient, np.repeat([-1 / 1500, 1 / 1100], [1500, 1100]), rtol=1e-6)


@pytest.mark.parametrize("name", [*filter(has_kernel, NAMES), *SEGMENTS])
def test_launcher_takes_the_arguments(launched, name):
    assert launched[name]


def test_triton_is_refused_where_it_cannot_run():
    from poz.kernels.loss import implementation_for

    logps = torch.zeros(2)
    assert implementation_for("auto", logps) == "torch"
    with pytest.raises(
        RuntimeError, match=r"needs log-probs on a GPU; got cpu\. Move them there, set TRITON_INTERPRET=1"
    ):
        implementation_for("triton", logps)
    with pytest.raises(ValueError, match="must be 'auto', 'triton' or 'torch'; got 'cuda'"):
        implementation_for("cuda", logps)


def test_triton_is_refused_where_it_is_not_installed(monkeypatch):
    from poz.kernels import packed

    monkeypatch.setattr(packed, "HAS_TRITON", False)
    assert packed.implementation_for("auto", torch.zeros(2)) == "torch"
    with pytest.raises(RuntimeError, match=r"needs the package triton\. Install it, or take 'auto'"):
        packed.implementation_for("triton", torch.zeros(2))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"offsets": torch.arange(4)}, "needs 2 pairs + 1 offsets"),
        ({"offsets": torch.tensor([0, 2, 9])}, "must ascend within 0 and 4"),
        ({"offsets": torch.tensor([0.0, 1.0, 2.0])}, "one vector of integers"),
        ({"anchors": ()}, "`dpo` needs 1 anchor"),
        ({"anchors": torch.zeros(1, 3)}, "anchors[0] must have shape (4,)"),
        ({"logps": torch.zeros(2, 2)}, "one vector of floats"),
        ({"label": torch.ones(3)}, "label must have shape (1,)"),
    ],
)
def test_errors_are_sentences(change, sentence):
    from poz.kernels.loss import token_loss

    given = {"logps": torch.zeros(4), "offsets": torch.tensor([0, 2, 4]), "anchors": torch.zeros(1, 4)}
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is asked for below
        token_loss("dpo", **{**given, **change})
    assert sentence in str(error.value)


def refuses(sentence, call, *args, error=ValueError, **given):
    with pytest.raises(error) as raised:
        call(*args, **given)
    assert sentence in str(raised.value)


def test_columns_and_lists_are_checked():
    from poz.kernels.loss import list_loss, token_loss

    given = {"logps": torch.zeros(4), "offsets": torch.tensor([0, 2, 4]), "anchors": [torch.zeros(4)]}
    refuses("`ddpo` needs changed with these hyper-parameters, one for each token", token_loss, "ddpo", **given)
    refuses("`bco` needs desirable with these hyper-parameters, one for each example", token_loss, "bco", **given)
    short = {"changed": torch.ones(3, dtype=torch.bool)}
    refuses("changed must have shape (4,); got (3,)", token_loss, "ddpo", **given, columns=short)
    elsewhere = {**given, "anchors": [np.zeros(4, np.float32)]}
    refuses("anchors[0] must be a torch tensor; got ndarray", token_loss, "dpo", error=TypeError, **elsewhere)
    refuses("`qrpo` reads lists; call list_loss", token_loss, "qrpo", **given)
    refuses("`bco` reads no lists; call token_loss", list_loss, "bco", **given, lists=torch.tensor([0, 2]))
    wins = {"winrates": torch.ones(3)}
    uneven = {**given, "offsets": torch.tensor([0, 2, 3, 4]), "lists": torch.tensor([0, 2, 3])}
    refuses("`qrpo` needs lists of one length; got [2, 1]", list_loss, "qrpo", **uneven, columns=wins)


def test_only_what_has_no_tokens_is_left_out():
    from poz.kernels.loss import fused_losses

    left = {name for name in poz.zoo if refusal(name, "triton")}
    assert left == {
        name for name, spec in poz.zoo.items() if not layout_of(spec.family).tokens and not has_kernel(name)
    }
    errors = poz.Denoising(torch.ones(2), torch.ones(2))
    refuses("`mapo` has no kernel: it reads one denoising error", fused_losses, "mapo", errors, error=TypeError)


def test_packed_tokens_know_what_stays_in_a_completion_alone():
    from poz.kernels.twin import Ragged, Segments

    x = Ragged.of(torch.arange(5.0), Segments(torch.tensor([0, 2, 2, 5]), 5))
    assert torch.sum(x, dim=-1).tolist() == [1, 0, 9]
    assert (x - torch.sum(x, dim=-1)[..., None]).tolist() == [-1, 0, -7, -6, -5]
    assert torch.sum(x).item() == 10
    assert torch.amax(x, dim=-1).tolist() == [1, -torch.inf, 4]
    assert torch.cumsum(x, dim=-1).tolist() == [0, 1, 2, 5, 9]
    refuses("amin of packed tokens is not known", torch.amin, x, dim=-1, error=NotImplementedError)
    refuses("sum of packed tokens is not known", torch.sum, x, dim=0, error=NotImplementedError)


def test_importing_the_package_costs_nothing():
    code = "import sys, poz.kernels; print({'torch', 'triton'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "set()"


def test_what_token_loss_is_given_beside_the_log_probs():
    """A misspelt column is not dropped, and numbers in place of booleans, arrays, and pictures have a sentence."""
    from poz.kernels.packed import token_loss

    logps, offsets, anchor = torch.full((4,), -1.0), torch.arange(5), torch.full((4,), -1.5)
    good = torch.tensor([True, False, True, False])

    def kto(**columns):
        return token_loss("kto", logps, offsets, anchors=[anchor], columns=columns, estimator="zero")

    assert kto(desirable=good).shape == (4,)
    with pytest.raises(ValueError, match=r"reads no column weight with.*it reads .*weights"):
        kto(desirable=good, weight=torch.ones(4))
    with pytest.raises(TypeError, match=r"needs booleans for desirable; got torch\.float32"):
        kto(desirable=good.float())
    with pytest.raises(TypeError, match="desirable must be a torch tensor; got ndarray"):
        kto(desirable=good.numpy())
    with pytest.raises(TypeError, match="offsets must be a torch tensor; got list"):
        token_loss("dpo", logps, [0, 1, 2], anchors=[anchor])
    with pytest.raises(TypeError, match="`diffusion_dpo` has no kernel: it reads one denoising error"):
        token_loss("diffusion_dpo", logps, offsets)


if __name__ == "__main__":
    answers, place = {}, pathlib.Path(sys.argv[2])
    try:
        answers = {"interpret": interpret, "launch": launch}[sys.argv[1]]()
    finally:  # where it fails, nobody waits for what will not come
        made = place.with_suffix(".made")
        made.write_bytes(pickle.dumps(answers))
        made.rename(place)

"""The Triton kernels in the interpreter and in the compiler, their torch twins, and how they are called.

Triton decides at import whether it interprets, so both halves run this file as a script in a process of their own,
once, and the tests below look at what came back.
"""

import dataclasses
import functools
import importlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import poz
from poz.kernels.plan import PairPlan, has_kernel, plan
from poz.testing import conform, conformance, draw_values, runs
from poz.testing.conformance import expected
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
OVER["simpo:hinge"] = poz.simpo.bind(beta=2.5, gamma=1.375, link="hinge")  # seldom drawn
for name in filter(has_kernel, NAMES):  # every point, whatever is drawn
    for values in getattr(importlib.import_module(f"poz.kernels.{name}"), "VARIANTS", ()):
        if values:
            OVER[f"{name}:{','.join(map(str, values.values()))}"] = poz.zoo[name].bind(**values)
CHOSEN = (1, 63, 257, 0, 5, 130)
REJECTED = (257, 1, 0, 63, 130, 9)
LISTS, THREES = (3, 2, 5, 1), (3, 3, 3)
COMPLETIONS = (1, 63, 257, 0, 5, 130, 9, 2, 64, 31, 1)
HEAD, TAIL = 3, 5  # tokens that belong to no completion
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

    def call(self, implementation, dtype, **changes):
        from poz.kernels.packed import list_loss, token_loss

        def tensor(x):
            given = torch.full((2 * x.size,), torch.nan, dtype=getattr(torch, dtype))
            given[::2] = torch.tensor(x)
            return given[::2].detach().requires_grad_()  # every other element of a vector: strided

        logps, anchors = tensor(changes.get("logps", self.logps)), [tensor(a) for a in self.anchors]
        data = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in self.data.items()}
        loss = list_loss if "lists" in data else token_loss
        offsets = torch.tensor(self.offsets)
        losses = loss(
            self.objective.name, logps, offsets, anchors=anchors, implementation=implementation, **data, **self.values
        )
        upstream = torch.tensor(changes.get("upstream", np.ones(losses.numel())), dtype=losses.dtype)
        slopes = torch.autograd.grad(losses, [logps, *anchors], upstream)
        return losses.detach().numpy(), [slope.double().numpy() for slope in slopes]


def draw(name, rng, dtype="float64", infinite=False):
    """Completions of 0, 1, 63, 257, ... tokens; the last pair has a margin near 1e4 nats.

    `infinite` makes tokens impossible: under the policy, under the first anchor, or under both, on either side.
    """
    for lists in itertools.cycle((LISTS, THREES)):
        packed = _drawn(poz.zoo[name].bind(**draw_values(poz.zoo[name], rng)), rng, dtype, infinite, lists)
        try:
            with np.errstate(all="ignore"):
                packed.objective(packed.batch)
        except ValueError:  # other numbers of opponents or completions, or reward gaps that it refuses
            continue
        return packed


def _drawn(objective, rng, dtype, infinite, lists):
    sizes = np.array(COMPLETIONS[: sum(lists)] if objective.family is poz.Ranked else CHOSEN + REJECTED)
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
            for which in impossible:
                (logps, others[0])[which][offsets[place]] = -np.inf
    logps, *others = (_rounded(x, dtype) for x in (logps, *others))
    ranked = functools.partial(_ranked, lists)
    make = {poz.Pairs: _pairs, poz.TokenPairs: _token_pairs, poz.Ranked: ranked}[objective.family]
    batch, anchors, data, owner = make(objective, rng, logps, others, offsets, sizes)
    owner = np.where(inside, owner[np.clip(segment, 0, len(sizes) - 1)], -1)
    return Packed(objective, dict(objective.values), logps, anchors, offsets, data, batch, owner)


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
    count = len(sizes) // 2
    reference, opponents = "ref_chosen" in objective.reads, "opponents_chosen" in objective.reads
    several = objective.name == "mnpo"
    anchors = others[:reference] + others[1 : 2 + several] * opponents
    sums = {key: np.split(_sums(x, offsets), 2) for key, x in (("", logps), ("ref_", others[0]))}
    data = _columns(objective, rng, count) | {
        "calibration": -rng.uniform(1, 9, 4),
        "ref_calibration": -rng.uniform(1, 9, 4),
    }
    rival = [np.split(_sums(x, offsets), 2) for x in others[1 : 2 + several]]
    batch = poz.Pairs(
        **{f"{key}{side}": sums[key][i] for key in sums for i, side in enumerate(("chosen", "rejected"))},
        chosen_len=sizes[:count],
        rejected_len=sizes[count:],
        opponents_chosen=np.array([r[0] for r in rival]),
        opponents_rejected=np.array([r[1] for r in rival]),
        **data,
    )
    data = {name: data[name] for name in data if name in objective.reads | objective.optional}
    return batch, anchors, data, np.tile(np.arange(count), 2)


def _token_pairs(objective, rng, logps, others, offsets, sizes):
    count = len(sizes) // 2
    label = _columns(objective, rng, count)["label"]

    def padded(x, half):
        out = np.zeros((count, max(sizes[half * count : (half + 1) * count])))
        for i in range(count):
            start, stop = offsets[half * count + i : half * count + i + 2]
            out[i, : stop - start] = x[start:stop]
        return out

    masks = [padded(np.ones_like(logps), half) > 0 for half in (0, 1)]
    batch = poz.TokenPairs(
        padded(logps, 0), padded(logps, 1), padded(others[0], 0), padded(others[0], 1), *masks, label=label
    )
    anchors = others[: "ref_chosen" in objective.reads]
    return batch, anchors, {"label": label}, np.tile(np.arange(count), 2)


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
        if isinstance(packed.batch, poz.Ranked):
            per = gradients[f"{prefix}logps"][packed.batch.mask]
        elif isinstance(packed.batch, poz.TokenPairs):
            sides = zip(("chosen", "rejected"), (packed.batch.chosen_mask, packed.batch.rejected_mask), strict=True)
            return _edges(np.concatenate([gradients[f"{prefix}{side}"][mask] for side, mask in sides]))
        else:
            sides = [gradients[f"{prefix}{side}"] for side in ("chosen", "rejected")]
            per = np.concatenate(sides if m is None else [side[m] for side in sides])
        return _edges(np.repeat(per, sizes))

    fields = [("", None)]
    if any(field.startswith("ref_") and field != "ref_calibration" for field in packed.objective.reads):
        fields.append(("ref_", None))
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
    empty = torch.empty

    def poisoned(*sizes, **options):
        fresh = empty(*sizes, **options)
        return fresh.fill_(torch.nan) if fresh.is_floating_point() else fresh

    torch.empty = poisoned
    found = {"batches": {}, "tokens": {}, "spoiled": {}, "infinite": {}}
    for name in NAMES:
        found["batches"][name] = conform(name, backend="triton", dtype="float32", cases=4, size=5)
        for dtype in EPS:
            found["tokens"][name, dtype] = [
                draw(name, rng, dtype).call("triton", dtype)
                for rng in _draws(name)[: DRAWS if dtype == "float32" else 1]
            ]
        found["infinite"][name] = [draw(name, rng, "float32", True).call("triton", "float32") for rng in _draws(name)]
        packed = draw(name, _draws(name)[0], "float32")
        found["spoiled"][name] = packed.call("triton", "float32", logps=_spoiled(packed))
    long = draw("dpo", _draws("dpo")[0], "float32")
    for key, over in OVER.items():
        found["batches"][key] = conform(over, backend="triton", dtype="float32", cases=4, size=5)
    found["scaled"] = long.call("triton", "float32", upstream=np.arange(6.0))
    found["special"] = {key: special(key) for key in SPECIAL}
    return found


def _draws(name):
    return [np.random.default_rng([7, len(name), ord(name[0]), seed]) for seed in range(DRAWS)]


def _spoiled(packed):
    logps = packed.logps.copy()
    logps[np.flatnonzero(packed.owner == 1)[0]] = np.nan
    return logps


SPECIAL = ("kink", "equal", "no pairs", "no gradient", "long", "swapped gibbs", "swapped weighted")


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
    if key == "kink":
        logps = torch.tensor([0.0, -1.0], requires_grad=True)
        losses = run("simpo", logps, torch.arange(3), beta=1.0, gamma=0.0, link="hinge")
    elif key == "equal":
        logps = (-torch.rand(300, generator=torch.Generator().manual_seed(0))).requires_grad_()
        losses = run("dpo", logps, torch.tensor([0, 7, 100, 300, 300]), anchors=[logps.detach()], beta=0.5)
    elif key == "no pairs":
        logps = torch.ones(4, requires_grad=True)
        losses = run("simpo", logps, torch.zeros(1, dtype=torch.long))
    elif key.startswith("swapped"):
        return launch.pairs(**swapped(key.split()[1]))
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

    class NoDevice:
        def get_current_target(self):
            return GPUTarget("cuda", 90, 32)

        def get_current_device(self):
            return 0

        def get_current_stream(self, device=None):
            return 0

    driver.set_active(NoDevice())
    compiled = {}
    for kernel in (launcher.pair_file.pairs, launcher.ranked_file.ranked):
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
        else:
            lists, rewards = (torch.tensor(packed.data[key]) for key in ("lists", "rewards"))
            launcher.ranked(made, logps, lists=lists, rewards=rewards, longest=5, **rest)
        compiled[name] = compiled.pop("last")
    return compiled


def _compile_only(run, compiled, *args, **options):
    made = run(*args, **{**options, "warmup": True})
    compiled["last"] = "ld.global" in made.asm["ptx"]
    return made


def _elsewhere(what, tmp_path_factory, **environment):
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{what}.pickle"
    try:
        out.with_suffix(".begun").touch(exist_ok=False)
    except FileExistsError:  # another worker is at it
        for _ in range(3000):
            if out.exists():
                return pickle.loads(out.read_bytes())
            time.sleep(0.1)
        raise
    made = out.with_suffix(".made")
    subprocess.run(
        [sys.executable, "-P", __file__, what, made], check=True, env={**os.environ, **environment}, timeout=300
    )
    made.rename(out)
    return pickle.loads(out.read_bytes())


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
    losses, gradients = conformance.reference(objective, batch)
    return conformance.Expected(losses, gradients, losses, gradients)


@pytest.mark.parametrize("name", [name for name in NAMES if not poz.zoo[name].coupled])
def test_infinities_give_the_reference_or_nan(interpreted, name):
    for rng, (losses, slopes) in zip(_draws(name), interpreted["infinite"][name], strict=True):
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

    result = conform(
        name, lambda batch, **values: fused_losses(name, batch, values, "torch"), backend="torch", cases=10
    )
    assert result.passed, result.problem


@every_objective
def test_twin_equals_reference_on_tokens(name):
    packed = draw(name, _draws(name)[0])
    losses, slopes = packed.call("torch", "float64")
    (wanted, scale), gradients = reference(packed, "float64")
    assert_close("losses", actual=losses, expected=wanted, scale=scale, rtol=RTOL["float64", "loss"])
    for slope, (want, size) in zip(slopes, gradients, strict=True):
        assert_close("gradient", actual=slope, expected=want, scale=size, rtol=RTOL["float64", "gradient"])


def test_upstream_gradient_scales_each_pair(interpreted):
    packed = draw("dpo", _draws("dpo")[0], "float32")
    _, (plain, reference_plain) = packed.call("torch", "float32")
    _, (scaled, reference_scaled) = interpreted["scaled"]
    weight = np.where(packed.owner < 0, 0.0, packed.owner)
    np.testing.assert_allclose(scaled, weight * plain, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(reference_scaled, weight * reference_plain, rtol=1e-5, atol=1e-12)


def test_hinge_slope_is_zero_at_its_kink(interpreted):
    losses, gradient = interpreted["special"]["kink"]
    assert losses.tolist() == [0.0]
    assert gradient.tolist() == [0.0, 0.0]


def test_policy_equal_to_reference_gives_log_2_bitwise(interpreted):
    losses, gradient = interpreted["special"]["equal"]
    assert losses.tolist() == [np.float32(np.log(2.0))] * 2
    assert gradient.tolist() == [-0.25] * 100 + [0.25] * 200


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


@pytest.mark.parametrize("name", [name for name in NAMES if has_kernel(name)])
def test_launcher_takes_the_arguments(launched, name):
    assert launched[name]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_resources_are_within_the_table(arch):
    from poz.kernels import ahead_of_time as aot

    found = aot.problems(aot.measure(aot.cases(), [arch]), json.loads(aot.TABLE.read_text()))
    assert not found, "\n".join(found)


def test_table_has_no_stale_rows():
    from poz.kernels import ahead_of_time as aot

    assert set(json.loads(aot.TABLE.read_text())["kernels"]) == {case.name for case in aot.cases()}


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"offsets": torch.arange(4)}, "needs 2 pairs + 1 offsets"),
        ({"offsets": torch.tensor([0, 2, 9])}, "must ascend within 0 and 4"),
        ({"offsets": torch.tensor([0.0, 1.0, 2.0])}, "one vector of integers"),
        ({"anchors": ()}, "`dpo` needs 1 anchors"),
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


def test_importing_the_package_costs_nothing():
    code = "import sys, poz.kernels; print({'torch', 'triton'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "set()"


if __name__ == "__main__":
    with open(sys.argv[2], "wb") as file:
        pickle.dump({"interpret": interpret, "launch": launch}[sys.argv[1]](), file)

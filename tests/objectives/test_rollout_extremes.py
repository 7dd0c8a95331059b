"""Objectives on rollouts in float32, at log-ratios up to ten thousand nats: finite, and right."""

import itertools
import zlib

import numpy as np
import pytest

import poz
import poz.reference
from poz.families import SHAPES
from poz.testing import draw_batch
from poz.testing.runners import BACKENDS
from poz.testing.tolerances import FLOOR, RTOL, UNIT, relative_error

NAMES = [name for name, objective in poz.zoo.items() if objective.family is poz.Rollouts]
LOGPS, ADVANTAGES = (-1e4, -300, -100, -89, -1, -1e-6, 0), (-2, -0.0, 0, 1e-8, 3)
ESTIMATORS = poz.grpo.params["kl"].domain.options
CORRECTIONS = poz.grpo.params["correction"].domain.options
# each estimator with a correction, each correction with an estimator, and the rest in turn
SETTINGS = [
    {"kl": kl, "kl_weight": 0.1, "correction": correction, "per_token": i % 2 > 0, "off_policy_limit": (None, 0.1)[i % 4 > 1]}
    for i, (kl, correction) in enumerate(zip(ESTIMATORS, itertools.cycle(CORRECTIONS), strict=False))
]  # fmt: skip
TIGHT = {"ppo_clip": {"dual_clip": 3.0, "ratio_cap": 4.0}}


def batches(name, settings, size=64):
    """With NaN where the mask is false, and with what was drawn there."""
    objective = poz.zoo[name].bind(**settings)
    rng = np.random.default_rng(zlib.crc32(repr(objective).encode()))
    drawn = draw_batch(objective, rng, size, 50.0)._asdict()
    drawn["mask"] = rng.random(drawn["logps"].shape) < 0.8
    clean, hidden = dict(drawn), {}
    for field, (dims, kind) in SHAPES[poz.Rollouts].items():
        if drawn[field] is not None and kind in ("logp", "number"):
            values = LOGPS if kind == "logp" else ADVANTAGES
            clean[field] = rng.choice(np.float32(values), drawn[field].shape).astype(float)
        given = clean[field]
        if given is not None and dims == "bt" and given.dtype.kind == "f":
            hidden[field] = np.where(drawn["mask"], given, np.nan)
    return objective, poz.Rollouts(**clean), poz.Rollouts(**{**clean, **hidden})


def by_reference(objective, batch):
    read = objective.reads | objective.optional
    fields = {field: x for field, x in batch._asdict().items() if x is not None and field in read}
    losses, slopes = getattr(poz.reference, objective.name)(**fields, **objective.values)
    return {"loss": losses, **slopes}


def by_backend(name, objective, batch, dtype="float32"):
    losses, slopes = BACKENDS[name](None, objective, batch, dtype)
    return {"loss": losses, **slopes}


def scales(right, objective, batch):
    """How far float64 moves with its inputs, by `poz.testing.tolerances`; a sum of 1e4 nats has no more digits than those."""
    rng, step = np.random.default_rng(0), 1e-6
    scale = {field: np.abs(x) for field, x in right.items()}
    for field in ("logps", "old_logps", "ref_logps", "sampler_logps", "advantages", "token_advantages"):
        given = getattr(batch, field)
        if given is None:
            continue
        moved = batch._replace(**{field: given * (1 + step * rng.choice([-1, 1], given.shape))})
        there = by_backend("torch", objective, moved, "float64")
        scale = {key: scale[key] + np.abs(there[key] - right[key]) / step for key in scale}
    # in a sum over tokens such moves may cancel by their signs; to first order this is all of them one way
    scale["loss"] = scale["loss"] + np.abs(right["logps"] * batch.logps).sum(-1)
    rows = {key: np.abs(x).reshape(len(x), -1).max(1) for key, x in right.items()}
    return {key: (x.T + np.maximum(rows[key], 1 if key == "loss" else UNIT["float32"])).T for key, x in scale.items()}


def worst(found, right, scale):
    return {
        key: relative_error(x, right[key], scale[key], FLOOR["float32"]).max()
        / RTOL["float32", "loss" if key == "loss" else "gradient"]
        for key, x in found.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_nats_in_float32(name):
    """All are finite, for no product is formed of an infinity and its like; padding is NaN, and nobody sees it."""
    for i, settings in enumerate(SETTINGS):
        objective, clean, hidden = batches(name, settings | (TIGHT.get(name, {}) if i % 2 else {}))
        right = by_reference(objective, clean)
        assert all(np.isfinite(x).all() for x in right.values()), objective
        scale = scales(right, objective, clean)
        for backend in ("torch", "numpy"):
            found = by_backend(backend, objective, hidden)
            assert all(np.isfinite(x).all() for x in found.values()), (objective, backend)
            assert max(worst(found, right, scale).values()) < 1, (objective, backend)


def test_ten_thousand_nats_in_jax():
    objective, clean, hidden = batches("grpo", {"kl": "r*k3", "correction": "geometric_mask", "per_token": True})
    right = by_reference(objective, clean)
    found = by_backend("jax", objective, hidden)
    assert all(np.isfinite(x).all() for x in found.values())
    assert max(worst(found, right, scales(right, objective, clean)).values()) < 1


@pytest.mark.parametrize("name", ["ppo_clip", "gspo", "gmpo", "kl_cov"])
def test_a_weight_and_a_ratio_make_up_for_each_other(name):
    """The old policy had the token for all but impossible, and the sampler had not: -A e^(l - o) e^(o - b) = 2 e^(l - b)."""
    logps, old, sampler = (np.float32([[x]]) for x in (-1, -9000, -3))
    batch = poz.Rollouts(logps, old, sampler_logps=sampler, advantages=np.float32([-2]))
    alone = {"kl_strength": 0.0} if name == "kl_cov" else {}
    assert poz.zoo[name](batch, correction="token_truncate", **alone) == pytest.approx(2 * np.exp(2.0), rel=1e-6)

"""Advantages: what trainers gave, loops by hand, and the laws of comparison within a group."""

import itertools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz import advantages as adv

ROWS = json.loads((Path(__file__).parents[1] / "authors/advantages/trainers.json").read_text())
LIBRARIES = {"numpy": np.asarray, "torch": lambda x: torch.tensor(np.asarray(x)), "jax": jnp.asarray}
RNG = np.random.default_rng(5)
IDS = np.array([4, 0, 4, 7, 0, 0, 4, 2, 2, 0])  # of sizes 3, 4, 1 and 2, members apart
REWARDS = RNG.normal(0, 2, 10)
CALLS = {
    "group": adv.group,
    "group of others": lambda r, g: adv.group(r, g, leave_one_out=True),
    "group_mean": adv.group_mean,
    "leave_one_out": adv.leave_one_out,
    "batch_std": adv.batch_std,
    "length_weighted": lambda r, g: adv.length_weighted(r, g, 1 + abs(g * 3 - 7)),
    "pass_at_k": adv.pass_at_k,
    "gdpo": lambda r, g: adv.gdpo(r[:, None], g),
}
by_group = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def x64():
    with jax.enable_x64():
        yield


def called(row, array):
    inputs = {name: array(x) for name, x in row["inputs"].items()}
    settings = dict(row["settings"])
    if "at_last" in inputs:
        inputs = {"rewards": adv.at_last(inputs.pop("at_last"), inputs["mask"]), **inputs}
    if row["call"] != "gae":
        return getattr(adv, row["call"])(**inputs, **settings)
    whitened, ddof = settings.pop("whitened"), settings.pop("ddof")
    advantages, returns = adv.gae(**inputs, **settings)
    return adv.whiten(advantages, inputs["mask"], ddof=ddof) if whitened else returns


FIRST = [row for i, row in enumerate(ROWS) if row["call"] not in {other["call"] for other in ROWS[:i]}]


@pytest.mark.parametrize(
    ("row", "library"),
    # JAX compiles each operation, so it gets one row of each function
    [*itertools.product(ROWS, ("numpy", "torch")), *((row, "jax") for row in FIRST)],
    ids=lambda x: x if isinstance(x, str) else x["item"],
)
def test_trainers_values(row, library, x64):
    found, values = np.asarray(called(row, LIBRARIES[library])), np.array(row["values"])
    assert found.dtype == np.float64
    valid = np.array(row["inputs"]["mask"]) if values.ndim == 2 else np.ones(values.shape, bool)
    # whitened numbers are about 1; where more than rounding is allowed the row says why
    np.testing.assert_allclose(found[valid], values[valid], rtol=0, atol=row.get("atol", 2e-15))
    assert not found[~valid].any()


def slowly(kind, ddof=1):
    """Group by group, as the papers have it."""
    found = np.zeros(len(IDS))
    for i, one in enumerate(IDS):
        mates = [j for j in range(len(IDS)) if IDS[j] == one]
        others = [j for j in mates if j != i]
        r = REWARDS[mates]
        if not others:
            continue
        if kind == "group":
            found[i] = (REWARDS[i] - r.mean()) / r.std(ddof=ddof)
        elif kind == "group of others":
            spread = REWARDS[others].std(ddof=ddof) if len(others) > ddof else 0
            found[i] = (REWARDS[i] - REWARDS[others].mean()) / (spread or 1)
        elif kind == "batch_std":
            found[i] = (REWARDS[i] - r.mean()) / REWARDS.std(ddof=ddof)
        elif kind == "length_weighted":
            t = np.maximum(np.array(mates), 1)
            found[i] = REWARDS[i] - (t * r).sum() / t.sum()
        elif kind == "pass_at_k":
            found[i] = max(0.0, REWARDS[i] - REWARDS[others].max())
    return found


@pytest.mark.parametrize("ddof", [0, 1])
def test_groups_one_by_one(ddof):
    calls = {
        "group": adv.group(REWARDS, IDS, ddof=ddof),
        "group of others": adv.group(REWARDS, IDS, ddof=ddof, leave_one_out=True),
        "batch_std": adv.batch_std(REWARDS, IDS, ddof=ddof),
        "length_weighted": adv.length_weighted(REWARDS, IDS, np.arange(10)),  # of them one is 0
        "pass_at_k": adv.pass_at_k(REWARDS, IDS),
    }
    for kind, found in calls.items():
        np.testing.assert_allclose(found, slowly(kind, ddof), rtol=1e-13, atol=1e-14, err_msg=kind)


@by_group
def test_who_belongs_together_is_told_by_ids_alone(call):
    order, found = np.array([3, 9, 0, 1, 7, 8, 2, 6, 4, 5]), call(REWARDS, IDS)
    np.testing.assert_allclose(call(REWARDS[order], IDS[order]), found[order], rtol=0, atol=1e-14)
    if call is not CALLS["length_weighted"]:  # whose lengths are made of the ids here
        np.testing.assert_allclose(call(REWARDS, 1000 - IDS), found, rtol=0, atol=1e-14)


@by_group
def test_a_shift_of_all_rewards_changes_nothing(call):
    np.testing.assert_allclose(call(REWARDS + 3, IDS), call(REWARDS, IDS), rtol=0, atol=1e-13)


@by_group
@pytest.mark.parametrize("reward", [0.1, 1e4 / 3, -7.7e-8])
def test_equal_rewards_and_a_group_of_one_are_exactly_0(call, reward):
    for size, dtype in itertools.product((1, 2, 3, 7, 10), (np.float32, np.float64)):
        equal = np.full(size, reward, dtype)
        assert not call(equal, np.zeros(size, int)).any()
        assert not call(equal, np.arange(size)).any()


def test_near_rewards_keep_their_digits():
    # deviations of ±.15 and ±.05 over √(.05/3), of float32 numbers that are 6e-5 apart
    found = adv.group(np.array([1000, 1000.1, 1000.2, 1000.3], np.float32), np.zeros(4, int))
    np.testing.assert_allclose(found, np.array([-0.15, -0.05, 0.05, 0.15]) / math.sqrt(0.05 / 3), atol=5e-4)
    # others that are equal have no deviation, whatever the one left out is
    rewards, ids = np.array([1e6, 0.1, 0.1, 0.1], np.float32), np.zeros(4, int)
    assert adv.group(rewards, ids, leave_one_out=True)[0] == np.float32(1e6 - 0.1)


@pytest.mark.parametrize("size", [1e20, 1e-24, 1e-30, 3e37])
def test_the_scale_of_rewards_is_no_matter(size):
    ids = np.array([0, 0, 0, 0, 1, 1, 1, 1])  # two groups of very different rewards
    rewards = np.array([size, 0, 0, 0, 1, 0, 0, 0], np.float32)
    for found in (adv.group(rewards, ids), adv.whiten(rewards[:4]), adv.batch_std(rewards[:4], ids[:4])):
        np.testing.assert_allclose(found[:4], [1.5, -0.5, -0.5, -0.5], rtol=1e-6)
    np.testing.assert_allclose(adv.group(rewards, ids)[4:], [1.5, -0.5, -0.5, -0.5], rtol=1e-6)
    np.testing.assert_allclose(
        adv.group(rewards, ids, leave_one_out=True)[1:4] * 3**0.5, [-1.0, -1, -1], rtol=1e-6
    )  # (0 - size / 3) over the deviation size / √3 of (size, 0, 0)


def test_an_unknown_reward_that_cannot_be_read_is_its_groups():
    rewards, ids = jnp.array([jnp.nan, 1, 2, 3, 5]), jnp.array([0, 0, 0, 1, 1])
    for name, call in CALLS.items():
        found = np.isnan(np.asarray(jax.jit(call)(rewards, ids)))
        assert found[:3].all(), name
        assert name in ("batch_std", "gdpo") or not found[3:].any(), name  # these compare with all of the batch


def test_leave_one_out_is_a_multiple_of_the_group_mean():
    size = np.array([(one == IDS).sum() for one in IDS])
    factor = size / np.maximum(size - 1, 1)
    np.testing.assert_allclose(adv.leave_one_out(REWARDS, IDS), factor * adv.group_mean(REWARDS, IDS), rtol=1e-15)


MASK = np.array([[1, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], bool)


@pytest.mark.parametrize("skip", [True, False])
def test_returns_and_gae_token_by_token(skip):
    rewards, values = RNG.normal(size=MASK.shape), RNG.normal(size=MASK.shape)
    discount, trace = 0.9, 0.7
    returns, advantages = np.zeros(MASK.shape), np.zeros(MASK.shape)
    for i, mask in enumerate(MASK):
        to_go = later = value = 0.0
        for t in reversed(range(len(mask))):
            if mask[t] or not skip:
                r, v = (rewards[i, t], values[i, t]) if mask[t] else (0.0, 0.0)
                to_go = r + discount * to_go
                later = r + discount * value - v + discount * trace * later
                value = v
            returns[i, t], advantages[i, t] = mask[t] * to_go, mask[t] * later
    found = adv.returns(rewards, MASK, discount=discount, skip_holes=skip)
    np.testing.assert_allclose(found, returns, rtol=1e-13, atol=1e-15)
    found = adv.gae(rewards, values, MASK, discount=discount, trace=trace, skip_holes=skip)
    np.testing.assert_allclose(found[0], advantages, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(found[1], np.where(MASK, advantages + values, 0), rtol=1e-13, atol=1e-14)


def test_what_stands_outside_the_mask_is_left_out():
    rewards, values = RNG.normal(size=(2, *MASK.shape))
    poisoned = [np.where(MASK, x, np.nan) for x in (rewards, values)]
    for one, other in zip(adv.gae(rewards, values, MASK), adv.gae(*poisoned, MASK), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(adv.whiten(poisoned[0], MASK), adv.whiten(rewards, MASK))
    np.testing.assert_array_equal(adv.reinforce_plus_plus(poisoned[0], MASK), adv.reinforce_plus_plus(rewards, MASK))


def test_a_reward_stands_at_the_last_token():
    found = adv.at_last(np.array([1.0, 2, 3, 4]), MASK)
    assert [list(np.flatnonzero(row)) for row in found] == [[4], [0], [], [5]]
    assert found.sum() == 7


def test_whitened_numbers_have_mean_0_and_deviation_1():
    found = adv.whiten(1e6 + RNG.normal(size=MASK.shape), MASK, ddof=0)[MASK]
    assert abs(found.mean()) < 1e-10
    assert found.std() == pytest.approx(1, rel=1e-9)  # numbers of 1e6 have 1e-10 left
    assert not adv.whiten(np.full(MASK.shape, 0.1), MASK).any()
    assert not adv.whiten(np.full((2, 3), 0.1), np.zeros((2, 3), bool)).any()


@by_group
def test_16_bits_are_computed_in_float32(call):
    half = torch.tensor(REWARDS).bfloat16()
    found = call(half, torch.tensor(IDS))
    assert found.dtype == torch.float32
    # float32 sums of ten numbers, over deviations that may be a tenth of them
    np.testing.assert_allclose(found, call(half.double().numpy(), IDS), rtol=1e-5, atol=1e-5)


def test_groups_are_found_under_jit():
    both = jax.jit(lambda r, g: [call(r, g) for call in CALLS.values()])(jnp.asarray(REWARDS), jnp.asarray(IDS))
    for found, call in zip(both, CALLS.values(), strict=True):
        np.testing.assert_allclose(found, call(REWARDS.astype(np.float32), IDS), rtol=1e-5, atol=1e-5)  # as above


def test_advantages_are_data():
    rewards = torch.tensor(REWARDS, requires_grad=True)
    assert not adv.group(rewards, torch.tensor(IDS)).requires_grad
    assert not adv.whiten(rewards).requires_grad


def test_an_empty_batch_has_no_advantages():
    none = np.zeros(0)
    assert adv.group(none, np.zeros(0, int)).shape == (0,)
    assert adv.whiten(none).shape == (0,)
    assert adv.returns(np.zeros((0, 3)), np.zeros((0, 3), bool)).shape == (0, 3)


R, G, M = np.ones(3), np.zeros(3, int), np.ones((3, 2), bool)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: adv.group(R, G[:2]), r"one group id for each completion, shape \(3,\); got \(2,\)"),
        (lambda: adv.group(R, G.astype(float)), "needs integers for groups"),
        (lambda: adv.group(R, torch.zeros(3, dtype=torch.int64)), "group ids of numpy"),
        (lambda: adv.group(R.astype(int), G), "floating-point numbers for rewards"),
        (lambda: adv.group(R[:, None], G), r"rewards of shape \(batch,\); got \(3, 1\)"),
        (lambda: adv.group(np.array([1.0, np.nan, 2]), G), "needs finite rewards"),
        (lambda: adv.group(R, G, epsilon=-1.0), "epsilon of 0 or more; got -1.0"),
        (lambda: adv.group(R, G, ddof=2), "ddof 0 .* or 1 .*; got 2"),
        (lambda: adv.length_weighted(R, G, np.array([1, -1, 2])), "lengths of 0 or more; got -1"),
        (lambda: adv.length_weighted(R, G, np.ones(2)), "one shape for all"),
        (lambda: adv.greedy_baseline(R, R[:2]), "one shape for all"),
        (lambda: adv.optimal(R, R), r"reference_rewards of shape \(3, samples\)"),
        (lambda: adv.optimal(R, R[:, None], beta=0.0), "beta above 0; got 0.0"),
        (lambda: adv.gdpo(R, G), r"\(batch, rewards\); got \(3,\)"),
        (lambda: adv.gdpo(R[:, None], G, weights=[1.0, 2.0]), "a weight for each kind of reward, 1; got 2"),
        (lambda: adv.at_last(R, M[:2]), r"shape \(3, tokens\)"),
        (lambda: adv.returns(R, M), r"shape \(batch, tokens\); got \(3,\)"),
        (lambda: adv.returns(np.ones((3, 2)), M.astype(float)), "a mask of booleans"),
        (lambda: adv.returns(np.ones((3, 2)), M[:, :1]), r"a mask of the shape \(3, 2\); got \(3, 1\)"),
        (lambda: adv.returns(np.ones((3, 2)), M, discount=1.1), "discount within 0 and 1; got 1.1"),
        (lambda: adv.gae(np.full((3, 2), np.inf), np.ones((3, 2)), M), "needs finite"),
        (
            lambda: adv.optimal_token_baseline(
                np.ones((3, 2)), G, M ^ [[True, False]], -np.ones((3, 2)), np.ones((3, 2))
            ),
            "true up to its end",
        ),
        (lambda: adv.group(R, G, processes=object()), "torch tensors; got ndarray"),
        (lambda: adv.whiten(np.array([1.0, np.nan])), "needs finite advantages"),
        (lambda: adv.length_weighted(R, G, np.array([1, np.nan, 2])), "lengths of 0 or more; got nan"),
        (lambda: adv.gdpo(R[:, None], G, weights=[np.inf]), "finite weights"),
        (lambda: adv.gdpo(R[:, None], G, mask=M[:2]), r"shape \(3, tokens\)"),
        (lambda: adv.optimal_token_baseline(np.ones((3, 2)), G, M, np.ones((3, 2)), np.ones((3, 2))), "at most 0"),
        (
            lambda: adv.optimal_token_baseline(np.ones((3, 2)), G, M, -np.ones((3, 2)), -np.ones((3, 2))),
            "within 0 and 1",
        ),
    ],
)
def test_bad_input_gets_a_sentence(call, said):
    with pytest.raises((TypeError, ValueError), match=said):
        call()

"""Running statistics of rewards: one stream, however it is cut; and the shapers that read them."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz.rewards.transforms import RunningStats, clip, meanstd, merge, minmax, update

ROWS = [
    row
    for row in json.loads((Path(__file__).parents[1] / "authors/rewards/transforms.json").read_text())
    if "batches" in row["inputs"]
]
STREAM = np.random.default_rng(8).normal(30, 2, 1000)  # far from 0, where Σx² - n mean² would lose digits
SHAPERS = {"meanstd": meanstd, "clip": clip, "minmax": minmax}
LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor, "jax": jnp.asarray}
every_library = pytest.mark.parametrize("library", LIBRARIES)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def stream(parts, array=np.asarray):
    state = RunningStats()
    for part in parts:
        state = update(state, array(part))
    return state


def is_of(state, numbers):
    assert int(state.count) == len(numbers)
    actual = [float(x) for x in (state.mean, state.std, state.min, state.max)]
    np.testing.assert_allclose(actual, [numbers.mean(), numbers.std(), numbers.min(), numbers.max()], rtol=1e-13)


@every_library
@pytest.mark.parametrize("cuts", [[], [1], [0, 7, 7, 500, 1000], list(range(100, 1000, 100))])
def test_a_stream_is_what_numpy_says_of_it(cuts, library):
    is_of(stream(np.split(STREAM, cuts), LIBRARIES[library]), STREAM)


@every_library
def test_ranks_of_unequal_shares_and_empty_ones_add_up_in_any_order(library):
    array = LIBRARIES[library]
    shares = [stream(np.split(part, [5, 9]), array) for part in np.split(STREAM, [1, 1, 20, 700])]
    assert [int(x.count) for x in shares] == [1, 0, 19, 680, 300]
    is_of(merge(*shares), STREAM)
    is_of(merge(*shares[::-1]), STREAM)
    is_of(merge(merge(shares[3], shares[1]), merge(shares[0], shares[4], shares[2])), STREAM)


def test_what_was_gathered_over_ranks_adds_up():
    shares = [stream([part], torch.tensor) for part in np.split(STREAM, [11, 400])]
    gathered = torch.tensor([[float(x) for x in state] for state in [*shares, RunningStats()]], dtype=torch.float64)
    is_of(merge(*(RunningStats(*row) for row in gathered)), STREAM)


def test_the_empty_state_is_neutral_and_the_old_one_stays():
    state = stream([STREAM[:10]])
    assert merge(state, RunningStats()) == state == merge(RunningStats(), state)
    assert merge() == RunningStats() == update(RunningStats(), np.zeros((0, 3)))
    update(state, STREAM[10:])
    is_of(state, STREAM[:10])


def test_one_reward_and_equal_rewards_have_no_variance():
    for numbers in ([3.5], [3.5, 3.5, 3.5]):
        x = np.array(numbers)
        state = update(RunningStats(), x)
        assert (float(state.mean), float(state.std)) == (3.5, 0)
        for shaper, wanted in ((meanstd, 0), (minmax, 0), (clip, 3.5)):
            np.testing.assert_array_equal(shaper(x, state), wanted)
        np.testing.assert_array_equal(meanstd(x + 1, state), 1)


def test_the_state_holds_no_graph():
    rewards = torch.tensor(STREAM[:6], requires_grad=True)
    state = update(RunningStats(), rewards)
    assert not any(x.requires_grad for x in state[1:])
    (slope,) = torch.autograd.grad(meanstd(rewards, state).sum(), rewards)
    np.testing.assert_allclose(slope, 1 / STREAM[:6].std(), rtol=1e-12)
    (slope,) = torch.autograd.grad(clip(rewards, state).sum(), rewards)
    np.testing.assert_array_equal(slope, np.abs(STREAM[:6] - STREAM[:6].mean()) < STREAM[:6].std())


def test_the_state_goes_through_jit():
    step = jax.jit(lambda state, x: update(state, x))
    state = RunningStats()
    for part in np.split(STREAM, 4):
        state = step(state, jnp.asarray(part))
    is_of(state, STREAM)


@pytest.mark.parametrize("row", ROWS, ids=[row["call"] for row in ROWS])
@every_library
def test_authors_values(row, library):
    batches = [np.array(x) for x in row["inputs"]["batches"]]
    state = stream(batches, LIBRARIES[library])
    shaped = SHAPERS[row["call"]](LIBRARIES[library](batches[-1]), state)
    np.testing.assert_allclose(np.asarray(shaped), row["values"], rtol=1e-13)


# -- refused


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@every_library
def test_what_would_stay_for_ever_is_refused(value, library):
    with pytest.raises(ValueError, match="update needs finite rewards"):
        update(RunningStats(), LIBRARIES[library]([1.0, value]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_where_it_cannot_be_read_it_stays_and_is_seen(value):
    step = jax.jit(lambda state, x: update(state, x))
    state = step(step(RunningStats(), jnp.array([1.0, value])), jnp.array([1.0, 2.0]))
    assert np.isnan(state.std)
    assert np.isnan(meanstd(jnp.ones(1), state)).all()


@pytest.mark.parametrize("shaper", SHAPERS.values(), ids=SHAPERS)
def test_a_state_that_has_seen_nothing_is_refused(shaper):
    with pytest.raises(ValueError, match="needs a state that has seen rewards"):
        shaper(np.ones(2), RunningStats())
    with pytest.raises(ValueError, match="needs a state that has seen rewards"):
        shaper(torch.ones(2), RunningStats(torch.tensor(0)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: update((0, 0.0, 0.0, 0.0, 0.0), np.ones(2)), "needs a RunningStats for state; got a tuple"),
        (lambda: update(RunningStats(), np.ones(2, int)), "needs floating-point numbers for rewards; got int64"),
        (lambda: update(RunningStats(), [1.0, 2.0]), "An array of NumPy, torch or JAX is needed; got list"),
        (
            lambda: merge([RunningStats(), RunningStats()]),
            "merge needs states, each a RunningStats of its own; got list",
        ),
        (lambda: merge(stream([STREAM], torch.tensor), stream([STREAM], jnp.asarray)), "got jax and torch"),
    ],
)
def test_what_is_no_state_and_no_rewards_is_said(call, said):
    with pytest.raises(TypeError, match=said):
        call()

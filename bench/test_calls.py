"""What a call of `poz.dpo` costs against the same three lines written by hand: `pytest bench/test_calls.py`.

One training evaluation each: losses of 64 pairs, mean, gradient of the policy's log-probs. Compare medians within a
group; `ratio` rows time the two in turns, so they hold on a noisy machine too.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz

SIZE = 64
NUMBERS = [-np.random.default_rng(i).gamma(2, 20, SIZE).astype(np.float32) for i in range(4)]
AIMS = {"torch eager": 1.3, "torch compiled": 1.05, "jax eager": 1.3, "jax compiled": 1.05}


def torch_by_hand(chosen, rejected, ref_chosen, ref_rejected, beta=0.1):
    margin = (chosen - rejected) - (ref_chosen - ref_rejected)
    losses = -torch.nn.functional.logsigmoid(beta * margin)
    return losses


def jax_by_hand(chosen, rejected, ref_chosen, ref_rejected, beta=0.1):
    margin = (chosen - rejected) - (ref_chosen - ref_rejected)
    losses = -jax.nn.log_sigmoid(beta * margin)
    return losses


def ours(*logps):
    return poz.dpo(poz.Pairs(*logps), beta=0.1)


def torch_step(loss):
    arrays = [torch.tensor(x, requires_grad=i < 2) for i, x in enumerate(NUMBERS)]

    def step():
        return torch.autograd.grad(loss(*arrays).mean(), arrays[:2])

    return step


def jax_step(loss, compiled):
    arrays = [jnp.asarray(x) for x in NUMBERS]
    gradient = jax.grad(lambda *a: loss(*a).mean(), argnums=(0, 1))
    gradient = jax.jit(gradient) if compiled else gradient
    return lambda: jax.block_until_ready(gradient(*arrays))


STEPS = {
    "torch eager": lambda who: torch_step({"hand": torch_by_hand, "poz": ours}[who]),
    "torch compiled": lambda who: torch_step(torch.compile({"hand": torch_by_hand, "poz": ours}[who], fullgraph=True)),
    "jax eager": lambda who: jax_step({"hand": jax_by_hand, "poz": ours}[who], compiled=False),
    "jax compiled": lambda who: jax_step({"hand": jax_by_hand, "poz": ours}[who], compiled=True),
}


@pytest.mark.parametrize("who", ["hand", "poz"])
@pytest.mark.parametrize("mode", STEPS)
def test_call(benchmark, mode, who):
    benchmark.group = mode
    step = STEPS[mode](who)
    step()
    benchmark(step)


@pytest.mark.parametrize("mode", STEPS)
def test_ratio(mode, capsys):
    """Prints poz / hand, medians of 300 turns; the aim is beside it."""
    torch.set_num_threads(1)
    steps = [STEPS[mode](who) for who in ("hand", "poz")]
    times = [[], []]
    for turn in range(310):
        for index, step in enumerate(steps):
            start = time.perf_counter()
            for _ in range(5):
                step()
            if turn >= 10:
                times[index].append(time.perf_counter() - start)
    hand, poz_ = (statistics.median(t) / 5 * 1e6 for t in times)
    with capsys.disabled():
        print(f"\n{mode}: by hand {hand:.0f} us, poz {poz_:.0f} us, ratio {poz_ / hand:.2f} (aim {AIMS[mode]})")

"""Token log-probs on a CPU, ours and everyone else's: `pytest bench/test_linear_logps.py`. Compare medians within a group.

Small sizes, for a look at regressions. The project's aims are measured by `poz bench --quick`, which takes turns.
"""

import itertools

import pytest

from poz.bench import inputs
from poz.bench.exact import errors, exact, refusal
from poz.bench.measure import ROUNDS
from poz.bench.peers import PEERS
from poz.bench.shapes import CPU_HEADS, MODES, Case

CASES = [
    *(
        Case(CPU_HEADS["small"], 1024, 1.0, mode, dtype)
        for mode, dtype in itertools.product(MODES, ("float32", "bfloat16"))
    ),
    Case(CPU_HEADS["small"], 1024, 0.25, "train", "float32"),
    *(Case(CPU_HEADS["small"], 1024, 1.0, mode, "float32", "jax") for mode in MODES),
]


@pytest.mark.parametrize(
    ("case", "peer"),
    [
        pytest.param(case, peer, id=f"{case.name}-{peer.name}".replace(" ", "_"))
        for case in CASES
        for peer in PEERS
        if peer.serves(case)
    ],
)
def test_linear_logps(benchmark, case, peer):
    reason = peer.available(case, "cpu")
    if reason:
        pytest.skip(reason)
    given = inputs.make(case)
    run = peer.prepare(given, case.mode)
    found = errors(run(), exact(given, case.mode, peer.task == "mean"), given, peer.task)
    assert refusal(found, case.dtype, case.objective) is None
    benchmark.group = case.name
    benchmark.extra_info |= {name: value for name, value in found._asdict().items() if value is not None}
    benchmark.pedantic(run, rounds=ROUNDS[0], iterations=1)

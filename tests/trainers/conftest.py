"""What the tests beside other trainers share: one batch, the four laws' comparison, and the record that docs/trainers.md shows.

`make trainers-NAME` sets POZ_RECORD to NAME; what the laws measured is then written to results/NAME.json.
"""

import importlib.metadata
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from described import files

from poz._digest import digest

RESULTS = Path(__file__).parent / "results"
LAWS = {
    "own": "poz's dpo is the trainer's own loss, and its gradient",
    "reference": "simpo, ipo and mnpo are their references",
    "accumulation": "eight batches of one are two of four",
    "start": "a policy that is its reference has margin 0",
}
"""What holds in every trainer of pairs; a trainer with others names them in `agree(law, ...)` all the same."""

_ALL = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[_ALL] = {"laws": {}, "passed": 0, "facts": {}}


@pytest.fixture(scope="session")
def agree(pytestconfig):
    """`agree(law, ours, theirs, tolerance)`: the largest difference, relative to the largest of theirs where that exceeds 1.

    Numbers, arrays, tensors or lists of them, whose places correspond. The tolerance has its reason where it is given.
    """
    laws = pytestconfig.stash[_ALL]["laws"]

    def compared(law, ours, theirs, tolerance):
        ours, theirs = (np.concatenate([_flat(x) for x in each]) for each in (_listed(ours), _listed(theirs)))
        assert ours.shape == theirs.shape != (0,), f"{law}: {ours.shape} and {theirs.shape}"
        assert np.isfinite(theirs).all(), f"{law}: not finite"
        apart = float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
        assert apart <= tolerance, f"{law}: {apart:.2g} apart, where {tolerance:.2g} is allowed"
        laws[law] = max(apart, laws.get(law, 0.0))

    return compared


@pytest.fixture(scope="session")
def fact(pytestconfig):
    """`fact(name, value)`: a number or a word that docs/trainers.md repeats, such as the steps of the trainer's own command."""
    return pytestconfig.stash[_ALL]["facts"].__setitem__


def _listed(x):
    return x if isinstance(x, list | tuple) else [x]


def _flat(x):
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=np.float64).reshape(-1)


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        _count[0] += 1


_count = [0]


def pytest_sessionfinish(session, exitstatus):
    name, found = os.environ.get("POZ_RECORD"), session.config.stash[_ALL]
    if not name or exitstatus:
        return
    pins = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    shown = [pin.removeprefix("# shown: ") for pin in pins if pin.startswith("# shown: ")]
    packages = [*(shown[0].split() if shown else [name]), "torch", "numpy"]
    RESULTS.mkdir(exist_ok=True)
    row = {
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "tests": _count[0],
        "laws": {law: _rounded(x) for law, x in sorted(found["laws"].items())},
        "facts": found["facts"],
        "digest": digest(files(name)),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def _rounded(x):
    """Up to two digits, so that a number does not change with every machine."""
    return 0.0 if x == 0 else float(f"{x:.0e}") if x > 0 and math.isfinite(x) else x

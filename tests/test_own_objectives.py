"""Objectives that users define: copied, pickled and told apart from those of poz that have the same name."""

import copy
import pickle
import subprocess
import sys
from typing import Annotated

import numpy as np
import pytest

import poz
from poz.domains import Real
from poz.objective import objective
from poz.plotting import curve
from poz.testing import conform

PAIRS = poz.Pairs(*-np.random.default_rng(0).exponential(9, (4, 5)))
SPEC = {"title": "own", "paper": "none", "equation": "none", "formula": "x", "reads": "chosen rejected"}
Beta = Annotated[float, Real("β", low=0)]


@objective(**SPEC)
def dpo(xp, pairs: poz.Pairs, *, beta: Beta = 0.5):
    """Named as one of poz's."""
    return xp.softplus(-beta * (pairs.chosen - pairs.rejected))


@objective(**SPEC)
def mine(xp, pairs: poz.Pairs, *, beta: Beta = 0.5):
    """Named as none of poz's."""
    return beta * (pairs.rejected - pairs.chosen)


class Held:
    @objective(**SPEC)
    def inner(xp, pairs: poz.Pairs, *, beta: Beta = 0.5):  # noqa: N805
        """Defined in a class."""
        return beta * pairs.rejected


def local():
    @objective(**SPEC)
    def mine(xp, pairs: poz.Pairs, *, beta: Beta = 0.5):
        """Defined in a function."""
        return beta * pairs.chosen

    return mine


WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda this: pickle.loads(pickle.dumps(this)),
}
OWN = {
    "dpo": dpo, "bound": dpo.bind(beta=2.0), "mine": mine, "in a class": Held.inner, "as a base": poz.lcpo.bind(base=dpo),
    "in a sum": poz.combine([(dpo, 1.0), (poz.dpo, 2.0)]), "poz's": poz.dpo.bind(beta=0.3), "array": mine.bind(beta=np.ones(5)),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", OWN)
def test_it_comes_back_as_itself(which, way):
    this = OWN[which]
    other = WAYS[way](this)
    assert repr(other) == repr(this)
    np.testing.assert_array_equal(other(PAIRS), this(PAIRS))


@pytest.mark.parametrize("way", ["copy", "deepcopy"])
def test_one_defined_in_a_function_can_be_copied(way):
    this = local().bind(beta=3.0)
    np.testing.assert_array_equal(WAYS[way](this)(PAIRS), 3 * PAIRS.chosen)


def test_one_that_cannot_be_found_again_is_refused():
    for this in (local(), poz.combine([(local(), 1.0)])):
        with pytest.raises(
            pickle.PicklingError, match=r"`mine` is not to be found as .*local.*\. Define it at the top"
        ):
            pickle.dumps(this)


def test_a_deep_copy_has_arrays_of_its_own():
    weights = np.ones(5)
    for this in (mine.bind(beta=weights), poz.combine([(mine.bind(beta=weights), 1.0)])):
        other, before = copy.deepcopy(this), this(PAIRS)
        weights *= 2
        np.testing.assert_array_equal(other(PAIRS), before)
        weights /= 2


def test_it_is_found_in_another_process(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "import poz\nfrom poz.objective import objective\n\n"
        "@objective(title='t', paper='p', equation='e', formula='f', reads='chosen rejected')\n"
        "def dpo(xp, pairs: poz.Pairs):\n    '''Theirs.'''\n    return 7 * pairs.chosen\n",
        encoding="utf-8",
    )
    make = "import pickle, sys, theirs; sys.stdout.buffer.write(pickle.dumps(theirs.dpo))"
    load = (
        "import pickle, sys, poz, numpy as np\nprint(pickle.load(sys.stdin.buffer)(poz.Pairs(np.ones(1), np.ones(1))))"
    )
    run = {"capture_output": True, "check": True, "cwd": tmp_path}
    made = subprocess.run([sys.executable, "-c", make], **run)
    assert subprocess.run([sys.executable, "-c", load], input=made.stdout, **run).stdout.split() == [b"[7.]"]


def test_a_name_alone_has_no_reference():
    with pytest.raises(TypeError, match="got `dpo`, which is not the `dpo` of poz"):
        conform(dpo)
    with pytest.raises(TypeError, match="`dpo` is not the `dpo` of poz, so it has no reference"):
        curve(dpo, np.linspace(-1, 1, 3))
    assert not conform("dpo", dpo)

"""The draws of `poz.testing` as hypothesis strategies; needs hypothesis."""
# ruff: noqa: E402 - what is missing is said before anything fails

from __future__ import annotations

import numpy as np

from poz._extras import require

require("poz.testing.strategies", "test", "hypothesis")

from hypothesis import strategies as st

from poz.objective import Objective
from poz.testing.draws import WIDEST, Case, draw_case
from poz.zoo import zoo


def objectives() -> st.SearchStrategy[Objective]:
    """Any objective of the zoo; shrinks to the oldest."""
    return st.sampled_from(list(zoo.values()))


@st.composite
def cases(draw: st.DrawFn, objective: Objective, widest: float = WIDEST) -> Case:
    """Hyper-parameters from their whole domain and a batch of 1 to 9 examples; shrinks to one mild example."""
    seed = draw(st.integers(0, 2**32 - 1))
    size = draw(st.integers(1, 9))
    mild = draw(st.sampled_from([10.0, 100.0, widest]))
    return draw_case(objective, np.random.default_rng(seed), size, min(mild, widest))

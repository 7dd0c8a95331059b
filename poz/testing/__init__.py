"""Check an implementation, ours or yours, against the float64 references.

    from poz.testing import conform
    print(conform("dpo", my_loss, backend="torch"))   # my_loss(pairs, beta=..., label_smoothing=...) -> (batch,) losses

Inputs and hyper-parameters are drawn from what the objective declares; there is no hand-written case per objective.
`poz.testing.strategies` offers the same draws to hypothesis.
"""

from typing import TYPE_CHECKING

from poz import _lazy
from poz.testing._cases import cases as cases
from poz.testing.answers import expected as expected
from poz.testing.conformance import conform as conform
from poz.testing.conformance import verify as verify
from poz.testing.drawn import draws_of as draws_of
from poz.testing.draws import Case as Case
from poz.testing.draws import draw_batch as draw_batch
from poz.testing.draws import draw_case as draw_case
from poz.testing.draws import draw_values as draw_values
from poz.testing.runners import BACKENDS as BACKENDS
from poz.testing.runners import missing as missing
from poz.testing.runners import refusal as refusal
from poz.testing.runners import runs as runs
from poz.testing.tolerances import Mismatch as Mismatch
from poz.testing.tolerances import assert_close as assert_close
from poz.testing.verdict import Result as Result

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    __getattr__ = _lazy.modules(__name__, __path__)[2]

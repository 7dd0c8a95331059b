"""TRL 1.15, the first with a fused head in the model: `make trainers-trl_1_15`.

Its head is a Triton kernel alone, so that TRL's own trainers run on a CPU where Triton interprets; poz's do without.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

from trl_tests import *  # noqa: F403

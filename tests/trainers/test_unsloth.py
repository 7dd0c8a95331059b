"""poz's DPOTrainer where Unsloth has patched TRL, on a CPU: `make trainers-unsloth`.

Unsloth 2026.10.9 with the newest TRL that it allows. On a CPU it routes TRL's fused head to a function of its own, which poz's
trainers do not call. What it does to models on a GPU was not run.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import unsloth
    from trl_tests import (  # noqa: F401
        no_bars,
        other,
        policy,
        pytestmark,
        test_a_policy_that_is_its_reference_has_margin_0,
        test_eight_batches_of_one_are_two_of_four,
        test_losses_and_steps_are_trls,
        test_losses_are_the_reference,
    )
from trl.trainer import utils


def test_unsloth_has_patched_trl(fact):
    assert utils._ChunkedLogProbFunction.__module__.startswith("unsloth_zoo")
    fact("TRL's head is", utils._ChunkedLogProbFunction.__module__)
    assert unsloth.__version__

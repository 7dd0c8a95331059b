"""TRL 1.14, whose trainers take log-probs of logits: `make trainers-trl_1_14`."""

from trl_tests import *  # noqa: F403

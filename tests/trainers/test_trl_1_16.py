"""TRL 1.16, the newest on the package index when this was written: `make trainers-trl_1_16`."""

from trl_tests import *  # noqa: F403

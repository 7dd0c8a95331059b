"""Bradley-Terry with little data."""

from poz.worlds._world import World

few = World("few", "As `clean`, with labels of 6 prompts in place of 24.", ("over-optimisation",), lists=6)

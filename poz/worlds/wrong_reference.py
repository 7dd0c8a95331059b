"""A reference that prefers what is not wanted."""

from poz.worlds._world import World

wrong_reference = World(
    "wrong_reference",
    "The reference is multiplied by e^(-0.6 reward), so that it ranks most pairs wrongly.",
    ("wrong-reference",),
    tilt=-0.6,
)

"""Every annotator answers by the Bradley-Terry model of the true reward."""

from poz.worlds._world import World

clean = World(
    "clean",
    "Labels are the Bradley-Terry model's of the true reward, and none is flipped.",
    ("preference-strength", "uneven-pairs", "no-tuning"),
)

"""Small worlds whose best policy is known: which objective finds it, from which labels? `poz worlds` runs them.

`WORLDS` has them by name; docs/worlds.md has the protocol and what was found.
"""

from poz.worlds._world import Said, Truth, World
from poz.worlds.annotators import annotators
from poz.worlds.certain import certain
from poz.worlds.clean import clean
from poz.worlds.cycles import cycles
from poz.worlds.displacement import displacement
from poz.worlds.few import few
from poz.worlds.flips import flips_10, flips_30
from poz.worlds.length import length
from poz.worlds.ties import ties
from poz.worlds.wrong_reference import wrong_reference

__all__ = ["WORLDS", "Said", "Truth", "World"]

WORLDS = {
    world.name: world
    for world in (
        clean,
        flips_10,
        flips_30,
        annotators,
        ties,
        certain,
        length,
        cycles,
        wrong_reference,
        few,
        displacement,
    )
}
"""The worlds by their names."""

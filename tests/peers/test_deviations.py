"""What an objective's file says of others is of papers and authors; what libraries do is executed by poz/peers."""

import re

import poz
from poz.peers import libraries

CALLED = sorted(set(libraries()) - {"torch", "optax"})  # whose functions others are made of
ELSEWHERE = {("f_dpo", "TRL 0.29 to 1.9")}
"""Run in versions that no environment here has: tests/authors/f_dpo.json."""


def test_what_a_library_does_is_run_and_not_written_into_an_objective():
    named = {
        (name, deviation.who)
        for name, spec in poz.zoo.items()
        for deviation in spec.deviations
        if any(re.search(rf"\b{re.escape(library)}\b", deviation.who) for library in CALLED)
    }
    assert named - ELSEWHERE == set(), "make each a row of poz/peers"

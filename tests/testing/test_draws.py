"""Draws of hyper-parameters and batches."""

import dataclasses

import numpy as np

import poz
from poz.testing import draw_values


def bases():
    drawn = [draw_values(poz.lcpo, np.random.default_rng(seed)) for seed in range(200)]
    return [(values["base"].name, repr(values)) for values in drawn]


def test_a_new_objective_is_drawn_as_a_base_and_moves_no_other(monkeypatch):
    was = bases()
    newcomer = dataclasses.replace(poz.dpo, name="newcomer")
    monkeypatch.setattr(poz.zoo, "_named", {"newcomer": newcomer, **poz.zoo._named})
    now = bases()
    moved = {new[0] for new, old in zip(now, was, strict=True) if new != old}
    assert moved == {"newcomer"}
    assert sum(name == "newcomer" for name, _ in now) < 40  # one of some forty: 5 of 200, more or less

"""The hand-worked values, against the objectives, the float64 references and (losses only) the literal formulas."""

import dataclasses

import numpy as np
import pytest
import torch
import witness
from witness._maths import exact, log, mp, sigma
from witness._rows import P1P2
from witness.pairs.lcpo import LCPO_A, LCPO_EM, constant, exchange

import poz
import poz.reference


def reference_call(name, fields, params):
    """Losses and gradients of a reference; fields are arrays by family field name."""
    return getattr(poz.reference, name)(**fields, **params)


def losses_only(row):
    return dataclasses.replace(row, gradients={})


ROWS = [(name, row) for name in poz.zoo for row in witness.of(name).ROWS]
every_row = pytest.mark.parametrize(("name", "row"), ROWS, ids=[row.item for _, row in ROWS])


@every_row
def test_reference_gives_the_hand_worked_values(name, row):
    row.check(*reference_call(name, row.arrays(), row.params))


def objective_call(name, fields, params):
    """Losses of an objective, from arrays of NumPy or torch by family field name; per-annotator numbers as an array."""
    values = {key: np.array(value) if key == "reliability" else value for key, value in params.items()}
    if "base_params" in values:
        values["base"] = poz.zoo[values["base"]].bind(**values.pop("base_params"))
    return poz.zoo[name](poz.zoo[name].family(**fields), **values)


@every_row
def test_objective_gives_the_hand_worked_losses(name, row):
    losses_only(row).check(objective_call(name, row.arrays(), row.params), {})


@every_row
def test_objective_gives_the_hand_worked_gradients(name, row):
    wanted = {part for key in row.gradients for part in key.split("+")}
    fields = {key: torch.tensor(x, requires_grad=key in wanted) for key, x in row.arrays().items()}
    losses = objective_call(name, fields, row.params)
    given = [fields[key] for key in wanted]
    slopes = torch.autograd.grad(losses.sum(), given, allow_unused=True, materialize_grads=True) if wanted else ()
    row.check(losses.detach().numpy(), dict(zip(wanted, (slope.numpy() for slope in slopes), strict=True)))


@every_row
def test_literal_formula_gives_the_hand_worked_losses(name, row):
    losses = np.array(witness.losses(name, row.fields, row.params), dtype=float)
    losses_only(row).check(losses, {})


def test_every_row_has_its_own_name():
    assert len({row.item for _, row in ROWS}) == len(ROWS)


def test_robust_dpo_is_the_unbiased_mixture_of_both_orders():
    # rDPO = [(1 - ε) DPO(z) - ε DPO(-z)] / (1 - 2 ε) with ε = 0.2, and z = (1, -0.75)
    fields = {name: np.array(value, dtype=float) for name, value in P1P2.items()}
    exchanged = exchange(fields)
    kept, kept_grads = reference_call("dpo", fields, {"beta": 0.5})
    swap, swap_grads = reference_call("dpo", exchanged, {"beta": 0.5})
    np.testing.assert_allclose((0.8 * kept - 0.2 * swap) / 0.6, [-0.0200716458151, 1.38687100611], rtol=1e-11)
    slope = (0.8 * kept_grads["chosen"] - 0.2 * swap_grads["rejected"]) / 0.6
    np.testing.assert_allclose(slope, [-0.301137377352, -0.506256016254], rtol=1e-11)


def test_lcpo_posterior_and_one_reliability_step():
    fields, eta = exact(LCPO_A), exact(LCPO_EM["reliability"])
    w = constant(fields, exact({"base": "dpo", "base_params": {"beta": 0.1}, "reliability": LCPO_EM["reliability"]}))
    # annotator 0 saw pairs 0 and 2, annotator 1 saw pair 1
    full = [(w[0] + w[2]) / 2, w[1]]
    rate = LCPO_EM["rate"]
    step = [(1 - rate) * old + rate * new for old, new in zip(eta, full, strict=True)]
    # -log(η p + (1 - η)(1 - p)) with p = σ(u), u = (1, -0.5, -2)
    p = [sigma(mp.mpf(u)) for u in (1, -0.5, -2)]
    clean = [eta[int(k)] for k in fields["annotator"]]
    nll = -sum(log(e * q + (1 - e) * (1 - q)) for e, q in zip(clean, p, strict=True)) / 3
    for observed, expected in (
        (w, LCPO_EM["posterior"]),
        (step, LCPO_EM["next_reliability"]),
        (full, LCPO_EM["full_step"]),
        (nll, LCPO_EM["marginal_nll"]),
    ):
        np.testing.assert_allclose(np.array(observed, dtype=float), expected, rtol=1e-11)

"""The hand-worked values, against the objectives, the float64 references and (losses only) the literal formulas."""

import dataclasses

import literal
import numpy as np
import pytest
import torch
import witnesses
from values import LCPO_A, LCPO_EM, P1P2
from witnesses import ROWS

import poz
import poz.reference


def reference_call(name, fields, params):
    """Losses and gradients of a reference; fields are arrays by family field name."""
    return getattr(poz.reference, name)(**fields, **params)


def losses_only(row):
    return dataclasses.replace(row, gradients={})


every_row = pytest.mark.parametrize("row", ROWS, ids=[row.item for row in ROWS])


@every_row
def test_reference_gives_the_hand_worked_values(row):
    row.check(*reference_call(row.objective, row.arrays(), row.params))


def objective_call(name, fields, params):
    """Losses of an objective, from arrays of NumPy or torch by family field name; per-annotator numbers as an array."""
    values = {key: np.array(value) if key == "reliability" else value for key, value in params.items()}
    if "base_params" in values:
        values["base"] = poz.zoo[values["base"]].bind(**values.pop("base_params"))
    return poz.zoo[name](poz.zoo[name].family(**fields), **values)


@every_row
def test_objective_gives_the_hand_worked_losses(row):
    losses_only(row).check(objective_call(row.objective, row.arrays(), row.params), {})


@every_row
def test_objective_gives_the_hand_worked_gradients(row):
    wanted = {part for key in row.gradients for part in key.split("+")}
    fields = {key: torch.tensor(x, requires_grad=key in wanted) for key, x in row.arrays().items()}
    losses = objective_call(row.objective, fields, row.params)
    given = [fields[key] for key in wanted]
    slopes = torch.autograd.grad(losses.sum(), given, allow_unused=True, materialize_grads=True) if wanted else ()
    row.check(losses.detach().numpy(), dict(zip(wanted, (slope.numpy() for slope in slopes), strict=True)))


@every_row
def test_literal_formula_gives_the_hand_worked_losses(row):
    losses = np.array(witnesses.losses(row.objective, row.fields, row.params), dtype=float)
    losses_only(row).check(losses, {})


def test_every_row_has_its_own_name():
    assert len({row.item for row in ROWS}) == len(ROWS)


def test_robust_dpo_is_the_unbiased_mixture_of_both_orders():
    # rDPO = [(1 - ε) DPO(z) - ε DPO(-z)] / (1 - 2 ε) with ε = 0.2, and z = (1, -0.75)
    fields = {name: np.array(value, dtype=float) for name, value in P1P2.items()}
    exchanged = literal.exchange(fields)
    kept, kept_grads = reference_call("dpo", fields, {"beta": 0.5})
    swap, swap_grads = reference_call("dpo", exchanged, {"beta": 0.5})
    np.testing.assert_allclose((0.8 * kept - 0.2 * swap) / 0.6, [-0.0200716458151, 1.38687100611], rtol=1e-11)
    slope = (0.8 * kept_grads["chosen"] - 0.2 * swap_grads["rejected"]) / 0.6
    np.testing.assert_allclose(slope, [-0.301137377352, -0.506256016254], rtol=1e-11)


def test_lcpo_posterior_and_one_reliability_step():
    base_params, eta = literal.exact({"beta": 0.1}), literal.exact(LCPO_EM["reliability"])
    fields = literal.exact(LCPO_A)
    annotator = fields.pop("annotator")
    w = literal.lcpo_posterior("dpo", base_params, eta, fields, annotator)
    # annotator 0 saw pairs 0 and 2, annotator 1 saw pair 1
    full = [(w[0] + w[2]) / 2, w[1]]
    rate = LCPO_EM["rate"]
    step = [(1 - rate) * old + rate * new for old, new in zip(eta, full, strict=True)]
    # -log(η p + (1 - η)(1 - p)) with p = σ(u), u = (1, -0.5, -2)
    p = [literal.sigma(literal.mp.mpf(u)) for u in (1, -0.5, -2)]
    clean = [eta[int(k)] for k in annotator]
    nll = -sum(literal.log(e * q + (1 - e) * (1 - q)) for e, q in zip(clean, p, strict=True)) / 3
    for observed, expected in (
        (w, LCPO_EM["posterior"]),
        (step, LCPO_EM["next_reliability"]),
        (full, LCPO_EM["full_step"]),
        (nll, LCPO_EM["marginal_nll"]),
    ):
        np.testing.assert_allclose(np.array(observed, dtype=float), expected, rtol=1e-11)


def test_lcpo_over_cpo_with_its_nll_inside(monkeypatch):
    # L = softplus(-0.1 (l_w - l_l)) - l_w with l = (-10, -12): u = 1.1 * 2 = 2.2; 1.1 (σ(2.2) - w)
    def cpo(chosen, rejected, beta):
        return [-literal.log(literal.sigma(beta * (c - r))) - c for c, r in zip(chosen, rejected, strict=True)]

    monkeypatch.setitem(literal.FORMULAS, "cpo", cpo)
    beta, eta, rejected = literal.exact(({"beta": 0.1}, 0.8, [-12]))
    (w,) = literal.lcpo_posterior("cpo", beta, eta, {"chosen": [-10], "rejected": rejected})

    def loss(chosen):
        return literal.lcpo("cpo", beta, eta, "gibbs", posterior=[w], chosen=[chosen], rejected=rejected)[0]

    assert float(w) == pytest.approx(0.973045861333, rel=1e-11)
    assert float(loss(-10)) == pytest.approx(0.164382424836, rel=1e-11)
    assert float(literal.mp.diff(loss, -10)) == pytest.approx(-0.0800759854982, rel=1e-11)

"""The numerically stable functions under the references, to rounding."""

import numpy as np
import pytest
from witness._maths import coin, e, exp, kl, log, mp, sigma

from poz.reference import _stable

EPS = np.finfo(float).eps


def assert_close(actual, expected, *, rtol, atol=0.0, what=""):
    np.testing.assert_allclose(actual, np.array(expected, dtype=float), rtol=rtol, atol=atol, err_msg=what)


def test_tangent_primitives():
    """E against its definition, and differences without the cancellation."""
    with mp.workdps(60):
        points = np.array([-1e4, -40.0, -1.0, -(2.0**-40), 0.0, 2.0**-40, 3.0, 59.5, 60.0, 60.5, 90.0, 1e4])
        exact = [e(mp.mpf(x)) for x in points]
        # e^60 carries the rounding of its exponent, 60 eps at most
        assert_close(_stable.tangent_exp(points), exact, rtol=64.0 * EPS, atol=1e-300)
        for scale in (1.0, 0.25):
            x, y = (axis.ravel() for axis in np.meshgrid(points, points))
            gaps = [e(scale * mp.mpf(p)) - e(scale * mp.mpf(q)) for p, q in zip(x, y, strict=True)]
            assert_close(_stable.tangent_exp_gap(x, y, scale), gaps, rtol=64.0 * EPS, atol=1e-300)


def test_bernoulli_primitives():
    points = np.array([-800.0, -40.0, -3.0, -0.5, 0.0, 2.0**-20, 0.5, 40.0, 45.0, 800.0])
    x, y = (axis.ravel() for axis in np.meshgrid(points, points))
    with mp.workdps(800):
        pairs = [(coin(mp.mpf(p)), coin(mp.mpf(q))) for p, q in zip(x, y, strict=True)]
        assert_close(_stable.sigmoid_gap(x, y), [p[0] - q[0] for p, q in pairs], rtol=8.0 * EPS, atol=1e-300)
        divergences = np.array([kl(p, q) for p, q in pairs], dtype=float)
    # what cancels is relative to the larger logit, and only where the two are close
    assert_close(_stable.bernoulli_kl(x, y), divergences, rtol=8.0 * EPS, atol=2.0 * EPS)
    tail = (np.minimum(x, y) >= 40.0) & (np.maximum(x, y) < 700.0)
    assert_close(_stable.bernoulli_kl(x, y)[tail], divergences[tail], rtol=1e-13, atol=1e-300)


def test_log1mexp_is_exact_to_rounding():
    points = np.array([-1e4, -40.0, -1.0, -0.7, -0.69, -1e-3, -1e-12, -1e-300])
    with mp.workdps(400):
        exact = [log(1 - exp(mp.mpf(x))) for x in points]
    with np.errstate(divide="ignore"):
        assert_close(_stable.log1mexp(points), exact, rtol=4.0 * EPS, atol=1e-300)


@pytest.mark.parametrize("name", ["softplus", "sigmoid"])
def test_primitives_are_exact_to_rounding(name):
    # four roundings, each half an eps; below 1e-300 only denormal steps are left
    z = np.concatenate([np.linspace(-1e4, 1e4, 201), np.linspace(-40, 40, 161), [0.0, 1e-300, -1e-300, 36.7, -745.0]])
    with mp.workdps(400), np.errstate(all="raise", under="ignore"):
        exact = [mp.mpf(value) for value in z]
        formula = {"softplus": lambda x: log(1 + exp(x)), "sigmoid": sigma}[name]
        assert_close(getattr(_stable, name)(z), [formula(x) for x in exact], rtol=4.0 * EPS, atol=1e-307)

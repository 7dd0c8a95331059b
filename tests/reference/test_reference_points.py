"""Single points at which a reference is delicate."""

import numpy as np
import pytest
import witness
from witness._maths import exact, mp, sigma

import poz
import poz.reference
from poz.reference._stable import sigmoid


def alone(x):
    """One pair whose log-ratio margin is x."""
    x = np.array([x])
    return {"chosen": x, "rejected": 0 * x, "ref_chosen": np.zeros(1), "ref_rejected": np.zeros(1)}


def test_the_slope_of_aqfl_at_its_quantile_is_between_both_sides():
    """x = 20 z = q = 0.05 σ(x) gives both weights 1/2, and |x - q| no slope; the iteration settles, as σ' <= 1/4."""
    x = np.zeros(1)
    for _ in range(12):
        x = 0.05 * sigmoid(x)
    _, gradients = poz.reference.aqfl(**alone(x[0] / 5), beta=0.25)  # x comes back exactly
    # two roundings
    assert gradients["chosen"][0] == pytest.approx(-0.125 * (float(sigma(-x[0] / 20)) + 1), rel=1e-15, abs=0)


def test_the_slope_of_pfl_at_an_unknown_margin_is_unknown():
    losses, gradients = poz.reference.pfl(**alone(np.nan))
    assert np.isnan([losses, *gradients.values()]).all()


@pytest.mark.parametrize("error", [0.02, 0.2, 0.24, 0.25, 0.26])
def test_the_slope_of_mapo_where_its_series_ends(error):
    """Up to c m = 1/4, where the first term left out, x^11 of 1 / 11!, is 2e-15; the rest is a dozen roundings."""
    fields, params = {"chosen": [0.1], "rejected": [error]}, {"ratio_weight": 1.0, "snr": 1.0, "timesteps": 1.0}
    _, gradients = poz.reference.mapo(**{key: np.array(x) for key, x in fields.items()}, **params)
    fields, params = exact(fields), exact(params)

    def loss(x):
        return witness.of("mapo").formula(**{**fields, "rejected": [x]}, **params)[0]

    assert gradients["rejected"][0] == pytest.approx(float(mp.diff(loss, fields["rejected"][0])), rel=1e-14, abs=0)

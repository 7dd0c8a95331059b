"""The references of the later groups, on drawn batches, against the literal formulas in 50 digits and their derivative."""

import literal
import numpy as np
import pytest
import witnesses

import poz
import poz.reference
from poz.reference._stable import sigmoid
from poz.testing import draw_case
from poz.testing.conformance import reference
from poz.testing.runners import log_prob_fields

NAMES = [name for name in witnesses.FORMULAS if name not in literal.FORMULAS]
every_name = pytest.mark.parametrize("name", NAMES)


def test_every_objective_has_a_formula():
    assert set(witnesses.FORMULAS) == set(poz.zoo)


def drawn(name, seed):
    """An objective with drawn hyper-parameters, a batch of 4, and both as exact numbers."""
    objective, batch = draw_case(poz.zoo[name], np.random.default_rng([seed, len(name), ord(name[0])]), 4, 30.0)
    read = objective.reads | objective.optional
    fields = {key: x for key, x in batch._asdict().items() if x is not None and key in read}
    # plain lists; masks and ids stay what they are
    exact = literal.exact({key: x.tolist() for key, x in fields.items()})
    return objective, batch, exact, literal.exact(dict(objective.values))


@pytest.mark.parametrize("seed", range(8))
@every_name
def test_losses_equal_the_literal_formula(name, seed):
    objective, batch, fields, params = drawn(name, seed)
    found = reference(objective, batch)[0]
    expected = np.array(witnesses.FORMULAS[name](**fields, **params), dtype=float)
    # sums of a few hundred nats, and factors of up to 5000 in front of them
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("seed", range(4))
@every_name
def test_gradients_are_the_derivative_of_the_literal_formula(name, seed):
    """Of the sum of all losses, so that coupled examples count too; what is held constant stays at the drawn point."""
    objective, batch, fields, params = drawn(name, seed)
    gradients = reference(objective, batch)[1]
    assert set(gradients) == set(log_prob_fields(objective, batch))
    if name in witnesses.HELD:
        params |= {"held": witnesses.HELD[name](fields, params)}
    rng = np.random.default_rng(seed)
    for key, gradient in gradients.items():
        for _ in range(2):
            index = tuple(rng.integers(gradient.shape))

            def total(value, key=key, index=index):
                moved = np.array(fields[key], dtype=object)
                moved[index] = value
                return literal.mp.fsum(witnesses.FORMULAS[name](**{**fields, key: moved.tolist()}, **params))

            expected = float(literal.mp.diff(total, np.array(fields[key], dtype=object)[index]))
            assert gradient[index] == pytest.approx(expected, rel=1e-9, abs=1e-11), f"{key}{index}"


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
    assert gradients["chosen"][0] == pytest.approx(-0.125 * (float(literal.sigma(-x[0] / 20)) + 1), rel=1e-15, abs=0)


def test_the_slope_of_pfl_at_an_unknown_margin_is_unknown():
    losses, gradients = poz.reference.pfl(**alone(np.nan))
    assert np.isnan([losses, *gradients.values()]).all()


@pytest.mark.parametrize("name", [n for n, spec in poz.zoo.items() if "rejected_mask" in spec.reads | spec.optional])
def test_a_masked_token_has_no_slope_beside_an_unknown_one(name):
    objective, batch = draw_case(poz.zoo[name], np.random.default_rng(1), 4, 30.0)  # several tokens each
    fields = {key: x for key, x in batch._asdict().items() if key in objective.reads | objective.optional}
    for side in ("chosen", "rejected"):
        fields[f"{side}_mask"] = np.zeros(fields[side].shape, bool)
        fields[f"{side}_mask"][:, :1] = True
    fields["chosen"] = fields["chosen"].copy()
    fields["chosen"][:, :1] = np.nan
    losses, gradients = getattr(poz.reference, name)(**fields, **objective.values)
    assert np.isnan(losses).all()
    for side in ("chosen", "rejected"):
        masked = ~fields[f"{side}_mask"]
        assert masked.any()
        assert not any(gradients[key][masked].any() for key in gradients if key in (side, f"ref_{side}"))


@pytest.mark.parametrize("error", [0.02, 0.2, 0.24, 0.25, 0.26])
def test_the_slope_of_mapo_where_its_series_ends(error):
    """Up to c m = 1/4, where the first term left out, x^11 of 1 / 11!, is 2e-15; the rest is a dozen roundings."""
    fields, params = {"chosen": [0.1], "rejected": [error]}, {"ratio_weight": 1.0, "snr": 1.0, "timesteps": 1.0}
    _, gradients = poz.reference.mapo(**{key: np.array(x) for key, x in fields.items()}, **params)
    exact, params = literal.exact(fields), literal.exact(params)

    def loss(x):
        return witnesses.FORMULAS["mapo"](**{**exact, "rejected": [x]}, **params)[0]

    assert gradients["rejected"][0] == pytest.approx(
        float(literal.mp.diff(loss, exact["rejected"][0])), rel=1e-14, abs=0
    )

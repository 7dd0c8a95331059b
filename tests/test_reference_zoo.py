"""The references of the later groups, on drawn batches, against the literal formulas in 50 digits and their derivative."""

import literal
import numpy as np
import pytest
import witnesses

import poz
from poz.testing import draw_case
from poz.testing.conformance import _log_prob_fields, reference

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
    assert set(gradients) == set(_log_prob_fields(objective, batch))
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

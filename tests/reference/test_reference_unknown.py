"""What the references make of an unknown number, of an infinity, and of what a mask leaves out."""

import zlib

import numpy as np
import pytest
from together import together

import poz
import poz.reference
from poz.testing import draw_case
from poz.testing.answers import reference
from poz.testing.runners import log_prob_fields

LINEAR = ("sft", "sim_npo", "dil")  # in the chosen completion, or may be
WHOLE = ("calibration", "ref_calibration", "kl_logps", "kl_ref_logps")  # samples of no example


def drawn(name, seed):
    return draw_case(poz.zoo[name], np.random.default_rng([zlib.crc32(name.encode()), seed]), 4, 30.0)


@pytest.mark.parametrize("name", [name for name, spec in poz.zoo.items() if not spec.coupled])
@together("poison", [np.nan, np.inf, -np.inf])
@together("seed", range(4))
def test_a_poisoned_example_stays_alone(name, seed, poison):
    objective, batch = drawn(name, seed)
    clean_losses, clean_gradients = reference(objective, batch)
    for key, value in batch._asdict().items():
        if value is None or value.dtype != np.float64 or key in WHOLE:
            continue
        bad = value.copy()
        bad[(slice(None), 0) if key.startswith("opponents") else 0] = poison
        losses, gradients = reference(objective, batch._replace(**{key: bad}))
        np.testing.assert_array_equal(losses[1:], clean_losses[1:], err_msg=key)
        for other, gradient in gradients.items():
            if other not in WHOLE:
                axis = 1 if other.startswith("opponents") else 0
                rest = np.arange(1, gradient.shape[axis])
                expected = clean_gradients[other].take(rest, axis)
                np.testing.assert_array_equal(gradient.take(rest, axis), expected, err_msg=f"{key}: {other}")


@pytest.mark.parametrize("name", [name for name, spec in poz.zoo.items() if spec.family is poz.Pairs])
@together("seed", range(8))
def test_a_nan_log_prob_is_never_swallowed(name, seed):
    objective, batch = drawn(name, seed)
    losses, gradients = reference(objective, batch._replace(chosen=np.full(4, np.nan)))
    assert np.isnan(losses).all()
    if name not in LINEAR:
        assert np.isnan(gradients["chosen"]).all()


def draw_masked(name, seed):
    """A draw in which every completion or list has a mask, and by field what it leaves out."""
    objective, batch = drawn(name, seed)
    sides = {"chosen": "chosen_mask", "rejected": "rejected_mask"} if batch._fields[0] == "chosen" else {"": "mask"}
    rng = np.random.default_rng(seed)
    masks = {}
    for side, mask in sides.items():
        shape = getattr(batch, side or "logps")
        if shape is None or mask not in objective.optional:
            continue
        batch = batch._replace(**{mask: rng.integers(2, size=shape.shape).astype(bool)})
        for key, value in batch._asdict().items():
            if value is not None and side in key and not key.endswith("mask") and value.shape == shape.shape:
                masks[key] = getattr(batch, mask)
    return objective, batch, masks


masked = pytest.mark.parametrize("name", [n for n, spec in poz.zoo.items() if {"mask", "chosen_mask"} & spec.optional])


@masked
@together("seed", range(12))
def test_masked_entries_do_not_exist(name, seed):
    objective, batch, masks = draw_masked(name, seed)
    poisoned = {}
    for key, mask in masks.items():
        value = getattr(batch, key)
        poisoned[key] = np.where(mask, value, np.nan if value.dtype == np.float64 else 1 - value)
    losses, gradients = reference(objective, batch)
    again, gradients_again = reference(objective, batch._replace(**poisoned))
    np.testing.assert_array_equal(again, losses)
    for key, gradient in gradients.items():
        np.testing.assert_array_equal(gradients_again[key], gradient, err_msg=key)


@masked
@together("seed", range(12))
def test_masked_entries_have_no_gradient_whatever_the_others_are(name, seed):
    objective, batch, masks = draw_masked(name, seed)
    unknown = {key: np.full(getattr(batch, key).shape, np.nan) for key in log_prob_fields(objective, batch)}
    for given in (batch, batch._replace(**unknown)):
        for key, gradient in reference(objective, given)[1].items():
            assert (gradient[~masks[key]] == 0.0).all()


SIDES = ("chosen", "rejected", "ref_chosen", "ref_rejected")


def games(rng):
    """Four pairs under a policy, a reference and two opponents."""
    opponents = {f"opponents_{side}": -rng.exponential(10, (2, 4)) for side in SIDES[:2]}
    return {side: -rng.exponential(10, 4) for side in SIDES} | opponents


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_mnpo_reads_an_infinite_target_as_a_hard_label(sign):
    fields, params = games(np.random.default_rng(0)), {"beta": 0.3, "eta": 0.5, "tau": 0.2, "distance": "backward_kl"}
    given, side = fields, "chosen"
    if sign < 0:
        swapped, side = poz.Pairs(**fields).swap(), "rejected"
        given = {key: getattr(swapped, key) for key in fields}
    hard, slopes = poz.reference.mnpo(**given, **params, target="hard")
    soft, gradients = poz.reference.mnpo(**fields, **params, target="reward", margin=np.full(4, sign * np.inf))
    np.testing.assert_allclose(soft, hard, rtol=1e-13)
    np.testing.assert_allclose(gradients["chosen"], slopes[side], rtol=1e-13)


def test_mnpo_does_not_read_a_reference_without_weight():
    fields, params = games(np.random.default_rng(0)), {"eta": 0.5, "tau": 0.0}
    unknown = {key: np.full(4, np.nan) if key.startswith("ref") else value for key, value in fields.items()}
    known = poz.reference.mnpo(**fields, **params)[0]
    np.testing.assert_array_equal(poz.reference.mnpo(**unknown, **params)[0], known)

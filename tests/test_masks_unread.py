"""Masks and starts whose values cannot be read, under jit or on a GPU: those that are none give NaN, and no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz

LOGPS = -np.linspace(0.1, 1.2, 12).reshape(4, 3)
KEPT = np.array([[0, 1, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
LABELS = np.where(KEPT, 17, -100)

MADE = {
    "halves": (lambda logps, mask: poz.Pairs.from_halves(logps, mask=mask)[:2], LOGPS, KEPT, LABELS),
    "packed": (
        lambda logps, mask: poz.Pairs.from_packed(logps, jnp.array([0, 4, 12]), mask=mask)[:2],
        *(x.ravel() for x in (LOGPS, KEPT, LABELS)),
    ),
    "unpaired": (lambda logps, mask: poz.Unpaired.from_tokens(logps, token_mask=mask)[:1], LOGPS, KEPT, LABELS),
    "tokens": (
        lambda logps, mask: poz.cpl(poz.TokenPairs.from_tokens(logps, logps, chosen_mask=mask)),
        LOGPS, KEPT, LABELS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", MADE)
def test_labels_as_a_mask_give_nan_under_jit(how):
    made, logps, kept, labels = MADE[how]
    made = jax.jit(made)
    np.testing.assert_array_equal(made(logps, kept), made(logps, kept.astype(bool)))
    assert np.isfinite(made(logps, kept)).all()
    assert np.isnan(made(logps, labels)).all()


@pytest.mark.parametrize("starts", [[0, 4, 11], [0, 13, 12], [1, 4, 12]])
def test_completions_that_do_not_fill_the_tokens_give_nan_under_jit(starts):
    """Padding behind the last completion was counted as its own."""
    with pytest.raises(ValueError, match="cu_seqlens must ascend from 0 to the 12 tokens"):
        poz.Pairs.from_packed(jnp.asarray(LOGPS.ravel()), jnp.array(starts))
    made = jax.jit(lambda starts: poz.Pairs.from_packed(jnp.asarray(LOGPS.ravel()), starts)[:2])
    assert np.isnan(np.subtract(*made(jnp.array(starts)))).all()
    np.testing.assert_allclose(
        np.ravel(made(jnp.array([0, 4, 12]))), [LOGPS.ravel()[:4].sum(), LOGPS.ravel()[4:].sum()], 1e-6
    )


def test_of_torch_too():
    made = torch.func.vmap(
        lambda logps, mask: poz.Pairs.from_tokens(logps, logps, chosen_mask=mask, rejected_mask=mask)[0]
    )
    logps, kept, labels = (torch.tensor(x)[None] for x in (LOGPS, KEPT, LABELS))
    torch.testing.assert_close(made(logps, kept)[0], torch.tensor((LOGPS * KEPT).sum(1)))
    assert made(logps, labels).isnan().all()


def test_another_name_of_an_objective_says_whose_it_is():
    with pytest.raises(
        AttributeError, match=r"`poz` has no attribute 'cdpo', which names `poz\.dpo` in poz\.zoo alone"
    ):
        poz.cdpo  # noqa: B018


def test_lists_are_no_arrays():
    with pytest.raises(TypeError, match=r"An array of NumPy, torch or JAX is needed; got list"):
        poz.Pairs.from_halves([[-1.0], [-2.0]])

"""LiPO-λ at policy = reference, where every s is 0 and ranks are ties."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

import poz
import poz.reference

LOGPS = -np.random.default_rng(0).exponential(30, (6, 5))
SCORES = np.random.default_rng(1).normal(0, 1, (6, 5))


def test_exact_ties_rank_by_position_everywhere():
    expected, _ = poz.reference.lipo_lambda(logps=LOGPS, ref_logps=LOGPS, scores=SCORES)
    for make in (np.asarray, torch.tensor, jnp.asarray):
        with jax.enable_x64(True):
            lists = poz.Ranked(make(LOGPS), make(LOGPS), scores=make(SCORES))
            np.testing.assert_allclose(np.asarray(poz.lipo_lambda(lists)), expected, rtol=1e-12)  # some 50 roundings


def test_rounding_ranks_what_is_nearly_tied_and_the_docstring_says_so():
    tied, rounded = (
        poz.lipo_lambda(poz.Ranked(LOGPS, ref, scores=SCORES)) for ref in (LOGPS, np.nextafter(LOGPS, SCORES))
    )
    assert np.abs(rounded / tied - 1).max() > 0.7  # one unit in the last place of each log-prob
    assert "the rounding ranks them" in poz.lipo_lambda.__doc__

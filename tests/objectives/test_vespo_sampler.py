"""A completion's weight enters VESPO's ratio once, not once for each of its tokens."""

import numpy as np
import pytest

import poz

OLD = np.array([[-1.0, -2.0, -0.5]])
SAMPLER = OLD - [[0.1, -0.03, 0.05]]  # Σ (o - b) = 0.12
MASKS = {"whole": [[True, True, True]], "a token short": [[True, True, False]]}


@pytest.mark.parametrize("correction", ["token_truncate", "sequence_truncate", "sequence_mask", "geometric_mask"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("loss", [poz.vespo, poz.reference.vespo], ids=["poz", "reference"])
def test_within_its_bounds_every_correction_is_the_ratio_to_the_sampler(correction, mask, loss):
    mask, policy = np.array(mask), OLD + 0.2
    fields = {"logps": policy, "old_logps": OLD, "sampler_logps": SAMPLER, "mask": mask, "advantages": np.array([-1.5])}
    # log w = Σ (l - b); k = 3, λ = 2 where A < 0
    w = np.exp((policy - SAMPLER)[mask].sum())
    expected = w**3 * np.exp(2 - 2 * w) * 1.5 * policy[mask].sum() / mask.sum()
    bounds = {"correction": correction, "correction_low": 0.5, "correction_high": 2.0}
    made = loss(poz.Rollouts(**fields), **bounds) if loss is poz.vespo else loss(**fields, **bounds)[0]
    assert made == pytest.approx(expected, rel=1e-12)

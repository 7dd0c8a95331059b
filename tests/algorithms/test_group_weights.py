"""GR-DPO's step of q beside the authors' trainer."""

import numpy as np

import poz
from poz.algorithms import group_weights

# `compute_group_metric` and `compute_robust_loss` of src/trainers/grouptrainer.py in
# rsshyam/Group-robust-preference-optimization@e4d611e, in float64, in their configuration: β = 0.1, step_size 0.01,
# divide_by_totalcount over a data set of 3200 whose groups have the shares of this batch of 32.
MARGINS = np.repeat([0.0, -1.217, -7.438], [8, 8, 16])
GROUPS = np.repeat([0, 1, 2], [8, 8, 16])
Q = [0.3153297675570064, 0.32172046349644934, 0.3629497689465443]
LOSS = 27.930936236540205


def test_the_authors_step_is_eta_times_the_batch():
    none = np.zeros(32)
    batch = poz.Pairs(MARGINS, none, ref_chosen=none, ref_rejected=none, annotator=GROUPS)
    weights = group_weights.update(group_weights.init(3), poz.dpo(batch, beta=0.1), GROUPS, eta=0.01 * 32)
    np.testing.assert_allclose(weights, Q, rtol=1e-14)
    # They weigh the batch by the q that it has just moved.
    np.testing.assert_allclose(32 * poz.gr_dpo(batch, beta=0.1, weights=weights).mean(), LOSS, rtol=1e-14)
    np.testing.assert_allclose(np.round(weights, 5), [0.31533, 0.32172, 0.36295])

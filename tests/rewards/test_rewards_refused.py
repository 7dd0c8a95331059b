"""What reward transforms refuse, in a sentence, and the odd shapes that they do not."""

import numpy as np
import pytest
import torch

from poz.rewards import transforms as tr

LOGPS, MASK = -np.ones((3, 4, 5)), np.ones((3, 4, 5), bool)
ONES = np.ones(3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tr.par(ONES, np.ones((3, 0))), "par needs references of shape"),
        (lambda: tr.par(ONES, np.ones(3)), "par needs references of shape"),
        (lambda: tr.par(ONES, np.ones((2, 3))), r"got \(2, 3\) for rewards \(3,\)"),
        (lambda: tr.lsc(np.ones(()), np.ones(())), "lsc needs references of shape"),
        (lambda: tr.par(ONES, ONES[:, None], scale=0.0), "scale must be positive"),
        (lambda: tr.sigmoid(ONES, scale=np.nan), "scale must be positive"),
        (lambda: tr.lsc(ONES, ONES[:, None], quantile=1.0), "needs a quantile between 0 and 1"),
        (lambda: tr.ceiling(ONES, most=np.nan), "needs a number for most"),
        (lambda: tr.length_penalty(ONES, np.array([1, -2, 3])), "lengths of 0 or more; got -2"),
        (lambda: tr.length_penalty(ONES, np.array([1, 2])), r"rewards \(3,\), lengths \(2,\)"),
        (lambda: tr.length_penalty(ONES, np.array([1, 2, 3]), slope=-1), "slope must be at least 0"),
        (lambda: tr.repetition_penalty([1, 2], size=0), "size must be at least 1"),
        (lambda: tr.r3(ONES, ONES, np.ones(2), ONES > 0), "r3 needs one shape for all"),
        (lambda: tr.r3(ONES, ONES, ONES, ONES > 0, high=0.0), "must be positive, since they divide"),
        (lambda: tr.follow_up_likelihood(LOGPS, MASK, [1, 1, 1, 1]), "of 1 and -1 at least one each"),
        (lambda: tr.follow_up_likelihood(LOGPS, MASK, [1, -1]), "F signs"),
        (lambda: tr.follow_up_likelihood(LOGPS, MASK, [1, -1, 0, 1]), "F signs"),
        (lambda: tr.follow_up_likelihood(LOGPS, ~MASK, [1, -1, 1, 1]), "a follow-up without a token"),
        (lambda: tr.per_sample_min(np.ones((3, 0))), "at least one group"),
        (lambda: tr.maxmin_weights(np.ones(())), "at least one group"),
        (lambda: tr.maxmin_weights(np.array([1, np.nan])), "needs finite means"),
        (lambda: tr.maxmin_weights(ONES, rate=-1.0), "rate must be at least 0"),
        (lambda: tr.kappa(1), "count must be at least 2; got 1"),
        (lambda: tr.kappa(9, safety_count=0), "safety_count must be at least 2"),
        (lambda: tr.kappa(9, delta=0.0), r"delta must lie in \(0, 1/2\]"),
        (lambda: tr.kappa(9, training=-1.0), "must be at least 0"),
        (lambda: tr.upper_bound(torch.tensor([1.0, np.nan]), 1.0), "upper_bound needs finite costs"),
        (lambda: tr.upper_bound(np.ones(1), 1.0), "upper_bound needs two costs"),
        (lambda: tr.advantage_cost(np.ones(1), 1.0), "advantage_cost needs two costs"),
        (lambda: tr.advantage_cost(ONES, 1.0, mean=1.0), "give both, or none"),
        (lambda: tr.multiplier_step(0.0, np.nan, 1.0), "needs a finite bound"),
        (lambda: tr.multiplier_step(0.0, 1.0, 1.0, rate=0.0), "must be positive"),
        (lambda: tr.safety_test(np.ones(0), 1.0), "the number of costs must be at least 2; got 0"),
        (lambda: tr.safety_test(np.array([1.0, np.inf, 2.0]), 1.0), "needs finite costs"),
        (lambda: tr.safety_test(ONES, np.nan), "needs finite costs and a threshold"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tr.par(np.ones(3, int), np.ones((3, 1))), "needs floating-point numbers for rewards; got int64"),
        (lambda: tr.par([1.0], [[1.0]]), "An array of NumPy, torch or JAX is needed; got list"),
        (lambda: tr.par(ONES, torch.ones(3, 1)), "got references of torch but rewards of numpy"),
        (lambda: tr.tanh(ONES > 0), "needs floating-point numbers for rewards; got bool"),
        (lambda: tr.par(ONES, ONES[:, None], scale="2"), "needs a number for scale"),
        (lambda: tr.length_penalty(ONES, [1, 2, 3]), "length_penalty needs numbers of tokens for lengths"),
        (lambda: tr.repetition_penalty("no no no"), "needs a Sequence for tokens"),
        (lambda: tr.r3(ONES, ONES, ONES, ONES), "r3 needs booleans of numpy for open_ended; got float64"),
        (lambda: tr.follow_up_likelihood(LOGPS, None, [1, -1, 1, 1]), "needs booleans of numpy for mask"),
        (lambda: tr.safety_test(np.ones(3, int), 1.0), "needs floating-point numbers for costs"),
    ],
)
def test_kinds_that_make_no_sense_are_refused(call, said):
    with pytest.raises(TypeError, match=said):
        call()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (0, 4)])
def test_rewards_may_be_of_any_shape(shape):
    rewards, references = np.ones(shape), np.zeros((*shape, 1))
    for call in (tr.par, tr.centered, tr.tanh, tr.arctan, tr.polynomial, tr.lsc):
        assert np.shape(call(rewards, references)) == shape
    assert np.shape(tr.length_penalty(rewards, np.full(shape, 500))) == shape
    assert np.shape(tr.ceiling(rewards, most=0.0)) == shape
    assert np.shape(tr.per_sample_min(references)) == shape

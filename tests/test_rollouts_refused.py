"""What is asked of rollouts and has no answer is refused in a sentence that says how it is asked."""

import numpy as np
import pytest
import torch

import poz
from poz.kernels.loss import fused_losses

ONES = np.ones((2, 3))
ADVANTAGES = np.array([1.0, -1.0])


def call(objective=poz.dr_grpo, **fields):
    return objective(poz.Rollouts(**{"logps": -ONES, "advantages": ADVANTAGES, **fields}))


REFUSED = {
    "advantages of tokens": (
        lambda: call(advantages=ONES),
        ValueError,
        r"advantages of shape \(2, 3\), which does not fit logps of shape \(2, 3\): \(2,\) is required. Those of tokens are "
        "token_advantages, read with per_token=True",
    ),
    "advantages of tokens for a kernel": (
        lambda: fused_losses("dapo", poz.Rollouts(-torch.ones(2, 3), advantages=torch.ones(2, 3))),
        ValueError,
        r"advantages of shape \(2, 3\), which does not fit logps of shape \(2, 3\): \(2,\) is required",
    ),
    "advantages of tokens elsewhere": (
        lambda: call(advantages=None, token_advantages=ONES),
        ValueError,
        "reads advantages, which is missing.*Those of tokens are token_advantages, read with per_token=True",
    ),
    "a mask of completions": (
        lambda: call(mask=ONES[:, 0] > 0),
        ValueError,
        r"mask of shape \(2,\), which does not fit logps of shape \(2, 3\): \(2, 3\) is required",
    ),
    "a mask of too many tokens": (lambda: call(mask=np.ones((2, 4)) > 0), ValueError, r"\(2, 3\) is required"),
    "a mask of integers": (
        lambda: call(mask=ONES.astype(int)),
        TypeError,
        "booleans for mask; got int64. Give mask > 0",
    ),
    "a list": (
        lambda: call(advantages=[1.0, -1.0]),
        TypeError,
        "cannot read advantages: An array of NumPy, .*; got list",
    ),
    "first a list": (lambda: call(logps=[[-1.0]]), TypeError, "cannot read logps: An array of NumPy, .*; got list"),
    "a list of rewards": (
        lambda: poz.advantages.group([1.0, 0.0], np.zeros(2, int)),
        TypeError,
        "group cannot read rewards: An array of NumPy, .*; got list",
    ),
    "a list beside an array": (
        lambda: poz.advantages.greedy_baseline(ADVANTAGES, [1.0, 0.0]),
        TypeError,
        "greedy_baseline cannot read greedy: An array of NumPy, .*; got list",
    ),
    "no weight is let through": (
        lambda: poz.dapo.bind(correction="token_mask", correction_low=3),
        ValueError,
        r"needs correction_low of at most correction_high; got 3 and 2.0",
    ),
    "counts of labels": (
        lambda: poz.Counts.of(np.array([[5, -100]])),
        ValueError,
        "mask must hold 0 and 1; got 5. Of labels, give labels != -100",
    ),
    "below nothing": (
        lambda: poz.dapo.within(poz.Counts(-3, -9, 0)),
        ValueError,
        "0 completions or more.*completions=-3",
    ),
    "more empty than there are": (
        lambda: poz.grpo.bind(count_empty=False).within(poz.Counts(3, 9, 5)),
        ValueError,
        "at most all are empty.*completions=3, tokens=9, empty=5",
    ),
    "counts in another order": (
        lambda: poz.dapo.within(poz.Counts(9, 3, 0)),
        ValueError,
        "each other has a token.*completions=9, tokens=3",
    ),
    "a count that is none": (lambda: poz.dapo.within(poz.Counts(3, float("nan"), 0)), ValueError, "tokens=nan"),
    "a count in words": (lambda: poz.dapo.within(poz.Counts("3", 9, 0)), TypeError, "numbers, .*completions='3'"),
}


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_said(call, kind, message):
    with pytest.raises(kind, match=message):
        call()

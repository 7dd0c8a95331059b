"""What the audit measures of functions of log-probs whose faults are known."""

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.nn.functional import cross_entropy

from poz.peers import Library, audit


def measured(function, **rest):
    """The record of one function."""
    library = Library("one of ours", "numpy")
    library.log_probs("theirs", **rest)(lambda: function)
    return next(audit(library))


def exact(hidden, weight, targets, softcap):
    """In float64; the rows of ignored tokens are left out before the head."""
    kept = targets != -100
    logits = hidden[kept].double() @ weight.double().T
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    found = -cross_entropy(logits, targets[kept], reduction="none")
    return torch.zeros(len(targets), dtype=torch.float64).masked_scatter(kept, found)


def test_what_is_exact_has_no_error_and_ignored_rows_leave_nothing():
    found = measured(exact, softcap=True)
    assert found["float32"] < 1e-13  # float64 beside float64
    assert found["bfloat16"] < 1e-13
    assert abs(found["bfloat16_sum"]) < 1e-11
    assert found["softcap"] < 1e-13
    assert (found["ignored"], found["empty"], found["nan"]) == (0.0, 0.0, "yes")


def test_an_error_is_a_root_mean_square_and_that_of_the_sum():
    def off(hidden, weight, targets, softcap):
        """By 0.25 more at every other token: the root mean square is 0.25 / √2, the sum of 128 tokens 16."""
        return exact(hidden, weight, targets, None) + 0.25 * (torch.arange(len(targets)) % 2)

    found = measured(off)
    assert found["float32"] == pytest.approx(0.25 / 2**0.5, abs=0.005)  # two digits are kept
    assert found["float32_sum"] == pytest.approx(16.0, abs=0.5)
    assert "softcap" not in found


def test_logits_that_are_rounded_beforehand_are_no_error():
    found = measured(lambda logits, targets: -cross_entropy(logits.double(), targets, reduction="none"), logits=True)
    assert found["bfloat16"] < 1e-13
    assert found["nan"] == "not in gradients"  # the softmax of a row of NaN has a slope of NaN, whatever it is times


def test_nan_times_0_and_what_is_raised_are_seen():
    def times(logits, targets):
        """A mask that multiplies."""
        kept = targets != -100
        return kept * logits.log_softmax(-1).gather(-1, (targets * kept)[:, None])[:, 0]

    assert measured(times, logits=True)["nan"] == "no"

    def gather(logits, targets):
        return logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]

    raised = measured(gather, logits=True)
    assert raised["verdict"] == "measured"
    assert {raised[name] for name in ("ignored", "empty", "nan")} == {"raises RuntimeError"}


def test_jax_has_the_same_measures():
    def found(logits, targets):
        at = jnp.maximum(targets, 0)[:, None]
        rows = jnp.where((targets < 0)[:, None], 0.0, logits)  # before the softmax, so that no slope is NaN
        return jnp.where(
            targets < 0, 0.0, jnp.take_along_axis(jax.nn.log_softmax(rows.astype("float32")), at, -1)[:, 0]
        )

    record = measured(found, logits=True, backend="jax")
    assert record["float32"] < 1e-5  # nats: logits of some 20, in float32
    assert record["bfloat16"] < 1e-5
    assert (record["ignored"], record["empty"], record["nan"]) == (0.0, 0.0, "yes")

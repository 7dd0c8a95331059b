"""LCPO-EM: how reliable is each annotator, learnt beside the policy, as explicit state and pure functions.

The label of a pair is the clean one with probability eta_k, the reliability of its annotator. The E-step gives each
label the posterior w of being clean under the current policy; the M-step moves the policy by `poz.lcpo` and each
eta_k towards the mean of its w. Works on NumPy, torch and JAX arrays alike, and under `jax.jit`:

    state = init(num_annotators, like=pairs.chosen)
    losses, found = losses_and_sums(pairs, state.reliability, base=poz.dpo.bind(beta=0.1))
    ...                                    # the optimiser step on losses.mean(); add `found` up over all ranks
    state = update(state, found)

With several micro-batches to an optimiser step, `accumulate` each one and `update` once with `state.sums`.
Source: Cao et al. 2025, arXiv 2509.24159 (RE-PO), eq. 2 to 7 and Algorithm 1.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz.backends import Array, namespace
from poz.families import Pairs
from poz.objective import Objective
from poz.objectives import lcpo
from poz.objectives.pairs.lcpo import CLAMP, posterior_logit


class Sums(NamedTuple):
    """What one batch says about its annotators; the part that ranks and micro-batches add up.

    Attributes:
        total: (annotators,) sum of the posteriors of each annotator's labels.
        count: (annotators,) number of labels of each annotator.
    """

    total: Array
    count: Array


class State(NamedTuple):
    """What is carried from step to step.

    Attributes:
        reliability: (annotators,) eta_k, the probability that a label of annotator k is the clean one.
        sums: What the micro-batches since the last update have added up to.
    """

    reliability: Array
    sums: Sums


@given
def init(num_annotators: int = 1, reliability: npt.ArrayLike = 0.9, *, like: Array = None) -> State:
    """The state before the first step.

    Args:
        num_annotators: How many annotators there are; 1 where they are not known.
        reliability: First eta, one number or (annotators,), in [0, 1]. The paper uses 0.9. Take it above 1/2: flipping
            every label and every eta is a symmetry, and 1/2 tells nothing.
        like: An array of the wanted library, dtype and device; NumPy float64 where it is not given, and float32 for one
            of 16 bits.

    Returns:
        The state, its reliabilities clamped to [1e-4, 1 - 1e-4].

    Raises:
        ValueError: No annotators, a reliability outside [0, 1], or not one for each annotator.
    """
    if num_annotators < 1:
        raise ValueError(f"LCPO needs at least 1 annotator; got {num_annotators}. Use 1 where they are not known.")
    first = np.asarray(reliability, np.float64)
    if first.shape not in ((), (num_annotators,)):
        raise ValueError(f"reliability must be one number or ({num_annotators},) numbers; got shape {first.shape}.")
    if not np.all((first >= 0) & (first <= 1)):
        raise ValueError(f"reliability is a probability in [0, 1]; got {first.tolist()}.")
    like = np.zeros(0) if like is None else like
    xp = namespace(like)
    like = xp.widen(like) if xp.kind(like) == "half" else like  # a 16-bit eta would not move by small steps
    eta, total, count = (
        np.full(num_annotators, np.clip(first, *CLAMP)),
        np.zeros(num_annotators),
        np.zeros(num_annotators),
    )
    return State(xp.constant(eta, like), Sums(xp.constant(total, like), xp.constant(count, like)))


@given
def posterior(u: Array, annotator: Array, reliability: Array) -> Array:
    """E-step: the probability that each label is the clean one, as data (no gradient).

    w = sigmoid(u + logit eta_k) = p eta_k / (p eta_k + (1 - p) (1 - eta_k)), p = sigmoid(u).

    Args:
        u: (batch,) log-odds of the label under the policy, L(swapped) - L, in nats.
        annotator: (batch,) integer ids from 0; None where there is one annotator.
        reliability: (annotators,) eta, clamped.

    Returns:
        (batch,) w.
    """
    xp = namespace(u)
    _check_ids(annotator, reliability.shape[0])
    return xp.sigmoid(posterior_logit(xp, xp.stop_gradient(u), annotator, one_or_all(reliability, annotator)))


@given
def sums(posterior: Array, annotator: Array, num_annotators: int) -> Sums:
    """Adds up posteriors by annotator: all that ranks have to exchange, 2 numbers for each annotator.

    Args:
        posterior: (batch,) w.
        annotator: (batch,) integer ids from 0; None where there is one annotator.
        num_annotators: How many there are.

    A pair whose posterior is NaN counts for nobody.

    Raises:
        ValueError: A posterior outside [0, 1], or an id that is no row.
    """
    xp = namespace(posterior)
    given = None if xp.kind(posterior) == "half" else xp.values(posterior)
    if given is not None and not np.all((given >= 0) & (given <= 1) | np.isnan(given)):
        raise ValueError(f"A posterior is a probability in [0, 1]; got {given.tolist()}.")
    _check_ids(annotator, num_annotators)
    known = posterior == posterior
    counted = xp.astype(known, posterior)
    posterior = xp.where(known, posterior, counted)
    if annotator is None:
        return Sums(xp.sum(posterior)[None], xp.sum(counted)[None])
    # (batch, annotators): a comparison exists in every library, a scatter does not.
    number = xp.widen(posterior) if xp.kind(posterior) == "half" else posterior  # ids of 8 bits would wrap round
    theirs = xp.astype(
        xp.astype(annotator, number)[:, None] == xp.constant(np.arange(num_annotators), number), posterior
    )
    theirs = theirs * counted[:, None]
    return Sums(xp.sum(theirs * posterior[:, None], 0), xp.sum(theirs, 0))


@given
def losses_and_sums(
    pairs: Pairs, reliability: Array, *, base: Objective, mode: Literal["gibbs", "weighted"] = "gibbs"
) -> tuple[Array, Sums]:
    """One batch of EM: the losses that the policy descends, and what the labels say about their annotators.

    Both use the same posteriors, taken before the policy moves.

    Args:
        pairs: What `base` reads, and `annotator` where there are several.
        reliability: (annotators,) eta.
        base: The objective whose losses of the pair and of the swapped pair give the log-odds of the label.
        mode: "gibbs" or "weighted", see `poz.lcpo`.

    Returns:
        (batch,) losses of `poz.lcpo`, and the sums without gradient.
    """
    losses = lcpo(pairs, base=base, reliability=one_or_all(reliability, pairs.annotator), mode=mode)
    return losses, sums_of(pairs, reliability, base=base)


@given
def sums_of(pairs: Pairs, reliability: Array, *, base: Objective) -> Sums:
    """What the labels of a batch say about their annotators, as in `losses_and_sums`."""
    u = namespace(pairs.chosen).stop_gradient(base(pairs.swap()) - base(pairs))
    return sums(posterior(u, pairs.annotator, reliability), pairs.annotator, reliability.shape[0])


@given
def accumulate(state: State, found: Sums) -> State:
    """Adds the sums of one micro-batch to those that wait for the update."""
    return state._replace(sums=Sums(state.sums.total + found.total, state.sums.count + found.count))


@given
def update(state: State, found: Sums, *, step_size: float | Array = 0.1) -> State:
    """M-step of the reliabilities, once for each optimiser step.

    eta_k <- (1 - a) eta_k + a mean of w over the labels of annotator k; annotators without a label stay where they
    are. Two updates with a are not one: they act like 1 - (1 - a)^2. Reliabilities stay off 0 and 1, which are
    absorbing: from there no data could move them.

    Args:
        state: Before.
        found: Sums over all ranks and all micro-batches of this optimiser step.
        step_size: a in (0, 1]; 1 is the full M-step. The paper uses 0.1.

    Returns:
        The new state; its waiting sums are 0.

    Raises:
        ValueError: step_size outside (0, 1], or sums that no labels have.

    Source: arXiv 2509.24159, Algorithm 1; the clamp is not in the paper.
    """
    if not (isinstance(step_size, int | float) or hasattr(step_size, "dtype")):
        raise TypeError(f"step_size is a number or an array of one; got {step_size!r}.")
    if isinstance(step_size, int | float) and not 0 < step_size <= 1:
        raise ValueError(f"step_size is a share in (0, 1]; got {step_size}. The paper uses 0.1.")
    before = state.reliability
    xp = namespace(before)
    _check_sums(xp.values(found.total), xp.values(found.count))
    total, count = xp.astype(found.total, before), xp.astype(found.count, before)
    present = count > 0
    mean = total / xp.where(present, count, xp.constant(1.0, before))
    moved = xp.clip((1 - step_size) * before + step_size * mean, *CLAMP)
    nothing = state.sums.total * 0
    return State(xp.where(present, moved, before), Sums(nothing, nothing))


@given
def one_or_all(reliability: Array, annotator: Array) -> Array:
    """The reliability of all labels where annotators are not known, else the table."""
    return reliability[0] if annotator is None else reliability


def _check_sums(total: Any, count: Any) -> None:
    if total is None or count is None:
        return
    rounding = 1e-5  # of float32 sums of a million posteriors
    if not np.all((total >= 0) & (total <= count * (1 + rounding)) & (count < np.inf)):
        raise ValueError(
            "The sum of an annotator's posteriors lies between 0 and the number of their labels; got sums "
            f"{total.tolist()} for counts {count.tolist()}."
        )


def _check_ids(annotator: Array, num_annotators: int) -> None:
    if annotator is None:
        if num_annotators > 1:
            raise ValueError(
                f"There are {num_annotators} annotators, but the pairs do not say whose labels they hold. "
                "Give poz.Pairs(annotator=...), integer ids from 0."
            )
        return
    xp = namespace(annotator)
    if xp.kind(annotator) != "integer":
        raise TypeError(f"annotator must hold integer ids; got {annotator.dtype}.")
    known = xp.values(annotator)
    if known is not None and known.size and not 0 <= known.min() <= known.max() < num_annotators:
        raise ValueError(
            f"Annotator ids go from 0 to {num_annotators - 1}, one for each reliability; got {known.min()} to "
            f"{known.max()}. Give more reliabilities, or renumber the annotators."
        )

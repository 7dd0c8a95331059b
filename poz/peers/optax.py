"""Optax: its losses of scores, given β times log-ratios."""

from collections.abc import Callable
from typing import Any

from poz.families import Pairs, Ranked
from poz.peers._library import Library

library = Library("optax", "optax")


@library.loss("dpo", "sigmoid_binary_cross_entropy", given="βh, and labels of 1 - ε", backend="jax")
def _dpo() -> Callable[..., Any]:
    import optax

    def call(pairs: Pairs, *, beta: float, label_smoothing: float) -> Any:
        margin = pairs.chosen - pairs.ref_chosen - (pairs.rejected - pairs.ref_rejected)
        return optax.losses.sigmoid_binary_cross_entropy(beta * margin, 0 * margin + (1 - label_smoothing))

    return call


@library.loss("listnet", "ranking_softmax_loss", given="s, and labels of softmax(ψ/τ)", backend="jax")
def _listnet() -> Callable[..., Any]:
    import jax
    import optax

    def call(lists: Ranked, *, beta: float, tau: float) -> Any:
        labels = jax.nn.softmax(lists.scores / tau, where=lists.mask)
        scores = beta * (lists.logps - lists.ref_logps)
        return optax.losses.ranking_softmax_loss(scores, labels, where=lists.mask, reduce_fn=None)

    return call

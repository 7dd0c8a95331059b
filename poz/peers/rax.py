"""Rax: its ranking losses, given β times log-ratios."""

import functools
from collections.abc import Callable
from typing import Any

from poz.families import Ranked
from poz.peers._library import Library

library = Library("rax", "rax")


def _scores(lists: Ranked, beta: float) -> Any:
    return beta * (lists.logps - lists.ref_logps)


@library.loss("listnet", "softmax_loss", given="s, and labels of softmax(ψ/τ)", backend="jax")
def _listnet() -> Callable[..., Any]:
    import jax
    import rax

    def call(lists: Ranked, *, beta: float, tau: float) -> Any:
        labels = jax.nn.softmax(lists.scores / tau, where=lists.mask)
        return rax.softmax_loss(_scores(lists, beta), labels, where=lists.mask, reduce_fn=None)

    return call


@library.loss("s_dpo", "softmax_loss, of the first", given="s, and labels of 1 for the first and 0", backend="jax")
def _s_dpo() -> Callable[..., Any]:
    import jax.numpy as jnp
    import rax

    def call(lists: Ranked, *, beta: float) -> Any:
        first = jnp.zeros_like(lists.logps).at[:, 0].set(1.0)
        return rax.softmax_loss(_scores(lists, beta), first, where=lists.mask, reduce_fn=None)

    return call


@library.loss("plackett_luce", "listmle_loss", given="s, and labels that fall from the first on", backend="jax")
def _plackett_luce() -> Callable[..., Any]:
    import jax.numpy as jnp
    import rax

    def call(lists: Ranked, *, beta: float) -> Any:
        order = jnp.broadcast_to(-jnp.arange(lists.logps.shape[1], dtype=float), lists.logps.shape)
        return rax.listmle_loss(_scores(lists, beta), order, where=lists.mask, reduce_fn=None)

    return call


def _all_pairs(name: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import jax
        import jax.numpy as jnp
        import rax

        def call(lists: Ranked, *, beta: float) -> Any:
            mask = jnp.ones_like(lists.logps, dtype=bool) if lists.mask is None else lists.mask
            one = jax.vmap(lambda s, psi, where: getattr(rax, name)(s, psi, where=where))
            return one(_scores(lists, beta), lists.scores, mask)

        return call

    return make


library.loss("all_pairs", "pairwise_logistic_loss, list by list", given="s", backend="jax")(
    _all_pairs("pairwise_logistic_loss")
)
library.loss("all_pairs", "pairwise_hinge_loss, list by list", given="s", settings={"link": "hinge"}, backend="jax")(
    _all_pairs("pairwise_hinge_loss")
)


@library.loss(
    "lipo_lambda", "pairwise_logistic_loss, lambdaweight_fn=dcg_lambdaweight",
    does="has a discount of log2, and weights times the length of the list, padding too", settings={"discount": "log2"},
    given="s; its loss divided by that length", backend="jax",
)  # fmt: skip
def _lipo_lambda() -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp
    import rax

    loss = functools.partial(rax.pairwise_logistic_loss, lambdaweight_fn=rax.dcg_lambdaweight, reduce_fn=jnp.sum)

    def call(lists: Ranked, *, beta: float) -> Any:
        mask = jnp.ones_like(lists.logps, dtype=bool) if lists.mask is None else lists.mask
        one = jax.vmap(lambda s, psi, where: loss(s, psi, where=where))
        return one(_scores(lists, beta), lists.scores, mask) / lists.logps.shape[1]

    return call

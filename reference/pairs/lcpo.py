"""LCPO / RE-PO: Cao et al. 2025, arXiv 2509.24159, eq. 2-5, over any pairwise base loss L.

p = e^{-L(w>l)} / (e^{-L(w>l)} + e^{-L(l>w)}) = σ(u),  u = L(l>w) - L(w>l)
w = p η / (p η + (1 - p) (1 - η)) = σ(v),  v = u + logit η;  w is constant in the gradient
gibbs:     L = -w log p - (1 - w) log(1 - p) = softplus(-u) + (1 - w) u
weighted:  L = w L(w>l) + (1 - w) L(l>w)
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times


def mirror(name: str) -> str:
    """Return the field of the other side; a field without a side is its own mirror."""
    return name.replace("chosen", "rejected") if "chosen" in name else name.replace("rejected", "chosen")


@quiet
def lcpo(
    *,
    base: str = "dpo",
    base_params: Mapping[str, Any] | None = None,
    reliability: Array | float = 0.9,
    annotator: Array | None = None,
    mode: str = "gibbs",
    **fields: Array,
) -> Result:
    """Losses (B,) in nats from the fields of the base (B,), and the gradient of their sum with w held constant."""
    params = base_params or {}
    exchanged = {mirror(name): value for name, value in fields.items()}
    exchanged |= {name: -fields[name] for name in ("margin",) if name in fields}
    exchanged |= {name: 1.0 - fields[name] for name in ("label",) if name in fields}
    objective = getattr(import_module("poz.reference"), base)
    kept, kept_grads = objective(**fields, **params)
    swap, swap_grads = objective(**exchanged, **params)
    eta = np.clip(np.asarray(reliability, dtype=np.float64), 1e-4, 1.0 - 1e-4)
    eta = eta if eta.ndim == 0 else eta[0 if annotator is None else annotator]
    u = swap - kept
    v = u + np.log(eta / (1.0 - eta))
    if mode == "weighted":
        losses = times(sigmoid(v), kept) + times(sigmoid(-v), swap)
        # dL/dL(w>l) = w, dL/dL(l>w) = 1 - w
        on_kept, on_swap = sigmoid(v), sigmoid(-v)
    else:
        # softplus(-u) + (1 - w) u = softplus(u) - w u: take the one in which nothing cancels
        losses = softplus(-np.abs(u)) + times(sigmoid(np.where(u < 0.0, v, -v)), np.abs(u))
        # dL/du = σ(u) - w = σ(u) σ(-v) (1 - e^{v - u}), and e^{v - u} = η / (1 - η)
        on_swap = sigmoid(u) * sigmoid(-v) * (1.0 - eta / (1.0 - eta))
        on_kept = -on_swap
    grads = {}
    for name, along in kept_grads.items():
        # L(w>l) and L(l>w) of a pair both depend on its entry; calibration samples are shared by all the pairs alike
        shared = name.endswith("calibration")
        first, second = (on_kept.mean(), on_swap.mean()) if shared else (on_kept, on_swap)
        grads[name] = first * along + second * swap_grads[mirror(name)]
    return losses, grads

"""γ-PO: SimPO that hands out its target margins by the batch's rewards."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.objectives._pairs import one
from poz.purposes import Answer


@objective(
    title="γ-PO on SimPO (dynamic target margins)",
    paper="arXiv:2506.03690",
    equation="the γ-SimPO loss",
    formula=r"-\log\sigma(r_i-\gamma N p_i),\quad p=\arg\min_{p\in\Delta}\tfrac1N\sum_i\log\bigl(1+e^{\gamma N p_i-r_i}\bigr)+\tau\,KL(p\,\|\,\tfrac1N),\ r=\tfrac{\beta\log\pi(y_w)}{|y_w|}-\tfrac{\beta\log\pi(y_l)}{|y_l|}",
    reads="chosen rejected chosen_len rejected_len",
    aliases=("gamma_simpo",),
    published=[
        Published(
            "sunjie279/gammaPO@4f2e09c, training_configs/gemma-2-9b-it-gmsimpo-beta10-gm0.5-tau20-lr8e-7.yaml",
            {"beta": (10.0,), "gamma": (5.0,), "tau": (20.0,)},
        ),
        Published(
            "sunjie279/gammaPO@4f2e09c, training_configs/llama-3-8b-it-gmsimpo-beta10-gm0.4-tau10-lr1e-6.yaml",
            {"beta": (10.0,), "gamma": (4.0,), "tau": (10.0,)},
        ),
        Published(
            "sunjie279/gammaPO@4f2e09c, training_configs/qwen-2.5-7b-it-gmsimpo-beta10-gm0.3-tau3-lr1e-6.yaml",
            {"beta": (10.0,), "gamma": (3.0,), "tau": (3.0,)},
        ),
        Published(
            "sunjie279/gammaPO@4f2e09c, training_configs/mistral-7b-it-gmsimpo-beta2.5-gm0.15-tau10-lr6e-7.yaml",
            {"beta": (2.5,), "gamma": (0.375,), "tau": (10.0,)},
        ),
    ],
    answers=[
        Answer("uneven-pairs", paper="the authors' README: confident pairs are to have a larger margin"),
        Answer("noisy-labels", paper="the authors' README: the noise of ambiguous pairs is suppressed"),
    ],
    gradient_stops="γ N p_i, the target margin of a pair",
    coupled="the target margins are shared out over the pairs of the batch",
    reduces_to=[
        Limit("simpo", "γ = 0", lambda p: {**p, "gamma": 0.0}, lambda p: {"beta": p["beta"], "gamma": 0.0}),
        Limit("simpo", "one pair", then=lambda p: {"beta": p["beta"], "gamma": p["gamma"]}, batch=one),
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "20 mirror steps (5e-8 off), over up to 256 gaps with a queue that starts with 8 normal draws",
            "exact, over the batch",
        )
    ],
    basis="The authors' code, its mirror descent run to its end over the batch alone, executed in float64 (sunjie279/gammaPO@4f2e09c): tests/authors/gamma_po.json.",
)
def gamma_po(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token reward", low=0, open="low", unit="1/nat", usual=(0.5, 10.0))
    ] = 2.5,
    gamma: Annotated[float, Real("γ, mean target margin", low=0, usual=(0.0, 5.0))] = 1.0,
    tau: Annotated[
        float, Real("τ, how evenly it is shared out; at infinity it is SimPO", low=0, open="low", usual=(0.5, 20.0))
    ] = 10.0,
) -> Array:
    """SimPO with one target margin per pair, larger where the reward is larger, γ on average."""
    reward = beta * terms.gap(xp, pairs, length_normalized=True)
    if 0 in reward.shape:
        return reward
    margin = gamma * _shares(xp, xp.stop_gradient(reward), gamma, tau)
    return -xp.log_sigmoid(reward - margin)


def _shares(xp: Namespace, reward: Array, gamma: Array, tau: Array) -> Array:
    """u = N p, the solution of τ log u_i + γ σ(γ u_i - r_i) = c with mean(u) = 1, where 0 <= c <= γ."""
    most = float(np.log(reward.shape[-1]))
    grid = xp.constant(np.linspace(0, 1, 65)[:, None], reward)
    low, width = 0 * grid[0], 0 * grid[0] + gamma

    def solved(c: Array) -> Array:  # v = log u for each c, by bisection of an increasing function
        floor, size = (c - gamma) / tau + 0 * reward, gamma / tau
        for _ in range(30):
            size = size / 2
            middle = floor + size
            u = xp.exp(xp.minimum(middle, most))
            floor = xp.where(tau * middle + gamma * xp.sigmoid(gamma * u - reward) < c, middle, floor)
        return xp.minimum(floor, most)

    for _ in range(3):  # mean(u) - 1 increases with c: keep one of the 64 intervals
        c = low + width * grid
        total = xp.sum(xp.exp(solved(c)), -1) / reward.shape[-1]
        steps = xp.sum(xp.astype(total[1:-1] < 1, reward))
        low, width = low + width * steps / 64, width / 64
    c, v = low, solved(low)
    for _ in range(5):  # Newton on all of them at once
        u = xp.exp(v)
        s = xp.sigmoid(gamma * u - reward)
        off = tau * v + gamma * s - c
        slope = tau + gamma**2 * u * s * (1 - s)
        step = (xp.sum(u * off / slope) - xp.sum(u - 1)) / xp.sum(u / slope)
        c, v = c + step, v + (step - off) / slope
    return xp.exp(v)

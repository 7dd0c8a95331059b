"""Efficient Exact Optimization on K completions with known rewards."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Ranked
from poz.objective import Published, objective
from poz.purposes import Answer


@objective(
    title="Efficient Exact Optimization (K completions)",
    paper="arXiv:2402.00856",
    equation="the reward form of EXO",
    formula=r"\sum_i p_i\log\frac{p_i}{q_i},\quad p=\operatorname{softmax}(\beta\log\tfrac{\pi}{\pi_{ref}}),\ q=\operatorname{softmax}(r/\beta_r)",
    reads="logps ref_logps scores",
    optional="mask",
    published=[
        Published(
            "haozheji/exact-optimization@a8ab360 exp/hh_exp, exp/tldr_exp", {"beta": (0.5,), "reward_beta": (0.5,)}
        ),
        Published("the same, exp/imdb_exp", {"beta": (0.1,), "reward_beta": (0.1,)}),
    ],
    answers=[
        Answer(
            "preference-strength",
            paper="the authors' README: the reverse KL divergence between the distributions of the policy and of the rewards",
            test="objectives/test_label_laws.py::test_exo_k_is_zero_exactly_where_the_policy_has_the_rewards",
        ),
    ],
    basis="The authors' code, executed in float64 (haozheji/exact-optimization@a8ab360): tests/authors/exo_k.json; masked lists are "
    "not in it.",
)
def exo_k(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β_π, scale of the policy's log-ratios", low=0, open="low", unit="1/nat")] = 0.5,
    reward_beta: Annotated[float, Real("β_r, temperature of the rewards", low=0, open="low", usual=(0.1, 2.0))] = 0.5,
) -> Array:
    """KL(policy over the list || rewards over the list), both self-normalised; 0 for a list of one."""
    valid = xp.ones_like(lists.logps) > 0 if lists.mask is None else lists.mask
    zero = xp.constant(0.0, lists.logps)
    anyone = xp.sum(xp.astype(valid, lists.logps), -1)[..., None] > 0

    def log_softmax(logits: Array) -> Array:
        kept = xp.where(anyone, xp.where(valid, logits, xp.constant(-np.inf, logits)), zero)
        kept = kept - xp.stop_gradient(xp.amax(kept, -1))[..., None]  # so that no large logit rounds the total
        return xp.where(valid, xp.where(valid, kept, zero) - xp.logsumexp(kept, -1)[..., None], zero)

    mine = log_softmax(beta * (lists.logps - lists.ref_logps))
    wanted = log_softmax(terms.masked(xp, xp.astype(lists.scores, mine), lists.mask) / reward_beta)
    return xp.sum(xp.where(valid, terms.times(xp, xp.exp(mine), mine - wanted), zero), -1)

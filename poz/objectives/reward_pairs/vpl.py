"""Variational preference learning: rewards given a latent of the user, whose posterior is kept near the prior."""

import math
from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import RewardPairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer

LANGUAGE, CONTROL = "WEIRDLabUW/vpl_llm@fdfdfa7", "WEIRDLabUW/vpl@531bb97"


def _check_values(xp: Namespace, pairs: RewardPairs, values: Values) -> None:
    labels.check(xp, "vpl", pairs)


@objective(
    title="Variational Preference Learning",
    paper="arXiv:2408.10075",
    equation="its evidence lower bound, as in the authors' code; body not read",
    formula=r"-P\log\sigma(d)-(1-P)\log\sigma(-d)+\tfrac{w}{2}\sum_j(\sigma_j^2+\mu_j^2-1-\log\sigma_j^2),\quad d=r(y_w,z)-r(y_l,z),\ z=\mu+\sigma\odot\epsilon",
    reads="chosen rejected latent_mean latent_log_variance",
    optional="label",
    check_values=_check_values,
    published=[
        Published(f"{LANGUAGE} hidden_context/train_llm_vae_preference_model.py", {"kl_weight": (0.01,)}),
        Published(f"{LANGUAGE} hidden_context/vae_utils.py", {"half": (True,), "clamp": (1.0,)}),
        Published(f"{LANGUAGE} submit_job_pets.sh, _UF_P_2.sh, _UF_P_4.sh", {"kl_weight": (1e-4, 0.0, 3e-6)}),
        Published(f"{CONTROL} pref_learn/train.py and models/vae.py", {"kl_weight": (1.0,), "half": (False,)}),
    ],
    answers=[
        Answer(
            "disagreement",
            test="objectives/test_latent_laws.py::test_opposite_users_are_told_apart_by_their_latents_and_are_a_coin_to_bradley_terry",
        ),
    ],
    reduces_to=[
        Limit(
            "bradley_terry",
            "w = 0",
            lambda p: {**p, "kl_weight": 0.0},
            batch=lambda b: (b, b._replace(margin=None, tie=None)),
        )
    ],
    deviations=[
        Deviation("the formula", "σ² overflows float32 from log σ² = 88 on", "a tangent continues it from 60 on"),
        Deviation(
            "vpl_llm, VAEModel",
            "clamps μ and log σ² to [-1, 1] before the KL and before z, and stretches z to the length √d; evaluation has z = μ",
            "clamp=1; poz.algorithms.latents.sample has both",
        ),
        Deviation(
            "vpl_llm, VAETrainer",
            "multiplies the KL by the slope of a cosine that starts anew every 1e4 steps",
            "kl_weight times poz.algorithms.latents.annealing",
        ),
        Deviation("vpl_llm, VAETrainer", "passes masks that its model does not take, and fails", "no masks here"),
        Deviation("vpl_llm, compute_metrics", "logs a KL without the half", "half=False"),
        Deviation(
            "vpl, VAEModel",
            "sums, over users with n pairs each, n cross-entropies and one KL without the half",
            "half=False, kl_weight=w/n, the latents of a user beside each pair",
        ),
        Deviation("vpl, VAEModel", "divides rewards by reward_scaling", "chosen and rejected divided before"),
        Deviation(
            "vpl, VAEModel with learned_prior",
            "measures the distance from N(μ0, σ0²)",
            "latent_mean=(μ-μ0)/σ0, latent_log_variance=log σ²-log σ0²",
        ),
    ],
    basis="The authors' code, of language and of control, executed in float64 (WEIRDLabUW/vpl_llm@fdfdfa7, WEIRDLabUW/vpl@531bb97): "
    "tests/authors/vpl.json.",
)
def vpl(
    xp: Namespace,
    pairs: RewardPairs,
    *,
    kl_weight: Annotated[float, Real("w, weight of the KL", low=0, usual=(0.0, 1.0))] = 0.01,
    half: Annotated[bool, Choice("whether the KL has its half", FLAG)] = True,
    clamp: Annotated[
        float | None, Real("most that |μ| and |log σ²| count for", low=0, open="low", optional=True, usual=(0.5, 2.0))
    ] = None,
) -> Array:
    """Cross-entropy of the rewards given z, which the caller has drawn, plus the KL of its posterior to N(0, I)."""
    d = pairs.chosen - pairs.rejected
    mean, log_variance = pairs.latent_mean, pairs.latent_log_variance
    if clamp is not None:
        mean, log_variance = xp.clip(mean, -clamp, clamp), xp.clip(log_variance, -clamp, clamp)
    mean, v = terms.spared(xp, kl_weight, mean), terms.spared(xp, kl_weight, log_variance)
    near = xp.where(v > terms.CAP, xp.constant(terms.CAP, v), v)
    kl = xp.sum(mean**2 + (xp.expm1(near) - near) + math.expm1(terms.CAP) * xp.relu(v - terms.CAP), -1)
    label = xp.ones_like(d) if pairs.label is None else xp.astype(pairs.label, d)
    fit = -terms.times(xp, label, xp.log_sigmoid(d)) - terms.times(xp, 1 - label, xp.log_sigmoid(-d))
    return fit + kl_weight * (kl / 2 if half else kl)

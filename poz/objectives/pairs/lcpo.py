"""Latent Collective Preference Optimization (RE-PO): labels from annotators of unknown reliability."""

from typing import Annotated, Any

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs, named
from poz.objective import Base, Deviation, Objective, Published, Values, has_base, objective
from poz.objectives.pairs.dpo import dpo
from poz.purposes import Answer

CLAMP = (1e-4, 1 - 1e-4)  # reliabilities 0 and 1 are absorbing


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    base, reliability = values["base"], values["reliability"]
    base.check_arrays(xp, pairs, base.values)
    if base.check_values is not None:
        base.check_values(xp, pairs, base.values)
    if not getattr(reliability, "ndim", 0):
        return
    if reliability.ndim > 1:
        raise ValueError(f"`lcpo` needs one reliability, or one per annotator; got shape {tuple(reliability.shape)}.")
    if pairs.annotator is None:
        raise ValueError(
            f"`lcpo` got {len(reliability)} reliabilities but no annotator ids. Give annotator, or one reliability for all."
        )
    ids = xp.values(pairs.annotator)
    if ids is not None and ids.size and not 0 <= ids.min() <= ids.max() < len(reliability):
        raise ValueError(
            f"`lcpo` needs annotator ids from 0 to {len(reliability) - 1}; got {ids.min()} to {ids.max()}."
        )


def _constraint(p: Values) -> str | None:
    if p["base"].family is not Pairs:
        return f"needs a base on pairs; got `{p['base'].name}`, which reads {named(p['base'].family)}."
    if has_base(p["base"]):
        return f"needs a base that takes labels at their word; got `{p['base'].name}`. Give the base of that one."
    if not {"chosen", "rejected"} <= p["base"].reads or (p["base"].coupled and "calibration" not in p["base"].reads):
        return f"needs a base that compares two completions and takes each pair alone; got `{p['base'].name}`."
    if "margin" in p["base"].reads:
        return f"needs a base that depends on the label; `{p['base'].name}` with a known reward gap is the same for both orders."
    return None


@objective(
    title="Latent Collective Preference Optimization",
    paper="arXiv:2509.24159",
    equation="eq. 2 to 5 (ICLR 2026 version, named RE-PO)",
    formula=r"-w\log\sigma(u)-(1-w)\log\sigma(-u),\quad u=L(l\succ w)-L(w\succ l),\ w=\sigma(u+\operatorname{logit}\eta_k)",
    reads=lambda p: " ".join(sorted(p["base"].reads)),
    optional="annotator",
    aliases=("re_po", "lcpo_em"),
    published=[Published("second hand: arXiv:2509.24159", {"reliability": (0.9, 0.99, 0.75, 0.55)})],
    answers=[
        Answer(
            "noisy-labels",
            world="flips_10",
            paper="eq. 2 to 5: whether a label is the clean one is latent, and inferred in each step",
            test="algorithms/test_lcpo_em.py::test_calibrated_model_identifies_the_reliability",
        ),
        Answer(
            "annotators",
            paper="theorem 4.1: the reliability of an annotator is found where the model is calibrated",
            test="algorithms/test_lcpo_em.py::test_em_recovers_reliabilities_and_rewards",
        ),
    ],
    coupled=lambda p: p["base"].coupled,
    gradient_stops="w, the posterior that the label is clean",
    constraint=_constraint,
    check_values=_check_values,
    deviations=[Deviation("the paper", "does not clamp η; 0 and 1 are absorbing", "clamped to [1e-4, 1 - 1e-4]")],
    basis="Nothing could be run: the authors' repository (XiaoyangCao1113/RE-PO) could not be had. Paper, camera-ready; that it is EM: "
    "tests/algorithms/test_lcpo_em.py::test_em_never_raises_the_marginal_likelihood_loss, tests/algorithms/test_lcpo_em.py::test_em_recovers_reliabilities_and_rewards",
)
def lcpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    base: Annotated[Objective, Base("L, the objective whose Gibbs map is the clean preference probability")] = dpo,
    reliability: Annotated[
        Any, Real("η, probability that a label is clean", low=0, high=1, usual=(0.05, 0.95), per="annotator")
    ] = 0.9,
    mode: Annotated[
        str, Choice("'gibbs', the paper's, or 'weighted', w L + (1-w) L of the swapped pair", ("gibbs", "weighted"))
    ] = "gibbs",
) -> Array:
    """The M-step loss of EM over clean and flipped labels, for any base objective on pairs, at given reliabilities.

    `poz.torch.LCPO(base, num_annotators)` learns them, as `objective="lcpo_em"` does in `poz.integrations.trl.DPOTrainer`,
    over DPO: `poz.algorithms.lcpo_em`, from the same posterior. The paper's RE-CPO is over `poz.cpo.bind(nll='sum')`.
    u is a difference of two losses and carries their rounding: over a squared base with target t = 1/(2τ) some
    t² roundings (in float32 1e-7 t², 1e-3 nats at τ = 0.005). Where that is too much, give float64 log-probs.
    """
    right = base.function(xp, pairs, **base.values)
    wrong = base.function(xp, pairs.swap(), **base.values)
    u = wrong - right
    v = posterior_logit(xp, xp.stop_gradient(u), pairs.annotator, reliability)
    clean, flipped = xp.sigmoid(v), xp.sigmoid(-v)  # 1 - w would round to 0
    if mode == "weighted":
        return terms.times(xp, clean, right) + terms.times(xp, flipped, wrong)
    return -terms.times(xp, clean, xp.log_sigmoid(u)) - terms.times(xp, flipped, xp.log_sigmoid(-u))


def posterior_logit(xp: Namespace, u: Array, annotator: Array, reliability: Any) -> Array:
    """E-step: u + logit η, the log-odds that a label is clean."""
    if not xp.is_array(reliability):  # in float64 while it can be
        eta = np.clip(np.asarray(reliability, np.float64), *CLAMP)
        logit = xp.constant(np.log(eta) - np.log1p(-eta), u)
    else:
        eta = xp.clip(reliability, *CLAMP)
        logit = xp.astype(xp.log(eta) - xp.log(1 - eta), u)
    return u + (xp.gather(logit, annotator) if logit.ndim else logit)

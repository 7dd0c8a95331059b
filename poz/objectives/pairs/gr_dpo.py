"""GR-DPO: the worst group of annotators counts most."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real, Weights
from poz.families import Pairs
from poz.objective import Deviation, Limit, Values, objective
from poz.purposes import Answer


def _constraint(p: Values) -> str | None:
    return (
        "needs one weight per group; got weights=None. For three groups, say weights=(1/3, 1/3, 1/3)."
        * (p["weights"] is None)
        or None
    )


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    group, count = xp.values(pairs.annotator), len(values["weights"])
    if group is not None and group.size and not (group.min() >= 0 and group.max() < count):
        raise ValueError(
            f"`gr_dpo` has {count} weights, so annotator lies in 0..{count - 1}; got {group.min()}..{group.max()}."
        )


@objective(
    title="Group robust DPO",
    paper="arXiv:2405.20304",
    equation="the GR-DPO loss",
    formula=r"q_g\,\tfrac{B}{n_g}\,\bigl(-\log\sigma(\beta h)\bigr)",
    reads="chosen rejected ref_chosen ref_rejected annotator",
    answers=[
        Answer(
            "groups",
            paper="abstract: a policy for the worst of the groups, to which weights move as their losses do",
            test="objectives/test_list_laws.py::test_group_weights_move_to_the_worst_group",
        ),
    ],
    check_values=_check_values,
    constraint=_constraint,
    coupled="the number of the batch's pairs in each group",
    reduces_to=[
        Limit(
            "dpo",
            "one group",
            lambda p: {**p, "weights": (1.0,)},
            lambda p: {"beta": p["beta"]},
            lambda b: (b._replace(annotator=0 * b.annotator), b),
        )
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "moves q inside the trainer, before q weighs the batch",
            "poz.algorithms.group_weights.update, then the loss",
        ),
        Deviation(
            "the authors' configuration, `divide_by_totalcount`",
            "N/N_g times the sum of the group, of the data set: where the batch has its shares, B times the loss here and so B times the exponent of q",
            "the loss times B, and for its step of .01 that of group_weights.update at .01 B",
        ),
    ],
    basis="The authors' code, executed in float64 (rsshyam/Group-robust-preference-optimization@e4d611e): tests/authors/gr_dpo.json; its step "
    "of q: tests/algorithms/test_group_weights.py::test_the_authors_step_is_eta_times_the_batch",
)
def gr_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    weights: Annotated[tuple[float, ...], Weights("q, one weight per group, by the id in `annotator`", per="group")] = (
        0.5,
        0.5,
    ),
) -> Array:
    """DPO whose batch mean is Σ_g q_g times the mean loss of group g; the weights are used as given."""
    losses = -xp.log_sigmoid(beta * terms.log_ratio_margin(pairs))
    q = xp.astype(weights, losses) if xp.is_array(weights) else xp.constant(weights, losses)
    groups = xp.constant(np.arange(q.shape[0]), losses)
    member = xp.astype(xp.astype(pairs.annotator, losses)[..., None] == groups, losses)
    count = xp.sum(member * xp.sum(member, 0), -1)
    return terms.times(xp, xp.gather(q, pairs.annotator) * (losses.shape[-1] / count), losses)

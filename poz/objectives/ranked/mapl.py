"""MAPL: prompts are ranked too, and the gap between two responses against the same gap under another prompt."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs, Ranked
from poz.objective import Limit, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, lists: Ranked, values: Values) -> None:
    if lists.logps.shape[-1] != 4:
        raise ValueError(
            "`mapl` needs 4 log-probs, chosen and rejected under the better prompt, then the same two under the other; "
            f"got K = {lists.logps.shape[-1]}."
        )


def _better_prompt(lists: Ranked) -> tuple[Ranked, Pairs]:
    (chosen, rejected), (ref_chosen, ref_rejected) = lists.logps[:, :2].T, lists.ref_logps[:, :2].T
    return lists, Pairs(chosen, rejected, ref_chosen, ref_rejected)


@objective(
    title="Multi-level Aware Preference Learning",
    paper="arXiv:2505.12845",
    equation="the intra-sample loss as a review of the paper gives it; inter-sample loss and sum reconstructed",
    formula=r"-\log\sigma(\beta(d_{ww}-d_{wl}))-v\log\sigma(\beta(d_{ww}-d_{lw}))-w\log\sigma\bigl(\beta[(d_{ww}-d_{wl})-(d_{lw}-d_{ll})]\bigr),\quad d_{ij}=\log\tfrac{\pi(y_j|x_i)}{\pi_{ref}(y_j|x_i)}",
    reads="logps ref_logps",
    answers=[
        Answer(
            "prompts",
            paper="abstract: signals within prompts, which are varied so that a response suits one better than another",
            test="objectives/test_list_laws.py::test_levels_of_mapl_differ_in_what_they_ignore",
        ),
    ],
    check_values=_check_values,
    reduces_to=[
        Limit(
            "dpo",
            "one level",
            lambda p: {**p, "intra_weight": 0.0, "inter_weight": 0.0},
            lambda p: {"beta": p["beta"]},
            _better_prompt,
        )
    ],
    basis="Unverified but for the intra-sample loss (second hand). Nothing could be run: no code was found, and the paper's body could not be "
    "read. The inter-sample loss is the Bradley-Terry model of two gaps; weights and β are not the paper's.",
)
def mapl(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    intra_weight: Annotated[float, Real("v, weight of one response under two prompts", low=0)] = 1.0,
    inter_weight: Annotated[float, Real("w, weight of the gap under two prompts", low=0)] = 1.0,
) -> Array:
    """DPO, the same for two prompts of one response (whose partition functions do not cancel), and for two gaps."""
    d = lists.logps - lists.ref_logps
    gap, other = d[..., 0] - d[..., 1], d[..., 2] - d[..., 3]
    intra = terms.times(xp, intra_weight, -xp.log_sigmoid(beta * (d[..., 0] - d[..., 2])))
    inter = terms.times(xp, inter_weight, -xp.log_sigmoid(beta * (gap - other)))
    return intra + inter - xp.log_sigmoid(beta * gap)

"""Iterative Nash Policy Optimization: one online-mirror-descent step of self-play against the current policy."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.purposes import Answer


def _constraint(p: Values) -> str | None:
    numbers = all(isinstance(p[name], int | float) for name in ("tau", "eta"))  # None is eta / 3
    if numbers and p["tau"] > p["eta"]:
        return f"needs tau <= eta, else the current policy gets a negative weight; got tau={p['tau']}, eta={p['eta']}."
    return None


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    if pairs.opponents_chosen.shape[0] != 1:
        raise ValueError(
            f"`inpo` has one opponent, the current policy; got {pairs.opponents_chosen.shape[0]}. Use poz.mnpo for several."
        )


@objective(
    title="Iterative Nash Policy Optimization",
    paper="arXiv:2407.00617",
    equation="eq. 8",
    formula=r"\bigl(\Delta_\pi-\tfrac{\tau}{\eta}\Delta_{ref}-(1-\tfrac{\tau}{\eta})\Delta_{\pi_t}-\tfrac{1}{2\eta}\bigr)^2,\quad \Delta_\mu=\log\mu(y_w)-\log\mu(y_l)",
    reads=lambda p: (
        "chosen rejected ref_chosen ref_rejected opponents_chosen opponents_rejected"
        + " chosen_len rejected_len" * bool(p["length_normalized"])
    ),
    published=[
        Published(
            "second hand: arXiv:2407.00617, its grid, of which 0.005 was chosen",
            {"eta": (0.1, 0.01, 0.0075, 0.005, 0.002), "tau": ("eta / 3",)},
        )
    ],
    answers=[
        Answer(
            "intransitive",
            paper="abstract: self-play approaches the Nash policy of general preferences; near a cycle, at a step as its docstring says",
            test="objectives/test_theorems.py::test_inpo_rounds_fitted_through_the_loss_reach_the_equilibrium",
        ),
        Answer("online", paper="the algorithm: each round labels pairs of the current policy"),
    ],
    constraint=_constraint,
    check_values=_check_values,
    reduces_to=[
        Limit(
            "ipo",
            "τ = η: the current policy drops out",
            lambda p: {**p, "tau": p["eta"]},
            lambda p: {"tau": p["eta"], "length_normalized": p["length_normalized"]},
        )
    ],
    deviations=[
        Deviation("smiles724/MNPO (one history policy)", "per-token means", "length_normalized=True"),
        Deviation("ONPO, SPPO", "η is the learning rate, 1/η here", "eta=1/eta_onpo"),
    ],
    basis="Paper, full text; no code of its authors was found. MNPO's loss with one history policy, executed in float64 "
    "(smiles724/MNPO@b8317e9): tests/authors/inpo.json.",
)
def inpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    eta: Annotated[
        float, Real("η, inverse step size; the target is 1/(2η)", low=0, open="low", unit="1/nat", usual=(0.1, 5.0))
    ] = 0.005,
    tau: Annotated[
        float | None,
        Real(
            "τ, strength of the KL constraint to the reference; None means η/3",
            low=0,
            unit="1/nat",
            usual=(0.0, 0.1),
            optional=True,
        ),
    ] = None,
    length_normalized: Annotated[bool, Choice("divide each completion's log-probs by its own length", FLAG)] = False,
) -> Array:
    """Squared distance of the margin over the geometric mix of reference and current policy from 1/(2η).

    At a constant η its rounds settle only where η is large enough for the game: around the uniform equilibrium of
    `poz.games.rock_paper_scissors(s)` above (τ² + s²/12) / (2τ). With τ = η/3 that is s < 2.58 η: at η = 0.005 hardly any
    cycle of preferences may be there. `poz.algorithms.tabular.inpo_iterates` warns.
    """
    ours, reference, opponent = (terms.gap(xp, pairs, of, length_normalized) for of in ("", "ref_", "opponents_"))
    if tau is None:
        tau = eta / 3
    anchor = terms.times(xp, tau / eta, reference) + terms.times(xp, 1 - tau / eta, opponent[0])
    h = ours - anchor
    return (h - 0.5 / eta) ** 2

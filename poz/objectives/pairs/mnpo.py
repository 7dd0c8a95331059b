"""Multiplayer Nash Preference Optimization: a mix of opponents, and a choice of distance and target."""

from typing import Annotated, Any

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real, Weights
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.purposes import Answer

SQUARED = {"beta": 1.0, "distance": "squared", "target": "constant"}
HARD = {"distance": "backward_kl", "target": "hard", "length_normalized": False}


def _needs(p: Values) -> str:
    fields = "chosen rejected opponents_chosen opponents_rejected"
    if not (isinstance(p["tau"], int | float) and p["tau"] == 0):
        fields += " ref_chosen ref_rejected"
    if p["target"] == "reward":
        fields += " margin"
    return fields + " chosen_len rejected_len" * bool(p["length_normalized"])


def _constraint(p: Values) -> str | None:
    numbers = all(isinstance(p[name], int | float) for name in ("tau", "eta"))  # None is eta / 3
    if numbers and p["tau"] > p["eta"]:
        return f"needs tau <= eta, else the opponents get a negative weight; got tau={p['tau']}, eta={p['eta']}."
    if p["target"] == "hard" and p["distance"] == "squared":
        return "needs distance='backward_kl' for target='hard', an infinite gap; got 'squared'."
    return None


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    opponents, weights = pairs.opponents_chosen.shape[0], values["weights"]
    if opponents == 0:
        raise ValueError("`mnpo` needs at least one opponent; got none. Use poz.ipo for the reference alone.")
    if weights is not None and len(weights) != opponents:
        raise ValueError(f"`mnpo` needs one weight per opponent; got {len(weights)} weights for {opponents} opponents.")


@objective(
    title="Multiplayer Nash Preference Optimization",
    paper="arXiv:2509.23102",
    equation="eq. 17, v3; τ from the released trainer (its `ratio` is τ/η)",
    formula=r"D\bigl(\beta[\Delta_\pi-\tfrac{\tau}{\eta}\Delta_{ref}-(1-\tfrac{\tau}{\eta})\textstyle\sum_j\lambda_j\Delta_{\pi_j}]\,\big\|\,b\bigr),\quad b\in\{\tfrac{1}{2\eta},\ \eta(r^*_w-r^*_l),\ \infty\}",
    reads=_needs,
    published=[
        Published("smiles724/MNPO@b8317e9 training_configs, iter1, 2, 3", {"eta": (0.0075,), "tau": ("eta / 3",)}),
        Published("the same, iter2-athene, -armo, then -skywork", {"eta": (0.005, 0.01), "tau": ("0.85 eta",)}),
        Published(
            "second hand: arXiv:2509.23102 v3, its grids; λ of one opponent",
            {
                "beta": (0.01, 10.0),
                "eta": (0.1, 0.01, 0.0075, 0.005, 0.002),
                "weights": (0, 0.1, 0.333, 0.5, 0.667, 0.9),
            },
        ),
    ],
    answers=[
        Answer(
            "intransitive",
            under="eta near 1, as in the test; at the default, which is that of language models, the rounds of a small game leave it",
            test="test_games.py::test_mnpo_reaches_the_equilibrium_with_any_history",
        ),
        Answer(
            "online", paper="the algorithm: completions of each round are sampled from the current policy and labelled"
        ),
    ],
    constraint=_constraint,
    check_values=_check_values,
    reduces_to=[
        Limit(
            "inpo",
            "one opponent, the current policy",
            lambda p: {**p, **SQUARED, "weights": (1.0,)},
            lambda p: {name: p[name] for name in ("eta", "tau", "length_normalized")},
            lambda pairs: (
                one := pairs._replace(
                    opponents_chosen=pairs.opponents_chosen[:1], opponents_rejected=pairs.opponents_rejected[:1]
                ),
                one,
            ),
        ),
        Limit(
            "ipo",
            "τ = η: the opponents drop out",
            lambda p: {**p, **SQUARED, "tau": p["eta"], "weights": None},
            lambda p: {"tau": p["eta"], "length_normalized": p["length_normalized"]},
        ),
        Limit(
            "dpo",
            "one opponent, the reference; backward KL to a hard label",
            lambda p: {**p, **HARD, "tau": 0.0, "weights": (1.0,)},
            lambda p: {"beta": p["beta"]},
            lambda pairs: (
                pairs._replace(opponents_chosen=pairs.ref_chosen[None], opponents_rejected=pairs.ref_rejected[None]),
                pairs,
            ),
        ),
    ],
    deviations=[
        Deviation(
            "the authors' trainer", "per-token means; β only scales logged rewards", "length_normalized=True, beta=1"
        ),
        Deviation(
            "the authors' trainer",
            "reads `history_weights`, configures `weights`: weights are always uniform",
            "weights=None",
        ),
        Deviation("the authors' trainer", "loses the mass (1 - τ/η) when there is no opponent", "refused here"),
    ],
    basis="Paper v3, full text. The authors' code, executed in float64 (smiles724/MNPO@b8317e9): tests/authors/mnpo.json, the squared "
    "distance from 1/(2η) alone; of the other distance and targets there is no code.",
)
def mnpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the margin that is compared with the target", low=0, open="low", unit="1/nat")
    ] = 1.0,
    eta: Annotated[
        float, Real("η, inverse step size, or scale of the known reward gap", low=0, open="low", usual=(0.1, 5.0))
    ] = 0.0075,
    tau: Annotated[
        float | None,
        Real(
            "τ, the reference has weight τ/η and the opponents the rest; None means η/3",
            low=0,
            usual=(0.0, 0.1),
            optional=True,
        ),
    ] = None,
    weights: Annotated[
        tuple[float, ...] | None, Weights("λ, one weight per opponent, used as given; None: equal, sum 1")
    ] = None,
    distance: Annotated[
        str, Choice("D, squared difference or KL(Bernoulli(b) || Bernoulli(margin))", ("squared", "backward_kl"))
    ] = "squared",
    target: Annotated[
        str, Choice("b, 1/(2η), η times the known reward gap, or infinity", ("constant", "reward", "hard"))
    ] = "constant",
    length_normalized: Annotated[bool, Choice("divide each completion's log-probs by its own length", FLAG)] = False,
) -> Array:
    """Distance between the margin over a geometric mix of opponents (and reference) and a target gap.

    With one opponent and β = 1 its rounds are INPO's, which leave the equilibrium of a cyclic game of strength s where
    η < (τ² + s²/12) / (2τ), see `poz.inpo`; at the default η that is s > 2.58 η = 0.0194.
    `poz.algorithms.tabular.mnpo_iterates` warns, whatever the history.
    """
    gaps = terms.gap(xp, pairs, "opponents_", length_normalized)
    if weights is None:
        weights = (1 / gaps.shape[0],) * gaps.shape[0]
    mix: Any = 0
    for weight, opponent in zip(weights, gaps, strict=True):
        mix = mix + terms.times(xp, weight, opponent)
    if pairs.ref_chosen is not None:
        tau = eta / 3 if tau is None else tau
        reference = terms.gap(xp, pairs, "ref_", length_normalized)
        mix = terms.times(xp, tau / eta, reference) + terms.times(xp, 1 - tau / eta, mix)
    a = beta * (terms.gap(xp, pairs, "", length_normalized) - mix)
    if target == "hard":
        return -xp.log_sigmoid(a)
    b = eta * xp.astype(pairs.margin, a) if target == "reward" else xp.ones_like(a) * (0.5 / eta)
    if distance == "squared":
        return (a - b) ** 2
    a, b = xp.where(b < 0, -a, a), xp.where(b < 0, -b, b)  # KL is the same, and nothing large cancels
    flipped = terms.times(xp, xp.sigmoid(-b), xp.softplus(a) - b)
    return xp.log_sigmoid(b) - xp.sigmoid(b) * xp.log_sigmoid(a) + flipped

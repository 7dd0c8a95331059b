"""SimPER: inverse perplexities, and no hyper-parameter."""

from poz import terms
from poz.backends import Array, Namespace
from poz.families import Pairs
from poz.objective import Values, objective
from poz.objectives import _labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    _labels.check_probabilities(xp, "simper", pairs)


@objective(
    title="Simple alignment with Perplexity optimization",
    paper="arXiv:2502.00883",
    equation="the SimPER loss",
    formula=r"-e^{\bar p_w}+e^{\bar p_l},\quad\bar p=\tfrac{1}{|y|}\log\pi(y)",
    reads="chosen rejected chosen_len rejected_len",
    answers=[
        Answer(
            "no-tuning",
            against="clean",
            paper="the authors' README: better than DPO and SimPO without hyper-parameters",
        ),
        Answer(
            "displacement",
            world="displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    basis="The authors' code, executed in float64 (tengxiao1/SimPER@db08c97): tests/authors/simper.json.",
    check_values=_check_values,
)
def simper(xp: Namespace, pairs: Pairs) -> Array:
    """Inverse perplexity of rejected minus that of chosen: between -1 and 1, and flat for unlikely completions."""
    chosen = terms.average(xp, pairs.chosen, pairs.chosen_len)
    rejected = terms.average(xp, pairs.rejected, pairs.rejected_len)
    return terms.exponential(xp, rejected) - terms.exponential(xp, chosen)

"""Length-normalised DPO."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Length-normalised DPO",
    paper="arXiv:2407.15229",
    equation="LN-DPO; Tülu 3 (arXiv:2411.15124), section 4.3",
    formula=r"-\log\sigma\Bigl(\tfrac{\beta}{|y_w|}\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)}-\tfrac{\beta}{|y_l|}\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected chosen_len rejected_len",
    aliases=("sigmoid_norm", "dpo_norm"),
    published=[
        Published("allenai/open-instruct@e6c3044, configs/train_configs/tulu3/tulu3_dpo_8b.yaml", {"beta": (5.0,)}),
    ],
    answers=[
        Answer(
            "length-bias",
            paper="abstract: answers are more concise than those of DPO and no worse",
            test="objectives/test_length_laws.py::test_length_normalised_dpo_of_equal_lengths_is_dpo_and_ignores_repetition",
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "one token on each side",
            lambda p: p,
            lambda p: {"beta": p["beta"]},
            lambda b: (b._replace(chosen_len=0 * b.chosen_len, rejected_len=0 * b.rejected_len), b),
        ),
        Limit(
            "simpo",
            "a uniform reference, no margin",
            lambda p: p,
            lambda p: {"beta": p["beta"], "gamma": 0.0, "gamma_beta_ratio": None},
            lambda b: (b._replace(ref_chosen=0 * b.chosen, ref_rejected=0 * b.rejected), b),
        ),
    ],
    basis="The code of the authors of Tülu 3, executed in float64 (allenai/open-instruct@e6c3044): tests/authors/ln_dpo.json.",
)
def ln_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token log-ratio", low=0, open="low", unit="1/nat", usual=(0.1, 10.0))
    ] = 5.0,
) -> Array:
    """DPO on log-ratios per token: SimPO with a reference and without a margin."""
    return -xp.log_sigmoid(beta * (terms.gap(xp, pairs, "", True) - terms.gap(xp, pairs, "ref_", True)))

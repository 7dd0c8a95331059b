"""Calibrated DPO: implicit rewards on the scale of the true ones."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Calibrated DPO",
    paper="arXiv:2412.14516",
    equation="eq. 10, second hand; c from the authors' code",
    formula=r"-\log\sigma(h)+c\Bigl[\bigl(a-\tfrac{1}{2\beta}\bigr)^2+\bigl(b+\tfrac{1}{2\beta}\bigr)^2\Bigr],\quad h=a-b,\ (a,b)=\log\tfrac{\pi}{\pi_{ref}}\text{ of }(y_w,\ y_l)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published(
            "tengxiao1/Cal-DPO@7d16b46, zephyr-selm/dpo_config_full.yaml and scripts/dpo_trainer.py",
            {"beta": (0.002,), "calibration_weight": (0.5,)},
        ),
        Published("the same, run/beta001_sametokenize.sh", {"beta": (0.001,)}),
        Published(
            "second hand, the paper's eq. 10: SarielMa/SFT_PV@e16b231 train_dpo_variants.py",
            {"calibration_weight": (1.0,)},
        ),
    ],
    answers=[
        Answer(
            "displacement",
            world="displacement",
            paper="abstract: a contrast ignores the actual values of rewards, which are calibrated here",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[
        Limit("dpo", "c = 0", lambda p: {**p, "calibration_weight": 0.0}, lambda p: {"beta": 1.0}),
    ],
    deviations=[
        Deviation(
            "the authors' code", "adds the batch mean of the squares to every pair", "each pair its own; same mean"
        ),
    ],
    basis="The authors' code, executed in float64 (tengxiao1/Cal-DPO@7d16b46): tests/authors/cal_dpo.json. Of the paper the abstract alone was read; where its eq. 10 is quoted, c is 1.",
)
def cal_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β; the log-ratios are to be ±1/(2β)", low=0, open="low", unit="1/nat")] = 0.002,
    calibration_weight: Annotated[float, Real("c, weight of the squares", low=0)] = 0.5,
) -> Array:
    """DPO with β = 1, plus the squared distances of both log-ratios from ±1/(2β)."""
    a = terms.spared(xp, calibration_weight, pairs.chosen - pairs.ref_chosen)
    b = terms.spared(xp, calibration_weight, pairs.rejected - pairs.ref_rejected)
    squares = (a - 0.5 / beta) ** 2 + (b + 0.5 / beta) ** 2
    return calibration_weight * squares - xp.log_sigmoid(terms.log_ratio_margin(pairs))

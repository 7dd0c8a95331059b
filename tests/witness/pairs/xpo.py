from witness._maths import logistic, margins, mp
from witness._rows import P1, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, calibration, beta, alpha):
    bonus = alpha * mp.fsum(calibration) / len(calibration)
    return [logistic(beta * h) + bonus for h in margins(chosen, rejected, ref_chosen, ref_rejected)]


ROWS = [
    # softplus(-1) + 0.2 (-5 - 9)/2; 0.2/2 per sample
    Row(
        item="XPO",
        fields={**P1, "calibration": [-5, -9]},
        params={"beta": 0.5, "alpha": 0.2},
        losses=[-1.08673831248],
        gradients={"chosen": [-0.134470710685], "calibration": [0.1, 0.1]},
    ),
]

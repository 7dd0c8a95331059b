from witness._maths import logistic, margins, mp, rows
from witness._rows import CALIBRATED, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, calibration, ref_calibration, beta, alpha):
    gains = [p - r for p, r in rows(calibration, ref_calibration)]
    bonus = alpha * beta * mp.fsum(gains) / len(gains)
    return [logistic(beta * h) + bonus for h in margins(chosen, rejected, ref_chosen, ref_rejected)]


ROWS = [
    # softplus(-1) + 0.2 * 0.5 (1 - 2)/2; 0.1/2 per sample
    Row(
        item="SELM",
        fields=CALIBRATED,
        params={"beta": 0.5, "alpha": 0.2},
        losses=[0.263261687518],
        gradients={"chosen": [-0.134470710685], "calibration": [0.05, 0.05], "ref_calibration": [-0.05, -0.05]},
    ),
]

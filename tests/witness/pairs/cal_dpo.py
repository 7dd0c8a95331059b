from witness._maths import logistic, on_ratios
from witness._rows import P1, P1P2, Row


@on_ratios
def formula(a, b, beta, calibration_weight):
    return logistic(a - b) + calibration_weight * ((a - 1 / (2 * beta)) ** 2 + (b + 1 / (2 * beta)) ** 2)


ROWS = [
    # 1/(2 β) = 2: softplus(-h) + 0.5 [(1 - 2)² + (b + 2)²], b = (-1, 2.5); -σ(-h) - 1, σ(-h) + b + 2
    Row(
        item="Cal-DPO",
        fields=P1P2,
        params={"beta": 0.25, "calibration_weight": 0.5},
        losses=[1.12692801104, 12.326413278],
        gradients={"chosen": [-1.11920292202, -1.81757447619], "rejected": [1.11920292202, 5.31757447619]},
    ),
    # at π = π_ref: log 2 + 0.5 / (2 * 0.25²); -1/2 - 2 and 1/2 + 2
    Row(
        item="Cal-DPO, start",
        fields={side: [-11] for side in P1},
        params={"beta": 0.25, "calibration_weight": 0.5},
        losses=[4.69314718056],
        gradients={"chosen": [-2.5], "rejected": [2.5]},
    ),
]

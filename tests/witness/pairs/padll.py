from witness._maths import logistic, margins, mp, on_margin
from witness._rows import FLAT, P1P2, Row


@on_margin
def formula(h, beta):
    return mp.mpf(9) / 10 * (1 - mp.mpf(h < 0) / 2) * logistic(beta * h)


def kinks(fields, params):
    return [[h] for h in margins(**fields)]


ROWS = [
    # 0.9 softplus(-1), 0.45 softplus(0.75); -0.45 σ(-1), -0.225 σ(0.75)
    Row(
        item="PADLL",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.281935518766, 0.511591952752],
        gradients={"chosen": [-0.121023639616, -0.152815207314], "rejected": [0.121023639616, 0.152815207314]},
    ),
    # 0.9 log 2, -0.9 σ(0): no margin is not below the margin 0
    Row(
        item="PADLL, at its kink",
        fields=FLAT,
        params={"beta": 1.0},
        losses=[0.623832462504],
        gradients={"chosen": [-0.45]},
    ),
]

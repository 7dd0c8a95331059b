from witness._maths import e, logistic, on_margin
from witness._rows import P1P2, Row


@on_margin
def formula(h, beta):
    return e(-beta * h) / 2 + logistic(beta * h) / 2


ROWS = [
    # z = (1, -0.75): (e^-z + softplus(-z))/2; -0.25 (e^-z + σ(-z))
    Row(
        item="CELL",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.340570564345, 1.62693551136],
        gradients={"chosen": [-0.159205215635, -0.699044678947], "rejected": [0.159205215635, 0.699044678947]},
    ),
]

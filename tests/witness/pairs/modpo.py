from witness._maths import logistic, on_known_margin
from witness._rows import P1, Row


@on_known_margin
def formula(h, margin, beta, weight):
    return logistic((beta * h - (1 - weight) * margin) / weight)


ROWS = [
    # u = (1 - 0.75 * 1)/0.25 = 1: softplus(-1); -2 σ(-1)
    Row(
        item="MODPO",
        fields={**P1, "margin": [1]},
        params={"beta": 0.5, "weight": 0.25},
        losses=[0.313261687518],
        gradients={"chosen": [-0.53788284274], "rejected": [0.53788284274]},
    ),
]

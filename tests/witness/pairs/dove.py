from witness._maths import logistic, on_margin
from witness._rows import P1, Row


@on_margin
def formula(h, beta):
    return logistic(beta * h)


ROWS = [
    # softplus(-1); -0.5 σ(-1)
    Row(
        item="DOVE",
        fields=P1,
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "ref_chosen": [0.134470710685]},
    ),
]

from witness._maths import logistic, on_margin
from witness._rows import P1, Row


@on_margin
def formula(h, beta):
    return 2 / beta * logistic(beta * h)


ROWS = [
    # 4 softplus(-1); -2 σ(-1)
    Row(
        item="AltPO",
        fields=P1,
        params={"beta": 0.5},
        losses=[1.25304675007],
        gradients={"chosen": [-0.53788284274], "rejected": [0.53788284274]},
    ),
]

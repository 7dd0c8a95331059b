from witness._maths import logistic, margins, rows
from witness._rows import P1, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, eta):
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), chosen)
    return [logistic(beta * h) - eta * beta * c for h, c in terms]


ROWS = [
    # softplus(-1) + 0.02 * 0.5 * 10; -0.5 σ(-1) - 0.01
    Row(
        item="regularised RPO",
        fields=P1,
        params={"beta": 0.5, "eta": 0.02},
        losses=[0.413261687518],
        gradients={"chosen": [-0.144470710685], "rejected": [0.134470710685]},
    ),
]

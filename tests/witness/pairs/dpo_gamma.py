from witness._maths import logistic, rows
from witness._rows import P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, gamma):
    return [
        logistic(beta * ((c - r) - gamma * (rc - rr)))
        for c, r, rc, rr in rows(chosen, rejected, ref_chosen, ref_rejected)
    ]


ROWS = [
    # u = 0.5 (2 - 0, -1 - 0.5 * 0.5) = (1, -0.625): softplus(-u); -0.5 σ(-u), the reference with -0.5 of it
    Row(
        item="DPO^γ",
        fields=P1P2,
        params={"beta": 0.5, "gamma": 0.5},
        losses=[0.313261687518, 1.05370067828],
        gradients={"chosen": [-0.134470710685, -0.325677432333], "ref_chosen": [0.0672353553425, 0.162838716167]},
    ),
]

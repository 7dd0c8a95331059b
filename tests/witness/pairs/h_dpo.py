from witness._maths import logistic, rows
from witness._rows import P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, alpha):
    sides = rows(chosen, rejected, ref_chosen, ref_rejected)
    return [logistic(alpha * beta * (c - r) - beta * (rc - rr)) for c, r, rc, rr in sides]


ROWS = [
    # u = 0.25 (2, -1) - 0.5 (0, 0.5) = (0.5, -0.5): -0.25 σ(-u), and 0.5 σ(-u) on the reference
    Row(
        item="H-DPO",
        fields=P1P2,
        params={"beta": 0.5, "alpha": 0.5},
        losses=[0.47407698418, 0.97407698418],
        gradients={"chosen": [-0.0943851671995, -0.1556148328], "ref_chosen": [0.188770334399, 0.311229665601]},
    ),
]

from witness._maths import logistic, on_ratios
from witness._rows import P1P2, Row


@on_ratios
def formula(a, b, beta, shift):
    return logistic(beta * (a - shift * b))


ROWS = [
    # u = 0.5 (1 - 0.5 b), b = (-1, 2.5): softplus(-0.75), softplus(0.125); -0.5 σ(-u) and 0.25 σ(-u)
    Row(
        item="DPO-Shift",
        fields=P1P2,
        params={"beta": 0.5, "shift": 0.5},
        losses=[0.386871006115, 0.757599035317],
        gradients={"chosen": [-0.160410650412, -0.265604686687], "rejected": [0.0802053252062, 0.132802343343]},
    ),
]

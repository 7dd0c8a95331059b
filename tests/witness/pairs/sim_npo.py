from witness._maths import logistic, on_means
from witness._rows import SIMPO, Row


@on_means
def formula(p, q, beta, gamma, forget_weight=1, retain_weight=1):
    return forget_weight * 2 / beta * logistic(-beta * (q + gamma)) - retain_weight * p


ROWS = [
    # β (p_l + γ) = 2.5 (-1.3 + 0.5) = -2: 0.8 softplus(-2) + 0.5 * 0.8; -0.5/4, 2 σ(-2)/5
    Row(
        item="SimNPO",
        fields=SIMPO,
        params={"beta": 2.5, "gamma": 0.5, "forget_weight": 1.0, "retain_weight": 0.5},
        losses=[0.501542408834],
        gradients={"chosen": [-0.125], "rejected": [0.0476811688088]},
    ),
]

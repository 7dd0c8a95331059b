from witness._maths import exp, logistic, on_known_margin, relu
from witness._rows import P1P2, Row


@on_known_margin
def formula(h, margin, beta, w, k):
    return logistic(beta * (1 + w * (1 - exp(-k * relu(margin)))) * h)


ROWS = [
    # B = (0.5 (1 + 0.5 (1 - e^-1)), 0.5): softplus(-B h) with h = (2, -1.5); -B σ(-B h)
    Row(
        item="MM-DPO",
        fields={**P1P2, "margin": [2, -1]},
        params={"beta": 0.5, "w": 0.5, "k": 0.5},
        losses=[0.237590542206, 1.13687100611],
        gradients={"chosen": [-0.139156599444, -0.339589349588], "rejected": [0.139156599444, 0.339589349588]},
    ),
]

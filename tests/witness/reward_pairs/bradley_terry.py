from witness._maths import log, sigma
from witness._rows import Row


def formula(chosen, rejected, label=None, margin=None, tie=None, temperature=1, tie_weight=1, centering=0):
    out = []
    for i, (c, r) in enumerate(zip(chosen, rejected, strict=True)):
        p = 1 if label is None else label[i]
        z = (c - r - (0 if margin is None else margin[i])) / temperature
        loss = -p * log(sigma(z)) - (1 - p) * log(sigma(-z))
        if tie is not None and tie[i]:
            loss = tie_weight * (c - r) ** 2
        out.append(loss + centering * (c + r) ** 2)
    return out


ROWS = [
    # z = 3 - 2 = 1: softplus(-1); -σ(-1)
    Row(
        item="RM",
        fields={"chosen": [3], "rejected": [2]},
        params={},
        losses=[0.313261687518],
        gradients={"chosen": [-0.268941421370], "rejected": [0.268941421370]},
    ),
    # z = (1 - 0.5) / 0.5 = 1: softplus(-1) + 0.25 + 0.1 * 9; (0.25 - σ(-1)) / 0.5 and 0.2 * 3
    # a tie, whose label and margin have no say: 2 * 1 + 0.1 * 9; 4 and 0.6
    Row(
        item="RM, everything",
        fields={"chosen": [2, 2], "rejected": [1, 1], "label": [0.75, 0], "margin": [0.5, 9], "tie": [False, True]},
        params={"temperature": 0.5, "tie_weight": 2, "centering": 0.1},
        losses=[1.46326168752, 2.9],
        gradients={"chosen": [0.562117157260, 4.6], "rejected": [0.637882842740, -3.4]},
    ),
]

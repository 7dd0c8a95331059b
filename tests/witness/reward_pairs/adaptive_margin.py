from witness._maths import log, sigma
from witness._rows import Row


def formula(chosen, rejected, strength, margin_scale=1, flip_below=None, smooth_below=None, label_smoothing=0):
    out = []
    for better, worse, mu in zip(chosen, rejected, strength, strict=True):
        if flip_below is not None and mu < flip_below:
            better, worse, mu = worse, better, -mu
        alpha = label_smoothing if smooth_below is None or mu < smooth_below else 0
        z = better - worse - margin_scale * mu
        out.append(-(1 - alpha) * log(sigma(z)) - alpha * log(sigma(-z)))
    return out


ROWS = [
    # z = 3 - 1 - 0.5 * 2 = 1: softplus(-1); -σ(-1)
    Row(
        item="margin",
        fields={"chosen": [3], "rejected": [1], "strength": [2]},
        params={"margin_scale": 0.5},
        losses=[0.313261687518],
        gradients={"chosen": [-0.268941421370], "rejected": [0.268941421370]},
    ),
    # strong: z = 2 - 1 = 1. weak: z = 2 - 0.5 = 1.5, softplus(-1.5) + 0.2 * 1.5; 0.2 - σ(-1.5)
    # flipped, with a strength of 1 then: z = -(1 + 1) = -2, softplus(2); σ(2) for chosen, which is the worse one now
    # flipped, with one of 0.25: z = -(1 + 0.25) = -1.25, softplus(1.25) - 0.25; σ(1.25) - 0.2
    Row(
        item="margin, flips and smoothing",
        fields={"chosen": [2, 2, 1, 1], "rejected": [0, 0, 0, 0], "strength": [1, 0.5, -1, -0.25]},
        params={"flip_below": -0.125, "smooth_below": 0.75, "label_smoothing": 0.2},
        losses=[0.313261687518, 0.501413277983, 2.12692801104, 1.25192908135],
        gradients={
            "chosen": [-0.268941421370, 0.0175744761936, 0.880797077978, 0.577299861175],
            "rejected": [0.268941421370, -0.0175744761936, -0.880797077978, -0.577299861175],
        },
    ),
]

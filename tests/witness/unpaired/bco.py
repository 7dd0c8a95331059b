from witness._maths import log, sigma
from witness._rows import Row


def formula(logps, ref_logps, desirable, beta, baseline, weights=None):
    out = []
    for i, (x, r, good) in enumerate(zip(logps, ref_logps, desirable, strict=True)):
        z = beta * (x - r) - baseline
        out.append(-log(sigma(z if good else -z)) * (1 if weights is None else weights[i]))
    return out


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # 0.5 * 3 - 0.5 = 1: softplus(-1) = .313261687518; slope -0.5 σ(-1)
    Row(
        item="BCO, good",
        fields={"logps": [-2.0], "ref_logps": [-5.0], "desirable": [True]},
        params={"beta": 0.5, "baseline": 0.5},
        losses=[0.313261687518],
        gradients={"logps": [-0.134470710685], "ref_logps": [0.134470710685]},
    ),
    # the same, bad, weight 2: 2 softplus(1) = 2 (1 + .313261687518); slope 2 * 0.5 σ(1)
    Row(
        item="BCO, bad",
        fields={"logps": [-2.0], "ref_logps": [-5.0], "desirable": [False], "weights": [2.0]},
        params={"beta": 0.5, "baseline": 0.5},
        losses=[2.62652337504],
        gradients={"logps": [0.731058578630]},
    ),
]

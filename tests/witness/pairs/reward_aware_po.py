from witness._maths import coin, kl, on_known_margin
from witness._rows import P1, Row


@on_known_margin
def formula(h, margin, beta, eta, distance):
    z, g = beta * h, eta * margin
    if distance == "squared":
        return (z - g) ** 2
    return kl(coin(g), coin(z)) if distance == "backward_kl" else kl(coin(z), coin(g))


ROWS = [
    # z = 1, g = 0.25 * 2 = 0.5: (1 - 0.5)²; 2 * 0.5 * 0.5
    Row(
        item="reward-aware, squared",
        fields={**P1, "margin": [2]},
        params={"beta": 0.5, "eta": 0.25, "distance": "squared"},
        losses=[0.25],
        gradients={"chosen": [0.5], "ref_chosen": [-0.5]},
    ),
    # KL(σ(0.5), σ(1)); 0.5 (σ(1) - σ(0.5))
    Row(
        item="reward-aware, backward",
        fields={**P1, "margin": [2]},
        params={"beta": 0.5, "eta": 0.25, "distance": "backward_kl"},
        losses=[0.0279550377372],
        gradients={"chosen": [0.0542996237141], "ref_chosen": [-0.0542996237141]},
    ),
    # KL(σ(1), σ(0.5)); 0.5 σ(1) σ(-1) (1 - 0.5)
    Row(
        item="reward-aware, forward",
        fields={**P1, "margin": [2]},
        params={"beta": 0.5, "eta": 0.25, "distance": "forward_kl"},
        losses=[0.0263445859769],
        gradients={"chosen": [0.0491529833104], "ref_chosen": [-0.0491529833104]},
    ),
]

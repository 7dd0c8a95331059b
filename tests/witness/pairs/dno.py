from witness._maths import coin, log, margins, mp, sigma
from witness._rows import P1, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, eta, target, margin=None):
    out = []
    for i, h in enumerate(margins(chosen, rejected, ref_chosen, ref_rejected)):
        t, rest = coin(margin[i]) if target == "soft" else (mp.one, mp.zero)
        out.append(-t * log(sigma(eta * h)) - rest * log(sigma(-eta * h)))
    return out


ROWS = [
    # z = 1, t = σ(0.6): σ(0.6) softplus(-1) + σ(-0.6) softplus(1); 0.5 (σ(1) - σ(0.6))
    Row(
        item="DNO, soft",
        fields={**P1, "margin": [0.6]},
        params={"eta": 0.5, "target": "soft"},
        losses=[0.667605381292],
        gradients={"chosen": [0.0427011362021], "ref_chosen": [-0.0427011362021]},
    ),
    # softplus(-1); -0.5 σ(-1)
    Row(
        item="DNO, hard",
        fields=P1,
        params={"eta": 0.5, "target": "hard"},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "ref_chosen": [0.134470710685]},
    ),
]

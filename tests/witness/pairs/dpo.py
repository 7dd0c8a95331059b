from witness._maths import log, sigma
from witness._rows import P1, P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing=0):
    out = []
    for c, r, rc, rr in zip(chosen, rejected, ref_chosen, ref_rejected, strict=True):
        z = beta * (c - rc) - beta * (r - rr)
        out.append(-(1 - label_smoothing) * log(sigma(z)) - label_smoothing * log(sigma(-z)))
    return out


ROWS = [
    # z = 0.5 * 2 = 1: softplus(-1); -0.5 σ(-1)
    Row(
        item="DPO",
        fields=P1,
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={
            "chosen": [-0.134470710685],
            "rejected": [0.134470710685],
            "ref_chosen": [0.134470710685],
            "ref_rejected": [-0.134470710685],
        },
    ),
    # z = (1, -0.75): softplus(-1) + 0.1, softplus(0.75) - 0.075
    Row(
        item="DPO A",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=[0.413261687518, 1.06187100611],
    ),
    # half of 0.5 (σ(z) - 0.9)
    Row(
        item="DPO A, mean",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=0.737566346817,
        gradients={"chosen": [-0.0422353553425, -0.144794674794], "rejected": [0.0422353553425, 0.144794674794]},
        mean=True,
    ),
]

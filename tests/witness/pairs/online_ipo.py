from witness._maths import HALF, mp
from witness._rows import P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, tau, label=None):
    label = [mp.one] * len(chosen) if label is None else label
    rows = zip(chosen, rejected, ref_chosen, ref_rejected, label, strict=True)
    return [((c - rc) - (r - rr) - (known - HALF) / tau) ** 2 for c, r, rc, rr, known in rows]


# numbers from the formulas in 40 digits
ROWS = [
    # target 1 / 0.8 = 1.25: (0.75)² and (-2.75)²
    Row(
        item="Online IPO, hard labels",
        fields=P1P2,
        params={"tau": 0.4},
        losses=[0.5625, 7.5625],
        gradients={
            "chosen": [1.5, -5.5],
            "rejected": [-1.5, 5.5],
            "ref_chosen": [-1.5, 5.5],
            "ref_rejected": [1.5, -5.5],
        },
    ),
    # targets (0.5, -0.8) / 0.8 = (0.625, -1): (1.375)² and (-0.5)²
    Row(
        item="Online IPO, soft labels",
        fields={**P1P2, "label": [0.75, 0.1]},
        params={"tau": 0.4},
        losses=[1.890625, 0.25],
        gradients={"chosen": [2.75, -1], "rejected": [-2.75, 1], "ref_chosen": [-2.75, 1], "ref_rejected": [2.75, -1]},
    ),
]

from witness._maths import mp
from witness._rows import THREE, TWO, Row


def formula(logps, anchor_logps, winrates, beta):
    return [
        mp.fsum((p - q - score / beta) ** 2 for p, q, score in zip(*row, strict=True)) / len(row[0])
        for row in zip(logps, anchor_logps, winrates, strict=True)
    ]


# numbers from the formulas in 40 digits
ROWS = [
    # targets (0.3, -0.1, -0.2) / 0.25: e = (0.5 - 1.2, 0.4, -1 + 0.8); mean of (0.49, 0.16, 0.04); slopes 2 e / 3
    Row(
        item="GPO, three samples",
        fields={**THREE, "winrates": [[0.3, -0.1, -0.2]]},
        params={"beta": 0.25},
        losses=[0.23],
        gradients={
            "logps": [[-0.4666666666667, 0.2666666666667, -0.1333333333333]],
            "anchor_logps": [[0.4666666666667, -0.2666666666667, 0.1333333333333]],
        },
    ),
    # targets ±0.15 / 0.1: e = (1 - 1.5, -1 + 1.5); mean of 0.25 twice; slopes 2 e / 2
    Row(
        item="GPO, a pair",
        fields={**TWO, "winrates": [[0.15, -0.15]]},
        params={"beta": 0.1},
        losses=[0.25],
        gradients={"logps": [[-0.5, 0.5]], "anchor_logps": [[0.5, -0.5]]},
    ),
]

from witness._maths import HALF, mp
from witness._rows import THREE, TWO, Row


def formula(logps, anchor_logps, winrates, eta):
    return [
        HALF * mp.fsum((p - q - eta * (won - HALF)) ** 2 for p, q, won in zip(*row, strict=True))
        for row in zip(logps, anchor_logps, winrates, strict=True)
    ]


# numbers from the formulas in 40 digits
ROWS = [
    # targets 2 * (1/4, -1/4): e = (1 - 0.5, -1 + 0.5), 1/2 (0.25 + 0.25)
    Row(
        item="SPPO, a pair",
        fields=TWO,
        params={"eta": 2.0},
        losses=[0.25],
        gradients={"logps": [[0.5, -0.5]], "anchor_logps": [[-0.5, 0.5]]},
    ),
    # targets 0.8 * (0.4, 0, -0.3): e = (0.5 - 0.32, 0, -1 + 0.24) = (0.18, 0, -0.76), 1/2 (0.0324 + 0.5776)
    Row(
        item="SPPO, three samples",
        fields=THREE,
        params={"eta": 0.8},
        losses=[0.305],
        gradients={"logps": [[0.18, 0, -0.76]], "anchor_logps": [[-0.18, 0, 0.76]]},
    ),
    # η = 1000: e = (1 - 250, -1 + 250), 1/2 * 2 * 249²
    Row(
        item="SPPO at the published step",
        fields=TWO,
        params={"eta": 1000.0},
        losses=[62001],
        gradients={"logps": [[-249, 249]]},
    ),
]

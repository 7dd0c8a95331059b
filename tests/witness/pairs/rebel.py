from witness._maths import on_known_margin
from witness._rows import P1P2, Row


@on_known_margin
def formula(h, margin, eta):
    return (h - eta * margin) ** 2


ROWS = [
    # (2 - 0.5 * 1)², (-1.5 + 0.5)²; 3 and -2
    Row(
        item="REBEL",
        fields={**P1P2, "margin": [1, -1]},
        params={"eta": 0.5},
        losses=[2.25, 1.0],
        gradients={"chosen": [3.0, -2.0], "ref_chosen": [-3.0, 2.0]},
    ),
]

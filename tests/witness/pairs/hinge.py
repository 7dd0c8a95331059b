from witness._maths import on_margin, ratios, relu
from witness._rows import FLAT, P1P2, Row


@on_margin
def formula(h, beta):
    return relu(1 - beta * h)


def kinks(fields, params):
    return [[a - b - 1 / params["beta"]] for a, b in ratios(**fields)]


ROWS = [
    # z = 0.25 h = (0.5, -0.375): 1 - z; -0.25
    Row(
        item="hinge",
        fields=P1P2,
        params={"beta": 0.25},
        losses=[0.5, 1.375],
        gradients={"chosen": [-0.25, -0.25], "ref_rejected": [-0.25, -0.25]},
    ),
    # at its kink a hinge has derivative 0
    Row(
        item="hinge, at its kink",
        fields={**FLAT, "rejected": [-1.0]},
        params={"beta": 1.0},
        losses=[0.0],
        gradients={"chosen": [0.0], "ref_chosen": [0.0]},
    ),
]

from witness._maths import relu, rows
from witness._rows import Row


def gaps(chosen, rejected, margin):
    return rows(chosen, rejected, margin or [1] * len(chosen))


def formula(chosen, rejected, bound, margin=None):
    return [relu(bound - m * (c - r)) for c, r, m in gaps(chosen, rejected, margin)]


def kinks(fields, params):
    sides = fields["chosen"], fields["rejected"], fields.get("margin")
    return [[bound_minus] for bound_minus in (m * (c - r) - params["bound"] for c, r, m in gaps(*sides))]


ROWS = [
    # d = 0.25, -1, 2: three ranks apart 1 - 0.75, in the wrong order 1 - 2, alike 1
    Row(
        item="ranking hinge",
        fields={"chosen": [1, 1, 2], "rejected": [0.75, 2, 0], "margin": [3, -2, 0]},
        params={"bound": 1.0},
        losses=[0.25, 0, 1],
        gradients={"chosen": [-3, 0, 0], "rejected": [3, 0, 0]},
    ),
    # d = 2 is beyond the bound of 1.5, d = -1 short of it by 2.5; at the kink a hinge has derivative 0
    Row(
        item="ranking hinge, without ranks",
        fields={"chosen": [2, 0, 1.5], "rejected": [0, 1, 0]},
        params={"bound": 1.5},
        losses=[0, 2.5, 0],
        gradients={"chosen": [0, -1, 0], "rejected": [0, 1, 0]},
    ),
]

from witness._maths import relu, rows
from witness._rows import Row


def formula(chosen, rejected, delta, regularization_weight):
    return [relu(delta - c + r) - regularization_weight * c for c, r in rows(chosen, rejected)]


def kinks(fields, params):
    return [[params["delta"] - c + r] for c, r in rows(fields["chosen"], fields["rejected"])]


ROWS = [
    # δ - (l_w - l_l) = 1 - 0.5 and 1 - 4: 0.5 + 0.1 * 10, 0 + 0.1 * 8; -1 - 0.1, then -0.1 alone
    Row(
        item="SLiC-HF",
        fields={"chosen": [-10, -8], "rejected": [-10.5, -12]},
        params={"delta": 1.0, "regularization_weight": 0.1},
        losses=[1.5, 0.8],
        gradients={"chosen": [-1.1, -0.1], "rejected": [1.0, 0.0]},
    ),
    # at its kink a hinge has derivative 0
    Row(
        item="SLiC-HF, at its kink",
        fields={"chosen": [0.0], "rejected": [-1.0]},
        params={"delta": 1.0, "regularization_weight": 0.0},
        losses=[0.0],
        gradients={"chosen": [0.0], "rejected": [0.0]},
    ),
]

from witness._maths import logistic, mp, rows
from witness._rows import Row


def label(better, worse, delta):
    apart = [a - b for a, b in rows(better, worse)]
    signs = [mp.sign(x) for x, d in rows(apart, delta or [0] * len(apart)) if abs(x) > d]
    return signs[0] if signs else mp.zero


def formula(chosen, rejected, chosen_factors, rejected_factors, delta):
    labels = [label(a, b, delta) for a, b in rows(chosen_factors, rejected_factors)]
    decided = len(labels) - labels.count(0)
    return [
        logistic(y * (c - r)) * len(labels) / decided if y else mp.zero for y, c, r in rows(labels, chosen, rejected)
    ]


# s( ) is the sigmoid
ROWS = [
    # the first factor decides, then 0.2 does not and -1 does, then none: 1.5 softplus(-1), 1.5 softplus(0.5), 0
    Row(
        item="HERON",
        fields={
            "chosen": [3, 1.5, 9],
            "rejected": [2, 1, 0],
            "chosen_factors": [[1, 0], [0.2, 0], [0, 1]],
            "rejected_factors": [[0, 5], [0, 1], [0, 1]],
        },
        params={"delta": (0.5, 0.0)},
        losses=[0.469892531277, 1.46111547627, 0],
        # -1.5 s(-1), 1.5 s(0.5)
        gradients={
            "chosen": [-0.403412132055, 0.933688996802, 0],
            "rejected": [0.403412132055, -0.933688996802, 0],
        },
    ),
    # without thresholds the 0.2 decides: softplus(-1), softplus(-0.5)
    Row(
        item="HERON, lexicographic",
        fields={
            "chosen": [3, 1.5],
            "rejected": [2, 1],
            "chosen_factors": [[1, 0], [0.2, 0]],
            "rejected_factors": [[0, 5], [0, 1]],
        },
        params={"delta": None},
        losses=[0.313261687518, 0.474076984180],
        gradients={"chosen": [-0.268941421370, -0.377540668798]},
    ),
    Row(
        item="HERON, nothing decided",
        fields={"chosen": [3, 1], "rejected": [2, 9], "chosen_factors": [[1], [0]], "rejected_factors": [[0], [1]]},
        params={"delta": (1.0,)},
        losses=[0, 0],
        gradients={"chosen": [0, 0], "rejected": [0, 0]},
    ),
]

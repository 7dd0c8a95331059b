from witness._maths import logistic, on_ratios, ratios, relu
from witness._rows import FLAT, Row


@on_ratios
def formula(a, b, beta, penalty):
    return logistic(beta * (a - b - penalty * relu(-a)))


def kinks(fields, params):
    return [[a] for a, _ in ratios(**fields)]


# a = (1, -1), b = (-1, -2): the second chosen completion lies below the reference
DPOP = {"chosen": [-10, -12], "rejected": [-12, -12], "ref_chosen": [-11, -11], "ref_rejected": [-11, -10]}

ROWS = [
    # a = (1, -1), b = (-1, -2): u = 0.5 (2, 1 - 2) = (1, -0.5): softplus(-u); -0.5 σ(-u), times 1 + 2 where a < 0
    Row(
        item="DPOP",
        fields=DPOP,
        params={"beta": 0.5, "penalty": 2.0},
        losses=[0.313261687518, 0.97407698418],
        gradients={"chosen": [-0.134470710685, -0.933688996803], "rejected": [0.134470710685, 0.311229665601]},
    ),
    # log 2, σ(0) = 1/2; at its kink max(0, .) has derivative 0
    Row(
        item="DPOP, at its kink",
        fields=FLAT,
        params={"beta": 1.0, "penalty": 50.0},
        losses=[0.69314718056],
        gradients={"chosen": [-0.5], "rejected": [0.5]},
    ),
]

from witness._maths import logistic, on_ratios, ratios, relu
from witness._rows import FLAT, P1P2, Row


@on_ratios
def formula(a, b, beta):
    return logistic(beta * (a - relu(b)))


def kinks(fields, params):
    return [[b] for _, b in ratios(**fields)]


ROWS = [
    # u = 0.5 (1 - max(0, b)) = (0.5, -0.75); no push on the first rejected completion
    Row(
        item="MinorDPO",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.47407698418, 1.13687100611],
        gradients={"chosen": [-0.188770334399, -0.339589349588], "rejected": [0.0, 0.339589349588]},
    ),
    # log 2, -σ(0); at its kink max(0, .) has derivative 0
    Row(
        item="MinorDPO, at its kink",
        fields=FLAT,
        params={"beta": 1.0},
        losses=[0.69314718056],
        gradients={"chosen": [-0.5], "rejected": [0.0]},
    ),
]

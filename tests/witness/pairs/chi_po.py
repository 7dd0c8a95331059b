from witness._maths import e, exp, logistic, on_ratios, ratios
from witness._rows import P1P2, Row


@on_ratios
def formula(a, b, beta, clip=None):
    v = beta * ((e(a) + a) - (e(b) + b))
    return logistic(v if clip is None else max(-clip, min(clip, v)))


def kinks(fields, params):
    if params["clip"] is None:
        return [[] for _ in fields["chosen"]]
    edge = params["clip"] / params["beta"]
    return [[(abs(e(a) + a - e(b) - b) - edge) / (1 + exp(max(a, b)))] for a, b in ratios(**fields)]


ROWS = [
    # v = 0.1 (e^1 + 1 - e^b - b), b = (-1, 2.5): softplus(-v); -0.1 σ(-v) (1 + e^1) and 0.1 σ(-v) (1 + e^b)
    Row(
        item="χPO",
        fields=P1P2,
        params={"beta": 0.1, "clip": None},
        losses=[0.499100323819, 1.38465150478],
        gradients={"chosen": [-0.146099998861, -0.278718296549], "rejected": [0.053747185936, 0.988145178473]},
    ),
    # v = 0.44 stays, -1.10 becomes -1: softplus(1) without gradient
    Row(
        item="χPO, clipped",
        fields=P1P2,
        params={"beta": 0.1, "clip": 1.0},
        losses=[0.499100323819, 1.31326168752],
        gradients={"chosen": [-0.146099998861, 0.0], "ref_rejected": [-0.053747185936, 0.0]},
    ),
]

from witness._maths import log, logistic, mp, on_known_margin
from witness._rows import FLAT, P1P2, Row


@on_known_margin
def formula(h, margin, beta, alpha, offset="log"):
    if offset == "log" and margin == 0:
        return mp.zero  # log 0 = -∞: the logit is +∞
    return logistic(beta * h - alpha * (log(margin) if offset == "log" else margin))


ROWS = [
    # z - m = (1 - log 2, -0.75 + log 2): softplus of its negative; -0.5 σ of it
    Row(
        item="ODPO, log",
        fields={**P1P2, "margin": [2, 0.5]},
        params={"beta": 0.5, "alpha": 1.0, "offset": "log"},
        losses=[0.551444713932, 0.721977566263],
        gradients={"chosen": [-0.211941557617, -0.25710468886], "rejected": [0.211941557617, 0.25710468886]},
    ),
    # z - m = (1 - 1, -0.75 - 0.25): log 2 and softplus(1); -0.5 (1/2, σ(1))
    Row(
        item="ODPO, linear",
        fields={**P1P2, "margin": [2, 0.5]},
        params={"beta": 0.5, "alpha": 0.5, "offset": "linear"},
        losses=[0.69314718056, 1.31326168752],
        gradients={"chosen": [-0.25, -0.365529289315], "rejected": [0.25, 0.365529289315]},
    ),
    # a known margin of 0 asks for nothing
    Row(
        item="ODPO, log, of equals",
        fields={**FLAT, "margin": [0.0]},
        params={"beta": 1.0, "alpha": 1.0, "offset": "log"},
        losses=[0.0],
        gradients={"chosen": [0.0], "rejected": [0.0]},
    ),
]

from witness._maths import e, logistic, on_means
from witness._rows import SIMPO, Row


@on_means
def formula(p, q, beta, alpha, gamma):
    def reward(x):
        return x if alpha == 0 else (1 - e(-alpha * x)) / alpha

    return logistic(beta * (reward(p) - reward(q)) - gamma)


ROWS = [
    # R = 4 (1 - e^0.2) and 4 (1 - e^0.325), u = 10 (e^0.325 - e^0.2) - 0.1; -2.5 σ(-u) e^0.2 / 4, 2.5 σ(-u) e^0.325 /
    # 5
    Row(
        item="AlphaPO",
        fields=SIMPO,
        params={"beta": 2.5, "alpha": 0.25, "gamma": 0.1},
        losses=[0.196670552395],
        gradients={"chosen": [-0.136292351118], "rejected": [0.123551573467]},
    ),
    # α = 0 is SimPO: u = 2.5 * 0.5 - 1.375 = -0.125
    Row(
        item="AlphaPO, zero",
        fields=SIMPO,
        params={"beta": 2.5, "alpha": 0.0, "gamma": 1.375},
        losses=[0.757599035317],
        gradients={"chosen": [-0.332005858359], "rejected": [0.265604686687]},
    ),
]

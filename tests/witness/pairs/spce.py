from witness._maths import log, margins, mp, rows, sigma
from witness._rows import P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, label=None):
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), label or [mp.one] * len(chosen))
    return [-y * log(sigma(beta * h)) - (1 - y) * log(sigma(-beta * h)) for h, y in terms]


ROWS = [
    # z = (1, -0.75): 0.25 softplus(-1) + 0.75 softplus(1), softplus(0.75); 0.5 (σ(z) - y)
    Row(
        item="SPCE",
        fields={**P1P2, "label": [0.25, 1]},
        params={"beta": 0.5},
        losses=[1.06326168752, 1.13687100611],
        gradients={"chosen": [0.240529289315, -0.339589349588], "rejected": [-0.240529289315, 0.339589349588]},
    ),
]

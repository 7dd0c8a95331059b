from witness._maths import logistic, margins, rows
from witness._rows import P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, chosen_len, rejected_len, beta, alpha):
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), chosen_len, rejected_len)
    return [logistic(beta * h + alpha * (n_c - n_r)) for h, n_c, n_r in terms]


# lengths for P1 and P2
PAIR_LENGTHS = {"chosen_len": [4, 6], "rejected_len": [5, 3]}

ROWS = [
    # u = (1 + 0.1 (4 - 5), -0.75 + 0.1 (6 - 3)) = (0.9, -0.45): softplus(-u); -0.5 σ(-u)
    Row(
        item="R-DPO",
        fields={**P1P2, **PAIR_LENGTHS},
        params={"beta": 0.5, "alpha": 0.1},
        losses=[0.341153874732, 0.943248945997],
        gradients={"chosen": [-0.144525248687, -0.305319616975], "rejected": [0.144525248687, 0.305319616975]},
    ),
]

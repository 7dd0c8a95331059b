from witness._maths import logistic, per_token, rows
from witness._rows import LENGTHS, P1, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, chosen_len, rejected_len, beta):
    policy = rows(per_token(chosen, chosen_len), per_token(rejected, rejected_len))
    ref = rows(per_token(ref_chosen, chosen_len), per_token(ref_rejected, rejected_len))
    return [logistic(beta * (c - rc) - beta * (r - rr)) for (c, r), (rc, rr) in rows(policy, ref)]


ROWS = [
    # u = 5 (1/4 + 1/5) = 2.25: softplus(-2.25); -5/4 σ(-2.25) and 5/5 of it
    Row(
        item="LN-DPO",
        fields={**P1, **LENGTHS},
        params={"beta": 5.0},
        losses=[0.100206558917],
        gradients={"chosen": [-0.119186831124], "rejected": [0.0953494648991]},
    ),
]

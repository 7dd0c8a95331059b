from witness._maths import sigma
from witness._rows import PAIR, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta):
    sides = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [sigma(beta * (c - rc)) + 1 - sigma(beta * ((c - rc) - (r - rr))) for c, r, rc, rr in sides]


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # β a = 0.5, β (a - b) = 1: σ(.5) + σ(-1); 0.5 (σ'(.5) - σ'(1)), 0.5 σ'(1), with σ(.5) = .622459331202, σ'(.5) = .235003712202
    Row(
        item="APO-down",
        fields=PAIR,
        params={"beta": 0.5},
        losses=[0.891400752572],
        gradients={"chosen": [0.0191958894801], "rejected": [0.0983059666207]},
    ),
]

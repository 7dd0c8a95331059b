from witness._maths import sigma
from witness._rows import PAIR, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta):
    sides = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [1 - sigma(beta * (c - rc)) + sigma(beta * (r - rr)) for c, r, rc, rr in sides]


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # σ(-1) + σ(-1); -σ'(1), σ'(1)
    Row(
        item="APO-zero",
        fields=PAIR,
        params={"beta": 1.0},
        losses=[0.537882842740],
        gradients={"chosen": [-0.196611933241], "rejected": [0.196611933241], "ref_chosen": [0.196611933241]},
    ),
]

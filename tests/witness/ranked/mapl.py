from witness._maths import logistic, rows
from witness._rows import Row


def formula(logps, ref_logps, beta, intra_weight, inter_weight):
    out = []
    for row, ref in rows(logps, ref_logps):
        (a, b), (c, d) = ([beta * (row[k] - ref[k]) for k in pair] for pair in ((0, 1), (2, 3)))
        out.append(logistic(a - b) + intra_weight * logistic(a - c) + inter_weight * logistic(a - b - (c - d)))
    return out


# s( ) is the sigmoid
ROWS = [
    # d = (1, -1, 0, 0): p = 1, a = 0.5, e = 1; 1.5 softplus(-1) + 2 softplus(-0.5), and with S = s(-1), T = s(-0.5)
    # 0.5 times (-1.5 S - 2 T, 1.5 S, 2 T + 0.5 S, -0.5 S)
    Row(
        item="MAPL",
        fields={"logps": [[-1, -3, -2, -2]], "ref_logps": [[-2, -2, -2, -2]]},
        params={"beta": 0.5, "intra_weight": 2.0, "inter_weight": 0.5},
        losses=[1.41804649964],
        gradients={"logps": [[-0.579246734826, 0.201706066028, 0.444776024141, -0.0672353553425]]},
    ),
]

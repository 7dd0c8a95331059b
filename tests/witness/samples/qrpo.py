from witness._maths import exp, log, mp
from witness._rows import Row


def formula(logps, ref_logps, winrates, beta, transform="log", floor=None):
    out = []
    for row, ref, shares in zip(logps, ref_logps, winrates, strict=True):
        total = mp.zero
        for x, r, q in zip(row, ref, shares, strict=True):
            target = log(max(q, mp.mpf("0.01") if floor is None else floor)) if transform == "log" else q
            z = beta / (1 + beta) if transform == "log" else beta * (exp(1 / beta) - 1)
            total += (target - beta * log(z) - beta * (x - r)) ** 2 / 2
        out.append(total)
    return out


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # β = 1: log Z = -log 2; q = 1/2: T + log 2 - a = -a = -1; q = 0 counts 1/8: -3 log 2 + log 2 - 2 = -3.38629436112
    Row(
        item="QRPO, log",
        fields={"logps": [[-3.0, -4.0]], "ref_logps": [[-4.0, -6.0]], "winrates": [[0.5, 0.0]]},
        params={"beta": 1.0, "floor": 0.125},
        losses=[6.23349475010],
        gradients={"logps": [[1.0, 3.38629436112]]},
    ),
    # log Z = log(e - 1) = .541324854613: 1/2 - .541324854613 - 1, and -.541324854613 - 1, as no quantile is raised here
    Row(
        item="QRPO, identity",
        fields={"logps": [[-3.0, -3.0]], "ref_logps": [[-4.0, -4.0]], "winrates": [[0.5, 0.0]]},
        params={"beta": 1.0, "transform": "identity"},
        losses=[1.73001988014],
        gradients={"logps": [[1.04132485461, 1.54132485461]]},
    ),
]

from witness._maths import exp, log, mp
from witness._rows import Row


def formula(logps, scores, alpha, bias, regularizer="none", ref_logps=None, mask=None):
    out = []
    for b, row in enumerate(logps):
        kept = [k for k in range(len(row)) if mask is None or mask[b][k]]
        a = {k: alpha * (row[k] - ref_logps[b][k]) if regularizer == "kl" else alpha * row[k] for k in kept}
        terms = [
            -log(exp(a[high]) / (exp(a[high]) + exp(bias * a[low])))
            for high in kept
            for low in kept
            if scores[b][high] > scores[b][low]
        ]
        out.append(mp.fsum(terms) / len(terms) if terms else mp.zero)
    return out


ROWS = [
    # pairs (low, high): softplus(-0.75 + 0.5), softplus(-0.75 - 1), softplus(-0.25 - 1), over 3
    Row(
        item="CPL C",
        fields={"logps": [[-1.5, -0.5, 1.0]], "scores": [[0, 1, 2]]},
        params={"alpha": 1.0, "bias": 0.5},
        losses=[0.329364217221],
        gradients={"logps": [[0.0976451161910, -0.108824476567, -0.123582445619]]},
    ),
    # softplus(-1) / 3: the two pairs whose loss underflows to 0 still count
    Row(
        item="CPL C, underflow",
        fields={"logps": [[0, 1, 2000]], "scores": [[0, 1, 2]]},
        params={"alpha": 1.0, "bias": 1.0},
        losses=[0.104420562506],
    ),
]

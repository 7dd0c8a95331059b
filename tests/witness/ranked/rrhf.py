from witness._maths import mp, relu, rows
from witness._rows import Row


def formula(logps, lengths, scores, weight, length_power, nll, mask=None):
    out = []
    for b, row in enumerate(logps):
        kept = [k for k in range(len(row)) if mask is None or mask[b][k]]
        q = {k: row[k] / max(lengths[b][k], 1) ** length_power for k in kept}
        hinges = [relu(q[i] - q[j]) for i in kept for j in kept if scores[b][i] < scores[b][j]]
        best = [row[k] / max(lengths[b][k], 1) if nll == "mean" else row[k] for k in kept[:1]]
        out.append(weight * mp.fsum(hinges) - mp.fsum(best))
    return out


def kinks(fields, params):
    out = []
    for b, row in enumerate(fields["logps"]):
        q = [x / max(n, 1) ** params["length_power"] for x, n in rows(row, fields["lengths"][b])]
        out.append([q[i] - q[j] for i in range(len(q)) for j in range(i)])
    return out


RRHF = {"logps": [[-2, -6, -3]], "lengths": [[4, 4, 4]], "scores": [[2, 1, 0]]}

ROWS = [
    # q = (-0.5, -1.5, -0.75), of three pairs only the last is out of order: -0.75 + 1.5, and 2/4
    Row(
        item="RRHF",
        fields=RRHF,
        params={"weight": 1.0, "length_power": 1.0, "nll": "mean"},
        losses=[1.25],
        gradients={"logps": [[-0.25, -0.25, 0.25]]},
    ),
    # q = (-2, -6, -3)/2: 0.5 (-1.5 + 3) + 2; -1, then 0.5/2
    Row(
        item="RRHF, √length, sum",
        fields=RRHF,
        params={"weight": 0.5, "length_power": 0.5, "nll": "sum"},
        losses=[2.75],
        gradients={"logps": [[-1.0, -0.25, 0.25]]},
    ),
]

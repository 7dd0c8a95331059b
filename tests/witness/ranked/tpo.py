from witness._maths import logistic, mp, per_token, rows
from witness._rows import Row


def formula(logps, lengths, beta, nll_weight, nll="mean", length_normalized=False, gamma=0):
    tokens = mp.fsum(counts[0] for counts in lengths) / len(lengths)
    out = []
    for row, counts in rows(logps, lengths):
        means = per_token(row, counts)
        u = beta * (means[1] - means[2]) - gamma if length_normalized else beta * (row[1] - row[2])
        gold = {"mean": means[0], "batch_tokens": row[0] / tokens if tokens else row[0] * len(lengths), "sum": row[0]}[
            nll
        ]
        out.append(logistic(u) - nll_weight * gold)
    return out


TPO = {"logps": [[-2, -3, -6]], "lengths": [[4, 3, 4]]}

ROWS = [
    # u = 0.5 (-3 + 6) = 1.5: softplus(-1.5) + 2/4; -1/4, -0.5 σ(-1.5), 0.5 σ(-1.5)
    Row(
        item="TPO",
        fields=TPO,
        params={"beta": 0.5, "nll_weight": 1.0, "length_normalized": False, "gamma": 0.25},
        losses=[0.701413277983],
        gradients={"logps": [[-0.25, -0.0912127619032, 0.0912127619032]]},
    ),
    # u = 1.5 twice: softplus(-1.5) + 2/8 and 6/8, 8 being the mean of 4 and 12 gold tokens; -1/8, -0.5 σ(-1.5), 0.5 σ(-1.5)
    Row(
        item="TPO, gold tokens of the batch",
        fields={"logps": [[-2, -3, -6], [-6, -3, -6]], "lengths": [[4, 3, 4], [12, 3, 4]]},
        params={"beta": 0.5, "nll_weight": 1.0, "nll": "batch_tokens"},
        losses=[0.451413277983, 0.951413277983],
        gradients={"logps": [[-0.125, -0.0912127619032, 0.0912127619032]] * 2},
    ),
    # u = 0.5 (-1 + 1.5) - 0.25 = 0: log 2 + 2/4; -1/4, -0.25/3, 0.25/4
    Row(
        item="TPO-L",
        fields=TPO,
        params={"beta": 0.5, "nll_weight": 1.0, "length_normalized": True, "gamma": 0.25},
        losses=[1.19314718056],
        gradients={"logps": [[-0.25, -0.0833333333333, 0.0625]]},
    ),
]

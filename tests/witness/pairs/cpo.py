from witness._maths import log, mp, rows, sigma
from witness._rows import Row


def formula(chosen, rejected, beta, nll_weight, nll, label_smoothing=0, chosen_len=None, rejected_len=None):
    count = [1] * len(chosen) if nll == "sum" else [max(n, 1) for n in chosen_len]
    if nll == "batch_tokens":
        count = [max(mp.fsum(chosen_len), 1) / len(chosen)] * len(chosen)
    out = []
    for c, r, n in rows(chosen, rejected, count):
        z = beta * (c - r)
        out.append(-(1 - label_smoothing) * log(sigma(z)) - label_smoothing * log(sigma(-z)) - nll_weight * c / n)
    return out


ROWS = [
    # softplus(-0.5 * 2) + 2 * 10/4; -0.5 σ(-1) - 2/4
    Row(
        item="CPO, mean",
        fields={"chosen": [-10], "rejected": [-12], "chosen_len": [4], "rejected_len": [6]},
        params={"beta": 0.5, "nll_weight": 2.0, "nll": "mean"},
        losses=[5.31326168752],
        gradients={"chosen": [-0.634470710685], "rejected": [0.134470710685]},
    ),
    # softplus(-1) + 0.1 * 10; -0.5 σ(-1) - 0.1
    Row(
        item="CPO, sum",
        fields={"chosen": [-10], "rejected": [-12]},
        params={"beta": 0.5, "nll_weight": 0.1, "nll": "sum"},
        losses=[1.31326168752],
        gradients={"chosen": [-0.234470710685], "rejected": [0.134470710685]},
    ),
    # z = 1: softplus(-1) + 0.2 * 1; -0.5 (σ(-1) - 0.2), as softplus(z) = softplus(-z) + z
    Row(
        item="CPO, smoothed",
        fields={"chosen": [-10], "rejected": [-12]},
        params={"beta": 0.5, "nll_weight": 0.0, "nll": "sum", "label_smoothing": 0.2},
        losses=[0.51326168752],
        gradients={"chosen": [-0.0344707106849], "rejected": [0.0344707106849]},
    ),
    # z = 1 twice: softplus(-1) + 10/8 and 2/8, 8 being the mean of 12 and 4 tokens; -0.5 σ(-1) - 1/8
    Row(
        item="CPO, chosen tokens of the batch",
        fields={"chosen": [-10, -2], "rejected": [-12, -4], "chosen_len": [12, 4], "rejected_len": [6, 1]},
        params={"beta": 0.5, "nll_weight": 1.0, "nll": "batch_tokens"},
        losses=[1.56326168752, 0.56326168752],
        gradients={"chosen": [-0.259470710685] * 2, "rejected": [0.134470710685] * 2},
    ),
    # softplus(-1) + 2/1; -σ(-1) - 1: one token in all
    Row(
        item="CPO, one chosen token in the batch",
        fields={"chosen": [-2], "rejected": [-3], "chosen_len": [1], "rejected_len": [2]},
        params={"beta": 1.0, "nll_weight": 1.0, "nll": "batch_tokens"},
        losses=[2.31326168752],
        gradients={"chosen": [-1.26894142137], "rejected": [0.26894142137]},
    ),
]

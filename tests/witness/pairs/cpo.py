from witness._maths import log, per_token, rows, sigma
from witness._rows import Row


def formula(chosen, rejected, beta, nll_weight, nll, chosen_len=None, rejected_len=None):
    lengths = chosen_len if nll == "mean" else [1] * len(chosen)
    terms = rows(chosen, rejected, per_token(chosen, lengths))
    return [-log(sigma(beta * (c - r))) - nll_weight * p for c, r, p in terms]


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
]

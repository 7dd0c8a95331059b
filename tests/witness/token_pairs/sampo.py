from witness._maths import logistic, token_ratios, weighted
from witness._rows import PADDED, TOKENS, Row


def formula(chosen_weights, rejected_weights, beta, **fields):
    out = []
    for i, on_w, on_l, a, b in token_ratios(**fields):
        w = [x if v else 0 for x, v in zip(chosen_weights[i], on_w, strict=True)]
        v = [x if v else 0 for x, v in zip(rejected_weights[i], on_l, strict=True)]
        out.append(logistic(beta * (weighted(w, a) - weighted(v, b))))
    return out


# numbers from the formulas in 40 digits
ROWS = [
    # the second token of y_w was drawn: u = 0.1 * (0.5 + 1)
    Row(
        item="SamPO",
        fields={**TOKENS, "chosen_weights": [[0, 1]], "rejected_weights": [[1]]},
        params={"beta": 0.1},
        losses=[0.6209570477895],
        gradients={
            "chosen": [[0, -0.04625701546563]],
            "rejected": [[0.04625701546563]],
            "ref_chosen": [[0, 0.04625701546563]],
        },
    ),
    # the first was, and a weight outside the mask does not count: u = 0.4 * (0.5 + 1)
    Row(
        item="SamPO, masked",
        fields={**PADDED, "chosen_weights": [[1, 0]], "rejected_weights": [[1, 1]]},
        params={"beta": 0.4},
        losses=[0.4374879504859],
        gradients={
            "chosen": [[-0.1417374775097, 0]],
            "rejected": [[0.1417374775097, 0]],
            "ref_rejected": [[-0.1417374775097, 0]],
        },
    ),
]

from witness._maths import logistic, token_ratios, weighted
from witness._rows import PADDED, TOKENS, Row


def formula(beta, **fields):
    return [logistic(beta * (weighted(on_w, a) - weighted(on_l, b))) for _, on_w, on_l, a, b in token_ratios(**fields)]


# numbers from the formulas in 40 digits
ROWS = [
    # the step is the second token of y_w: u = 0.5 * (0.5 + 1)
    Row(
        item="Step-DPO",
        fields={**PADDED, "chosen_mask": [[False, True]]},
        params={"beta": 0.5},
        losses=[0.3868710061149],
        gradients={
            "chosen": [[0, -0.1604106504123]],
            "rejected": [[0.1604106504123, 0]],
            "ref_chosen": [[0, 0.1604106504123]],
        },
    ),
    # everything is the step: u = 0.4 * 2
    Row(
        item="Step-DPO of whole completions",
        fields={**TOKENS, "chosen_mask": [[True, True]], "rejected_mask": [[True]]},
        params={"beta": 0.4},
        losses=[0.3711006659478],
        gradients={
            "chosen": [[-0.124010207549, -0.124010207549]],
            "rejected": [[0.124010207549]],
            "ref_rejected": [[-0.124010207549]],
        },
    ),
]

from witness._maths import logistic, margins, rows
from witness._rows import P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, annotator, beta, weights):
    groups = [int(group) for group in annotator]
    pairs = rows(groups, margins(chosen, rejected, ref_chosen, ref_rejected))
    return [weights[g] * logistic(beta * h) * len(groups) / groups.count(g) for g, h in pairs]


# s( ) is the sigmoid
ROWS = [
    # each group has one of the two pairs: 0.25 * 2 softplus(-1) and 0.75 * 2 softplus(0.75)
    Row(
        item="GR-DPO",
        fields={**P1P2, "annotator": [0, 1]},
        params={"beta": 0.5, "weights": (0.25, 0.75)},
        losses=[0.156630843759, 1.70530650917],
        gradients={
            "chosen": [-0.0672353553425, -0.509384024382],
            "ref_chosen": [0.0672353553425, 0.509384024382],
        },
    ),
    # both pairs are of group 1: 0.5 * 2 / 2 of each
    Row(
        item="GR-DPO, one group",
        fields={**P1P2, "annotator": [1, 1]},
        params={"beta": 0.5, "weights": (0.5, 0.5)},
        losses=[0.156630843759, 0.568435503057],
        gradients={
            "rejected": [0.0672353553425, 0.169794674794],
        },
    ),
]

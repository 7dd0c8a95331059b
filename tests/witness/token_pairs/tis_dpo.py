from witness._maths import logistic, mp, rows, steps
from witness._rows import Row


def formula(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    chosen_weights,
    rejected_weights,
    beta,
    chosen_mask=None,
    rejected_mask=None,
):
    def weighted(policy, ref, weights, mask, b):
        columns = (steps(values, mask, b) for values in (policy, ref, weights))
        return mp.fsum(w * (p - r) for p, r, w in rows(*columns))

    return [
        logistic(
            beta * weighted(chosen, ref_chosen, chosen_weights, chosen_mask, b)
            - beta * weighted(rejected, ref_rejected, rejected_weights, rejected_mask, b)
        )
        for b in range(len(chosen))
    ]


TIS = {
    "chosen": [[-1, -2]],
    "rejected": [[-2, -1, -9]],
    "ref_chosen": [[-1.5, -2.5]],
    "ref_rejected": [[-1, -1.5, 0]],
    "chosen_weights": [[0.5, 1]],
    "rejected_weights": [[1, 2, 1]],
    "rejected_mask": [[True, True, False]],
}

ROWS = [
    # a = 0.5 * 0.5 + 0.5 = 0.75, b = -1 + 2 * 0.5 = 0: z = 0.6; -0.8 σ(-0.6) w_t
    Row(
        item="TIS-DPO",
        fields=TIS,
        params={"beta": 0.8},
        losses=[0.437487950486],
        gradients={"chosen": [[-0.14173747751, -0.283474955019]], "rejected": [[0.283474955019, 0.566949910039, 0.0]]},
    ),
]

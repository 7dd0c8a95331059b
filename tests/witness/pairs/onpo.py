from witness._rows import Row


def formula(chosen, rejected, opponents_chosen, opponents_rejected, eta):
    rows = zip(chosen, rejected, opponents_chosen[0], opponents_rejected[0], strict=True)
    return [((c - r) - (oc - other) - eta / 2) ** 2 for c, r, oc, other in rows]


# numbers from the formulas in 40 digits
ROWS = [
    # (2 - 0.5) - 0.25 = 1.25 and (-1 + 3) - 0.25 = 1.75
    Row(
        item="ONPO",
        fields={
            "chosen": [-10, -8],
            "rejected": [-12, -7],
            "opponents_chosen": [[-10.5, -9]],
            "opponents_rejected": [[-11, -6]],
        },
        params={"eta": 0.5},
        losses=[1.5625, 3.0625],
        gradients={
            "chosen": [2.5, 3.5],
            "rejected": [-2.5, -3.5],
            "opponents_chosen": [[-2.5, -3.5]],
            "opponents_rejected": [[2.5, 3.5]],
        },
    ),
    # at its target: the policy has gained η/2 on the opponent
    Row(
        item="ONPO at its minimum",
        fields={"chosen": [-4], "rejected": [-5], "opponents_chosen": [[-3]], "opponents_rejected": [[-3]]},
        params={"eta": 2.0},
        losses=[0],
        gradients={"chosen": [0], "rejected": [0]},
    ),
]

from witness._rows import Row


def formula(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    opponents_chosen,
    opponents_rejected,
    eta,
    tau,
    length_normalized=False,
    chosen_len=None,
    rejected_len=None,
):
    tau = eta / 3 if tau is None else tau
    n_chosen = [max(n, 1) if length_normalized else 1 for n in chosen_len or [1] * len(chosen)]
    n_rejected = [max(n, 1) if length_normalized else 1 for n in rejected_len or [1] * len(chosen)]

    def gap(c, r, b):
        return c[b] / n_chosen[b] - r[b] / n_rejected[b]

    return [
        (
            gap(chosen, rejected, b)
            - tau / eta * gap(ref_chosen, ref_rejected, b)
            - (eta - tau) / eta * gap(opponents_chosen[0], opponents_rejected[0], b)
            - 1 / (2 * eta)
        )
        ** 2
        for b in range(len(chosen))
    ]


# D(π) = 2, D(ref) = -0.4, D(π_t) = 1
INPO = {
    "chosen": [-10],
    "rejected": [-12],
    "ref_chosen": [-11],
    "ref_rejected": [-10.6],
    "opponents_chosen": [[-10.5]],
    "opponents_rejected": [[-11.5]],
}

ROWS = [
    # h = 2 - 0.25 (-0.4) - 0.75 = 1.35, target 0.5: 0.85²; 1.7, times -0.25 and -0.75
    Row(
        item="INPO A",
        fields=INPO,
        params={"eta": 1.0, "tau": 0.25},
        losses=[0.7225],
        gradients={"chosen": [1.7], "ref_chosen": [-0.425], "opponents_chosen": [[-1.275]]},
    ),
    # h = 2 + 0.4 = 2.4, target 1: 1.4²; 2.8, and the last iterate drops out
    Row(
        item="INPO B, reference only",
        fields=INPO,
        params={"eta": 0.5, "tau": 0.5},
        losses=[1.96],
        gradients={"chosen": [2.8], "opponents_chosen": [[0.0]]},
    ),
    # h = 2 - 1 = 1, target 2: (-1)²; -2, and the reference drops out
    Row(
        item="INPO B, self-play",
        fields=INPO,
        params={"eta": 0.25, "tau": 0.0},
        losses=[1.0],
        gradients={"chosen": [-2.0], "ref_chosen": [0.0]},
    ),
]

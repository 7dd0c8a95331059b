from witness._maths import exp, log, mp
from witness._rows import Row


def formula(
    chosen,
    rejected,
    alpha,
    bias,
    discount=1,
    regularizer="none",
    bc_weight=0,
    bc_data="all",
    ref_chosen=None,
    ref_rejected=None,
    chosen_mask=None,
    rejected_mask=None,
    label=None,
):
    def valid_steps(values, masks, b):
        return [v for t, v in enumerate(values[b]) if masks is None or masks[b][t]]

    def advantage(policy, ref, masks, b):
        steps = valid_steps(policy, masks, b)
        if regularizer == "kl":
            steps = [p - r for p, r in zip(steps, valid_steps(ref, masks, b), strict=True)]
        return mp.fsum(discount**t * alpha * step for t, step in enumerate(steps))

    def negative_mean(policy, masks, b):
        steps = valid_steps(policy, masks, b)
        return -mp.fsum(steps) / max(len(steps), 1)

    out = []
    for b in range(len(chosen)):
        y = mp.one if label is None else label[b]
        a_c, a_r = advantage(chosen, ref_chosen, chosen_mask, b), advantage(rejected, ref_rejected, rejected_mask, b)
        chosen_cins = exp(a_c) / (exp(a_c) + exp(bias * a_r))
        rejected_wins = exp(a_r) / (exp(a_r) + exp(bias * a_c))
        cloned = []
        if bc_data == "all" or y >= mp.mpf("0.5"):
            cloned.append(negative_mean(chosen, chosen_mask, b))
        if bc_data == "all" or y <= mp.mpf("0.5"):
            cloned.append(negative_mean(rejected, rejected_mask, b))
        out.append(-y * log(chosen_cins) - (1 - y) * log(rejected_wins) + bc_weight * mp.fsum(cloned) / len(cloned))
    return out


CPL_A = {
    "chosen": [[-1, -2, -1]],
    "rejected": [[-2, -1, 0]],
    "rejected_mask": [[True, True, False]],
}
CPL_B = {
    "chosen": [[-1, -1]],
    "rejected": [[-2, -1.5]],
    "ref_chosen": [[-1.5, -1]],
    "ref_rejected": [[-1, -2]],
    "label": [0.75],
}

ROWS = [
    # A+ = 0.5 (-1 - 1.8 - 0.81) = -1.805, A- = 0.5 (-2 - 0.9) = -1.45: softplus(-0.725 + 1.805); -σ(1.08) 0.5 γ^t
    Row(
        item="CPL A",
        fields=CPL_A,
        params={"alpha": 0.5, "bias": 0.5, "discount": 0.9},
        losses=[1.37236772186],
        gradients={
            "chosen": [[-0.373246991669, -0.335922292502, -0.302330063252]],
            "rejected": [[0.186623495834, 0.167961146251, 0.0]],
        },
    ),
    # A_c = 2 * 0.5 = 1, A_r = 2 (-1 + 0.9 * 0.5) = -1.1: 0.75 softplus(-0.55 - 1) + 0.25 softplus(0.5 + 1.1);
    # the paper's y = 0.25 is the probability of the second segment, so the first is better with 0.75
    Row(
        item="CPL B",
        fields=CPL_B,
        params={"alpha": 2.0, "bias": 0.5, "discount": 0.9, "regularizer": "kl"},
        losses=[0.590332534412],
        gradients={
            "chosen": [[-0.0546248059626, -0.0491623253663]],
            "rejected": [[-0.284694491444, -0.256225042300]],
        },
    ),
]

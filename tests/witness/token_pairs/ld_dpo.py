from witness._maths import logistic, token_ratios, weighted
from witness._rows import PADDED, TOKENS, Row


def formula(beta, alpha, reference, **fields):
    out = []
    for i, on_w, on_l, _, _ in token_ratios(**fields):
        shorter, score = min(sum(on_w), sum(on_l)), []
        for side, on in (("chosen", on_w), ("rejected", on_l)):
            weights = [(1 if sum(on[: t + 1]) <= shorter else alpha) if v else 0 for t, v in enumerate(on)]
            theirs = weights if reference == "weighted" else on
            score.append(weighted(weights, fields[side][i]) - weighted(theirs, fields[f"ref_{side}"][i]))
        out.append(logistic(beta * (score[0] - score[1])))
    return out


# numbers from the formulas in 40 digits
ROWS = [
    # the shorter side has 1 valid token: 0.5 + 0.5 * 0.5 = 0.75, and -1: u = 0.1 * 1.75
    Row(
        item="LD-DPO",
        fields=PADDED,
        params={"beta": 0.1, "alpha": 0.5, "reference": "weighted"},
        losses=[0.609470430663],
        gradients={
            "chosen": [[-0.04563613127629, -0.02281806563815]],
            "rejected": [[0.04563613127629, 0]],
            "ref_chosen": [[0.04563613127629, 0.02281806563815]],
        },
    ),
    # the sides exchanged: u = -0.1 * 1.75
    Row(
        item="LD-DPO, a longer rejected completion",
        fields={
            "chosen": TOKENS["rejected"],
            "rejected": TOKENS["chosen"],
            "ref_chosen": TOKENS["ref_rejected"],
            "ref_rejected": TOKENS["ref_chosen"],
        },
        params={"beta": 0.1, "alpha": 0.5, "reference": "weighted"},
        losses=[0.784470430663],
        gradients={
            "chosen": [[-0.05436386872371]],
            "rejected": [[0.05436386872371, 0.02718193436186]],
            "ref_rejected": [[-0.05436386872371, -0.02718193436186]],
        },
    ),
    # nothing beyond the shorter side: 0.5, and -1: u = 0.1 * 1.5
    Row(
        item="LD-DPO, the common length alone",
        fields=PADDED,
        params={"beta": 0.1, "alpha": 0.0, "reference": "weighted"},
        losses=[0.6209570477895],
        gradients={"chosen": [[-0.04625701546563, 0]], "rejected": [[0.04625701546563, 0]]},
    ),
    # -1 - 0.5 * 2 + 1.5 + 2.5 = 2, and -1: u = 0.1 * 3
    Row(
        item="LD-DPO, reference in full",
        fields=TOKENS,
        params={"beta": 0.1, "alpha": 0.5, "reference": "summed"},
        losses=[0.5543552444685],
        gradients={
            "chosen": [[-0.04255574831883, -0.02127787415942]],
            "rejected": [[0.04255574831883]],
            "ref_chosen": [[0.04255574831883, 0.04255574831883]],
        },
    ),
    # the same without the policy's second token: -1 + 1.5 + 2.5 = 3, and -1: u = 0.1 * 4
    Row(
        item="LD-DPO, the common length alone, reference in full",
        fields=TOKENS,
        params={"beta": 0.1, "alpha": 0.0, "reference": "summed"},
        losses=[0.5130152524],
        gradients={
            "chosen": [[-0.04013123398875, 0]],
            "rejected": [[0.04013123398875]],
            "ref_chosen": [[0.04013123398875, 0.04013123398875]],
        },
    ),
]

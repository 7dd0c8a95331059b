from witness._maths import exp, log, mp, rows, sigma, steps
from witness._rows import Row


def constant(fields, params):
    """W of every pair."""
    out = []
    for b in range(len(fields["chosen"])):
        total = mp.zero
        for side in ("chosen", "rejected"):
            mask = fields.get(f"{side}_mask")
            gains = steps(fields[side], mask, b)
            if params["collision"]:
                gains = [p - c for p, c in rows(gains, steps(fields[f"{side}_collision"], mask, b))]
            total += mp.fsum(gains) / max(len(gains), 1)
        out.append(min(exp(total), mp.one) if params["clamp"] else exp(total))
    return out


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing, collision, clamp, held=None, **fields):
    fields |= {"chosen": chosen, "rejected": rejected}
    weights = held or constant(fields, {"collision": collision, "clamp": clamp})
    out = []
    for b, weight in enumerate(weights):
        sums = [
            mp.fsum(steps(values, fields.get(mask), b))
            for values, mask in (
                (chosen, "chosen_mask"),
                (rejected, "rejected_mask"),
                (ref_chosen, "chosen_mask"),
                (ref_rejected, "rejected_mask"),
            )
        ]
        z = beta * ((sums[0] - sums[1]) - (sums[2] - sums[3]))
        out.append(weight * (-(1 - label_smoothing) * log(sigma(z)) - label_smoothing * log(sigma(-z))))
    return out


# a = 0.5 + 0.5, b = -1 + 0 without the masked token
WPO = {
    "chosen": [[-1, -0.5]],
    "rejected": [[-2, -1, -9]],
    "ref_chosen": [[-1.5, -1]],
    "ref_rejected": [[-1, -1, 0]],
    "chosen_collision": [[-0.5, -0.5]],
    "rejected_collision": [[-1, -1.5, 0]],
    "rejected_mask": [[True, True, False]],
}

ROWS = [
    # M = (-0.5 + 0)/2 and (-1 + 0.5)/2, W = e^-0.5; z = 0.5 (1 + 1): W (softplus(-1) + 0.1); 0.5 W (0.1 - σ(-1)) per
    # valid token
    Row(
        item="WPO",
        fields=WPO,
        params={"beta": 0.5, "label_smoothing": 0.1, "collision": True, "clamp": True},
        losses=[0.250655883964],
        gradients={
            "chosen": [[-0.0512340758782, -0.0512340758782]],
            "rejected": [[0.0512340758782, 0.0512340758782, 0.0]],
        },
    ),
    # without c_t: M = -0.75 and -1.5, W = e^-2.25: W softplus(-1); -0.5 W σ(-1)
    Row(
        item="WPO, no collision",
        fields=WPO,
        params={"beta": 0.5, "label_smoothing": 0.0, "collision": False, "clamp": True},
        losses=[0.0330175389494],
        gradients={
            "chosen": [[-0.0141731086325, -0.0141731086325]],
            "ref_rejected": [[-0.0141731086325, -0.0141731086325, 0.0]],
        },
    ),
    # M = -0.25 and (1 + 3)/2, W = e^1.75
    Row(
        item="WPO, unclamped",
        fields={**WPO, "rejected_collision": [[-3, -4, 0]]},
        params={"beta": 0.5, "label_smoothing": 0.0, "collision": True, "clamp": False},
        losses=[1.80269654528],
        gradients={
            "chosen": [[-0.773825511552, -0.773825511552]],
            "ref_rejected": [[-0.773825511552, -0.773825511552, 0.0]],
        },
    ),
    # the same with W = min(1, e^1.75): softplus(-1); -0.5 σ(-1)
    Row(
        item="WPO, clamped",
        fields={**WPO, "rejected_collision": [[-3, -4, 0]]},
        params={"beta": 0.5, "label_smoothing": 0.0, "collision": True, "clamp": True},
        losses=[0.313261687518],
        gradients={
            "chosen": [[-0.134470710685, -0.134470710685]],
            "ref_rejected": [[-0.134470710685, -0.134470710685, 0.0]],
        },
    ),
]

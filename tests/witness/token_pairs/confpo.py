from witness._maths import exp, log, logistic, valid
from witness._rows import Row


def constant(fields, params=None):
    """Which tokens of chosen and of rejected ConfPO selects, as places, by pair; equal ones compared as log-probs."""
    out = []
    for i in range(len(fields["chosen"])):
        chosen = []
        for side in ("chosen", "rejected"):
            row, mask = fields[side][i], fields.get(f"{side}_mask")
            places = [t for t, on in enumerate(valid(mask and mask[i], row)) if on]
            level = log(sum(exp(row[t]) for t in places) / len(places)) if places else 0
            flat = len({row[t] for t in places}) == 1  # their mean is rounded
            chosen.append([t for t in places if row[t] < level and not flat])
        out.append(chosen)
    return out


def formula(chosen, rejected, beta, gamma_beta_ratio, chosen_mask=None, rejected_mask=None, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_mask": chosen_mask, "rejected_mask": rejected_mask}
    out = []
    for ours, theirs, (w, v) in zip(chosen, rejected, held or constant(fields), strict=True):
        if not w or not v:
            out.append(0)
            continue
        gap = sum(ours[t] for t in w) / len(w) - sum(theirs[t] for t in v) / len(v)
        out.append(logistic(beta * gap - beta * gamma_beta_ratio))
    return out


# numbers from the formulas in 40 digits
ROWS = [
    # logs of the mean probabilities -1.065 and -1.403: -2 and -3.5 lie below, and all but -0.5; u = 2 (-2.75 + 2.5) - 0.5 =
    # -1; slopes -2 σ(1) / 2, and 2 σ(1) / 3
    Row(
        item="ConfPO",
        fields={"chosen": [[-0.5, -2, -3.5, -0.5]], "rejected": [[-0.5, -1.5, -4, -2]]},
        params={"beta": 2.0, "gamma_beta_ratio": 0.25},
        losses=[1.31326168752],
        gradients={
            "chosen": [[0, -0.73105857863, -0.73105857863, 0]],
            "rejected": [[0, 0.487372385753, 0.487372385753, 0.487372385753]],
        },
    ),
    # -2 against the mean of -2 and -3, u = 1.5 * 0.5 - 0.6 = 0.15; a constant side selects nothing; the mean of -3 and -2,
    # below -1.691, against -3, the same u; nor does a side of one token, nor an empty one
    Row(
        item="ConfPO, ragged",
        fields={
            "chosen": [[-1, -2, -9], [-1, -1, -5], [-3, -1, -2], [-4, -9, -9], [-1, -2, -3]],
            "rejected": [[-0.5, -2, -3, -7], [-2, -3, -1, -1], [-1, -3, -9, 0], [-1, -2, -3, -4], [-1, -2, -3, -4]],
            "chosen_mask": [[True, True, False]] * 2 + [[True] * 3, [True, False, False], [True] * 3],
            "rejected_mask": [
                [True, True, True, False],
                [True] * 4,
                [True, True, False, False],
                [True] * 4,
                [False] * 4,
            ],
        },
        params={"beta": 1.5, "gamma_beta_ratio": 0.4},
        losses=[0.62095704779, 0, 0.62095704779, 0, 0],
        gradients={
            "chosen": [[0, -0.693855231984, 0], [0, 0, 0], [-0.346927615992, 0, -0.346927615992], [0, 0, 0], [0, 0, 0]],
            "rejected": [
                [0, 0.346927615992, 0.346927615992, 0],
                [0, 0, 0, 0],
                [0, 0.693855231984, 0, 0],
                [0, 0, 0, 0],
                [0, 0, 0, 0],
            ],
        },
    ),
]

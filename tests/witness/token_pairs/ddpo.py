from witness._maths import logistic, token_ratios, weighted
from witness._rows import TOKENS, Row


def formula(chosen_changed, rejected_changed, beta, gamma, normalize, **fields):
    out = []
    for i, on_w, on_l, a, b in token_ratios(**fields):
        score = []
        for on, changed, ratios in ((on_w, chosen_changed[i], a), (on_l, rejected_changed[i], b)):
            weights = [(gamma if c else 1) if v else 0 for v, c in zip(on, changed, strict=True)]
            score.append(weighted(weights, ratios) / ((sum(weights) or 1) if normalize else 1))
        out.append(logistic(beta * (score[0] - score[1])))
    return out


CHANGED = {"chosen_changed": [[False, True]], "rejected_changed": [[True]]}

# numbers from the formulas in 40 digits
ROWS = [
    # weights 1, 5 over 6 and 5 over 5: S = 3/6 and -1, u = 0.5 * 1.5 = 0.75; slopes -0.5 σ(-u) w/N
    Row(
        item="DDPO, divided by the weights",
        fields={**TOKENS, **CHANGED},
        params={"beta": 0.5, "gamma": 5.0, "normalize": True},
        losses=[0.3868710061149],
        gradients={
            "chosen": [[-0.02673510840205, -0.1336755420103]],
            "rejected": [[0.1604106504123]],
            "ref_chosen": [[0.02673510840205, 0.1336755420103]],
        },
    ),
    # weights 1, 2 and 2: S = 1.5 and -2, u = 0.5 * 3.5 = 1.75
    Row(
        item="DDPO, weighted sums",
        fields={**TOKENS, **CHANGED},
        params={"beta": 0.5, "gamma": 2.0, "normalize": False},
        losses=[0.1602241504381],
        gradients={
            "chosen": [[-0.07402359901584, -0.1480471980317]],
            "rejected": [[0.1480471980317]],
            "ref_rejected": [[-0.1480471980317]],
        },
    ),
]

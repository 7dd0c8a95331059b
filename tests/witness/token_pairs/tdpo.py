from witness._maths import logistic, token_ratios, weighted
from witness._rows import TOKENS, Row


def constant(fields, params):
    """TDPO2 holds the KL of the chosen side."""
    return fields["chosen_kl"] if params["version"] == "tdpo2" else None


def formula(chosen_kl, rejected_kl, beta, alpha, version, held=None, **fields):
    out = []
    for i, on_w, on_l, a, b in token_ratios(**fields):
        kept = chosen_kl if held is None else held
        gap = weighted(on_l, rejected_kl[i]) - weighted(on_w, kept[i])
        out.append(
            logistic(beta * (weighted(on_w, a) - weighted(on_l, b) - (1 if version == "tdpo1" else alpha) * gap))
        )
    return out


KLS = {"chosen_kl": [[0.1, 0.2]], "rejected_kl": [[0.8]]}

# numbers from the formulas in 40 digits
ROWS = [
    # h = 2, D_l - D_w = 0.8 - 0.3 = 0.5: u = 0.1 * (2 - 0.5) = 0.15
    Row(
        item="TDPO1",
        fields={**TOKENS, **KLS},
        params={"beta": 0.1, "alpha": 0.5, "version": "tdpo1"},
        losses=[0.6209570477895],
        gradients={
            "chosen": [[-0.04625701546563, -0.04625701546563]],
            "rejected": [[0.04625701546563]],
            "chosen_kl": [[-0.04625701546563, -0.04625701546563]],
            "rejected_kl": [[0.04625701546563]],
        },
    ),
    # u = 0.1 * (2 - 0.5 * 0.5) = 0.175, D_w constant
    Row(
        item="TDPO2",
        fields={**TOKENS, **KLS},
        params={"beta": 0.1, "alpha": 0.5, "version": "tdpo2"},
        losses=[0.609470430663],
        gradients={
            "chosen": [[-0.04563613127629, -0.04563613127629]],
            "rejected": [[0.04563613127629]],
            "chosen_kl": [[0, 0]],
            "rejected_kl": [[0.02281806563815]],
        },
    ),
]

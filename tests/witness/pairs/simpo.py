from witness._maths import log, mean_gaps, mp, per_token, sigma
from witness._rows import SIMPO, Row


def formula(
    chosen,
    rejected,
    chosen_len,
    rejected_len,
    beta,
    label_smoothing=0,
    smoothing="trl",
    link="logistic",
    gamma=None,
    gamma_beta_ratio=None,
):
    if gamma is None:
        gamma = beta * (mp.mpf("0.25") if gamma_beta_ratio is None else gamma_beta_ratio)
    out = []
    for c, r in zip(per_token(chosen, chosen_len), per_token(rejected, rejected_len), strict=True):
        z = beta * c - beta * r - gamma
        flipped = -z if smoothing == "trl" else beta * r - beta * c - gamma
        logistic = -(1 - label_smoothing) * log(sigma(z)) - label_smoothing * log(sigma(flipped))
        out.append(max(mp.zero, 1 - z) if link == "hinge" else logistic)
    return out


def kinks(fields, params):
    gamma = params["gamma"]
    if gamma is None:
        gamma = params["beta"] * (mp.mpf("0.25") if params["gamma_beta_ratio"] is None else params["gamma_beta_ratio"])
    return [[1 - params["beta"] * m + gamma] if params["link"] == "hinge" else [] for m in mean_gaps(fields)]


SIMPO_PARAMS = {"beta": 2.5, "gamma_beta_ratio": 0.55, "label_smoothing": 0.1}

ROWS = [
    # softplus(0.125) - 0.0125; 2.5 (σ(-0.125) - 0.9) / 4, and / -5
    Row(
        item="SimPO A, trl",
        fields=SIMPO,
        params={**SIMPO_PARAMS, "smoothing": "trl"},
        losses=[0.745099035317],
        gradients={"chosen": [-0.269505858359], "rejected": [0.215604686687]},
    ),
    # 0.9 softplus(0.125) + 0.1 softplus(2.625); 2.5 (0.1 σ(2.625) - 0.9 σ(0.125)) / 4, and / -5
    Row(
        item="SimPO A, swap",
        fields=SIMPO,
        params={**SIMPO_PARAMS, "smoothing": "swap"},
        losses=[0.951332751750],
        gradients={"chosen": [-0.240526940719], "rejected": [0.192421552575]},
    ),
    # 1 + 0.125; -2.5/4 and 2.5/5
    Row(
        item="SimPO B",
        fields=SIMPO,
        params={"beta": 2.5, "gamma": 1.375, "link": "hinge"},
        losses=[1.125],
        gradients={"chosen": [-0.625], "rejected": [0.5]},
    ),
    # Δ = -0.1 + 1.3 = 1.2, z = 3 - 1.375 = 1.625 is beyond the margin
    Row(
        item="SimPO B, beyond the margin",
        fields={**SIMPO, "chosen": [-0.4]},
        params={"beta": 2.5, "gamma": 1.375, "link": "hinge"},
        losses=[0.0],
        gradients={"chosen": [0.0], "rejected": [0.0]},
    ),
    # z = 1: at its kink a hinge has derivative 0
    Row(
        item="SimPO, at its kink",
        fields={"chosen": [0.0], "rejected": [-1.0], "chosen_len": [1.0], "rejected_len": [1.0]},
        params={"beta": 1.0, "gamma": 0.0, "link": "hinge"},
        losses=[0.0],
        gradients={"chosen": [0.0], "rejected": [0.0]},
    ),
]

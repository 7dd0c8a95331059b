from witness._maths import exp, mp
from witness._rows import Row
from witness.samples.sppo import formula as sppo


def formula(
    logps,
    anchor_logps,
    ref_logps,
    winrates,
    eta,
    regularization_weight=0,
    regularizer="reverse_kl",
    reverse_weight=5,
    clamp=10,
):
    penalties = {
        "reverse_kl": lambda p, r: (p - r) ** 2,
        "forward_kl": lambda p, r: exp(min(r - p, clamp)),
        "forward_reverse_kl": lambda p, r: exp(min(r - p, clamp)) + reverse_weight * (p - r) ** 2,
        "chi2": lambda p, r: exp(min(p - r, clamp)),
        "entropy": lambda p, r: p**2,
    }
    penalty = penalties[regularizer]
    return [
        game + regularization_weight * mp.fsum(penalty(p, r) for p, r in zip(*row, strict=True))
        for game, *row in zip(sppo(logps, anchor_logps, winrates, eta), logps, ref_logps, strict=True)
    ]


# η = 0.5: e = (0.5 - 0.5 * 0.3, 0 + 0.5 * 0.2) = (0.35, 0.1), so 1/2 Σ e² = 0.06625; d = l - r = (-0.3, 0.4)
RSPO = {
    "logps": [[-2, -3]],
    "anchor_logps": [[-2.5, -3]],
    "ref_logps": [[-1.7, -3.4]],
    "winrates": [[0.8, 0.3]],
}
RSPO_PARAMS = {"eta": 0.5, "regularization_weight": 0.2, "clamp": 10.0}

# numbers from the formulas in 40 digits
ROWS = [
    # + 0.2 (0.09 + 0.16); slopes e + 0.4 d
    Row(
        item="RSPO, reverse KL",
        fields=RSPO,
        params={**RSPO_PARAMS, "regularizer": "reverse_kl"},
        losses=[0.11625],
        gradients={"logps": [[0.23, 0.26]], "anchor_logps": [[-0.35, -0.1]], "ref_logps": [[0.12, -0.16]]},
    ),
    # + 0.2 (e^0.3 + e^-0.4); slopes e - 0.2 e^-d
    Row(
        item="RSPO, forward KL",
        fields=RSPO,
        params={**RSPO_PARAMS, "regularizer": "forward_kl"},
        losses=[0.4702857707223],
        gradients={
            "logps": [[0.0800282384848, -0.03406400920713]],
            "anchor_logps": [[-0.35, -0.1]],
            "ref_logps": [[0.2699717615152, 0.1340640092071]],
        },
    ),
    # + 0.2 (e^0.3 + e^-0.4 + 3 (0.09 + 0.16)); slopes e - 0.2 e^-d + 1.2 d
    Row(
        item="RSPO, forward and reverse KL",
        fields=RSPO,
        params={**RSPO_PARAMS, "regularizer": "forward_reverse_kl", "reverse_weight": 3.0},
        losses=[0.6202857707223],
        gradients={
            "logps": [[-0.2799717615152, 0.4459359907929]],
            "anchor_logps": [[-0.35, -0.1]],
            "ref_logps": [[0.6299717615152, -0.3459359907929]],
        },
    ),
    # + 0.2 (e^-0.3 + e^0.25): 0.4 lies beyond the clamp and pulls no more
    Row(
        item="RSPO, chi², clamped",
        fields=RSPO,
        params={**RSPO_PARAMS, "regularizer": "chi2", "clamp": 0.25},
        losses=[0.4712187274739],
        gradients={
            "logps": [[0.4981636441363, 0.1]],
            "anchor_logps": [[-0.35, -0.1]],
            "ref_logps": [[-0.1481636441363, 0]],
        },
    ),
    # + 0.2 (4 + 9); slopes e + 0.4 l, and the reference counts for nothing
    Row(
        item="RSPO, entropy",
        fields=RSPO,
        params={**RSPO_PARAMS, "regularizer": "entropy"},
        losses=[2.66625],
        gradients={"logps": [[-0.45, -1.1]], "anchor_logps": [[-0.35, -0.1]], "ref_logps": [[0, 0]]},
    ),
]

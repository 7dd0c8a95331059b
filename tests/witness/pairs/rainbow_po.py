from witness._maths import log, logistic, per_token, rows
from witness._rows import SIMPO, Row


def formula(
    chosen, rejected, ref_chosen, ref_rejected, chosen_len, rejected_len, beta, alpha, h, kappa=None, entropy=None
):
    out = []
    policy = rows(per_token(chosen, chosen_len), per_token(rejected, rejected_len))
    ref = rows(per_token(ref_chosen, chosen_len), per_token(ref_rejected, rejected_len))
    for i, ((p_w, p_l), (r_w, r_l)) in enumerate(rows(policy, ref)):
        phi = 1 if kappa is None else -kappa * log(entropy[i])
        out.append(logistic(beta * phi * ((p_w - p_l) - alpha * (r_w - r_l) - (1 - alpha) * h)))
    return out


# per token -0.8 and -1.3 as in SIMPO, and -0.9 and -1.4 under the reference
RAINBOW = {**SIMPO, "ref_chosen": [-3.6], "ref_rejected": [-7]}

ROWS = [
    # p_w - p_l = r_w - r_l = 0.5: u = 10 (0.5 - 0.125 - 0.075) = 3: softplus(-3); -10/4 σ(-3), and -0.25 of it on the
    # reference
    Row(
        item="RainbowPO",
        fields=RAINBOW,
        params={"beta": 10.0, "alpha": 0.25, "h": 0.1, "kappa": None},
        losses=[0.0485873515737],
        gradients={"chosen": [-0.118564682944], "rejected": [0.0948517463551], "ref_chosen": [0.029641170736]},
    ),
    # φ = 0.29 log 2: u = 3 φ
    Row(
        item="RainbowPO, scaled",
        fields={**RAINBOW, "entropy": [0.5]},
        params={"beta": 10.0, "alpha": 0.25, "h": 0.1, "kappa": 0.29},
        losses=[0.436412493156],
        gradients={"chosen": [-0.177719807345], "rejected": [0.142175845876], "ref_chosen": [0.0444299518362]},
    ),
]

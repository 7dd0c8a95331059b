from witness._maths import log, mp, sigma
from witness._rows import Row


def formula(
    chosen,
    rejected,
    opponents_chosen,
    opponents_rejected,
    beta,
    eta,
    tau,
    distance,
    target,
    length_normalized=False,
    weights=None,
    ref_chosen=None,
    ref_rejected=None,
    chosen_len=None,
    rejected_len=None,
    margin=None,
):
    m = len(opponents_chosen)
    tau = eta / 3 if tau is None else tau
    weights = weights or [mp.one / m] * m
    out = []
    for b in range(len(chosen)):
        n_c = max(chosen_len[b], 1) if length_normalized else 1
        n_r = max(rejected_len[b], 1) if length_normalized else 1
        a = chosen[b] / n_c - rejected[b] / n_r
        if tau > 0:
            a -= tau / eta * (ref_chosen[b] / n_c - ref_rejected[b] / n_r)
        for j in range(m):
            a -= (eta - tau) / eta * weights[j] * (opponents_chosen[j][b] / n_c - opponents_rejected[j][b] / n_r)
        a *= beta
        if target == "hard":
            # the limit b -> ∞ of the divergence below: Bernoulli(1) from Bernoulli(σ(a))
            out.append(-log(sigma(a)))
            continue
        goal = eta * margin[b] if target == "reward" else 1 / (2 * eta)
        p, q, not_p, not_q = sigma(goal), sigma(a), sigma(-goal), sigma(-a)
        out.append((a - goal) ** 2 if distance == "squared" else p * log(p / q) + not_p * log(not_p / not_q))
    return out


# D(q1) = 1, D(q2) = -1: a = 0.5 (2 - 0.7 + 0.3) = 0.8
MNPO = {
    "chosen": [-10],
    "rejected": [-12],
    "opponents_chosen": [[-10.5], [-12]],
    "opponents_rejected": [[-11.5], [-11]],
}
MNPO_PARAMS = {"beta": 0.5, "tau": 0.0, "weights": (0.7, 0.3)}

ROWS = [
    # (0.8 - 1)²; 2 (-0.2) 0.5, times -0.7 and -0.3
    Row(
        item="MNPO A",
        fields=MNPO,
        params={**MNPO_PARAMS, "eta": 0.5, "distance": "squared", "target": "constant"},
        losses=[0.04],
        gradients={"chosen": [-0.2], "opponents_chosen": [[0.14], [0.06]]},
    ),
    # b = 0.5, reached as η margin = 0.25 * 2: KL(σ(0.5), σ(0.8)); 0.5 (σ(0.8) - σ(0.5))
    Row(
        item="MNPO B, reward",
        fields={**MNPO, "margin": [2.0]},
        params={**MNPO_PARAMS, "eta": 0.25, "distance": "backward_kl", "target": "reward"},
        losses=[0.0102858824071],
        gradients={"chosen": [0.0337575749629]},
    ),
    # the same b = 0.5 as 1/(2η) with η = 1
    Row(
        item="MNPO B, constant",
        fields=MNPO,
        params={**MNPO_PARAMS, "eta": 1.0, "distance": "backward_kl", "target": "constant"},
        losses=[0.0102858824071],
        gradients={"chosen": [0.0337575749629]},
    ),
    # softplus(-0.8); -0.5 σ(-0.8)
    Row(
        item="MNPO B, hard",
        fields=MNPO,
        params={**MNPO_PARAMS, "eta": 0.5, "distance": "backward_kl", "target": "hard"},
        losses=[0.371100665948],
        gradients={"chosen": [-0.155012759436]},
    ),
    # h = 2 + 0.4/3 - (2/3)(2/3 - 1/3) = 1.91111111111, target 1; 2 * 0.91111111111
    Row(
        item="MNPO C",
        fields={**MNPO, "ref_chosen": [-11], "ref_rejected": [-10.6]},
        params={
            "beta": 1.0,
            "eta": 0.5,
            "tau": 0.5 / 3,
            "weights": (2 / 3, 1 / 3),
            "distance": "squared",
            "target": "constant",
        },
        losses=[0.830123456790],
        gradients={"chosen": [1.82222222222]},
    ),
]

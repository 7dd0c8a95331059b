"""Hand-worked rows of the preference games; numbers from the formulas in 40 digits."""

from values import Row

# h = (-10 + 12) - (-11 + 11) = 2 and (-8 + 7) - (-9 + 9.5) = -1.5
PAIRS = {"chosen": [-10, -8], "rejected": [-12, -7], "ref_chosen": [-11, -9], "ref_rejected": [-11, -9.5]}
# l - q = (1, -1)
TWO = {"logps": [[-10, -12]], "anchor_logps": [[-11, -11]], "winrates": [[0.75, 0.25]]}
# l - q = (0.5, 0, -1)
THREE = {"logps": [[-2, -3, -5]], "anchor_logps": [[-2.5, -3, -4]], "winrates": [[0.9, 0.5, 0.2]]}
# η = 0.5: e = (0.5 - 0.5 * 0.3, 0 + 0.5 * 0.2) = (0.35, 0.1), so 1/2 Σ e² = 0.06625; d = l - r = (-0.3, 0.4)
RSPO = {
    "logps": [[-2, -3]],
    "anchor_logps": [[-2.5, -3]],
    "ref_logps": [[-1.7, -3.4]],
    "winrates": [[0.8, 0.3]],
}
RSPO_PARAMS = {"eta": 0.5, "regularization_weight": 0.2, "clamp": 10.0}
# per token: -3.2/4 + 6.5/5 = 0.5, and -3/4 + 7/5 = 0.65 under the reference: h = -0.15
PER_TOKEN = {
    "chosen": [-3.2],
    "rejected": [-6.5],
    "ref_chosen": [-3],
    "ref_rejected": [-7],
    "chosen_len": [4],
    "rejected_len": [5],
    "margin": [0.2],
}
# d = (0.5, -0.2, 0.5), and a token that no mask lets in
STEPS = {
    "chosen": [[-1, -2, -0.5, -9]],
    "ref_chosen": [[-1.5, -1.8, -1, 3]],
    "label": [0.7],
    "chosen_mask": [[True, True, True, False]],
}
ZERO_STEPS = [[0, 0, 0, 0]]

ROWS = [
    # targets 2 * (1/4, -1/4): e = (1 - 0.5, -1 + 0.5), 1/2 (0.25 + 0.25)
    Row(
        "SPPO, a pair",
        "sppo",
        TWO,
        {"eta": 2.0},
        [0.25],
        {"logps": [[0.5, -0.5]], "anchor_logps": [[-0.5, 0.5]]},
    ),
    # targets 0.8 * (0.4, 0, -0.3): e = (0.5 - 0.32, 0, -1 + 0.24) = (0.18, 0, -0.76), 1/2 (0.0324 + 0.5776)
    Row(
        "SPPO, three samples",
        "sppo",
        THREE,
        {"eta": 0.8},
        [0.305],
        {"logps": [[0.18, 0, -0.76]], "anchor_logps": [[-0.18, 0, 0.76]]},
    ),
    # η = 1000: e = (1 - 250, -1 + 250), 1/2 * 2 * 249²
    Row("SPPO at the published step", "sppo", TWO, {"eta": 1000.0}, [62001], {"logps": [[-249, 249]]}),
    # + 0.2 (0.09 + 0.16); slopes e + 0.4 d
    Row(
        "RSPO, reverse KL",
        "rspo",
        RSPO,
        {**RSPO_PARAMS, "regularizer": "reverse_kl"},
        [0.11625],
        {"logps": [[0.23, 0.26]], "anchor_logps": [[-0.35, -0.1]], "ref_logps": [[0.12, -0.16]]},
    ),
    # + 0.2 (e^0.3 + e^-0.4); slopes e - 0.2 e^-d
    Row(
        "RSPO, forward KL",
        "rspo",
        RSPO,
        {**RSPO_PARAMS, "regularizer": "forward_kl"},
        [0.4702857707223],
        {
            "logps": [[0.0800282384848, -0.03406400920713]],
            "anchor_logps": [[-0.35, -0.1]],
            "ref_logps": [[0.2699717615152, 0.1340640092071]],
        },
    ),
    # + 0.2 (e^0.3 + e^-0.4 + 3 (0.09 + 0.16)); slopes e - 0.2 e^-d + 1.2 d
    Row(
        "RSPO, forward and reverse KL",
        "rspo",
        RSPO,
        {**RSPO_PARAMS, "regularizer": "forward_reverse_kl", "reverse_weight": 3.0},
        [0.6202857707223],
        {
            "logps": [[-0.2799717615152, 0.4459359907929]],
            "anchor_logps": [[-0.35, -0.1]],
            "ref_logps": [[0.6299717615152, -0.3459359907929]],
        },
    ),
    # + 0.2 (e^-0.3 + e^0.25): 0.4 lies beyond the clamp and pulls no more
    Row(
        "RSPO, chi², clamped",
        "rspo",
        RSPO,
        {**RSPO_PARAMS, "regularizer": "chi2", "clamp": 0.25},
        [0.4712187274739],
        {
            "logps": [[0.4981636441363, 0.1]],
            "anchor_logps": [[-0.35, -0.1]],
            "ref_logps": [[-0.1481636441363, 0]],
        },
    ),
    # + 0.2 (4 + 9); slopes e + 0.4 l, and the reference counts for nothing
    Row(
        "RSPO, entropy",
        "rspo",
        RSPO,
        {**RSPO_PARAMS, "regularizer": "entropy"},
        [2.66625],
        {"logps": [[-0.45, -1.1]], "anchor_logps": [[-0.35, -0.1]], "ref_logps": [[0, 0]]},
    ),
    # targets (0.3, -0.1, -0.2) / 0.25: e = (0.5 - 1.2, 0.4, -1 + 0.8); mean of (0.49, 0.16, 0.04); slopes 2 e / 3
    Row(
        "GPO, three samples",
        "gpo",
        {**THREE, "winrates": [[0.3, -0.1, -0.2]]},
        {"beta": 0.25},
        [0.23],
        {
            "logps": [[-0.4666666666667, 0.2666666666667, -0.1333333333333]],
            "anchor_logps": [[0.4666666666667, -0.2666666666667, 0.1333333333333]],
        },
    ),
    # targets ±0.15 / 0.1: e = (1 - 1.5, -1 + 1.5); mean of 0.25 twice; slopes 2 e / 2
    Row(
        "GPO, a pair",
        "gpo",
        {**TWO, "winrates": [[0.15, -0.15]]},
        {"beta": 0.1},
        [0.25],
        {"logps": [[-0.5, 0.5]], "anchor_logps": [[0.5, -0.5]]},
    ),
    # target 1 / 0.8 = 1.25: (0.75)² and (-2.75)²
    Row(
        "Online IPO, hard labels",
        "online_ipo",
        PAIRS,
        {"tau": 0.4},
        [0.5625, 7.5625],
        {
            "chosen": [1.5, -5.5],
            "rejected": [-1.5, 5.5],
            "ref_chosen": [-1.5, 5.5],
            "ref_rejected": [1.5, -5.5],
        },
    ),
    # targets (0.5, -0.8) / 0.8 = (0.625, -1): (1.375)² and (-0.5)²
    Row(
        "Online IPO, soft labels",
        "online_ipo",
        {**PAIRS, "label": [0.75, 0.1]},
        {"tau": 0.4},
        [1.890625, 0.25],
        {"chosen": [2.75, -1], "rejected": [-2.75, 1], "ref_chosen": [-2.75, 1], "ref_rejected": [2.75, -1]},
    ),
    # targets (0.3, -0.5) / 0.4 = (0.75, -1.25): (1.25)² and (-0.25)²
    Row(
        "EGPO",
        "egpo",
        {**PAIRS, "margin": [0.3, -0.5]},
        {"beta": 0.4, "length_normalized": False},
        [1.5625, 0.0625],
        {
            "chosen": [2.5, -0.5],
            "rejected": [-2.5, 0.5],
            "ref_chosen": [-2.5, 0.5],
            "ref_rejected": [2.5, -0.5],
        },
    ),
    # target 0.2 / 0.4 = 0.5: (-0.65)²; slopes -1.3 / 4 and 1.3 / 5
    Row(
        "EGPO, per token",
        "egpo",
        PER_TOKEN,
        {"beta": 0.4, "length_normalized": True},
        [0.4225],
        {"chosen": [-0.325], "rejected": [0.26], "ref_chosen": [0.325], "ref_rejected": [-0.26]},
    ),
    # (2 - 0.5) - 0.25 = 1.25 and (-1 + 3) - 0.25 = 1.75
    Row(
        "ONPO",
        "onpo",
        {
            "chosen": [-10, -8],
            "rejected": [-12, -7],
            "opponents_chosen": [[-10.5, -9]],
            "opponents_rejected": [[-11, -6]],
        },
        {"eta": 0.5},
        [1.5625, 3.0625],
        {
            "chosen": [2.5, 3.5],
            "rejected": [-2.5, -3.5],
            "opponents_chosen": [[-2.5, -3.5]],
            "opponents_rejected": [[2.5, 3.5]],
        },
    ),
    # at its target: the policy has gained η/2 on the opponent
    Row(
        "ONPO at its minimum",
        "onpo",
        {"chosen": [-4], "rejected": [-5], "opponents_chosen": [[-3]], "opponents_rejected": [[-3]]},
        {"eta": 2.0},
        [0],
        {"chosen": [0], "rejected": [0]},
    ),
    # Σ d = 0.8: A = 0.1 - 0.2 = -0.1 at each of the three, -A Σ l = 0.1 * -3.5
    Row(
        "Nash-MD, KL of the sequence",
        "nash_md",
        {**STEPS, "label": [0.6]},
        {"tau": 0.25, "kl_credit": "sequence"},
        [-0.35],
        {"chosen": [[0.1, 0.1, 0.1, 0]], "ref_chosen": ZERO_STEPS},
    ),
    # c = (0.8, 0.3, 0.5): A = (0, 0.125, 0.075), 0.125 * 2 + 0.075 * 0.5
    Row(
        "Nash-MD, KL to go",
        "nash_md",
        STEPS,
        {"tau": 0.25, "kl_credit": "to_go"},
        [0.2875],
        {"chosen": [[0, -0.125, -0.075, 0]], "ref_chosen": ZERO_STEPS},
    ),
    # c = d: A = (0.075, 0.25, 0.075), 0.075 + 0.25 * 2 + 0.075 * 0.5
    Row(
        "Nash-MD, KL of the token",
        "nash_md",
        STEPS,
        {"tau": 0.25, "kl_credit": "token"},
        [0.6125],
        {"chosen": [[-0.075, -0.25, -0.075, 0]], "ref_chosen": ZERO_STEPS},
    ),
]

from witness._maths import exp, log, mp
from witness._rows import Row


def formula(logps, lengths, sft_weight, temperature, scores=None, mask=None):
    out = []
    for b, row in enumerate(logps):
        order = [k for k in range(len(row)) if mask is None or mask[b][k]]
        s = {k: row[k] / max(lengths[b][k], 1) for k in order}
        total = mp.zero
        for place, k in enumerate(order[:-1]):
            tail = order[place + 1 :]
            gap = {i: mp.one if temperature == "none" else scores[b][k] - scores[b][i] for i in tail}
            gap[k] = max(gap.values())
            total -= log(exp(s[k] * gap[k]) / mp.fsum(exp(s[i] * gap[i]) for i in (k, *tail)))
        if order:
            total += sft_weight * (len(order) - 1) ** 2 * -row[order[0]]
        out.append(total)
    return out


PRO_RAGGED = {
    "logps": [[-2, -6, -9], [-3, -4, 0]],
    "lengths": [[4, 6, 6], [3, 2, 1]],
    "scores": [[2, 1.5, -1], [1, 0, 0]],
    "mask": [[True, True, True], [True, True, False]],
}
# s = (-0.5, -1, -1.5), gaps (0.5, 3), then 2.5; the second prompt has s = (-1, -2), gap 1 and no third candidate
PRO_ONE = {"logps": [[-2, -6, -9]], "lengths": [[4, 6, 6]], "scores": [[2, 1.5, -1]]}

ROWS = [
    # k=1: log(e^-1.5 + e^-0.5 + e^-4.5) + 1.5 = 1.32656264127; k=2: softplus(2.5 (-1.5 + 1)) = 0.251929081345;
    # SFT 0.05 * 2² * 2 = 0.4.  Second prompt: softplus(-1) + 0.05 * 3
    Row(
        item="PRO A",
        fields=PRO_RAGGED,
        params={"sft_weight": 0.05, "temperature": "reward_gap"},
        losses=[1.97849172261, 0.463261687518],
        gradients={
            "logps": [[-0.750959053421, -0.0326751258210, 0.0993981679874], [-0.139647140457, 0.134470710685, 0.0]]
        },
    ),
    # half of the sum of the two prompts, not of their three terms
    Row(
        item="PRO A, mean",
        fields=PRO_RAGGED,
        params={"sft_weight": 0.05, "temperature": "reward_gap"},
        losses=1.22087670507,
        mean=True,
    ),
    # Plackett-Luce on s: log(1 + e^-0.5 + e^-1) + softplus(-0.5)
    Row(
        item="PRO B",
        fields=PRO_ONE,
        params={"sft_weight": 0.0, "temperature": "none"},
        losses=[1.15434665482],
        gradients={"logps": [[-0.123379902236, -0.0117241305133, 0.0939773986707]]},
    ),
    # nothing to choose from: no stage, and (K - 1)² = 0 for one completion; nor is there one to imitate for none
    Row(
        item="PRO C, one completion and none",
        fields={
            "logps": [[-2, -6], [-3, -4]],
            "lengths": [[4, 6], [3, 2]],
            "scores": [[2, 1.5], [1, 0]],
            "mask": [[False, True], [False, False]],
        },
        params={"sft_weight": 0.05, "temperature": "reward_gap"},
        losses=[0.0, 0.0],
        gradients={"logps": [[0.0, 0.0], [0.0, 0.0]]},
    ),
]

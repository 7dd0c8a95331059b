from witness._maths import per_token
from witness._rows import P1P2, Row


def formula(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    margin,
    beta,
    length_normalized=False,
    chosen_len=None,
    rejected_len=None,
):
    if length_normalized:
        chosen, ref_chosen = per_token(chosen, chosen_len), per_token(ref_chosen, chosen_len)
        rejected, ref_rejected = per_token(rejected, rejected_len), per_token(ref_rejected, rejected_len)
    rows = zip(chosen, rejected, ref_chosen, ref_rejected, margin, strict=True)
    return [((c - rc) - (r - rr) - m / beta) ** 2 for c, r, rc, rr, m in rows]


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

# numbers from the formulas in 40 digits
ROWS = [
    # targets (0.3, -0.5) / 0.4 = (0.75, -1.25): (1.25)² and (-0.25)²
    Row(
        item="EGPO",
        fields={**P1P2, "margin": [0.3, -0.5]},
        params={"beta": 0.4, "length_normalized": False},
        losses=[1.5625, 0.0625],
        gradients={
            "chosen": [2.5, -0.5],
            "rejected": [-2.5, 0.5],
            "ref_chosen": [-2.5, 0.5],
            "ref_rejected": [2.5, -0.5],
        },
    ),
    # target 0.2 / 0.4 = 0.5: (-0.65)²; slopes -1.3 / 4 and 1.3 / 5
    Row(
        item="EGPO, per token",
        fields=PER_TOKEN,
        params={"beta": 0.4, "length_normalized": True},
        losses=[0.4225],
        gradients={"chosen": [-0.325], "rejected": [0.26], "ref_chosen": [0.325], "ref_rejected": [-0.26]},
    ),
]

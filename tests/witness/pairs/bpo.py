from witness._maths import BENT, convex, on_ratios, ratios, rows
from witness._rows import FLAT, Row


@on_ratios
def formula(a, b, beta, alpha, link):
    return convex(beta * min(a, -alpha * b), link)


def kinks(fields, params):
    pairs = [(a, -params["alpha"] * b) for a, b in ratios(**fields)]
    bend = [[min(x, y) - 1 / params["beta"]] if params["link"] in BENT else [] for x, y in pairs]
    return [[x - y, *more] for (x, y), more in rows(pairs, bend)]


# P1, P2 and a pair with a = b = -1
BPO = {
    "chosen": [-10, -8, -12],
    "rejected": [-12, -7, -12],
    "ref_chosen": [-11, -9, -11],
    "ref_rejected": [-11, -9.5, -11],
}

ROWS = [
    # a = (1, 1, -1), -0.3 b = (0.3, -0.75, 0.3): the smaller times 0.5 is (0.15, -0.375, -0.5); 0.15 σ(-u) on
    # rejected, -0.5 σ(-u) on chosen
    Row(
        item="BPO",
        fields=BPO,
        params={"beta": 0.5, "alpha": 0.3, "link": "logistic"},
        losses=[0.62095704779, 0.89812326414, 0.97407698418],
        gradients={"chosen": [0.0, 0.0, -0.311229665601], "rejected": [0.0693855231984, 0.0888999899931, 0.0]},
    ),
    # (u - 1)² of the same; 0.5 * 2 (u - 1) on chosen, -0.15 * 2 (u - 1) on rejected
    Row(
        item="BPO, square",
        fields=BPO,
        params={"beta": 0.5, "alpha": 0.3, "link": "square"},
        losses=[0.7225, 1.890625, 2.25],
        gradients={"chosen": [0.0, 0.0, -1.5], "rejected": [0.255, 0.4125, 0.0]},
    ),
    # at the reference both are 0, and share it: log 2; half of 0.5 σ(0) and of 0.15 σ(0)
    Row(
        item="BPO, tie",
        fields={"chosen": [-11], "rejected": [-11], "ref_chosen": [-11], "ref_rejected": [-11]},
        params={"beta": 0.5, "alpha": 0.3, "link": "logistic"},
        losses=[0.69314718056],
        gradients={"chosen": [-0.125], "rejected": [0.0375], "ref_chosen": [0.125], "ref_rejected": [-0.0375]},
    ),
    # log 2; a tie moves both sides, each by half: -1/2 σ(0) on chosen, 0.5/2 σ(0) on rejected
    Row(
        item="BPO, at its kink",
        fields=FLAT,
        params={"beta": 1.0, "alpha": 0.5, "link": "logistic"},
        losses=[0.69314718056],
        gradients={"chosen": [-0.25], "rejected": [0.125]},
    ),
]

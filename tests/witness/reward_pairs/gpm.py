from witness._maths import HALF, logistic, mp, rows, sigma
from witness._rows import Row


def score(v, w, scales):
    """⟨R v, w⟩ with R = diag(λ_l [[0, -1], [1, 0]]), the whole matrix written out."""
    turned = [sum((r * x for r, x in rows(row, v)), mp.zero) for row in matrix(scales)]
    return mp.fsum(x * y for x, y in rows(turned, w))


def matrix(scales):
    out = [[mp.zero] * (2 * len(scales)) for _ in range(2 * len(scales))]
    for i, scale in enumerate(scales):
        out[2 * i][2 * i + 1], out[2 * i + 1][2 * i] = -scale, scale
    return out


def formula(chosen_embedding, rejected_embedding, temperature, link, target, scales=None, label=None, margin=None):
    losses = []
    for b, (v, w) in enumerate(rows(chosen_embedding, rejected_embedding)):
        s = score(v, w, scales[b] if scales else [mp.one] * (len(v) // 2))
        m = margin[b] if margin else mp.zero
        p = label[b] if label else mp.one
        one, other = (of_order(way * s, way * m, temperature, link, target) for way in (1, -1))
        losses.append(p * one + (1 - p) * other)
    return losses


def of_order(s, m, temperature, link, target):
    """Of a pair whose first one wins."""
    return {
        "logistic": lambda: logistic((s - m) / temperature),
        "regression": lambda: HALF * ((s - m) / temperature - target) ** 2,
        "margin_regression": lambda: HALF * (s / temperature - target * sigma(m)) ** 2,
    }[link]()


ROWS = [
    # ⟨R(1, 2), (3, 4)⟩ = 1·4 - 2·3 = -2, s / τ = -4: softplus(4); slope -σ(4) / 0.5 of s, times (4, -3) and (-2, 1)
    Row(
        item="GPM, a plane",
        fields={"chosen_embedding": [[1, 2]], "rejected_embedding": [[3, 4]]},
        params={"temperature": 0.5, "link": "logistic", "target": 10.0},
        losses=[4.01814992791781],
        gradients={
            "chosen_embedding": [[-7.856110320303, 5.892082740227]],
            "rejected_embedding": [[3.928055160152, -1.964027580076]],
        },
    ),
    # s = 2 (1·1 - 0·0) + 0.5 (0·2 - 1·1) = 1.5, z = (1.5 - 0.5) / 2 = 0.5, P = 3/4:
    # 0.75 softplus(-0.5) + 0.25 softplus(0.5); (σ(0.5) - 0.75) / 2 of s, times (λ y, -λ x)
    Row(
        item="GPM, two scaled planes, a margin and a soft label",
        fields={
            "chosen_embedding": [[1, 0, 0, 1]],
            "rejected_embedding": [[0, 1, 1, 2]],
            "scales": [[2, 0.5]],
            "margin": [0.5],
            "label": [0.75],
        },
        params={"temperature": 2.0, "link": "logistic", "target": 10.0},
        losses=[0.599076984180],
        gradients={
            "chosen_embedding": [[-0.127540668798, 0.0, -0.063770334399, 0.0318851671996]],
            "rejected_embedding": [[0.0, -0.127540668798, 0.0318851671996, 0.0]],
            "scales": [[-0.0637703343992, 0.0637703343992]],
        },
    ),
    # s = 0.6·0.6 + 0.8·0.8 = 1 of unit vectors at a right angle, z = 1 / 0.25 = 4, T = 3: ½; slope (4 - 3) / 0.25
    Row(
        item="GPM, regression",
        fields={"chosen_embedding": [[0.6, 0.8]], "rejected_embedding": [[-0.8, 0.6]]},
        params={"temperature": 0.25, "link": "regression", "target": 3.0},
        losses=[0.5],
        gradients={"chosen_embedding": [[2.4, 3.2]], "rejected_embedding": [[-3.2, 2.4]]},
    ),
    # s = 1, z = (1 - 2) / 0.5 = -2, T = 0: 2; slope -2 / 0.5
    Row(
        item="GPM, regression on a margin",
        fields={"chosen_embedding": [[1, 0]], "rejected_embedding": [[0, 1]], "margin": [2]},
        params={"temperature": 0.5, "link": "regression", "target": 0.0},
        losses=[2.0],
        gradients={"chosen_embedding": [[-4.0, 0.0]], "rejected_embedding": [[0.0, -4.0]]},
    ),
    # s = 1, z = 2, m = -log 3: T σ(m) = 4/4 of the order that is given, 4·3/4 of the other; P = 3/4:
    # 0.75 (2 - 1)² / 2 + 0.25 (2 + 3)² / 2 = 3.5; slope (0.75 · 1 + 0.25 · 5) / 0.5
    Row(
        item="GPM, regression on the sigmoid of a margin",
        fields={
            "chosen_embedding": [[1, 0]],
            "rejected_embedding": [[0, 1]],
            "margin": [-1.0986122886681098],
            "label": [0.75],
        },
        params={"temperature": 0.5, "link": "margin_regression", "target": 4.0},
        losses=[3.5],
        gradients={"chosen_embedding": [[4.0, 0.0]], "rejected_embedding": [[0.0, 4.0]]},
    ),
]

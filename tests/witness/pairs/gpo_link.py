from witness._maths import BENT, convex, on_margin, ratios
from witness._rows import FLAT, P1, P1P2, Row


@on_margin
def formula(h, beta, link):
    return convex(beta * h, link)


def kinks(fields, params):
    return [[a - b - 1 / params["beta"]] if params["link"] in BENT else [] for a, b in ratios(**fields)]


ROWS = [
    # z = (1, -0.75): e^-z; -0.5 e^-z
    Row(
        item="GPO, exponential",
        fields=P1P2,
        params={"beta": 0.5, "link": "exponential"},
        losses=[0.367879441171, 2.11700001661],
        gradients={"chosen": [-0.183939720586, -1.05850000831], "rejected": [0.183939720586, 1.05850000831]},
    ),
    # z = -70 is beyond 60 nats: e^60 (1 + 70 - 60); -0.5 e^60
    Row(
        item="GPO, exponential tangent",
        fields={**P1, "chosen": [-152]},
        params={"beta": 0.5, "link": "exponential"},
        losses=[1.2562081288e27],
        gradients={"chosen": [-5.71003694908e25], "rejected": [5.71003694908e25]},
    ),
    # max(0, 1 - z)² = (0, 1.75²); -0.5 * 2 (1 - z)
    Row(
        item="GPO, truncated quadratic",
        fields=P1P2,
        params={"beta": 0.5, "link": "truncated_quadratic"},
        losses=[0.0, 3.0625],
        gradients={"chosen": [0.0, -1.75], "rejected": [0.0, 1.75]},
    ),
    # σ(-z)²; -0.5 * 2 σ(-z)² σ(z)
    Row(
        item="GPO, Savage",
        fields=P1P2,
        params={"beta": 0.5, "link": "savage"},
        losses=[0.0723294881285, 0.461283705414],
        gradients={"chosen": [-0.0528770927843, -0.14798963842], "rejected": [0.0528770927843, 0.14798963842]},
    ),
    # (z - 1)² = (0, 1.75²); 0.5 * 2 (z - 1)
    Row(
        item="GPO, square",
        fields=P1P2,
        params={"beta": 0.5, "link": "square"},
        losses=[0.0, 3.0625],
        gradients={"chosen": [0.0, -1.75], "rejected": [0.0, 1.75]},
    ),
    # softplus(-z), as DPO
    Row(
        item="GPO, logistic",
        fields=P1P2,
        params={"beta": 0.5, "link": "logistic"},
        losses=[0.313261687518, 1.13687100611],
        gradients={"chosen": [-0.134470710685, -0.339589349588], "rejected": [0.134470710685, 0.339589349588]},
    ),
    # max(0, 1 - z) = (0, 1.75): z = 1 is the kink, without gradient
    Row(
        item="GPO, hinge",
        fields=P1P2,
        params={"beta": 0.5, "link": "hinge"},
        losses=[0.0, 1.75],
        gradients={"chosen": [0.0, -0.5], "rejected": [0.0, 0.5]},
    ),
    # at its kink a hinge has derivative 0
    Row(
        item="GPO, hinge, at its kink",
        fields={**FLAT, "rejected": [-1.0]},
        params={"beta": 1.0, "link": "hinge"},
        losses=[0.0],
        gradients={"chosen": [0.0], "rejected": [0.0]},
    ),
]

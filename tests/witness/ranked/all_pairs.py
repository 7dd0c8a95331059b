from witness._maths import logistic, mp, ordered, relu, rows, scaled
from witness._rows import LIST, Row


def formula(logps, ref_logps, scores, beta, link, mask=None):
    out = []
    for s, psi in rows(scaled(logps, ref_logps, mask, beta), scores):
        gaps = [s[i] - s[j] for i, j in ordered(s, psi)]
        out.append(mp.fsum(logistic(d) if link == "logistic" else relu(1 - d) for d in gaps) / max(len(gaps), 1))
    return out


# s( ) is the sigmoid
ROWS = [
    # two pairs, the third makes none: half of softplus(-0.5) + softplus(-1.5)
    Row(
        item="All pairs",
        fields={**LIST, "scores": [[1, 0, 0]]},
        params={"beta": 0.5, "link": "logistic"},
        losses=[0.337745131081],
        gradients={
            "logps": [[-0.139991548151, 0.0943851671995, 0.0456063809516]],
        },
    ),
    # gaps 0.5, 1.5 and 1: a third of 0.5, and the kink has no slope; a list of equals costs nothing
    Row(
        item="All pairs, hinge",
        fields={
            "logps": [[-2, -3, -5], [-1, -2, -3]],
            "ref_logps": [[-3, -3, -3], [-3, -2, -1]],
            "scores": [[1, 0.5, 0], [2, 2, 2]],
        },
        params={"beta": 0.5, "link": "hinge"},
        losses=[0.166666666667, 0.0],
        gradients={
            "logps": [[-0.166666666667, 0.166666666667, 0.0], [0.0, 0.0, 0.0]],
        },
    ),
]

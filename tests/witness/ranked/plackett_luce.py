from witness._maths import exp, log, mp, scaled
from witness._rows import LIST, RAGGED, Row


def formula(logps, ref_logps, beta, stages=None, mask=None):
    out = []
    for s in scaled(logps, ref_logps, mask, beta):
        weights = [exp(x) for x in s.values()]
        count = len(weights) if stages is None else min(int(stages), len(weights))
        out.append(-mp.fsum(log(weights[k] / mp.fsum(weights[k:])) for k in range(count)))
    return out


# s( ) is the sigmoid
ROWS = [
    # log(1 + e^-0.5 + e^-1.5) + log(1 + e^-1); 0.5 times the softmax of each stage less the one drawn
    Row(
        item="Plackett-Luce",
        fields=LIST,
        params={"beta": 0.5, "stages": None},
        losses=[0.917392292855],
        gradients={
            "logps": [[-0.226725306367, 0.031278769527, 0.19544653684]],
            "ref_logps": [[0.226725306367, -0.031278769527, -0.19544653684]],
        },
    ),
    # the first stage alone: log(1 + e^-0.5 + e^-1.5), and softplus(-0.5) without the masked one
    Row(
        item="Plackett-Luce, one stage",
        fields=RAGGED,
        params={"beta": 0.5, "stages": 1.0},
        losses=[0.604130605337, 0.47407698418],
        gradients={
            "logps": [[-0.226725306367, 0.165749480212, 0.0609758261549], [-0.188770334399, 0.0, 0.188770334399]],
        },
    ),
]

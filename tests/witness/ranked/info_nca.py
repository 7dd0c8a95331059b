from witness._maths import exp, log, mp, scored
from witness._rows import Row


def formula(logps, ref_logps, scores, beta, alpha, mask=None):
    out = []
    for s, q in scored(logps, ref_logps, scores, beta, alpha, mask):
        total = mp.fsum(exp(x) for x in s)
        out.append(-mp.fsum(w * log(exp(x) / total) for x, w in zip(s, q, strict=True)))
    return out


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # the same: p = softmax(1, -1) = (σ(2), σ(-2)), σ(2) = .880797077978: 3/4 sp(-2) + 1/4 sp(2), sp(-2) = .126928011043; p - q
    Row(
        item="InfoNCA",
        fields={"logps": [[-3.0, -7.0]], "ref_logps": [[-4.0, -6.0]], "scores": [[1.09861228867, 0.0]]},
        params={"beta": 1.0, "alpha": 1.0},
        losses=[0.626928011043],
        gradients={"logps": [[0.130797077978, -0.130797077978]]},
    ),
]

from witness._maths import log, mp, scored, sigma
from witness._rows import Row


def formula(logps, ref_logps, scores, beta, alpha, mask=None):
    out = []
    for s, q in scored(logps, ref_logps, scores, beta, alpha, mask):
        out.append(-mp.fsum(w * log(sigma(x)) + log(sigma(-x)) / len(s) for x, w in zip(s, q, strict=True)))
    return out


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # rewards log 3 apart at α = 1: q = (3/4, 1/4); s = (1, -1): (3/4) sp(-1) + (1/4) sp(1) + (1/2)(sp(1) + sp(-1));
    # slopes σ(1)/2 - 3/4 σ(-1) and σ(-1)/2 - 1/4 σ(1)
    Row(
        item="NCA",
        fields={"logps": [[-3.0, -7.0]], "ref_logps": [[-4.0, -6.0]], "scores": [[1.09861228867, 0.0]]},
        params={"beta": 1.0, "alpha": 1.0},
        losses=[1.37652337504],
        gradients={"logps": [[0.163823223288, -0.0482939339725]]},
    ),
]

from witness._maths import log, sigma
from witness._rows import Row


def formula(logps, ref_logps, beta, weights=None):
    out = []
    for i, (x, r) in enumerate(zip(logps, ref_logps, strict=True)):
        out.append(-2 / beta * log(sigma(-beta * (x - r))) * (1 if weights is None else weights[i]))
    return out


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # a = 2: 4 softplus(1); slope 2 σ(1)
    Row(
        item="NPO",
        fields={"logps": [-3.0], "ref_logps": [-5.0]},
        params={"beta": 0.5},
        losses=[5.25304675007],
        gradients={"logps": [1.46211715726], "ref_logps": [-1.46211715726]},
    ),
    # the same, weight 3: 12 softplus(1); slope 6 σ(1)
    Row(
        item="NPO, weighted",
        fields={"logps": [-3.0], "ref_logps": [-5.0], "weights": [3.0]},
        params={"beta": 0.5},
        losses=[15.7591402502],
        gradients={"logps": [4.38635147178], "ref_logps": [-4.38635147178]},
    ),
]

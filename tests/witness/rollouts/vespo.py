from witness._maths import e, mp
from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    d = [(other.still or other).d for other in token.all]
    k, rate = (p["k_positive"], p["lambda_positive"]) if token.a >= 0 else (p["k_negative"], p["lambda_negative"])
    each = [other.log_weight for other in token.all]
    log_w = mp.fsum(d) + (token.log_weight if p["correction"].startswith("sequence") else sum(each))
    if log_w == -mp.inf:
        return -(e(rate) if k == 0 else 0) * token.a * token.l
    return -e(rate + k * log_w - rate * e(log_w)) * token.a * token.l


formula, constant = objective(term, weighs=True, aggregation="token_mean")
kinks = no_clip

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # w = e^0.3, φ = w² e^(3 - 3 w): 2 φ (1 + 2) / 2
    Row(
        item="VESPO",
        fields=ONE,
        params={
            "k_positive": 2.0,
            "lambda_positive": 3.0,
            "aggregation": "token_mean",
            "k_negative": 3.0,
            "lambda_negative": 2.0,
        },
        losses=[1.91369488087],
        gradients={"logps": [[-0.637898293624, -0.637898293624]]},
    ),
]

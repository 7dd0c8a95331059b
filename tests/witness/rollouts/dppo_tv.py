from witness._maths import exp
from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    still = token.still or token
    moved = exp(still.l) - exp(still.o)
    within = moved <= p["divergence_high"] if token.a > 0 else moved >= -p["divergence_low"]
    return -min(exp(still.d), p["ratio_cap"]) * token.a * token.l if within else 0 * token.l


formula, constant = objective(term, aggregation="token_mean")
kinks = no_clip

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # e^-1 is .145 above e^-1.5, which is too far; e^-2 below e^-1.8: 2 e^-0.2 2 / 2
    Row(
        item="DPPO",
        fields=ONE,
        params={"divergence_low": 0.1, "divergence_high": 0.1, "ratio_cap": 20.0, "aggregation": "token_mean"},
        losses=[1.63746150616],
        gradients={"logps": [[0.0, -0.818730753078]]},
    ),
]

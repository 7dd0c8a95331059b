from witness._maths import exp
from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    d = token.still.d if token.still else token.d
    ratio = min(exp(d), 1 + p["epsilon_high"])
    return -max(ratio, 1 - p["epsilon_low"]) * token.a * token.l


formula, constant = objective(term, aggregation="token_mean")
kinks = no_clip

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # weights 1.28 and e^-0.2: (2 * 1.28 * 1 + 2 e^-0.2 * 2) / 2, and no token is without a slope
    Row(
        item="CISPO",
        fields=ONE,
        params={"epsilon_low": 1.0, "epsilon_high": 0.28, "aggregation": "token_mean"},
        losses=[2.91746150616],
        gradients={"logps": [[-1.28, -0.818730753078]]},
    ),
]

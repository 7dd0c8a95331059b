from witness._maths import exp, sigma
from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    tau = p["tau_positive"] if token.a > 0 else p["tau_negative"]
    return -4 / tau * sigma(tau * (exp(token.d) - 1)) * token.a


formula, constant = objective(term, aggregation="sequence_mean")
kinks = no_clip

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # -(4/2) σ(2 (r - 1)) 2, the mean of both; -4 σ(z) σ(-z) r A
    Row(
        item="SAPO",
        fields=ONE,
        params={"tau_positive": 2.0, "tau_negative": 1.05, "aggregation": "sequence_mean"},
        losses=[-2.39149891934],
        gradients={"logps": [[-1.11153103351, -0.792406981365]]},
    ),
]

from witness._rollouts import clips, objective, surrogate
from witness._rows import Row


def term(token, batch, p):
    return surrogate(token, token.d, p["epsilon_low"], p["epsilon_high"])


formula, constant = objective(term, weighs=True, aggregation="sequence_sum", length=3000)
kinks = clips(lambda tokens, token: token.d)

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # the first ratio is clipped at 1.2: -2 (1.2 + e^-0.2) / 8; -2 e^-0.2 of the second alone
    Row(
        item="Dr. GRPO",
        fields=ONE,
        params={"epsilon_low": 0.2, "epsilon_high": 0.2, "length": 8.0, "aggregation": "sequence_sum"},
        losses=[-0.504682688269],
        gradients={"logps": [[0.0, -0.204682688269]]},
    ),
]

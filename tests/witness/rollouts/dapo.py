from witness._rollouts import clips, objective, surrogate
from witness._rows import Row


def term(token, batch, p):
    return surrogate(token, token.d, p["epsilon_low"], p["epsilon_high"])


formula, constant = objective(term, weighs=True, aggregation="token_mean")
kinks = clips(lambda tokens, token: token.d)

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # three tokens in two completions, so each weighs 2/3: -2 (1.28 + e^-0.2), and 1 on-policy
    Row(
        item="DAPO",
        fields={
            "logps": [[-1, -2], [-3, 0]],
            "old_logps": [[-1.5, -1.8], [-3, 0]],
            "advantages": [2, -1],
            "mask": [[True, True], [True, False]],
        },
        params={"epsilon_low": 0.2, "epsilon_high": 0.28, "aggregation": "token_mean"},
        losses=[-2.79830767077, 0.666666666667],
        gradients={"logps": [[0.0, -1.0916410041], [0.666666666667, 0.0]]},
    ),
]

from witness._rollouts import clips, mean, objective, surrogate
from witness._rows import Row


def term(token, batch, p):
    d = mean([other.still for other in token.all]) + token.l - token.still.l
    return surrogate(token, d, p["epsilon_low"], p["epsilon_high"])


formula, constant = objective(term, weighs=True, aggregation="sequence_mean")
kinks = clips(lambda tokens, token: mean(tokens))

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # s = e^0.15 of tokens with A = 2 and -1: (-2 s + s) / 2, and each its own slope
    Row(
        item="GSPO-token",
        fields={"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "token_advantages": [[2, -1]]},
        params={"epsilon_low": 0.2, "epsilon_high": 0.2, "per_token": True, "aggregation": "sequence_mean"},
        losses=[-0.580917121364],
        gradients={"logps": [[-1.16183424273, 0.580917121364]]},
    ),
]

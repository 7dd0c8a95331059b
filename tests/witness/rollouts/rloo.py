from witness._maths import mp
from witness._rollouts import clips, objective, surrogate
from witness._rows import Row


def term(token, batch, p):
    return surrogate(token, mp.fsum(other.d for other in token.all), p["epsilon_low"], p["epsilon_high"])


formula, constant = objective(term, weighs=True, aggregation="sequence_mean")
kinks = clips(lambda tokens, token: mp.fsum(other.d for other in tokens))

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # W = e^0.3: -2 W, whose slope each token has
    Row(
        item="RLOO",
        fields=ONE,
        params={"epsilon_low": 0.2, "epsilon_high": 0.5, "aggregation": "sequence_mean"},
        losses=[-2.69971761515],
        gradients={"logps": [[-2.69971761515, -2.69971761515]]},
    ),
]

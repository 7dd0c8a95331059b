from witness._rollouts import clips, mean, objective, surrogate
from witness._rows import Row


def term(token, batch, p):
    return surrogate(token, mean(token.all), p["epsilon_low"], p["epsilon_high"])


formula, constant = objective(term, weighs=True, aggregation="sequence_mean")
kinks = clips(lambda tokens, token: mean(tokens))

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # the mean of d is 0.15, s = e^0.15 is within the band: -2 s, of which either token has half of the slope
    Row(
        item="GSPO",
        fields=ONE,
        params={"epsilon_low": 0.2, "epsilon_high": 0.2, "aggregation": "sequence_mean"},
        losses=[-2.32366848546],
        gradients={"logps": [[-1.16183424273, -1.16183424273]]},
    ),
]

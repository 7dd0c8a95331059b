from witness._maths import exp, mp
from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    still = token.still or token
    d = still.d if p["level"] == "token" else mp.fsum(one.d for one in still.all)
    return -(1 if token.a > 0 else min(exp(d), 1)) * token.a * token.l


formula, constant = objective(term, aggregation="sequence_sum")
kinks = no_clip

# d = (0.5, -0.8)
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.2]], "advantages": [-2]}
SUMMED = {"level": "sequence", "aggregation": "sequence_sum"}

ROWS = [
    # e^-.3 2 (-1 - 2)
    Row(
        item="TOPR",
        fields=ONE,
        params=SUMMED,
        losses=[-4.44490932409],
        gradients={"logps": [[1.48163644136, 1.48163644136]]},
    ),
    # 1 and e^-.8 = .449328964117: -2 - 2 * 2 e^-.8
    Row(
        item="TOPR, by token",
        fields=ONE,
        params={**SUMMED, "level": "token"},
        losses=[-3.79731585647],
        gradients={"logps": [[2.0, 0.898657928234]]},
    ),
    # what did well counts whole: 2 * 3
    Row(
        item="TOPR, did well",
        fields={**ONE, "advantages": [2]},
        params=SUMMED,
        losses=[6.0],
        gradients={"logps": [[-2.0, -2.0]]},
    ),
]

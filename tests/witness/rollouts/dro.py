from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    return p["beta"] / 2 * token.d**2 - token.a * token.l


formula, constant = objective(term, aggregation="token_mean")
kinks = no_clip

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # 0.1 (0.25 + 0.04) / 2 / 2 + 6 / 2; (0.1 d - 2) / 2
    Row(
        item="DRO",
        fields=ONE,
        params={"beta": 0.1, "aggregation": "token_mean"},
        losses=[3.00725],
        gradients={"logps": [[-0.975, -1.01]]},
    ),
]

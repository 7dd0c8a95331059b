from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    return -token.a * token.l


formula, constant = objective(term, aggregation="sequence_sum")
kinks = no_clip

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # -2 (-1 - 2); -2 of each token
    Row(
        item="REINFORCE",
        fields=ONE,
        params={"aggregation": "sequence_sum"},
        losses=[6.0],
        gradients={"logps": [[-2.0, -2.0]]},
    ),
    # o - b = (0.5, -1): weights e^0.5 up to 1.2 and e^-1, so 2 (1.2 * 1 + e^-1 * 2), less 0.3 (1 + 2)
    Row(
        item="REINFORCE, entropy, sampler",
        fields={**ONE, "sampler_logps": [[-2, -0.8]], "entropy": [[1, 2]]},
        params={
            "entropy_weight": 0.3,
            "correction": "token_truncate",
            "correction_low": 0.1,
            "correction_high": 1.2,
            "aggregation": "sequence_sum",
        },
        losses=[2.97151776469],
        gradients={"logps": [[-2.4, -0.735758882343]]},
    ),
]

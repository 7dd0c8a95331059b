from witness._maths import mp
from witness._rollouts import absolute, completions, objective, tied, weighted
from witness._rows import Row


def term(token, batch, p):
    low, high = -p["epsilon_low"], p["epsilon_high"]
    kept = [min(other.d, high) if other.a > 0 else max(other.d, low) for other in token.all]
    worth = mp.fsum(other.a for other in token.all) / len(kept)
    return -worth * weighted(token, mp.fsum(kept) / len(kept))


formula, constant = objective(term, weighs=True, aggregation="sequence_mean")


def kinks(fields, params):
    full = {"per_token": False, "correction": "none", **params}
    out = []
    for _, tokens in completions(fields, fields, full):
        ends = -params["epsilon_low"], params["epsilon_high"]
        out.append([token.d - end for token in tokens for end in ends] + absolute(fields, params, len(out)))
    return tied(out, params)


# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # c = (0.4, -0.2): -2 e^0.1, whose slope the clipped token has none of and the other half
    Row(
        item="GMPO",
        fields=ONE,
        params={"epsilon_low": 0.4, "epsilon_high": 0.4, "aggregation": "sequence_mean"},
        losses=[-2.21034183615],
        gradients={"logps": [[0.0, -1.10517091808]]},
    ),
]

from witness._maths import exp, log, mp
from witness._rollouts import absolute, completions, objective, tied, weighted
from witness._rows import Row


def band(old, p):
    rare, cap = exp(-old), p["ratio_cap"]
    low = (1 + mp.sqrt(max(1 - 4 * p["epsilon_low"] * rare, 0))) / 2
    return log(low), log(min((1 + mp.sqrt(1 + 4 * p["epsilon_high"] * rare)) / 2, cap)), log(cap)


def term(token, batch, p):
    low, high, cap = band(token.o, p)
    return -token.a * weighted(token, min(token.d, high) if token.a > 0 else min(max(token.d, low), cap))


formula, constant = objective(term, weighs=True, aggregation="sequence_mean")


def kinks(fields, params):
    full = {"per_token": False, "correction": "none", **params}
    rows = [tokens for _, tokens in completions(fields, fields, full)]
    far = [[token.d - end for token in tokens for end in band(token.o, params)] for tokens in rows]
    return tied([one + absolute(fields, params, i) for i, one in enumerate(far)], params)


# old probabilities 1/4 and 1/2, ratios 3 and 1/2
ONE = {
    "logps": [[-0.287682072452, -1.38629436112]],
    "old_logps": [[-1.38629436112, -0.69314718056]],
    "advantages": [2],
}

ROWS = [
    # r_h = (1 + √(1 + 4 * .5 * 4)) / 2 = 2 of the first, above 1/2 of the second: -2 (2 + 1/2) / 2
    Row(
        item="DCPO",
        fields=ONE,
        params={"epsilon_low": 0.1, "epsilon_high": 0.5, "ratio_cap": 10.0, "aggregation": "sequence_mean"},
        losses=[-2.5],
        gradients={"logps": [[0.0, -0.5]]},
    ),
    # r_l = (1 + √(1 - 4 * .0625 * 2)) / 2 = .853553390593 of the second, and 3 is held at 2.5: 2 (2.5 + r_l)
    Row(
        item="DCPO, did badly",
        fields={**ONE, "advantages": [-2]},
        params={"epsilon_low": 0.0625, "epsilon_high": 0.5, "ratio_cap": 2.5, "aggregation": "sequence_sum"},
        losses=[6.70710678119],
        gradients={"logps": [[0.0, 0.0]]},
    ),
]

from witness._maths import mp
from witness._rollouts import absolute, completions, objective, tied, weighted
from witness._rows import Row


def held(batch, p):
    """The tokens that are held, in the order of the batch."""
    tokens = [token.still or token for _, row in batch for token in row]
    worth, logps = (mp.fsum(x) / len(tokens) for x in ([t.a for t in tokens], [t.l for t in tokens]))
    order = sorted(range(len(tokens)), key=lambda k: -(tokens[k].a - worth) * (tokens[k].l - logps))
    return [tokens[k] for k in order[: max(1, int(p["share"] * len(tokens)))]]


def term(token, batch, p):
    far = abs(token.d) if any((token.still or token) is one for one in held(batch, p)) else 0
    return -token.a * weighted(token, token.d) + p["kl_strength"] * token.weight * far


formula, constant = objective(term, weighs=True, aggregation="token_mean")


def kinks(fields, params):
    full = {"per_token": False, "correction": "none", **params}
    rows = [tokens for _, tokens in completions(fields, fields, full)]
    far = [[token.d for token in tokens] + absolute(fields, params, i) for i, tokens in enumerate(rows)]
    return tied(far, params)


# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # all of one advantage, so the first of equal covariances is held: -2 (e^0.5 + e^-0.2) + 0.5 * 0.5, by 2
    Row(
        item="KL-Cov",
        fields=ONE,
        params={"share": 0.5, "kl_strength": 0.5, "aggregation": "token_mean"},
        losses=[-2.34245202378],
        gradients={"logps": [[-1.3987212707, -0.818730753078]]},
    ),
]

from witness._rollouts import clips, objective, surrogate
from witness._rows import Row


def term(token, batch, p):
    return surrogate(token, token.d, p["epsilon_low"], p["epsilon_high"], p.get("dual_clip"), p.get("ratio_cap"))


formula, constant = objective(term, weighs=True, aggregation="token_mean")
kinks = clips(lambda tokens, token: token.d)

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # the first ratio is clipped at 1.2: -2 (1.2 + e^-0.2) / 2; -2 e^-0.2 of the second alone
    Row(
        item="PPO",
        fields=ONE,
        params={"epsilon_low": 0.2, "epsilon_high": 0.2, "aggregation": "token_mean"},
        losses=[-2.01873075308],
        gradients={"logps": [[0.0, -0.818730753078]]},
    ),
    # A = -2: the ratios are 2 e^0.5 up to 1.5, and e^-0.2 raised to 0.9
    Row(
        item="PPO, dual clip and cap",
        fields={**ONE, "advantages": [-2]},
        params={
            "epsilon_low": 0.1,
            "epsilon_high": 0.2,
            "dual_clip": 1.5,
            "ratio_cap": 4.0,
            "aggregation": "sequence_sum",
        },
        losses=[4.8],
        gradients={"logps": [[0.0, 0.0]]},
    ),
]

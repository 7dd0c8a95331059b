from witness._rollouts import clips, objective, surrogate
from witness._rows import Row


def term(token, batch, p):
    return surrogate(token, token.d, p["epsilon_low"], p["epsilon_high"])


formula, constant = objective(term, weighs=True, aggregation="sequence_mean", kl_weight=0.04)
kinks = clips(lambda tokens, token: token.d)

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}

ROWS = [
    # and 0.1 k3 of x = (1, -1), whose slope is 0.1 (1 - e^x)
    Row(
        item="GRPO",
        fields={**ONE, "ref_logps": [[0, -3]]},
        params={"epsilon_low": 0.2, "epsilon_high": 0.2, "kl_weight": 0.1, "aggregation": "sequence_mean"},
        losses=[-1.9644226896],
        gradients={"logps": [[-0.085914091423, -0.787124725137]]},
    ),
    # 0.1 e^d (e^x - x - 1), whose slope is -0.1 x e^d
    Row(
        item="GRPO, r k3",
        fields={**ONE, "ref_logps": [[0, -3]]},
        params={
            "epsilon_low": 0.2,
            "epsilon_high": 0.2,
            "kl_weight": 0.1,
            "kl": "r*k3",
            "aggregation": "sequence_mean",
        },
        losses=[-1.94445871604],
        gradients={"logps": [[-0.082436063535, -0.777794215424]]},
    ),
]

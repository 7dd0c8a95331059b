from witness._maths import mp
from witness._rollouts import no_clip, objective
from witness._rows import Row


def term(token, batch, p):
    return (p["beta"] * mp.fsum(one.l - one.q for one in token.all) - token.a) ** 2


formula, constant = objective(term, aggregation="sequence_mean")
kinks = no_clip

# Σ (l - q) = 0.5 - 0.1
ONE = {"logps": [[-1, -2]], "ref_logps": [[-1.5, -1.9]], "advantages": [-0.3]}

ROWS = [
    # (.5 * .4 + .3)², by 2 * .5 * .5 for each token
    Row(
        item="A*-PO",
        fields=ONE,
        params={"beta": 0.5, "aggregation": "sequence_mean"},
        losses=[0.25],
        gradients={"logps": [[0.5, 0.5]]},
    ),
    # twice, for each token counts
    Row(
        item="A*-PO, summed",
        fields=ONE,
        params={"beta": 0.5, "aggregation": "sequence_sum"},
        losses=[0.5],
        gradients={"logps": [[1.0, 1.0]]},
    ),
]

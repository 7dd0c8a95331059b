from witness._maths import log, logistic, mp, ordered, rows, scaled
from witness._rows import LIST, Row


def constant(fields, params):
    """λ of every ordered pair of every list."""
    out = []
    s_of = scaled(fields["logps"], fields["ref_logps"], fields.get("mask"), params["beta"])
    for s, psi in rows(s_of, fields["scores"]):
        rank = {i: 1 + sum(s[j] > s[i] or (s[j] == s[i] and j < i) for j in s) for i in s}
        unit = 1 if params["discount"] == "log1p" else log(2)
        worth = {i: unit / log(1 + rank[i]) for i in s}
        pairs = ordered(s, psi)
        out.append({(i, j): abs((2 ** psi[i] - 2 ** psi[j]) * (worth[i] - worth[j])) for i, j in pairs})
    return out


def formula(logps, ref_logps, scores, beta, discount, mask=None, held=None):
    fields = {"logps": logps, "ref_logps": ref_logps, "scores": scores, "mask": mask}
    weights = held or constant(fields, {"beta": beta, "discount": discount})
    lists = rows(scaled(logps, ref_logps, mask, beta), weights)
    return [mp.fsum(w * logistic(s[i] - s[j]) for (i, j), w in weight.items()) for s, weight in lists]


# s( ) is the sigmoid
ROWS = [
    # gains 2, 1, 0.5, ranks 1, 2, 3: weights 1/ln2 - 1/ln3, 1.5 (1/ln2 - 1/ln4), 0.5 (1/ln3 - 1/ln4) of
    # softplus(-0.5), (-1.5), (-1)
    Row(
        item="LiPO-lambda",
        fields={**LIST, "scores": [[1, 0, -1]]},
        params={"beta": 0.5, "discount": "log1p"},
        losses=[0.499944766939],
        gradients={
            "logps": [[-0.199206011559, 0.0878116611246, 0.111394350434]],
            "ref_logps": [[0.199206011559, -0.0878116611246, -0.111394350434]],
        },
    ),
    # equal s: the earlier one ranks first, so the weight is (2 - 1)(1 - 1/log2 3), the loss that times log 2, the
    # slope half of 0.5 times it
    Row(
        item="LiPO-lambda, tie",
        fields={"logps": [[-3, -3]], "ref_logps": [[-3, -3]], "scores": [[0, 1]]},
        params={"beta": 0.5, "discount": "log2"},
        losses=[0.255820000741],
        gradients={
            "logps": [[0.0922675616071, -0.0922675616071]],
        },
    ),
]

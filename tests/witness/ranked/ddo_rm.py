from witness._maths import exp, log, mp
from witness._rows import Row


def formula(held=None, **given):
    held = given if held is None else held
    out = []
    for i, row in enumerate(given["logps"]):
        at = [k for k in range(len(row)) if given.get("mask") is None or given["mask"][i][k]]
        start = held["logps" if given["improves"] == "policy" else "ref_logps"][i]
        scores, tau = given["scores"][i], given["tau"]
        weights = [exp(start[k] / tau + scores[k] / given["temperature"]) for k in at]
        total = mp.fsum(exp(row[k] / tau) for k in at)
        q = [w / mp.fsum(weights) for w in weights]
        out.append(-mp.fsum(w * log(exp(row[k] / tau) / total) for w, k in zip(q, at, strict=True)))
    return out


def constant(fields, params):
    return fields


# q from p = (1/4, 3/4) by e^r = (9, 1): (9, 3) / 12; -3/4 log 1/4 - 1/4 log 3/4 = 1.03972077084 + .0719205181129
PAIR = {"logps": [[-3.0, -1.90138771133]], "scores": [[2.19722457734, 0.0]]}

ROWS = [
    # p - q = 1/4 - 3/4
    Row(
        item="DDO-RM",
        fields=PAIR,
        params={"temperature": 1.0, "tau": 1.0, "improves": "policy"},
        losses=[1.11164128895],
        gradients={"logps": [[-0.5, 0.5]]},
    ),
    # the reference has them alike, and e^(r/2) = (3, 1), so q = (3, 1) / 4 again
    Row(
        item="DDO-RM, from the reference",
        fields={**PAIR, "ref_logps": [[-5.0, -5.0]]},
        params={"temperature": 2.0, "tau": 1.0, "improves": "reference"},
        losses=[1.11164128895],
        gradients={"logps": [[-0.5, 0.5]]},
    ),
]

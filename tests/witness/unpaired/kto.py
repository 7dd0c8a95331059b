from witness._maths import mp, rows, sigma
from witness._rows import Row


def constant(fields, params):
    """The estimate of the KL, of every completion."""
    count, estimator = len(fields["logps"]), params["estimator"]
    if estimator in ("given", "zero"):
        return fields["kl"] if estimator == "given" else [mp.zero] * count
    ratios = [x - r for x, r in rows(fields["kl_logps"], fields["kl_ref_logps"])]
    some = {"mean": len(ratios), "nonzero_mean": max(1, sum(x != 0 for x in ratios))}[estimator]
    return [mp.fsum(ratios) / some] * count


def formula(
    logps, ref_logps, desirable, beta, desirable_weight=1, undesirable_weight=1, estimator="mean",
    weights=None, held=None, **kl,
):  # fmt: skip
    known = held or constant({"logps": logps, **kl}, {"estimator": estimator})
    out = []
    for i, (x, r, good) in enumerate(rows(logps, ref_logps, desirable)):
        a, k = x - r, max(known[i], mp.zero)
        value = (
            desirable_weight * (1 - sigma(beta * (a - k))) if good else undesirable_weight * (1 - sigma(beta * (k - a)))
        )
        out.append(value * (1 if weights is None else weights[i]))
    return out


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    # a = 3, K = mean(2, -1, 2) = 1: x = 0.5 * 2 = 1: 2 σ(-1); slope -2 * 0.5 σ'(1)
    Row(
        item="KTO, good",
        fields={
            "logps": [-2.0],
            "ref_logps": [-5.0],
            "desirable": [True],
            "kl_logps": [-1.0, -4.0, 0.0],
            "kl_ref_logps": [-3.0, -3.0, -2.0],
        },
        params={"beta": 0.5, "desirable_weight": 2.0},
        losses=[0.537882842740],
        gradients={"logps": [-0.196611933241], "ref_logps": [0.196611933241], "kl_logps": [0.0, 0.0, 0.0]},
    ),
    # the same completion called bad, with K = 1 given and weight 3: 3 (1 - σ(-1)) = 3 σ(1); slope 3 * 0.5 σ'(1)
    Row(
        item="KTO, bad",
        fields={"logps": [-2.0], "ref_logps": [-5.0], "desirable": [False], "kl": [1.0], "weights": [3.0]},
        params={"beta": 0.5, "estimator": "given"},
        losses=[2.19317573589],
        gradients={"logps": [0.294917899862]},
    ),
]

from witness._maths import exp, log, mp, per_token, rows, scaled
from witness._rows import LIST, RAGGED, Row


def constant(fields, params):
    """V of every list."""
    out, tau, mask = [], params["tau"], fields.get("mask")
    for b, (ref, scores) in enumerate(rows(fields["ref_logps"], fields["scores"])):
        terms = rows(per_token(ref, fields["lengths"][b]), scores, mask[b] if mask else [True] * len(ref))
        out.append(tau * log(mp.fsum(exp(p + r / tau) for p, r, valid in terms if valid)))
    return out


def formula(logps, ref_logps, scores, lengths, tau, mask=None, held=None):
    fields = {"ref_logps": ref_logps, "scores": scores, "lengths": lengths, "mask": mask}
    values = held or constant(fields, {"tau": tau})
    policy, reference = ([per_token(x, n) for x, n in rows(side, lengths)] for side in (logps, ref_logps))
    ratio = scaled(policy, reference, mask, 1)
    return [mp.fsum((x - (r[k] - v) / tau) ** 2 for k, x in s.items()) / 2 for s, r, v in rows(ratio, scores, values)]


# s( ) is the sigmoid
ROWS = [
    # means of the reference (-1.5, -1, -3): V = 0.7 log(e^(-1.5 + 1/0.7) + e^(-1 + 0.5/0.7) + e^-3) = 0.384625971012;
    # half the squares of e = (1/2, 0, -2) - (1 - V, 0.5 - V, -V) / 0.7; the slopes are e / (2, 3, 1), V held
    Row(
        item="Reward partition",
        fields={**LIST, "scores": [[1, 0.5, 0]], "lengths": [[2, 3, 1]]},
        params={"tau": 0.7},
        losses=[1.13746832711],
        gradients={
            "logps": [[-0.189552877848, -0.0549400138037, -1.45053432713]],
            "ref_logps": [[0.189552877848, 0.0549400138037, 1.45053432713]],
        },
    ),
    # V = 0.5 log(e^(-1 + 4) + e^(-0.5 + 2) + e^-1.5) = 1.60522735639: (1/3, 0, -1) - 2 (2 - V, 1 - V, -V); then without
    # the masked one, a length of 0 counting as 1, V = 0.5 log(e^(-1 + 2) + e^(-4 + 2)) = 0.524293675787: (1/3, 0) - 2 (1 - V)
    Row(
        item="Reward partition, ragged",
        fields={**RAGGED, "scores": [[2, 1, 0], [1, 9, 1]], "lengths": [[3, 6, 2], [3, 5, 0]]},
        params={"tau": 0.5},
        losses=[3.27971999788, 0.643604033666],
        gradients={
            "logps": [[-0.152070651298, 0.201742452129, 1.10522735639], [-0.206026438364, 0.0, -0.951412648426]],
            "ref_logps": [[0.152070651298, -0.201742452129, -1.10522735639], [0.206026438364, 0.0, 0.951412648426]],
        },
    ),
    # alone, V is the mean of the reference and the reward, so the error is -2 / 2, whatever the reference and the reward
    Row(
        item="Reward partition of one",
        fields={"logps": [[-2], [-2]], "ref_logps": [[-3], [-3]], "scores": [[0], [4]], "lengths": [[2], [2]]},
        params={"tau": 0.5},
        losses=[0.5, 0.5],
        gradients={"logps": [[-0.5], [-0.5]], "ref_logps": [[0.5], [0.5]]},
    ),
]

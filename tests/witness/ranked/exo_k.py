from witness._maths import exp, log, mp, rows
from witness._rows import Row


def formula(logps, ref_logps, scores, beta, reward_beta, mask=None):
    out = []
    for b in range(len(logps)):
        kept = [k for k in range(len(logps[b])) if mask is None or mask[b][k]]
        p = [exp(beta * (logps[b][k] - ref_logps[b][k])) for k in kept]
        q = [exp(scores[b][k] / reward_beta) for k in kept]
        if len(kept) < 2:
            out.append(mp.zero)
            continue
        p, q = [x / mp.fsum(p) for x in p], [x / mp.fsum(q) for x in q]
        out.append(mp.fsum(x * log(x / y) for x, y in rows(p, q)))
    return out


EXO_K = {"logps": [[-2, -3, -5]], "ref_logps": [[-3, -3, -3]], "scores": [[1, 0.5, 0]]}

ROWS = [
    # s = 0.5 (1, 0, -2), t = (2, 1, 0): p = e^s / (e^0.5 + 1 + e^-1), q = e^t / (e^2 + e + 1); 0.5 p_i (log(p_i/q_i)
    # - L)
    Row(
        item="EXO, K",
        fields=EXO_K,
        params={"beta": 0.5, "reward_beta": 0.5},
        losses=[0.0302006654746],
        gradients={
            "logps": [[-0.0619582886363, 0.0452951384248, 0.0166631502115]],
            "ref_logps": [[0.0619582886363, -0.0452951384248, -0.0166631502115]],
        },
    ),
]

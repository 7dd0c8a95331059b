from witness._maths import exp, log, mp, scaled
from witness._rows import LIST, RAGGED, Row


def formula(logps, ref_logps, scores, beta, tau, mask=None):
    out = []
    for b, s in enumerate(scaled(logps, ref_logps, mask, beta)):
        p, q = {k: exp(x) for k, x in s.items()}, {k: exp(scores[b][k] / tau) for k in s}
        out.append(-mp.fsum(q[k] / mp.fsum(q.values()) * log(p[k] / mp.fsum(p.values())) for k in s))
    return out


# s( ) is the sigmoid
ROWS = [
    # q = softmax(2, 1, 0): log(e^0.5 + 1 + e^-1) - 0.5 q_1 + q_3; 0.5 (p - q)
    Row(
        item="ListNet",
        fields={**LIST, "scores": [[1, 0.5, 0]]},
        params={"beta": 0.5, "tau": 0.5},
        losses=[0.86154070062],
        gradients={
            "logps": [[-0.0593457842543, 0.0433852446846, 0.0159605395697]],
            "ref_logps": [[0.0593457842543, -0.0433852446846, -0.0159605395697]],
        },
    ),
    # q = softmax(1, 0.5, 0) as before with tau 1; then q = (s(1), s(-1)): s(1) softplus(-0.5) + s(-1) softplus(0.5);
    # 0.5 (s(0.5) - s(1))
    Row(
        item="ListNet, ragged",
        fields={**RAGGED, "scores": [[1, 0.5, 0], [1, 9, 0]]},
        params={"beta": 0.5, "tau": 1.0},
        losses=[1.03721413303, 0.608547694865],
        gradients={
            "logps": [[0.0200344981053, 0.0121515373528, -0.0321860354581], [-0.0542996237141, 0.0, 0.0542996237141]],
        },
    ),
]

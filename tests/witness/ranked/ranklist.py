from witness._maths import exp, log, logistic, mp, scaled
from witness._rows import LIST, RAGGED, Row


def formula(logps, ref_logps, beta, skips, decay, aggregate, mask=None):
    out = []
    for s in scaled(logps, ref_logps, mask, beta):
        s, total = list(s.values()), mp.zero
        for i in range(len(s)):
            gaps = [s[i] - s[i + k] for k in range(1, int(skips) + 1) if i + k < len(s)]
            if aggregate == "lse":
                total += log(1 + mp.fsum(exp(-d) for d in gaps))
            else:
                total += mp.fsum(decay**k * logistic(d) for k, d in enumerate(gaps))
        out.append(total)
    return out


# s( ) is the sigmoid
ROWS = [
    # softplus(-0.5) + softplus(-1) + 0.5 softplus(-1.5)
    Row(
        item="RankList",
        fields=LIST,
        params={"beta": 0.5, "skips": 2.0, "decay": 0.5, "aggregate": "sum"},
        losses=[0.88804531069],
        gradients={
            "logps": [[-0.234376715351, 0.0542996237141, 0.180077091637]],
        },
    ),
    # log(1 + e^-0.5 + e^-1.5) + log(1 + e^-1), and softplus(-0.5)
    Row(
        item="RankList, lse",
        fields=RAGGED,
        params={"beta": 0.5, "skips": 2.0, "decay": 1.0, "aggregate": "lse"},
        losses=[0.917392292855, 0.47407698418],
        gradients={
            "logps": [[-0.226725306367, 0.031278769527, 0.19544653684], [-0.188770334399, 0.0, 0.188770334399]],
        },
    ),
]

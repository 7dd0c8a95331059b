from witness._maths import exp, log, mp, scaled
from witness._rows import LIST, Row


def formula(logps, ref_logps, beta, mask=None):
    out = []
    for s in scaled(logps, ref_logps, mask, beta):
        weights = [exp(x) for x in s.values()]
        out.append(-log(weights[0] / mp.fsum(weights)) if weights else mp.zero)
    return out


# s( ) is the sigmoid
ROWS = [
    # log(1 + e^-0.5 + e^-1.5)
    Row(
        item="S-DPO",
        fields=LIST,
        params={"beta": 0.5},
        losses=[0.604130605337],
        gradients={
            "logps": [[-0.226725306367, 0.165749480212, 0.0609758261549]],
            "ref_logps": [[0.226725306367, -0.165749480212, -0.0609758261549]],
        },
    ),
    # the first is masked, so s = (0, -1): softplus(-1)
    Row(
        item="S-DPO, masked",
        fields={**LIST, "mask": [[False, True, True]]},
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={
            "logps": [[0.0, -0.134470710685, 0.134470710685]],
        },
    ),
]

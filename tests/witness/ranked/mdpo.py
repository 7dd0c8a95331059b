from witness._maths import logistic, rows
from witness._rows import Row


def formula(logps, ref_logps, beta, delta):
    out = []
    for row, ref in rows(logps, ref_logps):
        chosen, rejected, corrupted = (beta * (p - r) for p, r in rows(row, ref))
        out.append(logistic(chosen - rejected) + logistic(chosen - corrupted) + logistic(chosen - delta))
    return out


# s( ) is the sigmoid
ROWS = [
    # a = 1, b = -1, c = -3: softplus(-0.2) + softplus(-0.4) + softplus(-0.1); 0.1 times (-s(-0.2) - s(-0.4) - s(-0.1),
    # s(-0.2), s(-0.4))
    Row(
        item="mDPO",
        fields={"logps": [[-10, -12, -14]], "ref_logps": [[-11, -11, -11]]},
        params={"beta": 0.1, "delta": 0.0},
        losses=[1.75555078186],
        gradients={
            "logps": [[-0.13264991551, 0.0450166002688, 0.0401312339888]],
            "ref_logps": [[0.13264991551, -0.0450166002688, -0.0401312339888]],
        },
    ),
    # softplus(-1) + softplus(-2) + softplus(1), the last for 0.5 - 1.5; then (a, b, c) = (-2, 0, -2): softplus(1) +
    # log 2 + softplus(2.5)
    Row(
        item="mDPO, anchor at 1.5",
        fields={"logps": [[-10, -12, -14], [-8, -7, -5]], "ref_logps": [[-11, -11, -11], [-6, -7, -3]]},
        params={"beta": 0.5, "delta": 1.5},
        losses=[1.75345138608, 4.58529860237],
        gradients={
            "logps": [
                [-0.559601461011, 0.134470710685, 0.0596014610111],
                [-1.0776001993, 0.365529289315, 0.25],
            ],
            "ref_logps": [
                [0.559601461011, -0.134470710685, -0.0596014610111],
                [1.0776001993, -0.365529289315, -0.25],
            ],
        },
    ),
]

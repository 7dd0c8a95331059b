from witness._maths import log, on_margin, sigma
from witness._rows import P1P2, Row


@on_margin
def formula(h, beta, label_smoothing):
    good, bad = (1 - label_smoothing) * log(sigma(beta * h)), label_smoothing * log(sigma(-beta * h))
    return (bad - good) / (1 - 2 * label_smoothing)


ROWS = [
    # z = (1, -0.75): softplus(-z) - (0.2/0.6) z; -0.5 [σ(-z) + 1/3]
    Row(
        item="robust DPO",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.2},
        losses=[-0.0200716458151, 1.38687100611],
        gradients={"chosen": [-0.301137377352, -0.506256016254], "ref_chosen": [0.301137377352, 0.506256016254]},
    ),
]

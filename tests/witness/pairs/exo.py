from witness._maths import coin, kl, on_margin
from witness._rows import P1P2, Row


@on_margin
def formula(h, beta, label_smoothing):
    return kl(coin(beta * h), (1 - label_smoothing, label_smoothing))


ROWS = [
    # z = (1, -0.75), target log 9: σ(z) log(σ(z)/0.9) + σ(-z) log(σ(-z)/0.1); 0.5 σ(z) σ(-z) (z - log 9)
    Row(
        item="EXO",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=[0.114082107667, 0.970181664156],
        gradients={"chosen": [-0.117694319337, -0.321092740447], "ref_rejected": [-0.117694319337, -0.321092740447]},
    ),
]

from witness._maths import exp, logistic, on_margin, sigma
from witness._rows import P1P2, Row


@on_margin
def formula(h, beta, tau):
    z = beta * h
    return sigma(-z / tau) * logistic(z) + sigma(z / tau) * exp(-z)


ROWS = [
    # z = (1, -0.75), m = σ(2 z): (1 - m) softplus(-z) + m e^-z; 0.5 [-(1-m) σ(-z) - m e^-z + 2 m (1-m) (e^-z -
    # softplus(-z))]
    Row(
        item="DiscoPOP",
        fields=P1P2,
        params={"beta": 0.5, "tau": 0.5},
        losses=[0.361368845342, 1.31567155425],
        gradients={"chosen": [-0.172308356273, -0.324554238587], "ref_rejected": [-0.172308356273, -0.324554238587]},
    ),
]

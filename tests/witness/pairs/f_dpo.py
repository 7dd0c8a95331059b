from witness._maths import e, log, logistic, on_ratios, sigma
from witness._rows import P1P2, Row


@on_ratios
def formula(a, b, beta, divergence, alpha=None, convention="paper"):
    power = alpha if convention == "paper" else 1 - alpha
    score = {
        "reverse_kl": lambda x: x,
        "forward_kl": lambda x: -e(-x),
        "js": lambda x: log(2 * sigma(x)),
        "alpha": lambda x: (1 - e(-power * x)) / power,
    }[divergence]
    return logistic(beta * (score(a) - score(b)))


ROWS = [
    # z = (1, -0.75), as DPO
    Row(
        item="f-DPO, reverse KL",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "reverse_kl"},
        losses=[0.313261687518, 1.13687100611],
        gradients={"chosen": [-0.134470710685, -0.339589349588], "rejected": [0.134470710685, 0.339589349588]},
    ),
    # u = 0.5 (e^-b - e^-1), b = (-1, 2.5): softplus(-u); -0.5 σ(-u) e^-1 and 0.5 σ(-u) e^-b
    Row(
        item="f-DPO, forward KL",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "forward_kl"},
        losses=[0.269077719882, 0.767146074459],
        gradients={"chosen": [-0.0433943472486, -0.0985298201733], "rejected": [0.320643266197, 0.0219849745547]},
    ),
    # u = 0.5 (log σ(1) - log σ(b)): softplus(-u); -0.5 σ(-u) σ(-1) and 0.5 σ(-u) σ(-b)
    Row(
        item="f-DPO, JS",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "js"},
        losses=[0.47407698418, 0.753455756701],
        gradients={"chosen": [-0.0507681620458, -0.0711703736082], "rejected": [0.138002172353, 0.0200744644906]},
    ),
    # u = 0.5 (e^(-b/4) - e^(-1/4)) / 0.25; -0.5 σ(-u) e^(-1/4) and 0.5 σ(-u) e^(-b/4)
    Row(
        item="f-DPO, alpha",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "alpha", "alpha": 0.25, "convention": "paper"},
        losses=[0.310462163194, 0.966053644755],
        gradients={"chosen": [-0.103927825017, -0.241201615543], "rejected": [0.171348015723, 0.16577528439]},
    ),
    # TRL's 0.75 is the paper's 1 - 0.75
    Row(
        item="f-DPO, alpha of TRL",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "alpha", "alpha": 0.75, "convention": "trl"},
        losses=[0.310462163194, 0.966053644755],
        gradients={"chosen": [-0.103927825017, -0.241201615543], "rejected": [0.171348015723, 0.16577528439]},
    ),
]

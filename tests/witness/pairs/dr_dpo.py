from witness._maths import exp, log, logistic, margins, mean
from witness._rows import P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, robustness):
    each = [logistic(beta * h) for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    return [-robustness * log(mean([exp(-loss / robustness) for loss in each]))] * len(each)


# s( ) is the sigmoid
ROWS = [
    # e^-l = s(z), z = (1, -0.75): -log of their mean, twice; the sum has slope -2 * 0.5 s(z) s(-z) / (sum of s)
    Row(
        item="Dr. DPO",
        fields=P1P2,
        params={"beta": 0.5, "robustness": 1.0},
        losses=[0.642568255792, 0.642568255792],
        gradients={
            "chosen": [-0.186914815163, -0.20714817159],
            "ref_chosen": [0.186914815163, 0.20714817159],
        },
    ),
    # the same with squares: -0.5 log of the mean of s(z)^2
    Row(
        item="Dr. DPO, sharper",
        fields=P1P2,
        params={"beta": 0.5, "robustness": 0.5},
        losses=[0.571773746321, 0.571773746321],
        gradients={
            "chosen": [-0.225511358624, -0.109677316982],
        },
    ),
]

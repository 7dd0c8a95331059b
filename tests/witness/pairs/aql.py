from witness._maths import margins, mean, mixed, mp, sigma
from witness._rows import MARGINS, P1, P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta):
    x = [20 * beta * h for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    q = mp.mpf(1) / 2 + (sigma(mean(x)) - mp.mpf(1) / 2) / 100
    return [mixed(sigma(q - h), h / 20) for h in x]


# s( ) is the sigmoid
ROWS = [
    # z = (0.1, -0.075), x = 20 z, q = 0.5 + 0.01 (s(0.25) - 0.5) = 0.500621765009, w = s(q - x) = (0.182518276163,
    # 0.880862343861); with D = softplus(-z) - (1 - z), loss' = -0.05 (w s(-z) + 1 - w) - w (1 - w) D, and each x has its
    # half of 0.01 s(0.25) s(-0.25) times the sum of w (1 - w) D, which is -0.0742013349553
    Row(
        item="AQL",
        fields=P1P2,
        params={"beta": 0.05},
        losses=[0.853347719015, 0.772291779581],
        gradients={
            "chosen": [-0.00716301549113, 0.00716876751647],
            "rejected": [0.00716301549113, -0.00716876751647],
            "ref_chosen": [0.00716301549113, -0.00716876751647],
            "ref_rejected": [-0.00716301549113, 0.00716876751647],
        },
    ),
    # the same with x = (20, -1.5, 3), q = 0.504992287039; the first is at the kink of the hinge, which has no slope there
    Row(
        item="AQL, hinge at its kink",
        fields={"chosen": [20, -1.5, 3], **MARGINS},
        params={"beta": 0.05},
        losses=[1.06987492079e-9, 0.772134423483, 0.832544888606],
        gradients={"chosen": [-1.34880979087e-7, 0.00715103539892, -0.0318274103449]},
    ),
    # twice that strength: x = 2 h = (4, -3, 6) and z = x / 20, q = 0.504116003228, w = (0.0294295706526, 0.970804655372,
    # 0.00408685633333), the sum -0.01710185661; loss' = -0.1 (w s(-z) + 1 - w) - 2 w (1 - w) D, and 2 for the shares
    Row(
        item="AQL, of a stronger constraint",
        fields={"chosen": [2, -1.5, 3], **MARGINS},
        params={"beta": 0.1},
        losses=[0.794059313594, 0.782023337408, 0.699404770808],
        gradients={"chosen": [-0.0868593407497, -0.0336162507909, -0.0985888281528]},
    ),
    # one pair is its own mean: q = 0.5 + 0.01 (s(2) - 0.5) = 0.50380797078, w = s(q - 2) = 0.182994156106; the slope has
    # 1 - 0.01 s(2) s(-2) of w'
    Row(
        item="AQL of one",
        fields=P1,
        params={"beta": 0.05},
        losses=[0.853226082512],
        gradients={"chosen": [-0.00702215274228], "rejected": [0.00702215274228]},
    ),
]

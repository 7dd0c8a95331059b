from witness._maths import logistic, margins, relu, rows
from witness._rows import MARGINS, P1P2, Row


def constant(fields, params=None):
    """Which pairs the policy orders, which decides between the two halves of PFL."""
    return [w > v for w, v in rows(fields["chosen"], fields["rejected"])]


def kinks(fields, params):
    """The step between the halves."""
    return [[w - v] for w, v in rows(fields["chosen"], fields["rejected"])]


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, held=None):
    z = [beta * h for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    right = held or constant({"chosen": chosen, "rejected": rejected})
    return [logistic(x) / 2 if good else 2 * relu(1 - x) for x, good in rows(z, right)]


# s( ) is the sigmoid
ROWS = [
    # half of softplus(-0.6), and -0.15 s(-0.6); then 2 (1 + 0.3 * 1.5)
    Row(
        item="PFL",
        fields=P1P2,
        params={"beta": 0.3},
        losses=[0.218743975243, 2.9],
        gradients={
            "chosen": [-0.0531515540661, -0.6],
            "rejected": [0.0531515540661, 0.6],
            "ref_chosen": [0.0531515540661, 0.6],
            "ref_rejected": [-0.0531515540661, -0.6],
        },
    ),
    # a tie counts as not preferred: 2; half of softplus(-0.15) and -0.15 s(-0.15); 2 (1 + 0.6)
    Row(
        item="PFL, tie",
        fields={"chosen": [0, 0.5, -2], **MARGINS},
        params={"beta": 0.3},
        losses=[2.0, 0.310478523895, 3.2],
        gradients={"chosen": [-0.6, -0.0693855231984, -0.6]},
    ),
    # the policy is the reference and prefers chosen: half of log 2, and -β / 4
    Row(
        item="PFL at its reference",
        fields={"chosen": [-10], "rejected": [-12], "ref_chosen": [-10], "ref_rejected": [-12]},
        params={"beta": 0.05},
        losses=[0.34657359028],
        gradients={"chosen": [-0.0125], "rejected": [0.0125]},
    ),
]

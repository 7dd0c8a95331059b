from witness._maths import rows, transported
from witness._rows import AOT, P1, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing):
    ours, theirs = ([c - r for c, r in rows(*sides)] for sides in ((chosen, rejected), (ref_chosen, ref_rejected)))
    return transported(ours, theirs, beta, label_smoothing)


# s( ) is the sigmoid
ROWS = [
    # u = (2, -1), v = (0, 1.5): -1 meets 0 and 2 meets 1.5, z = (0.25, -0.5): softplus(-z) + 0.1 z; 0.5 (0.1 -
    # s(-z)), crossed for the reference
    Row(
        item="AOT",
        fields=AOT,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=[0.600939419879, 0.92407698418],
        gradients={
            "chosen": [-0.168911749557, -0.261229665601],
            "rejected": [0.168911749557, 0.261229665601],
            "ref_chosen": [0.261229665601, 0.168911749557],
            "ref_rejected": [-0.261229665601, -0.168911749557],
        },
    ),
    # one pair: DPO with z = 1
    Row(
        item="AOT of one",
        fields=P1,
        params={"beta": 0.5, "label_smoothing": 0.0},
        losses=[0.313261687518],
        gradients={
            "chosen": [-0.134470710685],
            "ref_chosen": [0.134470710685],
        },
    ),
]

from witness._maths import ratios, rows, transported
from witness._rows import AOT, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing):
    a, b = rows(*ratios(chosen, rejected, ref_chosen, ref_rejected))
    return transported(a, b, beta, label_smoothing)


# s( ) is the sigmoid
ROWS = [
    # a = (1, 0.5), b = (-1, 0.5): 0.5 meets -1 and 1 meets 0.5, z = (0.25, 0.75), crossed for the rejected
    Row(
        item="AOT unpaired",
        fields={**AOT, "ref_chosen": [-11, -8.5], "ref_rejected": [-11, -7.5]},
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=[0.600939419879, 0.461871006115],
        gradients={
            "chosen": [-0.168911749557, -0.110410650412],
            "ref_chosen": [0.168911749557, 0.110410650412],
            "rejected": [0.110410650412, 0.168911749557],
            "ref_rejected": [-0.110410650412, -0.168911749557],
        },
    ),
    # a = (1, 1) keeps its order, b = (-1, 0.5): z = (1, 0.25)
    Row(
        item="AOT unpaired, tie",
        fields={**AOT, "ref_chosen": [-11, -9], "ref_rejected": [-11, -7.5]},
        params={"beta": 0.5, "label_smoothing": 0.0},
        losses=[0.313261687518, 0.575939419879],
        gradients={
            "chosen": [-0.134470710685, -0.218911749557],
            "rejected": [0.134470710685, 0.218911749557],
        },
    ),
]

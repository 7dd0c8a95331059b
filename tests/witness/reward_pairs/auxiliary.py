from witness._rows import Row


def formula(auxiliary):
    return auxiliary


ROWS = [
    Row(
        item="auxiliary",
        fields={"auxiliary": [0.5, 3]},
        params={},
        losses=[0.5, 3],
        gradients={"auxiliary": [1, 1]},
    ),
]

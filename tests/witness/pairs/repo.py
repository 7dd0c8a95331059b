from witness._maths import mean_gaps, on_means, relu
from witness._rows import SIMPO, Row


@on_means
def formula(p, q, gamma):
    return relu(gamma - (p - q))


def kinks(fields, params):
    return [[params["gamma"] - m] for m in mean_gaps(fields)]


ROWS = [
    # 0.8 - 0.5; -1/4 and 1/5
    Row(
        item="RePO",
        fields=SIMPO,
        params={"gamma": 0.8},
        losses=[0.3],
        gradients={"chosen": [-0.25], "rejected": [0.2]},
    ),
    # at its kink a hinge has derivative 0
    Row(
        item="RePO, at its kink",
        fields={"chosen": [0.0], "rejected": [-0.5], "chosen_len": [1.0], "rejected_len": [1.0]},
        params={"gamma": 0.5},
        losses=[0.0],
        gradients={"chosen": [0.0], "rejected": [0.0]},
    ),
]

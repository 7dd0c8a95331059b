from witness._maths import e, on_means
from witness._rows import SIMPO, Row


@on_means
def formula(p, q):
    return e(q) - e(p)


ROWS = [
    # e^-1.3 - e^-0.8; -e^-0.8/4 and e^-1.3/5
    Row(
        item="SimPER",
        fields=SIMPO,
        params={},
        losses=[-0.176797171083],
        gradients={"chosen": [-0.112332241029], "rejected": [0.0545063586068]},
    ),
]

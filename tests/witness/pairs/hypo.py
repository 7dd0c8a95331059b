from witness._maths import logistic, relu, rows
from witness._rows import FLAT, P1, P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta):
    return [
        logistic(beta * ((c - r) - relu(rc - rr))) for c, r, rc, rr in rows(chosen, rejected, ref_chosen, ref_rejected)
    ]


def kinks(fields, params):
    return [[w - v] for w, v in rows(fields["ref_chosen"], fields["ref_rejected"])]


ROWS = [
    # Δ = (2, -1), Δ_ref = (0, 0.5): u = (1, -0.75); the reference of the first pair is at the kink
    Row(
        item="HyPO",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.313261687518, 1.13687100611],
        gradients={"chosen": [-0.134470710685, -0.339589349588], "ref_chosen": [0.0, 0.339589349588]},
    ),
    # Δ_ref = -0.5 is ignored: u = 0.5 * 2
    Row(
        item="HyPO, pessimistic",
        fields={**P1, "ref_rejected": [-10.5]},
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "ref_chosen": [0.0]},
    ),
    # log 2, -σ(0); at its kink max(0, .) has derivative 0
    Row(
        item="HyPO, at its kink",
        fields=FLAT,
        params={"beta": 1.0},
        losses=[0.69314718056],
        gradients={"chosen": [-0.5], "ref_chosen": [0.0], "ref_rejected": [0.0]},
    ),
]

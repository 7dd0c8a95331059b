from witness._maths import logistic, margins, mean, rows
from witness._rows import P1P2, Row


def constant(fields, params):
    """β_B, once for every pair."""
    gap = mean(margins(**fields))
    scale = params["beta"] * (1 + params["alpha"] * (gap - params["mean_gap"]))
    return [max(params["floor"], scale)] * len(fields["chosen"])


def formula(chosen, rejected, ref_chosen, ref_rejected, beta, alpha, mean_gap, floor, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "ref_chosen": ref_chosen, "ref_rejected": ref_rejected}
    params = {"beta": beta, "alpha": alpha, "mean_gap": mean_gap, "floor": floor}
    betas = held or constant(fields, params)
    return [logistic(scale * h) for scale, h in rows(betas, margins(**fields))]


# s( ) is the sigmoid
ROWS = [
    # mean h = 0.25: 0.5 (1 + 0.6 * 0.25) = 0.575; softplus(-1.15), softplus(0.8625)
    Row(
        item="beta-DPO",
        fields=P1P2,
        params={"beta": 0.5, "alpha": 0.6, "mean_gap": 0.0, "floor": 0.001},
        losses=[0.275080583186, 1.21463851878],
        gradients={
            "chosen": [-0.138281222754, -0.404330058951],
            "ref_rejected": [-0.138281222754, -0.404330058951],
        },
    ),
    # 0.5 (1 - 0.6 * 4.75) < 0, so the floor: softplus(-0.02), softplus(0.015)
    Row(
        item="beta-DPO, floor",
        fields=P1P2,
        params={"beta": 0.5, "alpha": 0.6, "mean_gap": 5.0, "floor": 0.01},
        losses=[0.683197179727, 0.700675305296],
        gradients={
            "chosen": [-0.0049500016666, -0.00503749929689],
            "rejected": [0.0049500016666, 0.00503749929689],
        },
    ),
]

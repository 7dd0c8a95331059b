from witness._maths import logistic, mean, mean_gaps, mp, rows, spread_of
from witness._rows import Row


def constant(fields, params):
    """The target margin of every pair."""
    ref = {side: fields[f"ref_{side}"] for side in ("chosen", "rejected")}
    gaps = [ours - theirs for ours, theirs in rows(mean_gaps(fields), mean_gaps({**fields, **ref}))]
    center = mean(gaps) if params["mean_gap"] is None else params["mean_gap"]
    spread = spread_of(gaps) if params["gap_std"] is None else params["gap_std"]
    usual = [(gap - center) / spread if spread else mp.zero for gap in gaps]
    return [params["gamma_beta_ratio"] + params["alpha"] * x for x in usual]


def formula(beta, gamma_beta_ratio, alpha, mean_gap=None, gap_std=None, held=None, **fields):
    params = {"gamma_beta_ratio": gamma_beta_ratio, "alpha": alpha, "mean_gap": mean_gap, "gap_std": gap_std}
    targets = held or constant(fields, params)
    return [logistic(beta * (gap - target)) for gap, target in rows(mean_gaps(fields), targets)]


# s( ) is the sigmoid
ROWS = [
    # gaps of means (0.6, 0.3, 0.5), of the reference (-0.2, -0.2, 0.3): G = (0.8, 0.5, 0.2), M = 0.5, S = 0.3, targets
    # 0.4 + 0.1 (1, 0, -1): z = 10 (0.6 - 0.5, 0.3 - 0.4, 0.5 - 0.3) = (1, -1, 2); -10 s(-z) / length, targets held
    Row(
        item="alpha-DPO",
        fields={
            "chosen": [-1.6, -1.4, -2.5],
            "rejected": [-5, -4, -2],
            "ref_chosen": [-4.8, -2.4, -3.5],
            "ref_rejected": [-5, -4, -2],
            "chosen_len": [4, 2, 5],
            "rejected_len": [5, 4, 2],
        },
        params={"beta": 10.0, "gamma_beta_ratio": 0.4, "alpha": 0.1, "mean_gap": None, "gap_std": None},
        losses=[0.313261687518, 1.31326168752, 0.126928011043],
        gradients={
            "chosen": [-0.672353553425, -3.65529289315, -0.238405844044],
            "rejected": [0.53788284274, 1.82764644658, 0.596014610111],
            "ref_chosen": [0, 0, 0],
            "ref_rejected": [0, 0, 0],
        },
    ),
    # G = 0.5 + 0.25, (G - M) / S = 1: z = 2.5 (0.5 - 0.75) = -0.625
    Row(
        item="alpha-DPO, mean and spread given",
        fields={
            "chosen": [-2],
            "rejected": [-2],
            "ref_chosen": [-3],
            "ref_rejected": [-1],
            "chosen_len": [4],
            "rejected_len": [2],
        },
        params={"beta": 2.5, "gamma_beta_ratio": 0.55, "alpha": 0.2, "mean_gap": 0.25, "gap_std": 0.5},
        losses=[1.05370067828],
        gradients={"chosen": [-0.407096790416], "rejected": [0.814193580833], "ref_chosen": [0]},
    ),
    # gaps (0.5, 0.25), of the reference (-0.5, 0.25): G = (1, 0), M = 0.5, S = sqrt(0.5), targets 0.25 + 0.2 (1, -1) /
    # sqrt 2: z = (0.5 - 0.2 sqrt 2, 0.2 sqrt 2)
    Row(
        item="alpha-DPO of two",
        fields={
            "chosen": [-2, -1],
            "rejected": [-2, -3],
            "ref_chosen": [-4, -1],
            "ref_rejected": [-1, -3],
            "chosen_len": [4, 2],
            "rejected_len": [2, 4],
        },
        params={"beta": 2.0, "gamma_beta_ratio": 0.25, "alpha": 0.2, "mean_gap": None, "gap_std": None},
        losses=[0.590451651678, 0.561692667695],
        gradients={"chosen": [-0.222961510792, -0.42975698545], "rejected": [0.445923021584, 0.214878492725]},
    ),
    # a single pair is its own mean: z = 2 (0.5 - 0.25)
    Row(
        item="alpha-DPO of one, spread given",
        fields={
            "chosen": [-2],
            "rejected": [-2],
            "ref_chosen": [-4],
            "ref_rejected": [-1],
            "chosen_len": [4],
            "rejected_len": [2],
        },
        params={"beta": 2.0, "gamma_beta_ratio": 0.25, "alpha": 0.2, "mean_gap": None, "gap_std": 0.5},
        losses=[0.47407698418],
        gradients={"chosen": [-0.188770334399], "rejected": [0.377540668798]},
    ),
    # gaps (0.5, -0.75), of the reference (0.25, -1): both G are 0.25, no spread, so z = 2 (0.5 - 0.25, -0.75 - 0.25),
    # whatever M; a length of 0 counts as 1
    Row(
        item="alpha-DPO, equal gaps",
        fields={
            "chosen": [-2, -1],
            "rejected": [-2, -1],
            "ref_chosen": [-3, -1.25],
            "ref_rejected": [-2, -1],
            "chosen_len": [4, 0],
            "rejected_len": [2, 4],
        },
        params={"beta": 2.0, "gamma_beta_ratio": 0.25, "alpha": 0.2, "mean_gap": 0.0, "gap_std": None},
        losses=[0.47407698418, 2.12692801104],
        gradients={
            "chosen": [-0.188770334399, -1.76159415596],
            "rejected": [0.377540668798, 0.440398538989],
        },
    ),
]

from witness._maths import log, mp, sigma
from witness._rows import CALIBRATED, P1, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, calibration, ref_calibration, beta, alpha, sign):
    # J*(r) = -β E_cal[log π - log π_ref] for r = β log(π / π_ref); minimise  ℓ_BT - sign α J*
    ratios = [p - r for p, r in zip(calibration, ref_calibration, strict=True)]
    value = -beta * mp.fsum(ratios) / len(ratios)
    quadruples = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [-log(sigma(beta * ((c - rc) - (r - rr)))) - sign * alpha * value for c, r, rc, rr in quadruples]


# calibration aliased to the chosen completion: 0.2 * 0.5 * (-10 + 11) = 0.1
VPO_B = {**P1, "calibration": [-10], "ref_calibration": [-11]}

ROWS = [
    # softplus(-1) - 0.05; 0.2 * 0.5 / 2 each
    Row(
        item="VPO A, online",
        fields=CALIBRATED,
        params={"beta": 0.5, "alpha": 0.2, "sign": 1},
        losses=[0.263261687518],
        gradients={"chosen": [-0.134470710685], "calibration": [0.05, 0.05]},
    ),
    # softplus(-1) + 0.05
    Row(
        item="VPO A, offline",
        fields=CALIBRATED,
        params={"beta": 0.5, "alpha": 0.2, "sign": -1},
        losses=[0.363261687518],
        gradients={"chosen": [-0.134470710685], "calibration": [-0.05, -0.05]},
    ),
    # softplus(-1) - 0.1; -0.5 σ(-1) - 0.1
    Row(
        item="VPO B, offline",
        fields=VPO_B,
        params={"beta": 0.5, "alpha": 0.2, "sign": -1},
        losses=[0.213261687518],
        gradients={"chosen+calibration": [-0.234470710685], "rejected": [0.134470710685]},
    ),
    # softplus(-1) + 0.1; -0.5 σ(-1) + 0.1
    Row(
        item="VPO B, online",
        fields=VPO_B,
        params={"beta": 0.5, "alpha": 0.2, "sign": 1},
        losses=[0.413261687518],
        gradients={"chosen+calibration": [-0.0344707106850], "rejected": [0.134470710685]},
    ),
]

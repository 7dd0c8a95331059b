"""Hand-worked losses and gradients, as data: every implementation of an objective is held against the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One worked example, to 12 significant digits.

    ``gradients`` holds partials with respect to summed log-probs; a key "a+b" is the sum of two of them, for fields
    that name the same completion. With ``mean`` the numbers are those of the batch mean instead of the examples.
    """

    item: str
    objective: str
    fields: Mapping[str, Any]
    params: Mapping[str, Any]
    losses: Any
    gradients: Mapping[str, Any] = field(default_factory=dict)
    mean: bool = False

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays: masks bool, annotators int, everything else float64."""
        kinds = {"annotator": np.int64, "mask": bool, "chosen_mask": bool, "rejected_mask": bool}
        return {name: np.array(value, dtype=kinds.get(name, np.float64)) for name, value in self.fields.items()}

    def check(self, losses: np.ndarray, gradients: Mapping[str, np.ndarray]) -> None:
        """Hold per-example losses and gradients of their sum against the row: 12 digits leave a relative 1e-11."""
        count = len(losses) if self.mean else 1
        observed = np.mean(losses) if self.mean else losses
        np.testing.assert_allclose(observed, self.losses, rtol=1e-11, atol=1e-15, err_msg=f"{self.item}: losses")
        for name, expected in self.gradients.items():
            total = sum(gradients[part] for part in name.split("+")) / count
            np.testing.assert_allclose(total, expected, rtol=1e-11, atol=1e-15, err_msg=f"{self.item}: {name}")


# P1 has h = (-10 + 12) - (-11 + 11) = 2 and P2 has h = (-8 + 7) - (-9 + 9.5) = -1.5
P1 = {"chosen": [-10], "rejected": [-12], "ref_chosen": [-11], "ref_rejected": [-11]}
P1P2 = {"chosen": [-10, -8], "rejected": [-12, -7], "ref_chosen": [-11, -9], "ref_rejected": [-11, -9.5]}
IPO_LENGTHS = {"chosen_len": [4], "rejected_len": [5]}
# Δ = -3.2/4 + 6.5/5 = 0.5; γ = 2.5 * 0.55 = 1.375; z = 1.25 - 1.375 = -0.125; z' = -1.25 - 1.375 = -2.625
SIMPO = {"chosen": [-3.2], "rejected": [-6.5], "chosen_len": [4], "rejected_len": [5]}
SIMPO_PARAMS = {"beta": 2.5, "gamma_beta_ratio": 0.55, "label_smoothing": 0.1}
# s = (-0.5, -1, -1.5), gaps (0.5, 3), then 2.5; the second prompt has s = (-1, -2), gap 1 and no third candidate
PRO_ONE = {"logps": [[-2, -6, -9]], "lengths": [[4, 6, 6]], "scores": [[2, 1.5, -1]]}
PRO_RAGGED = {
    "logps": [[-2, -6, -9], [-3, -4, 0]],
    "lengths": [[4, 6, 6], [3, 2, 1]],
    "scores": [[2, 1.5, -1], [1, 0, 0]],
    "mask": [[True, True, True], [True, True, False]],
}
CPL_A = {
    "chosen": [[-1, -2, -1]],
    "rejected": [[-2, -1, 0]],
    "rejected_mask": [[True, True, False]],
}
CPL_B = {
    "chosen": [[-1, -1]],
    "rejected": [[-2, -1.5]],
    "ref_chosen": [[-1.5, -1]],
    "ref_rejected": [[-1, -2]],
    "label": [0.75],
}
# h = (10, -5, -20), so u = 0.1 h = (1, -0.5, -2)
LCPO_A = {
    "chosen": [-5, -10, -30],
    "rejected": [-15, -5, -10],
    "ref_chosen": [-8, -8, -9],
    "ref_rejected": [-8, -8, -9],
    "annotator": [0, 1, 0],
}
LCPO_IPO = {"chosen": [-1.0], "rejected": [-1.5], "ref_chosen": [-2.0], "ref_rejected": [-2.0]}
LCPO_SIMPO = {"chosen": [-0.5], "rejected": [-1.0], "chosen_len": [1], "rejected_len": [1]}
# the bonus before its sign is α β mean(-5 + 6, -9 + 7) = 0.2 * 0.5 * -0.5 = -0.05
VPO_A = {**P1, "calibration": [-5, -9], "ref_calibration": [-6, -7]}
# calibration aliased to the chosen completion: 0.2 * 0.5 * (-10 + 11) = 0.1
VPO_B = {**P1, "calibration": [-10], "ref_calibration": [-11]}
# D(π) = 2, D(ref) = -0.4, D(π_t) = 1
INPO = {
    "chosen": [-10],
    "rejected": [-12],
    "ref_chosen": [-11],
    "ref_rejected": [-10.6],
    "opponents_chosen": [[-10.5]],
    "opponents_rejected": [[-11.5]],
}
# D(q1) = 1, D(q2) = -1: a = 0.5 (2 - 0.7 + 0.3) = 0.8
MNPO = {
    "chosen": [-10],
    "rejected": [-12],
    "opponents_chosen": [[-10.5], [-12]],
    "opponents_rejected": [[-11.5], [-11]],
}
MNPO_PARAMS = {"beta": 0.5, "tau": 0.0, "weights": (0.7, 0.3)}

ROWS = [
    # z = 0.5 * 2 = 1: softplus(-1); -0.5 σ(-1)
    Row(
        item="DPO",
        objective="dpo",
        fields=P1,
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={
            "chosen": [-0.134470710685],
            "rejected": [0.134470710685],
            "ref_chosen": [0.134470710685],
            "ref_rejected": [-0.134470710685],
        },
    ),
    # z = (1, -0.75): softplus(-1) + 0.1, softplus(0.75) - 0.075
    Row(
        item="DPO A",
        objective="dpo",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=[0.413261687518, 1.06187100611],
    ),
    # half of 0.5 (σ(z) - 0.9)
    Row(
        item="DPO A, mean",
        objective="dpo",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=0.737566346817,
        gradients={"chosen": [-0.0422353553425, -0.144794674794], "rejected": [0.0422353553425, 0.144794674794]},
        mean=True,
    ),
    # target 1/0.2 = 5: (2 - 5)², 2 (2 - 5)
    Row(
        item="IPO A",
        objective="ipo",
        fields=P1,
        params={"tau": 0.1, "length_normalized": False},
        losses=[9.0],
        gradients={"chosen": [-6.0], "rejected": [6.0]},
    ),
    # h = (-10 + 11)/4 - (-12 + 11)/5 = 0.45, target 1: 0.55²; -1.1/4 and 1.1/5
    Row(
        item="IPO B",
        objective="ipo",
        fields={**P1, **IPO_LENGTHS},
        params={"tau": 0.5, "length_normalized": True},
        losses=[0.3025],
        gradients={"chosen": [-0.275], "rejected": [0.22]},
    ),
    # softplus(0.125) - 0.0125; 2.5 (σ(-0.125) - 0.9) / 4, and / -5
    Row(
        item="SimPO A, trl",
        objective="simpo",
        fields=SIMPO,
        params={**SIMPO_PARAMS, "smoothing": "trl"},
        losses=[0.745099035317],
        gradients={"chosen": [-0.269505858359], "rejected": [0.215604686687]},
    ),
    # 0.9 softplus(0.125) + 0.1 softplus(2.625); 2.5 (0.1 σ(2.625) - 0.9 σ(0.125)) / 4, and / -5
    Row(
        item="SimPO A, swap",
        objective="simpo",
        fields=SIMPO,
        params={**SIMPO_PARAMS, "smoothing": "swap"},
        losses=[0.951332751750],
        gradients={"chosen": [-0.240526940719], "rejected": [0.192421552575]},
    ),
    # 1 + 0.125; -2.5/4 and 2.5/5
    Row(
        item="SimPO B",
        objective="simpo",
        fields=SIMPO,
        params={"beta": 2.5, "gamma": 1.375, "link": "hinge"},
        losses=[1.125],
        gradients={"chosen": [-0.625], "rejected": [0.5]},
    ),
    # Δ = -0.1 + 1.3 = 1.2, z = 3 - 1.375 = 1.625 is beyond the margin
    Row(
        item="SimPO B, beyond the margin",
        objective="simpo",
        fields={**SIMPO, "chosen": [-0.4]},
        params={"beta": 2.5, "gamma": 1.375, "link": "hinge"},
        losses=[0.0],
        gradients={"chosen": [0.0], "rejected": [0.0]},
    ),
    # k=1: log(e^-1.5 + e^-0.5 + e^-4.5) + 1.5 = 1.32656264127; k=2: softplus(2.5 (-1.5 + 1)) = 0.251929081345;
    # SFT 0.05 * 2² * 2 = 0.4.  Second prompt: softplus(-1) + 0.05 * 3
    Row(
        item="PRO A",
        objective="pro",
        fields=PRO_RAGGED,
        params={"sft_weight": 0.05, "temperature": "reward_gap"},
        losses=[1.97849172261, 0.463261687518],
        gradients={
            "logps": [[-0.750959053421, -0.0326751258210, 0.0993981679874], [-0.139647140457, 0.134470710685, 0.0]]
        },
    ),
    # half of the sum of the two prompts, not of their three terms
    Row(
        item="PRO A, mean",
        objective="pro",
        fields=PRO_RAGGED,
        params={"sft_weight": 0.05, "temperature": "reward_gap"},
        losses=1.22087670507,
        mean=True,
    ),
    # Plackett-Luce on s: log(1 + e^-0.5 + e^-1) + softplus(-0.5)
    Row(
        item="PRO B",
        objective="pro",
        fields=PRO_ONE,
        params={"sft_weight": 0.0, "temperature": "none"},
        losses=[1.15434665482],
        gradients={"logps": [[-0.123379902236, -0.0117241305133, 0.0939773986707]]},
    ),
    # nothing to choose from: no stage, and (K - 1)² = 0 for one completion; nor is there one to imitate for none
    Row(
        item="PRO C, one completion and none",
        objective="pro",
        fields={
            "logps": [[-2, -6], [-3, -4]],
            "lengths": [[4, 6], [3, 2]],
            "scores": [[2, 1.5], [1, 0]],
            "mask": [[False, True], [False, False]],
        },
        params={"sft_weight": 0.05, "temperature": "reward_gap"},
        losses=[0.0, 0.0],
        gradients={"logps": [[0.0, 0.0], [0.0, 0.0]]},
    ),
    # A+ = 0.5 (-1 - 1.8 - 0.81) = -1.805, A- = 0.5 (-2 - 0.9) = -1.45: softplus(-0.725 + 1.805); -σ(1.08) 0.5 γ^t
    Row(
        item="CPL A",
        objective="cpl",
        fields=CPL_A,
        params={"alpha": 0.5, "bias": 0.5, "discount": 0.9},
        losses=[1.37236772186],
        gradients={
            "chosen": [[-0.373246991669, -0.335922292502, -0.302330063252]],
            "rejected": [[0.186623495834, 0.167961146251, 0.0]],
        },
    ),
    # A_c = 2 * 0.5 = 1, A_r = 2 (-1 + 0.9 * 0.5) = -1.1: 0.75 softplus(-0.55 - 1) + 0.25 softplus(0.5 + 1.1);
    # the paper's y = 0.25 is the probability of the second segment, so the first is better with 0.75
    Row(
        item="CPL B",
        objective="cpl",
        fields=CPL_B,
        params={"alpha": 2.0, "bias": 0.5, "discount": 0.9, "regularizer": "kl"},
        losses=[0.590332534412],
        gradients={
            "chosen": [[-0.0546248059626, -0.0491623253663]],
            "rejected": [[-0.284694491444, -0.256225042300]],
        },
    ),
    # pairs (low, high): softplus(-0.75 + 0.5), softplus(-0.75 - 1), softplus(-0.25 - 1), over 3
    Row(
        item="CPL C",
        objective="cpl_ranking",
        fields={"logps": [[-1.5, -0.5, 1.0]], "scores": [[0, 1, 2]]},
        params={"alpha": 1.0, "bias": 0.5},
        losses=[0.329364217221],
        gradients={"logps": [[0.0976451161910, -0.108824476567, -0.123582445619]]},
    ),
    # softplus(-1) / 3: the two pairs whose loss underflows to 0 still count
    Row(
        item="CPL C, underflow",
        objective="cpl_ranking",
        fields={"logps": [[0, 1, 2000]], "scores": [[0, 1, 2]]},
        params={"alpha": 1.0, "bias": 1.0},
        losses=[0.104420562506],
    ),
    # w = σ(u + logit η): softplus(-u) + (1 - w) u; 0.1 (σ(u) - w), over 3
    Row(
        item="LCPO A, mean",
        objective="lcpo",
        fields=LCPO_A,
        params={"base": "dpo", "base_params": {"beta": 0.1}, "reliability": (0.9, 0.6), "mode": "gibbs"},
        losses=0.763340931215,
        gradients={"chosen": [-0.00765570402733, -0.00329477311416, -0.0143314672533]},
        mean=True,
    ),
    # u = 2 * 0.5 / 0.5 = 2, w = σ(2 + log 4): softplus(-2) + 2 (1 - w); (2/τ)(σ(2) - w) = 4 (σ(2) - w)
    Row(
        item="LCPO B, ipo",
        objective="lcpo",
        fields=LCPO_IPO,
        params={"base": "ipo", "base_params": {"tau": 0.5}, "reliability": 0.8, "mode": "gibbs"},
        losses=[0.192381123774],
        gradients={"chosen": [-0.345905462627]},
    ),
    # w (0.5 - 1)² + (1 - w) (-0.5 - 1)²; 2 w (-0.5) + 2 (1 - w) 1.5
    Row(
        item="LCPO B, ipo weighted",
        objective="lcpo",
        fields=LCPO_IPO,
        params={"base": "ipo", "base_params": {"tau": 0.5}, "reliability": 0.8, "mode": "weighted"},
        losses=[0.315453112731],
        gradients={"chosen": [-0.869093774538]},
    ),
    # u = softplus(2.625) - softplus(0.125); du/dm_w = 2.5 (σ(0.125) + σ(2.625)), one token each so l = m
    Row(
        item="LCPO B, simpo",
        objective="lcpo",
        fields=LCPO_SIMPO,
        params={
            "base": "simpo",
            "base_params": {"beta": 2.5, "gamma": 1.375},
            "reliability": 0.8,
            "mode": "gibbs",
        },
        losses=[0.201966952812],
        gradients={"chosen": [-0.333610299694]},
    ),
    # softplus(-1) - 0.05; 0.2 * 0.5 / 2 each
    Row(
        item="VPO A, online",
        objective="vpo",
        fields=VPO_A,
        params={"beta": 0.5, "alpha": 0.2, "sign": 1},
        losses=[0.263261687518],
        gradients={"chosen": [-0.134470710685], "calibration": [0.05, 0.05]},
    ),
    # softplus(-1) + 0.05
    Row(
        item="VPO A, offline",
        objective="vpo",
        fields=VPO_A,
        params={"beta": 0.5, "alpha": 0.2, "sign": -1},
        losses=[0.363261687518],
        gradients={"chosen": [-0.134470710685], "calibration": [-0.05, -0.05]},
    ),
    # softplus(-1) - 0.1; -0.5 σ(-1) - 0.1
    Row(
        item="VPO B, offline",
        objective="vpo",
        fields=VPO_B,
        params={"beta": 0.5, "alpha": 0.2, "sign": -1},
        losses=[0.213261687518],
        gradients={"chosen+calibration": [-0.234470710685], "rejected": [0.134470710685]},
    ),
    # softplus(-1) + 0.1; -0.5 σ(-1) + 0.1
    Row(
        item="VPO B, online",
        objective="vpo",
        fields=VPO_B,
        params={"beta": 0.5, "alpha": 0.2, "sign": 1},
        losses=[0.413261687518],
        gradients={"chosen+calibration": [-0.0344707106850], "rejected": [0.134470710685]},
    ),
    # h = 2 - 0.25 (-0.4) - 0.75 = 1.35, target 0.5: 0.85²; 1.7, times -0.25 and -0.75
    Row(
        item="INPO A",
        objective="inpo",
        fields=INPO,
        params={"eta": 1.0, "tau": 0.25},
        losses=[0.7225],
        gradients={"chosen": [1.7], "ref_chosen": [-0.425], "opponents_chosen": [[-1.275]]},
    ),
    # h = 2 + 0.4 = 2.4, target 1: 1.4²; 2.8, and the last iterate drops out
    Row(
        item="INPO B, reference only",
        objective="inpo",
        fields=INPO,
        params={"eta": 0.5, "tau": 0.5},
        losses=[1.96],
        gradients={"chosen": [2.8], "opponents_chosen": [[0.0]]},
    ),
    # h = 2 - 1 = 1, target 2: (-1)²; -2, and the reference drops out
    Row(
        item="INPO B, self-play",
        objective="inpo",
        fields=INPO,
        params={"eta": 0.25, "tau": 0.0},
        losses=[1.0],
        gradients={"chosen": [-2.0], "ref_chosen": [0.0]},
    ),
    # (0.8 - 1)²; 2 (-0.2) 0.5, times -0.7 and -0.3
    Row(
        item="MNPO A",
        objective="mnpo",
        fields=MNPO,
        params={**MNPO_PARAMS, "eta": 0.5, "distance": "squared", "target": "constant"},
        losses=[0.04],
        gradients={"chosen": [-0.2], "opponents_chosen": [[0.14], [0.06]]},
    ),
    # b = 0.5, reached as η margin = 0.25 * 2: KL(σ(0.5), σ(0.8)); 0.5 (σ(0.8) - σ(0.5))
    Row(
        item="MNPO B, reward",
        objective="mnpo",
        fields={**MNPO, "margin": [2.0]},
        params={**MNPO_PARAMS, "eta": 0.25, "distance": "backward_kl", "target": "reward"},
        losses=[0.0102858824071],
        gradients={"chosen": [0.0337575749629]},
    ),
    # the same b = 0.5 as 1/(2η) with η = 1
    Row(
        item="MNPO B, constant",
        objective="mnpo",
        fields=MNPO,
        params={**MNPO_PARAMS, "eta": 1.0, "distance": "backward_kl", "target": "constant"},
        losses=[0.0102858824071],
        gradients={"chosen": [0.0337575749629]},
    ),
    # softplus(-0.8); -0.5 σ(-0.8)
    Row(
        item="MNPO B, hard",
        objective="mnpo",
        fields=MNPO,
        params={**MNPO_PARAMS, "eta": 0.5, "distance": "backward_kl", "target": "hard"},
        losses=[0.371100665948],
        gradients={"chosen": [-0.155012759436]},
    ),
    # h = 2 + 0.4/3 - (2/3)(2/3 - 1/3) = 1.91111111111, target 1; 2 * 0.91111111111
    Row(
        item="MNPO C",
        objective="mnpo",
        fields={**MNPO, "ref_chosen": [-11], "ref_rejected": [-10.6]},
        params={
            "beta": 1.0,
            "eta": 0.5,
            "tau": 0.5 / 3,
            "weights": (2 / 3, 1 / 3),
            "distance": "squared",
            "target": "constant",
        },
        losses=[0.830123456790],
        gradients={"chosen": [1.82222222222]},
    ),
]

# What LCPO-EM carries besides the loss, for the batch of item A: w, and one averaging step of η with rate 0.1.
LCPO_EM = {
    "reliability": (0.9, 0.6),
    "rate": 0.1,
    "posterior": (0.960729699450, 0.476383862223, 0.549146939621),
    "next_reliability": (0.885493831954, 0.587638386222),
    "full_step": (0.754938319535, 0.476383862223),
    "marginal_nll": 0.918276872653,
}

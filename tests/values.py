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
        kinds = {"annotator": np.int64, "desirable": bool}
        flags = ("mask", "_changed")
        return {
            name: np.array(value, dtype=kinds.get(name, bool if name.endswith(flags) else np.float64))
            for name, value in self.fields.items()
        }

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
# lengths for P1 and P2
PAIR_LENGTHS = {"chosen_len": [4, 6], "rejected_len": [5, 3]}
# a = (1, -1), b = (-1, -2): the second chosen completion lies below the reference
DPOP = {"chosen": [-10, -12], "rejected": [-12, -12], "ref_chosen": [-11, -11], "ref_rejected": [-11, -10]}
# P1, P2 and a pair with a = b = -1
BPO = {
    "chosen": [-10, -8, -12],
    "rejected": [-12, -7, -12],
    "ref_chosen": [-11, -9, -11],
    "ref_rejected": [-11, -9.5, -11],
}
EXO_K = {"logps": [[-2, -3, -5]], "ref_logps": [[-3, -3, -3]], "scores": [[1, 0.5, 0]]}
# a = 0.5 + 0.5, b = -1 + 0 without the masked token
WPO = {
    "chosen": [[-1, -0.5]],
    "rejected": [[-2, -1, -9]],
    "ref_chosen": [[-1.5, -1]],
    "ref_rejected": [[-1, -1, 0]],
    "chosen_collision": [[-0.5, -0.5]],
    "rejected_collision": [[-1, -1.5, 0]],
    "rejected_mask": [[True, True, False]],
}
TIS = {
    "chosen": [[-1, -2]],
    "rejected": [[-2, -1, -9]],
    "ref_chosen": [[-1.5, -2.5]],
    "ref_rejected": [[-1, -1.5, 0]],
    "chosen_weights": [[0.5, 1]],
    "rejected_weights": [[1, 2, 1]],
    "rejected_mask": [[True, True, False]],
}
ORPO = {"chosen": [-2], "rejected": [-6], "chosen_len": [4], "rejected_len": [4]}
TPO = {"logps": [[-2, -3, -6]], "lengths": [[4, 3, 4]]}
RRHF = {"logps": [[-2, -6, -3]], "lengths": [[4, 4, 4]], "scores": [[2, 1, 0]]}
# per token -0.8 and -1.3 as in SIMPO, and -0.9 and -1.4 under the reference
RAINBOW = {**SIMPO, "ref_chosen": [-3.6], "ref_rejected": [-7]}

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
    # δ - (l_w - l_l) = 1 - 0.5 and 1 - 4: 0.5 + 0.1 * 10, 0 + 0.1 * 8; -1 - 0.1, then -0.1 alone
    Row(
        item="SLiC-HF",
        objective="slic_hf",
        fields={"chosen": [-10, -8], "rejected": [-10.5, -12]},
        params={"delta": 1.0, "regularization_weight": 0.1},
        losses=[1.5, 0.8],
        gradients={"chosen": [-1.1, -0.1], "rejected": [1.0, 0.0]},
    ),
    # z = 0.25 h = (0.5, -0.375): 1 - z; -0.25
    Row(
        item="hinge",
        objective="hinge",
        fields=P1P2,
        params={"beta": 0.25},
        losses=[0.5, 1.375],
        gradients={"chosen": [-0.25, -0.25], "ref_rejected": [-0.25, -0.25]},
    ),
    # z = (1, -0.75): softplus(-z) - (0.2/0.6) z; -0.5 [σ(-z) + 1/3]
    Row(
        item="robust DPO",
        objective="robust_dpo",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.2},
        losses=[-0.0200716458151, 1.38687100611],
        gradients={"chosen": [-0.301137377352, -0.506256016254], "ref_chosen": [0.301137377352, 0.506256016254]},
    ),
    # z = (1, -0.75), target log 9: σ(z) log(σ(z)/0.9) + σ(-z) log(σ(-z)/0.1); 0.5 σ(z) σ(-z) (z - log 9)
    Row(
        item="EXO",
        objective="exo",
        fields=P1P2,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=[0.114082107667, 0.970181664156],
        gradients={"chosen": [-0.117694319337, -0.321092740447], "ref_rejected": [-0.117694319337, -0.321092740447]},
    ),
    # s = 0.5 (1, 0, -2), t = (2, 1, 0): p = e^s / (e^0.5 + 1 + e^-1), q = e^t / (e^2 + e + 1); 0.5 p_i (log(p_i/q_i)
    # - L)
    Row(
        item="EXO, K",
        objective="exo_k",
        fields=EXO_K,
        params={"beta": 0.5, "reward_beta": 0.5},
        losses=[0.0302006654746],
        gradients={
            "logps": [[-0.0619582886363, 0.0452951384248, 0.0166631502115]],
            "ref_logps": [[0.0619582886363, -0.0452951384248, -0.0166631502115]],
        },
    ),
    # z = (1, -0.75), m = σ(2 z): (1 - m) softplus(-z) + m e^-z; 0.5 [-(1-m) σ(-z) - m e^-z + 2 m (1-m) (e^-z -
    # softplus(-z))]
    Row(
        item="DiscoPOP",
        objective="discopop",
        fields=P1P2,
        params={"beta": 0.5, "tau": 0.5},
        losses=[0.361368845342, 1.31567155425],
        gradients={"chosen": [-0.172308356273, -0.324554238587], "ref_rejected": [-0.172308356273, -0.324554238587]},
    ),
    # z - m = (1 - log 2, -0.75 + log 2): softplus of its negative; -0.5 σ of it
    Row(
        item="ODPO, log",
        objective="odpo",
        fields={**P1P2, "margin": [2, 0.5]},
        params={"beta": 0.5, "alpha": 1.0, "offset": "log"},
        losses=[0.551444713932, 0.721977566263],
        gradients={"chosen": [-0.211941557617, -0.25710468886], "rejected": [0.211941557617, 0.25710468886]},
    ),
    # z - m = (1 - 1, -0.75 - 0.25): log 2 and softplus(1); -0.5 (1/2, σ(1))
    Row(
        item="ODPO, linear",
        objective="odpo",
        fields={**P1P2, "margin": [2, 0.5]},
        params={"beta": 0.5, "alpha": 0.5, "offset": "linear"},
        losses=[0.69314718056, 1.31326168752],
        gradients={"chosen": [-0.25, -0.365529289315], "rejected": [0.25, 0.365529289315]},
    ),
    # u = (1 + 0.1 (4 - 5), -0.75 + 0.1 (6 - 3)) = (0.9, -0.45): softplus(-u); -0.5 σ(-u)
    Row(
        item="R-DPO",
        objective="r_dpo",
        fields={**P1P2, **PAIR_LENGTHS},
        params={"beta": 0.5, "alpha": 0.1},
        losses=[0.341153874732, 0.943248945997],
        gradients={"chosen": [-0.144525248687, -0.305319616975], "rejected": [0.144525248687, 0.305319616975]},
    ),
    # u = 5 (1/4 + 1/5) = 2.25: softplus(-2.25); -5/4 σ(-2.25) and 5/5 of it
    Row(
        item="LN-DPO",
        objective="ln_dpo",
        fields={**P1, **IPO_LENGTHS},
        params={"beta": 5.0},
        losses=[0.100206558917],
        gradients={"chosen": [-0.119186831124], "rejected": [0.0953494648991]},
    ),
    # u = 0.5 (2 - 0, -1 - 0.5 * 0.5) = (1, -0.625): softplus(-u); -0.5 σ(-u), the reference with -0.5 of it
    Row(
        item="DPO^γ",
        objective="dpo_gamma",
        fields=P1P2,
        params={"beta": 0.5, "gamma": 0.5},
        losses=[0.313261687518, 1.05370067828],
        gradients={"chosen": [-0.134470710685, -0.325677432333], "ref_chosen": [0.0672353553425, 0.162838716167]},
    ),
    # z = (1, -0.75): 0.25 softplus(-1) + 0.75 softplus(1), softplus(0.75); 0.5 (σ(z) - y)
    Row(
        item="SPCE",
        objective="spce",
        fields={**P1P2, "label": [0.25, 1]},
        params={"beta": 0.5},
        losses=[1.06326168752, 1.13687100611],
        gradients={"chosen": [0.240529289315, -0.339589349588], "rejected": [-0.240529289315, 0.339589349588]},
    ),
    # B = (0.5 (1 + 0.5 (1 - e^-1)), 0.5): softplus(-B h) with h = (2, -1.5); -B σ(-B h)
    Row(
        item="MM-DPO",
        objective="mm_dpo",
        fields={**P1P2, "margin": [2, -1]},
        params={"beta": 0.5, "w": 0.5, "k": 0.5},
        losses=[0.237590542206, 1.13687100611],
        gradients={"chosen": [-0.139156599444, -0.339589349588], "rejected": [0.139156599444, 0.339589349588]},
    ),
    # M = (-0.5 + 0)/2 and (-1 + 0.5)/2, W = e^-0.5; z = 0.5 (1 + 1): W (softplus(-1) + 0.1); 0.5 W (0.1 - σ(-1)) per
    # valid token
    Row(
        item="WPO",
        objective="wpo",
        fields=WPO,
        params={"beta": 0.5, "label_smoothing": 0.1, "collision": True, "clamp": True},
        losses=[0.250655883964],
        gradients={
            "chosen": [[-0.0512340758782, -0.0512340758782]],
            "rejected": [[0.0512340758782, 0.0512340758782, 0.0]],
        },
    ),
    # without c_t: M = -0.75 and -1.5, W = e^-2.25: W softplus(-1); -0.5 W σ(-1)
    Row(
        item="WPO, no collision",
        objective="wpo",
        fields=WPO,
        params={"beta": 0.5, "label_smoothing": 0.0, "collision": False, "clamp": True},
        losses=[0.0330175389494],
        gradients={
            "chosen": [[-0.0141731086325, -0.0141731086325]],
            "ref_rejected": [[-0.0141731086325, -0.0141731086325, 0.0]],
        },
    ),
    # M = -0.25 and (1 + 3)/2, W = e^1.75
    Row(
        item="WPO, unclamped",
        objective="wpo",
        fields={**WPO, "rejected_collision": [[-3, -4, 0]]},
        params={"beta": 0.5, "label_smoothing": 0.0, "collision": True, "clamp": False},
        losses=[1.80269654528],
        gradients={
            "chosen": [[-0.773825511552, -0.773825511552]],
            "ref_rejected": [[-0.773825511552, -0.773825511552, 0.0]],
        },
    ),
    # the same with W = min(1, e^1.75): softplus(-1); -0.5 σ(-1)
    Row(
        item="WPO, clamped",
        objective="wpo",
        fields={**WPO, "rejected_collision": [[-3, -4, 0]]},
        params={"beta": 0.5, "label_smoothing": 0.0, "collision": True, "clamp": True},
        losses=[0.313261687518],
        gradients={
            "chosen": [[-0.134470710685, -0.134470710685]],
            "ref_rejected": [[-0.134470710685, -0.134470710685, 0.0]],
        },
    ),
    # a = (1, -1), b = (-1, -2): u = 0.5 (2, 1 - 2) = (1, -0.5): softplus(-u); -0.5 σ(-u), times 1 + 2 where a < 0
    Row(
        item="DPOP",
        objective="dpop",
        fields=DPOP,
        params={"beta": 0.5, "penalty": 2.0},
        losses=[0.313261687518, 0.97407698418],
        gradients={"chosen": [-0.134470710685, -0.933688996803], "rejected": [0.134470710685, 0.311229665601]},
    ),
    # v = 0.1 (e^1 + 1 - e^b - b), b = (-1, 2.5): softplus(-v); -0.1 σ(-v) (1 + e^1) and 0.1 σ(-v) (1 + e^b)
    Row(
        item="χPO",
        objective="chi_po",
        fields=P1P2,
        params={"beta": 0.1, "clip": None},
        losses=[0.499100323819, 1.38465150478],
        gradients={"chosen": [-0.146099998861, -0.278718296549], "rejected": [0.053747185936, 0.988145178473]},
    ),
    # v = 0.44 stays, -1.10 becomes -1: softplus(1) without gradient
    Row(
        item="χPO, clipped",
        objective="chi_po",
        fields=P1P2,
        params={"beta": 0.1, "clip": 1.0},
        losses=[0.499100323819, 1.31326168752],
        gradients={"chosen": [-0.146099998861, 0.0], "ref_rejected": [-0.053747185936, 0.0]},
    ),
    # 1/(2 β) = 2: softplus(-h) + 0.5 [(1 - 2)² + (b + 2)²], b = (-1, 2.5); -σ(-h) - 1, σ(-h) + b + 2
    Row(
        item="Cal-DPO",
        objective="cal_dpo",
        fields=P1P2,
        params={"beta": 0.25, "calibration_weight": 0.5},
        losses=[1.12692801104, 12.326413278],
        gradients={"chosen": [-1.11920292202, -1.81757447619], "rejected": [1.11920292202, 5.31757447619]},
    ),
    # at π = π_ref: log 2 + 0.5 / (2 * 0.25²); -1/2 - 2 and 1/2 + 2
    Row(
        item="Cal-DPO, start",
        objective="cal_dpo",
        fields={side: [-11] for side in P1},
        params={"beta": 0.25, "calibration_weight": 0.5},
        losses=[4.69314718056],
        gradients={"chosen": [-2.5], "rejected": [2.5]},
    ),
    # (2 - 0.5 * 1)², (-1.5 + 0.5)²; 3 and -2
    Row(
        item="REBEL",
        objective="rebel",
        fields={**P1P2, "margin": [1, -1]},
        params={"eta": 0.5},
        losses=[2.25, 1.0],
        gradients={"chosen": [3.0, -2.0], "ref_chosen": [-3.0, 2.0]},
    ),
    # z = 1, g = 0.25 * 2 = 0.5: (1 - 0.5)²; 2 * 0.5 * 0.5
    Row(
        item="reward-aware, squared",
        objective="reward_aware_po",
        fields={**P1, "margin": [2]},
        params={"beta": 0.5, "eta": 0.25, "distance": "squared"},
        losses=[0.25],
        gradients={"chosen": [0.5], "ref_chosen": [-0.5]},
    ),
    # KL(σ(0.5), σ(1)); 0.5 (σ(1) - σ(0.5))
    Row(
        item="reward-aware, backward",
        objective="reward_aware_po",
        fields={**P1, "margin": [2]},
        params={"beta": 0.5, "eta": 0.25, "distance": "backward_kl"},
        losses=[0.0279550377372],
        gradients={"chosen": [0.0542996237141], "ref_chosen": [-0.0542996237141]},
    ),
    # KL(σ(1), σ(0.5)); 0.5 σ(1) σ(-1) (1 - 0.5)
    Row(
        item="reward-aware, forward",
        objective="reward_aware_po",
        fields={**P1, "margin": [2]},
        params={"beta": 0.5, "eta": 0.25, "distance": "forward_kl"},
        losses=[0.0263445859769],
        gradients={"chosen": [0.0491529833104], "ref_chosen": [-0.0491529833104]},
    ),
    # z = (1, -0.75), as DPO
    Row(
        item="f-DPO, reverse KL",
        objective="f_dpo",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "reverse_kl"},
        losses=[0.313261687518, 1.13687100611],
        gradients={"chosen": [-0.134470710685, -0.339589349588], "rejected": [0.134470710685, 0.339589349588]},
    ),
    # u = 0.5 (e^-b - e^-1), b = (-1, 2.5): softplus(-u); -0.5 σ(-u) e^-1 and 0.5 σ(-u) e^-b
    Row(
        item="f-DPO, forward KL",
        objective="f_dpo",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "forward_kl"},
        losses=[0.269077719882, 0.767146074459],
        gradients={"chosen": [-0.0433943472486, -0.0985298201733], "rejected": [0.320643266197, 0.0219849745547]},
    ),
    # u = 0.5 (log σ(1) - log σ(b)): softplus(-u); -0.5 σ(-u) σ(-1) and 0.5 σ(-u) σ(-b)
    Row(
        item="f-DPO, JS",
        objective="f_dpo",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "js"},
        losses=[0.47407698418, 0.753455756701],
        gradients={"chosen": [-0.0507681620458, -0.0711703736082], "rejected": [0.138002172353, 0.0200744644906]},
    ),
    # u = 0.5 (e^(-b/4) - e^(-1/4)) / 0.25; -0.5 σ(-u) e^(-1/4) and 0.5 σ(-u) e^(-b/4)
    Row(
        item="f-DPO, alpha",
        objective="f_dpo",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "alpha", "alpha": 0.25, "convention": "paper"},
        losses=[0.310462163194, 0.966053644755],
        gradients={"chosen": [-0.103927825017, -0.241201615543], "rejected": [0.171348015723, 0.16577528439]},
    ),
    # TRL's 0.75 is the paper's 1 - 0.75
    Row(
        item="f-DPO, alpha of TRL",
        objective="f_dpo",
        fields=P1P2,
        params={"beta": 0.5, "divergence": "alpha", "alpha": 0.75, "convention": "trl"},
        losses=[0.310462163194, 0.966053644755],
        gradients={"chosen": [-0.103927825017, -0.241201615543], "rejected": [0.171348015723, 0.16577528439]},
    ),
    # z = (1, -0.75): e^-z; -0.5 e^-z
    Row(
        item="GPO, exponential",
        objective="gpo_link",
        fields=P1P2,
        params={"beta": 0.5, "link": "exponential"},
        losses=[0.367879441171, 2.11700001661],
        gradients={"chosen": [-0.183939720586, -1.05850000831], "rejected": [0.183939720586, 1.05850000831]},
    ),
    # z = -70 is beyond 60 nats: e^60 (1 + 70 - 60); -0.5 e^60
    Row(
        item="GPO, exponential tangent",
        objective="gpo_link",
        fields={**P1, "chosen": [-152]},
        params={"beta": 0.5, "link": "exponential"},
        losses=[1.2562081288e27],
        gradients={"chosen": [-5.71003694908e25], "rejected": [5.71003694908e25]},
    ),
    # max(0, 1 - z)² = (0, 1.75²); -0.5 * 2 (1 - z)
    Row(
        item="GPO, truncated quadratic",
        objective="gpo_link",
        fields=P1P2,
        params={"beta": 0.5, "link": "truncated_quadratic"},
        losses=[0.0, 3.0625],
        gradients={"chosen": [0.0, -1.75], "rejected": [0.0, 1.75]},
    ),
    # σ(-z)²; -0.5 * 2 σ(-z)² σ(z)
    Row(
        item="GPO, Savage",
        objective="gpo_link",
        fields=P1P2,
        params={"beta": 0.5, "link": "savage"},
        losses=[0.0723294881285, 0.461283705414],
        gradients={"chosen": [-0.0528770927843, -0.14798963842], "rejected": [0.0528770927843, 0.14798963842]},
    ),
    # (z - 1)² = (0, 1.75²); 0.5 * 2 (z - 1)
    Row(
        item="GPO, square",
        objective="gpo_link",
        fields=P1P2,
        params={"beta": 0.5, "link": "square"},
        losses=[0.0, 3.0625],
        gradients={"chosen": [0.0, -1.75], "rejected": [0.0, 1.75]},
    ),
    # softplus(-z), as DPO
    Row(
        item="GPO, logistic",
        objective="gpo_link",
        fields=P1P2,
        params={"beta": 0.5, "link": "logistic"},
        losses=[0.313261687518, 1.13687100611],
        gradients={"chosen": [-0.134470710685, -0.339589349588], "rejected": [0.134470710685, 0.339589349588]},
    ),
    # max(0, 1 - z) = (0, 1.75): z = 1 is the kink, without gradient
    Row(
        item="GPO, hinge",
        objective="gpo_link",
        fields=P1P2,
        params={"beta": 0.5, "link": "hinge"},
        losses=[0.0, 1.75],
        gradients={"chosen": [0.0, -0.5], "rejected": [0.0, 0.5]},
    ),
    # softplus(-1); -0.5 σ(-1)
    Row(
        item="DOVE",
        objective="dove",
        fields=P1,
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "ref_chosen": [0.134470710685]},
    ),
    # z = 1, t = σ(0.6): σ(0.6) softplus(-1) + σ(-0.6) softplus(1); 0.5 (σ(1) - σ(0.6))
    Row(
        item="DNO, soft",
        objective="dno",
        fields={**P1, "margin": [0.6]},
        params={"eta": 0.5, "target": "soft"},
        losses=[0.667605381292],
        gradients={"chosen": [0.0427011362021], "ref_chosen": [-0.0427011362021]},
    ),
    # softplus(-1); -0.5 σ(-1)
    Row(
        item="DNO, hard",
        objective="dno",
        fields=P1,
        params={"eta": 0.5, "target": "hard"},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "ref_chosen": [0.134470710685]},
    ),
    # softplus(-1) + 0.2 (-5 - 9)/2; 0.2/2 per sample
    Row(
        item="XPO",
        objective="xpo",
        fields={**P1, "calibration": [-5, -9]},
        params={"beta": 0.5, "alpha": 0.2},
        losses=[-1.08673831248],
        gradients={"chosen": [-0.134470710685], "calibration": [0.1, 0.1]},
    ),
    # softplus(-1) + 0.2 * 0.5 (1 - 2)/2; 0.1/2 per sample
    Row(
        item="SELM",
        objective="selm",
        fields=VPO_A,
        params={"beta": 0.5, "alpha": 0.2},
        losses=[0.263261687518],
        gradients={"chosen": [-0.134470710685], "calibration": [0.05, 0.05], "ref_calibration": [-0.05, -0.05]},
    ),
    # softplus(-0.5 * 2) + 2 * 10/4; -0.5 σ(-1) - 2/4
    Row(
        item="CPO, mean",
        objective="cpo",
        fields={"chosen": [-10], "rejected": [-12], "chosen_len": [4], "rejected_len": [6]},
        params={"beta": 0.5, "nll_weight": 2.0, "nll": "mean"},
        losses=[5.31326168752],
        gradients={"chosen": [-0.634470710685], "rejected": [0.134470710685]},
    ),
    # softplus(-1) + 0.1 * 10; -0.5 σ(-1) - 0.1
    Row(
        item="CPO, sum",
        objective="cpo",
        fields={"chosen": [-10], "rejected": [-12]},
        params={"beta": 0.5, "nll_weight": 0.1, "nll": "sum"},
        losses=[1.31326168752],
        gradients={"chosen": [-0.234470710685], "rejected": [0.134470710685]},
    ),
    # p = -0.5, q = -1.5: 0.5 + 0.5 log(1 + e^q (1 - e^p) / (e^p (1 - e^q))); (-1 - 0.5 e^q/D)/4, 0.5 e^q (1 - e^p)/(D
    # (1 - e^q))/4
    Row(
        item="ORPO",
        objective="orpo",
        fields=ORPO,
        params={"odds_weight": 0.5},
        losses=[0.585429608573],
        gradients={"chosen": [-0.299895807395], "rejected": [0.0252712480413]},
    ),
    # R = 4 (1 - e^0.2) and 4 (1 - e^0.325), u = 10 (e^0.325 - e^0.2) - 0.1; -2.5 σ(-u) e^0.2 / 4, 2.5 σ(-u) e^0.325 /
    # 5
    Row(
        item="AlphaPO",
        objective="alpha_po",
        fields=SIMPO,
        params={"beta": 2.5, "alpha": 0.25, "gamma": 0.1},
        losses=[0.196670552395],
        gradients={"chosen": [-0.136292351118], "rejected": [0.123551573467]},
    ),
    # α = 0 is SimPO: u = 2.5 * 0.5 - 1.375 = -0.125
    Row(
        item="AlphaPO, zero",
        objective="alpha_po",
        fields=SIMPO,
        params={"beta": 2.5, "alpha": 0.0, "gamma": 1.375},
        losses=[0.757599035317],
        gradients={"chosen": [-0.332005858359], "rejected": [0.265604686687]},
    ),
    # u = 0.5 (-3 + 6) = 1.5: softplus(-1.5) + 2/4; -1/4, -0.5 σ(-1.5), 0.5 σ(-1.5)
    Row(
        item="TPO",
        objective="tpo",
        fields=TPO,
        params={"beta": 0.5, "nll_weight": 1.0, "length_normalized": False, "gamma": 0.25},
        losses=[0.701413277983],
        gradients={"logps": [[-0.25, -0.0912127619032, 0.0912127619032]]},
    ),
    # u = 1.5 twice: softplus(-1.5) + 2/8 and 6/8, 8 being the mean of 4 and 12 gold tokens; -1/8, -0.5 σ(-1.5), 0.5 σ(-1.5)
    Row(
        item="TPO, gold tokens of the batch",
        objective="tpo",
        fields={"logps": [[-2, -3, -6], [-6, -3, -6]], "lengths": [[4, 3, 4], [12, 3, 4]]},
        params={"beta": 0.5, "nll_weight": 1.0, "nll": "batch_tokens"},
        losses=[0.451413277983, 0.951413277983],
        gradients={"logps": [[-0.125, -0.0912127619032, 0.0912127619032]] * 2},
    ),
    # u = 0.5 (-1 + 1.5) - 0.25 = 0: log 2 + 2/4; -1/4, -0.25/3, 0.25/4
    Row(
        item="TPO-L",
        objective="tpo",
        fields=TPO,
        params={"beta": 0.5, "nll_weight": 1.0, "length_normalized": True, "gamma": 0.25},
        losses=[1.19314718056],
        gradients={"logps": [[-0.25, -0.0833333333333, 0.0625]]},
    ),
    # β (p_l + γ) = 2.5 (-1.3 + 0.5) = -2: 0.8 softplus(-2) + 0.5 * 0.8; -0.5/4, 2 σ(-2)/5
    Row(
        item="SimNPO",
        objective="sim_npo",
        fields=SIMPO,
        params={"beta": 2.5, "gamma": 0.5, "forget_weight": 1.0, "retain_weight": 0.5},
        losses=[0.501542408834],
        gradients={"chosen": [-0.125], "rejected": [0.0476811688088]},
    ),
    # q = (-0.5, -1.5, -0.75), of three pairs only the last is out of order: -0.75 + 1.5, and 2/4
    Row(
        item="RRHF",
        objective="rrhf",
        fields=RRHF,
        params={"weight": 1.0, "length_power": 1.0, "nll": "mean"},
        losses=[1.25],
        gradients={"logps": [[-0.25, -0.25, 0.25]]},
    ),
    # q = (-2, -6, -3)/2: 0.5 (-1.5 + 3) + 2; -1, then 0.5/2
    Row(
        item="RRHF, √length, sum",
        objective="rrhf",
        fields=RRHF,
        params={"weight": 0.5, "length_power": 0.5, "nll": "sum"},
        losses=[2.75],
        gradients={"logps": [[-1.0, -0.25, 0.25]]},
    ),
    # 0.8 - 0.5; -1/4 and 1/5
    Row(
        item="RePO",
        objective="repo",
        fields=SIMPO,
        params={"gamma": 0.8},
        losses=[0.3],
        gradients={"chosen": [-0.25], "rejected": [0.2]},
    ),
    # e^-1.3 - e^-0.8; -e^-0.8/4 and e^-1.3/5
    Row(
        item="SimPER",
        objective="simper",
        fields=SIMPO,
        params={},
        losses=[-0.176797171083],
        gradients={"chosen": [-0.112332241029], "rejected": [0.0545063586068]},
    ),
    # t = 0.9 e^0.2 - 1, t' = 0.36 e^0.2, u = 0.1 (-3.2 + 6.5 t): softplus(-u) + 0.8; -0.1 σ(-u) (1 + 6.5 t'/4) - 1/4,
    # 0.1 σ(-u) (t + 6.5 t'/5)
    Row(
        item="ARPO",
        objective="arpo",
        fields=SIMPO,
        params={"beta": 0.1, "nll_weight": 1.0, "scale": 0.9, "rate": 0.4, "detach": False},
        losses=[1.62902349628],
        gradients={"chosen": [-0.346617471774], "rejected": [0.0378056873403]},
    ),
    # the same with t' = 0
    Row(
        item="ARPO, detached",
        objective="arpo",
        fields=SIMPO,
        params={"beta": 0.1, "nll_weight": 1.0, "scale": 0.9, "rate": 0.4, "detach": True},
        losses=[1.62902349628],
        gradients={"chosen": [-0.306352470196], "rejected": [0.00559368607788]},
    ),
    # p_w = p_l = -1: t = 0.9 - 1 < 0, the rejected completion is raised too: u = 0.1 (-4 - 0.5); -0.1 σ(-u), 0.1
    # σ(-u) t
    Row(
        item="ARPO, tie",
        objective="arpo",
        fields={"chosen": [-4], "rejected": [-5], "chosen_len": [4], "rejected_len": [5]},
        params={"beta": 0.1, "nll_weight": 0.0, "scale": 0.9, "rate": 0.4, "detach": True},
        losses=[0.943248945997],
        gradients={"chosen": [-0.0610639233949], "rejected": [-0.00610639233949]},
    ),
    # u = 0.5 (1 - 0.5 b), b = (-1, 2.5): softplus(-0.75), softplus(0.125); -0.5 σ(-u) and 0.25 σ(-u)
    Row(
        item="DPO-Shift",
        objective="dpo_shift",
        fields=P1P2,
        params={"beta": 0.5, "shift": 0.5},
        losses=[0.386871006115, 0.757599035317],
        gradients={"chosen": [-0.160410650412, -0.265604686687], "rejected": [0.0802053252062, 0.132802343343]},
    ),
    # u = 0.5 (1 - max(0, b)) = (0.5, -0.75); no push on the first rejected completion
    Row(
        item="MinorDPO",
        objective="minor_dpo",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.47407698418, 1.13687100611],
        gradients={"chosen": [-0.188770334399, -0.339589349588], "rejected": [0.0, 0.339589349588]},
    ),
    # a = (1, 1, -1), -0.3 b = (0.3, -0.75, 0.3): the smaller times 0.5 is (0.15, -0.375, -0.5); 0.15 σ(-u) on
    # rejected, -0.5 σ(-u) on chosen
    Row(
        item="BPO",
        objective="bpo",
        fields=BPO,
        params={"beta": 0.5, "alpha": 0.3, "link": "logistic"},
        losses=[0.62095704779, 0.89812326414, 0.97407698418],
        gradients={"chosen": [0.0, 0.0, -0.311229665601], "rejected": [0.0693855231984, 0.0888999899931, 0.0]},
    ),
    # (u - 1)² of the same; 0.5 * 2 (u - 1) on chosen, -0.15 * 2 (u - 1) on rejected
    Row(
        item="BPO, square",
        objective="bpo",
        fields=BPO,
        params={"beta": 0.5, "alpha": 0.3, "link": "square"},
        losses=[0.7225, 1.890625, 2.25],
        gradients={"chosen": [0.0, 0.0, -1.5], "rejected": [0.255, 0.4125, 0.0]},
    ),
    # at the reference both are 0, and share it: log 2; half of 0.5 σ(0) and of 0.15 σ(0)
    Row(
        item="BPO, tie",
        objective="bpo",
        fields={"chosen": [-11], "rejected": [-11], "ref_chosen": [-11], "ref_rejected": [-11]},
        params={"beta": 0.5, "alpha": 0.3, "link": "logistic"},
        losses=[0.69314718056],
        gradients={"chosen": [-0.125], "rejected": [0.0375], "ref_chosen": [0.125], "ref_rejected": [-0.0375]},
    ),
    # Δ = (2, -1), Δ_ref = (0, 0.5): u = (1, -0.75); the reference of the first pair is at the kink
    Row(
        item="HyPO",
        objective="hypo",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.313261687518, 1.13687100611],
        gradients={"chosen": [-0.134470710685, -0.339589349588], "ref_chosen": [0.0, 0.339589349588]},
    ),
    # Δ_ref = -0.5 is ignored: u = 0.5 * 2
    Row(
        item="HyPO, pessimistic",
        objective="hypo",
        fields={**P1, "ref_rejected": [-10.5]},
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "ref_chosen": [0.0]},
    ),
    # u = 0.25 (2, -1) - 0.5 (0, 0.5) = (0.5, -0.5): -0.25 σ(-u), and 0.5 σ(-u) on the reference
    Row(
        item="H-DPO",
        objective="h_dpo",
        fields=P1P2,
        params={"beta": 0.5, "alpha": 0.5},
        losses=[0.47407698418, 0.97407698418],
        gradients={"chosen": [-0.0943851671995, -0.1556148328], "ref_chosen": [0.188770334399, 0.311229665601]},
    ),
    # a = 1, b = (-1, 2.5): e^(2b)/2 - e; -e, e^(2b)
    Row(
        item="DIL, LSIF",
        objective="dil",
        fields=P1P2,
        params={"loss": "lsif", "length_normalized": False},
        losses=[-2.65061418684, 71.4882977228],
        gradients={"chosen": [-2.71828182846, -2.71828182846], "rejected": [0.135335283237, 148.413159103]},
    ),
    # 10 + e^-1, 8 + e^2.5; -1, e^b, nothing on the reference of chosen
    Row(
        item="DIL, UKL",
        objective="dil",
        fields=P1P2,
        params={"loss": "ukl", "length_normalized": False},
        losses=[10.3678794412, 20.1824939607],
        gradients={"chosen": [-1.0, -1.0], "rejected": [0.367879441171, 12.1824939607], "ref_chosen": [0.0, 0.0]},
    ),
    # softplus(-1) + softplus(b); -σ(-1), σ(b)
    Row(
        item="DIL, BCE",
        objective="dil",
        fields=P1P2,
        params={"loss": "bce", "length_normalized": False},
        losses=[0.626523375036, 2.89215142181],
        gradients={"chosen": [-0.26894142137, -0.26894142137], "rejected": [0.26894142137, 0.924141819979]},
    ),
    # a = 1/4, b = -1/5: e^-0.4/2 - e^0.25; -e^0.25/4, e^-0.4/5
    Row(
        item="DIL, LSIF by length",
        objective="dil",
        fields={**P1, **IPO_LENGTHS},
        params={"loss": "lsif", "length_normalized": True},
        losses=[-0.94886539367],
        gradients={"chosen": [-0.321006354172], "rejected": [0.134064009207]},
    ),
    # softplus(-1) + 0.02 * 0.5 * 10; -0.5 σ(-1) - 0.01
    Row(
        item="regularised RPO",
        objective="rpo_regularized",
        fields=P1,
        params={"beta": 0.5, "eta": 0.02},
        losses=[0.413261687518],
        gradients={"chosen": [-0.144470710685], "rejected": [0.134470710685]},
    ),
    # u = (1 - 0.75 * 1)/0.25 = 1: softplus(-1); -2 σ(-1)
    Row(
        item="MODPO",
        objective="modpo",
        fields={**P1, "margin": [1]},
        params={"beta": 0.5, "weight": 0.25},
        losses=[0.313261687518],
        gradients={"chosen": [-0.53788284274], "rejected": [0.53788284274]},
    ),
    # 4 softplus(-1); -2 σ(-1)
    Row(
        item="AltPO",
        objective="alt_po",
        fields=P1,
        params={"beta": 0.5},
        losses=[1.25304675007],
        gradients={"chosen": [-0.53788284274], "rejected": [0.53788284274]},
    ),
    # 0.9 softplus(-1), 0.45 softplus(0.75); -0.45 σ(-1), -0.225 σ(0.75)
    Row(
        item="PADLL",
        objective="padll",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.281935518766, 0.511591952752],
        gradients={"chosen": [-0.121023639616, -0.152815207314], "rejected": [0.121023639616, 0.152815207314]},
    ),
    # z = (1, -0.75): (e^-z + softplus(-z))/2; -0.25 (e^-z + σ(-z))
    Row(
        item="CELL",
        objective="cell",
        fields=P1P2,
        params={"beta": 0.5},
        losses=[0.340570564345, 1.62693551136],
        gradients={"chosen": [-0.159205215635, -0.699044678947], "rejected": [0.159205215635, 0.699044678947]},
    ),
    # p_w - p_l = r_w - r_l = 0.5: u = 10 (0.5 - 0.125 - 0.075) = 3: softplus(-3); -10/4 σ(-3), and -0.25 of it on the
    # reference
    Row(
        item="RainbowPO",
        objective="rainbow_po",
        fields=RAINBOW,
        params={"beta": 10.0, "alpha": 0.25, "h": 0.1, "kappa": None},
        losses=[0.0485873515737],
        gradients={"chosen": [-0.118564682944], "rejected": [0.0948517463551], "ref_chosen": [0.029641170736]},
    ),
    # φ = 0.29 log 2: u = 3 φ
    Row(
        item="RainbowPO, scaled",
        objective="rainbow_po",
        fields={**RAINBOW, "entropy": [0.5]},
        params={"beta": 10.0, "alpha": 0.25, "h": 0.1, "kappa": 0.29},
        losses=[0.436412493156],
        gradients={"chosen": [-0.177719807345], "rejected": [0.142175845876], "ref_chosen": [0.0444299518362]},
    ),
    # φ = 0.5 log 4 = log 2: softplus(-log 2) = log 1.5; -0.5 log 2 / 3
    Row(
        item="Mallows-DPO",
        objective="mallows_dpo",
        fields={**P1, "entropy": [0.25]},
        params={"beta": 0.5, "kappa": 0.5},
        losses=[0.405465108108],
        gradients={"chosen": [-0.115524530093], "rejected": [0.115524530093]},
    ),
    # H̄ = (e^-1, e^-4/3), φ = (1, 4/3), z = (1, -1): 1/2 + arctan(z)/π = (3/4, 1/4): log(4/3), log 4; βφ = (1/2, 2/3) times
    # -1 / (2 (3π/4)) and -1 / (2 (π/4)): -1/(3π), -4/(3π)
    Row(
        item="Mallows-DPO, Cauchy",
        objective="mallows_dpo",
        fields={**P1P2, "entropy": [0.36787944117144233, 0.26359713811572677]},
        params={"beta": 0.5, "kappa": 1.0, "link": "cauchy"},
        losses=[0.287682072452, 1.38629436112],
        gradients={"chosen": [-0.106103295395, -0.424413181578], "rejected": [0.106103295395, 0.424413181578]},
    ),
    # a = 0.5 * 0.5 + 0.5 = 0.75, b = -1 + 2 * 0.5 = 0: z = 0.6; -0.8 σ(-0.6) w_t
    Row(
        item="TIS-DPO",
        objective="tis_dpo",
        fields=TIS,
        params={"beta": 0.8},
        losses=[0.437487950486],
        gradients={"chosen": [[-0.14173747751, -0.283474955019]], "rejected": [[0.283474955019, 0.566949910039, 0.0]]},
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

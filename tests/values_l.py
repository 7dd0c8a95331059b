"""Hand-worked values of the objectives on lists and on whole batches; s( ) in the comments is the sigmoid."""

from values import P1, P1P2, SIMPO, Row

# β = 0.5 makes s = (0.5, 0, -1)
LIST = {"logps": [[-2, -3, -5]], "ref_logps": [[-3, -3, -3]]}
# and (0.5, masked, 0) in the second list
RAGGED = {
    "logps": [[-2, -3, -5], [-2, -9, -4]],
    "ref_logps": [[-3, -3, -3], [-3, 0, -4]],
    "mask": [[True, True, True], [True, False, True]],
}
MARGINS = {"rejected": [0, 0, 0], "ref_chosen": [0, 0, 0], "ref_rejected": [0, 0, 0]}
AOT = {"chosen": [-10, -8], "rejected": [-12, -7], "ref_chosen": [-11, -9], "ref_rejected": [-11, -10.5]}

ROWS = [
    # d = (1, -1, 0, 0): p = 1, a = 0.5, e = 1; 1.5 softplus(-1) + 2 softplus(-0.5), and with S = s(-1), T = s(-0.5)
    # 0.5 times (-1.5 S - 2 T, 1.5 S, 2 T + 0.5 S, -0.5 S)
    Row(
        item="MAPL",
        objective="mapl",
        fields={"logps": [[-1, -3, -2, -2]], "ref_logps": [[-2, -2, -2, -2]]},
        params={"beta": 0.5, "intra_weight": 2.0, "inter_weight": 0.5},
        losses=[1.41804649964],
        gradients={"logps": [[-0.579246734826, 0.201706066028, 0.444776024141, -0.0672353553425]]},
    ),
    # log(1 + e^-0.5 + e^-1.5) + log(1 + e^-1); 0.5 times the softmax of each stage less the one drawn
    Row(
        item="Plackett-Luce",
        objective="plackett_luce",
        fields=LIST,
        params={"beta": 0.5, "stages": None},
        losses=[0.917392292855],
        gradients={
            "logps": [[-0.226725306367, 0.031278769527, 0.19544653684]],
            "ref_logps": [[0.226725306367, -0.031278769527, -0.19544653684]],
        },
    ),
    # the first stage alone: log(1 + e^-0.5 + e^-1.5), and softplus(-0.5) without the masked one
    Row(
        item="Plackett-Luce, one stage",
        objective="plackett_luce",
        fields=RAGGED,
        params={"beta": 0.5, "stages": 1.0},
        losses=[0.604130605337, 0.47407698418],
        gradients={
            "logps": [[-0.226725306367, 0.165749480212, 0.0609758261549], [-0.188770334399, 0.0, 0.188770334399]],
        },
    ),
    # q = softmax(2, 1, 0): log(e^0.5 + 1 + e^-1) - 0.5 q_1 + q_3; 0.5 (p - q)
    Row(
        item="ListNet",
        objective="listnet",
        fields={**LIST, "scores": [[1, 0.5, 0]]},
        params={"beta": 0.5, "tau": 0.5},
        losses=[0.86154070062],
        gradients={
            "logps": [[-0.0593457842543, 0.0433852446846, 0.0159605395697]],
            "ref_logps": [[0.0593457842543, -0.0433852446846, -0.0159605395697]],
        },
    ),
    # q = softmax(1, 0.5, 0) as before with tau 1; then q = (s(1), s(-1)): s(1) softplus(-0.5) + s(-1) softplus(0.5);
    # 0.5 (s(0.5) - s(1))
    Row(
        item="ListNet, ragged",
        objective="listnet",
        fields={**RAGGED, "scores": [[1, 0.5, 0], [1, 9, 0]]},
        params={"beta": 0.5, "tau": 1.0},
        losses=[1.03721413303, 0.608547694865],
        gradients={
            "logps": [[0.0200344981053, 0.0121515373528, -0.0321860354581], [-0.0542996237141, 0.0, 0.0542996237141]],
        },
    ),
    # gains 2, 1, 0.5, ranks 1, 2, 3: weights 1/ln2 - 1/ln3, 1.5 (1/ln2 - 1/ln4), 0.5 (1/ln3 - 1/ln4) of
    # softplus(-0.5), (-1.5), (-1)
    Row(
        item="LiPO-lambda",
        objective="lipo_lambda",
        fields={**LIST, "scores": [[1, 0, -1]]},
        params={"beta": 0.5, "discount": "log1p"},
        losses=[0.499944766939],
        gradients={
            "logps": [[-0.199206011559, 0.0878116611246, 0.111394350434]],
            "ref_logps": [[0.199206011559, -0.0878116611246, -0.111394350434]],
        },
    ),
    # equal s: the earlier one ranks first, so the weight is (2 - 1)(1 - 1/log2 3), the loss that times log 2, the
    # slope half of 0.5 times it
    Row(
        item="LiPO-lambda, tie",
        objective="lipo_lambda",
        fields={"logps": [[-3, -3]], "ref_logps": [[-3, -3]], "scores": [[0, 1]]},
        params={"beta": 0.5, "discount": "log2"},
        losses=[0.255820000741],
        gradients={
            "logps": [[0.0922675616071, -0.0922675616071]],
        },
    ),
    # log(1 + e^-0.5 + e^-1.5)
    Row(
        item="S-DPO",
        objective="s_dpo",
        fields=LIST,
        params={"beta": 0.5},
        losses=[0.604130605337],
        gradients={
            "logps": [[-0.226725306367, 0.165749480212, 0.0609758261549]],
            "ref_logps": [[0.226725306367, -0.165749480212, -0.0609758261549]],
        },
    ),
    # the first is masked, so s = (0, -1): softplus(-1)
    Row(
        item="S-DPO, masked",
        objective="s_dpo",
        fields={**LIST, "mask": [[False, True, True]]},
        params={"beta": 0.5},
        losses=[0.313261687518],
        gradients={
            "logps": [[0.0, -0.134470710685, 0.134470710685]],
        },
    ),
    # two pairs, the third makes none: half of softplus(-0.5) + softplus(-1.5)
    Row(
        item="All pairs",
        objective="all_pairs",
        fields={**LIST, "scores": [[1, 0, 0]]},
        params={"beta": 0.5, "link": "logistic"},
        losses=[0.337745131081],
        gradients={
            "logps": [[-0.139991548151, 0.0943851671995, 0.0456063809516]],
        },
    ),
    # gaps 0.5, 1.5 and 1: a third of 0.5, and the kink has no slope; a list of equals costs nothing
    Row(
        item="All pairs, hinge",
        objective="all_pairs",
        fields={
            "logps": [[-2, -3, -5], [-1, -2, -3]],
            "ref_logps": [[-3, -3, -3], [-3, -2, -1]],
            "scores": [[1, 0.5, 0], [2, 2, 2]],
        },
        params={"beta": 0.5, "link": "hinge"},
        losses=[0.166666666667, 0.0],
        gradients={
            "logps": [[-0.166666666667, 0.166666666667, 0.0], [0.0, 0.0, 0.0]],
        },
    ),
    # softplus(-0.5) + softplus(-1) + 0.5 softplus(-1.5)
    Row(
        item="RankList",
        objective="ranklist",
        fields=LIST,
        params={"beta": 0.5, "skips": 2.0, "decay": 0.5, "aggregate": "sum"},
        losses=[0.88804531069],
        gradients={
            "logps": [[-0.234376715351, 0.0542996237141, 0.180077091637]],
        },
    ),
    # log(1 + e^-0.5 + e^-1.5) + log(1 + e^-1), and softplus(-0.5)
    Row(
        item="RankList, lse",
        objective="ranklist",
        fields=RAGGED,
        params={"beta": 0.5, "skips": 2.0, "decay": 1.0, "aggregate": "lse"},
        losses=[0.917392292855, 0.47407698418],
        gradients={
            "logps": [[-0.226725306367, 0.031278769527, 0.19544653684], [-0.188770334399, 0.0, 0.188770334399]],
        },
    ),
    # u = (2, -1), v = (0, 1.5): -1 meets 0 and 2 meets 1.5, z = (0.25, -0.5): softplus(-z) + 0.1 z; 0.5 (0.1 -
    # s(-z)), crossed for the reference
    Row(
        item="AOT",
        objective="aot",
        fields=AOT,
        params={"beta": 0.5, "label_smoothing": 0.1},
        losses=[0.600939419879, 0.92407698418],
        gradients={
            "chosen": [-0.168911749557, -0.261229665601],
            "rejected": [0.168911749557, 0.261229665601],
            "ref_chosen": [0.261229665601, 0.168911749557],
            "ref_rejected": [-0.261229665601, -0.168911749557],
        },
    ),
    # one pair: DPO with z = 1
    Row(
        item="AOT of one",
        objective="aot",
        fields=P1,
        params={"beta": 0.5, "label_smoothing": 0.0},
        losses=[0.313261687518],
        gradients={
            "chosen": [-0.134470710685],
            "ref_chosen": [0.134470710685],
        },
    ),
    # a = (1, 0.5), b = (-1, 0.5): 0.5 meets -1 and 1 meets 0.5, z = (0.25, 0.75), crossed for the rejected
    Row(
        item="AOT unpaired",
        objective="aot_unpaired",
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
        objective="aot_unpaired",
        fields={**AOT, "ref_chosen": [-11, -9], "ref_rejected": [-11, -7.5]},
        params={"beta": 0.5, "label_smoothing": 0.0},
        losses=[0.313261687518, 0.575939419879],
        gradients={
            "chosen": [-0.134470710685, -0.218911749557],
            "rejected": [0.134470710685, 0.218911749557],
        },
    ),
    # mean h = 0.25: 0.5 (1 + 0.6 * 0.25) = 0.575; softplus(-1.15), softplus(0.8625)
    Row(
        item="beta-DPO",
        objective="beta_dpo",
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
        objective="beta_dpo",
        fields=P1P2,
        params={"beta": 0.5, "alpha": 0.6, "mean_gap": 5.0, "floor": 0.01},
        losses=[0.683197179727, 0.700675305296],
        gradients={
            "chosen": [-0.0049500016666, -0.00503749929689],
            "rejected": [0.0049500016666, 0.00503749929689],
        },
    ),
    # e^-l = s(z), z = (1, -0.75): -log of their mean, twice; the sum has slope -2 * 0.5 s(z) s(-z) / (sum of s)
    Row(
        item="Dr. DPO",
        objective="dr_dpo",
        fields=P1P2,
        params={"beta": 0.5, "robustness": 1.0},
        losses=[0.642568255792, 0.642568255792],
        gradients={
            "chosen": [-0.186914815163, -0.20714817159],
            "ref_chosen": [0.186914815163, 0.20714817159],
        },
    ),
    # the same with squares: -0.5 log of the mean of s(z)^2
    Row(
        item="Dr. DPO, sharper",
        objective="dr_dpo",
        fields=P1P2,
        params={"beta": 0.5, "robustness": 0.5},
        losses=[0.571773746321, 0.571773746321],
        gradients={
            "chosen": [-0.225511358624, -0.109677316982],
        },
    ),
    # m = (1, -0.5), mean 0.25, spread 0.75 sqrt 2: z = (2, -1 - 2 e^(0.25 / sqrt 2)); -2 s(-z) / 4
    Row(
        item="AMaPO",
        objective="amapo",
        fields={"chosen": [-4, -8], "rejected": [-8, -6], "chosen_len": [4, 4], "rejected_len": [4, 4]},
        params={"beta": 2.0},
        losses=[0.126928011043, 3.41998898074],
        gradients={
            "chosen": [-0.0596014610111, -0.483643602296],
            "rejected": [0.0596014610111, 0.483643602296],
        },
    ),
    # one pair has no spread: m = -0.8 + 1.3, z = 1.25; -2.5 s(-1.25) / 4, and / -5
    Row(
        item="AMaPO of one",
        objective="amapo",
        fields=SIMPO,
        params={"beta": 2.5},
        losses=[0.251929081345],
        gradients={
            "chosen": [-0.139187586766],
            "rejected": [0.111350069413],
        },
    ),
    # x = (1.5, 0.5) with r_1 = 1.5, so s(x_1 - r_1) = 1/2; then 0.25 log 1.5 + 0.5 = 0.25 log 0.5 + s(w), s(w) = 0.5
    # + 0.25 log 3, r_2 = 0.5 - w; z = (0, -w)
    Row(
        item="gamma-PO",
        objective="gamma_po",
        fields={
            "chosen": [-1, -3.7347741641372285],
            "rejected": [-2.5, -3],
            "chosen_len": [1, 1],
            "rejected_len": [1, 1],
        },
        params={"beta": 1.0, "gamma": 1.0, "tau": 0.25},
        losses=[0.69314718056, 1.49011416281],
        gradients={
            "chosen": [-0.5, -0.774653072167],
            "rejected": [0.5, 0.774653072167],
        },
    ),
    # x = (1.5, 0.5) again, where the pairs are far ahead: s(x_1 - r_1) = 0.1 for r_1 = 1.5 + log 9, so s(x_2 - r_2) = 0.1
    # + 0.25 log 3
    Row(
        item="gamma-PO, far ahead",
        objective="gamma_po",
        fields={
            "chosen": [-1, -1],
            "rejected": [-4.6972245773362194, -2.0123061233911942],
            "chosen_len": [1, 1],
            "rejected_len": [1, 1],
        },
        params={"beta": 1.0, "gamma": 1.0, "tau": 0.25},
        losses=[0.105360515658, 0.469448698715],
        gradients={"chosen": [-0.1, -0.374653072167], "rejected": [0.1, 0.374653072167]},
    ),
    # one pair has the whole margin: z = 1.25 - 1
    Row(
        item="gamma-PO of one",
        objective="gamma_po",
        fields=SIMPO,
        params={"beta": 2.5, "gamma": 1.0, "tau": 10.0},
        losses=[0.575939419879],
        gradients={
            "chosen": [-0.273639686946],
            "rejected": [0.218911749557],
        },
    ),
    # each group has one of the two pairs: 0.25 * 2 softplus(-1) and 0.75 * 2 softplus(0.75)
    Row(
        item="GR-DPO",
        objective="gr_dpo",
        fields={**P1P2, "annotator": [0, 1]},
        params={"beta": 0.5, "weights": (0.25, 0.75)},
        losses=[0.156630843759, 1.70530650917],
        gradients={
            "chosen": [-0.0672353553425, -0.509384024382],
            "ref_chosen": [0.0672353553425, 0.509384024382],
        },
    ),
    # both pairs are of group 1: 0.5 * 2 / 2 of each
    Row(
        item="GR-DPO, one group",
        objective="gr_dpo",
        fields={**P1P2, "annotator": [1, 1]},
        params={"beta": 0.5, "weights": (0.5, 0.5)},
        losses=[0.156630843759, 0.568435503057],
        gradients={
            "rejected": [0.0672353553425, 0.169794674794],
        },
    ),
    # a = 1, b = -1, c = -3: softplus(-0.2) + softplus(-0.4) + softplus(-0.1); 0.1 times (-s(-0.2) - s(-0.4) - s(-0.1),
    # s(-0.2), s(-0.4))
    Row(
        item="mDPO",
        objective="mdpo",
        fields={"logps": [[-10, -12, -14]], "ref_logps": [[-11, -11, -11]]},
        params={"beta": 0.1, "delta": 0.0},
        losses=[1.75555078186],
        gradients={
            "logps": [[-0.13264991551, 0.0450166002688, 0.0401312339888]],
            "ref_logps": [[0.13264991551, -0.0450166002688, -0.0401312339888]],
        },
    ),
    # softplus(-1) + softplus(-2) + softplus(1), the last for 0.5 - 1.5; then (a, b, c) = (-2, 0, -2): softplus(1) +
    # log 2 + softplus(2.5)
    Row(
        item="mDPO, anchor at 1.5",
        objective="mdpo",
        fields={"logps": [[-10, -12, -14], [-8, -7, -5]], "ref_logps": [[-11, -11, -11], [-6, -7, -3]]},
        params={"beta": 0.5, "delta": 1.5},
        losses=[1.75345138608, 4.58529860237],
        gradients={
            "logps": [
                [-0.559601461011, 0.134470710685, 0.0596014610111],
                [-1.0776001993, 0.365529289315, 0.25],
            ],
            "ref_logps": [
                [0.559601461011, -0.134470710685, -0.0596014610111],
                [1.0776001993, -0.365529289315, -0.25],
            ],
        },
    ),
    # gaps of means (0.6, 0.3, 0.5), of the reference (-0.2, -0.2, 0.3): G = (0.8, 0.5, 0.2), M = 0.5, S = 0.3, targets
    # 0.4 + 0.1 (1, 0, -1): z = 10 (0.6 - 0.5, 0.3 - 0.4, 0.5 - 0.3) = (1, -1, 2); -10 s(-z) / length, targets held
    Row(
        item="alpha-DPO",
        objective="alpha_dpo",
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
        objective="alpha_dpo",
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
        objective="alpha_dpo",
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
        objective="alpha_dpo",
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
        objective="alpha_dpo",
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
    # means of the reference (-1.5, -1, -3): V = 0.7 log(e^(-1.5 + 1/0.7) + e^(-1 + 0.5/0.7) + e^-3) = 0.384625971012;
    # half the squares of e = (1/2, 0, -2) - (1 - V, 0.5 - V, -V) / 0.7; the slopes are e / (2, 3, 1), V held
    Row(
        item="Reward partition",
        objective="reward_partition",
        fields={**LIST, "scores": [[1, 0.5, 0]], "lengths": [[2, 3, 1]]},
        params={"tau": 0.7},
        losses=[1.13746832711],
        gradients={
            "logps": [[-0.189552877848, -0.0549400138037, -1.45053432713]],
            "ref_logps": [[0.189552877848, 0.0549400138037, 1.45053432713]],
        },
    ),
    # V = 0.5 log(e^(-1 + 4) + e^(-0.5 + 2) + e^-1.5) = 1.60522735639: (1/3, 0, -1) - 2 (2 - V, 1 - V, -V); then without
    # the masked one, a length of 0 counting as 1, V = 0.5 log(e^(-1 + 2) + e^(-4 + 2)) = 0.524293675787: (1/3, 0) - 2 (1 - V)
    Row(
        item="Reward partition, ragged",
        objective="reward_partition",
        fields={**RAGGED, "scores": [[2, 1, 0], [1, 9, 1]], "lengths": [[3, 6, 2], [3, 5, 0]]},
        params={"tau": 0.5},
        losses=[3.27971999788, 0.643604033666],
        gradients={
            "logps": [[-0.152070651298, 0.201742452129, 1.10522735639], [-0.206026438364, 0.0, -0.951412648426]],
            "ref_logps": [[0.152070651298, -0.201742452129, -1.10522735639], [0.206026438364, 0.0, 0.951412648426]],
        },
    ),
    # alone, V is the mean of the reference and the reward, so the error is -2 / 2, whatever the reference and the reward
    Row(
        item="Reward partition of one",
        objective="reward_partition",
        fields={"logps": [[-2], [-2]], "ref_logps": [[-3], [-3]], "scores": [[0], [4]], "lengths": [[2], [2]]},
        params={"tau": 0.5},
        losses=[0.5, 0.5],
        gradients={"logps": [[-0.5], [-0.5]], "ref_logps": [[0.5], [0.5]]},
    ),
    # z = (0.1, -0.075), x = 20 z, q = 0.5 + 0.01 (s(0.25) - 0.5) = 0.500621765009, w = s(q - x) = (0.182518276163,
    # 0.880862343861); with D = softplus(-z) - (1 - z), loss' = -0.05 (w s(-z) + 1 - w) - w (1 - w) D, and each x has its
    # half of 0.01 s(0.25) s(-0.25) times the sum of w (1 - w) D, which is -0.0742013349553
    Row(
        item="AQL",
        objective="aql",
        fields=P1P2,
        params={"beta": 0.05},
        losses=[0.853347719015, 0.772291779581],
        gradients={
            "chosen": [-0.00716301549113, 0.00716876751647],
            "rejected": [0.00716301549113, -0.00716876751647],
            "ref_chosen": [0.00716301549113, -0.00716876751647],
            "ref_rejected": [-0.00716301549113, 0.00716876751647],
        },
    ),
    # the same with x = (20, -1.5, 3), q = 0.504992287039; the first is at the kink of the hinge, which has no slope there
    Row(
        item="AQL, hinge at its kink",
        objective="aql",
        fields={"chosen": [20, -1.5, 3], **MARGINS},
        params={"beta": 0.05},
        losses=[1.06987492079e-9, 0.772134423483, 0.832544888606],
        gradients={"chosen": [-1.34880979087e-7, 0.00715103539892, -0.0318274103449]},
    ),
    # twice that strength: x = 2 h = (4, -3, 6) and z = x / 20, q = 0.504116003228, w = (0.0294295706526, 0.970804655372,
    # 0.00408685633333), the sum -0.01710185661; loss' = -0.1 (w s(-z) + 1 - w) - 2 w (1 - w) D, and 2 for the shares
    Row(
        item="AQL, of a stronger constraint",
        objective="aql",
        fields={"chosen": [2, -1.5, 3], **MARGINS},
        params={"beta": 0.1},
        losses=[0.794059313594, 0.782023337408, 0.699404770808],
        gradients={"chosen": [-0.0868593407497, -0.0336162507909, -0.0985888281528]},
    ),
    # one pair is its own mean: q = 0.5 + 0.01 (s(2) - 0.5) = 0.50380797078, w = s(q - 2) = 0.182994156106; the slope has
    # 1 - 0.01 s(2) s(-2) of w'
    Row(
        item="AQL of one",
        objective="aql",
        fields=P1,
        params={"beta": 0.05},
        losses=[0.853226082512],
        gradients={"chosen": [-0.00702215274228], "rejected": [0.00702215274228]},
    ),
    # spread 3.5 / sqrt 2, mean of s(-x) 0.468388699108: q = 0.95 times both + 0.05 s(0.25) = 1.1293515694, w = s(0.1
    # |x - q|) = (0.521752471669, 0.565357681014); loss' = -0.05 (w s(-0.05 x) + 1 - w) + w' D with w' = ±0.1 w (1 - w),
    # and -sum w' D = -0.00206646298161 times dq/dx = 0.95 * 0.468388699108 (x - 0.25) / spread - 0.95 spread s(x) s(-x) / 2
    # + 0.05 s(0.25) s(-0.25) / 2
    Row(
        item="AQFL",
        objective="aqfl",
        fields=P1P2,
        params={"beta": 0.05},
        losses=[0.766638325626, 0.880714912537],
        gradients={
            "chosen": [-0.0430903820036, -0.0269515867882],
            "rejected": [0.0430903820036, 0.0269515867882],
            "ref_chosen": [0.0430903820036, 0.0269515867882],
        },
    ),
    # three, x = 4 h = (8, -6, 12) and z = x / 20: spread 9.45163125251, mean of s(-x) 0.332622957049: q = 3.03617226137,
    # w = (0.621608893847, 0.711692276123, 0.710205594713)
    Row(
        item="AQFL of three",
        objective="aqfl",
        fields={"chosen": [2, -1.5, 3], **MARGINS},
        params={"beta": 0.2},
        losses=[0.545929507263, 0.982838069593, 0.426624152169],
        gradients={"chosen": [-0.135481262904, -0.0970103613881, -0.109067113068]},
    ),
    # one pair has no spread: q = 0.05 s(2), w = s(0.1 (2 - q)) = 0.548743700419; the slope has 1 - 0.05 s(2) s(-2) of w'
    Row(
        item="AQFL of one",
        objective="aqfl",
        fields=P1,
        params={"beta": 0.05},
        losses=[0.759739277409],
        gradients={"chosen": [-0.0418921752906], "rejected": [0.0418921752906]},
    ),
    # nor have two equal pairs, where the spread has no slope; x = 20 and the hinge is at its kink: with w = s(0.1 (20 -
    # 0.05 s(20))) = 0.880271109712, w softplus(-1), and -0.5 w s(-1) + 0.1 w (1 - w) softplus(-1) 10 (1 - 0.05 s(20) s(-20))
    Row(
        item="AQFL of equals",
        objective="aqfl",
        fields={"chosen": [2, 1], "rejected": [0, -1], "ref_chosen": [0, 0], "ref_rejected": [0, 0]},
        params={"beta": 0.5},
        losses=[0.275755213302, 0.275755213302],
        gradients={"chosen": [-0.085354816042, -0.085354816042]},
    ),
    # half of softplus(-0.6), and -0.15 s(-0.6); then 2 (1 + 0.3 * 1.5)
    Row(
        item="PFL",
        objective="pfl",
        fields=P1P2,
        params={"beta": 0.3},
        losses=[0.218743975243, 2.9],
        gradients={
            "chosen": [-0.0531515540661, -0.6],
            "rejected": [0.0531515540661, 0.6],
            "ref_chosen": [0.0531515540661, 0.6],
            "ref_rejected": [-0.0531515540661, -0.6],
        },
    ),
    # a tie counts as not preferred: 2; half of softplus(-0.15) and -0.15 s(-0.15); 2 (1 + 0.6)
    Row(
        item="PFL, tie",
        objective="pfl",
        fields={"chosen": [0, 0.5, -2], **MARGINS},
        params={"beta": 0.3},
        losses=[2.0, 0.310478523895, 3.2],
        gradients={"chosen": [-0.6, -0.0693855231984, -0.6]},
    ),
    # the policy is the reference and prefers chosen: half of log 2, and -β / 4
    Row(
        item="PFL at its reference",
        objective="pfl",
        fields={"chosen": [-10], "rejected": [-12], "ref_chosen": [-10], "ref_rejected": [-12]},
        params={"beta": 0.05},
        losses=[0.34657359028],
        gradients={"chosen": [-0.0125], "rejected": [0.0125]},
    ),
    # a = (1, 0), b = (0, 2): z = 0.5 (1, -1) and 0.5 (0, -2); (softplus(-0.5) + softplus(0.5)) / 2 and (log 2 +
    # softplus(1)) / 2; -(s(-0.5) + s(0.5)) / 4 and -(s(0) + s(1)) / 4, of the rejected (s(-0.5) + s(0)) / 4 and (s(0.5) +
    # s(1)) / 4
    Row(
        item="Relative PO",
        objective="relative_po",
        fields={"chosen": [-10, -8], "rejected": [-12, -7], "ref_chosen": [-11, -8], "ref_rejected": [-12, -9]},
        params={"beta": 0.5, "temperature": 0.5, "diagonal_weight": None},
        losses=[0.72407698418, 1.00320443404],
        gradients={
            "chosen": [-0.25, -0.307764644658],
            "rejected": [0.2193851672, 0.338379477458],
            "ref_chosen": [0.25, 0.307764644658],
            "ref_rejected": [-0.2193851672, -0.338379477458],
        },
    ),
    # orthogonal prompts, cosines 1 and 0, and T = 1 / log 3: w = (3, 1) / 4 and (1, 3) / 4; a - b = (2, -2) and (0, -4)
    # make z = (1.5, -0.5) and (0, -3); (softplus(-1.5) + softplus(0.5)) / 2 and (log 2 + softplus(3)) / 2; -(3 s(-1.5) +
    # s(0.5)) / 8 and -(s(0) + 3 s(3)) / 8, of the rejected (3 s(-1.5) + s(0)) / 8 and (s(0.5) + 3 s(3)) / 8
    Row(
        item="Relative PO, orthogonal prompts",
        objective="relative_po",
        fields={
            "chosen": [-9, -9],
            "rejected": [-7, -6],
            "ref_chosen": [-11, -9],
            "ref_rejected": [-7, -10],
            "prompt_embedding": [[3, 4], [-8, 6]],
        },
        params={"beta": 1.0, "temperature": 0.9102392266268373, "diagonal_weight": None},
        losses=[0.587745131081, 1.87086726607],
        gradients={
            "chosen": [-0.146216987828, -0.419715297558],
            "rejected": [0.130909571427, 0.435022713959],
            "ref_chosen": [0.146216987828, 0.419715297558],
            "ref_rejected": [-0.130909571427, -0.435022713959],
        },
    ),
    # cosines (1, -1, 0), (-1, 1, 0) and, of the zero vector, (0, 0, 0), again T = 1 / log 3: w = (3, 1/3, 1) / (13/3) =
    # (9, 1, 3) / 13, (1, 9, 3) / 13 and (1, 1, 1) / 3, β w = (0.9, 0.1, 0.3), (0.1, 0.9, 0.3) and 1.3 (1, 1, 1) / 3; a =
    # (1, -1, 0), b = (0, -3, 3): z = (0.9, 0.4, -0.6), (-0.1, 1.8, -1.2) and (0, 1.3, -1.3); m = 1/2 at its own, else 1/4:
    # the first is softplus(-0.9) / 2 + (softplus(-0.4) + softplus(0.6)) / 4, its slope -0.9 s(-0.9) / 2 - (0.1 s(-0.4) +
    # 0.3 s(0.6)) / 4, that of its rejected 0.9 s(-0.9) / 2 + (0.1 s(0.1) + 1.3 s(0) / 3) / 4
    Row(
        item="Relative PO, diagonal weight",
        objective="relative_po",
        fields={
            "chosen": [-10, -10, -8],
            "rejected": [-12, -12, -7],
            "ref_chosen": [-11, -9, -8],
            "ref_rejected": [-12, -9, -10],
            "prompt_embedding": [[3, 4], [-6, -8], [0, 0]],
        },
        params={"beta": 1.3, "temperature": 0.9102392266268373, "diagonal_weight": 0.5},
        losses=[0.558202738088, 0.628408587116, 1.00404313551],
        gradients={
            "chosen": [-0.188529755283, -0.134596817655, -0.247632123163],
            "rejected": [0.197363870172, 0.0970669978728, 0.276327828055],
            "ref_chosen": [0.188529755283, 0.134596817655, 0.247632123163],
            "ref_rejected": [-0.197363870172, -0.0970669978728, -0.276327828055],
        },
    ),
    # a single pair has all the weight, whatever its own is: log(1 + e^-1)
    Row(
        item="Relative PO of one",
        objective="relative_po",
        fields={**P1, "prompt_embedding": [[3, -4]]},
        params={"beta": 0.5, "temperature": 0.5, "diagonal_weight": 0.0},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "rejected": [0.134470710685]},
    ),
]

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
]

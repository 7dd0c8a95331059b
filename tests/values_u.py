"""Hand-worked values of the decoupled and unpaired objectives; σ(1) = .731058578630, σ'(1) = .196611933241."""

from values import Row

GOOD, BAD = {"desirable": [True]}, {"desirable": [False]}
PAIR = {"chosen": [-3.0], "rejected": [-7.0], "ref_chosen": [-4.0], "ref_rejected": [-6.0]}  # a = 1, b = -1

ROWS = [
    # a = 3, K = mean(2, -1, 2) = 1: x = 0.5 * 2 = 1: 2 σ(-1); slope -2 * 0.5 σ'(1)
    Row(
        item="KTO, good",
        objective="kto",
        fields={
            "logps": [-2.0],
            "ref_logps": [-5.0],
            **GOOD,
            "kl_logps": [-1.0, -4.0, 0.0],
            "kl_ref_logps": [-3.0, -3.0, -2.0],
        },
        params={"beta": 0.5, "desirable_weight": 2.0},
        losses=[0.537882842740],
        gradients={"logps": [-0.196611933241], "ref_logps": [0.196611933241], "kl_logps": [0.0, 0.0, 0.0]},
    ),
    # the same completion called bad, with K = 1 given and weight 3: 3 (1 - σ(-1)) = 3 σ(1); slope 3 * 0.5 σ'(1)
    Row(
        item="KTO, bad",
        objective="kto",
        fields={"logps": [-2.0], "ref_logps": [-5.0], **BAD, "kl": [1.0], "weights": [3.0]},
        params={"beta": 0.5, "estimator": "given"},
        losses=[2.19317573589],
        gradients={"logps": [0.294917899862]},
    ),
    # 0.5 * 3 - 0.5 = 1: softplus(-1) = .313261687518; slope -0.5 σ(-1)
    Row(
        item="BCO, good",
        objective="bco",
        fields={"logps": [-2.0], "ref_logps": [-5.0], **GOOD},
        params={"beta": 0.5, "baseline": 0.5},
        losses=[0.313261687518],
        gradients={"logps": [-0.134470710685], "ref_logps": [0.134470710685]},
    ),
    # the same, bad, weight 2: 2 softplus(1) = 2 (1 + .313261687518); slope 2 * 0.5 σ(1)
    Row(
        item="BCO, bad",
        objective="bco",
        fields={"logps": [-2.0], "ref_logps": [-5.0], **BAD, "weights": [2.0]},
        params={"beta": 0.5, "baseline": 0.5},
        losses=[2.62652337504],
        gradients={"logps": [0.731058578630]},
    ),
    # a = 2: 4 softplus(1); slope 2 σ(1)
    Row(
        item="NPO",
        objective="npo",
        fields={"logps": [-3.0], "ref_logps": [-5.0]},
        params={"beta": 0.5},
        losses=[5.25304675007],
        gradients={"logps": [1.46211715726], "ref_logps": [-1.46211715726]},
    ),
    # the same, weight 3: 12 softplus(1); slope 6 σ(1)
    Row(
        item="NPO, weighted",
        objective="npo",
        fields={"logps": [-3.0], "ref_logps": [-5.0], "weights": [3.0]},
        params={"beta": 0.5},
        losses=[15.7591402502],
        gradients={"logps": [4.38635147178], "ref_logps": [-4.38635147178]},
    ),
    # σ(-1) + σ(-1); -σ'(1), σ'(1)
    Row(
        item="APO-zero",
        objective="apo_zero",
        fields=PAIR,
        params={"beta": 1.0},
        losses=[0.537882842740],
        gradients={"chosen": [-0.196611933241], "rejected": [0.196611933241], "ref_chosen": [0.196611933241]},
    ),
    # β a = 0.5, β (a - b) = 1: σ(.5) + σ(-1); 0.5 (σ'(.5) - σ'(1)), 0.5 σ'(1), with σ(.5) = .622459331202, σ'(.5) = .235003712202
    Row(
        item="APO-down",
        objective="apo_down",
        fields=PAIR,
        params={"beta": 0.5},
        losses=[0.891400752572],
        gradients={"chosen": [0.0191958894801], "rejected": [0.0983059666207]},
    ),
    # rewards log 3 apart at α = 1: q = (3/4, 1/4); s = (1, -1): (3/4) sp(-1) + (1/4) sp(1) + (1/2)(sp(1) + sp(-1));
    # slopes σ(1)/2 - 3/4 σ(-1) and σ(-1)/2 - 1/4 σ(1)
    Row(
        item="NCA",
        objective="nca",
        fields={"logps": [[-3.0, -7.0]], "ref_logps": [[-4.0, -6.0]], "scores": [[1.09861228867, 0.0]]},
        params={"beta": 1.0, "alpha": 1.0},
        losses=[1.37652337504],
        gradients={"logps": [[0.163823223288, -0.0482939339725]]},
    ),
    # the same: p = softmax(1, -1) = (σ(2), σ(-2)), σ(2) = .880797077978: 3/4 sp(-2) + 1/4 sp(2), sp(-2) = .126928011043; p - q
    Row(
        item="InfoNCA",
        objective="info_nca",
        fields={"logps": [[-3.0, -7.0]], "ref_logps": [[-4.0, -6.0]], "scores": [[1.09861228867, 0.0]]},
        params={"beta": 1.0, "alpha": 1.0},
        losses=[0.626928011043],
        gradients={"logps": [[0.130797077978, -0.130797077978]]},
    ),
    Row(
        item="SFT, sum",
        objective="sft",
        fields={"chosen": [-3.0, -7.0]},
        params={},
        losses=[3.0, 7.0],
        gradients={"chosen": [-1.0, -1.0]},
    ),
    # 2 examples, 5 tokens
    Row(
        item="SFT, pooled",
        objective="sft",
        fields={"chosen": [-3.0, -7.0], "chosen_len": [1, 4]},
        params={"normalizer": "batch_tokens"},
        losses=[1.2, 2.8],
        gradients={"chosen": [-0.4, -0.4]},
    ),
    # an empty completion counts one token
    Row(
        item="SFT, mean",
        objective="sft",
        fields={"chosen": [-8.0, 0.0], "chosen_len": [4, 0]},
        params={"normalizer": "mean"},
        losses=[2.0, 0.0],
        gradients={"chosen": [-0.25, -1.0]},
    ),
    # β = 1: log Z = -log 2; q = 1/2: T + log 2 - a = -a = -1; q = 0 counts 1/8: -3 log 2 + log 2 - 2 = -3.38629436112
    Row(
        item="QRPO, log",
        objective="qrpo",
        fields={"logps": [[-3.0, -4.0]], "ref_logps": [[-4.0, -6.0]], "winrates": [[0.5, 0.0]]},
        params={"beta": 1.0, "floor": 0.125},
        losses=[6.23349475010],
        gradients={"logps": [[1.0, 3.38629436112]]},
    ),
    # log Z = log(e - 1) = .541324854613: 1/2 - .541324854613 - 1, and -.541324854613 - 1, as no quantile is raised here
    Row(
        item="QRPO, identity",
        objective="qrpo",
        fields={"logps": [[-3.0, -3.0]], "ref_logps": [[-4.0, -4.0]], "winrates": [[0.5, 0.0]]},
        params={"beta": 1.0, "transform": "identity"},
        losses=[1.73001988014],
        gradients={"logps": [[1.04132485461, 1.54132485461]]},
    ),
]

"""Hand-worked rows of the token-level objectives and of diffusion; numbers from the formulas in 40 digits."""

from values import Row

# log-ratios of y_w: 0.5, 0.5; of y_l: -1
TOKENS = {"chosen": [[-1, -2]], "rejected": [[-3]], "ref_chosen": [[-1.5, -2.5]], "ref_rejected": [[-2]]}
CHANGED = {"chosen_changed": [[False, True]], "rejected_changed": [[True]]}
KLS = {"chosen_kl": [[0.1, 0.2]], "rejected_kl": [[0.8]]}
# a third token of y_l that no mask lets in
PADDED = {**TOKENS, "rejected": [[-3, -9]], "ref_rejected": [[-2, 5]], "rejected_mask": [[True, False]]}
# (0.1 - 0.1004) - 0 = -0.0004, u = 2500 * 0.0004 = 1
ERRORS = {"chosen": [0.1], "rejected": [0.1004], "ref_chosen": [0.1002], "ref_rejected": [0.1002]}
ERRORS_3 = {name: value * 3 for name, value in ERRORS.items()}

ROWS = [
    # weights 1, 5 over 6 and 5 over 5: S = 3/6 and -1, u = 0.5 * 1.5 = 0.75; slopes -0.5 σ(-u) w/N
    Row(
        "DDPO, divided by the weights",
        "ddpo",
        {**TOKENS, **CHANGED},
        {"beta": 0.5, "gamma": 5.0, "normalize": True},
        [0.3868710061149],
        {
            "chosen": [[-0.02673510840205, -0.1336755420103]],
            "rejected": [[0.1604106504123]],
            "ref_chosen": [[0.02673510840205, 0.1336755420103]],
        },
    ),
    # weights 1, 2 and 2: S = 1.5 and -2, u = 0.5 * 3.5 = 1.75
    Row(
        "DDPO, weighted sums",
        "ddpo",
        {**TOKENS, **CHANGED},
        {"beta": 0.5, "gamma": 2.0, "normalize": False},
        [0.1602241504381],
        {
            "chosen": [[-0.07402359901584, -0.1480471980317]],
            "rejected": [[0.1480471980317]],
            "ref_rejected": [[-0.1480471980317]],
        },
    ),
    # h = 2, D_l - D_w = 0.8 - 0.3 = 0.5: u = 0.1 * (2 - 0.5) = 0.15
    Row(
        "TDPO1",
        "tdpo",
        {**TOKENS, **KLS},
        {"beta": 0.1, "alpha": 0.5, "version": "tdpo1"},
        [0.6209570477895],
        {
            "chosen": [[-0.04625701546563, -0.04625701546563]],
            "rejected": [[0.04625701546563]],
            "chosen_kl": [[-0.04625701546563, -0.04625701546563]],
            "rejected_kl": [[0.04625701546563]],
        },
    ),
    # u = 0.1 * (2 - 0.5 * 0.5) = 0.175, D_w constant
    Row(
        "TDPO2",
        "tdpo",
        {**TOKENS, **KLS},
        {"beta": 0.1, "alpha": 0.5, "version": "tdpo2"},
        [0.609470430663],
        {
            "chosen": [[-0.04563613127629, -0.04563613127629]],
            "rejected": [[0.04563613127629]],
            "chosen_kl": [[0, 0]],
            "rejected_kl": [[0.02281806563815]],
        },
    ),
    # the shorter side has 1 valid token: 0.5 + 0.5 * 0.5 = 0.75, and -1: u = 0.1 * 1.75
    Row(
        "LD-DPO",
        "ld_dpo",
        PADDED,
        {"beta": 0.1, "alpha": 0.5, "reference": "weighted"},
        [0.609470430663],
        {
            "chosen": [[-0.04563613127629, -0.02281806563815]],
            "rejected": [[0.04563613127629, 0]],
            "ref_chosen": [[0.04563613127629, 0.02281806563815]],
        },
    ),
    # the sides exchanged: u = -0.1 * 1.75
    Row(
        "LD-DPO, a longer rejected completion",
        "ld_dpo",
        {
            "chosen": TOKENS["rejected"],
            "rejected": TOKENS["chosen"],
            "ref_chosen": TOKENS["ref_rejected"],
            "ref_rejected": TOKENS["ref_chosen"],
        },
        {"beta": 0.1, "alpha": 0.5, "reference": "weighted"},
        [0.784470430663],
        {
            "chosen": [[-0.05436386872371]],
            "rejected": [[0.05436386872371, 0.02718193436186]],
            "ref_rejected": [[-0.05436386872371, -0.02718193436186]],
        },
    ),
    # nothing beyond the shorter side: 0.5, and -1: u = 0.1 * 1.5
    Row(
        "LD-DPO, the common length alone",
        "ld_dpo",
        PADDED,
        {"beta": 0.1, "alpha": 0.0, "reference": "weighted"},
        [0.6209570477895],
        {"chosen": [[-0.04625701546563, 0]], "rejected": [[0.04625701546563, 0]]},
    ),
    # -1 - 0.5 * 2 + 1.5 + 2.5 = 2, and -1: u = 0.1 * 3
    Row(
        "LD-DPO, reference in full",
        "ld_dpo",
        TOKENS,
        {"beta": 0.1, "alpha": 0.5, "reference": "summed"},
        [0.5543552444685],
        {
            "chosen": [[-0.04255574831883, -0.02127787415942]],
            "rejected": [[0.04255574831883]],
            "ref_chosen": [[0.04255574831883, 0.04255574831883]],
        },
    ),
    # the same without the policy's second token: -1 + 1.5 + 2.5 = 3, and -1: u = 0.1 * 4
    Row(
        "LD-DPO, the common length alone, reference in full",
        "ld_dpo",
        TOKENS,
        {"beta": 0.1, "alpha": 0.0, "reference": "summed"},
        [0.5130152524],
        {
            "chosen": [[-0.04013123398875, 0]],
            "rejected": [[0.04013123398875]],
            "ref_chosen": [[0.04013123398875, 0.04013123398875]],
        },
    ),
    # the second token of y_w was drawn: u = 0.1 * (0.5 + 1)
    Row(
        "SamPO",
        "sampo",
        {**TOKENS, "chosen_weights": [[0, 1]], "rejected_weights": [[1]]},
        {"beta": 0.1},
        [0.6209570477895],
        {"chosen": [[0, -0.04625701546563]], "rejected": [[0.04625701546563]], "ref_chosen": [[0, 0.04625701546563]]},
    ),
    # the first was, and a weight outside the mask does not count: u = 0.4 * (0.5 + 1)
    Row(
        "SamPO, masked",
        "sampo",
        {**PADDED, "chosen_weights": [[1, 0]], "rejected_weights": [[1, 1]]},
        {"beta": 0.4},
        [0.4374879504859],
        {
            "chosen": [[-0.1417374775097, 0]],
            "rejected": [[0.1417374775097, 0]],
            "ref_rejected": [[-0.1417374775097, 0]],
        },
    ),
    # the step is the second token of y_w: u = 0.5 * (0.5 + 1)
    Row(
        "Step-DPO",
        "step_dpo",
        {**PADDED, "chosen_mask": [[False, True]]},
        {"beta": 0.5},
        [0.3868710061149],
        {"chosen": [[0, -0.1604106504123]], "rejected": [[0.1604106504123, 0]], "ref_chosen": [[0, 0.1604106504123]]},
    ),
    # everything is the step: u = 0.4 * 2
    Row(
        "Step-DPO of whole completions",
        "step_dpo",
        {**TOKENS, "chosen_mask": [[True, True]], "rejected_mask": [[True]]},
        {"beta": 0.4},
        [0.3711006659478],
        {
            "chosen": [[-0.124010207549, -0.124010207549]],
            "rejected": [[0.124010207549]],
            "ref_rejected": [[-0.124010207549]],
        },
    ),
    Row(
        "Diffusion-DPO",
        "diffusion_dpo",
        ERRORS,
        {"beta": 5000.0},
        [0.3132616875182],
        {
            "chosen": [672.353553425],
            "rejected": [-672.353553425],
            "ref_chosen": [-672.353553425],
            "ref_rejected": [672.353553425],
        },
    ),
    # the interval has its first end and not its last
    Row(
        "Diffusion-DPO in an interval",
        "diffusion_dpo",
        {**ERRORS_3, "timestep": [50, 100, 300]},
        {"beta": 5000.0, "first": 100.0, "last": 300.0},
        [0, 0.3132616875182, 0],
        {"chosen": [0, 672.353553425, 0], "rejected": [0, -672.353553425, 0]},
    ),
    # c m = 0.1 and 0.101: u = 1000 (0.1 / (e^0.1 - 1) - 0.101 / (e^0.101 - 1)), about 0.483
    Row(
        "MaPO",
        "mapo",
        {"chosen": [0.2], "rejected": [0.202]},
        {"ratio_weight": 0.1, "snr": 0.5, "timesteps": 1000.0},
        [0.2480431651176],
        {"chosen": [10.21929411726], "rejected": [-9.216118295847]},
    ),
    # no error at all: f = 1, f' = -c/2; u = 10 (1 - 0.5 / (e^0.5 - 1))
    Row(
        "MaPO at an error of 0",
        "mapo",
        {"chosen": [0], "rejected": [0.5]},
        {"ratio_weight": 0.2, "snr": 1.0, "timesteps": 10.0},
        [0.0192457012783],
        {"chosen": [1.091743550049], "rejected": [-0.07657925168549]},
    ),
    # c m = 1 and 0.5: u = 10 (1 / (e - 1) - 0.5 / (e^0.5 - 1)) = -1.88770334399
    Row(
        "MaPO at a scaled error of 1",
        "mapo",
        {"chosen": [2], "rejected": [1]},
        {"ratio_weight": 0.2, "snr": 0.5, "timesteps": 10.0},
        [2.405739716855],
        {"chosen": [1.294156026655], "rejected": [-0.3624700489138]},
    ),
    # logs of the mean probabilities -1.065 and -1.403: -2 and -3.5 lie below, and all but -0.5; u = 2 (-2.75 + 2.5) - 0.5 =
    # -1; slopes -2 σ(1) / 2, and 2 σ(1) / 3
    Row(
        "ConfPO",
        "confpo",
        {"chosen": [[-0.5, -2, -3.5, -0.5]], "rejected": [[-0.5, -1.5, -4, -2]]},
        {"beta": 2.0, "gamma_beta_ratio": 0.25},
        [1.31326168752],
        {
            "chosen": [[0, -0.73105857863, -0.73105857863, 0]],
            "rejected": [[0, 0.487372385753, 0.487372385753, 0.487372385753]],
        },
    ),
    # -2 against the mean of -2 and -3, u = 1.5 * 0.5 - 0.6 = 0.15; a constant side selects nothing; the mean of -3 and -2,
    # below -1.691, against -3, the same u; nor does a side of one token, nor an empty one
    Row(
        "ConfPO, ragged",
        "confpo",
        {
            "chosen": [[-1, -2, -9], [-1, -1, -5], [-3, -1, -2], [-4, -9, -9], [-1, -2, -3]],
            "rejected": [[-0.5, -2, -3, -7], [-2, -3, -1, -1], [-1, -3, -9, 0], [-1, -2, -3, -4], [-1, -2, -3, -4]],
            "chosen_mask": [[True, True, False]] * 2 + [[True] * 3, [True, False, False], [True] * 3],
            "rejected_mask": [
                [True, True, True, False],
                [True] * 4,
                [True, True, False, False],
                [True] * 4,
                [False] * 4,
            ],
        },
        {"beta": 1.5, "gamma_beta_ratio": 0.4},
        [0.62095704779, 0, 0.62095704779, 0, 0],
        {
            "chosen": [[0, -0.693855231984, 0], [0, 0, 0], [-0.346927615992, 0, -0.346927615992], [0, 0, 0], [0, 0, 0]],
            "rejected": [
                [0, 0.346927615992, 0.346927615992, 0],
                [0, 0, 0, 0],
                [0, 0.693855231984, 0, 0],
                [0, 0, 0, 0],
                [0, 0, 0, 0],
            ],
        },
    ),
]

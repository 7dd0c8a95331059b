import witness
from witness._maths import exp, log, mp, rows
from witness._rows import Row


def exchange(fields):
    """The same pairs with the observed order reversed."""
    sides = {"chosen": "rejected", "rejected": "chosen"}
    out = {}
    for name, value in fields.items():
        words = [sides.get(word, word) for word in name.split("_")]
        turned = {"margin": lambda item: -item, "label": lambda item: 1 - item}.get(name)
        out["_".join(words)] = [turned(item) for item in value] if turned else value
    return out


def both(base, base_params, fields):
    """The base's losses of the pairs as they are, and of the same pairs reversed."""
    loss = witness.of(base).formula
    return loss(**fields, **base_params), loss(**exchange(fields), **base_params)


def constant(fields, params):
    """w = p η / (p η + (1 - p) (1 - η)), the probability that each observed label is the clean one."""
    fields, reliability = dict(fields), params["reliability"]
    annotator = fields.pop("annotator", None)
    out = []
    for i, (first, second) in enumerate(rows(*both(params["base"], params["base_params"], fields))):
        eta = reliability
        if isinstance(reliability, list):
            eta = reliability[0 if annotator is None else int(annotator[i])]
        eta = min(max(eta, mp.mpf(1e-4)), mp.mpf(1.0 - 1e-4))  # the clamp's ends are these two floats
        p, not_p = exp(-first) / (exp(-first) + exp(-second)), exp(-second) / (exp(-first) + exp(-second))
        out.append(p * eta / (p * eta + not_p * (1 - eta)))
    return out


def formula(base, base_params, reliability, mode, annotator=None, held=None, **fields):
    params = {"base": base, "base_params": base_params, "reliability": reliability}
    posterior = held or constant({**fields, "annotator": annotator}, params)
    out = []
    for w, first, second in rows(posterior, *both(base, base_params, fields)):
        log_p = log(exp(-first) / (exp(-first) + exp(-second)))
        log_not_p = log(exp(-second) / (exp(-first) + exp(-second)))
        gibbs = -w * log_p - (1 - w) * log_not_p
        out.append(w * first + (1 - w) * second if mode == "weighted" else gibbs)
    return out


def kinks(fields, params):
    """Those of the base, on the pairs as they are and reversed."""
    fields = {key: item for key, item in fields.items() if key != "annotator"}
    base, base_params = witness.of(params["base"]), params["base_params"]
    kept, swapped = (base.kinks(sides, base_params) for sides in (fields, exchange(fields)))
    return [[*here, *there] for here, there in rows(kept, swapped)]


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
# What LCPO-EM carries besides the loss, for the batch of item A: w, and one averaging step of η with rate 0.1.
LCPO_EM = {
    "reliability": (0.9, 0.6),
    "rate": 0.1,
    "posterior": (0.960729699450, 0.476383862223, 0.549146939621),
    "next_reliability": (0.885493831954, 0.587638386222),
    "full_step": (0.754938319535, 0.476383862223),
    "marginal_nll": 0.918276872653,
}

ROWS = [
    # w = σ(u + logit η): softplus(-u) + (1 - w) u; 0.1 (σ(u) - w), over 3
    Row(
        item="LCPO A, mean",
        fields=LCPO_A,
        params={"base": "dpo", "base_params": {"beta": 0.1}, "reliability": (0.9, 0.6), "mode": "gibbs"},
        losses=0.763340931215,
        gradients={"chosen": [-0.00765570402733, -0.00329477311416, -0.0143314672533]},
        mean=True,
    ),
    # u = 2 * 0.5 / 0.5 = 2, w = σ(2 + log 4): softplus(-2) + 2 (1 - w); (2/τ)(σ(2) - w) = 4 (σ(2) - w)
    Row(
        item="LCPO B, ipo",
        fields=LCPO_IPO,
        params={"base": "ipo", "base_params": {"tau": 0.5}, "reliability": 0.8, "mode": "gibbs"},
        losses=[0.192381123774],
        gradients={"chosen": [-0.345905462627]},
    ),
    # w (0.5 - 1)² + (1 - w) (-0.5 - 1)²; 2 w (-0.5) + 2 (1 - w) 1.5
    Row(
        item="LCPO B, ipo weighted",
        fields=LCPO_IPO,
        params={"base": "ipo", "base_params": {"tau": 0.5}, "reliability": 0.8, "mode": "weighted"},
        losses=[0.315453112731],
        gradients={"chosen": [-0.869093774538]},
    ),
    # u = softplus(2.625) - softplus(0.125); du/dm_w = 2.5 (σ(0.125) + σ(2.625)), one token each so l = m
    Row(
        item="LCPO B, simpo",
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
    # over CPO with its NLL inside, L = softplus(-0.1 (l_w - l_l)) - l_w: u = 1.1 * 2 = 2.2, w = σ(2.2 + log 4) =
    # 0.973045861333; 1.1 (σ(2.2) - w)
    Row(
        item="LCPO over CPO",
        fields={"chosen": [-10], "rejected": [-12]},
        params={
            "base": "cpo",
            "base_params": {"beta": 0.1, "nll_weight": 1.0, "nll": "sum"},
            "reliability": 0.8,
            "mode": "gibbs",
        },
        losses=[0.164382424836],
        gradients={"chosen": [-0.0800759854982]},
    ),
]

"""The textbook formulas, one expression each, in 50-digit arithmetic: a third witness that knows no stability trick.

Plain lists of numbers in, a list of losses out. ``losses`` makes every number exact before any arithmetic happens.
"""

from mpmath import MPContext

mp = MPContext()
mp.dps = 50
exp, log = mp.exp, mp.log


def exact(value):
    """The same nested lists, with every number as the mpf it stands for."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(item) for item in value]
    return value if value is None or isinstance(value, (str, bool)) else mp.mpf(value)


def losses(name, fields, params):
    return FORMULAS[name](**exact(fields), **exact(params))


def sigma(z):
    return 1 / (1 + exp(-z))


def per_token(logps, lengths):
    return [logp / max(length, 1) for logp, length in zip(logps, lengths, strict=True)]


def dpo(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing=0):
    out = []
    for c, r, rc, rr in zip(chosen, rejected, ref_chosen, ref_rejected, strict=True):
        z = beta * (c - rc) - beta * (r - rr)
        out.append(-(1 - label_smoothing) * log(sigma(z)) - label_smoothing * log(sigma(-z)))
    return out


def ipo(chosen, rejected, ref_chosen, ref_rejected, tau, length_normalized=False, chosen_len=None, rejected_len=None):
    if length_normalized:
        chosen, ref_chosen = per_token(chosen, chosen_len), per_token(ref_chosen, chosen_len)
        rejected, ref_rejected = per_token(rejected, rejected_len), per_token(ref_rejected, rejected_len)
    quadruples = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [((c - rc) - (r - rr) - 1 / (2 * tau)) ** 2 for c, r, rc, rr in quadruples]


def simpo(
    chosen,
    rejected,
    chosen_len,
    rejected_len,
    beta,
    label_smoothing=0,
    smoothing="trl",
    link="logistic",
    gamma=None,
    gamma_beta_ratio=None,
):
    if gamma is None:
        gamma = beta * (mp.mpf("0.25") if gamma_beta_ratio is None else gamma_beta_ratio)
    out = []
    for c, r in zip(per_token(chosen, chosen_len), per_token(rejected, rejected_len), strict=True):
        z = beta * c - beta * r - gamma
        flipped = -z if smoothing == "trl" else beta * r - beta * c - gamma
        logistic = -(1 - label_smoothing) * log(sigma(z)) - label_smoothing * log(sigma(flipped))
        out.append(max(mp.zero, 1 - z) if link == "hinge" else logistic)
    return out


def pro(logps, lengths, sft_weight, temperature, scores=None, mask=None):
    out = []
    for b, row in enumerate(logps):
        order = [k for k in range(len(row)) if mask is None or mask[b][k]]
        s = {k: row[k] / max(lengths[b][k], 1) for k in order}
        total = mp.zero
        for place, k in enumerate(order[:-1]):
            tail = order[place + 1 :]
            gap = {i: mp.one if temperature == "none" else scores[b][k] - scores[b][i] for i in tail}
            gap[k] = max(gap.values())
            total -= log(exp(s[k] * gap[k]) / mp.fsum(exp(s[i] * gap[i]) for i in (k, *tail)))
        if order:
            total += sft_weight * (len(order) - 1) ** 2 * -row[order[0]]
        out.append(total)
    return out


def cpl(
    chosen,
    rejected,
    alpha,
    bias,
    discount=1,
    regularizer="none",
    bc_weight=0,
    bc_data="all",
    ref_chosen=None,
    ref_rejected=None,
    chosen_mask=None,
    rejected_mask=None,
    label=None,
):
    def valid_steps(values, masks, b):
        return [v for t, v in enumerate(values[b]) if masks is None or masks[b][t]]

    def advantage(policy, ref, masks, b):
        steps = valid_steps(policy, masks, b)
        if regularizer == "kl":
            steps = [p - r for p, r in zip(steps, valid_steps(ref, masks, b), strict=True)]
        return mp.fsum(discount**t * alpha * step for t, step in enumerate(steps))

    def negative_mean(policy, masks, b):
        steps = valid_steps(policy, masks, b)
        return -mp.fsum(steps) / max(len(steps), 1)

    out = []
    for b in range(len(chosen)):
        y = mp.one if label is None else label[b]
        a_c, a_r = advantage(chosen, ref_chosen, chosen_mask, b), advantage(rejected, ref_rejected, rejected_mask, b)
        chosen_cins = exp(a_c) / (exp(a_c) + exp(bias * a_r))
        rejected_wins = exp(a_r) / (exp(a_r) + exp(bias * a_c))
        cloned = []
        if bc_data == "all" or y >= mp.mpf("0.5"):
            cloned.append(negative_mean(chosen, chosen_mask, b))
        if bc_data == "all" or y <= mp.mpf("0.5"):
            cloned.append(negative_mean(rejected, rejected_mask, b))
        out.append(-y * log(chosen_cins) - (1 - y) * log(rejected_wins) + bc_weight * mp.fsum(cloned) / len(cloned))
    return out


def cpl_ranking(logps, scores, alpha, bias, regularizer="none", ref_logps=None, mask=None):
    out = []
    for b, row in enumerate(logps):
        kept = [k for k in range(len(row)) if mask is None or mask[b][k]]
        a = {k: alpha * (row[k] - ref_logps[b][k]) if regularizer == "kl" else alpha * row[k] for k in kept}
        terms = [
            -log(exp(a[high]) / (exp(a[high]) + exp(bias * a[low])))
            for high in kept
            for low in kept
            if scores[b][high] > scores[b][low]
        ]
        out.append(mp.fsum(terms) / len(terms) if terms else mp.zero)
    return out


def vpo(chosen, rejected, ref_chosen, ref_rejected, calibration, ref_calibration, beta, alpha, sign):
    # J*(r) = -β E_cal[log π - log π_ref] for r = β log(π / π_ref); minimise  ℓ_BT - sign α J*
    ratios = [p - r for p, r in zip(calibration, ref_calibration, strict=True)]
    value = -beta * mp.fsum(ratios) / len(ratios)
    quadruples = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [-log(sigma(beta * ((c - rc) - (r - rr)))) - sign * alpha * value for c, r, rc, rr in quadruples]


def inpo(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    opponents_chosen,
    opponents_rejected,
    eta,
    tau,
    length_normalized=False,
    chosen_len=None,
    rejected_len=None,
):
    n_chosen = [max(n, 1) if length_normalized else 1 for n in chosen_len or [1] * len(chosen)]
    n_rejected = [max(n, 1) if length_normalized else 1 for n in rejected_len or [1] * len(chosen)]

    def gap(c, r, b):
        return c[b] / n_chosen[b] - r[b] / n_rejected[b]

    return [
        (
            gap(chosen, rejected, b)
            - tau / eta * gap(ref_chosen, ref_rejected, b)
            - (eta - tau) / eta * gap(opponents_chosen[0], opponents_rejected[0], b)
            - 1 / (2 * eta)
        )
        ** 2
        for b in range(len(chosen))
    ]


def mnpo(
    chosen,
    rejected,
    opponents_chosen,
    opponents_rejected,
    beta,
    eta,
    tau,
    distance,
    target,
    length_normalized=False,
    weights=None,
    ref_chosen=None,
    ref_rejected=None,
    chosen_len=None,
    rejected_len=None,
    margin=None,
):
    m = len(opponents_chosen)
    weights = weights or [mp.one / m] * m
    out = []
    for b in range(len(chosen)):
        n_c = max(chosen_len[b], 1) if length_normalized else 1
        n_r = max(rejected_len[b], 1) if length_normalized else 1
        a = chosen[b] / n_c - rejected[b] / n_r
        if tau > 0:
            a -= tau / eta * (ref_chosen[b] / n_c - ref_rejected[b] / n_r)
        for j in range(m):
            a -= (eta - tau) / eta * weights[j] * (opponents_chosen[j][b] / n_c - opponents_rejected[j][b] / n_r)
        a *= beta
        if target == "hard":
            # the limit b -> ∞ of the divergence below: Bernoulli(1) from Bernoulli(σ(a))
            out.append(-log(sigma(a)))
            continue
        goal = eta * margin[b] if target == "reward" else 1 / (2 * eta)
        p, q, not_p, not_q = sigma(goal), sigma(a), sigma(-goal), sigma(-a)
        out.append((a - goal) ** 2 if distance == "squared" else p * log(p / q) + not_p * log(not_p / not_q))
    return out


def exchange(fields):
    """The same pairs with the observed order reversed."""
    sides = {"chosen": "rejected", "rejected": "chosen"}
    out = {}
    for name, value in fields.items():
        words = [sides.get(word, word) for word in name.split("_")]
        out["_".join(words)] = [-item for item in value] if name == "margin" else value
    return out


def lcpo_posterior(base, base_params, reliability, fields, annotator=None):
    """w = p η / (p η + (1 - p) (1 - η)), the probability that each observed label is the clean one."""
    kept, swap = FORMULAS[base](**fields, **base_params), FORMULAS[base](**exchange(fields), **base_params)
    out = []
    for i, (first, second) in enumerate(zip(kept, swap, strict=True)):
        eta = reliability
        if isinstance(reliability, list):
            eta = reliability[0 if annotator is None else int(annotator[i])]
        eta = min(max(eta, mp.mpf(1e-4)), mp.mpf(1.0 - 1e-4))  # the clamp's ends are these two floats
        p, not_p = exp(-first) / (exp(-first) + exp(-second)), exp(-second) / (exp(-first) + exp(-second))
        out.append(p * eta / (p * eta + not_p * (1 - eta)))
    return out


def lcpo(base, base_params, reliability, mode, annotator=None, posterior=None, **fields):
    """Pass the posterior to hold it constant while the fields move."""
    if posterior is None:
        posterior = lcpo_posterior(base, base_params, reliability, fields, annotator)
    kept, swap = FORMULAS[base](**fields, **base_params), FORMULAS[base](**exchange(fields), **base_params)
    out = []
    for w, first, second in zip(posterior, kept, swap, strict=True):
        log_p = log(exp(-first) / (exp(-first) + exp(-second)))
        log_not_p = log(exp(-second) / (exp(-first) + exp(-second)))
        gibbs = -w * log_p - (1 - w) * log_not_p
        out.append(w * first + (1 - w) * second if mode == "weighted" else gibbs)
    return out


FORMULAS = {formula.__name__: formula for formula in (dpo, ipo, simpo, pro, cpl, cpl_ranking, lcpo, vpo, inpo, mnpo)}

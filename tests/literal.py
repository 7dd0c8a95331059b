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
        turned = {"margin": lambda item: -item, "label": lambda item: 1 - item}.get(name)
        out["_".join(words)] = [turned(item) for item in value] if turned else value
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


def relu(x):
    return max(x, mp.zero)


def logistic(z):
    return -log(sigma(z))


def e(x):
    """The exponential of a log-ratio, along its tangent from 60 nats on."""
    return exp(x) if x <= 60 else exp(mp.mpf(60)) * (x - 59)


def kl(p, q):
    """Between two Bernoulli distributions, each given as (probability, its complement)."""
    return p[0] * log(p[0] / q[0]) + p[1] * log(p[1] / q[1])


def coin(z):
    return sigma(z), sigma(-z)


def rows(*columns):
    return zip(*columns, strict=True)


def ratios(chosen, rejected, ref_chosen, ref_rejected):
    """(a, b) of every pair."""
    return [(c - rc, r - rr) for c, r, rc, rr in rows(chosen, rejected, ref_chosen, ref_rejected)]


def margins(*sides):
    return [a - b for a, b in ratios(*sides)]


def on_margin(link):
    """The objective whose loss is link(h, **parameters), h the log-ratio margin."""

    def formula(chosen, rejected, ref_chosen, ref_rejected, **params):
        return [link(h, **params) for h in margins(chosen, rejected, ref_chosen, ref_rejected)]

    return formula


def on_ratios(link):
    """The objective whose loss is link(a, b, **parameters)."""

    def formula(chosen, rejected, ref_chosen, ref_rejected, **params):
        return [link(a, b, **params) for a, b in ratios(chosen, rejected, ref_chosen, ref_rejected)]

    return formula


def on_known_margin(link):
    """The objective whose loss is link(h, δ, **parameters), δ the known margin."""

    def formula(chosen, rejected, ref_chosen, ref_rejected, margin, **params):
        return [link(h, d, **params) for h, d in rows(margins(chosen, rejected, ref_chosen, ref_rejected), margin)]

    return formula


def on_means(link):
    """The objective without reference whose loss is link(p_w, p_l, **parameters)."""

    def formula(chosen, rejected, chosen_len, rejected_len, **params):
        means = rows(per_token(chosen, chosen_len), per_token(rejected, rejected_len))
        return [link(p, q, **params) for p, q in means]

    return formula


def gpo(z, link):
    return {
        "exponential": lambda: e(-z),
        "truncated_quadratic": lambda: relu(1 - z) ** 2,
        "savage": lambda: sigma(-z) ** 2,
        "square": lambda: (z - 1) ** 2,
        "logistic": lambda: logistic(z),
        "hinge": lambda: relu(1 - z),
    }[link]()


def robust_link(h, beta, label_smoothing):
    good, bad = (1 - label_smoothing) * log(sigma(beta * h)), label_smoothing * log(sigma(-beta * h))
    return (bad - good) / (1 - 2 * label_smoothing)


def exo_link(h, beta, label_smoothing):
    return kl(coin(beta * h), (1 - label_smoothing, label_smoothing))


def discopop_link(h, beta, tau):
    z = beta * h
    return sigma(-z / tau) * logistic(z) + sigma(z / tau) * exp(-z)


def padll_link(h, beta):
    return mp.mpf(9) / 10 * (1 - mp.mpf(h < 0) / 2) * logistic(beta * h)


def odpo_link(h, margin, beta, alpha, offset="log"):
    if offset == "log" and margin == 0:
        return mp.zero  # log 0 = -∞: the logit is +∞
    return logistic(beta * h - alpha * (log(margin) if offset == "log" else margin))


def mm_link(h, margin, beta, w, k):
    return logistic(beta * (1 + w * (1 - exp(-k * relu(margin)))) * h)


def reward_aware_link(h, margin, beta, eta, distance):
    z, g = beta * h, eta * margin
    if distance == "squared":
        return (z - g) ** 2
    return kl(coin(g), coin(z)) if distance == "backward_kl" else kl(coin(z), coin(g))


def modpo_link(h, margin, beta, weight):
    return logistic((beta * h - (1 - weight) * margin) / weight)


def dpop_link(a, b, beta, penalty):
    return logistic(beta * (a - b - penalty * relu(-a)))


def chi_link(a, b, beta, clip=None):
    v = beta * ((e(a) + a) - (e(b) + b))
    return logistic(v if clip is None else max(-clip, min(clip, v)))


def cal_link(a, b, beta, calibration_weight):
    return logistic(a - b) + calibration_weight * ((a - 1 / (2 * beta)) ** 2 + (b + 1 / (2 * beta)) ** 2)


def f_dpo_link(a, b, beta, divergence, alpha=None, convention="paper"):
    power = alpha if convention == "paper" else 1 - alpha
    score = {
        "reverse_kl": lambda x: x,
        "forward_kl": lambda x: -e(-x),
        "js": lambda x: log(2 * sigma(x)),
        "alpha": lambda x: (1 - e(-power * x)) / power,
    }[divergence]
    return logistic(beta * (score(a) - score(b)))


def bpo_link(a, b, beta, alpha, link):
    return gpo(beta * min(a, -alpha * b), link)


def orpo_link(p, q, odds_weight):
    # log(1 + odds(q) / odds(p)), which is -log σ(log odds(p) - log odds(q)) and survives p = 0
    q = min(q, mp.mpf(-1e-12))
    return -p + odds_weight * log(1 + exp(q) * (1 - exp(p)) / (exp(p) * (1 - exp(q))))


def alpha_link(p, q, beta, alpha, gamma):
    def reward(x):
        return x if alpha == 0 else (1 - e(-alpha * x)) / alpha

    return logistic(beta * (reward(p) - reward(q)) - gamma)


def sim_npo_link(p, q, beta, gamma, forget_weight=1, retain_weight=1):
    return forget_weight * 2 / beta * logistic(-beta * (q + gamma)) - retain_weight * p


def arpo_factors(fields, params):
    """t of every pair."""
    means = rows(*(per_token(fields[side], fields[f"{side}_len"]) for side in ("chosen", "rejected")))
    return [min(mp.one, params["scale"] * exp(params["rate"] * abs(p - q)) - 1) for p, q in means]


def arpo(chosen, rejected, chosen_len, rejected_len, beta, nll_weight, scale, rate, detach=False, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_len": chosen_len, "rejected_len": rejected_len}
    factors = held or arpo_factors(fields, {"scale": scale, "rate": rate})
    terms = rows(chosen, rejected, per_token(chosen, chosen_len), factors)
    return [logistic(beta * (c - t * r)) - nll_weight * p for c, r, p, t in terms]


def slic_hf(chosen, rejected, delta, regularization_weight):
    return [relu(delta - c + r) - regularization_weight * c for c, r in rows(chosen, rejected)]


def cpo(chosen, rejected, beta, nll_weight, nll, chosen_len=None, rejected_len=None):
    lengths = chosen_len if nll == "mean" else [1] * len(chosen)
    terms = rows(chosen, rejected, per_token(chosen, lengths))
    return [-log(sigma(beta * (c - r))) - nll_weight * p for c, r, p in terms]


def r_dpo(chosen, rejected, ref_chosen, ref_rejected, chosen_len, rejected_len, beta, alpha):
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), chosen_len, rejected_len)
    return [logistic(beta * h + alpha * (n_c - n_r)) for h, n_c, n_r in terms]


def ln_dpo(chosen, rejected, ref_chosen, ref_rejected, chosen_len, rejected_len, beta):
    policy = rows(per_token(chosen, chosen_len), per_token(rejected, rejected_len))
    ref = rows(per_token(ref_chosen, chosen_len), per_token(ref_rejected, rejected_len))
    return [logistic(beta * (c - rc) - beta * (r - rr)) for (c, r), (rc, rr) in rows(policy, ref)]


def dpo_gamma(chosen, rejected, ref_chosen, ref_rejected, beta, gamma):
    return [
        logistic(beta * ((c - r) - gamma * (rc - rr)))
        for c, r, rc, rr in rows(chosen, rejected, ref_chosen, ref_rejected)
    ]


def h_dpo(chosen, rejected, ref_chosen, ref_rejected, beta, alpha):
    sides = rows(chosen, rejected, ref_chosen, ref_rejected)
    return [logistic(alpha * beta * (c - r) - beta * (rc - rr)) for c, r, rc, rr in sides]


def hypo(chosen, rejected, ref_chosen, ref_rejected, beta):
    return [
        logistic(beta * ((c - r) - relu(rc - rr))) for c, r, rc, rr in rows(chosen, rejected, ref_chosen, ref_rejected)
    ]


def rpo_regularized(chosen, rejected, ref_chosen, ref_rejected, beta, eta):
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), chosen)
    return [logistic(beta * h) - eta * beta * c for h, c in terms]


def spce(chosen, rejected, ref_chosen, ref_rejected, beta, label=None):
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), label or [mp.one] * len(chosen))
    return [-y * log(sigma(beta * h)) - (1 - y) * log(sigma(-beta * h)) for h, y in terms]


def dno(chosen, rejected, ref_chosen, ref_rejected, eta, target, margin=None):
    out = []
    for i, h in enumerate(margins(chosen, rejected, ref_chosen, ref_rejected)):
        t, rest = coin(margin[i]) if target == "soft" else (mp.one, mp.zero)
        out.append(-t * log(sigma(eta * h)) - rest * log(sigma(-eta * h)))
    return out


def xpo(chosen, rejected, ref_chosen, ref_rejected, calibration, beta, alpha):
    bonus = alpha * mp.fsum(calibration) / len(calibration)
    return [logistic(beta * h) + bonus for h in margins(chosen, rejected, ref_chosen, ref_rejected)]


def selm(chosen, rejected, ref_chosen, ref_rejected, calibration, ref_calibration, beta, alpha):
    gains = [p - r for p, r in rows(calibration, ref_calibration)]
    bonus = alpha * beta * mp.fsum(gains) / len(gains)
    return [logistic(beta * h) + bonus for h in margins(chosen, rejected, ref_chosen, ref_rejected)]


def dil(chosen, rejected, ref_chosen, ref_rejected, loss, length_normalized=False, chosen_len=None, rejected_len=None):
    if length_normalized:
        chosen, ref_chosen = per_token(chosen, chosen_len), per_token(ref_chosen, chosen_len)
        rejected, ref_rejected = per_token(rejected, rejected_len), per_token(ref_rejected, rejected_len)
    terms = rows(chosen, ratios(chosen, rejected, ref_chosen, ref_rejected))
    if loss == "lsif":
        return [-e(a) + e(2 * b) / 2 for _, (a, b) in terms]
    return [-c + e(b) if loss == "ukl" else logistic(a) + logistic(-b) for c, (a, b) in terms]


def rainbow_po(
    chosen, rejected, ref_chosen, ref_rejected, chosen_len, rejected_len, beta, alpha, h, kappa=None, entropy=None
):
    out = []
    policy = rows(per_token(chosen, chosen_len), per_token(rejected, rejected_len))
    ref = rows(per_token(ref_chosen, chosen_len), per_token(ref_rejected, rejected_len))
    for i, ((p_w, p_l), (r_w, r_l)) in enumerate(rows(policy, ref)):
        phi = 1 if kappa is None else -kappa * log(entropy[i])
        out.append(logistic(beta * phi * ((p_w - p_l) - alpha * (r_w - r_l) - (1 - alpha) * h)))
    return out


def cauchy(z):
    return -log(mp.mpf(1) / 2 + mp.atan(z) / mp.pi)


def mallows_dpo(chosen, rejected, ref_chosen, ref_rejected, entropy, beta, kappa, link="logistic"):
    f = {"logistic": logistic, "cauchy": cauchy}[link]
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), entropy)
    return [f(beta * -kappa * log(spread) * h) for h, spread in terms]


def steps(values, mask, b):
    return [v for t, v in enumerate(values[b]) if mask is None or mask[b][t]]


def wpo_weights(fields, params):
    """W of every pair."""
    out = []
    for b in range(len(fields["chosen"])):
        total = mp.zero
        for side in ("chosen", "rejected"):
            mask = fields.get(f"{side}_mask")
            gains = steps(fields[side], mask, b)
            if params["collision"]:
                gains = [p - c for p, c in rows(gains, steps(fields[f"{side}_collision"], mask, b))]
            total += mp.fsum(gains) / max(len(gains), 1)
        out.append(min(exp(total), mp.one) if params["clamp"] else exp(total))
    return out


def wpo(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing, collision, clamp, held=None, **fields):
    fields |= {"chosen": chosen, "rejected": rejected}
    weights = held or wpo_weights(fields, {"collision": collision, "clamp": clamp})
    out = []
    for b, weight in enumerate(weights):
        sums = [
            mp.fsum(steps(values, fields.get(mask), b))
            for values, mask in (
                (chosen, "chosen_mask"),
                (rejected, "rejected_mask"),
                (ref_chosen, "chosen_mask"),
                (ref_rejected, "rejected_mask"),
            )
        ]
        z = beta * ((sums[0] - sums[1]) - (sums[2] - sums[3]))
        out.append(weight * (-(1 - label_smoothing) * log(sigma(z)) - label_smoothing * log(sigma(-z))))
    return out


def tis_dpo(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    chosen_weights,
    rejected_weights,
    beta,
    chosen_mask=None,
    rejected_mask=None,
):
    def weighted(policy, ref, weights, mask, b):
        columns = (steps(values, mask, b) for values in (policy, ref, weights))
        return mp.fsum(w * (p - r) for p, r, w in rows(*columns))

    return [
        logistic(
            beta * weighted(chosen, ref_chosen, chosen_weights, chosen_mask, b)
            - beta * weighted(rejected, ref_rejected, rejected_weights, rejected_mask, b)
        )
        for b in range(len(chosen))
    ]


def exo_k(logps, ref_logps, scores, beta, reward_beta, mask=None):
    out = []
    for b in range(len(logps)):
        kept = [k for k in range(len(logps[b])) if mask is None or mask[b][k]]
        p = [exp(beta * (logps[b][k] - ref_logps[b][k])) for k in kept]
        q = [exp(scores[b][k] / reward_beta) for k in kept]
        if len(kept) < 2:
            out.append(mp.zero)
            continue
        p, q = [x / mp.fsum(p) for x in p], [x / mp.fsum(q) for x in q]
        out.append(mp.fsum(x * log(x / y) for x, y in rows(p, q)))
    return out


def tpo(logps, lengths, beta, nll_weight, nll="mean", length_normalized=False, gamma=0):
    tokens = mp.fsum(counts[0] for counts in lengths) / len(lengths)
    out = []
    for row, counts in rows(logps, lengths):
        means = per_token(row, counts)
        u = beta * (means[1] - means[2]) - gamma if length_normalized else beta * (row[1] - row[2])
        gold = {"mean": means[0], "batch_tokens": row[0] / tokens if tokens else row[0] * len(lengths), "sum": row[0]}[
            nll
        ]
        out.append(logistic(u) - nll_weight * gold)
    return out


def rrhf(logps, lengths, scores, weight, length_power, nll, mask=None):
    out = []
    for b, row in enumerate(logps):
        kept = [k for k in range(len(row)) if mask is None or mask[b][k]]
        q = {k: row[k] / max(lengths[b][k], 1) ** length_power for k in kept}
        hinges = [relu(q[i] - q[j]) for i in kept for j in kept if scores[b][i] < scores[b][j]]
        best = [row[k] / max(lengths[b][k], 1) if nll == "mean" else row[k] for k in kept[:1]]
        out.append(weight * mp.fsum(hinges) - mp.fsum(best))
    return out


FORMULAS = {
    formula.__name__: formula
    for formula in (
        *(dpo, ipo, simpo, pro, cpl, cpl_ranking, lcpo, vpo, inpo, mnpo),
        *(slic_hf, r_dpo, ln_dpo, dpo_gamma, spce, wpo, dno, xpo, selm, exo_k),
        *(cpo, tpo, rrhf, arpo, hypo, h_dpo, dil, rpo_regularized, rainbow_po, mallows_dpo, tis_dpo),
    )
} | {
    "hinge": on_margin(lambda h, beta: relu(1 - beta * h)),
    "robust_dpo": on_margin(robust_link),
    "exo": on_margin(exo_link),
    "discopop": on_margin(discopop_link),
    "gpo_link": on_margin(lambda h, beta, link: gpo(beta * h, link)),
    "dove": on_margin(lambda h, beta: logistic(beta * h)),
    "alt_po": on_margin(lambda h, beta: 2 / beta * logistic(beta * h)),
    "padll": on_margin(padll_link),
    "cell": on_margin(lambda h, beta: e(-beta * h) / 2 + logistic(beta * h) / 2),
    "odpo": on_known_margin(odpo_link),
    "mm_dpo": on_known_margin(mm_link),
    "rebel": on_known_margin(lambda h, margin, eta: (h - eta * margin) ** 2),
    "reward_aware_po": on_known_margin(reward_aware_link),
    "modpo": on_known_margin(modpo_link),
    "dpop": on_ratios(dpop_link),
    "chi_po": on_ratios(chi_link),
    "cal_dpo": on_ratios(cal_link),
    "f_dpo": on_ratios(f_dpo_link),
    "dpo_shift": on_ratios(lambda a, b, beta, shift: logistic(beta * (a - shift * b))),
    "minor_dpo": on_ratios(lambda a, b, beta: logistic(beta * (a - relu(b)))),
    "bpo": on_ratios(bpo_link),
    "orpo": on_means(orpo_link),
    "alpha_po": on_means(alpha_link),
    "sim_npo": on_means(sim_npo_link),
    "repo": on_means(lambda p, q, gamma: relu(gamma - (p - q))),
    "simper": on_means(lambda p, q: e(q) - e(p)),
}

# What an objective holds constant in its gradient: fields and parameters in, one number per example out.
HELD = {"wpo": wpo_weights, "arpo": arpo_factors}


def held(name, fields, params):
    """The parameters, with what the gradient of the objective holds constant frozen at these fields."""
    if name not in HELD or params.get("detach") is False:
        return params
    return {**params, "held": HELD[name](fields, params)}

"""The textbook formulas of the objectives on lists and on whole batches, in the arithmetic of `literal`."""

from literal import e, exp, log, logistic, margins, mp, per_token, ratios, relu, rows, sigma


def scaled(logps, ref_logps, mask, beta):
    """The scores s of the valid completions of every list, as {place: s}."""
    return [
        {k: beta * (row[k] - ref[k]) for k in range(len(row)) if mask is None or mask[b][k]}
        for b, (row, ref) in enumerate(rows(logps, ref_logps))
    ]


def plackett_luce(logps, ref_logps, beta, stages=None, mask=None):
    out = []
    for s in scaled(logps, ref_logps, mask, beta):
        weights = [exp(x) for x in s.values()]
        count = len(weights) if stages is None else min(int(stages), len(weights))
        out.append(-mp.fsum(log(weights[k] / mp.fsum(weights[k:])) for k in range(count)))
    return out


def s_dpo(logps, ref_logps, beta, mask=None):
    out = []
    for s in scaled(logps, ref_logps, mask, beta):
        weights = [exp(x) for x in s.values()]
        out.append(-log(weights[0] / mp.fsum(weights)) if weights else mp.zero)
    return out


def listnet(logps, ref_logps, scores, beta, tau, mask=None):
    out = []
    for b, s in enumerate(scaled(logps, ref_logps, mask, beta)):
        p, q = {k: exp(x) for k, x in s.items()}, {k: exp(scores[b][k] / tau) for k in s}
        out.append(-mp.fsum(q[k] / mp.fsum(q.values()) * log(p[k] / mp.fsum(p.values())) for k in s))
    return out


def ordered(s, scores):
    return [(i, j) for i in s for j in s if scores[i] > scores[j]]


def lambdas(fields, params):
    """λ of every ordered pair of every list."""
    out = []
    s_of = scaled(fields["logps"], fields["ref_logps"], fields.get("mask"), params["beta"])
    for s, psi in rows(s_of, fields["scores"]):
        rank = {i: 1 + sum(s[j] > s[i] or (s[j] == s[i] and j < i) for j in s) for i in s}
        unit = 1 if params["discount"] == "log1p" else log(2)
        worth = {i: unit / log(1 + rank[i]) for i in s}
        pairs = ordered(s, psi)
        out.append({(i, j): abs((2 ** psi[i] - 2 ** psi[j]) * (worth[i] - worth[j])) for i, j in pairs})
    return out


def lipo_lambda(logps, ref_logps, scores, beta, discount, mask=None, held=None):
    fields = {"logps": logps, "ref_logps": ref_logps, "scores": scores, "mask": mask}
    weights = held or lambdas(fields, {"beta": beta, "discount": discount})
    lists = rows(scaled(logps, ref_logps, mask, beta), weights)
    return [mp.fsum(w * logistic(s[i] - s[j]) for (i, j), w in weight.items()) for s, weight in lists]


def all_pairs(logps, ref_logps, scores, beta, link, mask=None):
    out = []
    for s, psi in rows(scaled(logps, ref_logps, mask, beta), scores):
        gaps = [s[i] - s[j] for i, j in ordered(s, psi)]
        out.append(mp.fsum(logistic(d) if link == "logistic" else relu(1 - d) for d in gaps) / max(len(gaps), 1))
    return out


def ranklist(logps, ref_logps, beta, skips, decay, aggregate, mask=None):
    out = []
    for s in scaled(logps, ref_logps, mask, beta):
        s, total = list(s.values()), mp.zero
        for i in range(len(s)):
            gaps = [s[i] - s[i + k] for k in range(1, int(skips) + 1) if i + k < len(s)]
            if aggregate == "lse":
                total += log(1 + mp.fsum(exp(-d) for d in gaps))
            else:
                total += mp.fsum(decay**k * logistic(d) for k, d in enumerate(gaps))
        out.append(total)
    return out


def transported(first, second, beta, label_smoothing):
    """Smoothed DPO of the gaps between two sorted samples, at the places of the first."""
    out = [None] * len(first)
    order = sorted(range(len(first)), key=lambda i: first[i])
    for i, other in rows(order, sorted(second)):
        z = beta * (first[i] - other)
        out[i] = (1 - label_smoothing) * logistic(z) + label_smoothing * logistic(-z)
    return out


def aot(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing):
    ours, theirs = ([c - r for c, r in rows(*sides)] for sides in ((chosen, rejected), (ref_chosen, ref_rejected)))
    return transported(ours, theirs, beta, label_smoothing)


def aot_unpaired(chosen, rejected, ref_chosen, ref_rejected, beta, label_smoothing):
    a, b = rows(*ratios(chosen, rejected, ref_chosen, ref_rejected))
    return transported(a, b, beta, label_smoothing)


SIDES = ("chosen", "rejected", "ref_chosen", "ref_rejected")


def mean(values):
    return mp.fsum(values) / len(values)


def batch_betas(fields, params):
    """β_B, once for every pair."""
    gap = mean(margins(*(fields[side] for side in SIDES)))
    scale = params["beta"] * (1 + params["alpha"] * (gap - params["mean_gap"]))
    return [max(params["floor"], scale)] * len(fields["chosen"])


def beta_dpo(chosen, rejected, ref_chosen, ref_rejected, beta, alpha, mean_gap, floor, held=None):
    sides = (chosen, rejected, ref_chosen, ref_rejected)
    params = {"beta": beta, "alpha": alpha, "mean_gap": mean_gap, "floor": floor}
    betas = held or batch_betas(dict(rows(SIDES, sides)), params)
    return [logistic(scale * h) for scale, h in rows(betas, margins(*sides))]


def dr_dpo(chosen, rejected, ref_chosen, ref_rejected, beta, robustness):
    each = [logistic(beta * h) for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    return [-robustness * log(mean([exp(-loss / robustness) for loss in each]))] * len(each)


def mean_gaps(fields):
    means = (per_token(fields[side], fields[f"{side}_len"]) for side in ("chosen", "rejected"))
    return [p - q for p, q in rows(*means)]


def amapo_extras(fields, params):
    """A of every pair."""
    m = mean_gaps(fields)
    mu = mean(m)
    spread = mp.sqrt(mp.fsum((x - mu) ** 2 for x in m) / max(len(m) - 1, 1))
    return [params["beta"] * e((mu - x) * mu / spread) if spread and x < mu else mp.zero for x in m]


def amapo(chosen, rejected, chosen_len, rejected_len, beta, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_len": chosen_len, "rejected_len": rejected_len}
    extras = held or amapo_extras(fields, {"beta": beta})
    return [logistic(beta * m - extra) for m, extra in rows(mean_gaps(fields), extras)]


def bisect(rises, low, high):
    """Where a rising function is 0."""
    for _ in range(190):  # 2^-190 of the interval is beyond the working precision
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return (low + high) / 2


def gamma_margins(fields, params):
    """γ_i of every pair."""
    gamma, tau = params["gamma"], params["tau"]
    r = [params["beta"] * m for m in mean_gaps(fields)]

    def shares(c):
        def left(u, gap):
            return tau * u + gamma / (1 + exp(gap - gamma * exp(u))) - c

        return [exp(bisect(lambda u, gap=gap: left(u, gap), (c - gamma) / tau, c / tau)) for gap in r]

    c = bisect(lambda c: mean(shares(c)) - 1, mp.zero, gamma)
    return [gamma * x for x in shares(c)]


def gamma_po(chosen, rejected, chosen_len, rejected_len, beta, gamma, tau, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_len": chosen_len, "rejected_len": rejected_len}
    own = held or gamma_margins(fields, {"beta": beta, "gamma": gamma, "tau": tau})
    return [logistic(beta * m - margin) for m, margin in rows(mean_gaps(fields), own)]


def gr_dpo(chosen, rejected, ref_chosen, ref_rejected, annotator, beta, weights):
    groups = [int(group) for group in annotator]
    pairs = rows(groups, margins(chosen, rejected, ref_chosen, ref_rejected))
    return [weights[g] * logistic(beta * h) * len(groups) / groups.count(g) for g, h in pairs]


def mapl(logps, ref_logps, beta, intra_weight, inter_weight):
    out = []
    for row, ref in rows(logps, ref_logps):
        (a, b), (c, d) = ([beta * (row[k] - ref[k]) for k in pair] for pair in ((0, 1), (2, 3)))
        out.append(logistic(a - b) + intra_weight * logistic(a - c) + inter_weight * logistic(a - b - (c - d)))
    return out


def mdpo(logps, ref_logps, beta, delta):
    out = []
    for row, ref in rows(logps, ref_logps):
        chosen, rejected, corrupted = (beta * (p - r) for p, r in rows(row, ref))
        out.append(logistic(chosen - rejected) + logistic(chosen - corrupted) + logistic(chosen - delta))
    return out


def partition_values(fields, params):
    """V of every list."""
    out, tau, mask = [], params["tau"], fields.get("mask")
    for b, (ref, scores) in enumerate(rows(fields["ref_logps"], fields["scores"])):
        terms = rows(per_token(ref, fields["lengths"][b]), scores, mask[b] if mask else [True] * len(ref))
        out.append(tau * log(mp.fsum(exp(p + r / tau) for p, r, valid in terms if valid)))
    return out


def reward_partition(logps, ref_logps, scores, lengths, tau, mask=None, held=None):
    fields = {"ref_logps": ref_logps, "scores": scores, "lengths": lengths, "mask": mask}
    values = held or partition_values(fields, {"tau": tau})
    policy, reference = ([per_token(x, n) for x, n in rows(side, lengths)] for side in (logps, ref_logps))
    ratio = scaled(policy, reference, mask, 1)
    return [mp.fsum((x - (r[k] - v) / tau) ** 2 for k, x in s.items()) / 2 for s, r, v in rows(ratio, scores, values)]


def spread_of(values):
    """The standard deviation of a sample; 0 for a single number."""
    return mp.sqrt(mp.fsum((x - mean(values)) ** 2 for x in values) / max(len(values) - 1, 1))


def alpha_targets(fields, params):
    """The target margin of every pair."""
    ref = {side: fields[f"ref_{side}"] for side in ("chosen", "rejected")}
    gaps = [ours - theirs for ours, theirs in rows(mean_gaps(fields), mean_gaps({**fields, **ref}))]
    center = mean(gaps) if params["mean_gap"] is None else params["mean_gap"]
    spread = spread_of(gaps) if params["gap_std"] is None else params["gap_std"]
    usual = [(gap - center) / spread if spread else mp.zero for gap in gaps]
    return [params["gamma_beta_ratio"] + params["alpha"] * x for x in usual]


def alpha_dpo(beta, gamma_beta_ratio, alpha, mean_gap=None, gap_std=None, held=None, **fields):
    params = {"gamma_beta_ratio": gamma_beta_ratio, "alpha": alpha, "mean_gap": mean_gap, "gap_std": gap_std}
    targets = held or alpha_targets(fields, params)
    return [logistic(beta * (gap - target)) for gap, target in rows(mean_gaps(fields), targets)]


def mixed(w, z):
    return w * logistic(z) + (1 - w) * relu(1 - z)


def aql(chosen, rejected, ref_chosen, ref_rejected, beta):
    x = [20 * beta * h for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    q = mp.mpf(1) / 2 + (sigma(mean(x)) - mp.mpf(1) / 2) / 100
    return [mixed(sigma(q - h), h / 20) for h in x]


def aqfl(chosen, rejected, ref_chosen, ref_rejected, beta):
    x = [20 * beta * h for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    q = (95 * spread_of(x) * mean([sigma(-h) for h in x]) + 5 * sigma(mean(x))) / 100
    return [mixed(sigma(abs(h - q) / 10), h / 20) for h in x]


def ordered_pairs(fields, params=None):
    """Which pairs the policy orders, which decides between the two halves of PFL."""
    return [w > v for w, v in rows(fields["chosen"], fields["rejected"])]


def pfl(chosen, rejected, ref_chosen, ref_rejected, beta, held=None):
    z = [beta * h for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    right = held or ordered_pairs({"chosen": chosen, "rejected": rejected})
    return [logistic(x) / 2 if good else 2 * relu(1 - x) for x, good in rows(z, right)]


def cosine(x, y):
    """0 where one of them is the zero vector."""
    size = mp.sqrt(mp.fsum(p * p for p in x)) * mp.sqrt(mp.fsum(q * q for q in y))
    return mp.fsum(p * q for p, q in rows(x, y)) / size if size else mp.zero


def relative_po(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    beta,
    temperature,
    diagonal_weight=None,
    prompt_embedding=None,
):
    a, b = rows(*ratios(chosen, rejected, ref_chosen, ref_rejected))
    count, out = len(a), []
    for i in range(count):
        w, m = [mp.one] * count, [mp.one / count] * count
        if prompt_embedding is not None:
            near = [exp(cosine(prompt_embedding[i], x) / temperature) for x in prompt_embedding]
            w = [x / mp.fsum(near) for x in near]
        if diagonal_weight is not None and count > 1:
            m = [diagonal_weight if j == i else (1 - diagonal_weight) / (count - 1) for j in range(count)]
        out.append(mp.fsum(m[j] * logistic(beta * w[j] * (a[i] - b[j])) for j in range(count)))
    return out


FORMULAS = {
    formula.__name__: formula
    for formula in (
        *(plackett_luce, listnet, lipo_lambda, s_dpo, all_pairs, ranklist, mapl),
        *(aot, aot_unpaired, beta_dpo, dr_dpo, amapo, gamma_po, gr_dpo),
        *(mdpo, reward_partition, alpha_dpo, aql, aqfl, pfl, relative_po),
    )
}

# What an objective holds constant in its gradient, one entry per example; of PFL the side of its step.
HELD = {
    "lipo_lambda": lambdas,
    "beta_dpo": batch_betas,
    "amapo": amapo_extras,
    "gamma_po": gamma_margins,
    "reward_partition": partition_values,
    "alpha_dpo": alpha_targets,
    "pfl": ordered_pairs,
}

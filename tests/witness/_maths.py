"""What several witnesses need: 50-digit arithmetic, and the pieces that textbook formulas share."""

from mpmath import MPContext

mp = MPContext()
mp.dps = 50
exp, log = mp.exp, mp.log
HALF = mp.mpf(1) / 2


def exact(value):
    """The same nested lists, with every number as the mpf it stands for."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(item) for item in value]
    return value if value is None or isinstance(value, (str, bool)) else mp.mpf(value)


def sigma(z):
    return 1 / (1 + exp(-z))


def per_token(logps, lengths):
    return [logp / max(length, 1) for logp, length in zip(logps, lengths, strict=True)]


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


def margins(*sides, **by_name):
    return [a - b for a, b in ratios(*sides, **by_name)]


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


BENT = ("hinge", "truncated_quadratic")


def convex(z, link):
    """The convex functions of GPO, by name; those that are BENT are so at 1."""
    return {
        "exponential": lambda: e(-z),
        "truncated_quadratic": lambda: relu(1 - z) ** 2,
        "savage": lambda: sigma(-z) ** 2,
        "square": lambda: (z - 1) ** 2,
        "logistic": lambda: logistic(z),
        "hinge": lambda: relu(1 - z),
    }[link]()


def steps(values, mask, b):
    return [v for t, v in enumerate(values[b]) if mask is None or mask[b][t]]


def scaled(logps, ref_logps, mask, beta):
    """The scores s of the valid completions of every list, as {place: s}."""
    return [
        {k: beta * (row[k] - ref[k]) for k in range(len(row)) if mask is None or mask[b][k]}
        for b, (row, ref) in enumerate(rows(logps, ref_logps))
    ]


def ordered(s, scores):
    return [(i, j) for i in s for j in s if scores[i] > scores[j]]


def transported(first, second, beta, label_smoothing):
    """Smoothed DPO of the gaps between two sorted samples, at the places of the first."""
    out = [None] * len(first)
    order = sorted(range(len(first)), key=lambda i: first[i])
    for i, other in rows(order, sorted(second)):
        z = beta * (first[i] - other)
        out[i] = (1 - label_smoothing) * logistic(z) + label_smoothing * logistic(-z)
    return out


def mean(values):
    return mp.fsum(values) / len(values)


def mean_gaps(fields):
    means = (per_token(fields[side], fields[f"{side}_len"]) for side in ("chosen", "rejected"))
    return [p - q for p, q in rows(*means)]


def spread_of(values):
    """The standard deviation of a sample; 0 for a single number."""
    return mp.sqrt(mp.fsum((x - mean(values)) ** 2 for x in values) / max(len(values) - 1, 1))


def mixed(w, z):
    return w * logistic(z) + (1 - w) * relu(1 - z)


def scored(logps, ref_logps, scores, beta, alpha, mask):
    """Of each list the scores s and the targets q of its valid completions."""
    for b, (row, ref) in enumerate(zip(logps, ref_logps, strict=True)):
        kept = [k for k in range(len(row)) if mask is None or mask[b][k]]
        weights = [exp(scores[b][k] / alpha) for k in kept]
        yield [beta * (row[k] - ref[k]) for k in kept], [x / mp.fsum(weights) for x in weights]


def valid(mask, row):
    return [True] * len(row) if mask is None else mask


def token_ratios(chosen, rejected, ref_chosen, ref_rejected, chosen_mask=None, rejected_mask=None):
    for i in range(len(chosen)):
        yield (
            i,
            valid(chosen_mask and chosen_mask[i], chosen[i]),
            valid(rejected_mask and rejected_mask[i], rejected[i]),
            [x - y for x, y in zip(chosen[i], ref_chosen[i], strict=True)],
            [x - y for x, y in zip(rejected[i], ref_rejected[i], strict=True)],
        )


def weighted(weights, ratios):
    return sum(w * x for w, x in zip(weights, ratios, strict=True) if w)

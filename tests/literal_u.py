"""The textbook formulas of the decoupled and unpaired objectives, in the arithmetic of `literal`."""

from literal import exp, log, mp, sigma


def kto(
    logps, ref_logps, desirable, beta, desirable_weight=1, undesirable_weight=1, estimator="mean",
    kl=None, kl_logps=None, kl_ref_logps=None, weights=None,
):  # fmt: skip
    ratios = [] if kl_logps is None else [x - r for x, r in zip(kl_logps, kl_ref_logps, strict=True)]
    count = {"mean": len(ratios), "nonzero_mean": max(1, sum(x != 0 for x in ratios))}.get(estimator)
    out = []
    for i, (x, r, good) in enumerate(zip(logps, ref_logps, desirable, strict=True)):
        known = kl[i] if estimator == "given" else mp.zero if estimator == "zero" else mp.fsum(ratios) / count
        a, k = x - r, max(known, mp.zero)
        value = (
            desirable_weight * (1 - sigma(beta * (a - k))) if good else undesirable_weight * (1 - sigma(beta * (k - a)))
        )
        out.append(value * (1 if weights is None else weights[i]))
    return out


def bco(logps, ref_logps, desirable, beta, baseline, weights=None):
    out = []
    for i, (x, r, good) in enumerate(zip(logps, ref_logps, desirable, strict=True)):
        z = beta * (x - r) - baseline
        out.append(-log(sigma(z if good else -z)) * (1 if weights is None else weights[i]))
    return out


def npo(logps, ref_logps, beta, weights=None):
    out = []
    for i, (x, r) in enumerate(zip(logps, ref_logps, strict=True)):
        out.append(-2 / beta * log(sigma(-beta * (x - r))) * (1 if weights is None else weights[i]))
    return out


def apo_zero(chosen, rejected, ref_chosen, ref_rejected, beta):
    sides = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [1 - sigma(beta * (c - rc)) + sigma(beta * (r - rr)) for c, r, rc, rr in sides]


def apo_down(chosen, rejected, ref_chosen, ref_rejected, beta):
    sides = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [sigma(beta * (c - rc)) + 1 - sigma(beta * ((c - rc) - (r - rr))) for c, r, rc, rr in sides]


def scored(logps, ref_logps, scores, beta, alpha, mask):
    """Of each list the scores s and the targets q of its valid completions."""
    for b, (row, ref) in enumerate(zip(logps, ref_logps, strict=True)):
        kept = [k for k in range(len(row)) if mask is None or mask[b][k]]
        weights = [exp(scores[b][k] / alpha) for k in kept]
        yield [beta * (row[k] - ref[k]) for k in kept], [x / mp.fsum(weights) for x in weights]


def nca(logps, ref_logps, scores, beta, alpha, mask=None):
    out = []
    for s, q in scored(logps, ref_logps, scores, beta, alpha, mask):
        out.append(-mp.fsum(w * log(sigma(x)) + log(sigma(-x)) / len(s) for x, w in zip(s, q, strict=True)))
    return out


def info_nca(logps, ref_logps, scores, beta, alpha, mask=None):
    out = []
    for s, q in scored(logps, ref_logps, scores, beta, alpha, mask):
        total = mp.fsum(exp(x) for x in s)
        out.append(-mp.fsum(w * log(exp(x) / total) for x, w in zip(s, q, strict=True)))
    return out


def sft(chosen, normalizer="sum", chosen_len=None):
    if normalizer == "sum":
        return [-x for x in chosen]
    if normalizer == "mean":
        return [-x / max(n, 1) for x, n in zip(chosen, chosen_len, strict=True)]
    return [-x * len(chosen) / max(mp.fsum(chosen_len), 1) for x in chosen]


def qrpo(logps, ref_logps, winrates, beta, transform="log", floor=None):
    out = []
    for row, ref, shares in zip(logps, ref_logps, winrates, strict=True):
        total = mp.zero
        for x, r, q in zip(row, ref, shares, strict=True):
            target = log(max(q, mp.mpf("0.01") if floor is None else floor)) if transform == "log" else q
            z = beta / (1 + beta) if transform == "log" else beta * (exp(1 / beta) - 1)
            total += (target - beta * log(z) - beta * (x - r)) ** 2 / 2
        out.append(total)
    return out


FORMULAS = {f.__name__: f for f in (kto, bco, npo, apo_zero, apo_down, nca, info_nca, sft, qrpo)}

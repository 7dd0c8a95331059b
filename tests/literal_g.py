"""The formulas of the preference games, one expression each, in the arithmetic of ``literal``."""

from literal import exp, mp, per_token

HALF = mp.mpf(1) / 2


def sppo(logps, anchor_logps, winrates, eta):
    return [
        HALF * mp.fsum((p - q - eta * (won - HALF)) ** 2 for p, q, won in zip(*row, strict=True))
        for row in zip(logps, anchor_logps, winrates, strict=True)
    ]


def rspo(
    logps,
    anchor_logps,
    ref_logps,
    winrates,
    eta,
    regularization_weight=0,
    regularizer="reverse_kl",
    reverse_weight=5,
    clamp=10,
):
    penalties = {
        "reverse_kl": lambda p, r: (p - r) ** 2,
        "forward_kl": lambda p, r: exp(min(r - p, clamp)),
        "forward_reverse_kl": lambda p, r: exp(min(r - p, clamp)) + reverse_weight * (p - r) ** 2,
        "chi2": lambda p, r: exp(min(p - r, clamp)),
        "entropy": lambda p, r: p**2,
    }
    penalty = penalties[regularizer]
    return [
        game + regularization_weight * mp.fsum(penalty(p, r) for p, r in zip(*row, strict=True))
        for game, *row in zip(sppo(logps, anchor_logps, winrates, eta), logps, ref_logps, strict=True)
    ]


def gpo(logps, anchor_logps, winrates, beta):
    return [
        mp.fsum((p - q - score / beta) ** 2 for p, q, score in zip(*row, strict=True)) / len(row[0])
        for row in zip(logps, anchor_logps, winrates, strict=True)
    ]


def online_ipo(chosen, rejected, ref_chosen, ref_rejected, tau, label=None):
    label = [mp.one] * len(chosen) if label is None else label
    rows = zip(chosen, rejected, ref_chosen, ref_rejected, label, strict=True)
    return [((c - rc) - (r - rr) - (known - HALF) / tau) ** 2 for c, r, rc, rr, known in rows]


def egpo(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    margin,
    beta,
    length_normalized=False,
    chosen_len=None,
    rejected_len=None,
):
    if length_normalized:
        chosen, ref_chosen = per_token(chosen, chosen_len), per_token(ref_chosen, chosen_len)
        rejected, ref_rejected = per_token(rejected, rejected_len), per_token(ref_rejected, rejected_len)
    rows = zip(chosen, rejected, ref_chosen, ref_rejected, margin, strict=True)
    return [((c - rc) - (r - rr) - m / beta) ** 2 for c, r, rc, rr, m in rows]


def onpo(chosen, rejected, opponents_chosen, opponents_rejected, eta):
    rows = zip(chosen, rejected, opponents_chosen[0], opponents_rejected[0], strict=True)
    return [((c - r) - (oc - other) - eta / 2) ** 2 for c, r, oc, other in rows]


def nash_credits(fields, params):
    """What each valid token's log-prob is multiplied with, by example and place."""
    out = []
    for b, row in enumerate(fields["chosen"]):
        mask, tau = fields.get("chosen_mask"), params["tau"]
        steps = [t for t in range(len(row)) if mask is None or mask[b][t]]
        first = {"sequence": lambda t: 0, "to_go": lambda t: t, "token": lambda t: t}[
            params.get("kl_credit", "sequence")
        ]
        last = {"token": lambda t: t}.get(params.get("kl_credit"), lambda t, row=row: len(row))
        credit = {}
        for t in steps:
            ratios = (row[s] - fields["ref_chosen"][b][s] for s in steps if first(t) <= s <= last(t))
            credit[t] = fields["label"][b] - HALF - tau * mp.fsum(ratios)
        out.append(credit)
    return out


def nash_md(chosen, ref_chosen, label, tau, kl_credit="sequence", chosen_mask=None, held=None):
    fields = {"chosen": chosen, "ref_chosen": ref_chosen, "label": label, "chosen_mask": chosen_mask}
    known = nash_credits(fields, {"tau": tau, "kl_credit": kl_credit}) if held is None else held
    return [-mp.fsum(c * row[t] for t, c in credit.items()) for row, credit in zip(chosen, known, strict=True)]


FORMULAS = {
    "sppo": sppo,
    "rspo": rspo,
    "gpo": gpo,
    "online_ipo": online_ipo,
    "egpo": egpo,
    "onpo": onpo,
    "nash_md": nash_md,
}

# What an objective holds constant in its gradient, one entry per example.
HELD = {"nash_md": nash_credits}

"""The textbook formulas of the token-level objectives and of diffusion, in 50-digit arithmetic."""

from literal import exp, log


def valid(mask, row):
    return [True] * len(row) if mask is None else mask


def pairs(chosen, rejected, ref_chosen, ref_rejected, chosen_mask=None, rejected_mask=None):
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


def loss(u):
    return log(1 + exp(-u))


def ddpo(chosen_changed, rejected_changed, beta, gamma, normalize, **fields):
    out = []
    for i, on_w, on_l, a, b in pairs(**fields):
        score = []
        for on, changed, ratios in ((on_w, chosen_changed[i], a), (on_l, rejected_changed[i], b)):
            weights = [(gamma if c else 1) if v else 0 for v, c in zip(on, changed, strict=True)]
            score.append(weighted(weights, ratios) / ((sum(weights) or 1) if normalize else 1))
        out.append(loss(beta * (score[0] - score[1])))
    return out


def tdpo(chosen_kl, rejected_kl, beta, alpha, version, held=None, **fields):
    out = []
    for i, on_w, on_l, a, b in pairs(**fields):
        kept = chosen_kl if held is None else held
        gap = weighted(on_l, rejected_kl[i]) - weighted(on_w, kept[i])
        out.append(loss(beta * (weighted(on_w, a) - weighted(on_l, b) - (1 if version == "tdpo1" else alpha) * gap)))
    return out


def ld_dpo(beta, alpha, reference, **fields):
    out = []
    for i, on_w, on_l, _, _ in pairs(**fields):
        shorter, score = min(sum(on_w), sum(on_l)), []
        for side, on in (("chosen", on_w), ("rejected", on_l)):
            weights = [(1 if sum(on[: t + 1]) <= shorter else alpha) if v else 0 for t, v in enumerate(on)]
            theirs = weights if reference == "weighted" else on
            score.append(weighted(weights, fields[side][i]) - weighted(theirs, fields[f"ref_{side}"][i]))
        out.append(loss(beta * (score[0] - score[1])))
    return out


def sampo(chosen_weights, rejected_weights, beta, **fields):
    out = []
    for i, on_w, on_l, a, b in pairs(**fields):
        w = [x if v else 0 for x, v in zip(chosen_weights[i], on_w, strict=True)]
        v = [x if v else 0 for x, v in zip(rejected_weights[i], on_l, strict=True)]
        out.append(loss(beta * (weighted(w, a) - weighted(v, b))))
    return out


def step_dpo(beta, **fields):
    return [loss(beta * (weighted(on_w, a) - weighted(on_l, b))) for _, on_w, on_l, a, b in pairs(**fields)]


def diffusion_dpo(chosen, rejected, ref_chosen, ref_rejected, beta, timestep=None, first=None, last=None):
    out = []
    for i in range(len(chosen)):
        before = first is not None and timestep[i] < first
        after = last is not None and timestep[i] >= last
        u = -beta / 2 * ((chosen[i] - rejected[i]) - (ref_chosen[i] - ref_rejected[i]))
        out.append(0 if before or after else loss(u))
    return out


def mapo(chosen, rejected, ratio_weight, snr, timesteps):
    def f(m):
        return snr * m / (exp(snr * m) - 1) if m else 1

    return [w + ratio_weight * loss(timesteps * (f(w) - f(v))) for w, v in zip(chosen, rejected, strict=True)]


def below_mean(fields, params=None):
    """Which tokens of chosen and of rejected ConfPO selects, as places, by pair; equal ones compared as log-probs."""
    out = []
    for i in range(len(fields["chosen"])):
        chosen = []
        for side in ("chosen", "rejected"):
            row, mask = fields[side][i], fields.get(f"{side}_mask")
            places = [t for t, on in enumerate(valid(mask and mask[i], row)) if on]
            level = log(sum(exp(row[t]) for t in places) / len(places)) if places else 0
            flat = len({row[t] for t in places}) == 1  # their mean is rounded
            chosen.append([t for t in places if row[t] < level and not flat])
        out.append(chosen)
    return out


def confpo(chosen, rejected, beta, gamma_beta_ratio, chosen_mask=None, rejected_mask=None, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_mask": chosen_mask, "rejected_mask": rejected_mask}
    out = []
    for ours, theirs, (w, v) in zip(chosen, rejected, held or below_mean(fields), strict=True):
        if not w or not v:
            out.append(0)
            continue
        gap = sum(ours[t] for t in w) / len(w) - sum(theirs[t] for t in v) / len(v)
        out.append(loss(beta * gap - beta * gamma_beta_ratio))
    return out


FORMULAS = {
    "ddpo": ddpo,
    "tdpo": tdpo,
    "ld_dpo": ld_dpo,
    "sampo": sampo,
    "step_dpo": step_dpo,
    "diffusion_dpo": diffusion_dpo,
    "mapo": mapo,
    "confpo": confpo,
}

# What an objective holds constant in its gradient: TDPO2 the KL of the chosen side, ConfPO its selection.
HELD = {
    "tdpo": lambda fields, params: fields["chosen_kl"] if params["version"] == "tdpo2" else None,
    "confpo": below_mean,
}

"""What the objectives on rollouts share, by the definitions, one token at a time; what is held constant is read from `held`."""

from typing import Any, NamedTuple

from witness._maths import e, exp, log, mp

BIG = mp.mpf(60)


class Token(NamedTuple):
    """l, o and A of a token, with its completion `all`; `still` is the same token with nothing moved."""

    l: Any  # noqa: E741
    o: Any
    a: Any
    log_weight: Any
    all: list[Any]
    still: Any
    q: Any = None
    noise: Any = None
    group: Any = None

    @property
    def d(self):
        return self.l - self.o

    @property
    def weight(self):
        return e(self.log_weight) if self.log_weight > -mp.inf else mp.zero


def completions(fields, held, params):
    """Of every completion its tokens."""
    out = []
    for i, row in enumerate(fields["logps"]):
        mask = fields.get("mask")
        at = [t for t in range(len(row)) if mask is None or mask[i][t]]
        old = held.get("old_logps", held["logps"])
        worth = held["token_advantages"][i] if params["per_token"] else [held["advantages"][i]] * len(row)
        weights = sampled([old[i][t] - held["sampler_logps"][i][t] for t in at], params) if corrects(params) else None
        moved, still = [], []
        for k, t in enumerate(at):
            rest = (old[i][t], worth[t], weights[k] if weights else mp.zero)
            more = [held[name][i][t] if name in held else None for name in ("ref_logps", "noise")]
            more.append(held["groups"][i] if "groups" in held else None)
            still.append(Token(held["logps"][i][t], *rest, still, None, *more))
            moved.append(Token(row[t], *rest, moved, still[-1], *more))
        out.append((at, moved))
    return out


def corrects(params):
    return params["correction"] != "none"


def sampled(apart, params):
    """Logs of the weights of the tokens of a completion, from o - b."""
    level, how = params["correction"].split("_")
    low, high = (
        log(params[f"correction_{end}"]) if params[f"correction_{end}"] else -mp.inf for end in ("low", "high")
    )
    out = []
    for x in apart:
        judged = {"token": x, "sequence": mp.fsum(apart), "geometric": mp.fsum(apart) / len(apart)}[level]
        if how == "truncate":
            out.append(min(max(judged, low), high))
        else:
            out.append((x if level == "geometric" else judged) if low <= judged <= high else -mp.inf)
    return out


def k3(x):
    return e(x) - x - 1


def divergence(l, q, o, l0, kind):  # noqa: E741
    """An estimate of KL(π || π_ref); l0 is l, held."""
    x, x0, d = q - l, q - l0, l - o
    if kind == "r*k3":
        if d > BIG:  # how far e^(q - o) lies above the tangent that e^d goes on along
            return exp(BIG) * k3(min(q - o - BIG, mp.zero)) if l == l0 else divergence(l0, q, o, l0, kind)
        return e(q - o) - (1 + x) * exp(d)
    return {
        "k1": lambda: -x,
        "k2": lambda: x**2 / 2,
        "k3": lambda: k3(x),
        "abs": lambda: abs(x),
        "k1+": lambda: -x0 + x**2 / 2 - x0**2 / 2,
        "k3+": lambda: k3(x0) + x**2 / 2 - x0**2 / 2,
        "s*k1": lambda: -x * exp(l - l0),
        "r*k1": lambda: -x * e(d),
    }[kind]()


def objective(term, weighs=False, **own):
    """`formula` and `constant` of the objective whose token costs term(token, batch, hyper-parameters)."""
    defaults = {
        "length": 1, "count_empty": True, "per_token": False, "kl_weight": 0, "kl": "k3", "entropy_weight": 0,
        "correction": "none", "correction_low": 0, "correction_high": 2, "off_policy_limit": None, **own,
    }  # fmt: skip

    def formula(held=None, **given):
        params = {**defaults, **{key: x for key, x in given.items() if not key.endswith(FIELDS)}}
        fields = {key: x for key, x in given.items() if key.endswith(FIELDS)}
        held = fields if held is None else held
        batch = completions(fields, held, params)
        sizes = [len(at) for at, _ in batch]
        out = []
        for i, (at, tokens) in enumerate(batch):
            sampler = held.get("sampler_logps", held.get("old_logps", held["logps"]))
            far = at and mp.fsum(sampler[i][t] - held["logps"][i][t] for t in at) / len(at)
            total = mp.zero
            for t, token in zip(at, tokens, strict=True):
                gone = params["off_policy_limit"] is not None and token.a < 0 and far > params["off_policy_limit"]
                total += 0 if gone else term(token, batch, params) * (1 if weighs else token.weight)
                if params["kl_weight"]:
                    place = held["ref_logps"][i][t], token.o, held["logps"][i][t]
                    total += params["kl_weight"] * divergence(token.l, *place, params["kl"])
                if params["entropy_weight"]:
                    total -= params["entropy_weight"] * fields["entropy"][i][t]
            out.append(total * share(sizes[i], sizes, params))
        return out

    def constant(fields, params):
        return fields

    return formula, constant


FIELDS = ("logps", "entropy", "mask", "advantages", "noise", "groups")


def share(size, sizes, params):
    """What a token of a completion of that size weighs."""
    if not size:
        return mp.zero
    if params["aggregation"] == "token_mean":
        return mp.mpf(len(sizes)) / sum(sizes)
    counted = len(sizes) if params["count_empty"] else sum(map(bool, sizes))
    each = size if params["aggregation"] == "sequence_mean" else params["length"]
    return mp.mpf(len(sizes)) / counted / each


def mean(tokens):
    return mp.fsum(token.d for token in tokens) / len(tokens)


def surrogate(token, d, low, high, dual=None, cap=None):
    """-min(r A, clip(r) A) w, r = e^d; the log of a huge ratio is clipped, never the ratio."""
    d = d if cap is None else min(d, log(cap))
    if token.a > 0:
        return -token.a * weighted(token, min(d, log(1 + high)))
    if low < 1:
        d = max(d, log(1 - low))
    return -token.a * weighted(token, d if dual is None else min(d, log(dual)))


def weighted(token, d):
    """w e^d."""
    return e(d + token.log_weight) if token.log_weight > -mp.inf else mp.zero


def clips(measure, low="epsilon_low", high="epsilon_high"):
    """`kinks`: how far measure(tokens, token) is from the ends of the band, and of other ends."""

    def kinks(fields, params):
        full = {"per_token": False, "correction": "none", **params}
        out = []
        for _, tokens in completions(fields, fields, full):
            ends = [log(1 + params[high])] + [log(1 - params[low])] * (params[low] < 1)
            ends += [log(params[key]) for key in ("dual_clip", "ratio_cap") if params.get(key) is not None]
            far = [measure(tokens, token) - end for token in tokens for end in ends]
            out.append(far + absolute(fields, params, len(out)))
        return tied(out, params)

    return kinks


def absolute(fields, params, i):
    """How far |log π_ref - log π| is from its kink."""
    if not params.get("kl_weight") or params.get("kl") != "abs":
        return []
    return [q - p for p, q in zip(fields["logps"][i], fields["ref_logps"][i], strict=True)]


def no_clip(fields, params):
    """`kinks` of an objective without a clip."""
    return tied([absolute(fields, params, i) for i in range(len(fields["logps"]))], params)


def tied(far, params):
    """Where the losses of a batch hang together, the kinks of one example are those of all."""
    if params.get("aggregation") == "token_mean" or params.get("count_empty") is False or "share" in params:
        return [[x for one in far for x in one]] * len(far)
    return far

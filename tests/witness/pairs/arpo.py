from witness._maths import exp, log, logistic, mean_gaps, mp, per_token, rows
from witness._rows import SIMPO, Row


def constant(fields, params):
    """t of every pair, which is held on demand."""
    return factors(fields, params) if params["detach"] else None


def factors(fields, params):
    """t of every pair."""
    means = rows(*(per_token(fields[side], fields[f"{side}_len"]) for side in ("chosen", "rejected")))
    return [min(mp.one, params["scale"] * exp(params["rate"] * abs(p - q)) - 1) for p, q in means]


def formula(chosen, rejected, chosen_len, rejected_len, beta, nll_weight, scale, rate, detach=False, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_len": chosen_len, "rejected_len": rejected_len}
    known = held or factors(fields, {"scale": scale, "rate": rate})
    terms = rows(chosen, rejected, per_token(chosen, chosen_len), known)
    return [logistic(beta * (c - t * r)) - nll_weight * p for c, r, p, t in terms]


def kinks(fields, params):
    bend = log(2 / params["scale"]) / params["rate"]
    return [[m, abs(m) - bend] for m in mean_gaps(fields)]


ROWS = [
    # t = 0.9 e^0.2 - 1, t' = 0.36 e^0.2, u = 0.1 (-3.2 + 6.5 t): softplus(-u) + 0.8; -0.1 σ(-u) (1 + 6.5 t'/4) - 1/4,
    # 0.1 σ(-u) (t + 6.5 t'/5)
    Row(
        item="ARPO",
        fields=SIMPO,
        params={"beta": 0.1, "nll_weight": 1.0, "scale": 0.9, "rate": 0.4, "detach": False},
        losses=[1.62902349628],
        gradients={"chosen": [-0.346617471774], "rejected": [0.0378056873403]},
    ),
    # the same with t' = 0
    Row(
        item="ARPO, detached",
        fields=SIMPO,
        params={"beta": 0.1, "nll_weight": 1.0, "scale": 0.9, "rate": 0.4, "detach": True},
        losses=[1.62902349628],
        gradients={"chosen": [-0.306352470196], "rejected": [0.00559368607788]},
    ),
    # p_w = p_l = -1: t = 0.9 - 1 < 0, the rejected completion is raised too: u = 0.1 (-4 - 0.5); -0.1 σ(-u), 0.1
    # σ(-u) t
    Row(
        item="ARPO, tie",
        fields={"chosen": [-4], "rejected": [-5], "chosen_len": [4], "rejected_len": [5]},
        params={"beta": 0.1, "nll_weight": 0.0, "scale": 0.9, "rate": 0.4, "detach": True},
        losses=[0.943248945997],
        gradients={"chosen": [-0.0610639233949], "rejected": [-0.00610639233949]},
    ),
    # p_w = p_l: t = 1 - 1, u = -1: softplus(1), -σ(1), and |p_w - p_l| has derivative 0
    Row(
        item="ARPO, at its kink",
        fields={"chosen": [-1.0], "rejected": [-1.0], "chosen_len": [1.0], "rejected_len": [1.0]},
        params={"beta": 1.0, "scale": 1.0, "rate": 1.0, "nll_weight": 0.0, "detach": False},
        losses=[1.31326168752],
        gradients={"chosen": [-0.73105857863], "rejected": [0.0]},
    ),
]

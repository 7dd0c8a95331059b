from witness._maths import e, logistic, mp, rows
from witness._rows import Row


def clamped(x, clamp):
    return x if clamp is None else min(max(x, -clamp), clamp)


def formula(chosen, rejected, latent_mean, latent_log_variance, kl_weight, half, clamp, label=None):
    """Twice the KL to N(0, I) is the trace of Σ, plus |μ|², minus the dimension, minus log det Σ; `e` is e^v up to v = 60."""
    losses = []
    for b, (c, r, means, logs) in enumerate(rows(chosen, rejected, latent_mean, latent_log_variance)):
        mu = [clamped(x, clamp) for x in means]
        v = [clamped(x, clamp) for x in logs]
        twice = mp.fsum(map(e, v)) + mp.fsum(x * x for x in mu) - len(mu) - mp.fsum(v)
        p = label[b] if label else mp.one
        fit = p * logistic(c - r) + (1 - p) * logistic(r - c)
        losses.append(fit + kl_weight * (twice / 2 if half else twice))
    return losses


def kinks(fields, params):
    if params["clamp"] is None:
        return []
    both = rows(fields["latent_mean"], fields["latent_log_variance"])
    return [[abs(x) - params["clamp"] for x in (*means, *logs)] for means, logs in both]


LOG4 = 1.3862943611198906  # the log of a variance of 4

ROWS = [
    # d = 1: softplus(-1); KL of N(1, 4): ½ (4 + 1 - 1 - log 4) = 2 - log 2, a tenth of it; slopes 0.1 μ and 0.05 (4 - 1)
    Row(
        item="VPL",
        fields={"chosen": [2], "rejected": [1], "latent_mean": [[1]], "latent_log_variance": [[LOG4]]},
        params={"kl_weight": 0.1, "half": True, "clamp": None},
        losses=[0.443946969462],
        gradients={
            "chosen": [-0.26894142137],
            "rejected": [0.26894142137],
            "latent_mean": [[0.1]],
            "latent_log_variance": [[0.15]],
        },
    ),
    # softplus(-0) = log 2 of either label; 0.5 (4 + 1 - 1 - log 4 + 0) = 2 - log 2 together; slopes 1 · μ and 0.5 · 3
    Row(
        item="VPL without the half",
        fields={
            "chosen": [3],
            "rejected": [3],
            "label": [0.25],
            "latent_mean": [[1, 0]],
            "latent_log_variance": [[LOG4, 0]],
        },
        params={"kl_weight": 0.5, "half": False, "clamp": None},
        losses=[2.0],
        gradients={
            "chosen": [0.25],
            "rejected": [-0.25],
            "latent_mean": [[1.0, 0.0]],
            "latent_log_variance": [[1.5, 0.0]],
        },
    ),
    # μ = (3, -0.5) becomes (1, -0.5), v = (-2, 0) becomes (-1, 0): log 2 + ½ (1 + 1/e - 1 + 1 + 0.25) = log 2 + ½ (1.25 + 1/e)
    Row(
        item="VPL, clamped",
        fields={
            "chosen": [0],
            "rejected": [0],
            "latent_mean": [[3, -0.5]],
            "latent_log_variance": [[-2, 0]],
        },
        params={"kl_weight": 1.0, "half": True, "clamp": 1.0},
        losses=[1.502086901146],
        gradients={"chosen": [-0.5], "latent_mean": [[0.0, -0.5]], "latent_log_variance": [[0.0, 0.0]]},
    ),
    # at its edges a clamp has derivative 0: log 2 + ½ (e + 1 - 1 - 1), then log 2 + ½ (1/e + 1 - 1 + 1)
    Row(
        item="VPL, at the edges of its clamp",
        fields={
            "chosen": [0, 0],
            "rejected": [0, 0],
            "latent_mean": [[1], [-1]],
            "latent_log_variance": [[1], [-1]],
        },
        params={"kl_weight": 1.0, "half": True, "clamp": 1.0},
        losses=[1.552288094789, 1.377086901146],
        gradients={
            "chosen": [-0.5, -0.5],
            "latent_mean": [[0.0], [0.0]],
            "latent_log_variance": [[0.0], [0.0]],
        },
    ),
]

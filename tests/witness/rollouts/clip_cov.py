from witness._maths import log, mp
from witness._rollouts import clips, completions, objective, surrogate
from witness._rows import Row


def covariances(tokens):
    worth, logps = (mp.fsum(x) / len(tokens) for x in ([t.a for t in tokens], [t.l for t in tokens]))
    return [(token.a - worth) * (token.l - logps) for token in tokens]


def left_out(batch, p):
    """The tokens that count no more, by their noise."""
    tokens = [token.still or token for _, row in batch for token in row]
    band = []
    for token, c in zip(tokens, covariances(tokens), strict=True):
        is_clipped = (token.a > 0 and token.d > log(1 + p["epsilon_high"])) or (
            token.a < 0 and p["epsilon_low"] < 1 and token.d < log(1 - p["epsilon_low"])
        )
        if p["band_low"] < c < p["band_high"] and not is_clipped:
            band.append(token)
    return sorted(band, key=lambda token: token.noise)[: max(1, int(p["share"] * len(tokens)))]


def term(token, batch, p):
    if any((token.still or token) is one for one in left_out(batch, p)):
        return 0 * token.l
    return surrogate(token, token.d, p["epsilon_low"], p["epsilon_high"])


formula, constant = objective(term, weighs=True, aggregation="token_mean")
ends = clips(lambda tokens, token: token.d)


def kinks(fields, params):
    full = {"per_token": False, "correction": "none", **params}
    tokens = [token for _, row in completions(fields, fields, full) for token in row]
    far = [c - params[end] for c in covariances(tokens) for end in ("band_low", "band_high")] if tokens else []
    return [one + far for one in ends(fields, params)]


# covariances of (-1, -2, -3, -3) with A = (2, 2, -1, -1): mean A 1/2, mean l -9/4, so 15/8, 3/8, 9/8, 9/8
TWO = {
    "logps": [[-1, -2], [-3, -3]],
    "old_logps": [[-1.1, -1.8], [-3.0, -3.1]],
    "advantages": [2, -1],
    "noise": [[0.5, 0.1], [0.4, 0.3]],
}

BAND = {"epsilon_low": 0.5, "epsilon_high": 0.5, "share": 0.25, "band_low": 1.0, "band_high": 5.0}

ROWS = [
    # the least noise of the band, which 3/8 is below, is that of the last token: -2 (e^.1 + e^-.2) / 2 and 1 / 2
    Row(
        item="Clip-Cov",
        fields=TWO,
        params={**BAND, "aggregation": "sequence_mean"},
        losses=[-1.92390167114, 0.5],
        gradients={"logps": [[-1.10517091808, -0.818730753078], [0.5, 0.0]]},
    ),
    # two of four go
    Row(
        item="Clip-Cov, half of the tokens",
        fields=TWO,
        params={**BAND, "share": 0.5, "aggregation": "sequence_sum"},
        losses=[-3.84780334228, 0.0],
        gradients={"logps": [[-2.21034183616, -1.63746150616], [0.0, 0.0]]},
    ),
    # the first ratio, e^.1, is clipped at 1.1, so it is not of the band, but its covariance counts: nor is the last
    Row(
        item="Clip-Cov, clipped tokens stay",
        fields={**TWO, "noise": [[0.1, 0.2], [0.4, 0.3]]},
        params={**BAND, "epsilon_high": 0.1, "band_low": 1.5, "aggregation": "sequence_sum"},
        losses=[-3.83746150616, 2.10517091808],
        gradients={"logps": [[0.0, -1.63746150616], [1.0, 1.10517091808]]},
    ),
]

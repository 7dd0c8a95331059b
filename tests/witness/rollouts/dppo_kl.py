from witness._maths import exp, log, mp
from witness._rollouts import no_clip, objective
from witness._rows import Row


def kl(old, new):
    """Of a token being there or not, from its log-probs."""
    p, q = exp(old), exp(new)
    rest = mp.zero if p == 1 else (1 - p) * log((1 - p) / (1 - q)) if q < 1 else mp.inf
    return p * (old - new) + rest


def term(token, batch, p):
    still = token.still or token
    bound = p["divergence_high"] if token.a > 0 else p["divergence_low"]
    away = still.l > still.o if token.a > 0 else still.l < still.o
    if away and kl(still.o, still.l) > bound:
        return 0 * token.l
    return -min(exp(still.d), p["ratio_cap"]) * token.a * token.l


formula, constant = objective(term, aggregation="token_mean")
kinks = no_clip

# d = (0.5, -0.2), A = 2
ONE = {"logps": [[-1, -2]], "old_logps": [[-1.5, -1.8]], "advantages": [2]}
BAND = {"divergence_low": 0.02, "divergence_high": 0.05, "ratio_cap": 20.0, "aggregation": "token_mean"}

ROWS = [
    # the first has p_old = .2231, p = .3679: .2231 log .6065 + .7769 log (.7769 / .6321) = -.1116 + .1602 = .0487 <= .05
    Row(
        item="DPPO, binary KL",
        fields=ONE,
        params=BAND,
        losses=[3.28618277685],
        gradients={"logps": [[-1.6487212707, -0.818730753078]]},
    ),
    # .0487 > .04; the second has gone down, which is no harm where A > 0: 2 e^-0.2 2 / 2
    Row(
        item="DPPO, binary KL, a token that did well has risen too far",
        fields=ONE,
        params={**BAND, "divergence_high": 0.04},
        losses=[1.63746150616],
        gradients={"logps": [[0.0, -0.818730753078]]},
    ),
    # A = -2, .1653 log e^.2 + .8347 log (.8347 / .8647) = .0331 - .0295 = .0036 > .003; and e^.5 is held at 1.5
    Row(
        item="DPPO, binary KL, a token that did badly has fallen too far",
        fields={**ONE, "advantages": [-2]},
        params={**BAND, "divergence_low": 0.003, "ratio_cap": 1.5},
        losses=[-1.5],
        gradients={"logps": [[1.5, 0.0]]},
    ),
]

from witness._maths import exp
from witness._rollouts import clips, objective
from witness._rows import Row


def term(token, batch, p):
    still, cap = token.still or token, p["cap_positive"] if token.a >= 0 else p["cap_negative"]
    if token.a >= 0:
        kept = min(exp(token.d), 1 + p["epsilon_high"])
        held = min(exp(still.d), 1 + p["epsilon_high"])
        return -token.a * (cap * token.l if 1 / held > cap else kept / held**2)
    kept, held = (max(exp(one.d), 1 - p["epsilon_low"]) for one in (token, still))
    return -token.a * (cap * token.l if held > cap else kept)


formula, constant = objective(term, aggregation="token_mean")
ends = clips(lambda tokens, token: token.d)


def kinks(fields, params):
    """Where the weight is capped it steps."""
    full = {"dual_clip": params["cap_negative"], "ratio_cap": 1 / params["cap_positive"], **params}
    return ends(fields, full)


# d = (0.5, -0.2, -1)
ONE = {"logps": [[-1, -2, -3]], "old_logps": [[-1.5, -1.8, -2]], "advantages": [2]}
BAND = {
    "epsilon_low": 0.5,
    "epsilon_high": 0.2,
    "cap_positive": 2.0,
    "cap_negative": 2.0,
    "aggregation": "sequence_sum",
}

ROWS = [
    # e^.5 is clipped, 1 / 1.2; e^.2; e^1 is above 2: -2 (.833333333333 + 1.22140275816) + 2 * 2 * 3
    Row(
        item="ASPO",
        fields=ONE,
        params=BAND,
        losses=[7.89052781701],
        gradients={"logps": [[0.0, -2.44280551632, -4.0]]},
    ),
    # A = -2: e^.5 below 2, e^-.2, and e^-1 clipped at .5: 2 (1.6487212707 + .818730753078 + .5)
    Row(
        item="ASPO, did badly",
        fields={**ONE, "advantages": [-2]},
        params=BAND,
        losses=[5.93490404756],
        gradients={"logps": [[3.2974425414, 1.63746150616, 0.0]]},
    ),
    # and e^.5 above 1.5: -2 * 1.5 * 1 in its place
    Row(
        item="ASPO, capped",
        fields={**ONE, "advantages": [-2]},
        params={**BAND, "cap_negative": 1.5},
        losses=[-0.362538493844],
        gradients={"logps": [[3.0, 1.63746150616, 0.0]]},
    ),
]

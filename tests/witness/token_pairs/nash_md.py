from witness._maths import HALF, mp
from witness._rows import Row


def constant(fields, params):
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


def formula(chosen, ref_chosen, label, tau, kl_credit="sequence", chosen_mask=None, held=None):
    fields = {"chosen": chosen, "ref_chosen": ref_chosen, "label": label, "chosen_mask": chosen_mask}
    known = constant(fields, {"tau": tau, "kl_credit": kl_credit}) if held is None else held
    return [-mp.fsum(c * row[t] for t, c in credit.items()) for row, credit in zip(chosen, known, strict=True)]


# d = (0.5, -0.2, 0.5), and a token that no mask lets in
STEPS = {
    "chosen": [[-1, -2, -0.5, -9]],
    "ref_chosen": [[-1.5, -1.8, -1, 3]],
    "label": [0.7],
    "chosen_mask": [[True, True, True, False]],
}
ZERO_STEPS = [[0, 0, 0, 0]]

# numbers from the formulas in 40 digits
ROWS = [
    # Σ d = 0.8: A = 0.1 - 0.2 = -0.1 at each of the three, -A Σ l = 0.1 * -3.5
    Row(
        item="Nash-MD, KL of the sequence",
        fields={**STEPS, "label": [0.6]},
        params={"tau": 0.25, "kl_credit": "sequence"},
        losses=[-0.35],
        gradients={"chosen": [[0.1, 0.1, 0.1, 0]], "ref_chosen": ZERO_STEPS},
    ),
    # c = (0.8, 0.3, 0.5): A = (0, 0.125, 0.075), 0.125 * 2 + 0.075 * 0.5
    Row(
        item="Nash-MD, KL to go",
        fields=STEPS,
        params={"tau": 0.25, "kl_credit": "to_go"},
        losses=[0.2875],
        gradients={"chosen": [[0, -0.125, -0.075, 0]], "ref_chosen": ZERO_STEPS},
    ),
    # c = d: A = (0.075, 0.25, 0.075), 0.075 + 0.25 * 2 + 0.075 * 0.5
    Row(
        item="Nash-MD, KL of the token",
        fields=STEPS,
        params={"tau": 0.25, "kl_credit": "token"},
        losses=[0.6125],
        gradients={"chosen": [[-0.075, -0.25, -0.075, 0]], "ref_chosen": ZERO_STEPS},
    ),
]

from witness._maths import e, logistic, per_token, ratios, rows
from witness._rows import LENGTHS, P1, P1P2, Row


def formula(
    chosen, rejected, ref_chosen, ref_rejected, loss, length_normalized=False, chosen_len=None, rejected_len=None
):
    if length_normalized:
        chosen, ref_chosen = per_token(chosen, chosen_len), per_token(ref_chosen, chosen_len)
        rejected, ref_rejected = per_token(rejected, rejected_len), per_token(ref_rejected, rejected_len)
    terms = rows(chosen, ratios(chosen, rejected, ref_chosen, ref_rejected))
    if loss == "lsif":
        return [-e(a) + e(2 * b) / 2 for _, (a, b) in terms]
    return [-c + e(b) if loss == "ukl" else logistic(a) + logistic(-b) for c, (a, b) in terms]


ROWS = [
    # a = 1, b = (-1, 2.5): e^(2b)/2 - e; -e, e^(2b)
    Row(
        item="DIL, LSIF",
        fields=P1P2,
        params={"loss": "lsif", "length_normalized": False},
        losses=[-2.65061418684, 71.4882977228],
        gradients={"chosen": [-2.71828182846, -2.71828182846], "rejected": [0.135335283237, 148.413159103]},
    ),
    # 10 + e^-1, 8 + e^2.5; -1, e^b, nothing on the reference of chosen
    Row(
        item="DIL, UKL",
        fields=P1P2,
        params={"loss": "ukl", "length_normalized": False},
        losses=[10.3678794412, 20.1824939607],
        gradients={"chosen": [-1.0, -1.0], "rejected": [0.367879441171, 12.1824939607], "ref_chosen": [0.0, 0.0]},
    ),
    # softplus(-1) + softplus(b); -σ(-1), σ(b)
    Row(
        item="DIL, BCE",
        fields=P1P2,
        params={"loss": "bce", "length_normalized": False},
        losses=[0.626523375036, 2.89215142181],
        gradients={"chosen": [-0.26894142137, -0.26894142137], "rejected": [0.26894142137, 0.924141819979]},
    ),
    # a = 1/4, b = -1/5: e^-0.4/2 - e^0.25; -e^0.25/4, e^-0.4/5
    Row(
        item="DIL, LSIF by length",
        fields={**P1, **LENGTHS},
        params={"loss": "lsif", "length_normalized": True},
        losses=[-0.94886539367],
        gradients={"chosen": [-0.321006354172], "rejected": [0.134064009207]},
    ),
]

from witness._maths import per_token
from witness._rows import LENGTHS, P1, Row


def formula(
    chosen, rejected, ref_chosen, ref_rejected, tau, length_normalized=False, chosen_len=None, rejected_len=None
):
    if length_normalized:
        chosen, ref_chosen = per_token(chosen, chosen_len), per_token(ref_chosen, chosen_len)
        rejected, ref_rejected = per_token(rejected, rejected_len), per_token(ref_rejected, rejected_len)
    quadruples = zip(chosen, rejected, ref_chosen, ref_rejected, strict=True)
    return [((c - rc) - (r - rr) - 1 / (2 * tau)) ** 2 for c, r, rc, rr in quadruples]


ROWS = [
    # target 1/0.2 = 5: (2 - 5)², 2 (2 - 5)
    Row(
        item="IPO A",
        fields=P1,
        params={"tau": 0.1, "length_normalized": False},
        losses=[9.0],
        gradients={"chosen": [-6.0], "rejected": [6.0]},
    ),
    # h = (-10 + 11)/4 - (-12 + 11)/5 = 0.45, target 1: 0.55²; -1.1/4 and 1.1/5
    Row(
        item="IPO B",
        fields={**P1, **LENGTHS},
        params={"tau": 0.5, "length_normalized": True},
        losses=[0.3025],
        gradients={"chosen": [-0.275], "rejected": [0.22]},
    ),
]

from witness._maths import log, logistic, margins, mp, rows
from witness._rows import P1, P1P2, Row


def cauchy(z):
    return -log(mp.mpf(1) / 2 + mp.atan(z) / mp.pi)


def formula(chosen, rejected, ref_chosen, ref_rejected, entropy, beta, kappa, link="logistic"):
    f = {"logistic": logistic, "cauchy": cauchy}[link]
    terms = rows(margins(chosen, rejected, ref_chosen, ref_rejected), entropy)
    return [f(beta * -kappa * log(spread) * h) for h, spread in terms]


ROWS = [
    # φ = 0.5 log 4 = log 2: softplus(-log 2) = log 1.5; -0.5 log 2 / 3
    Row(
        item="Mallows-DPO",
        fields={**P1, "entropy": [0.25]},
        params={"beta": 0.5, "kappa": 0.5},
        losses=[0.405465108108],
        gradients={"chosen": [-0.115524530093], "rejected": [0.115524530093]},
    ),
    # H̄ = (e^-1, e^-4/3), φ = (1, 4/3), z = (1, -1): 1/2 + arctan(z)/π = (3/4, 1/4): log(4/3), log 4; βφ = (1/2, 2/3) times
    # -1 / (2 (3π/4)) and -1 / (2 (π/4)): -1/(3π), -4/(3π)
    Row(
        item="Mallows-DPO, Cauchy",
        fields={**P1P2, "entropy": [0.36787944117144233, 0.26359713811572677]},
        params={"beta": 0.5, "kappa": 1.0, "link": "cauchy"},
        losses=[0.287682072452, 1.38629436112],
        gradients={"chosen": [-0.106103295395, -0.424413181578], "rejected": [0.106103295395, 0.424413181578]},
    ),
]

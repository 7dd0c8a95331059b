from witness._maths import exp, logistic, mean, mean_gaps, mp, rows
from witness._rows import SIMPO, Row


def root(rises, low, high):
    """Where a rising function is 0."""
    return mp.findroot(rises, (low, high), solver="anderson", tol=mp.mpf(10) ** -40, maxsteps=300, verify=False)


def constant(fields, params):
    """γ_i of every pair."""
    gamma, tau = params["gamma"], params["tau"]
    r = [params["beta"] * m for m in mean_gaps(fields)]

    def shares(c):
        def left(u, gap):
            return tau * u + gamma / (1 + exp(gap - gamma * exp(u))) - c

        return [exp(root(lambda u, gap=gap: left(u, gap), (c - gamma) / tau, c / tau)) for gap in r]

    c = root(lambda c: mean(shares(c)) - 1, mp.zero, gamma)
    return [gamma * x for x in shares(c)]


def formula(chosen, rejected, chosen_len, rejected_len, beta, gamma, tau, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_len": chosen_len, "rejected_len": rejected_len}
    own = held or constant(fields, {"beta": beta, "gamma": gamma, "tau": tau})
    return [logistic(beta * m - margin) for m, margin in rows(mean_gaps(fields), own)]


# s( ) is the sigmoid
ROWS = [
    # x = (1.5, 0.5) with r_1 = 1.5, so s(x_1 - r_1) = 1/2; then 0.25 log 1.5 + 0.5 = 0.25 log 0.5 + s(w), s(w) = 0.5
    # + 0.25 log 3, r_2 = 0.5 - w; z = (0, -w)
    Row(
        item="gamma-PO",
        fields={
            "chosen": [-1, -3.7347741641372285],
            "rejected": [-2.5, -3],
            "chosen_len": [1, 1],
            "rejected_len": [1, 1],
        },
        params={"beta": 1.0, "gamma": 1.0, "tau": 0.25},
        losses=[0.69314718056, 1.49011416281],
        gradients={
            "chosen": [-0.5, -0.774653072167],
            "rejected": [0.5, 0.774653072167],
        },
    ),
    # x = (1.5, 0.5) again, where the pairs are far ahead: s(x_1 - r_1) = 0.1 for r_1 = 1.5 + log 9, so s(x_2 - r_2) = 0.1
    # + 0.25 log 3
    Row(
        item="gamma-PO, far ahead",
        fields={
            "chosen": [-1, -1],
            "rejected": [-4.6972245773362194, -2.0123061233911942],
            "chosen_len": [1, 1],
            "rejected_len": [1, 1],
        },
        params={"beta": 1.0, "gamma": 1.0, "tau": 0.25},
        losses=[0.105360515658, 0.469448698715],
        gradients={"chosen": [-0.1, -0.374653072167], "rejected": [0.1, 0.374653072167]},
    ),
    # one pair has the whole margin: z = 1.25 - 1
    Row(
        item="gamma-PO of one",
        fields=SIMPO,
        params={"beta": 2.5, "gamma": 1.0, "tau": 10.0},
        losses=[0.575939419879],
        gradients={
            "chosen": [-0.273639686946],
            "rejected": [0.218911749557],
        },
    ),
]

from witness._maths import e, logistic, mean, mean_gaps, mp, rows
from witness._rows import SIMPO, Row


def constant(fields, params):
    """A of every pair."""
    m = mean_gaps(fields)
    mu = mean(m)
    spread = mp.sqrt(mp.fsum((x - mu) ** 2 for x in m) / max(len(m) - 1, 1))
    return [params["beta"] * e((mu - x) * mu / spread) if spread and x < mu else mp.zero for x in m]


def formula(chosen, rejected, chosen_len, rejected_len, beta, held=None):
    fields = {"chosen": chosen, "rejected": rejected, "chosen_len": chosen_len, "rejected_len": rejected_len}
    extras = held or constant(fields, {"beta": beta})
    return [logistic(beta * m - extra) for m, extra in rows(mean_gaps(fields), extras)]


# s( ) is the sigmoid
ROWS = [
    # m = (1, -0.5), mean 0.25, spread 0.75 sqrt 2: z = (2, -1 - 2 e^(0.25 / sqrt 2)); -2 s(-z) / 4
    Row(
        item="AMaPO",
        fields={"chosen": [-4, -8], "rejected": [-8, -6], "chosen_len": [4, 4], "rejected_len": [4, 4]},
        params={"beta": 2.0},
        losses=[0.126928011043, 3.41998898074],
        gradients={
            "chosen": [-0.0596014610111, -0.483643602296],
            "rejected": [0.0596014610111, 0.483643602296],
        },
    ),
    # one pair has no spread: m = -0.8 + 1.3, z = 1.25; -2.5 s(-1.25) / 4, and / -5
    Row(
        item="AMaPO of one",
        fields=SIMPO,
        params={"beta": 2.5},
        losses=[0.251929081345],
        gradients={
            "chosen": [-0.139187586766],
            "rejected": [0.111350069413],
        },
    ),
]

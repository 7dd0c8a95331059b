from witness._maths import exp, log, mp, on_means, per_token, rows
from witness._rows import Row


def formula(chosen, rejected, chosen_len, rejected_len, odds_weight, nll="mean"):
    odds = odds_ratio(chosen, rejected, chosen_len, rejected_len, odds_weight=odds_weight)
    if nll == "mean":
        return [x - p for x, p in rows(odds, per_token(chosen, chosen_len))]
    tokens = max(mp.fsum(chosen_len), 1) / len(chosen)
    return [x - c / tokens for x, c in rows(odds, chosen)]


@on_means
def odds_ratio(p, q, odds_weight):
    # log(1 + odds(q) / odds(p)), which is -log σ(log odds(p) - log odds(q)) and survives p = 0
    q = min(q, mp.mpf(-1e-12))
    return odds_weight * log(1 + exp(q) * (1 - exp(p)) / (exp(p) * (1 - exp(q))))


ORPO = {"chosen": [-2], "rejected": [-6], "chosen_len": [4], "rejected_len": [4]}

ROWS = [
    # p = -0.5, q = -1.5: 0.5 + 0.5 log(1 + e^q (1 - e^p) / (e^p (1 - e^q))); (-1 - 0.5 e^q/D)/4, 0.5 e^q (1 - e^p)/(D
    # (1 - e^q))/4
    Row(
        item="ORPO",
        fields=ORPO,
        params={"odds_weight": 0.5},
        losses=[0.585429608573],
        gradients={"chosen": [-0.299895807395], "rejected": [0.0252712480413]},
    ),
    # the same twice, beside 2/8 and 6/8 in place of 2/4 and 6/12, 8 being the mean of 4 and 12 tokens; -1/8 in place of -1/4 and
    # -1/12
    Row(
        item="ORPO, chosen tokens of the batch",
        fields={"chosen": [-2, -6], "rejected": [-6, -6], "chosen_len": [4, 12], "rejected_len": [4, 4]},
        params={"odds_weight": 0.5, "nll": "batch_tokens"},
        losses=[0.335429608573, 0.835429608573],
        gradients={"chosen": [-0.174895807395, -0.141631935798], "rejected": [0.0252712480413] * 2},
    ),
    # p = 0, q = -log 2: a certain chosen completion costs nothing against any other; -1 - e^q / (1 - e^q) = -2
    Row(
        item="ORPO of a certain completion",
        fields={"chosen": [0.0], "rejected": [-0.6931471805599453], "chosen_len": [1.0], "rejected_len": [1.0]},
        params={"odds_weight": 1.0},
        losses=[0.0],
        gradients={"chosen": [-2.0], "rejected": [0.0]},
    ),
    # q = 0 counts as -1e-12, and has no slope: 1 + log(1 + (e - 1) e^-1e-12 / (1 - e^-1e-12)), 1 + log((e - 1) 1e12) but for
    # what is relative 1e-12 of it
    Row(
        item="ORPO of an empty rejected completion",
        fields={"chosen": [-1.0], "rejected": [0.0], "chosen_len": [1.0], "rejected_len": [0.0]},
        params={"odds_weight": 1.0},
        losses=[29.1723459705],
        gradients={"rejected": [0.0]},
    ),
    # p = -5 beside q = -1e-12: 5 + log(1 + (e^5 - 1) 1e12), 5 + log(e^5 - 1) + 12 log 10; -1 - 1 / (1 - e^-5)
    Row(
        item="ORPO of a chosen completion far below a certain rejected one",
        fields={"chosen": [-5.0], "rejected": [0.0], "chosen_len": [1.0], "rejected_len": [1.0]},
        params={"odds_weight": 1.0},
        losses=[37.6242603665],
        gradients={"chosen": [-2.00678365491], "rejected": [0.0]},
    ),
    # 2/1 and no more: one token in all
    Row(
        item="ORPO, one chosen token in the batch",
        fields={"chosen": [-2.0], "rejected": [-3.0], "chosen_len": [1], "rejected_len": [2]},
        params={"odds_weight": 0.0, "nll": "batch_tokens"},
        losses=[2.0],
        gradients={"chosen": [-1.0], "rejected": [0.0]},
    ),
]

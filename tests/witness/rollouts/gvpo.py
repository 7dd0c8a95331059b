from witness._maths import mp
from witness._rollouts import no_clip, objective
from witness._rows import Row


def scaled(tokens, p):
    return p["beta"] * mp.fsum(token.d for token in tokens)


def term(token, batch, p):
    mates = [[one.still or one for one in row] for _, row in batch if row and row[0].group == token.group]
    k = len(mates) + p["empty"].count(token.group)
    if k == 1:
        return mp.zero
    mean = mp.fsum(scaled(row, p) for row in mates) / k
    return mp.mpf(k) / (k - 1) / 2 * (scaled(token.all, p) - mean - token.a) ** 2


plain, constant = objective(term, aggregation="sequence_mean")
kinks = no_clip


def formula(held=None, **given):
    """A completion without tokens is of its group."""
    masks = given.get("mask") or [[True] * len(row) for row in given["logps"]]
    empty = [group for group, mask in zip(given["groups"], masks, strict=True) if not any(mask)]
    return plain(held, empty=empty, **given)


# two of one prompt, with Σ d of .3 and -.5, and one alone
THREE = {
    "logps": [[-1, -2], [-1, -2], [-1, -2]],
    "old_logps": [[-1.5, -1.8], [-1, -1.5], [-3, -3]],
    "advantages": [0.2, -0.2, 0.7],
    "groups": [4, 4, 1],
}

ROWS = [
    # s = .15 and -.25, of mean -.05: (.2 - .2)² and (-.2 + .2)²
    Row(
        item="GVPO, fitted",
        fields=THREE,
        params={"beta": 0.5, "aggregation": "sequence_mean"},
        losses=[0.0, 0.0, 0.0],
        gradients={"logps": [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]},
    ),
    # s = .3 and -.5, of mean -.1: 2 / 2 (.4 - .2)², by 2 * .2, and its like
    Row(
        item="GVPO",
        fields=THREE,
        params={"beta": 1.0, "aggregation": "sequence_mean"},
        losses=[0.04, 0.04, 0.0],
        gradients={"logps": [[0.4, 0.4], [-0.4, -0.4], [0.0, 0.0]]},
    ),
]

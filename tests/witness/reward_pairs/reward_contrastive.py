from witness._maths import exp, log, mp, rows
from witness._rows import Row


def dot(x, y):
    return mp.fsum(a * b for a, b in rows(x, y))


def cosine(x, y):
    size = mp.sqrt(dot(x, x) * dot(y, y))
    return dot(x, y) / size if size else mp.zero


def listed(better, worse, items):
    if items == "embeddings":
        return better + worse
    apart = [[a - b for a, b in rows(c, r)] for c, r in rows(better, worse)]
    return apart + [[-x for x in one] for one in apart]


def formula(chosen_embedding, rejected_embedding, chosen_view, rejected_view, temperature, items):
    first = listed(chosen_embedding, rejected_embedding, items)
    second = listed(chosen_view, rejected_view, items)
    losses = []
    for i, x in enumerate(first):
        weights = [exp(cosine(x, y) / temperature) for y in second]
        losses.append(-log(weights[i] / mp.fsum(weights)))
    pairs = len(losses) // 2
    return [(losses[i] + losses[pairs + i]) / 2 for i in range(pairs)]


def fields(chosen, rejected, chosen_view, rejected_view):
    return {
        "chosen_embedding": [chosen],
        "rejected_embedding": [rejected],
        "chosen_view": [chosen_view],
        "rejected_view": [rejected_view],
    }


# s( ) is the sigmoid
ROWS = [
    # cosines 1 and 0: log(1 + e^-2) of both; s(-2) / τ / 2 toward the other item, over the length of 1 or 2
    Row(
        item="contrastive, orthogonal items",
        fields=fields([1, 0], [0, 2], [1, 0], [0, 2]),
        params={"temperature": 0.5, "items": "embeddings"},
        losses=[0.126928011043],
        gradients={
            "chosen_embedding": [[0, 0.119202922022]],
            "rejected_embedding": [[0.0596014610111, 0]],
            "chosen_view": [[0, 0.119202922022]],
            "rejected_view": [[0.0596014610111, 0]],
        },
    ),
    # items (1, 0) and (-1, 0) against (0, 1) and (0, -1): log 2; half of that for each sign, and both signs move alike
    Row(
        item="contrastive, differences",
        fields=fields([3, 1], [2, 1], [0, 2], [0, 1]),
        params={"temperature": 1.0, "items": "differences"},
        losses=[0.693147180560],
        gradients={
            "chosen_embedding": [[0, -1]],
            "rejected_embedding": [[0, 1]],
            "chosen_view": [[-1, 0]],
            "rejected_view": [[1, 0]],
        },
    ),
    # a zero vector has cosine 0 with all and no slope: log 2 and log(1 + e^-1), averaged; the rest is along the item
    Row(
        item="contrastive, an embedding of zeros",
        fields=fields([0, 0], [3, 4], [0, 0], [3, 4]),
        params={"temperature": 1.0, "items": "embeddings"},
        losses=[0.503204434039],
        gradients={"chosen_embedding": [[0, 0]], "rejected_embedding": [[0, 0]], "chosen_view": [[0, 0]]},
    ),
]

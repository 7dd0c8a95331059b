from witness._maths import mp
from witness._rows import Row


def formula(chosen, normalizer="sum", chosen_len=None):
    if normalizer == "sum":
        return [-x for x in chosen]
    if normalizer == "mean":
        return [-x / max(n, 1) for x, n in zip(chosen, chosen_len, strict=True)]
    return [-x * len(chosen) / max(mp.fsum(chosen_len), 1) for x in chosen]


# σ(1) = .731058578630, σ'(1) = .196611933241
ROWS = [
    Row(
        item="SFT, sum",
        fields={"chosen": [-3.0, -7.0]},
        params={},
        losses=[3.0, 7.0],
        gradients={"chosen": [-1.0, -1.0]},
    ),
    # 2 examples, 5 tokens
    Row(
        item="SFT, pooled",
        fields={"chosen": [-3.0, -7.0], "chosen_len": [1, 4]},
        params={"normalizer": "batch_tokens"},
        losses=[1.2, 2.8],
        gradients={"chosen": [-0.4, -0.4]},
    ),
    # an empty completion counts one token
    Row(
        item="SFT, mean",
        fields={"chosen": [-8.0, 0.0], "chosen_len": [4, 0]},
        params={"normalizer": "mean"},
        losses=[2.0, 0.0],
        gradients={"chosen": [-0.25, -1.0]},
    ),
    Row(
        item="SFT, one token in the batch",
        fields={"chosen": [-3.0], "chosen_len": [1]},
        params={"normalizer": "batch_tokens"},
        losses=[3.0],
        gradients={"chosen": [-1.0]},
    ),
]

"""Supervised fine-tuning on the chosen completion."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice
from poz.families import Pairs
from poz.objective import objective


@objective(
    title="Supervised fine-tuning",
    paper="arXiv:2203.02155",
    equation="the negative log-likelihood of the chosen completion",
    formula=r"-\tfrac{1}{N}\log\pi(y_w)",
    reads=lambda p: "chosen" + " chosen_len" * (p["normalizer"] != "sum"),
    coupled=lambda p: "the number of tokens of the batch" * (p["normalizer"] == "batch_tokens"),
    counted=lambda p, whole: ({"normalizer": "sum"}, whole.completions / (whole.tokens + (whole.tokens == 0))),
    basis="Definition; other people's normalisers were executed in float64 (huggingface/trl@v1.16.0, NVIDIA/NeMo-Aligner@af2b3bd): tests/authors/sft.json.",
)
def sft(
    xp: Namespace,
    pairs: Pairs,
    *,
    normalizer: Annotated[
        str,
        Choice(
            "N: 1, the tokens of the completion, or the mean number of tokens in the batch",
            ("sum", "mean", "batch_tokens"),
        ),
    ] = "sum",
) -> Array:
    """Negative log-likelihood; with 'batch_tokens' its batch mean is the mean over all tokens of the batch."""
    if normalizer == "sum":
        return -pairs.chosen
    if normalizer == "mean":
        return -terms.average(xp, pairs.chosen, pairs.chosen_len)
    tokens = xp.sum(xp.astype(pairs.chosen_len, pairs.chosen))
    return -pairs.chosen * (pairs.chosen.shape[-1] / xp.maximum(tokens, 1.0))

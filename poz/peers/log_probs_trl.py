"""TRL: the log-probs under its trainers, fused and of logits."""

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.peers._library import Absent, Library
from poz.peers._log_probs import shifted

library = Library("TRL", "trl")


@library.log_probs("_ChunkedLogProbFunction, on a CPU", softcap=True)
def _chunked() -> Callable[..., Any]:
    from trl.trainer import utils

    function = getattr(utils, "_ChunkedLogProbFunction", None)
    if function is None:
        raise Absent("TRL has it from 1.14 on.")

    def call(hidden: Any, weight: Any, targets: Any, softcap: float | None) -> Any:
        return function.apply(hidden, weight, None, targets, 1.0, 32768, softcap)[0]

    return call


@library.log_probs("add_fused_lm_head, on a CPU", softcap=True)
def _head() -> Callable[..., Any]:
    import torch

    try:
        from trl.trainer.utils import add_fused_lm_head
    except ImportError as error:
        raise Absent("TRL has it from 1.15 on.") from error

    class Model(torch.nn.Module):
        def forward(self, **_: Any) -> None:
            raise NotImplementedError

    def call(hidden: Any, weight: Any, targets: Any, softcap: float | None) -> Any:
        model: Any = Model()
        model.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(final_logit_softcapping=softcap))
        model.base_model = lambda **_: SimpleNamespace(last_hidden_state=hidden[None])
        model.get_output_embeddings = lambda: SimpleNamespace(weight=weight, bias=None)
        add_fused_lm_head(model)
        return model(shift_labels=targets[None], fused_lm_head=True).log_probs[0]

    return call


@library.log_probs("ORPOTrainer.get_batch_logps, on a CPU", logits=True)
def _orpo() -> Callable[..., Any]:
    try:
        module = importlib.import_module("trl.experimental.orpo")
    except ImportError:
        module = importlib.import_module("trl")
    trainer = module.ORPOTrainer
    return lambda logits, targets: trainer.get_batch_logps(*shifted(logits, targets))


@library.log_probs("selective_log_softmax, on a CPU", logits=True)
def _selective() -> Callable[..., Any]:
    from trl.trainer.utils import selective_log_softmax

    return lambda logits, targets: selective_log_softmax(logits, targets)


@library.fact(
    "The logits of a bfloat16 head are rounded to bfloat16 before the log-sum-exp",
    gives=-0.6931472,
    right=-0.3132617,
    because="257 and 256 are sums of products of bfloat16 numbers, which float32 holds exactly; in bfloat16 257 is 256.",
    topic="softmax_dtype",
)
def chunked_bfloat16() -> Any:
    """The log-prob of a token with logit 257 beside one with 256."""
    import torch
    from trl.trainer.utils import _ChunkedLogProbFunction

    hidden = torch.tensor([[16.0, 1.0]], dtype=torch.bfloat16)
    weight = torch.tensor([[16.0, 1.0], [16.0, 0.0]], dtype=torch.bfloat16)
    return _ChunkedLogProbFunction.apply(hidden, weight, None, torch.tensor([0]), 1.0, 32768)[0].item()


@library.fact(
    "`selective_log_softmax` of bfloat16 logits is bfloat16, on a CPU", gives=[-0.6914062, "torch.bfloat16"],
    topic="softmax_dtype",
)  # fmt: skip
def selective_bfloat16() -> Any:
    """Of two equal logits, where log 2 is 0.6931."""
    import torch
    from trl.trainer.utils import selective_log_softmax

    found = selective_log_softmax(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([0]))
    return [found.item(), str(found.dtype)]

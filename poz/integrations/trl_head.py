"""poz's fused log-probs under all of TRL's trainers: `install()` puts them there, `uninstall()` takes them away.

TRL (1.15 and newer) computes token log-probs for DPO, KTO, GRPO, RLOO and SFT through one name, which it looks up at
each call; this module exchanges what stands behind that name. Logits are then float32 when the log-sum-exp sees them,
where TRL rounds them to 16 bit; and masked tokens are left out on every device, where TRL scores them off a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from poz.torch import linear_logps

NAMES = {"entropy": "entropy", "log_sum_sq_probs": "log_sum_sq_probs", "mean_logits": "mean_logit", "is_top1": "top1"}
"""TRL's names of the extra outputs, in TRL's order, and ours."""

PerToken = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class Head:
    """What takes the place of TRL's `ChunkedLogProbFunction`.

    Args:
        memory: Bytes, or text such as "1GiB", that the logits of one call may take; see `poz.torch.linear_logps`.
        precision: "exact" or "fast".
        implementation: "auto", "torch" or "triton".
    """

    def __init__(self, memory: int | str = "1GiB", precision: str = "exact", implementation: str = "auto") -> None:
        self.settings: dict[str, Any] = {"memory": memory, "precision": precision, "implementation": implementation}

    def apply(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        final_logit_softcapping: float | None = None,
        logit_scale: float = 1.0,
        outputs: tuple[str, ...] = tuple(NAMES),
    ) -> PerToken:
        """Log-probs and, where asked for, entropy, log-sum-sq-probs, mean logit and whether the target is on top.

        Args:
            hidden: (tokens, D).
            weight: (V, D).
            bias: (V,) or None.
            targets: (tokens,) int64.
            temperature: Divides the logits.
            chunk_size: TRL's tile width; not used, the memory limit decides.
            final_logit_softcapping: Bound on the logits, or None.
            logit_scale: Multiplies the logits.
            outputs: Names of `NAMES`.

        Raises:
            RuntimeError: The head is partitioned by DeepSpeed ZeRO-3, which gathers it for the forward pass only.
        """
        if hasattr(weight, "ds_id"):
            raise RuntimeError(
                "poz's head cannot make gradients of a weight that DeepSpeed ZeRO-3 has partitioned. "
                "Call poz.integrations.trl.uninstall(), or use ZeRO-2 or FSDP."
            )
        if hidden.dtype != weight.dtype and not torch.is_autocast_enabled(hidden.device.type):
            weight, bias = weight.to(hidden.dtype), None if bias is None else bias.to(hidden.dtype)
        asked = [name for name in NAMES if name in outputs]
        found = linear_logps(
            hidden,
            weight,
            targets,
            bias=bias,
            temperature=temperature,
            logit_scale=logit_scale,
            softcap=final_logit_softcapping,
            outputs=("logps", *(NAMES[name] for name in asked)),
            **self.settings,
        )
        if not asked:
            return found, None, None, None, None
        on_top = None if found.top1 is None else found.top1 == targets
        return found.logps, found.entropy, found.log_sum_sq_probs, found.mean_logit, on_top


def install(memory: int | str = "1GiB", precision: str = "exact", implementation: str = "auto") -> None:
    """Puts poz's log-probs under every trainer of TRL in this process; the arguments are those of `Head`."""
    utils = _utils()
    _ORIGINAL.setdefault("_ChunkedLogProbFunction", utils._ChunkedLogProbFunction)
    _ORIGINAL.setdefault("_use_triton", utils._use_triton)
    utils._ChunkedLogProbFunction = Head(memory, precision, implementation)
    # There it means: leave masked tokens out.
    utils._use_triton = lambda device: True


def uninstall() -> None:
    """Gives TRL its own log-probs back; does nothing where `install` was not called."""
    utils = _utils()
    while _ORIGINAL:
        setattr(utils, *_ORIGINAL.popitem())


@contextmanager
def installed(**settings: Any) -> Iterator[None]:
    """`install` for the time of a with-block; what stood there before stands there again afterwards."""
    utils = _utils()
    before = {name: getattr(utils, name) for name in ("_ChunkedLogProbFunction", "_use_triton")}
    was_installed = dict(_ORIGINAL)
    if not was_installed:
        install(**settings)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(utils, name, value)
        if not was_installed:
            _ORIGINAL.clear()


_ORIGINAL: dict[str, Any] = {}


def _utils() -> Any:
    from trl.trainer import utils

    return utils

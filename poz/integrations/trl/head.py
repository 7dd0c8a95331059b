"""poz's fused log-probs under TRL's trainers: `install()` puts them there, `uninstall()` takes them away.

TRL (1.15 and newer) computes token log-probs for DPO, KTO, GRPO, RLOO and SFT, and for trainers built on these, through
one name, which it looks up at each call; this module exchanges what stands behind that name. TRL 1.14 does so where
`use_liger_kernel=True`, and in SFT's chunked loss, and takes log-probs of logits otherwise. Trainers of
`trl.experimental` that make logits and take log-probs of their own (CPO, ORPO, TPO, SDPO, SDFT, A2PO) do not pass
through it and stay as they are.

Logits are then float32 when the log-sum-exp sees them, where TRL rounds them to 16 bit; and masked tokens are left out
on every device, where TRL scores them off a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from poz.integrations.trl import seams
from poz.integrations.trl.probe import check_head
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
    """Puts poz's log-probs under TRL's DPO, KTO, GRPO, RLOO and SFT in this process, until `uninstall`.

    It comes before trainers are made: each model is compared with its own logits when TRL gives it its head, and one
    whose head does more than multiply is refused with a ValueError. Called again, it changes the settings. Experimental
    trainers with log-probs of their own, such as CPO and ORPO, do not pass through it.

    Args:
        memory: As for `Head`.
        precision: As for `Head`.
        implementation: As for `Head`.
    """
    _put(Head(memory, precision, implementation))


def uninstall() -> None:
    """Gives TRL its own log-probs back, however often `install` was called; does nothing where it was not."""
    _put(None)


@contextmanager
def installed(**settings: Any) -> Iterator[Head]:
    """`install` for the time of a with-block, which may stand within another.

    A head that stands there already stays, unless settings are given. Afterwards what stood there before the block
    stands there again, unless `install` or `uninstall` was called within: these last beyond the block.

    Yields:
        The head that stands there when the block begins.
    """
    before = _standing()
    head = Head(**settings) if before is None or settings else before
    if head is not before:
        _put(head)
    try:
        yield head
    finally:
        if _standing() is head:
            _put(before)


def _standing() -> Head | None:
    found = seams.standing_head()
    return found if isinstance(found, Head) else None


def _put(head: Head | None) -> None:
    """Puts a head under TRL, or TRL's own where there is none."""
    if head is None:
        seams.put_head(None, None, None)
    else:
        seams.put_head(head, _add_compared_head, _leave_masked_tokens_out)


def _add_compared_head(model: Any, temperature: float = 1.0, *args: Any, **kwargs: Any) -> None:
    """TRL's `add_fused_lm_head`, which a trainer calls before it shards a model; one that is not understood is refused."""
    before = vars(model).get("forward")
    seams.add_trls_head(model, installed, temperature, *args, **kwargs)
    try:
        check_head(model, temperature)
    except ValueError:
        model.__dict__.pop("forward", None) if before is None else setattr(model, "forward", before)
        raise


def _leave_masked_tokens_out(device: torch.device) -> bool:
    """What TRL decides by whether it uses Triton."""
    return True

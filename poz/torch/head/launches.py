"""Matrix products and Triton kernels of one tile of logits on a GPU."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from poz.kernels import logps as kernels
from poz.kernels.launch import FIXED, on_device_of
from poz.torch.head.statistics import Partials
from poz.torch.head.tiles import Head


def product_into(out: Tensor, left: Tensor, right: Tensor, add: bool = False) -> None:
    """Sets or adds `left @ right` to a float32 `out`, accumulated in float32 whatever the factors."""
    if left.dtype == out.dtype:
        torch.addmm(out, left, right, beta=float(add), out=out)
    elif left.device.type == "cuda":
        torch.addmm(out, left, right, out_dtype=out.dtype, beta=float(add), out=out)
    else:
        torch.addmm(out, left.to(out.dtype), right.to(out.dtype), beta=float(add), out=out)


def scaling(head: Head) -> tuple[float, float, float, bool]:
    """The kernels' factors before, after and inside the cap, and whether there is one."""
    if head.softcap is None:
        return head.slope, 1.0, 0.0, False
    return head.logit_scale / head.softcap, head.softcap / head.temperature, head.bend, True


def logits_into(slab: Tensor, hidden: Tensor, weight: Tensor, fast: bool) -> None:
    """Writes the product of one tile; a fast one is rounded to 16 bit."""
    if fast and hidden.dtype != slab.dtype:
        slab.copy_(torch.mm(hidden, weight.t()))
    else:
        product_into(slab, hidden, weight.t())


def pass_over(logits: Tensor, bias: Tensor | None, targets: Tensor, head: Head, wanted: frozenset[str]) -> Partials:
    """Launch `logps_pass`: statistics of (rows, vocabulary) float32 logits."""
    rows, vocabulary = logits.shape

    def column(asked: bool = True) -> Tensor:
        return torch.empty(rows if asked else 1, dtype=torch.float32, device=logits.device)

    entropy, squares = "entropy" in wanted, "log_sum_sq_probs" in wanted
    mean, top1 = "mean_logit" in wanted, "top1" in wanted
    others, target_logits, totals = column(), column(), column()
    energies, log_squares, sums, best = column(entropy), column(squares), column(mean), column(top1)
    best_index = torch.empty(rows if top1 else 1, dtype=torch.int64, device=logits.device)
    inner, outer, _, capped = scaling(head)
    with on_device_of(logits):
        kernels.logps_pass[(rows,)](
            logits,
            logits.stride(0),
            bias,
            targets,
            others,
            target_logits,
            totals,
            energies,
            log_squares,
            sums,
            best,
            best_index,
            vocabulary,
            inner,
            outer,
            CAPPED=capped,
            ENTROPY=entropy,
            SQUARES=squares,
            MEAN=mean,
            TOP1=top1,
            BLOCK=min(kernels.PASS_BLOCK, triton.next_power_of_2(vocabulary)),
            num_warps=kernels.PASS_WARPS,
            **FIXED,
        )
    owned = (targets >= 0) & (targets < vocabulary)
    return Partials(
        others.double(),
        target_logits.double(),
        owned,
        totals.double(),
        energies.double() if entropy else None,
        log_squares.double() if squares else None,
        sums.double() if mean else None,
        best.double() if top1 else None,
        best_index if top1 else None,
    )


def gradient_over(
    logits: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    head: Head,
    lse: Tensor,
    level: Tensor,
    tilt: Tensor | None,
    at_target: Tensor,
    out: Tensor,
) -> None:
    """Launch `logits_gradient` on (rows, vocabulary) logits; coefficients are float64 (rows,)."""
    rows, vocabulary = logits.shape
    inner, outer, bend, capped = scaling(head)
    block = min(kernels.GRADIENT_BLOCK, triton.next_power_of_2(vocabulary))
    coefficients = [value.float().contiguous() for value in (lse, level, level if tilt is None else tilt, at_target)]
    # Where a GPU rounds to bfloat16, the interpreter cuts the bits off.
    cut_off = out.dtype == torch.bfloat16 and out.device.type == "cpu"
    made = torch.empty(out.shape, dtype=torch.float32) if cut_off else out
    with on_device_of(logits):
        kernels.logits_gradient[(rows, triton.cdiv(vocabulary, block))](
            logits,
            logits.stride(0),
            bias,
            targets,
            made,
            made.stride(0),
            *coefficients,
            vocabulary,
            inner,
            outer,
            bend,
            CAPPED=capped,
            TILTED=tilt is not None,
            BLOCK=block,
            num_warps=kernels.PASS_WARPS,
            **FIXED,
        )
    if cut_off:
        out.copy_(made)

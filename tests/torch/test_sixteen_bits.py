"""How far 16-bit gradients are from float64 beside plain 16-bit code, and which log-probs have the same bits."""

import os
import subprocess
import sys

import pytest
import torch

import poz
from poz.torch import fused_objective, linear_logps, linear_logps_plan


def errors(std, seed=0):
    """Relative errors of the gradients of hidden and weight against float64: plain code, torch, and Triton's ways."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(70, 32, generator=generator).bfloat16()
    weight = (torch.randn(300, 32, generator=generator) * std / 32**0.5).bfloat16()
    targets = torch.randint(0, 300, (70,), generator=generator)
    factor = torch.randn(70, generator=generator)

    def error(call, dtype=torch.bfloat16):
        leaves = [x.to(dtype).requires_grad_() for x in (hidden, weight)]
        return torch.autograd.grad((call(*leaves) * factor).sum(), leaves)

    def plain(h, w):
        return (
            (h @ w.T).to(torch.promote_types(h.dtype, torch.float32)).log_softmax(1).gather(1, targets[:, None])[:, 0]
        )

    truth = error(plain, torch.float64)
    ways = {"plain": plain}
    for implementation in ("torch", "triton"):
        for memory in ("1GiB", "360KiB"):
            options = {"implementation": implementation, "memory": memory}
            if implementation == "torch" and memory != "1GiB":
                continue
            leaves = [x.clone().requires_grad_() for x in (hidden, weight)]
            mode = linear_logps_plan(*leaves, targets, **options).mode
            ways[implementation, mode] = lambda h, w, options=options: linear_logps(h, w, targets, **options)
    return {
        way: [((x.double() - y).norm() / y.norm()).item() for x, y in zip(error(call), truth, strict=True)]
        for way, call in ways.items()
    }


def test_gradients_are_no_worse_than_plain_16_bit_code():
    """Triton's under the interpreter, which must round as a GPU does: plain code rounds d logits and the gradient.

    Where probabilities are kept, they are rounded, and for the head the rows times their factors too: three roundings of
    one size for two.
    """
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for std, found in eval(done.stdout).items():
        assert set(found) == {"plain", ("torch", "keep"), ("triton", "keep"), ("triton", "recompute")}
        plain = found["plain"]
        for way, error in found.items():
            slack = [1.05, (3 / 2) ** 0.5 * 1.05] if way == ("triton", "keep") else [1.05, 1.05]  # drawn roundings
            wide = [x / (limit * y) for x, y, limit in zip(error, plain, slack, strict=True)]
            assert max(wide) <= 1, (std, way, error, plain)


@pytest.mark.parametrize("vocabulary", [64, 300])
def test_log_probs_in_the_loop_have_the_same_bits(vocabulary):
    """Whatever the chunks: drawn lengths and hidden sizes, in the least memory that works."""
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        pairs, length, width = (int(torch.randint(1, n, (), generator=generator)) for n in (8, 60, 66))
        hidden = torch.randn(2, pairs, length, width, generator=generator)
        weight = torch.randn(vocabulary, width, generator=generator)
        targets = torch.randint(0, vocabulary, (2, pairs, length), generator=generator)
        with pytest.raises(ValueError, match="the smallest that works is") as least:
            fused_objective(poz.cpo, hidden, weight, targets, memory=1)
        made = fused_objective(poz.cpo, hidden, weight, targets, memory=str(least.value).split("'")[-2])
        assert torch.equal(made.logps, linear_logps(hidden, weight, targets).sum(-1)), (seed, pairs, length, width)


if __name__ == "__main__":
    print({std: errors(std) for std in (0.3, 6.0)})  # logits of nearly flat and of peaked distributions

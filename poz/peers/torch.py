"""PyTorch: what hinges are built from, at the point where they have no slope of their own."""

from typing import Any

from poz.peers._library import Library

library = Library("torch", "torch")


@library.fact(
    "The slope of relu at 0 is 0, of torch.clamp 1, and of torch.maximum 1/2", gives=[0.0, 1.0, 0.5], topic="hinge_kink"
)
def kinks() -> Any:
    """Each at 0."""
    import torch

    zero = torch.zeros(())
    each = (torch.relu, lambda x: torch.clamp(x, min=0.0), lambda x: torch.maximum(x, zero))
    return [float(torch.autograd.functional.jacobian(f, zero)) for f in each]

"""DPO below a tensor-parallel body, with a head whose vocabulary is sharded over the same processes.

    torchrun --nproc-per-node 2 examples/torchrun_tp.py

Printed are the losses, the same for any number of processes: the body's products and the head are shared out, and per
token three numbers and the gradient of a hidden state cross the wires.
"""

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import poz
from poz.torch import linear_logps

VOCABULARY, WIDTH, PAIRS, TOKENS, STEPS = 64, 32, 8, 6, 5


class Body(nn.Module):
    """Hidden states (rows, tokens, WIDTH) that know the tokens so far."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """Of tokens (rows, tokens)."""
        seen = self.embedding(tokens).cumsum(1) / torch.arange(1, tokens.shape[1] + 1)[:, None]
        return seen + self.down(torch.nn.functional.gelu(self.up(seen)))


def main(seed: int = 0) -> list[float]:
    """The mean loss of each step, in nats."""
    for name, alone in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "29555")):
        os.environ.setdefault(name, alone)
    mesh = init_device_mesh("cpu", (int(os.environ["WORLD_SIZE"]),), mesh_dim_names=("tp",))
    group = mesh.get_group()
    torch.manual_seed(seed)
    body, head = Body(), torch.randn(VOCABULARY, WIDTH) / WIDTH**0.5
    tokens = torch.randint(0, VOCABULARY, (2 * PAIRS, TOKENS))
    parallelize_module(body, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    part = nn.Parameter(head.chunk(group.size())[group.rank()].clone())  # of the vocabulary, in the order of the ranks
    optimizer = torch.optim.SGD([*body.parameters(), part], 0.5)

    def logps() -> Tensor:
        hidden = body(tokens)[:, :-1]  # alike on all processes, as `group` asks for
        return linear_logps(hidden, part, tokens[:, 1:], group=group).sum(1)

    with torch.no_grad():
        reference = logps()
    losses = []
    for _ in range(STEPS):
        pairs = poz.Pairs(*logps().chunk(2), *reference.chunk(2))
        loss = poz.dpo(pairs, beta=0.5).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    if dist.get_rank() == 0:
        print("losses", *(f"{loss:.6f}" for loss in losses))
    dist.barrier()
    dist.destroy_process_group()
    return losses


if __name__ == "__main__":
    main()

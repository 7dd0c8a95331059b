"""DPO on Ray Train's TorchTrainer: workers with pairs of their own, gradients averaged over them.

    python examples/ray_train.py          # two workers of one processor each

Printed are the losses over the pairs of all workers, the same for any number of them.
"""

import sys

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

import poz
from poz.torch import LogpsHead

VOCABULARY, WIDTH, PAIRS, TOKENS, STEPS = 64, 32, 8, 6, 5


class Policy(nn.Module):
    """Summed log-probs (rows,), in nats, of tokens (rows, tokens) behind their first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.mix, self.head = nn.Linear(WIDTH, WIDTH), LogpsHead(nn.Linear(WIDTH, VOCABULARY, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        """Through the fused head, without logits."""
        seen = self.embedding(tokens[:, :-1]).cumsum(1) / torch.arange(1, tokens.shape[1])[:, None]
        return self.head(seen + torch.tanh(self.mix(seen)), tokens[:, 1:]).sum(1)


def work(config: dict) -> None:
    """What each worker does; pairs must divide over the workers, or their means would weigh differently."""
    torch.manual_seed(config["seed"])
    policy = Policy()
    tokens = torch.randint(0, VOCABULARY, (2, PAIRS, TOKENS))
    world, rank = ray.train.get_context().get_world_size(), ray.train.get_context().get_world_rank()
    if PAIRS % world:
        raise ValueError(f"{PAIRS} pairs do not divide over {world} workers.")
    mine = tokens[:, rank * PAIRS // world : (rank + 1) * PAIRS // world].reshape(-1, TOKENS)
    with torch.no_grad():
        reference = policy(mine)
    model = ray.train.torch.prepare_model(policy)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(STEPS):
        pairs = poz.Pairs(*model(mine).chunk(2), *reference.chunk(2))
        loss = poz.dpo(pairs, beta=0.5).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen = loss.detach().clone()
        if world > 1:
            dist.all_reduce(seen, op=dist.ReduceOp.SUM)
        if rank == 0:
            with open(config["losses"], "a", encoding="utf-8") as out:
                print((seen / world).item(), file=out)
        ray.train.report({"loss": (seen / world).item()})


def main(workers: int, losses: str, seed: int = 0) -> list[float]:
    """The mean loss of each step, in nats, which is written to that file as well."""
    scaling = ray.train.ScalingConfig(num_workers=workers, use_gpu=False)
    config = {"seed": seed, "losses": losses}
    ray.train.torch.TorchTrainer(work, train_loop_config=config, scaling_config=scaling).fit()
    with open(losses, encoding="utf-8") as found:
        return [float(line) for line in found]


if __name__ == "__main__":
    print("losses", *main(2, sys.argv[1] if len(sys.argv) > 1 else "ray-losses.txt"))

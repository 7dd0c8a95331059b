"""DPO under FSDP2, by Accelerate: the head is a `LogpsHead`, which the hooks gather for its pass.

    accelerate launch --config_file examples/accelerate_fsdp2/config.yaml examples/accelerate_fsdp2/train.py

Printed are the losses over the pairs of all processes, the same for any number of them.
"""

import torch
from accelerate import Accelerator
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


def main(seed: int = 0) -> list[float]:
    """The mean loss of each step, in nats."""
    accelerator = Accelerator()
    torch.manual_seed(seed)
    policy = Policy()
    tokens = torch.randint(0, VOCABULARY, (2, PAIRS, TOKENS))
    share = PAIRS // accelerator.num_processes
    mine = tokens[:, accelerator.process_index * share :][:, :share].reshape(-1, TOKENS)
    with torch.no_grad():
        reference = policy(mine)
    model, optimizer = accelerator.prepare(policy, torch.optim.SGD(policy.parameters(), 0.5))
    losses = []
    for _ in range(STEPS):
        pairs = poz.Pairs(*model(mine).chunk(2), *reference.chunk(2))
        loss = poz.dpo(pairs, beta=0.5).mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(accelerator.reduce(loss.detach(), "mean").item())
    accelerator.print("losses", *(f"{loss:.6f}" for loss in losses))
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return losses


if __name__ == "__main__":
    main()

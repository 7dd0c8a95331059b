"""GRPO: a tiny Llama learns to count from what it writes itself, with the loss inside the loop over the head's chunks.

    python examples/grpo.py

Printed is the reward of what it writes after prompts that it was never trained on.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import poz
from poz.torch import fused_objective, token_logps

DIGITS, PROMPT, WRITTEN, EACH, PROMPTS, STEPS = 10, 2, 4, 8, 24, 48


def tiny_llama() -> LlamaForCausalLM:
    """A policy over digits, without an end: it writes `WRITTEN` of them."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=DIGITS, eos_token_id=None, bos_token_id=None, **shape))


def write(policy: LlamaForCausalLM, prompts: torch.Tensor) -> torch.Tensor:
    """(prompts * `EACH`, prompt and completion), drawn at a temperature of 1 by the model's own `generate`."""
    how = {"do_sample": True, "top_k": 0, "num_return_sequences": EACH, "max_new_tokens": WRITTEN, "pad_token_id": 0}
    return policy.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), **how)


def reward(ids: torch.Tensor) -> torch.Tensor:
    """The share of written digits that are one more than the digit before them, 0 after 9: of random ones 1/10."""
    return (ids[:, PROMPT:] == (ids[:, PROMPT - 1 : -1] + 1) % DIGITS).float().mean(1)


def main(seed: int = 0) -> list[float]:
    """The mean reward on held-out prompts: at the start, and after each quarter of the steps."""
    torch.manual_seed(seed)
    model, objective = tiny_llama(), poz.grpo.bind(kl_weight=0.0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    every = torch.cartesian_prod(*[torch.arange(DIGITS)] * PROMPT)[torch.randperm(DIGITS**PROMPT)]
    held_out, prompts = every[:20], every[20:]
    groups = torch.arange(PROMPTS).repeat_interleave(EACH)
    found = []

    def measure() -> None:
        found.append(reward(write(model, held_out)).mean().item())
        print(f"reward on held-out prompts: {found[-1]:.2f}")

    measure()
    for step in range(1, STEPS + 1):
        ids = write(model, prompts[torch.randperm(len(prompts))[:PROMPTS]])
        labels = ids.index_fill(1, torch.arange(PROMPT), -100)
        with torch.no_grad():
            old = token_logps(model, labels, input_ids=ids).logps
        fields = {"advantages": poz.advantages.group(reward(ids), groups), "old_logps": old}
        for _ in range(2):  # the second time off-policy, where the ratio is clipped
            hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
            made = fused_objective(objective, hidden, model.lm_head.weight, labels[:, 1:], fields=fields)
            made.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        if step % (STEPS // 4) == 0:
            measure()
    return found


if __name__ == "__main__":
    main()

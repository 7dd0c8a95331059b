"""VPO online over four rounds: a tiny Llama learns to count from preferences, and leaves what the start writes.

    python examples/vpo_online.py

Printed is how often the policy beats the one that it started as. Optimism makes that one's own completions less probable.
"""

import copy

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import poz
from poz.torch import Completions, SelfPlay

DIGITS, WRITTEN, EACH, ROUNDS, STEPS = 10, 4, 8, 4, 24


def tiny_llama() -> LlamaForCausalLM:
    """A policy over digits, without an end: it writes `WRITTEN` of them."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=DIGITS, eos_token_id=None, bos_token_id=None, **shape))


def generate(policy, prompts: torch.Tensor) -> Completions:
    """`EACH` completions of each prompt, drawn at a temperature of 1 by the model's own `generate`."""
    read = torch.ones_like(prompts)
    settings = {
        "do_sample": True,
        "top_k": 0,
        "num_return_sequences": EACH,
        "max_new_tokens": WRITTEN,
        "pad_token_id": 0,
    }
    return Completions.of_generate(policy.generate(prompts, attention_mask=read, **settings), read, end=None)


def judge(completions: Completions, rivals: Completions) -> torch.Tensor:
    """Bradley-Terry's probabilities; the reward is twice the number of digits that are one more than the digit before."""
    ours, theirs = (
        2.0 * (ids[..., 1:] == (ids[..., :-1] + 1) % DIGITS).sum(-1)
        for ids in (completions.input_ids, rivals.input_ids)
    )
    return torch.sigmoid(ours[:, :, None] - theirs[:, None])


def main(seed: int = 0) -> list[float]:
    """The win rates against the start, of the start and after each round."""
    torch.manual_seed(seed)
    model = tiny_llama()
    start, prompts = copy.deepcopy(model), torch.arange(DIGITS).repeat_interleave(4)[:, None]
    play = SelfPlay(model, poz.vpo.bind(beta=0.5, alpha=0.05, sign=1), generate, judge)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def against_the_start() -> float:
        return judge(generate(model, prompts), generate(start, prompts)).mean().item()

    wins = [against_the_start()]
    for index in range(ROUNDS):
        for turn in play.round(prompts):
            for _ in range(STEPS):
                turn.losses(model).mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        wins.append(against_the_start())
        print(f"round {index + 1}: beats the start in {wins[-1]:.0%} of games")
    return wins


if __name__ == "__main__":
    main()

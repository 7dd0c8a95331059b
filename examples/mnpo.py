"""MNPO over four rounds of self-play in a game without a best move: a tiny GPT comes near the equilibrium.

    python examples/mnpo.py

It writes words of two letters, of which each beats some and loses to others. Printed is the KL divergence of the game's exact
equilibrium from the policy, beside that of the exact rounds, of a policy that sees all words and fits perfectly.
"""

from itertools import islice

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import poz
from poz import games
from poz.algorithms import tabular
from poz.torch import Completions, SelfPlay

LETTERS, PROMPTS, EACH, ROUNDS, STEPS, HISTORY = 4, 16, 32, 4, 40, 2
TAU, ETA = 0.1, 0.25
AT = torch.arange(LETTERS**2, dtype=torch.float64) / LETTERS**2
AHEAD = AT[:, None] - AT
WINS = torch.sigmoid(2 * torch.sin(2 * torch.pi * AHEAD) - 3 * AHEAD)
"""(words, words): each beats those up to half a turn before it; and the first ones are stronger."""


def tiny_gpt() -> GPT2LMHeadModel:
    """A policy over letters, without an end: it writes two."""
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 4, "bos_token_id": None, "eos_token_id": None}
    return GPT2LMHeadModel(GPT2Config(vocab_size=LETTERS, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **shape))


def generate(policy, prompts: torch.Tensor) -> Completions:
    """`EACH` words, drawn at a temperature of 1 by the model's own `generate`."""
    read = torch.ones_like(prompts)
    settings = {"do_sample": True, "top_k": 0, "num_return_sequences": EACH, "max_new_tokens": 2, "pad_token_id": 0}
    return Completions.of_generate(policy.generate(prompts, attention_mask=read, **settings), read, end=None)


def judge(completions: Completions, rivals: Completions) -> torch.Tensor:
    """The game, looked up."""
    ours, theirs = (ids[..., 1] * LETTERS + ids[..., 2] for ids in (completions.input_ids, rivals.input_ids))
    return WINS[ours[:, :, None], theirs[:, None]]


def law(model: GPT2LMHeadModel) -> torch.Tensor:
    """(words,) their probabilities, in float64."""
    rows = torch.tensor([[0, letter] for letter in range(LETTERS)])
    with torch.no_grad():
        first, second = model(rows).logits.double().log_softmax(-1).unbind(1)
    return (first[0][:, None] + second).flatten().softmax(0)


def main(seed: int = 0) -> list[float]:
    """The KL divergences of the equilibrium from the start and from the policy after each round."""
    torch.manual_seed(seed)
    model = tiny_gpt()
    start, wins = law(model).numpy(), WINS.numpy()
    equilibrium, prompts = games.regularized_nash(wins, start, TAU), torch.zeros(PROMPTS, 1, dtype=torch.int64)
    iterates = tabular.mnpo_iterates(wins, start, tau=TAU, eta=ETA, history=HISTORY)
    exact = [games.kl(equilibrium, policy) for policy in islice(iterates, ROUNDS + 1)]
    play = SelfPlay(model, poz.mnpo.bind(tau=TAU, eta=ETA), generate, judge, history=HISTORY)
    found = exact[:1]
    for index in range(ROUNDS):
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
        for turn in play.round(prompts):
            for _ in range(STEPS):
                optimizer.zero_grad()
                turn.losses(model).mean().backward()
                optimizer.step()
                slower.step()
        found.append(games.kl(equilibrium, law(model).numpy()))
        print(f"round {index + 1}: {found[-1]:.3f} nats from the equilibrium, the exact round {exact[index + 1]:.3f}")
    return found


if __name__ == "__main__":
    main()

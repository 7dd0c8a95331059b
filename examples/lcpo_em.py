"""LCPO-EM: a tiny Llama learns a rule from three annotators who are often wrong, and how often each of them is right.

    python examples/lcpo_em.py

Nobody is told who is good: the annotators' reliabilities start alike and are learnt beside the policy, from the same pairs.
Printed are what they become, and how often the policy prefers what the rule prefers, with them and with plain DPO.
"""

import copy

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import poz
from poz.torch import LCPO, Scored, implicit_rewards, scored_losses, token_logps

DIGITS, WRITTEN, PAIRS, STEPS = 10, 4, 128, 160
BASE = poz.dpo.bind(beta=3.0)
RIGHT = torch.tensor([0.9, 0.7, 0.55])  # how often each annotator labels a pair by the rule


def tiny_llama() -> LlamaForCausalLM:
    """A policy over digits."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=DIGITS, eos_token_id=None, bos_token_id=None, **shape))


def labelled(pairs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of texts, chosen (pairs, digits) above rejected ones, who labelled each pair, and who was right.

    The better one, by the rule, has more digits that are one more than the digit before it, 0 after 9.
    """
    texts = torch.randint(DIGITS, (2, 4 * pairs, 1 + WRITTEN))
    texts[1, :, 0] = texts[0, :, 0]  # the prompt
    better = (texts[..., 1:] == (texts[..., :-1] + 1) % DIGITS).sum(-1)
    texts = texts[:, better[0] > better[1]][:, :pairs]
    annotator = torch.randint(len(RIGHT), (texts.shape[1],))
    right = torch.rand(texts.shape[1]) < RIGHT[annotator]
    return texts.where(right[:, None], texts.flip(0)).flatten(0, 1), annotator, right


def train(model: LlamaForCausalLM, objective) -> float:
    """How often the policy then prefers what the rule prefers, on new pairs."""
    reference, optimizer = copy.deepcopy(model), torch.optim.Adam(model.parameters(), 3e-3)

    def scored(ids: torch.Tensor, annotator: torch.Tensor) -> Scored:
        labels = ids.index_fill(1, torch.tensor([0]), -100)
        with torch.no_grad():
            known = token_logps(reference, labels, input_ids=ids).logps
        return Scored(*token_logps(model, labels, input_ids=ids), ref_logps=known, columns={"annotator": annotator})

    for _ in range(STEPS):
        ids, annotator, _ = labelled(PAIRS)
        scored_losses(objective, scored(ids, annotator)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if isinstance(objective, LCPO):
            objective.step()
    ids, annotator, right = labelled(10 * PAIRS)
    chosen, rejected = implicit_rewards(poz.dpo, scored(ids, annotator))
    return ((chosen > rejected) == right).float().mean().item()


def main(seed: int = 0) -> tuple[list[float], float, float]:
    """The reliabilities, and how often the policy is right, trained with them and by DPO."""
    torch.manual_seed(seed)
    model, learnt = tiny_llama(), LCPO(BASE, num_annotators=len(RIGHT))
    plain = train(copy.deepcopy(model), BASE)
    knowing = train(model, learnt)
    for found, true in zip(learnt.reliability.tolist(), RIGHT.tolist(), strict=True):
        print(f"an annotator who is right in {true:.0%} of labels is found to be right in {found:.0%}")
    print(
        f"the policy is right in {knowing:.1%} of new pairs; trained by DPO, which trusts every label, in {plain:.1%}"
    )
    return learnt.reliability.tolist(), knowing, plain


if __name__ == "__main__":
    main()

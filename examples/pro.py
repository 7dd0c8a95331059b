"""PRO on lists of four: a tiny Llama writes four completions of each prompt, a rule ranks them, and TRL trains on the lists.

    python examples/pro.py

Printed is how often it has the best of four first, and two of them in their order, in lists that are held out, and the
rule's mean score of what it writes.
"""

import tempfile
from itertools import pairwise

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig

from poz.integrations.trl import RankedTrainer

DIGITS, WRITTEN, K, LISTS, HELD_OUT, STEPS = "0123456789", 4, 4, 480, 60, 90


def digits() -> PreTrainedTokenizerFast:
    """A token for each digit, and one for the end."""
    tokens = Tokenizer(models.WordLevel({one: i for i, one in enumerate(["<end>", *DIGITS])}, unk_token="<end>"))
    tokens.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<end>", pad_token="<end>")


def rule(prompt: str, completion: str) -> float:
    """How many digits are one more than the digit before them, 0 after 9."""
    return float(sum((int(a) + 1) % 10 == int(b) for a, b in pairwise(prompt + completion)))


def lists(policy: LlamaForCausalLM, tokens: PreTrainedTokenizerFast, count: int) -> Dataset:
    """`K` completions of each prompt, drawn at a temperature of 1 by the model's own `generate`, with the rule's scores."""
    prompts = [DIGITS[i % 10] for i in range(count)]
    how = {"do_sample": True, "top_k": 0, "num_return_sequences": K, "max_new_tokens": WRITTEN, "suppress_tokens": [0]}
    ids = policy.generate(**tokens(prompts, return_tensors="pt", return_token_type_ids=False), **how)[:, 1:]
    each = [["".join(tokens.convert_ids_to_tokens(row)) for row in four.tolist()] for four in ids.split(K)]
    scores = [[rule(prompt, text) for text in four] for prompt, four in zip(prompts, each, strict=True)]
    return Dataset.from_dict({"prompt": prompts, "completions": each, "scores": scores})


def figures(trainer: RankedTrainer, when: str) -> tuple[float, float, float]:
    """Best first and in order on the lists that are held out, and the rule's mean score of what the policy writes."""
    measured, written = trainer.evaluate(), lists(trainer.model, trainer.processing_class, HELD_OUT)["scores"]
    found = (
        *(measured[f"eval_rewards/{name}"] for name in ("accuracies", "ordered")),
        sum(map(sum, written)) / (HELD_OUT * K),
    )
    print("{}: best first {:.0%}, in order {:.0%}, score {:.2f}".format(when, *found))
    return found


def main(seed: int = 0) -> list[tuple[float, float, float]]:
    """The figures before training and after it."""
    torch.manual_seed(seed)
    tokens = digits()
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokens), eos_token_id=0, bos_token_id=None, **shape))
    quiet = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
    how = {"max_steps": STEPS, "per_device_train_batch_size": 32, "learning_rate": 3e-3, "bf16": False, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        trainer = RankedTrainer(
            model,
            args=DPOConfig(folder, use_cpu=True, **how, **quiet),
            train_dataset=lists(model, tokens, LISTS),
            eval_dataset=lists(model, tokens, HELD_OUT),
            processing_class=tokens,
            objective="pro",
        )
        before = figures(trainer, "before")
        trainer.train()
        return [before, figures(trainer, "after")]


if __name__ == "__main__":
    main()

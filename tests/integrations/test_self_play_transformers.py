"""Self-play with models of transformers: the mixture's `generate`, and rounds inside its Trainer."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import poz
from poz.torch import Completions, SelfPlay

PROMPTS, READ = torch.tensor([[0, 0, 3], [5, 6, 7]]), torch.tensor([[0, 0, 1], [1, 1, 1]])


def llama():
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=12, eos_token_id=None, bos_token_id=None, **shape))


def gpt():
    """Its places are absolute, so padding on the left moves them."""
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8, "bos_token_id": None, "eos_token_id": None}
    return GPT2LMHeadModel(GPT2Config(vocab_size=12, **shape))


def moved(model):
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))


def judge(completions, rivals):
    ours, theirs = (x.input_ids.where(x.mask, torch.zeros(1, dtype=torch.int64)).sum(-1) for x in (completions, rivals))
    return torch.sigmoid((ours[:, :, None] - theirs[:, None]).float())


@pytest.mark.parametrize("make", [llama, gpt])
def test_what_the_mixture_writes_has_the_log_probs_of_both(make):
    torch.manual_seed(0)
    model = make()
    moved(model)
    start, scores = copy.deepcopy(model).eval(), []

    def generate(policy, prompts):
        made = policy.generate(prompts, attention_mask=READ, do_sample=False, max_new_tokens=3, pad_token_id=0,
                               return_dict_in_generate=True, output_scores=True)  # fmt: skip
        scores.append(torch.stack(made.scores, 1).log_softmax(-1))
        return Completions.of_generate(made.sequences, READ, end=None)

    play = SelfPlay(model, "nash_md", generate, judge, mixture=0.3)
    moved(model)
    (turn,) = play.round(PROMPTS)
    model.eval()
    rows, found = generate(model, PROMPTS).input_ids[:, 0], []
    torch.testing.assert_close(rows, turn.completions.input_ids[:, 0])
    mixed = scores[1]
    assert (mixed - scores[0]).abs().max() > 0.1  # of the policy alone
    written = [(row[2:] if pad else row)[None] for row, pad in zip(PROMPTS, (True, False), strict=True)]
    for place in range(3):
        with torch.no_grad():
            both = [[of(row).logits[:, -1].log_softmax(-1) for of in (model, start)] for row in written]
        found = [(0.7 * ours + 0.3 * theirs).log_softmax(-1) for ours, theirs in both]
        torch.testing.assert_close(mixed[:, place], torch.cat(found), atol=1e-5, rtol=0)  # float32, with a cache
        written = [torch.cat((row, x.argmax(-1)[None]), 1) for row, x in zip(written, found, strict=True)]


def test_a_turn_trains_in_the_trainer_of_transformers(tmp_path):
    torch.manual_seed(0)
    model = llama()
    prompts, mask = torch.arange(4)[:, None], torch.ones(4, 1, dtype=torch.int64)

    def generate(policy, prompts):
        made = policy.generate(prompts, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=3,
                               num_return_sequences=4, pad_token_id=0)  # fmt: skip
        return Completions.of_generate(made, mask, end=None)

    (turn,) = SelfPlay(model, poz.inpo.bind(eta=1.0), generate, judge).round(prompts)

    class Rounds(Trainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            return turn.losses(model, inputs["rows"]).mean()

    own = copy.deepcopy(model)
    turn.losses(own).mean().backward()
    arguments = TrainingArguments(
        tmp_path, max_steps=1, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=0.1,
        optim="sgd", lr_scheduler_type="constant", max_grad_norm=0.0, remove_unused_columns=False, report_to="none",
        save_strategy="no", use_cpu=True, dataloader_pin_memory=False, bf16=False, disable_tqdm=True,
    )  # fmt: skip
    Rounds(model, arguments, train_dataset=[{"rows": row} for row in range(len(turn))]).train()
    for ours, theirs in zip(own.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours - 0.1 * ours.grad, atol=1e-6, rtol=0)  # float32, in two parts
    assert max(p.grad.abs().max() for p in own.parameters()) > 0.01

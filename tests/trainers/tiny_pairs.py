"""A tiny Llama, another as its reference and eight pairs, as files that a trainer's command reads; and what is exact of them."""

import inspect

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback

from poz import reference as exact

PAIRS = [
    {"prompt": "Is it late?", "chosen": " Yes, it is.", "rejected": " no"},
    {"prompt": "Hi", "chosen": " Hello there!", "rejected": " what do you want from me"},
    {"prompt": "2 + 2?", "chosen": " 4", "rejected": " 5 or so"},
    {"prompt": "And now?", "chosen": "Good morning.", "rejected": "meh"},
    {"prompt": "Tell me", "chosen": " what?", "rejected": " never, and you know why"},
    {"prompt": "Who?", "chosen": " The two of us, as ever.", "rejected": " x"},
    {"prompt": "Why not", "chosen": " so", "rejected": " because"},
    {"prompt": "Sing!", "chosen": " la la la", "rejected": " I would rather not"},
]
VALUES = {"simpo": {"beta": 2.0, "gamma": 1.0}, "ipo": {"tau": 0.2}, "mnpo": {"beta": 0.5, "eta": 0.05}}
"""The objectives that are held against poz.reference, away from their defaults."""


class Gradients(TrainerCallback):
    """Those of each optimiser step, by parameter, before they are clipped or used."""

    def __init__(self):
        self.each = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **more):
        trained = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
        self.each.append({name: grad.clone() for name, grad in trained.items()})


def save(folder):
    """Writes FOLDER/model and FOLDER/ref, whose weights are near."""
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({"<pad>": 0, "<end>": 1, **{byte: 2 + i for i, byte in enumerate(bytes_)}}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<end>")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(initializer_range=0.2, max_position_embeddings=512, **tokens, **shape))
    for name in ("model", "ref"):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        for weight in model.parameters():
            weight.data += 0.05 * torch.randn_like(weight)


def expected(name, folder, batch, **values):
    """The mean loss of a batch and its gradient by parameter: poz.reference's on log-probs in float64.

    `batch` has input_ids, attention_mask and labels, -100 where none, (2 * batch, tokens), chosen ones first.
    """
    policy, reference = (
        LlamaForCausalLM.from_pretrained(folder / part, dtype=torch.float64) for part in ("model", "ref")
    )
    labels = batch["labels"][:, 1:]
    mask = labels != -100

    def sums(model):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        return (logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0] * mask).sum(1)

    scored = {"": sums(policy), "ref_": sums(reference).detach(), "opponents_": sums(reference).detach()}
    given = {f"{of}{side}": x.chunk(2)[row] for of, x in scored.items() for row, side in enumerate(SIDES)}
    given |= {f"{side}_len": mask.sum(1).chunk(2)[row] for row, side in enumerate(SIDES)}
    given = {
        field: x.detach().numpy()[None] if "opponents" in field else x.detach().numpy() for field, x in given.items()
    }
    function = getattr(exact, name)
    read = inspect.signature(function).parameters
    losses, slopes = function(**{field: x for field, x in given.items() if field in read}, **values)
    torch.cat([torch.as_tensor(slopes[side]) for side in SIDES]).div(len(losses)).mul(scored[""]).sum().backward()
    return losses.mean(), {name: weight.grad for name, weight in policy.named_parameters()}


SIDES = ("chosen", "rejected")

"""`token_logps` is the log-softmax of the model's own logits at the labels, with its gradient, or a refusal."""

from contextlib import nullcontext

import peft
import pytest
import torch
import torch.distributed as dist
import transformers
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import poz
from poz.torch import LogpsHead, Scored, scored_losses, token_logps

SIZES = {"vocab_size": 61, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {
    **SIZES, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 32,
}  # fmt: skip
KINDS = {
    "gpt2": {
        **SIZES, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32,
        **dict.fromkeys(("embd_pdrop", "resid_pdrop", "attn_pdrop"), 0.0),
    },
    "llama": LLAMA,
    "gemma": LLAMA,
    "phi": {name: x for name, x in LLAMA.items() if name != "head_dim"},  # a bias in its head
    # a layer and a norm before the product
    "bert": {**LLAMA, "is_decoder": True, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "gemma2": {**LLAMA, "final_logit_softcapping": 0.5},
    "cohere": {**LLAMA, "logit_scale": 0.5},
    "granite": {**LLAMA, "logits_scaling": 3.0},
}  # fmt: skip
UNNAMED = {"recurrent_gemma": {**LLAMA, "lru_width": 16, "use_cache": False}}  # logits_soft_cap


def tiny(kind, dtype=torch.float64, **more):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**KINDS, **UNNAMED}[kind], **more)
    return transformers.AutoModelForCausalLM.from_config(config).to(dtype)


def batch(side="right"):
    """Four rows of up to 9 tokens, of which 3 are a prompt's; without padding the first has 9, the last 5."""
    ids = torch.randint(3, 61, (4, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([[9], [7], [8], [5]])
    counts = mask & (torch.arange(9) >= 3)
    if side == "left":
        mask, counts = mask.flip(1), (mask & (torch.arange(9) < mask.sum(1, keepdim=True) - 3)).flip(1)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    given = {"input_ids": ids.where(mask, 0), "attention_mask": mask.long(), "position_ids": positions}
    return given, ids.where(counts, -100)


def plainly(model, labels, **inputs):
    """From all logits, in float64 at least."""
    logits = model(**inputs).logits[:, :-1].double()
    picked = logits.log_softmax(-1).gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0]
    return picked.where(labels[:, 1:] != -100, 0.0)


def gradients(model, found):
    weights = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).reshape(found.shape)
    return torch.autograd.grad(
        (weights * found).sum(), list(model.parameters()), materialize_grads=True, allow_unused=True
    )


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_the_models_own_logits(kind, tied, side):
    model = tiny(kind, tie_word_embeddings=tied)
    inputs, labels = batch(side)
    logps, mask = token_logps(model, labels, **inputs)
    expected = plainly(model, labels, **inputs)
    assert mask.equal(labels[:, 1:] != -100)
    assert mask.any()
    torch.testing.assert_close(logps, expected, rtol=1e-12, atol=1e-12)  # of float64
    if (kind, side) == ("gemma2", "left"):  # whose own attention gives NaN to padding there, and NaN as its gradient
        assert gradients(model, expected)[0].isnan().any()
        return
    for ours, theirs in zip(gradients(model, logps), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_in_bfloat16_they_are_nearer_to_the_exact_than_the_models_logits(kind):
    """The hidden states are the same; only the product is rounded, there to 8 bits and here to 24."""
    inputs, labels = batch()
    model = tiny(kind, torch.bfloat16)
    hidden = []
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    ours, theirs = token_logps(model, labels, **inputs).logps, plainly(model, labels, **inputs)
    handle.remove()
    exact = (hidden[-1].double() @ model.get_output_embeddings().weight.double().T)[:, :-1].log_softmax(-1)
    exact = exact.gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0].where(labels[:, 1:] != -100, 0.0)
    assert ours.dtype == torch.float32
    assert (ours - exact).abs().max() < 2e-6 < (theirs - exact).abs().max()


def test_logits_are_never_made():
    model, (inputs, labels) = tiny("llama"), batch()
    sizes = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            sizes.extend(x.numel() for x in torch.utils._pytree.tree_leaves(made) if isinstance(x, torch.Tensor))
            return made

    many = {name: x.repeat(10, 1) for name, x in inputs.items()}
    few = torch.cat([labels, torch.full((36, 9), -100)])
    token_logps(model, few, **many)  # compares a few tokens
    with Sizes():
        token_logps(model, few, **many)
    assert 40 * 9 * 16 <= max(sizes) < 40 * 9 * 61 / 2  # hidden states, and logits


def test_a_batch_of_pairs_goes_to_the_losses():
    model, (inputs, labels) = tiny("llama"), batch()
    scored = Scored(*token_logps(model, labels, **inputs))
    sums = plainly(model, labels, **inputs).sum(1)
    pairs = poz.Pairs(sums[:2], sums[2:], chosen_len=torch.tensor([6, 4]), rejected_len=torch.tensor([5, 2]))
    expected = poz.simpo(pairs, beta=2.0, gamma=1.0)
    torch.testing.assert_close(scored_losses(poz.simpo.bind(beta=2.0, gamma=1.0), scored), expected)
    halves = poz.Pairs.from_halves(scored.logps, mask=scored.mask)
    torch.testing.assert_close(poz.simpo(halves, beta=2.0, gamma=1.0), expected)


class Own(nn.Module):
    """As little as the contract asks."""

    def __init__(self, change=lambda z: z, times=1):
        super().__init__()
        torch.manual_seed(2)
        self.embed, self.head = nn.Embedding(61, 8).double(), nn.Linear(8, 61).double()
        self.change, self.times = change, times

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids):
        hidden = self.embed(input_ids).cumsum(1)
        return self.change(sum(self.head(hidden) for _ in range(self.times)))


def test_a_module_of_ones_own():
    inputs, labels = batch()
    model, ids = Own(), inputs["input_ids"]
    expected = model(ids)[:, :-1].log_softmax(-1).gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0]
    expected = expected.where(labels[:, 1:] != -100, 0.0)
    torch.testing.assert_close(token_logps(model, labels, input_ids=ids).logps, expected)
    model.head = LogpsHead(model.head)
    torch.testing.assert_close(token_logps(model, labels, input_ids=ids).logps, expected)
    nn.utils.parametrizations.weight_norm(tuned := Own().head)  # what its weight is made of is trained
    model.head = tuned
    found = token_logps(model, labels, input_ids=ids).logps
    torch.testing.assert_close(found, expected)
    assert all(p.grad is not None for p in tuned.parameters() if found.sum().backward(retain_graph=True) is None)


# a name that PEFT asks for and transformers 5.23 has changed
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
def test_under_an_adapter_the_head_is_that_of_the_model():
    model = tiny("llama")
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            p += 0.1 * ("lora_B" in name)
    inputs, labels = batch()
    torch.testing.assert_close(token_logps(adapted, labels, **inputs).logps, plainly(adapted, labels, **inputs))


def test_the_head_is_as_it_was():
    model, (inputs, labels) = tiny("llama"), batch()
    for given, error in ((inputs, None), ({**inputs, "input_ids": None}, "input_ids")):
        with pytest.raises(ValueError, match=error) if error else nullcontext():
            token_logps(model, labels, **given)
        assert "forward" not in vars(model.lm_head)
        assert model(**inputs).logits.shape == (4, 9, 61)


def altered(kind="llama", **changes):
    model = tiny(kind)
    for name, change in changes.items():
        change(getattr(model, name))
    return model


def adapted():
    model = tiny("llama")
    model.add_adapter(peft.LoraConfig(target_modules=["q_proj", "lm_head"]))
    return model


class Quantised(nn.Linear):
    def forward(self, hidden):
        return super().forward(hidden).round(decimals=1)


def with_head(head):
    model = tiny("llama")
    model.lm_head = head
    return model


def partitioned(head):
    head.weight.ds_id = 3


def unused():
    """A configuration names what its model does not do, as MPT's."""
    model = tiny("llama")
    model.config.logit_scale = 0.5
    return model


REFUSED = {
    "soft cap": (lambda: tiny("recurrent_gemma"), "`recurrent_gemma` changes its logits .* not name.*poz.torch.logps"),
    "unused scale": (unused, "`llama` changes its logits after its head"),
    "own change": (lambda: Own(lambda z: 2 * z), "`Own` changes its logits after its head"),
    "adapter": (adapted, "must be a torch.nn.Linear; got a Linear, such as an adapter.*Leave the head out"),
    "quantised": (lambda: with_head(Quantised(16, 61).double()), "got a Quantised, such as"),
    "8 bit": (
        lambda: with_head(nn.Linear(16, 61).requires_grad_(False).to(torch.float8_e4m3fn)),
        "must share one of .* and torch.float8",
    ),
    "forward": (lambda: altered(lm_head=lambda h: setattr(h, "forward", h.forward)), "with a forward pass of its own"),
    "hook": (lambda: altered(lm_head=lambda h: h.register_forward_hook(print)), "has a hook, print, which would be"),
    "backward": (lambda: altered(lm_head=lambda h: h.register_full_backward_hook(print)), "has a hook, print"),
    "ZeRO-3": (lambda: altered(lm_head=partitioned), "one that is partitioned by ZeRO-3. Keep the head .* whole"),
    "twice": (lambda: Own(times=2), "calls its head 2 times, not once"),
    "unused": (lambda: Own(times=0), "calls its head 0 times"),
    "compiled": (
        lambda: torch.compile(tiny("llama"), backend="eager"),
        "compiled as a whole.*Compile what is below the head",
    ),
    "no head": (lambda: nn.Linear(2, 2), r"needs a model with get_output_embeddings\(\).*got Linear"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_head_that_does_more_is_refused(name):
    make, said = REFUSED[name]
    inputs, labels = batch()
    model = make()
    given = inputs if hasattr(model, "config") else {"input_ids": inputs["input_ids"]}
    with pytest.raises((ValueError, TypeError), match=said):
        token_logps(model, labels, **given)


def test_an_encoder_decoder_is_refused():
    sizes = {"vocab_size": 61, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    model = transformers.AutoModelForSeq2SeqLM.from_config(transformers.T5Config(**sizes))
    with pytest.raises(ValueError, match="`t5` is an encoder-decoder, whose labels are not shifted"):
        token_logps(model, torch.ones(1, 2, dtype=torch.int64), input_ids=torch.ones(1, 2, dtype=torch.int64))


class Clamped(transformers.LlamaForCausalLM):
    """It leaves log-probs as they are, and not its logits."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits.clamp(max=0.0)
        return output


def test_a_change_that_log_probs_do_not_show_is_seen_in_the_comparison():
    model = tiny("llama")
    model.__class__ = Clamped
    inputs, labels = batch()
    with pytest.raises(ValueError, match=r"Log-probs by the head of `llama` are up to .* nats per token off"):
        token_logps(model, labels, **inputs)


class Backbone(transformers.LlamaModel):
    """It gives a tuple, hidden states first."""

    def forward(self, *args, **kwargs):
        return (super().forward(*args, **kwargs).last_hidden_state, torch.zeros(0))


class Early(transformers.LlamaForCausalLM):
    """Its backbone gives a tuple; logits are capped where they are larger than those of a model that was just made."""

    cap = 1e9

    def forward(self, input_ids, attention_mask=None, **_):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        return transformers.modeling_outputs.CausalLMOutputWithPast(
            logits=self.lm_head(hidden).clamp(-self.cap, self.cap)
        )


@pytest.mark.parametrize("capped", [False, True])
def test_a_cap_is_seen_behind_a_backbone_that_gives_a_tuple(capped):
    """Hidden states are made larger for the comparison, where they are: the first of what the backbone gives."""
    model = tiny("llama")
    model.__class__, model.model.__class__ = Early, Backbone
    inputs, labels = batch()
    if capped:
        model.cap = 2 * model(**inputs).logits.detach().abs().max().item()
        with pytest.raises(ValueError, match="`llama` changes its logits after its head"):
            token_logps(model, labels, **inputs)
    else:
        torch.testing.assert_close(token_logps(model, labels, **inputs).logps, plainly(model, labels, **inputs))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[1, 2]], "labels must be an int64 tensor .*got list"),
        (torch.ones(4, 9), "got torch.float32 of"),
        (torch.ones(4, dtype=torch.int64), r"got torch.int64 of \(4,\)"),
        (torch.ones(4, 8, dtype=torch.int64), r"hidden states \(4, 9, 16\) for labels \(4, 8\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, said):
    with pytest.raises((ValueError, TypeError), match=said):
        token_logps(tiny("llama"), labels, **batch()[0])


@pytest.fixture
def alone():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(("kind", "tied"), [("llama", True), ("gemma2", False)])
def test_what_wraps_a_model_sees_its_pass(kind, tied, alone):
    """DDP that hands over another tensor, and FSDP2 with its weights in the root, whose head is whole for the pass alone."""
    inputs, labels = batch()
    plain = tiny(kind, tie_word_embeddings=tied)
    expected = plainly(plain, labels, **inputs)
    slopes = gradients(plain, expected)
    for wrap in (fully_shard, lambda model: DistributedDataParallel(model, static_graph=True)):
        model = wrap(tiny(kind, tie_word_embeddings=tied))
        found = token_logps(model, labels, **inputs).logps
        torch.testing.assert_close(found, expected)
        (torch.linspace(-1, 2, found.numel(), dtype=found.dtype).reshape(found.shape) * found).sum().backward()
        for p, slope in zip(model.parameters(), slopes, strict=True):
            torch.testing.assert_close(getattr(p.grad, "full_tensor", lambda p=p: p.grad)(), slope)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            [[-100, 5, 3, -100]],
            "Label 5 of row 0 at place 1 is another than the token .*shifted already.*-100 in prompts",
        ),
        ([[-100, 7, 5, 3]], "Label 3 of row 0 at place 3 counts where attention_mask says padding"),
    ],
)
def test_labels_that_are_not_the_tokens_of_the_inputs_are_refused(labels, said):
    """A shifted label is the next token's, and padding that counts is trained on: both gave numbers."""
    inputs = {"input_ids": torch.tensor([[1, 7, 5, 3]]), "attention_mask": torch.tensor([[1, 1, 1, 0]])}
    with pytest.raises(ValueError, match=said):
        token_logps(tiny("llama"), torch.tensor(labels), **inputs)


def test_a_tuple_is_no_output():
    inputs, labels = batch()
    with pytest.raises(
        TypeError, match=r"The pass of `llama` gave a tuple, neither logits .*Leave return_dict=False out"
    ):
        token_logps(tiny("llama"), labels, **inputs, return_dict=False)

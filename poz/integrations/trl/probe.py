"""Whether the log-probs that TRL's pass over a model's head gives are those of the model's own logits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from poz.integrations.trl.modes import evaluating

TOKENS = 8
LOUD = 50.0
"""Range of the log-probs, in nats, that hidden states are scaled to: a soft cap hardly shows in those of an untrained model."""


@torch.no_grad()
def check_head(model: Any, temperature: float = 1.0) -> None:
    """Compares fused with plain log-probs of a few tokens, in eval mode; the model stays as it is.

    TRL's pass multiplies the last hidden states by `get_output_embeddings().weight`, and knows some names under which a
    configuration keeps a scale or a soft cap. Heads that do more are refused. A model that is not all there, as on the
    meta device or where ZeRO-3 has partitioned it, and one that needs more than tokens, is not compared.

    Args:
        model: What `add_fused_lm_head` was called with.
        temperature: As it was given there.

    Raises:
        ValueError: The two differ, or there is no fused pass.
    """
    kind = model.config.model_type
    unseen = _unseen(model.get_output_embeddings())
    if unseen:
        raise ValueError(_sentence(kind, f"would never train {', '.join(unseen)}"))
    if any(p.is_meta or hasattr(p, "ds_id") or hasattr(p, "device_mesh") for p in model.parameters()):
        return
    tokens = _tokens(model)
    given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "use_cache": False}
    with evaluating(model), _eager_attention(model):
        factor, size = 1.0, 0.0
        while size < LOUD / 2:
            with _scaled_hidden_states(model, factor) as met, _dtypes(model) as dtypes:
                try:
                    logits = model.forward(**given).logits.float()  # not its hooks, which are the caller's
                except Exception as error:
                    warnings.warn(
                        f"poz could not compare its log-probs with those of the logits of `{kind}`, which does not run on "
                        f"tokens alone: {type(error).__name__}: {error}",
                        stacklevel=3,
                    )
                    return
                times = len(met)
                try:
                    fused = model.forward(**given, labels=tokens, fused_lm_head=True).log_probs
                except Exception as error:
                    raise ValueError(_sentence(kind, f"cannot be made ({type(error).__name__}: {error})")) from error
            own = logits[:, :-1].gather(2, tokens[:, 1:, None].to(logits.device)).squeeze(2) / temperature
            lse = (logits[:, :-1] / temperature).logsumexp(-1)
            plain = own - lse
            if not bool(plain.isfinite().all()) or (factor > 1 and (times, len(met)) != (1, 2)):
                return  # too large for 16 bit, or other hidden states than those that both take were scaled
            # Logits are rounded to 16 bit a few times, also where accelerate put autocast in; float32 on a GPU may be TF32.
            eps = max(1e-3, *(torch.finfo(dtype).eps for dtype in (model.dtype, *dtypes)))
            room = 4 * eps * (1 + float(torch.maximum(own.abs(), lse.abs()).max()))
            apart, size = float((fused - plain).abs().max()), float(plain.max() - plain.min())
            if not apart <= room:
                raise ValueError(_sentence(kind, f"are up to {apart:.3g} nats per token off"))
            if factor > 1 or size == 0:
                return
            factor = LOUD / size


def _sentence(kind: str, what: str) -> str:
    return (
        f"Log-probs from the last hidden states and the output embeddings of `{kind}` {what}: its head does more than "
        "multiply, or is not where TRL looks for it. TRL's own trainers have the same fault. Use poz.torch.logps on the "
        "model's logits in a loop of your own."
    )


def _unseen(head: Any) -> list[str]:
    """Names of what a head would train beside what its weight and bias are made of, such as an adapter that begins at 0.

    Raises:
        ValueError: It has no weight.
    """
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"The model's head, a {type(head).__name__}, has no weight to multiply hidden states by. Give a linear layer."
        )
    trained = {name: p for name, p in head.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        made = [t.sum() for t in (head.weight, getattr(head, "bias", None)) if t is not None and t.requires_grad]
    if not made or not trained:
        return list(trained)
    found = torch.autograd.grad(made, list(trained.values()), [torch.ones_like(t) for t in made], allow_unused=True)
    return [name for name, gradient in zip(trained, found, strict=True) if gradient is None]


def _tokens(model: Any) -> Tensor:
    """(1, TOKENS) spread over the vocabulary, none of which stands for something else, such as an image."""
    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    configs = (model.config, model.config.get_text_config())
    special = {value for config in configs for value in vars(config).values() if isinstance(value, int)}
    ordinary = [token for token in range(min(len(embeddings), len(head))) if token not in special]
    if len(ordinary) < 2:
        ordinary = list(range(min(len(embeddings), len(head))))
    step = max(1, len(ordinary) // TOKENS)
    return torch.tensor([ordinary[::step][:TOKENS]], device=embeddings.device)


@contextmanager
def _scaled_hidden_states(model: Any, factor: float) -> Iterator[list[int]]:
    """The last hidden states times a factor; yields a list that is longer by one for each pass of the backbone."""
    met: list[int] = []

    def scale(_: Any, __: Any, output: Any) -> Any:
        met.append(1)
        if isinstance(output, tuple):
            return (output[0] * factor, *output[1:])
        output.last_hidden_state = output.last_hidden_state * factor
        return output

    if factor == 1 or model.base_model is model:
        yield met
        return
    handle = model.base_model.register_forward_hook(scale)
    try:
        yield met
    finally:
        handle.remove()


@contextmanager
def _dtypes(model: Any) -> Iterator[list[torch.dtype]]:
    """Yields a list of the dtypes in which the head has given its logits."""
    found: list[torch.dtype] = []
    handle = model.get_output_embeddings().register_forward_hook(lambda _, __, output: found.append(output.dtype))
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def _eager_attention(model: Any) -> Iterator[None]:
    """Flash attention does not run on a CPU, where a model may still be."""
    configs = [module.config for module in model.modules() if hasattr(module, "config")]
    before = [getattr(config, "_attn_implementation", None) for config in configs]
    on_cpu = next(model.parameters()).device.type == "cpu"
    flash = [(config, name) for config, name in zip(configs, before, strict=True) if on_cpu and "flash" in (name or "")]
    for config, _ in flash:
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for config, name in flash:
            config._attn_implementation = name

"""Whether log-probs made of the last hidden states and a model's head are those of the model's own logits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

TOKENS = 8
LOUD = 50.0
"""Range of the log-probs, in nats, that hidden states are scaled to: a soft cap hardly shows in those of an untrained model."""


@torch.no_grad()
def compare(
    model: Any,
    fused: Callable[[Mapping[str, Any]], Tensor],
    sentence: Callable[[str], str],
    *,
    temperature: float = 1.0,
) -> None:
    """Compares fused with plain log-probs of a few tokens, in eval mode; the model stays as it is.

    A model that is not all there, as on the meta device or where its weights are partitioned, and one that needs more
    than tokens, is not compared.

    Args:
        model: Of transformers, without what wraps it.
        fused: Takes what the model's forward is given, and returns (1, tokens - 1) log-probs in nats.
        sentence: What is raised, of what is wrong with the log-probs.
        temperature: Divides the logits.

    Raises:
        ValueError: The two differ, or there is no fused pass.
    """
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
                        f"poz could not compare its log-probs with those of the logits of `{model.config.model_type}`, which "
                        f"does not run on tokens alone: {type(error).__name__}: {error}",
                        stacklevel=4,
                    )
                    return
                times = len(met)
                try:
                    found = fused(given)
                except Exception as error:
                    raise ValueError(sentence(f"cannot be made ({type(error).__name__}: {error})")) from error
            own = logits[:, :-1].gather(2, tokens[:, 1:, None].to(logits.device)).squeeze(2) / temperature
            lse = (logits[:, :-1] / temperature).logsumexp(-1)
            plain = own - lse
            if not bool(plain.isfinite().all()) or (factor > 1 and (times, len(met)) != (1, 2)):
                return  # too large for 16 bit, or other hidden states than those that both take were scaled
            # Logits are rounded to 16 bit a few times, also where accelerate put autocast in; float32 on a GPU may be TF32.
            eps = max(1e-3, *(torch.finfo(dtype).eps for dtype in (model.dtype, *dtypes)))
            room = 4 * eps * (1 + float(torch.maximum(own.abs(), lse.abs()).max()))
            apart, size = float((found - plain).abs().max()), float(plain.max() - plain.min())
            if not apart <= room:
                raise ValueError(sentence(f"are up to {apart:.3g} nats per token off"))
            if factor > 1 or size == 0:
                return
            factor = LOUD / size


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Eval mode for the time of a with-block; afterwards each module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


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

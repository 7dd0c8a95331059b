"""From a language model and labels to token log-probs: the model's own pass, in which its head gives them in place of logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from poz.backends.torch import readable
from poz.torch.head.linear_logps import linear_logps
from poz.torch.head.logps_head import LogpsHead
from poz.torch.head.probe import compare

IGNORED = -100
INSTEAD = "Use poz.torch.logps on the model's logits."


class TokenLogps(NamedTuple):
    """What `poz.torch.Scored(*...)` and `poz.Pairs.from_halves(logps, mask=mask)` take.

    Attributes:
        logps: (rows, tokens - 1) float32 (float64 of a float64 model), nats: of each label but the first of a row; 0 where
            the label is ignored.
        mask: (rows, tokens - 1) true where a label counts.
    """

    logps: Tensor
    mask: Tensor


def token_logps(model: Any, labels: Tensor, **inputs: Any) -> TokenLogps:
    """The log-probs of labels under a causal language model, in whose pass the head makes no logits.

        logps, mask = token_logps(model, labels, input_ids=input_ids, attention_mask=attention_mask)

    The model is called as it stands, with whatever wraps it, so that hooks of FSDP and DDP see it; only its head, for the
    time of the call, is `linear_logps`, with its defaults or the settings of a `LogpsHead`. Position t of a row predicts
    label t + 1, as in trainers. On its first call a model of transformers is compared with its own logits over a few tokens.

    Args:
        model: What has `get_output_embeddings()`, a `torch.nn.Linear` or a `poz.torch.LogpsHead` that makes the last of its
            pass, (rows, tokens, vocabulary), which it returns as they are or as `.logits`: a causal language model of
            transformers, an adapter of PEFT on it, or a module of yours.
        labels: (rows, tokens) int64, those of `input_ids` where they count and -100 in prompts and padding.
        **inputs: What the model is called with; positions of rows that are padded on the left are the caller's.

    Raises:
        TypeError, ValueError: Labels of another shape, or on a CPU such as are not the tokens of the inputs, or count in
            padding; a head that does more than multiply (an adapter, quantised weights, a forward pass or hooks of its own);
            logits that the model changes after its head by more than a scale or a soft cap that its configuration names; an
            encoder-decoder; weights in parts, by ZeRO-3 or tensor parallelism.
    """
    unwrapped = bare(model)
    head = _checked_head(unwrapped)
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.dim() != 2:
        got = f"{labels.dtype} of {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels must be an int64 tensor (rows, tokens), {IGNORED} where none counts; got {got}.")
    _check_labels(labels, inputs)
    scored = _scored(unwrapped, model, head, labels, inputs)
    if head not in _compared and hasattr(unwrapped, "base_model_prefix"):
        compare(
            unwrapped,
            lambda given: _scored(unwrapped, unwrapped.forward, head, given["input_ids"], given).logps,
            lambda what: f"Log-probs by the head of {_named(unwrapped)} {what}: it does more than multiply. {INSTEAD}",
        )
        _compared.add(head)
    return scored


def _check_labels(labels: Tensor, inputs: dict[str, Any]) -> None:
    """Refuses labels that are no tokens of the inputs, where that can be read without waiting for a device.

    Raises:
        ValueError: One counts where there is padding, or is another than the token in its place.
    """
    for name, differs, what in (
        ("input_ids", labels.ne, "is another than the token of input_ids there, as of labels that are shifted already"),
        ("attention_mask", torch.logical_not, "counts where attention_mask says padding"),
    ):
        x = inputs.get(name)
        if not isinstance(x, Tensor) or x.shape != labels.shape or not (readable(labels) and readable(x)):
            continue
        wrong = differs(x) & (labels != IGNORED)
        if wrong.any():
            row, place = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"Label {int(labels[row, place])} of row {row} at place {place} {what}. Give labels in the places of their "
                f"tokens, and {IGNORED} in prompts and padding."
            )


_compared: WeakSet[torch.nn.Module] = WeakSet()
"""Heads of models that were compared with their logits."""


def _scored(model: Any, call: Any, head: Any, labels: Tensor, inputs: Any) -> TokenLogps:
    targets = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    scale, cap = _scaling(model)
    with _as_logps(head, targets, scale, cap) as made:
        output = call(**inputs)
    if len(made) != 1:
        raise ValueError(
            f"The pass of {_named(model)} calls its head {len(made)} times, not once, so its log-probs cannot be made there. "
            f"{INSTEAD}"
        )
    found = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"The pass of {_named(model)} gave a {type(output).__name__}, neither logits nor something that has them as .logits. "
            "Leave return_dict=False out."
        )
    expected = made[0] if (scale, cap) == (1, None) else made[0].detach() * scale
    expected = expected if cap is None else cap * torch.tanh(expected / cap)
    if not (found is expected or _same(found, expected, made[0] is not expected)):
        raise ValueError(
            f"{_named(model)} changes its logits after its head by what its configuration does not name as logit_scale, "
            f"logits_scaling or final_logit_softcapping, such as rounding, and its log-probs are those of the changed. {INSTEAD}"
        )
    if made[0] is not expected:
        found = made[0] + 0 * (found - found.detach())  # what wraps the model waits for a gradient of what it returned
    return TokenLogps(found[..., 0][:, :-1], targets[:, :-1] != IGNORED)


def _same(found: Tensor, expected: Tensor, changed: bool) -> bool:
    """What wraps a model may hand over another tensor, and needs its gradient; the numbers are those of the head.

    A scale and a cap are rounded in float32 by the model, perhaps in another order.
    """
    return found.shape == expected.shape and torch.allclose(found, expected, 1e-5 * changed, 0, equal_nan=True)


def _scaling(model: Any) -> tuple[float, float | None]:
    """What a configuration says its model does to logits: a factor (Cohere, Granite), and a soft cap (Gemma 2)."""
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else None
    scale, divisor = (getattr(config, name, None) for name in ("logit_scale", "logits_scaling"))
    return (1 if scale is None else scale) / (divisor or 1), getattr(config, "final_logit_softcapping", None)


@contextmanager
def _as_logps(head: Any, targets: Tensor, scale: float, cap: float | None) -> Iterator[list[Tensor]]:
    """The head gives (rows, tokens, 1) log-probs of targets; yields the list of what it has given."""
    made: list[Tensor] = []

    def forward(hidden: Tensor) -> Tensor:
        if hidden.shape[:-1] != targets.shape:
            raise ValueError(
                f"The head was given hidden states {tuple(hidden.shape)} for labels {tuple(targets.shape)}: labels have a place "
                f"for each token of the inputs. Leave out what adds or drops places, such as logits_to_keep. Or: {INSTEAD}"
            )
        weight, bias = head.weight, head.bias
        plain = (Tensor, torch.nn.Parameter)
        if type(weight) not in plain or not weight.is_floating_point() or hasattr(weight, "ds_id"):
            kind = (
                "partitioned by ZeRO-3" if hasattr(weight, "ds_id") else f"a {type(weight).__name__} of {weight.dtype}"
            )
            raise TypeError(
                f"The head's weight must be a plain floating-point tensor during the pass; got one that is {kind}. Keep the "
                f"head in 16 bit or more and whole (ZeRO-2, FSDP). Or: {INSTEAD}"
            )
        settings = {**getattr(head, "settings", {}), "ignore_index": IGNORED, "outputs": ("logps",)}
        settings |= {"logit_scale": scale, "softcap": cap}
        logps = linear_logps(hidden, weight, targets.to(hidden.device), bias=bias, **settings)
        made.append(logps[..., None].clone())  # FSDP warns of views
        return made[0]

    head.forward = forward
    try:
        yield made
    finally:
        del head.forward


def bare(model: Any) -> Any:
    """The model without what wraps it, such as DDP or FSDP."""
    while not hasattr(model, "get_output_embeddings") and isinstance(getattr(model, "module", None), torch.nn.Module):
        model = model.module
    if hasattr(model, "get_base_model"):
        model = model.get_base_model()
    if not hasattr(model, "get_output_embeddings"):
        raise TypeError(
            f"token_logps needs a model with get_output_embeddings(), its head; got {type(model).__name__}. Define it, or "
            "call poz.torch.linear_logps with hidden states and the head's weight."
        )
    return model


def _checked_head(model: Any) -> Any:
    """The head of a model without what wraps it.

    Raises:
        TypeError: It is no plain linear layer.
        ValueError: The model is an encoder-decoder, or compiled, or something hooks into its head.
    """
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise ValueError(
            f"{_named(model)} is an encoder-decoder, whose labels are not shifted; token_logps takes a causal language model. "
            f"{INSTEAD}"
        )
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        raise ValueError(
            f"{_named(model)} is compiled as a whole, head included. Compile what is below the head, as model.model, instead."
        )
    head = model.get_output_embeddings()
    own = "forward" in vars(head) if isinstance(head, torch.nn.Module) else True
    if own or type(head).forward not in (torch.nn.Linear.forward, LogpsHead.forward):
        what = f"a {type(head).__name__}" + " with a forward pass of its own" * own
        raise TypeError(
            f"The head of {_named(model)} must be a torch.nn.Linear; got {what}, such as an adapter or quantised weights, which "
            f"does more than multiply. Leave the head out of adapters and of quantisation. Or: {INSTEAD}"
        )
    for hook in (*head._forward_hooks.values(), *head._backward_hooks.values(), *head._backward_pre_hooks.values()):
        made = getattr(hook, "func", hook)  # of a partial
        if not getattr(made, "__module__", "").startswith(
            "torch.distributed."
        ):  # FSDP's see only that a weight is used
            raise ValueError(
                f"The head of {_named(model)} has a hook, {getattr(made, '__qualname__', made)}, which would be given log-probs "
                f"in place of logits. Remove it for the call. Or: {INSTEAD}"
            )
    return head


def _named(model: Any) -> str:
    return f"`{getattr(getattr(model, 'config', None), 'model_type', type(model).__name__)}`"

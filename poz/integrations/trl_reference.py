"""The reference of TRL's trainers: the policy before training, scored without dropout."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from types import MethodType
from typing import Any

from accelerate.hooks import add_hook_to_module
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from torch.distributed.tensor import DTensor

from poz.integrations.trl_head import installed


@contextmanager
def policy_is_reference(trainer: Any, names: Any, given: Mapping[str, Any], *, read: bool = True) -> Iterator[None]:
    """What TRL gets as a reference where none is given, among the arguments of a trainer.

    TRL would read it from where the policy once came from. Here it is a copy of a policy that was handed over, and
    nothing where it is not `read`; a policy that TRL itself loads from a path is loaded from there twice. TRL loads the
    policy before it has an accelerator, and the reference afterwards.
    """
    load, model = names.create_model_from_path, given["model"]
    for one in (model, given.get("ref_model")):
        if isinstance(one, nn.Module):
            check_model(one, given.get("peft_config"))

    def loaded(*args: Any, **kwargs: Any) -> Any:
        if not hasattr(trainer, "accelerator"):
            policy = load(*args, **kwargs)
            check_model(policy, given.get("peft_config"))
            return policy
        if not read:
            return None
        return load(*args, **kwargs) if isinstance(model, str) else frozen_copy(trainer.model)

    add = names.add_fused_lm_head
    names.create_model_from_path, names.add_fused_lm_head = loaded, partial(_add_head, add)
    try:
        with _whole_adapter(model) if isinstance(model, PeftModel) else nullcontext():
            yield
    finally:
        names.create_model_from_path, names.add_fused_lm_head = load, add


def check_model(model: Any, adapter: Any = None) -> None:
    """Refuses models whose log-probs TRL cannot make of the output embeddings and the hidden states before them.

    Raises:
        ValueError: An encoder-decoder, a model without a head, an adapter of another name than TRL takes, or one with rows
            of a tied head.
    """
    kind, config = type(model).__name__, model.config
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(
            f"{kind} of type `{config.model_type}` is an encoder-decoder, and here a prompt and its completion are one row "
            "for a causal language model, as in TRL. Score its completions with poz.torch.logps in a loop of your own."
        )
    if not hasattr(model, "generation_config") or model.get_output_embeddings() is None:
        raise ValueError(f"{kind} has no language-model head. Load the model by AutoModelForCausalLM.")
    if isinstance(model, PeftModel) and (model.active_adapter != "default" or "ref" in model.peft_config):
        raise ValueError(
            f"TRL trains the adapter named default and puts its copy beside it as ref; got {', '.join(model.peft_config)}, "
            f"of which {model.active_adapter} is active. Load the adapter alone, under the name default; what an earlier "
            "trainer has left goes by delete_adapter('ref')."
        )
    adapters = model.peft_config.values() if isinstance(model, PeftModel) else [adapter]
    rows = any(getattr(one, "trainable_token_indices", None) for one in adapters)
    if rows and getattr(config.get_text_config(), "tie_word_embeddings", False):
        raise ValueError(
            "trainable_token_indices trains rows of embeddings that are tied to the head, and TRL's pass over the head, "
            f"which takes `weight` alone, does not know of them. Load {kind} with tie_word_embeddings=False, or train "
            "whole embeddings with modules_to_save."
        )


def _add_head(add: Any, model: Any, **kwargs: Any) -> None:
    """TRL's head holds the model whose plain forward it runs; a copy of the model runs its own."""
    plain = model.forward
    add(model, **kwargs)
    if not isinstance(plain, MethodType):
        return
    fused = model.forward

    @wraps(type(model).forward)
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if fused_lm_head:
            return fused.__func__(self, *args, fused_lm_head=True, **kwargs)
        return plain.__func__(self, *args, **kwargs)

    model.forward = MethodType(forward, model)


@contextmanager
def _whole_adapter(model: Any) -> Iterator[None]:
    """TRL's copy of an adapter has the weights of modules; here also those of embeddings and of IA3."""
    plain = model.add_adapter

    def add_adapter(name: str, *args: Any, **kwargs: Any) -> None:
        plain(name, *args, **kwargs)
        weights = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
        set_peft_model_state_dict(model, weights, adapter_name=name)

    model.add_adapter = add_adapter
    try:
        yield
    finally:
        del model.add_adapter


def frozen_copy(model: Any) -> Any:
    """A copy that is not trained and has no dropout, as a reference that TRL loads.

    Raises:
        ValueError: The model is sharded, quantised or without weights.
    """
    for name, p in model.named_parameters():
        if isinstance(p, DTensor) or hasattr(p, "ds_id") or p.is_meta:
            _refuse(f"the parameter {name} of the policy is sharded or not in memory")
    if getattr(model, "is_quantized", False) or getattr(model, "hf_quantizer", None) is not None:
        _refuse("the policy is quantised")
    made = copy.deepcopy(model)
    forward = vars(made).get("forward")
    if isinstance(forward, MethodType):  # an earlier trainer's, which holds the policy and would run it
        made.forward = MethodType(inspect.unwrap(forward.__func__), made)
        if hasattr(made, "_hf_hook"):
            add_hook_to_module(made, made._hf_hook)
    return made.eval().requires_grad_(False)


def _refuse(why: str) -> None:
    raise ValueError(
        f"The reference is the policy before training, but {why}, so it cannot be copied. "
        "Load it a second time and pass it as ref_model."
    )


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


def disable_dropout(model: Any) -> None:
    """Sets to 0 the rates that models keep as numbers, such as that of attention, which TRL's does not reach."""
    for module in model.modules():
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


@contextmanager
def own_cache(trainer: Any) -> Iterator[None]:
    """Keeps precomputed log-probs apart from TRL's, and from those of poz that another setting makes.

    The key is TRL's, weights and data, with what else changes the numbers: the head, the precision, and where the
    collator cuts.
    """
    known = trainer._precompute_model_hash
    collator = getattr(trainer.data_collator, "collator", trainer.data_collator)
    cut = [getattr(collator, name, None) for name in ("max_length", "truncation_mode")]
    with installed() as head:
        how = ("poz, in eval mode", head.settings["precision"], trainer.accelerator.mixed_precision, *cut)
        trainer._precompute_model_hash = (known, *how)
        try:
            yield
        finally:
            trainer._precompute_model_hash = known


@contextmanager
def as_prepared(trainer: Any) -> Iterator[None]:
    """The reference runs in the precision that accelerate prepared it for, as the policy does in training.

    Otherwise TRL's pass adds autocast, which the policy lacks where an earlier trainer has prepared it.
    """
    trainer.accelerator.autocast = nullcontext
    try:
        yield
    finally:
        del trainer.accelerator.autocast


@contextmanager
def no_reference_pass(trainer: Any) -> Iterator[None]:
    """TRL takes the reference's log-probs from the batch."""
    known, trainer.precompute_ref_logps = trainer.precompute_ref_logps, True
    try:
        yield
    finally:
        trainer.precompute_ref_logps = known

"""The reference of TRL's trainers: the policy before training, scored without dropout."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from types import MethodType
from typing import Any

import torch
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
    load, model, reference = names.create_model_from_path, given["model"], given.get("ref_model")
    _check_given(model, reference)
    for one in (model, reference):
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

    add, adapted = names.add_fused_lm_head, names.get_peft_model
    names.create_model_from_path, names.add_fused_lm_head = loaded, partial(_add_head, add)
    if read and reference is None:
        names.get_peft_model = partial(_adapted, adapted)
    try:
        with _whole_adapter(model) if isinstance(model, PeftModel) else nullcontext():
            yield
    finally:
        names.create_model_from_path, names.add_fused_lm_head, names.get_peft_model = load, add, adapted
    if read:
        _check_apart(trainer.model, trainer.ref_model)


def _check_given(model: Any, reference: Any) -> None:
    for name, one in (("model", model), ("ref_model", reference)):
        path = isinstance(one, str) and name == "model"
        if not (path or (name == "ref_model" and one is None) or hasattr(one, "config")):
            raise ValueError(
                f"{name} must be a model of transformers{' or its path' * (name == 'model')}, without what wraps it; got "
                f"{type(one).__name__}. Load it by AutoModelForCausalLM.from_pretrained."
            )
        if path and os.path.exists(os.path.join(one, "adapter_config.json")):
            raise ValueError(
                f"{one} holds an adapter, of which TRL would not load the model below. Load both by "
                "peft.AutoPeftModelForCausalLM.from_pretrained(path, is_trainable=True) and pass that model."
            )
    if isinstance(reference, PeftModel):
        raise ValueError(
            "ref_model is a PeftModel, in which TRL does not find the head. Pass ref_model.merge_and_unload()."
        )


def _check_apart(model: Any, reference: Any) -> None:
    """Refuses a reference that training would move.

    Raises:
        ValueError: A parameter that is trained is the reference's too.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if reference is not None:
        fixed = {id(p) for p in reference.parameters()}
        for name, p in trained.items():
            if id(p) in fixed:
                raise ValueError(
                    f"ref_model has the parameter {name} of the policy itself, which is trained, and would move with it. "
                    "Leave ref_model out, or load it a second time, or pass copy.deepcopy of the policy before its adapter."
                )
    elif isinstance(model, PeftModel):
        prefix = getattr(model.base_model, "prefix", None) or "default"
        for name in trained:
            if "default" not in name.split(".") and prefix not in name:
                raise ValueError(
                    f"The reference is the policy with the adapter off, or with the copy of it, and {name} is trained and "
                    "belongs to both. Freeze it (bias='none'), train a copy by modules_to_save, or pass the policy before "
                    "training as ref_model."
                )


def _adapted(put_on: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    """The model with its adapter, where the weights below it stay what they were.

    Raises:
        ValueError: They do not, and the reference would be another model than the policy before training.
    """
    weights = {name: p for name, p in model.named_parameters() if p.is_floating_point() and not p.is_meta}
    before = {name: _size(p) for name, p in weights.items()}
    made = put_on(model, *args, **kwargs)
    for name, p in weights.items():
        if _size(p) != before[name]:
            raise ValueError(
                f"This adapter moves {name} when it is put on, so the model without it, which would be the reference, is "
                "not the policy before training. Pass peft.get_peft_model(model, config) as the model, whose reference is "
                "a copy of the adapter, or a ref_model."
            )
    return made


def _size(p: Any) -> float:
    return float(p.detach().abs().sum(dtype=torch.float64))


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
        try:
            plain(name, *args, **kwargs)
        except ValueError as error:
            raise ValueError(
                f"TRL keeps the reference as a second adapter, a copy of the first, which this one does not bear: {error} "
                "Pass the policy before training as ref_model."
            ) from error
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
    """Sets to 0 the rates that TRL's does not reach: those of attention, other kinds of dropout, and of adapters."""
    for module in model.modules():
        kind = type(module).__name__.lower()
        for name, value in vars(module).items():
            if "drop" not in (kind if name == "p" else name):
                continue
            if isinstance(value, float):
                setattr(module, name, 0.0)
            elif isinstance(value, dict):  # one for each adapter
                value.update({key: 0.0 for key, rate in value.items() if isinstance(rate, float)})


@contextmanager
def own_cache(trainer: Any) -> Iterator[None]:
    """Keeps precomputed log-probs apart from TRL's, and from those of poz that another setting makes.

    The key is TRL's, weights and data, with what else changes the numbers: the configurations of the model and its
    adapters, the head, the precision, and where the collator cuts.
    """
    known = trainer._precompute_model_hash
    model = trainer.accelerator.unwrap_model(trainer.model if trainer.ref_model is None else trainer.ref_model)
    configs = [model.config, *getattr(model, "peft_config", {}).values()]
    collator = getattr(trainer.data_collator, "collator", trainer.data_collator)
    cut = [getattr(collator, name, None) for name in ("max_length", "truncation_mode")]
    with installed() as head:
        how = ("poz, in eval mode", head.settings["precision"], trainer.accelerator.mixed_precision, *cut)
        how = (*how, *(config.to_dict() for config in configs))
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

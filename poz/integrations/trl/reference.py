"""The reference of TRL's trainers: the policy before training, scored without dropout."""

from __future__ import annotations

import copy
import inspect
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

from poz.integrations.trl.models import check_apart, check_given, check_model, check_rows
from poz.integrations.trl.seams import FUSED, TOKEN_METRICS, exchanged, standing_add


@contextmanager
def policy_is_reference(trainer: Any, names: Any, given: Mapping[str, Any], *, read: bool = True) -> Iterator[None]:
    """What TRL gets as a reference where none is given, among the arguments of a trainer.

    TRL would read it from where the policy once came from. Here it is a copy of a policy that was handed over, and
    nothing where it is not `read`; a policy that TRL itself loads from a path is loaded from there twice. TRL loads the
    policy before it has an accelerator, and the reference afterwards.
    """
    load, model, reference = names.create_model_from_path, given["model"], given.get("ref_model")
    check_given(model, reference)
    for one in (model, reference):
        if isinstance(one, nn.Module):
            check_model(one, given.get("peft_config"))
    add = partial(_add_head, trainer, standing_add())
    functions: dict[str, Any] = {"add_fused_lm_head": add} if FUSED else {}
    early = _nothing if FUSED else partial(_add_early, add, given)
    if isinstance(model, nn.Module):
        early(model)

    def loaded(*args: Any, **kwargs: Any) -> Any:
        if not hasattr(trainer, "accelerator"):
            policy = load(*args, **kwargs)
            check_model(policy, given.get("peft_config"))
            early(policy)
            return policy
        if not read:
            return None
        made = load(*args, **kwargs) if isinstance(model, str) else frozen_copy(trainer.model)
        early(trainer.model, made)
        return made

    functions["create_model_from_path"] = loaded
    if read and reference is None:
        functions["get_peft_model"] = partial(_adapted, names.get_peft_model)
    whole = _whole_adapter(model) if isinstance(model, PeftModel) else nullcontext()
    with exchanged(names, **functions), whole:
        yield
    if read:
        check_apart(trainer.model, trainer.ref_model)


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


def _nothing(*_: Any) -> None:
    """TRL gives the models their heads."""


def _add_early(add: Any, given: Mapping[str, Any], policy: Any, loaded: Any = None) -> None:
    """Heads for a policy and the reference that is given, or for one that was loaded, before TRL has them."""
    reference, args, tokens = given.get("ref_model"), given["args"], given.get("processing_class")
    scaled = {name: getattr(args, name) for name in ("temperature", "cast_lm_head_to_fp32") if hasattr(args, name)}
    if loaded is None:
        weighted = ("log_sum_sq_probs",) if getattr(args, "use_weighting", False) else ()
        base = policy.get_base_model() if isinstance(policy, PeftModel) else policy
        add(base, **scaled, outputs=("log_probs", *TOKEN_METRICS, *weighted))
        if reference is not None:
            if tokens is not None:
                check_rows(policy, reference, tokens)
            add(reference, **scaled)
    else:
        add(loaded, **scaled)


def _add_head(trainer: Any, add: Any, model: Any, **kwargs: Any) -> None:
    """TRL's head holds the model whose plain forward it runs; a copy of the model runs its own."""
    if FUSED and model is trainer.ref_model:
        check_rows(trainer.model, model, trainer.processing_class)
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
def as_prepared(trainer: Any) -> Iterator[None]:
    """The reference runs in the precision that accelerate prepared it for, as the policy does in training.

    Otherwise TRL's pass adds autocast, which the policy lacks where an earlier trainer has prepared it.
    """
    trainer.accelerator.autocast = nullcontext
    try:
        yield
    finally:
        del trainer.accelerator.autocast

"""Which models TRL's trainers can be given, as policy and as reference."""

from __future__ import annotations

import os
import warnings
from typing import Any

from peft import PeftModel, PeftType

from poz.integrations._pairs import check_two


def check_given(model: Any, reference: Any, loader: str = "AutoModelForCausalLM") -> None:
    """Refuses what is no model, or none whose head TRL finds.

    Raises:
        ValueError: Anything else than a model of transformers, or the path of one that holds no adapter.
    """
    for name, one in (("model", model), ("ref_model", reference)):
        path = isinstance(one, str) and name == "model"
        if not (path or (name == "ref_model" and one is None) or hasattr(one, "config")):
            raise ValueError(
                f"{name} must be a model of transformers{' or its path' * (name == 'model')}, without what wraps it; got "
                f"{type(one).__name__}. Load it by {loader}.from_pretrained."
            )
        if path and os.path.exists(os.path.join(one, "adapter_config.json")):
            raise ValueError(
                f"{one} holds an adapter, of which TRL would not load the model below. Load both by "
                f"peft.{loader.replace('Model', 'PeftModel')}.from_pretrained(path, is_trainable=True) and pass that model."
            )
    if isinstance(reference, PeftModel):
        raise ValueError(
            "ref_model is a PeftModel, in which TRL does not find the head. Pass ref_model.merge_and_unload()."
        )


def check_apart(model: Any, reference: Any) -> None:
    """Refuses a reference that training would move.

    Raises:
        ValueError: A parameter that is trained is the reference's too.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if reference is not None:
        check_two(model, reference, "Leave ref_model out, or load")
    elif isinstance(model, PeftModel):
        prefix = getattr(model.base_model, "prefix", None) or "default"
        for name in trained:
            if "default" not in name.split(".") and prefix not in name:
                raise ValueError(
                    f"The reference is the policy with the adapter off, or with the copy of it, and {name} is trained and "
                    "belongs to both. Freeze it (bias='none'), train a copy by modules_to_save, or pass the policy before "
                    "training as ref_model."
                )


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
    adapters = list(model.peft_config.values()) if isinstance(model, PeftModel) else [adapter]
    if any(getattr(one, "peft_type", None) == PeftType.ADAPTION_PROMPT for one in adapters):
        raise ValueError(
            "An adapter of type ADAPTION_PROMPT holds the model's forward pass of before TRL gives it its head, so TRL asks "
            "for log-probs and gets logits; TRL's own trainers fail in their first step. Use another adapter, such as LoRA "
            "or prompt tuning, or poz.torch.logps in a loop of your own."
        )
    if isinstance(model, PeftModel) and (model.active_adapter != "default" or "ref" in model.peft_config):
        raise ValueError(
            f"TRL trains the adapter named default and puts its copy beside it as ref; got {', '.join(model.peft_config)}, "
            f"of which {model.active_adapter} is active. Load the adapter alone, under the name default; what an earlier "
            "trainer has left goes by delete_adapter('ref')."
        )
    rows = any(getattr(one, "trainable_token_indices", None) for one in adapters)
    if rows and getattr(config.get_text_config(), "tie_word_embeddings", False):
        raise ValueError(
            "trainable_token_indices trains rows of embeddings that are tied to the head, and TRL's pass over the head, "
            f"which takes `weight` alone, does not know of them. Load {kind} with tie_word_embeddings=False, or train "
            "whole embeddings with modules_to_save."
        )


def check_reward_model(model: Any) -> None:
    """Refuses what gives no scores.

    Raises:
        ValueError: A language model, or one without a number of outputs.
    """
    if model.get_output_embeddings() is not None or getattr(model.config, "num_labels", None) is None:
        raise ValueError(
            f"{type(model).__name__} gives no scores. Load a reward model, by AutoModelForSequenceClassification."
            "from_pretrained(path, num_labels=1), which puts a head of one output on a language model."
        )


def warn_of_frozen_head(model: Any) -> None:
    """Says that a head of scores is not trained, as that of an adapter that does not know of it."""
    named = [p for name, p in model.named_parameters() if {"score", "classifier"} & {*name.split(".")}]
    if named and not any(p.requires_grad for p in named):
        warnings.warn(
            "The head that gives the scores is not trained; where it is new, its numbers are random. Of an adapter, "
            "task_type='SEQ_CLS' or modules_to_save=['score'] trains it.",
            stacklevel=3,
        )


def check_rows(policy: Any, reference: Any, processing_class: Any) -> None:
    """Refuses a reference that lacks the embeddings of tokens.

    Raises:
        ValueError: It has fewer rows than the policy and than the tokenizer has ids.
    """
    of_policy, of_reference = (_rows(model) for model in (policy, reference))
    if not 0 < of_reference < of_policy:
        return
    last = max(getattr(processing_class, "tokenizer", processing_class).get_vocab().values())
    if last >= of_reference:
        raise ValueError(
            f"ref_model has {of_reference} rows of embeddings, and the policy {of_policy}, of which the tokenizer has ids up "
            f"to {last}. Give the policy before training, or call ref_model.resize_token_embeddings({of_policy}) if its new "
            "rows are what the policy's were."
        )


def _rows(model: Any) -> int:
    """The least of its embeddings and its head; 0 where a partition hides them."""
    return min(len(one.weight) for one in (model.get_input_embeddings(), model.get_output_embeddings()))

"""All that poz touches of TRL beyond what TRL documents: each looked for when this is imported, and met in this file alone.

The other files know the trainers by the public names of `Seamed`, and exchange TRL's functions through `exchanged` and
`put_head`. Where TRL moves one of these, the mending is here.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import trl
from packaging.version import Version
from peft import PeftModel
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import dpo_config as dpo_config
from trl.trainer import dpo_trainer as dpo_trainer
from trl.trainer import grpo_config as grpo_config
from trl.trainer import grpo_trainer as grpo_trainer
from trl.trainer import kto_config as kto_config
from trl.trainer import kto_trainer as kto_trainer
from trl.trainer import reward_config as reward_config
from trl.trainer import reward_trainer as reward_trainer
from trl.trainer import utils as trls_utils

from poz.integrations.trl.fused import add_fused_lm_head

utils: Any = trls_utils  # of which not all is exported

FLOOR, SEEN = "1.14", "1.16"
"""The oldest and the newest version of TRL that all of this was seen in."""

VERSION = Version(trl.__version__)
FUSED = Version("1.15") <= VERSION
"""Whether TRL gives a model its fused head; where it takes log-probs of logits, the trainers of poz give it theirs."""

HASHED = Version("1.14.2") <= VERSION
"""Whether the reference is hashed when the trainer is made; before, when its log-probs are precomputed."""

TOKEN_METRICS = ("entropy", "mean_logits", "is_top1")
"""What TRL's head computes beside log-probs, as its output names it."""

_OF_DATA: Mapping[str, tuple[str, ...]] = {
    "_prepare_dataset": ("dataset", "processing_class", "args", "dataset_name"),
    "_set_signature_columns_if_needed": (),
    "_save_checkpoint": ("model", "trial"),
    "_get_output_dir": ("trial",),
    "_load_optimizer_and_scheduler": ("checkpoint",),
    "_load_best_model": (),
}
_OF_POLICIES: Mapping[str, tuple[str, ...]] = {
    **_OF_DATA,
    "_precompute_ref_logps": ("dataset", "name", "batch_size"),
    "compute_ref_log_probs": ("model", "inputs"),
    "_compute_loss": ("model", "inputs", "return_outputs"),
}
_SCORED = (
    "model",
    "input_ids",
    "attention_mask",
    "logits_to_keep",
    "batch_size",
    "compute_entropy",
    "compute_aux_loss",
)
_OF_ROLLOUTS: Mapping[str, tuple[str, ...]] = {
    "_compute_loss": ("model", "inputs"),
    "_get_per_token_logps_and_entropies" if FUSED else "_full_logits_logps": _SCORED,
}

METHODS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "DPOTrainer": _OF_POLICIES,
    "KTOTrainer": _OF_POLICIES,
    "RewardTrainer": _OF_DATA,
    "GRPOTrainer": _OF_ROLLOUTS,
}
"""Methods of each trainer, with their arguments in order."""

_SET = ("_metrics", "_total_train_tokens", "_tp_size")
_BALANCED = ("ref_model", "aux_loss_enabled", "router_aux_loss_coef")
_REFERRED = (*_SET, *_BALANCED, *["_precompute_model_hash"] * HASHED, "precompute_ref_logps")

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "DPOTrainer": _REFERRED,
    "KTOTrainer": (*_REFERRED, "calculate_KL"),
    "RewardTrainer": (*_SET, "num_labels"),
    "GRPOTrainer": ("_metrics", "_buffered_inputs", *_BALANCED, "beta"),
}
"""What each sets or asks for when it is made."""

MODULES = {
    "DPOTrainer": dpo_trainer,
    "KTOTrainer": kto_trainer,
    "RewardTrainer": reward_trainer,
    "GRPOTrainer": grpo_trainer,
}

LABELS = ("_tag_names", "_name", "_paper")
"""Attributes of the classes, for a model's tags and card."""

EXCHANGED = ("create_model_from_path", "get_peft_model", *["add_fused_lm_head"] * FUSED)
"""Names that the modules of policies' trainers look up when a trainer is made."""

FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    **({"add_fused_lm_head": ("model", "temperature", "cast_lm_head_to_fp32", "outputs")} if FUSED else {}),
    **({"_use_triton": ("device",)} if Version("1.16") <= VERSION else {}),  # masked tokens are left out before
    "global_then_local_main_first": (),
    "use_adapter": ("model", "adapter_name"),
}
"""Functions of `trl.trainer.utils`, with the arguments that are relied upon."""

HEAD = (
    *("hidden" if FUSED else "last_hidden", "weight", "bias", "targets", "temperature", "chunk_size"),
    *("final_logit_softcapping", "logit_scale", *["outputs"] * FUSED),
)
"""The arguments of `trl.trainer.utils._ChunkedLogProbFunction`, by place."""


def check() -> None:
    """Looks for every seam.

    Raises:
        ImportError: One is not there, or takes other arguments.
    """
    if Version(trl.__version__) < Version(FLOOR):
        raise ImportError(
            f"poz.integrations.trl needs trl >= {FLOOR}, the oldest that its tests were run beside; found {trl.__version__}."
        )
    for name, module in MODULES.items():
        trainer = _found(module, name, f"{module.__name__}.")
        for method, arguments in METHODS[name].items():
            _takes(_found(trainer, method, f"trl.{name}."), ("self", *arguments), f"trl.{name}.{method}")
        for label in LABELS:
            _found(trainer, label, f"trl.{name}.")
        made = {*trainer.__init__.__code__.co_names, *trainer.__init__.__code__.co_consts}
        for attribute in ATTRIBUTES[name]:
            if attribute not in made:
                raise ImportError(_sentence(f"no attribute {attribute} of trl.{name}"))
        for function in EXCHANGED if "ref_model" in ATTRIBUTES[name] else ():
            _found(module, function, f"{module.__name__}.")
    for function, arguments in FUNCTIONS.items():
        _takes(_found(utils, function, "trl.trainer.utils."), arguments, f"trl.trainer.utils.{function}")
    head = _found(utils, "_ChunkedLogProbFunction", "trl.trainer.utils.")
    head = getattr(head, "_kernel", head)  # around which Unsloth, imported before, puts a class without a forward
    if head is not None:  # which 1.15 has where there is no Triton
        _takes(_found(head, "forward", "trl.trainer.utils._ChunkedLogProbFunction."), ("ctx", *HEAD), "its forward")


def _found(where: Any, name: str, prefix: str) -> Any:
    if not hasattr(where, name):
        raise ImportError(_sentence(f"no {prefix}{name}"))
    return getattr(where, name)


def _takes(function: Any, arguments: tuple[str, ...], name: str) -> None:
    found = tuple(inspect.signature(function).parameters)
    if found[: len(arguments)] != arguments:
        raise ImportError(_sentence(f"other arguments of {name}, ({', '.join(found)}) for ({', '.join(arguments)})"))


def _sentence(what: str) -> str:
    return (
        f"trl {trl.__version__} has {what}, which poz.integrations.trl builds on and last saw in trl {SEEN}. Install "
        f"trl=={SEEN}.*, or a newer poz."
    )


check()

global_then_local_main_first = utils.global_then_local_main_first
_NAMES = ("_ChunkedLogProbFunction", "_use_triton", "add_fused_lm_head")
_TRLS: Mapping[str, Any] = {
    "add_fused_lm_head": add_fused_lm_head,
    **{name: getattr(utils, name) for name in _NAMES if hasattr(utils, name)},
}
"""What TRL has behind its names, from before the first exchange; of the fused head poz's, where TRL has none."""

_put: dict[str, Any] = {}
"""What poz has put there."""


def standing_head() -> Any:
    """What computes token log-probs under TRL now."""
    found = utils._ChunkedLogProbFunction
    return getattr(found, "head", found)


def put_head(head: Any, add: Callable[..., None] | None, leave_out: Callable[..., bool] | None) -> None:
    """Puts a head under TRL, what gives it to a model, and whether masked tokens are left out; TRL's own for None."""
    given = (head if FUSED or head is None else _Two(head), leave_out, add)
    for attribute, mine in zip(_NAMES, given, strict=True):
        if attribute not in _TRLS:
            continue
        theirs, before = _TRLS[attribute], _put.get(attribute)
        _put[attribute] = theirs if mine is None else mine
        for name, module in sys.modules.copy().items():  # a trainer may have a name of its own for it
            known = vars(module).get(attribute, _put) if name.startswith("trl.trainer.") else _put
            if known is theirs or known is before:
                vars(module)[attribute] = _put[attribute]


class _Two:
    """A head where TRL wants log-probs and entropies."""

    def __init__(self, head: Any) -> None:
        self.head = head

    def apply(self, *given: Any) -> Any:
        return self.head.apply(*given, outputs=("entropy",))[:2]


def add_trls_head(model: Any, kernel: Any, temperature: float = 1.0, *args: Any, **kwargs: Any) -> None:
    """TRL's own `add_fused_lm_head`, or poz's over the head of `kernel` where TRL has none."""
    if FUSED:
        _TRLS["add_fused_lm_head"](model, temperature, *args, **kwargs)
    else:
        add_fused_lm_head(model, kernel, temperature, *args, **kwargs)


def standing_add() -> Any:
    """What gives a model its head now."""
    return _put.get("add_fused_lm_head", _TRLS["add_fused_lm_head"])


@contextmanager
def exchanged(module: Any, **functions: Any) -> Iterator[None]:
    """Other functions behind names of a module, for the time of a with-block."""
    before = {name: getattr(module, name) for name in functions}
    vars(module).update(functions)
    try:
        yield
    finally:
        vars(module).update(before)


class Labelled:
    """A trainer of TRL whose labels and metrics are known by public names."""

    _metrics: Any

    def label(self, tags: list[str], title: str, paper: dict[str, str]) -> None:
        """What TRL writes into a model's tags and card."""
        self._tag_names, self._name, self._paper = tags, title, paper

    @property
    def logged(self) -> Any:
        """By "train" and "eval", lists of TRL's metrics since the last log, by name."""
        return self._metrics


class Seamed(Labelled):
    """A trainer of TRL whose private methods are known by public names; it stands before TRL's class.

    Subclasses have `columns`, those that the objective reads, and define `prepare`.
    """

    columns: tuple[str, ...]
    _signature_columns: Any
    _total_train_tokens: Any
    _tp_size: Any

    @property
    def trained_tokens(self) -> int:
        """How many tokens were trained on, over all processes."""
        return int(self._total_train_tokens)

    @trained_tokens.setter
    def trained_tokens(self, count: int) -> None:
        self._total_train_tokens = count

    @property
    def alike(self) -> int:
        """How many processes are given the same batch."""
        return int(self._tp_size)

    def checkpoint(self: Any, trial: Any = None) -> str:
        """The folder of the checkpoint of this step."""
        return f"{self._get_output_dir(trial)}/checkpoint-{self.state.global_step}"

    def placed(self: Any, inputs: Mapping[str, Any]) -> Any:
        """A batch on the device of training."""
        return self._prepare_inputs(inputs)

    def save_state(self, folder: str) -> None:
        """Is called before TRL fills the folder of a checkpoint."""

    def load_state(self, folder: str) -> None:
        """Is called after TRL has read the folder of a checkpoint."""

    def prepare(self, dataset: Any, name: str, args: Any, trls: Callable[[Any], Any]) -> Any:
        """The data set as token ids, which `trls` makes of prompts and completions."""
        raise NotImplementedError

    def _prepare_dataset(self: Any, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        plain = super()._prepare_dataset  # type: ignore[misc]
        return self.prepare(dataset, dataset_name, args, lambda rows: plain(rows, processing_class, args, dataset_name))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        self._signature_columns = list(dict.fromkeys((*self._signature_columns, *self.columns)))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.save_state(self.checkpoint(trial))
        super()._save_checkpoint(model, trial)  # type: ignore[misc] # last: it uploads, and deletes old ones

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is not None:
            self.load_state(checkpoint)

    def _load_best_model(self: Any) -> None:
        super()._load_best_model()  # type: ignore[misc]
        self.load_state(self.state.best_model_checkpoint)


@contextmanager
def _hashed_with(trainer: Any, more: tuple[Any, ...]) -> Iterator[None]:
    """The hash of the reference has more in it."""
    if HASHED:
        known, trainer._precompute_model_hash = trainer._precompute_model_hash, (trainer._precompute_model_hash, *more)
        try:
            yield
        finally:
            trainer._precompute_model_hash = known
    else:
        found = {"hash_module": lambda model: (utils.hash_module(model), *more)}
        with exchanged(dpo_trainer, **found), exchanged(kto_trainer, **found):
            yield


class Referred(Seamed):
    """The same for a policy, beside which there may be a reference; it defines `loss_of` and `cache_key` too."""

    def trls_loss(self: Any, policy: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """What is left of TRL's loss: the load balancing of mixtures of experts, or 0; and outputs, as TRL makes them.

        The policy is called with TRL's fused head, and once, unless the outputs are asked for.
        """
        given = _of_model(inputs)
        if self.aux_loss_enabled:
            given["output_router_logits"] = True
        output = policy(**given, labels=_labels(inputs), fused_lm_head=True)
        loss = output.log_probs.new_zeros(())
        if self.aux_loss_enabled:
            loss = self.router_aux_loss_coef * output.aux_loss
            logged = self.accelerator.gather_for_metrics(output.aux_loss).mean().item()
            self._metrics["train" if self.model.training else "eval"]["aux_loss"].append(logged)
        if not return_outputs:
            return loss
        with torch.no_grad():
            return loss, policy(**given)

    def compute_ref_log_probs(self: Any, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Summed log-probs of the reference, for chosen and rejected; a model without one has its adapter off."""
        return self._of_reference(model, inputs).chunk(2)

    def _of_reference(self: Any, model: Any, inputs: Mapping[str, Any], prefix: str = "") -> Any:
        """(rows,) log-probs of completions, summed."""
        apart = nullcontext()
        if self.ref_model is None and isinstance(self.model, PeftModel):
            unwrapped = self.accelerator.unwrap_model(self.model)
            apart = utils.use_adapter(unwrapped, adapter_name="ref" if "ref" in unwrapped.peft_config else None)
        still = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), still, apart, self.accelerator.autocast():
            return _sums(model, inputs, prefix)

    def loss_of(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """The loss of a batch, and the model's outputs if they are asked for."""
        raise NotImplementedError

    def cache_key(self) -> AbstractContextManager[tuple[Any, ...]]:
        """What else than weights and data changes the reference's log-probs."""
        return nullcontext(())

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        with self.cache_key() as more, _hashed_with(self, more):
            return super()._precompute_ref_logps(dataset, name, batch_size)  # type: ignore[misc]

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        return self.loss_of(model, inputs, return_outputs)


class Sampled(Referred):
    """The same for KTO, whose samples of the KL TRL scores."""

    kl_logps: Any = None
    """The samples' log-probs of the last batch, (batch,), or None."""

    @contextmanager
    def no_samples(self: Any) -> Iterator[None]:
        """TRL makes no samples of the KL."""
        known, self.calculate_KL = self.calculate_KL, False
        try:
            yield
        finally:
            self.calculate_KL = known

    def trls_loss(self: Any, policy: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """The same, after the samples of the KL are scored."""
        self.kl_logps = None
        if self.calculate_KL:
            with torch.no_grad():
                self.kl_logps = _sums(policy.model, inputs, "KL_")
        return super().trls_loss(policy, inputs, return_outputs)

    def compute_ref_log_probs(self: Any, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Summed log-probs of the reference, for completions and for the samples of the KL, or None."""
        return tuple(
            self._of_reference(model, inputs, prefix) if read else None
            for prefix, read in (("", True), ("KL_", self.calculate_KL))
        )


_SAMPLES = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
"""What a batch has of the KL samples too, after `KL_`."""


def _of_model(inputs: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What a model is called with, of a batch of completions or of the KL samples in it."""
    others = {"completion_mask", "label", "ref_logps", "ref_chosen_logps", "ref_rejected_logps", "ref_KL_logps"}
    given = {name: x for name, x in inputs.items() if name not in others and not name.startswith("KL_")}
    if prefix:
        given |= {name: inputs[prefix + name] for name in _SAMPLES if prefix + name in inputs}
    return {**given, "use_cache": False}


def _labels(inputs: Mapping[str, Any], prefix: str = "") -> Any:
    """(rows, tokens) ids of completions, -100 elsewhere."""
    return inputs[f"{prefix}input_ids"].masked_fill(inputs[f"{prefix}completion_mask"] == 0, -100)


def _sums(model: Any, inputs: Mapping[str, Any], prefix: str) -> Any:
    labels = _labels(inputs, prefix)
    logps = model(**_of_model(inputs, prefix), labels=labels, fused_lm_head=True).log_probs
    return logps[:, 1 - labels.size(1) :].sum(1)  # prompt learning puts virtual tokens before the real ones


class Written(Labelled):
    """The same for GRPO, whose policy writes what it is trained on; it defines `loss_of` and `passing`."""

    _buffered_inputs: Any

    def of_step(self: Any, inputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The micro-batches of this process in the optimiser step of one of them, or that one alone if nobody else knows it."""
        written, size = self._buffered_inputs or [], self.args.gradient_accumulation_steps
        for place, one in enumerate(written):
            if one is inputs:
                return list(written[place - place % size :][:size])
        return [inputs]

    def scored(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """(rows, tokens) log-probs and entropies of completions, and the load balancing of mixtures of experts, or None."""
        sides = [[inputs[f"{side}_{what}"] for side in ("prompt", "completion")] for what in ("ids", "mask")]
        return self._get_per_token_logps_and_entropies(  # type: ignore[no-any-return]
            model,
            *(torch.cat(parts, 1) for parts in sides),
            inputs["completion_ids"].size(1),
            compute_entropy=True,
            compute_aux_loss=self.aux_loss_enabled,  # type: ignore[attr-defined]
        )

    def loss_of(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """The loss of a micro-batch."""
        raise NotImplementedError

    def passing(self, model: Any) -> AbstractContextManager[Any]:
        """What goes on around a forward pass that gives log-probs."""
        return nullcontext()

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        with self.passing(model):
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)  # type: ignore[misc]

    def _full_logits_logps(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:  # before TRL's fused head
        names = METHODS["GRPOTrainer"]["_full_logits_logps"][1:]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        ids, mask, kept = (given[name] for name in names[:3])
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, :-kept] = -100
        balanced = {"output_router_logits": True} if given.get("compute_aux_loss") else {}
        size, found = given.get("batch_size") or len(ids), []
        for rows in (slice(start, start + size) for start in range(0, len(ids), size)):
            with self.accelerator.autocast():
                found.append(
                    model(
                        input_ids=ids[rows],
                        attention_mask=mask[rows],
                        labels=labels[rows],
                        fused_lm_head=True,
                        **balanced,
                    )
                )
        logps, entropy = (
            torch.cat([getattr(one, name)[:, -kept:] for one in found]) for name in ("log_probs", "entropy")
        )
        return logps, entropy, torch.stack([one.aux_loss for one in found]).mean() if balanced else None

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        return self.loss_of(model, inputs)


GENERATED: Mapping[str, tuple[str, ...]] = {
    "_forward": ("model", "prompt_ids", "prompt_mask", "completion_ids", "completion_mask"),
    "_calculate_rewards_from_functions": ("prompts", "completions", "completion_ids_list"),
    "training_step": ("model", "inputs", "num_items_in_batch"),
}
"""Methods of TRL's experimental OnlineDPOTrainer, with their arguments in order."""


def online_dpo() -> Any:
    """TRL's experimental module of OnlineDPO, which says of itself that it may change.

    Raises:
        ImportError: A method is not there, or takes other arguments.
    """
    module = importlib.import_module("trl.experimental.online_dpo")
    for name, arguments in GENERATED.items():
        method = _found(module.OnlineDPOTrainer, name, "trl.experimental.online_dpo.OnlineDPOTrainer.")
        _takes(method, ("self", *arguments), f"trl.experimental.online_dpo.OnlineDPOTrainer.{name}")
    return module


class Generated(Labelled):
    """The same for OnlineDPO, whose policy writes two completions for each prompt; it defines `loss_of`.

    TRL's step runs as it is, and the loss that it hands to the backward pass is exchanged.
    """

    _kept: Any

    def loss_of(self, logps: Any, ref_logps: Any, mask: Any, rewards: Any) -> Any:
        """The loss of (2 * prompts, tokens) log-probs, their mask and (2 * prompts,) rewards; see TRL's `training_step`."""
        raise NotImplementedError

    def training_step(self: Any, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """TRL's, whose loss is exchanged; gradients are divided by the micro-batches, and so is what it gives."""
        self._kept = {"scored": []}
        plain, steps = self.accelerator.backward, self.current_gradient_accumulation_steps

        def backward(_: Any, **kwargs: Any) -> None:
            (logps, mask), (ref_logps, _) = self._kept["scored"]
            self._kept["loss"] = loss = self.loss_of(logps, ref_logps, mask, self._kept["rewards"])
            plain(
                loss * (self.accelerator.gradient_accumulation_steps / steps), **kwargs
            )  # by which accelerate divides

        self.accelerator.backward = backward
        try:
            super().training_step(model, inputs, num_items_in_batch)  # type: ignore[misc]
        finally:
            del self.accelerator.backward
        return self._kept.pop("loss").detach() / steps

    def _forward(self, model: Any, prompt_ids: Any, prompt_mask: Any, *completion: Any, **kwargs: Any) -> Any:
        logps = super()._forward(model, prompt_ids, prompt_mask, *completion, **kwargs)  # type: ignore[misc]
        self._kept["scored"].append((logps, completion[1].bool()))
        return logps

    def _calculate_rewards_from_functions(self, *args: Any, **kwargs: Any) -> Any:
        self._kept["rewards"] = super()._calculate_rewards_from_functions(*args, **kwargs)  # type: ignore[misc]
        return self._kept["rewards"]  # TRL takes its penalty off in place


@contextmanager
def any_width(model: Any) -> Iterator[None]:
    """TRL's RewardTrainer, which refuses a model of several outputs, takes it for the time of a with-block.

    It asks the configuration for `num_labels`, which is a count of names.
    """
    config = model.config
    names = {name: getattr(config, name) for name in ("id2label", "label2id")}
    config.num_labels = 1
    try:
        yield
    finally:
        for name, value in names.items():
            setattr(config, name, value)

"""All that poz touches of TRL beyond what TRL documents: each looked for when this is imported, and met in this file alone.

The other files know the trainers by the public names of `Seamed`, and exchange TRL's functions through `exchanged` and
`put_head`. Where TRL moves one of these, the mending is here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import trl
from packaging.version import Version
from trl.trainer import dpo_config as dpo_config
from trl.trainer import dpo_trainer as dpo_trainer
from trl.trainer import grpo_config as grpo_config
from trl.trainer import grpo_trainer as grpo_trainer
from trl.trainer import kto_config as kto_config
from trl.trainer import kto_trainer as kto_trainer
from trl.trainer import reward_config as reward_config
from trl.trainer import reward_trainer as reward_trainer
from trl.trainer import utils as trls_utils

utils: Any = trls_utils  # of which not all is exported

SEEN = "1.16"
"""The newest version of TRL that all of this was seen in."""

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
_OF_ROLLOUTS: Mapping[str, tuple[str, ...]] = {
    "_compute_loss": ("model", "inputs"),
    "_get_per_token_logps_and_entropies": (
        *("model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"),
        "compute_aux_loss",
    ),
}

METHODS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "DPOTrainer": _OF_POLICIES,
    "KTOTrainer": {**_OF_POLICIES, "_compute_kl_logps": ("model", "batch")},
    "RewardTrainer": _OF_DATA,
    "GRPOTrainer": _OF_ROLLOUTS,
}
"""Methods of each trainer, with their arguments in order: of which TRL makes its own loss, and samples of the KL."""

_SET = ("_metrics", "_total_train_tokens", "_tp_size")
_REFERRED = (*_SET, "_precompute_model_hash", "precompute_ref_logps", "ref_model")

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "DPOTrainer": (*_REFERRED, "loss_types", "loss_weights"),
    "KTOTrainer": (*_REFERRED, "beta", "desirable_weight", "undesirable_weight", "calculate_KL"),
    "RewardTrainer": (*_SET, "num_labels"),
    "GRPOTrainer": ("_metrics", "_buffered_inputs", "ref_model", "beta", "aux_loss_enabled", "router_aux_loss_coef"),
}
"""What each sets or asks for when it is made: of which TRL makes its own loss, and samples of the KL."""

MODULES = {
    "DPOTrainer": dpo_trainer,
    "KTOTrainer": kto_trainer,
    "RewardTrainer": reward_trainer,
    "GRPOTrainer": grpo_trainer,
}

LABELS = ("_tag_names", "_name", "_paper")
"""Attributes of the classes, for a model's tags and card."""

EXCHANGED = ("create_model_from_path", "get_peft_model", "add_fused_lm_head")
"""Names that the modules of policies' trainers look up when a trainer is made."""

FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "add_fused_lm_head": ("model", "temperature", "cast_lm_head_to_fp32", "outputs"),
    "_use_triton": ("device",),
    "global_then_local_main_first": (),
}
"""Functions of `trl.trainer.utils`, with the arguments that are relied upon."""

HEAD = (
    *("hidden", "weight", "bias", "targets", "temperature", "chunk_size", "final_logit_softcapping", "logit_scale"),
    "outputs",
)
"""The arguments of `trl.trainer.utils._ChunkedLogProbFunction`, by place."""


def check() -> None:
    """Looks for every seam.

    Raises:
        ImportError: One is not there, or takes other arguments.
    """
    if Version(trl.__version__) < Version("1.16"):
        raise ImportError(
            f"poz.integrations.trl needs trl >= 1.16, whose fused LM head it replaces; found {trl.__version__}."
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
_TRLS = {name: getattr(utils, name) for name in ("_ChunkedLogProbFunction", "_use_triton", "add_fused_lm_head")}
"""What TRL has behind its names, from before the first exchange."""


def standing_head() -> Any:
    """What computes token log-probs under TRL now."""
    return utils._ChunkedLogProbFunction


def put_head(head: Any, add: Callable[..., None] | None, leave_out: Callable[..., bool] | None) -> None:
    """Puts a head under TRL, what gives it to a model, and whether masked tokens are left out; TRL's own for None."""
    theirs = _TRLS["add_fused_lm_head"]
    for name, module in sys.modules.copy().items():  # each trainer has a name of its own for it
        if name.startswith("trl.") and vars(module).get("add_fused_lm_head") in (theirs, _added[0]):
            vars(module)["add_fused_lm_head"] = add or theirs
    _added[0] = add or theirs
    utils._ChunkedLogProbFunction = _TRLS["_ChunkedLogProbFunction"] if head is None else head
    utils._use_triton = leave_out or _TRLS["_use_triton"]


_added = [_TRLS["add_fused_lm_head"]]
"""What stands behind that name now."""


def add_trls_head(model: Any, temperature: float = 1.0, *args: Any, **kwargs: Any) -> None:
    """TRL's own `add_fused_lm_head`."""
    _TRLS["add_fused_lm_head"](model, temperature, *args, **kwargs)


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


class Referred(Seamed):
    """The same for a policy, beside which there may be a reference; it defines `loss_of` and `cache_key` too."""

    _precompute_model_hash: Any

    @contextmanager
    def no_reference_pass(self: Any) -> Iterator[None]:
        """TRL takes the reference's log-probs from the batch."""
        known, self.precompute_ref_logps = self.precompute_ref_logps, True
        try:
            yield
        finally:
            self.precompute_ref_logps = known

    def trls_loss(self: Any, policy: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """TRL's own, with the reference's log-probs in the batch; tokens are counted by poz."""
        counted = self._total_train_tokens
        with self.no_reference_pass():
            loss = super()._compute_loss(policy, inputs, return_outputs)  # type: ignore[misc]
        self._total_train_tokens = counted
        return loss

    def loss_of(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        """The loss of a batch, and the model's outputs if they are asked for."""
        raise NotImplementedError

    def cache_key(self) -> AbstractContextManager[tuple[Any, ...]]:
        """What else than weights and data changes the reference's log-probs."""
        return nullcontext(())

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        known = self._precompute_model_hash
        with self.cache_key() as more:
            self._precompute_model_hash = (known, *more)
            try:
                return super()._precompute_ref_logps(dataset, name, batch_size)  # type: ignore[misc]
            finally:
                self._precompute_model_hash = known

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

    def _compute_kl_logps(self, model: Any, batch: Mapping[str, Any]) -> Any:
        self.kl_logps = super()._compute_kl_logps(getattr(model, "model", model), batch)  # type: ignore[misc]
        return self.kl_logps


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

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        return self.loss_of(model, inputs)


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

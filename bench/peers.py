"""Every implementation behind one small interface. One that is not here says why; none is left out silently."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

import poz
from poz.bench.inputs import BETA, CLIP, IGNORED, Inputs, dapo, for_jax
from poz.bench.shapes import Case, Mode

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.4")  # torch needs the rest, in the same process
Task = Literal["tokens", "dpo", "dapo", "mean"]
TASKS = {"dpo": ("tokens", "dpo", "mean"), "dapo": ("tokens", "dapo")}
"""Who takes part in a case of an objective."""
TRL_CHUNK = 32768
"""Vocabulary columns per tile in TRL's trainers."""


class Outcome(NamedTuple):
    """What a call gives: log-probs (N,) or a loss (), and the gradients of the mode, arrays of the library."""

    values: Any
    hidden: Any = None
    weight: Any = None


Run = Callable[[], Outcome]


@dataclass(frozen=True)
class Peer:
    """One implementation.

    Attributes:
        name: Shown in the table; ours begin with "poz".
        task: "tokens": log-probs of all tokens, any coefficients in the gradient; in a case of DAPO the loss is made of them
            in plain torch. "dpo": the mean DPO loss, whose gradient has the coefficients that the others are given. "dapo":
            DAPO's loss. "mean": the mean log-prob only, so no preference loss can be
            made of it; such a row is shown, and is no one's best peer.
        build: Takes the inputs and gives the function (hidden, weight) -> values; its own time is not measured.
        missing: Takes the case and the kind of device, and says why it cannot run there, or None.
        library: "torch" or "jax".
    """

    name: str
    task: Task
    build: Callable[[Inputs], Callable[[Any, Any], Any]]
    missing: Callable[[Case, str], str | None] = lambda case, device: None
    library: str = "torch"

    def serves(self, case: Case) -> bool:
        """Whether it has to do with a case at all."""
        return self.library == case.library and self.task in TASKS[case.objective]

    def available(self, case: Case, device: str) -> str | None:
        """None, or the reason why it cannot do this case."""
        try:
            return self.missing(case, device)
        except ImportError as error:
            return f"not installed: {error}"
        except Exception as error:  # a package that does not fit the versions here breaks in ways of its own
            return f"cannot be imported: {type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"

    def forward(self, inputs: Inputs) -> Run:
        """A call without gradients."""
        return self.prepare(inputs, "forward")

    def train(self, inputs: Inputs) -> Run:
        """A call with gradients of hidden states and head."""
        return self.prepare(inputs, "train")

    def frozen(self, inputs: Inputs) -> Run:
        """A call with the gradient of the hidden states."""
        return self.prepare(inputs, "frozen")

    def prepare(self, inputs: Inputs, mode: Mode) -> Run:
        """A call to time, everything around it done."""
        if self.library == "jax":
            compiled, arguments = self.compiled(inputs, mode)
            wait: Any = importlib.import_module("jax").block_until_ready
            return lambda: Outcome(*wait(compiled(*arguments)))
        function = self.build(inputs)
        hidden = inputs.hidden.detach().requires_grad_(mode != "forward")
        weight = inputs.weight.detach().requires_grad_(mode == "train")
        wanted = [tensor for tensor in (hidden, weight) if tensor.requires_grad]

        def run() -> Outcome:
            with torch.set_grad_enabled(mode != "forward"):
                values = function(hidden, weight)
            if mode == "forward":
                return Outcome(values)
            upstream = inputs.upstream.to(values.dtype) if self.task == "tokens" else None
            if self.task == "tokens" and inputs.case.objective == "dapo":
                return Outcome(values.detach(), *torch.autograd.grad(dapo(inputs, values), wanted))
            return Outcome(values.detach(), *torch.autograd.grad(values, wanted, upstream))

        return run

    def compiled(self, inputs: Inputs, mode: Mode) -> tuple[Any, tuple[Any, ...]]:
        """For JAX: the compiled function of a mode and its arguments."""
        return _compiled(self, inputs, mode)


@functools.lru_cache(maxsize=8)
def _compiled(peer: Peer, inputs: Inputs, mode: Mode) -> tuple[Any, tuple[Any, ...]]:
    import jax

    arrays = _arrays(inputs)
    function = peer.build(inputs)

    def values(hidden: Any, weight: Any) -> Any:
        return function(hidden, weight)

    def total(hidden: Any, weight: Any, upstream: Any) -> Any:
        made = values(hidden, weight)
        return ((made * upstream).sum() if peer.task == "tokens" else made), made

    def whole(hidden: Any, weight: Any, upstream: Any) -> Any:
        if mode == "forward":
            return (values(hidden, weight),)
        wanted = (0, 1) if mode == "train" else (0,)
        slopes, made = jax.grad(total, wanted, has_aux=True)(hidden, weight, upstream)
        return (made, *slopes)

    arguments = (arrays["hidden"], arrays["weight"], arrays["upstream"])
    return jax.jit(whole).lower(*arguments).compile(), arguments


@functools.lru_cache(maxsize=1)
def _arrays(inputs: Inputs) -> dict[str, Any]:
    return for_jax(inputs)


def _needs(module: str, gpu: bool = False) -> Callable[[Case, str], str | None]:
    def missing(case: Case, device: str) -> str | None:
        importlib.import_module(module)
        return "its kernels need a GPU" if gpu and device != "cuda" else None

    return missing


def _only_16_bit(case: Case, device: str) -> str | None:
    return (
        None
        if case.dtype in ("bfloat16", "float16")
        else f"differs from `poz` for 16-bit inputs only, not {case.dtype}"
    )


def _only_large(case: Case, device: str) -> str | None:
    return (
        None if device == "cuda" else "differs from `poz` only where the default of 1 GiB is too little; run on a GPU"
    )


def _only_forward(case: Case, device: str) -> str | None:
    if case.mode != "forward":
        return f"stores no logits, so it has nothing to make gradients of: forward only, not {case.mode}"
    return None if device == "cuda" else "a Triton kernel; run on a GPU"


def _ours(**options: Any) -> Callable[[Inputs], Callable[[Tensor, Tensor], Tensor]]:
    def build(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
        from poz.torch import linear_logps

        return lambda hidden, weight: linear_logps(hidden, weight, inputs.targets, **options)

    return build


def _in_the_loop(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    from poz.torch import fused_objective

    count, length = inputs.case.sequences
    pairs = count // 2
    zero = torch.zeros(pairs, device=inputs.hidden.device)
    targets, objective = inputs.targets.view(2, pairs, length), poz.zoo["dpo"].bind(beta=BETA)
    fields = {"ref_chosen": zero, "ref_rejected": zero}
    return lambda hidden, weight: (
        fused_objective(objective, hidden.view(2, pairs, length, -1), weight, targets, fields=fields).loss
    )


def _dapo_in_the_loop(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    from poz.torch import fused_objective

    shape = inputs.case.sequences
    objective = poz.dapo.bind(epsilon_low=CLIP[0], epsilon_high=CLIP[1])
    fields = {"old_logps": inputs.old.view(shape), "advantages": inputs.advantages}
    targets = inputs.targets.view(shape)
    return lambda hidden, weight: (
        fused_objective(objective, hidden.view(*shape, -1), weight, targets, fields=fields).loss
    )


def _logits(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """What trainers write: logits in the dtype of the inputs, float32 log-softmax, gather."""
    logps = (hidden @ weight.t()).float().log_softmax(-1)
    valid = targets != IGNORED
    return logps.gather(-1, targets.clamp(min=0)[:, None]).squeeze(-1) * valid


def _naive(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda hidden, weight: _logits(hidden, weight, inputs.targets)


def _naive_compiled(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    torch._dynamo.reset()
    compiled = torch.compile(_logits, dynamic=False)
    return lambda hidden, weight: compiled(hidden, weight, inputs.targets)


def _has_linear_cross_entropy(case: Case, device: str) -> str | None:
    has = hasattr(torch.nn.functional, "linear_cross_entropy") and hasattr(torch.nn, "LinearCrossEntropyOptions")
    return None if has else f"torch {torch.__version__} has none; it came with 2.13"


def _torch_chunked(reduction: str) -> Callable[[Inputs], Callable[[Tensor, Tensor], Tensor]]:
    def build(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
        functional: Any = torch.nn.functional
        module: Any = torch.nn
        sign = -1 if reduction == "none" else 1
        return lambda hidden, weight: sign * functional.linear_cross_entropy(
            hidden, weight, inputs.targets, reduction=reduction, ignore_index=IGNORED,
            options=module.LinearCrossEntropyOptions(),
        )  # fmt: skip

    return build


def _trl(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    """As TRL's trainers call it: on a GPU rows with a target, gathered by a mask, on a CPU all; GRPO's with entropies."""
    function = importlib.import_module("trl.kernels").ChunkedLogProbFunction
    more = ("entropy",) if inputs.case.objective == "dapo" else ()
    targets, rest = inputs.targets, (1.0, TRL_CHUNK, None, 1.0, more)

    def gathered(hidden: Tensor, weight: Tensor) -> Tensor:
        mask = targets != IGNORED
        logps: Tensor = function.apply(hidden[mask], weight, None, targets[mask], *rest)[0]
        return logps.new_zeros(mask.shape).masked_scatter(mask, logps)

    def dense(hidden: Tensor, weight: Tensor) -> Tensor:
        logps: Tensor = function.apply(hidden, weight, None, targets.clamp(min=0), *rest)[0]
        return logps.masked_fill(targets == IGNORED, 0)

    return gathered if inputs.hidden.is_cuda else dense


def _trl_logits(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    """Logits of a few completions at a time, as those trainers of TRL's do that have no head of their own."""
    selected = importlib.import_module("trl.trainer.utils").selective_log_softmax
    shape = inputs.case.sequences
    targets = inputs.targets.view(shape)

    def logps(hidden: Tensor, weight: Tensor) -> Tensor:
        parts = [
            selected(h @ weight.t(), t.clamp(min=0))
            for h, t in zip(hidden.view(*shape, -1).split(2), targets.split(2), strict=True)
        ]
        return dapo(inputs, torch.cat(parts).view(-1).float())

    return logps


def _liger_linear(reduction: str) -> Callable[[Inputs], Callable[[Tensor, Tensor], Tensor]]:
    def build(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
        module = importlib.import_module("liger_kernel.ops.fused_linear_cross_entropy")
        function = module.LigerFusedLinearCrossEntropyFunction
        sign = -1 if reduction == "none" else 1
        rest = (None, None, IGNORED, 0.0, 0.0, reduction)
        return lambda hidden, weight: sign * function.apply(hidden, weight, inputs.targets, *rest)[0]

    return build


def _liger_dpo(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    made = importlib.import_module("liger_kernel.chunked_loss").LigerFusedLinearDPOLoss
    loss = made(ignore_index=IGNORED, beta=BETA, use_ref_model=False, average_log_prob=False)
    shape = inputs.case.sequences
    return lambda hidden, weight: loss(weight, hidden.view(*shape, -1), inputs.targets.view(shape))[0]


def _liger_dapo(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    made = importlib.import_module("liger_kernel.chunked_loss").LigerFusedLinearGRPOLoss
    loss = made(
        beta=0.0, compiled=False, use_ref_model=False, epsilon_low=CLIP[0], epsilon_high=CLIP[1], loss_type="dapo"
    )
    shape = inputs.case.sequences
    targets, old = inputs.targets.view(shape), inputs.old.view(shape)
    there = targets != IGNORED
    rest = (targets.clamp(min=0), there, inputs.advantages)
    return lambda hidden, weight: loss(hidden.view(*shape, -1), weight, *rest, old_per_token_logps=old)[0]


def _cce(exact: bool) -> Callable[[Inputs], Callable[[Tensor, Tensor], Tensor]]:
    def build(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
        linear_cross_entropy = importlib.import_module("cut_cross_entropy").linear_cross_entropy
        newer = "accum_e_fp32" in inspect.signature(linear_cross_entropy).parameters
        options: dict[str, Any] = {"impl": "cce"}
        if exact:
            options = {"impl": "cce_exact"} if newer else {"impl": "cce", "filter_eps": None}
        return lambda hidden, weight: (
            -linear_cross_entropy(hidden, weight, inputs.targets, ignore_index=IGNORED, reduction="none", **options)
        )

    return build


def _quack(inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    chunked = importlib.import_module("quack.linear_cross_entropy").chunked_linear_cross_entropy
    return lambda hidden, weight: chunked(hidden, weight, inputs.targets, ignore_index=IGNORED, reduction="mean")


def _jax_ours(inputs: Inputs) -> Callable[[Any, Any], Any]:
    linear_logps = importlib.import_module("poz.jax").linear_logps
    targets = _arrays(inputs)["targets"]
    return lambda hidden, weight: linear_logps(hidden, weight, targets)


def _jax_naive(inputs: Inputs) -> Callable[[Any, Any], Any]:
    import jax
    import jax.numpy as jnp

    targets = _arrays(inputs)["targets"]

    def logps(hidden: Any, weight: Any) -> Any:
        made = jax.nn.log_softmax((hidden @ weight.T).astype(jnp.float32), -1)
        picked = jnp.take_along_axis(made, jnp.maximum(targets, 0)[:, None], 1)[:, 0]
        return jnp.where(targets == IGNORED, 0.0, picked)

    return logps


def _optax(inputs: Inputs) -> Callable[[Any, Any], Any]:
    import jax.numpy as jnp
    import optax

    targets = _arrays(inputs)["targets"]

    def logps(hidden: Any, weight: Any) -> Any:
        logits = (hidden @ weight.T).astype(jnp.float32)
        picked = -optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(targets, 0))
        return jnp.where(targets == IGNORED, 0.0, picked)

    return logps


def _tokamax(inputs: Inputs) -> Callable[[Any, Any], Any]:
    import jax.numpy as jnp

    loss = importlib.import_module("tokamax").linear_softmax_cross_entropy_loss
    targets = _arrays(inputs)["targets"]
    rows = jnp.asarray(inputs.rows.cpu().numpy())
    return lambda hidden, weight: loss(hidden[rows], targets[rows], weight.T, reduction="mean")


PEERS = (
    Peer("poz", "tokens", _ours()),
    Peer("poz 32GiB", "tokens", _ours(memory="32GiB"), _only_large),
    Peer("poz fast", "tokens", _ours(precision="fast"), _only_16_bit),
    Peer("poz fused", "tokens", _ours(implementation="fused"), _only_forward),
    Peer("poz in the loop", "dpo", _in_the_loop),
    Peer("naive", "tokens", _naive),
    Peer("naive compiled", "tokens", _naive_compiled),
    Peer("torch chunked", "tokens", _torch_chunked("none"), _has_linear_cross_entropy),
    Peer("trl", "tokens", _trl, _needs("trl.kernels")),
    Peer("liger", "tokens", _liger_linear("none"), _needs("liger_kernel.ops.fused_linear_cross_entropy", gpu=True)),
    Peer("liger dpo", "dpo", _liger_dpo, _needs("liger_kernel.chunked_loss")),
    Peer("poz dapo", "dapo", _dapo_in_the_loop),
    Peer("liger dapo", "dapo", _liger_dapo, _needs("liger_kernel.chunked_loss")),
    Peer("trl logits", "dapo", _trl_logits, _needs("trl.trainer.utils")),
    Peer("cce", "tokens", _cce(False), _needs("cut_cross_entropy", gpu=True)),
    Peer("cce exact", "tokens", _cce(True), _needs("cut_cross_entropy", gpu=True)),
    Peer("torch chunked mean", "mean", _torch_chunked("mean"), _has_linear_cross_entropy),
    Peer("liger mean", "mean", _liger_linear("mean"), _needs("liger_kernel.ops.fused_linear_cross_entropy", gpu=True)),
    Peer("quack mean", "mean", _quack, _needs("quack.linear_cross_entropy", gpu=True)),
    Peer("poz", "tokens", _jax_ours, _needs("poz.jax"), "jax"),
    Peer("naive", "tokens", _jax_naive, _needs("jax"), "jax"),
    Peer("optax", "tokens", _optax, _needs("optax"), "jax"),
    Peer("tokamax mean", "mean", _tokamax, _needs("tokamax"), "jax"),
)

"""TRL as it was: `DPOTrainer.dpo_loss`, which went by 0.29, and trainers that went by 1.14."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, TokenPairs, Unpaired
from poz.peers._library import Absent, Library

library = Library("TRL", "trl", before="1.14")


def _dpo_loss() -> Any:
    trainer = import_module("trl").DPOTrainer
    if not hasattr(trainer, "dpo_loss"):
        raise Absent("dpo_loss went by 0.29")
    return trainer.dpo_loss


def _trainer(name: str) -> Any:
    """A trainer's class, of the package or of its experimental ones."""
    folder = {"BCOTrainer": "bco", "NashMDTrainer": "nash_md", "XPOTrainer": "xpo"}[name]
    for module in (f"trl.experimental.{folder}", f"trl.trainer.{folder}_trainer"):
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue
    raise Absent(f"{name} went by 1.14")


def _call(
    loss_type: str, pairs: Pairs, beta: float, smoothing: float, kind: str = "REVERSE_KL", number: float = 0.05
) -> Any:
    """Its losses; `number` is α of a divergence, or the τ of DiscoPOP."""
    this = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"), args=SimpleNamespace(discopop_tau=number), reference_free=False,
        beta=beta, label_smoothing=smoothing, loss_type=loss_type, f_divergence_params={"alpha_divergence_coef": number},
        f_divergence_type=getattr(import_module("trl.trainer.dpo_config").FDivergenceType, kind),
    )  # fmt: skip
    return _dpo_loss()(this, pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected, loss_type)[0]


def _made(loss_type: str, smoothed: bool = False) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import torch

        _dpo_loss()
        try:
            _call(loss_type, Pairs(*[torch.zeros(1)] * 4), 0.1, 0.1)
        except ValueError as error:
            raise Absent(f"no loss_type='{loss_type}' in this version") from error

        def call(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Any:
            losses = _call(loss_type, pairs, beta, label_smoothing)
            return losses.mean() if "aot" in loss_type else losses

        return call if smoothed else lambda pairs, *, beta=0.1: call(pairs, beta=beta)

    return make


for loss_type, objective, smoothed, topic in [
    ("sigmoid", "dpo", True, "dpo_smoothing"),
    ("robust", "robust_dpo", True, ""),
    ("exo_pair", "exo", True, "exo_label"),
    ("hinge", "hinge", False, ""),
    ("aot", "aot", True, "aot_names"),
    ("aot_pair", "aot_unpaired", True, "aot_names"),
    ("aot_unpaired", "aot_unpaired", True, "aot_names"),
    ("apo_zero", "apo_zero", False, ""),
    ("apo_down", "apo_down", False, ""),
]:
    each = "mean" if "aot" in loss_type else "none"  # which loss of two sorted rows is of which pair nobody says
    library.loss(objective, f"DPOTrainer.dpo_loss, loss_type='{loss_type}'", topic=topic, reduction=each)(
        _made(loss_type, smoothed)
    )


@library.loss("discopop", "DPOTrainer.dpo_loss, loss_type='discopop'")
def discopop() -> Callable[..., Any]:
    _dpo_loss()
    return lambda pairs, *, beta=0.05, tau=0.05: _call("discopop", pairs, beta, 0.0, number=tau)


@library.loss(
    "f_dpo", "DPOTrainer.dpo_loss, f_divergence_type='alpha_divergence'", settings={"divergence": "alpha"},
    topic="f_dpo_alpha",
)  # fmt: skip
def f_dpo_alpha() -> Callable[..., Any]:
    _dpo_loss()
    return lambda pairs, *, beta=0.1, alpha=0.5: _call("sigmoid", pairs, beta, 0.0, "ALPHA_DIVERGENCE", alpha)


@library.loss("f_dpo", "DPOTrainer.dpo_loss, f_divergence_type='js_divergence'", settings={"divergence": "js"})
def f_dpo_js() -> Callable[..., Any]:
    _dpo_loss()
    return lambda pairs, *, beta=0.1: _call("sigmoid", pairs, beta, 0.0, "JS_DIVERGENCE")


@library.loss("bco", "BCOTrainer.bco_loss, its running mean held", given="δ as its running mean", topic="bco_baseline")
def bco() -> Callable[..., Any]:
    function = _trainer("BCOTrainer").bco_loss

    def call(batch: Unpaired, *, beta: float = 0.1, baseline: float = 0.0) -> Any:
        import torch

        this = SimpleNamespace(beta=beta, match_underlying_distribution=False, running=SimpleNamespace(mean=baseline))
        rows = [torch.where(which)[0] for which in (batch.desirable, ~batch.desirable)]
        sides = [x[row] for x in (batch.logps, batch.ref_logps) for row in rows]
        losses = function(this, *sides, None, None, do_train=False)[0]
        weights = 1.0 if batch.weights is None else batch.weights
        return losses[torch.argsort(torch.cat(rows))] * weights

    return call


@library.loss(
    "nash_md", "NashMDTrainer", does="charges a token for its own log-ratio alone", settings={"kl_credit": "token"},
    reduction="mean", constant=("ref_chosen",),
)  # fmt: skip
def nash_md() -> Callable[..., Any]:
    function = _trainer("NashMDTrainer")._compute_losses

    def call(pairs: TokenPairs, *, tau: float = 0.008) -> Any:
        mask = True if pairs.chosen_mask is None else pairs.chosen_mask
        logps, reference = pairs.chosen * mask, pairs.ref_chosen * mask
        return function(SimpleNamespace(beta=tau), logps, reference, pairs.label)[0]

    return call


@library.loss("xpo", "XPOTrainer", reduction="mean")
def xpo() -> Callable[..., Any]:
    function = _trainer("XPOTrainer")._compute_losses

    def call(pairs: Pairs, *, beta: float = 0.1, alpha: float = 1e-5) -> Any:
        this = SimpleNamespace(beta=beta, alpha=alpha, args=SimpleNamespace(loss_type="sigmoid"))
        sides = [x[:, None] for x in (pairs.chosen, pairs.rejected, pairs.ref_rejected, pairs.ref_chosen)]
        loss, _, optimism = function(this, *sides, pairs.chosen == pairs.chosen)
        return loss - optimism.mean() + alpha * pairs.calibration.mean()

    return call

"""TRL's DPOTrainer: `_compute_loss` for every loss_type and option, the mean over the pairs of the batch."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs, TokenPairs, Unpaired
from poz.peers._library import Absent, Library
from poz.peers._spread import with_lengths
from poz.peers._trl import Model, below, inputs, spread, trainer

library = Library("TRL", "trl", since="1.14")

DIVERGENCES = {
    "reverse_kl": "reverse_kl", "forward_kl": "forward_kl", "js": "js_divergence", "alpha": "alpha_divergence"
}  # fmt: skip


def _trainer(beta: float, loss_types: list[str], **attributes: Any) -> Any:
    plain = {
        "loss_weights": [1.0] * len(loss_types), "label_smoothing": 0.0, "f_divergence_type": "reverse_kl", "ld_alpha": None,
        "use_weighting": False, "precompute_ref_logps": True,
        "args": SimpleNamespace(discopop_tau=attributes.pop("discopop_tau", 0.05), gradient_checkpointing_kwargs=None),
    }  # fmt: skip
    return trainer(beta=beta, loss_types=loss_types, **plain | attributes)


def _of_pairs(pairs: Pairs, beta: float, *loss_types: str, **attributes: Any) -> Any:
    """With log-probs of the reference from before, as `precompute_ref_log_probs` has them."""
    from trl import DPOTrainer

    logps, mask = below(spread(pairs.chosen, pairs.chosen_len), spread(pairs.rejected, pairs.rejected_len))
    given = inputs(mask) | {"ref_chosen_logps": pairs.ref_chosen, "ref_rejected_logps": pairs.ref_rejected}
    return DPOTrainer._compute_loss(_trainer(beta, [*loss_types], **attributes), Model(logps, mask), given, False)


def _of_tokens(pairs: TokenPairs, beta: float, **attributes: Any) -> Any:
    from trl import DPOTrainer

    masks = {s: getattr(pairs, f"{s}_mask") for s in ("chosen", "rejected")}
    masks = {s: getattr(pairs, s) < 1 if mask is None else mask for s, mask in masks.items()}
    policy, reference = (below(*((getattr(pairs, of + s), m) for s, m in masks.items())) for of in ("", "ref_"))
    squares = None
    if pairs.chosen_collision is not None:
        squares, _ = below((pairs.chosen_collision, masks["chosen"]), (pairs.rejected_collision, masks["rejected"]))
    this = _trainer(beta, ["sigmoid"], precompute_ref_logps=False, ref_model=Model(*reference), **attributes)
    return DPOTrainer._compute_loss(this, Model(*policy, squares), inputs(policy[1]), False)


def _plain(loss_type: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        return lambda pairs, *, beta=0.1: _of_pairs(pairs, beta, loss_type)

    return make


def _smoothed(loss_type: str) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        def call(pairs: Pairs, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Any:
            return _of_pairs(pairs, beta, loss_type, label_smoothing=label_smoothing)

        return call

    return make


for loss_type, objective in [
    ("hinge", "hinge"), ("apo_zero", "apo_zero"), ("apo_down", "apo_down"), ("sigmoid_norm", "ln_dpo"),
]:  # fmt: skip
    library.loss(objective, f"DPOTrainer, loss_type='{loss_type}'", reduction="mean")(_plain(loss_type))

for loss_type, objective, topic in [
    ("robust", "robust_dpo", ""), ("exo_pair", "exo", "exo_label"), ("aot", "aot", "aot_names"),
    ("aot_unpaired", "aot_unpaired", "aot_names"),
]:  # fmt: skip
    library.loss(objective, f"DPOTrainer, loss_type='{loss_type}'", topic=topic, reduction="mean")(_smoothed(loss_type))

library.loss(
    "dpo", "DPOTrainer, loss_type='sigmoid'", does="ignores label_smoothing", settings={"label_smoothing": 0.0},
    topic="dpo_smoothing", reduction="mean",
)(_smoothed("sigmoid"))  # fmt: skip


@library.loss(
    "ipo", "DPOTrainer, loss_type='ipo'", does="means per token, of policy and reference",
    settings={"length_normalized": True}, topic="ipo_sum_or_mean", reduction="mean",
)  # fmt: skip
def ipo() -> Callable[..., Any]:
    return lambda pairs, *, tau=0.1: _of_pairs(with_lengths(pairs), tau, "ipo")


@library.loss("discopop", "DPOTrainer, loss_type='discopop'", topic="discopop_tau", reduction="mean")
def discopop() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.05, tau=0.05: _of_pairs(pairs, beta, "discopop", discopop_tau=tau)


@library.loss(
    "sft", "DPOTrainer, loss_type='sft'", does="mean over all chosen tokens of the batch",
    settings={"normalizer": "batch_tokens"}, topic="nll_normalizer", reduction="mean",
)  # fmt: skip
def sft() -> Callable[..., Any]:
    import torch

    def call(pairs: Pairs) -> Any:
        none = torch.zeros_like(pairs.chosen)
        return _of_pairs(with_lengths(pairs)._replace(rejected=none, ref_chosen=none, ref_rejected=none), 1.0, "sft")

    return call


@library.loss(
    "rpo_regularized", "DPOTrainer, loss_type=['sigmoid', 'sft'], loss_weights=[1, η]",
    does="the NLL is a mean over all chosen tokens of the batch, and not times β", reduction="mean",
    given="completions of one token",
)  # fmt: skip
def rpo_regularized() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 0.1, eta: float = 0.005) -> Any:
        return _of_pairs(pairs, beta, "sigmoid", "sft", loss_weights=[1.0, eta])

    return call


@library.loss(
    "f_dpo", "DPOTrainer, f_divergence_type, f_alpha_divergence_coef", does="its α is 1 - α",
    settings={"convention": "trl"}, topic="f_dpo_alpha", reduction="mean",
)  # fmt: skip
def f_dpo() -> Callable[..., Any]:
    def call(pairs: Pairs, *, beta: float = 0.1, divergence: str = "reverse_kl", alpha: float = 0.5) -> Any:
        return _of_pairs(
            pairs, beta, "sigmoid", f_divergence_type=DIVERGENCES[divergence], f_alpha_divergence_coef=alpha
        )

    return call


@library.loss(
    "ld_dpo", "DPOTrainer, ld_alpha", topic="ld_dpo_reference", reduction="mean",
    constant=("ref_chosen", "ref_rejected"),
)  # fmt: skip
def ld_dpo() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1, alpha=0.5: _of_tokens(pairs, beta, ld_alpha=alpha)


@library.loss(
    "wpo", "DPOTrainer, use_weighting=True", does="the weight is not clamped at 1",
    settings={"clamp": False}, topic="wpo_weight", reduction="mean",
    constant=("ref_chosen", "ref_rejected"),
)  # fmt: skip
def wpo() -> Callable[..., Any]:
    import trl.trainer.utils as utils

    if not hasattr(utils, "add_fused_lm_head"):
        raise Absent("Before 1.15 the weight is taken of logits, and Σ π² cannot be given beside the log-probs.")

    return lambda pairs, *, beta=0.01: _of_tokens(pairs, beta, use_weighting=True)


@library.loss(
    "bco", "DPOTrainer, loss_type='bco_pair'", given="each completion beside one that costs nothing, times its weight",
    topic="bco_baseline",
)  # fmt: skip
def bco() -> Callable[..., Any]:
    import torch

    def call(batch: Unpaired, *, beta: float = 0.1) -> Any:
        far = torch.full((1,), 1e6 / beta, dtype=batch.logps.dtype)
        losses = []
        for logp, ref, good in zip(batch.logps.split(1), batch.ref_logps.split(1), batch.desirable, strict=True):
            pair = Pairs(logp, -far, ref, 0 * far) if good else Pairs(0 * far, logp, -far, ref)
            losses.append(_of_pairs(pair, beta, "bco_pair"))
        return torch.stack(losses) * (1.0 if batch.weights is None else batch.weights)

    return call

"""The repository of balanced preference optimization, sunlin-ai/BPO: TRL's trainer of early 2025 with more losses."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs
from poz.peers._checkouts import made, reading
from poz.peers._library import Library

library = Library("BPO repository")
FILE = "train_dpo.py", "trl", "distutils"


def _loss(loss_type: str, ours: str = "beta", mean: bool = False) -> Callable[[], Callable[..., Any]]:
    """`dpo_loss`, of a β that poz calls `ours`; the mean, where a loss ties the batch together."""

    def make() -> Callable[..., Any]:
        with reading(*FILE):
            from train_dpo import CustomDPOTrainer

        def loss(pairs: Pairs, beta: float, label_smoothing: float = 0.0, tau: float = 0.05) -> Any:
            this = made(
                CustomDPOTrainer, loss_type=loss_type, beta=beta, label_smoothing=label_smoothing, reference_free=False,
                f_divergence_type="reverse_kl", accelerator=SimpleNamespace(device="cpu"), args=SimpleNamespace(discopop_tau=tau),
            )  # fmt: skip
            losses = this.dpo_loss(pairs.chosen, pairs.rejected, pairs.ref_chosen, pairs.ref_rejected)[0]
            return losses.mean() if mean else losses

        def smoothed(pairs: Pairs, *, beta: float, label_smoothing: float) -> Any:
            return loss(pairs, beta, label_smoothing)

        calls: dict[str, Callable[..., Any]] = {
            "beta": lambda pairs, *, beta: loss(pairs, beta),
            "tau": lambda pairs, *, tau: loss(pairs, tau),
            "beta, label_smoothing": smoothed,
            "beta, tau": lambda pairs, *, beta, tau: loss(pairs, beta, tau=tau),
        }
        return calls[ours]

    return make


BOTH = "beta, label_smoothing"
for loss_type, objective, ours, rest in [
    ("sigmoid", "dpo", BOTH, {"topic": "dpo_smoothing"}),
    ("robust", "robust_dpo", BOTH, {}),
    ("exo_pair", "exo", BOTH, {"topic": "exo_label"}),
    ("hinge", "hinge", "beta", {}),
    ("ipo", "ipo", "tau", {}),
    ("aot", "aot", BOTH, {"topic": "aot_names", "reduction": "mean"}),
    (
        "aot_pair",
        "aot_unpaired",
        BOTH,
        {"topic": "aot_names", "reduction": "mean", "does": "calls the unpaired loss `aot_pair`"},
    ),
    ("apo_zero", "apo_zero", "beta", {}),
    ("apo_down", "apo_down", "beta", {}),
    ("discopop", "discopop", "beta, tau", {}),
    ("DDPO", "dpop", "beta", {"does": "calls DPOP, with λ = 50, `DDPO`"}),
    ("Cal-DPO", "cal_dpo", "beta", {"topic": "cal_dpo_weight", "reduction": "mean"}),
]:
    library.loss(objective, f"dpo_loss, loss_type='{loss_type}'", **rest)(_loss(loss_type, ours, "reduction" in rest))

for loss_type, link, alpha in [
    ("balance_logistic_alpha", "logistic", 0.3),
    ("balance_hinge_alpha", "hinge", 0.3),
    ("balance_logistic", "logistic", 1.0),
    ("balance_hinge", "hinge", 1.0),
    ("balance_square_minus", "square", 1.0),
    ("balance_exponential", "exponential", 1.0),
    ("balance_truncated_quadratic", "truncated_quadratic", 1.0),
    ("balance_savage", "savage", 1.0),
]:
    settings = {"link": link, "alpha": alpha}
    does = "" if (link, alpha) == ("logistic", 0.3) else f"is its {link.replace('_', ' ')} loss at α = {alpha}"
    library.loss("bpo", f"dpo_loss, loss_type='{loss_type}'", settings=settings if does else {}, does=does)(
        _loss(loss_type)
    )


@library.fact(
    "The baseline of `bco_pair` moves by the mean of each batch, one number, however many pairs that has.",
    gives=[[], 0.25], objective="bco", topic="bco_baseline",
)  # fmt: skip
def bco_baseline() -> list[Any]:
    import torch

    with reading(*FILE):
        from train_dpo import CustomDPOTrainer

    given: list[Any] = []
    this = made(
        CustomDPOTrainer, loss_type="bco_pair", beta=1.0, label_smoothing=0.0, reference_free=False, f_divergence_type="",
        accelerator=SimpleNamespace(device="cpu"), running=SimpleNamespace(update=given.append, mean=0.0),
    )  # fmt: skip
    this.dpo_loss(torch.tensor([1.0, 0.0]), torch.zeros(2), torch.zeros(2), torch.zeros(2))
    return [list(given[0].shape), float(given[0])]


@library.fact(
    "`exo_pair` takes a label_smoothing of 0 for 1e-3, and keeps it.", gives=0.001, objective="exo", topic="exo_zero"
)
def exo_zero() -> float:
    import torch

    with reading(*FILE):
        from train_dpo import CustomDPOTrainer

    this = made(
        CustomDPOTrainer, loss_type="exo_pair", beta=1.0, label_smoothing=0.0, reference_free=False, f_divergence_type="",
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    this.dpo_loss(*[torch.zeros(1)] * 4)
    return this.label_smoothing  # type: ignore[no-any-return]

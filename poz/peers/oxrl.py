"""oxRL: a class for each algorithm, whose `compute_loss` takes log-probs, and its clipped surrogates."""

from collections.abc import Callable, Mapping
from typing import Any

from poz.families import Rollouts
from poz.peers._library import Library, taking
from poz.peers._spread import spread

library = Library("oxRL", "oxrl")
BETA = {"beta": "beta"}
REFERENCE = ("chosen", "rejected", "ref_chosen", "ref_rejected")


def _made(name: str, reference: bool = True, **settings: Any) -> Any:
    import oxrl.algs

    engines = ("model_engine", "optimizer", "ref_model_engine")[: 2 + reference]
    return getattr(oxrl.algs, name)(**dict.fromkeys(engines), **settings)


def _of_pairs(
    name: str, names: Mapping[str, str] = BETA, fields: tuple[str, ...] = REFERENCE, **settings: Any
) -> Callable[[], Callable[..., Any]]:
    """Their class by its name, with `names` of hyper-parameters, theirs to ours."""

    def make() -> Callable[..., Any]:
        _made(name, **settings)

        def call(batch: Any, **values: Any) -> Any:
            algorithm = _made(name, **settings, **{theirs: values[ours] for theirs, ours in names.items()})
            return algorithm.compute_loss(*(getattr(batch, field) for field in fields))[0]

        return taking(call, names.values())

    return make


ROWS: list[tuple[str, str, dict[str, Any], Callable[[], Callable[..., Any]]]] = [
    ("DPO", "dpo", {}, _of_pairs("DPO")),
    ("CDPO", "dpo", {}, _of_pairs("CDPO", BETA | {"label_smoothing": "label_smoothing"})),
    ("RobustDPO", "robust_dpo", {"does": "adds the loss of the flipped pair"},
     _of_pairs("RobustDPO", BETA | {"label_smoothing": "label_smoothing"})),
    ("IPO", "ipo", {"topic": "ipo_sum_or_mean"}, _of_pairs("IPO", {"beta": "tau"})),
    ("Hinge", "hinge", {}, _of_pairs("Hinge")),
    ("RDPO", "r_dpo", {"does": "the opposite sign of α", "topic": "r_dpo_sign"},
     _of_pairs("RDPO", BETA | {"alpha": "alpha"}, (*REFERENCE, "chosen_len", "rejected_len"))),
    ("CalDPO", "cal_dpo", {}, _of_pairs("CalDPO", BETA | {"caldpo_lambda": "calibration_weight"})),
    ("BetaDPO", "beta_dpo",
     {"does": "has a β for each pair, by its own gap, with a gradient", "topic": "beta_dpo_gap"},
     _of_pairs("BetaDPO", BETA | {"betadpo_alpha": "alpha"})),
    ("HDPO", "h_dpo", {}, _of_pairs("HDPO", BETA | {"hdpo_alpha": "alpha"})),
    ("MinorDPO", "minor_dpo", {}, _of_pairs("MinorDPO")),
    ("DPOP", "dpop", {}, _of_pairs("DPOP", BETA | {"dpop_lambda": "penalty"})),
    ("DPOShift", "dpo_shift", {}, _of_pairs("DPOShift", BETA | {"shift_lambda": "shift"})),
    ("DrDPO", "dr_dpo", {}, _of_pairs("DrDPO", BETA | {"beta_prime": "robustness"})),
    ("ChiPO", "chi_po", {"does": "holds a within ±20 inside of e^a"}, _of_pairs("ChiPO")),
    ("BPO", "bpo", {}, _of_pairs("BPO", BETA | {"balance_factor": "alpha"})),
    ("EXO", "exo", {}, _of_pairs("EXO")),
    ("DiscoPOP", "discopop", {"topic": "discopop_tau"}, _of_pairs("DiscoPOP", BETA | {"discopop_tau": "tau"})),
    ("AOT", "aot_unpaired", {"topic": "aot_names"}, _of_pairs("AOT")),
    ("FDPO, fdpo_divergence='reverse_kl'", "f_dpo", {}, _of_pairs("FDPO")),
    ("FDPO, fdpo_divergence='forward_kl'", "f_dpo",
     {"does": "adds β e^-a to the reward βa in place of taking -β e^-a", "topic": "focal_names",
      "settings": {"divergence": "forward_kl"}}, _of_pairs("FDPO", fdpo_divergence="forward_kl")),
    ("FDPO, fdpo_divergence='js_divergence'", "f_dpo",
     {"does": "does not multiply log(1 + e^a) by β", "topic": "focal_names", "settings": {"divergence": "js"}},
     _of_pairs("FDPO", fdpo_divergence="js_divergence")),
    ("FDPO, fdpo_divergence='alpha_divergence'", "f_dpo",
     {"does": "ignores β", "topic": "f_dpo_alpha", "settings": {"divergence": "alpha"}},
     _of_pairs("FDPO", BETA | {"fdpo_alpha": "alpha"}, fdpo_divergence="alpha_divergence")),
    ("GPO", "gpo_link", {}, _of_pairs("GPO")),
    *((f"GPO, gpo_loss_type='{link}'", "gpo_link", {"settings": {"link": link}}, _of_pairs("GPO", gpo_loss_type=link))
      for link in ("truncated_quadratic", "savage", "logistic")),
    ("APO, plus 1", "apo_zero", {"given": "1, which it leaves out, is added"},
     lambda: lambda pairs, *, beta: 1 + _of_pairs("APO")()(pairs, beta=beta)),
    ("APO, apo_mode='down', plus 1", "apo_down", {"given": "1, which it leaves out, is added"},
     lambda: lambda pairs, *, beta: 1 + _of_pairs("APO", apo_mode="down")()(pairs, beta=beta)),
]  # fmt: skip
for name, objective, rest, made in ROWS:
    library.loss(objective, name, reduction="mean", **rest)(made)


def _tokens(logps: Any, lengths: Any) -> tuple[Any, Any, Any]:
    """Logits, targets and mask, as its classes are given them."""
    logits, labels = spread(logps, lengths)
    logits, labels = logits[:, :-1].contiguous(), labels[:, 1:].contiguous()
    return logits, labels.clamp(min=0), (labels == 0).to(logits.dtype)


@library.loss("simpo", "SimPO", topic="simpo_margin", reduction="mean")
def _simpo() -> Callable[..., Any]:
    def call(pairs: Any, *, beta: float, gamma: float | None, gamma_beta_ratio: float | None) -> Any:
        ratio = 0.25 if gamma_beta_ratio is None else gamma_beta_ratio
        simpo = _made("SimPO", reference=False, beta=beta, gamma=ratio * beta if gamma is None else gamma)
        sides = (pairs.chosen, pairs.chosen_len), (pairs.rejected, pairs.rejected_len)
        return simpo.compute_loss(*(simpo.compute_logps(*_tokens(*side)) for side in sides))[0]

    return call


@library.loss("alpha_po", "AlphaPO", reduction="mean")
def _alpha_po() -> Callable[..., Any]:
    def call(pairs: Any, *, beta: float, gamma: float, alpha: float) -> Any:
        alpha_po = _made("AlphaPO", reference=False, beta=beta, gamma=gamma, alpha=alpha)
        sides = (pairs.chosen, pairs.chosen_len), (pairs.rejected, pairs.rejected_len)
        return alpha_po.compute_loss(*(alpha_po.compute_logps(*_tokens(*side)) for side in sides))[0]

    return call


@library.loss(
    "cpo", "CPO", does="NLL over all tokens of the batch", settings={"nll": "batch_tokens"}, topic="nll_normalizer",
    reduction="mean",
)  # fmt: skip
def _cpo() -> Callable[..., Any]:
    def call(pairs: Any, *, beta: float, nll_weight: float, label_smoothing: float) -> Any:
        cpo = _made("CPO", reference=False, beta=beta, cpo_alpha=nll_weight, label_smoothing=label_smoothing)
        return cpo.compute_loss(pairs.chosen, pairs.rejected, *_tokens(pairs.chosen, pairs.chosen_len))[0]

    return call


@library.loss(
    "orpo", "ORPO", does="NLL over all tokens of the batch", settings={"nll": "batch_tokens"},
    topic="orpo_nll", reduction="mean",
)  # fmt: skip
def _orpo() -> Callable[..., Any]:
    def call(pairs: Any, *, odds_weight: float) -> Any:
        orpo = _made("ORPO", reference=False, beta=odds_weight)
        lengths = pairs.chosen_len, pairs.rejected_len
        return orpo.compute_loss(pairs.chosen, pairs.rejected, *lengths, *_tokens(pairs.chosen, lengths[0]))[0]

    return call


@library.loss("sft", "SFT", reduction="sum")
def _sft() -> Callable[..., Any]:
    return lambda pairs: _made("SFT", reference=False).compute_loss(*_tokens(pairs.chosen, pairs.chosen_len))


def _surrogate(variant: str, kl: bool) -> Callable[[], Callable[..., Any]]:
    def make() -> Callable[..., Any]:
        import torch
        from oxrl.algs.losses import get_loss_fn

        def call(rollouts: Rollouts, **values: Any) -> Any:
            logps, mask, advantages = rollouts.logps, rollouts.mask, rollouts.token_advantages
            each = rollouts.advantages[:, None].expand(logps.shape) if advantages is None else advantages
            return get_loss_fn(variant)(
                logps, logps.detach() if rollouts.old_logps is None else rollouts.old_logps, each,
                torch.ones_like(logps) if mask is None else mask, None, rollouts.ref_logps, values["epsilon_low"],
                values["epsilon_high"], 0.0, values.get("kl_weight", 0.0),
            )[0]  # fmt: skip

        return taking(call, ("epsilon_low", "epsilon_high", "kl_weight")[: 2 + kl])

    return make


for variant, objective, rest in [
    ("sgrpo", "dapo", {}),
    ("gspo", "gspo", {}),
    ("cispo", "cispo", {"topic": "cispo_cap"}),
]:
    library.loss(objective, f"get_loss_fn('{variant}')", reduction="mean", constant=("old_logps", "ref_logps"), **rest)(
        _surrogate(variant, kl=variant != "gspo")
    )

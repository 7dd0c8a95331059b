"""A factor of exactly 0 in the data removes an infinity, in every backend and in the reference; a NaN stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz
import poz.reference

INF = np.inf


def numbers(*values):
    return np.array(values, dtype=float)


# Pair or token 1 has a factor of 0 and is impossible on one side; what is left has an ordinary loss.
TOKENS = {
    "chosen": np.array([[-1.0, -INF, -0.5], [-1.0, -2.0, -0.3]]),
    "rejected": np.array([[-2.0, -1.0, -0.7], [-0.4, -INF, -INF]]),
    "ref_chosen": np.array([[-1.1, -2.0, -0.2], [-0.9, -1.0, -0.3]]),
    "ref_rejected": np.array([[-1.0, -1.5, -0.2], [-0.9, -1.0, -0.6]]),
    "chosen_weights": np.array([[1.0, 0.0, 0.5], [1.0, 1.0, 1.0]]),
    "rejected_weights": np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]),
}
SUMS = {
    "chosen": numbers(-3.0, -INF, -2.0, -INF),
    "rejected": numbers(-4.0, -2.0, -INF, -1.0),
    "ref_chosen": numbers(-3.5, -2.5, -1.0, -1.0),
    "ref_rejected": numbers(-3.0, -2.0, -5.0, -1.0),
}
CERTAIN = {
    "chosen": np.array([[-INF, -1.0], [-1.0, -0.5]]),
    "rejected": np.array([[-0.2, -1.0], [-0.1, -0.5]]),
    "ref_chosen": np.array([[-1.0, -1.0], [-1.0, -0.5]]),
    "ref_rejected": np.array([[-0.3, -1.0], [-1.0, -0.5]]),
}
RATED = {
    "chosen": numbers(2.0, -INF, 0.5),
    "rejected": numbers(1.0, 3.0, 0.0),
    "strength": numbers(-INF, -INF, 0.0),
}
CASES = {
    "tis_dpo: a token of weight 0": ("tis_dpo", TOKENS, {}),
    "sampo: a token that is not drawn": ("sampo", TOKENS, {}),
    "gr_dpo: a group of weight 0": ("gr_dpo", {**SUMS, "annotator": np.array([0, 1, 0, 1])}, {"weights": (1.0, 0.0)}),
    "odpo: a margin of 0": ("odpo", {**SUMS, "margin": numbers(2.0, 0.0, 0.0, 0.0)}, {}),
    "wpo: a weight of 0": ("wpo", CERTAIN, {"collision": False, "beta": 0.3}),
    "wpo: a weight of 0, smoothed": ("wpo", CERTAIN, {"collision": False, "beta": 0.3, "label_smoothing": 0.2}),
    "aqfl: the hinge has weight 0 beside an infinite spread": ("aqfl", SUMS, {"beta": 0.3}),
    "adaptive_margin: λ = 0": ("adaptive_margin", RATED, {"margin_scale": 0.0}),
    "alpha_dpo: α = 0": (
        "alpha_dpo",
        {**SUMS, "chosen_len": numbers(1, 2, 3, 1), "rejected_len": numbers(2, 2, 1, 4)},
        {"alpha": 0.0},
    ),
}
every_case = pytest.mark.parametrize(("name", "fields", "params"), CASES.values(), ids=CASES)


def by_reference(name, fields, params):
    return getattr(poz.reference, name)(**fields, **params)


def by_numpy(name, fields, params):
    with np.errstate(all="ignore"):
        return poz.zoo[name](poz.zoo[name].family(**fields), **params), {}


def by_torch(name, fields, params):
    given = {key: torch.tensor(x, requires_grad=x.dtype.kind == "f") for key, x in fields.items()}
    losses = poz.zoo[name](poz.zoo[name].family(**given), **params)
    scores = [key for key in fields if key in ("chosen", "rejected", "logps")]
    slopes = torch.autograd.grad(losses.sum(), [given[key] for key in scores])
    return losses.detach().numpy(), {key: x.numpy() for key, x in zip(scores, slopes, strict=True)}


def by_jax(name, fields, params):
    with jax.enable_x64(True):
        given = {key: jnp.asarray(x) for key, x in fields.items()}
        scores = {key: given[key] for key in ("chosen", "rejected") if key in given}
        losses, back = jax.vjp(lambda s: poz.zoo[name](poz.zoo[name].family(**{**given, **s}), **params), scores)
        (slopes,) = back(jnp.ones_like(losses))
        return np.asarray(losses), {key: np.asarray(x) for key, x in slopes.items()}


def far(name, fields, params):
    """The limit: 1e60 nats in place of an infinity, whose square still is a number; by the reference."""
    near = {key: np.where(np.isinf(x), -1e60, x) if x.dtype.kind == "f" else x for key, x in fields.items()}
    losses, slopes = by_reference(name, near, params)
    return np.where(losses > 1e50, INF, losses), slopes


@every_case
@pytest.mark.parametrize("run", [by_reference, by_numpy, by_torch, by_jax])
def test_removes_an_infinity(run, name, fields, params):
    losses, slopes = run(name, fields, params)
    wanted, wanted_slopes = far(name, fields, params)
    np.testing.assert_allclose(losses, wanted, rtol=1e-12)
    assert np.isfinite(losses).any()
    for key in slopes.keys() & {"chosen", "rejected"}:
        np.testing.assert_allclose(slopes[key], wanted_slopes[key], rtol=1e-12, atol=1e-14, err_msg=key)


@every_case
@pytest.mark.parametrize("run", [by_reference, by_numpy, by_torch, by_jax])
def test_keeps_a_nan(run, name, fields, params):
    unknown = {key: np.where(np.isinf(x), np.nan, x) if x.dtype.kind == "f" else x for key, x in fields.items()}
    losses, _ = run(name, unknown, params)
    there = {key: np.isnan(unknown[key]) for key in ("chosen", "rejected")}
    of = np.logical_or(*(x.any(axis=tuple(range(1, x.ndim))) for x in there.values()))
    assert np.isnan(losses[of]).all()


PLAYED = {
    "chosen": np.array([[-1.0, -INF, -0.5], [0.0, -2.0, -0.3]]),
    "ref_chosen": np.array([[-1.1, -2.0, -0.2], [-0.9, -1.0, -INF]]),
}
OF_SAMPLES = {
    "no constraint, and a draw": ({**PLAYED, "label": numbers(0.5, 0.5)}, {"tau": 0.0}),
    "a certain token beside one that only the policy has": ({**PLAYED, "label": numbers(1.0, 0.0)}, {"kl_credit": "sequence"}),
    "charged from a token on": ({**PLAYED, "label": numbers(1.0, 0.0)}, {"kl_credit": "to_go"}),
    "its own": ({**PLAYED, "label": numbers(0.5, 0.0)}, {"kl_credit": "token", "tau": 0.0}),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "params"), OF_SAMPLES.values(), ids=OF_SAMPLES)
@pytest.mark.parametrize("run", [by_reference, by_numpy, by_torch, by_jax])
def test_removes_an_infinity_of_what_was_sampled(run, fields, params):
    """REINFORCE multiplies a log-prob and an advantage: of 0 and an infinity nothing is left, whichever is which."""
    losses, _ = run("nash_md", fields, params)
    wanted, _ = far("nash_md", fields, params)
    wanted = np.where(wanted < -1e50, -INF, wanted)
    np.testing.assert_allclose(losses, wanted, rtol=1e-12)


REGRESSED = {
    "dno: hard labels": ("dno", {**SUMS, "margin": numbers(0, 1, 2, 3)}, {"target": "hard"}),
    "dno: soft labels": ("dno", {**SUMS, "margin": numbers(0, 1, -2, 3)}, {"target": "soft"}),
    "reward_aware_po: a margin of 0": (
        "reward_aware_po",
        {**SUMS, "margin": numbers(0, 0, 0, 0)},
        {"distance": "backward_kl"},
    ),
    "reward_aware_po: of any sign": (
        "reward_aware_po",
        {**SUMS, "margin": numbers(1, 2, -3, -1)},
        {"distance": "backward_kl"},
    ),
}
IMPOSSIBLE = {"logps": np.array([[-1.0, -2.0, -INF]]), "ref_logps": np.array([[-1.0] * 3])}
LISTS = {
    "plackett_luce: the last": ("plackett_luce", IMPOSSIBLE, {}),
    "ranklist: the last": ("ranklist", IMPOSSIBLE, {"aggregate": "lse"}),
    "alpha_po: α = 0": (
        "alpha_po",
        {"chosen": SUMS["rejected"], "rejected": SUMS["chosen"], **dict.fromkeys(("chosen_len", "rejected_len"), np.ones(4))},
        {"alpha": 0.0},
    ),
    "s_dpo: one of two": ("s_dpo", IMPOSSIBLE, {}),
    "s_dpo: the only one": ("s_dpo", {name: x[:, 1:] for name, x in IMPOSSIBLE.items()}, {}),
    "exo_k: one that the policy never writes": (
        "exo_k",
        {**IMPOSSIBLE, "scores": np.array([[2.0, 1.0, 0.0]])},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "params"), [*REGRESSED.values(), *LISTS.values()], ids=[*REGRESSED, *LISTS])
@pytest.mark.parametrize("run", [by_reference, by_numpy, by_torch])
def test_the_limit_of_an_infinite_margin(run, name, fields, params):
    losses, slopes = run(name, fields, params)
    wanted, wanted_slopes = far(name, fields, params)
    np.testing.assert_allclose(losses, wanted, rtol=1e-12)
    for key in slopes.keys() & {"chosen", "rejected", "logps"}:
        np.testing.assert_allclose(slopes[key], wanted_slopes[key], rtol=1e-12, atol=1e-14, err_msg=key)


def test_rspo_without_its_reverse_kl_is_that_of_the_forward_kl():
    """κ = 0 removes the square of an infinite log-ratio, and its slope."""
    logps = torch.tensor([[-1.0, -INF, -2.0]], dtype=torch.float64)
    found = []
    for params in ({"regularizer": "forward_reverse_kl", "reverse_weight": 0.0}, {"regularizer": "forward_kl"}):
        leaf = logps.clone().requires_grad_()
        others = (torch.full((1, 3), x, dtype=torch.float64) for x in (-1.5, -1.0, 0.4))
        samples = poz.Samples(leaf, *others)
        (slope,) = torch.autograd.grad(poz.rspo(samples, eta=2.0, **params).sum(), leaf)
        found.append(slope)
    assert torch.isfinite(found[1][0, [0, 2]]).all()
    torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)

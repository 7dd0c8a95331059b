"""The float64 references, against the literal formulas in 50 digits and against differences of themselves."""

import ast
import inspect
import sys
from pathlib import Path

import literal
import numpy as np
import pytest

import poz
import poz.reference
from poz.reference import _stable

NAMES = ("dpo", "ipo", "simpo", "pro", "cpl", "cpl_ranking", "lcpo", "vpo", "inpo", "mnpo")
FIRST = len(NAMES)
NAMES += tuple(name for name in literal.FORMULAS if name not in NAMES)
LISTS = ("pro", "cpl_ranking", "exo_k", "tpo", "rrhf")
TOKENS = ("cpl", "wpo", "tis_dpo")
SEEDS = range(24)
SIDES = ("chosen", "rejected", "ref_chosen", "ref_rejected")
LENGTHS = ("chosen_len", "rejected_len")
OPPONENTS = ("opponents_chosen", "opponents_rejected")
# data that is no log-prob: values to choose from
DATA = {
    "chosen_len": [0, 1, 3, 8, 17],
    "rejected_len": [0, 1, 3, 8, 17],
    "lengths": [0, 1, 3, 8, 17],
    "label": [0.0, 0.25, 0.5, 1.0],
    "margin": [0.0, 0.25, 1.0, 2.75],
    "entropy": [1 / 64, 0.25, 0.75, 1.0],
    "chosen_weights": [0.0, 0.75, 1.0, 1.5],
    "rejected_weights": [0.0, 0.75, 1.0, 1.5],
}
LOGPS = {*SIDES, *OPPONENTS, "calibration", "ref_calibration", "logps", "ref_logps"}
EPS = np.finfo(float).eps

every_objective = pytest.mark.parametrize("name", NAMES)
every_seed = pytest.mark.parametrize("seed", SEEDS)


def positive(rng):
    return float(10.0 ** rng.uniform(-1.5, 1.0))


def closed(low, high):
    return lambda rng: float(rng.choice([low, high, rng.uniform(low, high), rng.uniform(low, high)]))


def half_open(low, high):
    return lambda rng: float(rng.choice([high, rng.uniform(low, high), rng.uniform(low, high)]))


def one_of(*options):
    return lambda rng: options[rng.integers(len(options))]


LINKS = ("exponential", "truncated_quadratic", "savage", "square", "logistic", "hinge")
DOMAINS = {
    "dpo": {"beta": positive, "label_smoothing": closed(0.0, 0.5)},
    "ipo": {"tau": positive, "length_normalized": one_of(True, False)},
    "simpo": {
        "beta": positive,
        "gamma": one_of(None, 0.0, 0.7, 3.0),
        "gamma_beta_ratio": one_of(None, 0.0, 0.55),
        "label_smoothing": closed(0.0, 0.5),
        "smoothing": one_of("trl", "swap"),
        "link": one_of("logistic", "logistic", "hinge"),
    },
    "pro": {"sft_weight": closed(0.0, 2.0), "temperature": one_of("reward_gap", "none")},
    "cpl": {
        "alpha": positive,
        "bias": half_open(0.05, 1.0),
        "discount": half_open(0.05, 1.0),
        "regularizer": one_of("none", "kl"),
        "bc_weight": closed(0.0, 2.0),
        "bc_data": one_of("all", "preferred"),
    },
    "cpl_ranking": {"alpha": positive, "bias": half_open(0.05, 1.0), "regularizer": one_of("none", "kl")},
    "vpo": {"beta": positive, "alpha": closed(0.0, 1.0), "sign": one_of(1, -1)},
    "inpo": {"eta": positive, "tau": closed(0.0, 1.0), "length_normalized": one_of(True, False)},
    "mnpo": {
        "beta": positive,
        "eta": positive,
        "tau": closed(0.0, 1.0),
        "weights": one_of(None, (0.6, 0.4, 0.0), (1.0, 0.5, 0.25), (0.8,)),
        "distance": one_of("squared", "backward_kl"),
        "target": one_of("constant", "reward", "hard"),
        "length_normalized": one_of(True, False),
    },
    "slic_hf": {"delta": closed(0.0, 3.0), "regularization_weight": closed(0.0, 1.0)},
    "hinge": {"beta": positive},
    "robust_dpo": {"beta": positive, "label_smoothing": one_of(0.0, 0.1, 0.3, 0.49)},
    "exo": {"beta": positive, "label_smoothing": one_of(1e-3, 0.1, 0.5, 1e-9)},
    "exo_k": {"beta": positive, "reward_beta": positive},
    "discopop": {"beta": positive, "tau": half_open(0.03, 1.0)},
    "odpo": {"beta": positive, "alpha": positive, "offset": one_of("log", "linear")},
    "r_dpo": {"beta": positive, "alpha": closed(0.0, 1.0)},
    "ln_dpo": {"beta": positive},
    "dpo_gamma": {"beta": positive, "gamma": closed(-1.0, 2.0)},
    "spce": {"beta": positive},
    "mm_dpo": {"beta": positive, "w": closed(0.0, 2.0), "k": positive},
    "wpo": {
        "beta": positive,
        "label_smoothing": closed(0.0, 0.5),
        "collision": one_of(True, False),
        "clamp": one_of(True, False),
    },
    "dpop": {"beta": positive, "penalty": closed(0.0, 50.0)},
    "chi_po": {"beta": positive, "clip": one_of(None, 0.5, 6.0, 30.0)},
    "cal_dpo": {"beta": positive, "calibration_weight": closed(0.0, 2.0)},
    "rebel": {"eta": positive},
    "reward_aware_po": {
        "beta": positive,
        "eta": positive,
        "distance": one_of("squared", "backward_kl", "forward_kl"),
    },
    "f_dpo": {
        "beta": positive,
        "divergence": one_of("reverse_kl", "forward_kl", "js", "alpha", "alpha"),
        "alpha": one_of(0.01, 0.3, 0.5, 0.95),
        "convention": one_of("paper", "trl"),
    },
    "gpo_link": {"beta": positive, "link": one_of(*LINKS)},
    "dove": {"beta": positive},
    "dno": {"eta": positive, "target": one_of("soft", "hard")},
    "xpo": {"beta": positive, "alpha": closed(0.0, 1.0)},
    "selm": {"beta": positive, "alpha": closed(0.0, 1.0)},
    "cpo": {"beta": positive, "nll_weight": closed(0.0, 2.0), "nll": one_of("mean", "sum")},
    "orpo": {"odds_weight": closed(0.0, 2.0)},
    "alpha_po": {"beta": positive, "alpha": one_of(-1.5, -0.1, 0.0, 1e-9, 0.25, 2.5), "gamma": closed(0.0, 2.0)},
    "tpo": {
        "beta": positive,
        "nll_weight": closed(0.0, 2.0),
        "nll": one_of("mean", "batch_tokens", "sum"),
        "length_normalized": one_of(True, False),
        "gamma": closed(0.0, 2.0),
    },
    "sim_npo": {
        "beta": positive,
        "gamma": closed(0.0, 2.0),
        "forget_weight": closed(0.0, 2.0),
        "retain_weight": closed(0.0, 2.0),
    },
    "rrhf": {"weight": closed(0.0, 2.0), "length_power": closed(0.0, 1.5), "nll": one_of("mean", "sum")},
    "repo": {"gamma": closed(0.0, 2.0)},
    "simper": {},
    "arpo": {
        "beta": positive,
        "nll_weight": closed(0.0, 2.0),
        "scale": half_open(0.5, 2.0),
        "rate": positive,
        "detach": one_of(True, False),
    },
    "dpo_shift": {"beta": positive, "shift": closed(0.0, 1.0)},
    "minor_dpo": {"beta": positive},
    "bpo": {"beta": positive, "alpha": positive, "link": one_of("exponential", *LINKS)},
    "hypo": {"beta": positive},
    "h_dpo": {"beta": positive, "alpha": positive},
    "dil": {"loss": one_of("lsif", "ukl", "bce"), "length_normalized": one_of(True, False)},
    "rpo_regularized": {"beta": positive, "eta": closed(0.0, 1.0)},
    "modpo": {"beta": positive, "weight": half_open(0.05, 1.0)},
    "alt_po": {"beta": positive},
    "padll": {"beta": positive},
    "cell": {"beta": positive},
    "rainbow_po": {
        "beta": positive,
        "alpha": closed(0.0, 1.0),
        "h": closed(0.0, 1.0),
        "kappa": one_of(None, 0.29, 1.0),
    },
    "mallows_dpo": {"beta": positive, "kappa": positive, "link": one_of("logistic", "cauchy")},
    "tis_dpo": {"beta": positive},
    "lcpo": {
        "base": one_of("dpo", "ipo", "simpo", "vpo", "inpo", "mnpo"),
        "reliability": one_of(0.0, 0.5, 0.73, 1.0, (0.9, 0.05), (1.0, 0.6), (0.8,)),
        "mode": one_of("gibbs", "weighted"),
    },
}


def draw_params(rng, name):
    params = {key: domain(rng) for key, domain in DOMAINS[name].items()}
    if "tau" in params and "eta" in params:
        params["tau"] *= params["eta"]  # drawn as the share τ/η in [0, 1]
    if params.get("gamma_beta_ratio") is not None and params["gamma"] is not None:
        params["gamma_beta_ratio"] = None
    if name == "simpo" and params["link"] == "hinge":
        params["label_smoothing"] = 0.0
    if name == "mnpo" and params["target"] == "hard":
        params["distance"] = "backward_kl"
    if name == "lcpo":
        params["base_params"] = draw_params(rng, params["base"])
    return params


def grid(rng, *shape, low=-40.0, high=0.0):
    """Multiples of 1/64, so that differences of log-probs are exact and only the objective's arithmetic rounds."""
    return rng.integers(int(64 * low), int(64 * high), shape, endpoint=True) / 64.0


def draw_pairs(rng, name, params, size=4):
    fields = {side: grid(rng, size) for side in (SIDES[:2] if name == "simpo" else SIDES)}
    if name == "simpo" or params.get("length_normalized"):
        fields |= {side: rng.choice([0, 1, 3, 8, 17], size) for side in LENGTHS}
    if name == "vpo":
        count = rng.integers(1, 4)
        fields |= {"calibration": grid(rng, count), "ref_calibration": grid(rng, count)}
    if name == "inpo":
        fields |= {side: grid(rng, 1, size) for side in OPPONENTS}
    if name == "mnpo":
        count = len(params.get("weights") or range(rng.integers(1, 4)))
        fields |= {side: grid(rng, count, size) for side in OPPONENTS}
        fields["margin"] = grid(rng, size, low=-3.0, high=3.0)
    if params.get("link") == "hinge":
        # keep the finite differences away from the kink: there the logistic loss is softplus(-1)
        z = -np.log(np.expm1(poz.reference.simpo(**fields, **{**params, "link": "logistic"})[0]))
        fields["chosen"] = np.where(np.abs(1.0 - z) < 0.05, fields["chosen"] - 1.0, fields["chosen"])
    return fields


def draw_tokens(rng, params, size=4, steps=(3, 5)):
    fields = {side: grid(rng, size, steps[side.endswith("rejected")], low=-6.0) for side in SIDES}
    if params["regularizer"] == "none" and rng.integers(2):
        fields = {side: fields[side] for side in SIDES[:2]}
    if rng.integers(2):
        fields |= {f"{side}_mask": rng.integers(2, size=fields[side].shape).astype(bool) for side in SIDES[:2]}
    if rng.integers(3):
        fields["label"] = rng.choice([0.0, 0.45, 0.5, 0.55, 1.0], size)
    return fields


def draw_lists(rng, name, params, size=4, count=4):
    scores = rng.integers(-3, 4, (size, count)) / 2.0
    fields = {"logps": grid(rng, size, count, low=-20.0)}
    if rng.integers(2):
        fields["mask"] = rng.integers(2, size=(size, count)).astype(bool)
    if name == "pro":
        best_first = -np.sort(-scores, axis=1)
        return {**fields, "lengths": rng.choice([0, 1, 3, 8, 17], (size, count)), "scores": best_first}
    if params["regularizer"] == "kl" or rng.integers(2):
        fields["ref_logps"] = grid(rng, size, count, low=-20.0)
    return {**fields, "scores": scores}


def log_ratios(fields):
    return fields["chosen"] - fields["ref_chosen"], fields["rejected"] - fields["ref_rejected"]


def means(fields):
    return [fields[side] / np.maximum(fields[f"{side}_len"], 1) for side in SIDES[:2]]


def link_kinks(z, beta, link):
    return (1.0 - z) / beta if link in ("hinge", "truncated_quadratic") else np.ones_like(z)


def bpo_kinks(fields, params):
    a, b = log_ratios(fields)
    b = -params["alpha"] * b
    return a - b, link_kinks(params["beta"] * np.minimum(a, b), params["beta"], params["link"])


def gpo_kinks(fields, params):
    return [link_kinks(params["beta"] * np.subtract(*log_ratios(fields)), params["beta"], params["link"])]


def arpo_kinks(fields, params):
    d = np.subtract(*means(fields))
    return d, np.abs(d) - np.log(2.0 / params["scale"]) / params["rate"]


def chi_kinks(fields, params):
    if params["clip"] is None:
        return []
    a, b = log_ratios(fields)
    beyond = np.abs(np.exp(a) + a - np.exp(b) - b) - params["clip"] / params["beta"]
    return [beyond / (1.0 + np.exp(np.maximum(a, b)))]


def rrhf_kinks(fields, params):
    q = fields["logps"] / np.maximum(fields["lengths"], 1) ** params["length_power"]
    return [(q[:, :, None] - q[:, None, :] + np.eye(q.shape[1]))]


# Where a loss has a kink or a step: how many nats away. Draws closer than NEAR are drawn again.
NEAR = 2.0**-10
KINKS = {
    "slic_hf": lambda fields, params: [params["delta"] - fields["chosen"] + fields["rejected"]],
    "hinge": lambda fields, params: [np.subtract(*log_ratios(fields)) - 1.0 / params["beta"]],
    "dpop": lambda fields, params: log_ratios(fields)[:1],
    "chi_po": chi_kinks,
    "gpo_link": gpo_kinks,
    "bpo": bpo_kinks,
    "minor_dpo": lambda fields, params: log_ratios(fields)[1:],
    "hypo": lambda fields, params: [fields["ref_chosen"] - fields["ref_rejected"]],
    "padll": lambda fields, params: [np.subtract(*log_ratios(fields))],
    "repo": lambda fields, params: [params["gamma"] - np.subtract(*means(fields))],
    "arpo": arpo_kinks,
    "rrhf": rrhf_kinks,
}
# Losses that are steep in the log-ratios are drawn closer to the reference where differences are taken.
STEEP = {
    "dpop": 0.5,
    "chi_po": 1.5,
    "f_dpo": 1.5,
    "gpo_link": 0.5,
    "bpo": 0.5,
    "cell": 1.0,
    "dil": 2.0,
    "alpha_po": 3.0,
}
FAR = {"chi_po": 90.0, "f_dpo": 90.0, "dil": 90.0}


def draw_read(rng, name, params, widest, size=4):
    """Whatever fields the reference takes; an optional one only where the parameters or a coin ask for it."""
    shapes = {"lists": (size, 3 if name == "tpo" else 4), "chosen": (size, 3), "rejected": (size, 5)}
    per_token = name in TOKENS
    count = int(rng.integers(1, 4))
    fields = {}
    for key, parameter in inspect.signature(getattr(poz.reference, name)).parameters.items():
        shape = (size,)
        if name in LISTS:
            shape = shapes["lists"]
        elif per_token:
            shape = shapes["chosen" if "chosen" in key else "rejected"]
        if key.endswith("calibration"):
            fields[key] = grid(rng, count)
        elif key.endswith("mask") and rng.integers(2):
            fields[key] = rng.integers(2, size=shape).astype(bool)
        elif key == "scores":
            fields[key] = rng.integers(-3, 4, shape) / 2.0
        elif key in LOGPS or key.endswith("_collision"):
            fields[key] = grid(rng, *shape, low=-6.0 if per_token else -widest)
        elif key in DATA and not (parameter.default is None and key == "label" and rng.integers(3) == 0):
            fields[key] = rng.choice(np.asarray(DATA[key]), shape)
    if params.get("nll") == "sum" and name == "cpo":
        fields = {key: value for key, value in fields.items() if key not in LENGTHS}
    return fields


def draw_smooth(rng, name, params, widest):
    """A draw with no example at a kink."""
    while True:
        fields = draw_read(rng, name, params, widest)
        if all((np.abs(way) > NEAR).all() for way in KINKS.get(name, lambda fields, params: [])(fields, params)):
            return fields


def draw(name, seed, widest=None):
    """Fields of the objective's family and parameters from their whole domains, ends included."""
    rng = np.random.default_rng([NAMES.index(name), seed])
    params = draw_params(rng, name)
    if NAMES.index(name) >= FIRST:
        return draw_smooth(rng, name, params, widest or FAR.get(name, 40.0)), params
    if name == "cpl":
        return draw_tokens(rng, params), params
    if name in ("pro", "cpl_ranking"):
        return draw_lists(rng, name, params), params
    if name == "lcpo":
        fields = draw_pairs(rng, params["base"], params["base_params"])
        return fields if params["reliability"] == (0.8,) else {**fields, "annotator": rng.integers(2, size=4)}, params
    return draw_pairs(rng, name, params), params


def extreme(name, seed):
    """The same draw with every side at 0 or -1e4."""
    fields, params = draw(name, seed)
    rng = np.random.default_rng(seed)
    return {
        key: 1e4 * rng.integers(-1, 1, value.shape) if key in LOGPS else value for key, value in fields.items()
    }, params


def call(name, fields, params):
    return getattr(poz.reference, name)(**fields, **params)


def listed(fields):
    return {key: value.tolist() for key, value in fields.items()}


def posterior(fields, params):
    exact, base_params = literal.exact(listed(fields)), literal.exact(params["base_params"])
    annotator = exact.pop("annotator", None)
    return literal.lcpo_posterior(params["base"], base_params, literal.exact(params["reliability"]), exact, annotator)


def frozen(name, fields, params):
    """The losses as a function of the fields; what has no gradient, such as LCPO's posterior, stays what it is here."""
    if name in literal.HELD:
        fixed = literal.held(name, literal.exact(listed(fields)), literal.exact(params))
        return lambda moved: np.array(literal.losses(name, listed(moved), fixed), dtype=float)
    if name != "lcpo":
        return lambda moved: call(name, moved, params)[0]
    w = np.array(posterior(fields, params), dtype=float)

    def losses(moved):
        sides = {key: value for key, value in moved.items() if key != "annotator"}
        exchanged = {key: np.asarray(value) for key, value in literal.exchange(sides).items()}
        kept, swap = (call(params["base"], given, params["base_params"])[0] for given in (sides, exchanged))
        u = swap - kept
        return w * kept + (1.0 - w) * swap if params["mode"] == "weighted" else np.logaddexp(0.0, -u) + (1.0 - w) * u

    return losses


def rounding(name, fields, params):
    """Size of the terms a loss is the sum of; LCPO adds and subtracts the losses of its base."""
    losses = call(name, fields, params)[0]
    if name == "lcpo":
        sides = {key: value for key, value in fields.items() if key != "annotator"}
        exchanged = {key: np.asarray(value) for key, value in literal.exchange(sides).items()}
        both = [call(params["base"], given, params["base_params"])[0] for given in (sides, exchanged)]
        losses = np.concatenate([losses, *both])
    return max(1.0, float(np.max(np.abs(losses))))


def assert_close(actual, expected, *, rtol, atol=0.0, what=""):
    np.testing.assert_allclose(actual, np.array(expected, dtype=float), rtol=rtol, atol=atol, err_msg=what)


def test_every_objective_is_drawn():
    assert set(NAMES) == set(DOMAINS) == set(literal.FORMULAS)


@every_objective
def test_draws_reach_every_option(name):
    drawn = [draw_params(np.random.default_rng([NAMES.index(name), seed]), name) for seed in SEEDS]
    for key in DOMAINS[name]:
        assert len({params[key] for params in drawn}) > 1
        options = DOMAINS[name][key].__closure__
        if DOMAINS[name][key].__qualname__.startswith("one_of"):
            assert {params[key] for params in drawn} == set(options[0].cell_contents)


@every_seed
@every_objective
def test_losses_are_the_literal_formula(name, seed):
    # a margin of 400 nats carries 400 eps = 9e-14 of rounding, a loss of that size as much relative to itself
    fields, params = draw(name, seed)
    expected = literal.losses(name, listed(fields), params)
    assert_close(call(name, fields, params)[0], expected, rtol=1e-13, atol=1e-13 * rounding(name, fields, params))


@every_seed
@every_objective
def test_losses_are_the_literal_formula_at_huge_margins(name, seed):
    fields, params = extreme(name, seed)
    expected = literal.losses(name, listed(fields), params)
    assert_close(call(name, fields, params)[0], expected, rtol=1e-13, atol=1e-13 * rounding(name, fields, params))


@every_seed
@every_objective
def test_losses_and_gradients_are_finite_at_huge_margins(name, seed):
    losses, gradients = call(name, *extreme(name, seed))
    assert np.isfinite(losses).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@every_seed
@every_objective
def test_gradients_cover_every_log_prob_given(name, seed):
    fields, params = draw(name, seed)
    losses, gradients = call(name, fields, params)
    first = next(iter(fields.values()))
    assert losses.shape == first.shape[:1]
    assert {key: value.shape for key, value in gradients.items()} == {
        key: value.shape for key, value in fields.items() if key in LOGPS
    }
    assert all(array.dtype == np.float64 for array in (losses, *gradients.values()))


@every_seed
@every_objective
def test_gradients_are_the_differences_of_the_losses(name, seed):
    # truncation is (dz)^4 / 30 with dz < 0.02; each of the four losses is off by a few eps of its terms, over the step
    fields, params = draw(name, seed, STEEP.get(name))
    losses, step = frozen(name, fields, params), 2.0**-12
    gradients = call(name, fields, params)[1]
    atol = 32.0 * EPS * rounding(name, fields, params) / step
    for key, gradient in gradients.items():
        expected = np.empty(gradient.shape)
        for index in np.ndindex(gradient.shape):
            shift = np.zeros(gradient.shape)
            shift[index] = step
            ahead, behind, far_ahead, far_behind = (
                losses({**fields, key: fields[key] + k * shift}) for k in (1, -1, 2, -2)
            )
            expected[index] = np.sum(8.0 * (ahead - behind) - (far_ahead - far_behind)) / (12.0 * step)
        assert_close(gradient, expected, rtol=1e-7, atol=atol, what=key)


@pytest.mark.parametrize("seed", range(6))
@every_objective
def test_gradients_are_the_derivative_of_the_literal_formula(name, seed):
    # relative, so it also holds where a gradient has decayed to nothing; z rounds to 4000 eps at worst
    fields, params = draw(name, seed)
    gradients = call(name, fields, params)[1]
    exact_fields, exact_params = literal.exact(listed(fields)), literal.exact(params)
    exact_params = literal.held(name, exact_fields, exact_params)
    if name == "lcpo":
        exact_params["posterior"] = posterior(fields, params)
    rng = np.random.default_rng(seed)
    for key, gradient in gradients.items():
        for _ in range(3):
            index = tuple(rng.integers(gradient.shape))

            def total(value, key=key, index=index):
                moved = np.array(exact_fields[key], dtype=object)
                moved[index] = value
                losses = literal.FORMULAS[name](**{**exact_fields, key: moved.tolist()}, **exact_params)
                # only the example moved, so that a huge loss of another does not drown it
                return literal.mp.fsum(losses) if key.endswith("calibration") else losses[index[key in OPPONENTS]]

            expected = literal.mp.diff(total, literal.exact(fields[key][index]))
            assert_close(gradient[index], expected, rtol=1e-12, atol=1e-25, what=f"{key}{index}")


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("seed", range(8))
@every_objective
def test_a_poisoned_example_stays_alone(name, seed, poison):
    fields, params = draw(name, seed)
    clean_losses, clean_gradients = call(name, fields, params)
    for key, value in fields.items():
        if value.dtype != np.float64 or key.endswith("calibration"):
            continue
        bad = value.copy()
        bad[(slice(None), 0) if key in OPPONENTS else 0] = poison
        losses, gradients = call(name, {**fields, key: bad}, params)
        np.testing.assert_array_equal(losses[1:], clean_losses[1:], err_msg=key)
        for other, gradient in gradients.items():
            if not other.endswith("calibration"):
                axis = 1 if other in OPPONENTS else 0
                rest = np.arange(1, gradient.shape[axis])
                expected = clean_gradients[other].take(rest, axis)
                np.testing.assert_array_equal(gradient.take(rest, axis), expected, err_msg=f"{key}: {other}")


@every_seed
@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*LISTS, *TOKENS)])
def test_a_nan_log_prob_is_never_swallowed(name, seed):
    fields, params = draw(name, seed)
    losses, gradients = call(name, {**fields, "chosen": np.full(4, np.nan)}, params)
    assert np.isnan(losses).all()
    if name not in ("sim_npo", "dil"):  # linear in the chosen completion, or may be
        assert np.isnan(gradients["chosen"]).all()


def draw_masked(name, seed):
    """A draw in which every side has a mask, and the mask by field."""
    fields, params = draw(name, seed)
    masks = {"chosen": "chosen_mask", "rejected": "rejected_mask"} if name in TOKENS else {"logps": "mask"}
    for shape_of, mask in masks.items():
        fields[mask] = np.random.default_rng(seed).integers(2, size=fields[shape_of].shape).astype(bool)
    covered = {key: mask for key in fields for side, mask in masks.items() if key.endswith(side)}
    for side in SIDES[:2]:
        covered |= {key: f"{side}_mask" for key in (f"{side}_weights", f"{side}_collision") if key in fields}
    if name not in TOKENS:
        covered |= {key: "mask" for key in ("scores", "lengths") if key in fields}
    return fields, params, {key: fields[mask] for key, mask in covered.items()}


masked_objectives = pytest.mark.parametrize("name", [name for name in (*LISTS, *TOKENS) if name != "tpo"])


@every_seed
@masked_objectives
def test_masked_entries_do_not_exist(name, seed):
    fields, params, masks = draw_masked(name, seed)
    poisoned = {key: np.where(masks[key], value, np.nan) if key in masks else value for key, value in fields.items()}
    losses, gradients = call(name, fields, params)
    again, gradients_again = call(name, poisoned, params)
    np.testing.assert_array_equal(again, losses)
    for key, gradient in gradients.items():
        np.testing.assert_array_equal(gradients_again[key], gradient, err_msg=key)


@every_seed
@masked_objectives
def test_masked_entries_have_no_gradient_whatever_the_others_are(name, seed):
    fields, params, masks = draw_masked(name, seed)
    unknown = {key: np.full(value.shape, np.nan) if key in LOGPS else value for key, value in fields.items()}
    for given in (fields, unknown):
        for key, gradient in call(name, given, params)[1].items():
            assert (gradient[~masks[key]] == 0.0).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_mnpo_reads_an_infinite_target_as_a_hard_label(sign):
    rng = np.random.default_rng(0)
    fields = draw_pairs(rng, "mnpo", {})
    params = {"beta": 0.3, "eta": 0.5, "tau": 0.2, "distance": "backward_kl"}
    reversed_sides = {key: np.asarray(value) for key, value in literal.exchange(fields).items()}
    hard, slopes = call("mnpo", fields if sign > 0 else reversed_sides, {**params, "target": "hard"})
    fields["margin"] = np.full(4, sign * np.inf)
    soft, gradients = call("mnpo", fields, {**params, "target": "reward"})
    np.testing.assert_allclose(soft, hard, rtol=1e-13)
    np.testing.assert_allclose(gradients["chosen"], slopes["chosen" if sign > 0 else "rejected"], rtol=1e-13)


def test_mnpo_does_not_read_a_reference_without_weight():
    fields, params = draw_pairs(np.random.default_rng(0), "mnpo", {}), {"eta": 0.5, "tau": 0.0}
    unknown = {key: np.full(4, np.nan) if key.startswith("ref") else value for key, value in fields.items()}
    np.testing.assert_array_equal(call("mnpo", unknown, params)[0], call("mnpo", fields, params)[0])


def test_the_simpo_hinge_is_flat_at_its_kink():
    one, zero = np.ones(1), np.zeros(1)
    _, gradients = poz.reference.simpo(
        chosen=zero, rejected=-one, chosen_len=one, rejected_len=one, beta=1.0, gamma=0.0, link="hinge"
    )
    assert gradients["chosen"] == gradients["rejected"] == 0.0


FLAT = {"chosen": 0.0, "rejected": 0.0, "ref_chosen": 0.0, "ref_rejected": 0.0}
KINK_ROWS = {
    # at its kink a hinge has derivative 0
    "hinge": ({**FLAT, "rejected": -1.0}, {"beta": 1.0}, 0.0, {"chosen": 0.0, "ref_chosen": 0.0}),
    "gpo_link": ({**FLAT, "rejected": -1.0}, {"beta": 1.0, "link": "hinge"}, 0.0, {"chosen": 0.0, "rejected": 0.0}),
    "slic_hf": (
        {"chosen": 0.0, "rejected": -1.0},
        {"delta": 1.0, "regularization_weight": 0.0},
        0.0,
        {"chosen": 0.0, "rejected": 0.0},
    ),
    "repo": (
        {"chosen": 0.0, "rejected": -0.5, "chosen_len": 1.0, "rejected_len": 1.0},
        {"gamma": 0.5},
        0.0,
        {"chosen": 0.0, "rejected": 0.0},
    ),
    # and so has max(0, .) inside a logit: σ(0) = 1/2 of what remains
    "dpop": (FLAT, {"beta": 1.0, "penalty": 50.0}, np.log(2.0), {"chosen": -0.5, "rejected": 0.5}),
    "minor_dpo": (FLAT, {"beta": 1.0}, np.log(2.0), {"chosen": -0.5, "rejected": 0.0}),
    "hypo": (FLAT, {"beta": 1.0}, np.log(2.0), {"chosen": -0.5, "ref_chosen": 0.0, "ref_rejected": 0.0}),
    "arpo": (
        {"chosen": -1.0, "rejected": -1.0, "chosen_len": 1.0, "rejected_len": 1.0},
        {"beta": 1.0, "scale": 1.0, "rate": 1.0, "nll_weight": 0.0},
        np.log1p(np.e),
        {"chosen": -np.e / (1.0 + np.e), "rejected": 0.0},
    ),
    # a tie moves both sides, each by half
    "bpo": (FLAT, {"beta": 1.0, "alpha": 0.5}, np.log(2.0), {"chosen": -0.25, "rejected": 0.125}),
    # no margin is not below the margin 0
    "padll": (FLAT, {"beta": 1.0}, 0.9 * np.log(2.0), {"chosen": -0.45}),
    # a known margin of 0 asks for nothing
    "odpo": ({**FLAT, "margin": 0.0}, {"beta": 1.0}, 0.0, {"chosen": 0.0, "rejected": 0.0}),
    # an empty rejected completion counts as odds of e^-1e-12; a certain chosen one costs nothing against any other
    "orpo": (
        {"chosen": 0.0, "rejected": -np.log(2.0), "chosen_len": 1.0, "rejected_len": 1.0},
        {"odds_weight": 1.0},
        0.0,
        {"chosen": -2.0, "rejected": 0.0},
    ),
}


@pytest.mark.parametrize("name", KINK_ROWS)
def test_kinks_and_ends(name):
    fields, params, loss, slopes = KINK_ROWS[name]
    losses, gradients = call(name, {key: np.array([value]) for key, value in fields.items()}, params)
    assert_close(losses, [loss], rtol=1e-15)
    for key, slope in slopes.items():
        assert_close(gradients[key], [slope], rtol=4.0 * EPS, what=key)


def test_orpo_of_an_empty_rejected_completion():
    zero, one = np.zeros(1), np.ones(1)
    losses, gradients = poz.reference.orpo(
        chosen=-one, rejected=zero, chosen_len=one, rejected_len=zero, odds_weight=1.0
    )
    # 1 + log(1 + (e - 1) e^-1e-12 / (1 - e^-1e-12)), close to 1 + log((e - 1) 1e12)
    assert_close(losses, [1.0 + np.log(np.e - 1.0) + 12.0 * np.log(10.0)], rtol=1e-13)
    assert gradients["rejected"] == 0.0


@pytest.mark.parametrize(
    ("name", "unread", "params"),
    [
        ("dno", ["margin"], {"target": "hard"}),
        ("spce", ["label"], {}),
        ("cpo", ["chosen_len", "rejected_len"], {"nll": "sum"}),
        ("dil", ["chosen_len", "rejected_len"], {"length_normalized": False}),
        ("rainbow_po", ["entropy"], {"kappa": None}),
        ("wpo", ["chosen_collision", "rejected_collision"], {"collision": False}),
    ],
)
def test_what_is_not_read_may_be_missing(name, unread, params):
    fields, drawn = draw(name, 0)
    losses, gradients = call(
        name, {key: value for key, value in fields.items() if key not in unread}, {**drawn, **params}
    )
    assert losses.shape == (4,)
    assert all(gradient.shape == fields[key].shape for key, gradient in gradients.items())


BASES = [
    name for name in NAMES[FIRST:] if name not in (*LISTS, *TOKENS, "xpo", "selm", "odpo", "arpo")
]  # odpo has no loss for the swapped pair; arpo may hold a factor constant


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("base", BASES)
def test_lcpo_takes_every_base(base, seed):
    fields, base_params = draw(base, seed, STEEP.get(base))
    params = {"base": base, "base_params": base_params, "reliability": 0.8, "mode": ("gibbs", "weighted")[seed % 2]}
    expected = literal.losses("lcpo", listed(fields), params)
    tolerance = 1e-13 * rounding("lcpo", fields, params)
    assert_close(call("lcpo", fields, params)[0], expected, rtol=1e-13, atol=tolerance)
    exact_params = {**literal.exact(params), "posterior": posterior(fields, params)}
    gradient = call("lcpo", fields, params)[1]["chosen"]

    def loss(value):
        moved = [value, *literal.exact(listed(fields))["chosen"][1:]]
        return literal.lcpo(**{**literal.exact(listed(fields)), "chosen": moved}, **exact_params)[0]

    # differences of the base's losses carry their rounding
    slope = literal.mp.diff(loss, literal.mp.mpf(float(fields["chosen"][0])))
    assert_close(gradient[0], slope, rtol=1e-11, atol=1e2 * tolerance)


def test_tangent_primitives():
    """E against its definition, and differences without the cancellation."""
    with literal.mp.workdps(60):
        points = np.array([-1e4, -40.0, -1.0, -(2.0**-40), 0.0, 2.0**-40, 3.0, 59.5, 60.0, 60.5, 90.0, 1e4])
        exact = [literal.e(literal.mp.mpf(x)) for x in points]
        # e^60 carries the rounding of its exponent, 60 eps at most
        assert_close(_stable.tangent_exp(points), exact, rtol=64.0 * EPS, atol=1e-300)
        for scale in (1.0, 0.25):
            x, y = (axis.ravel() for axis in np.meshgrid(points, points))
            gaps = [
                literal.e(scale * literal.mp.mpf(p)) - literal.e(scale * literal.mp.mpf(q))
                for p, q in zip(x, y, strict=True)
            ]
            assert_close(_stable.tangent_exp_gap(x, y, scale), gaps, rtol=64.0 * EPS, atol=1e-300)


def test_bernoulli_primitives():
    points = np.array([-800.0, -40.0, -3.0, -0.5, 0.0, 2.0**-20, 0.5, 40.0, 45.0, 800.0])
    x, y = (axis.ravel() for axis in np.meshgrid(points, points))
    with literal.mp.workdps(800):
        pairs = [(literal.coin(literal.mp.mpf(p)), literal.coin(literal.mp.mpf(q))) for p, q in zip(x, y, strict=True)]
        assert_close(_stable.sigmoid_gap(x, y), [p[0] - q[0] for p, q in pairs], rtol=8.0 * EPS, atol=1e-300)
        divergences = np.array([literal.kl(p, q) for p, q in pairs], dtype=float)
    # what cancels is relative to the larger logit, and only where the two are close
    assert_close(_stable.bernoulli_kl(x, y), divergences, rtol=8.0 * EPS, atol=2.0 * EPS)
    tail = (np.minimum(x, y) >= 40.0) & (np.maximum(x, y) < 700.0)
    assert_close(_stable.bernoulli_kl(x, y)[tail], divergences[tail], rtol=1e-13, atol=1e-300)


def test_log1mexp_is_exact_to_rounding():
    points = np.array([-1e4, -40.0, -1.0, -0.7, -0.69, -1e-3, -1e-12, -1e-300])
    with literal.mp.workdps(400):
        exact = [literal.log(1 - literal.exp(literal.mp.mpf(x))) for x in points]
    with np.errstate(divide="ignore"):
        assert_close(_stable.log1mexp(points), exact, rtol=4.0 * EPS, atol=1e-300)


@pytest.mark.parametrize("name", ["softplus", "sigmoid"])
def test_primitives_are_exact_to_rounding(name):
    # four roundings, each half an eps; below 1e-300 only denormal steps are left
    z = np.concatenate([np.linspace(-1e4, 1e4, 201), np.linspace(-40, 40, 161), [0.0, 1e-300, -1e-300, 36.7, -745.0]])
    with literal.mp.workdps(400), np.errstate(all="raise", under="ignore"):
        exact = [literal.mp.mpf(value) for value in z]
        formula = {"softplus": lambda x: literal.log(1 + literal.exp(x)), "sigmoid": literal.sigma}[name]
        assert_close(getattr(_stable, name)(z), [formula(x) for x in exact], rtol=4.0 * EPS, atol=1e-307)


@pytest.mark.parametrize("path", sorted(Path(poz.reference.__file__).parent.rglob("*.py")), ids=lambda path: path.name)
def test_a_reference_imports_numpy_and_its_own_package_only(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module != "poz"
            imported.add(node.module)
    outside = {name for name in imported if not f"{name}.".startswith("poz.reference.")}
    assert {name.split(".")[0] for name in outside} <= {"numpy", *sys.stdlib_module_names}

"""The float64 references, against the literal formulas in 50 digits and against differences of themselves."""

import ast
import sys
from pathlib import Path

import literal
import numpy as np
import pytest

import poz
import poz.reference
from poz.reference import _stable

NAMES = ("dpo", "ipo", "simpo", "pro", "cpl", "cpl_ranking", "lcpo", "vpo", "inpo", "mnpo")
SEEDS = range(24)
SIDES = ("chosen", "rejected", "ref_chosen", "ref_rejected")
LENGTHS = ("chosen_len", "rejected_len")
OPPONENTS = ("opponents_chosen", "opponents_rejected")
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
    if params.get("gamma") is not None:
        params["gamma_beta_ratio"] = None
    if params.get("link") == "hinge":
        params["label_smoothing"] = 0.0
    if params.get("target") == "hard":
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


def draw(name, seed):
    """Fields of the objective's family and parameters from their whole domains, ends included."""
    rng = np.random.default_rng([NAMES.index(name), seed])
    params = draw_params(rng, name)
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
    """The losses as a function of the fields; LCPO's posterior stays what it is here, since no gradient flows in it."""
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
    assert set(NAMES) == set(DOMAINS) == set(poz.zoo)


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
    fields, params = draw(name, seed)
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
    if name == "lcpo":
        exact_params["posterior"] = posterior(fields, params)
    rng = np.random.default_rng(seed)
    for key, gradient in gradients.items():
        for _ in range(3):
            index = tuple(rng.integers(gradient.shape))

            def total(value, key=key, index=index):
                moved = np.array(exact_fields[key], dtype=object)
                moved[index] = value
                return literal.mp.fsum(literal.FORMULAS[name](**{**exact_fields, key: moved.tolist()}, **exact_params))

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
@pytest.mark.parametrize("name", ["dpo", "ipo", "simpo", "lcpo", "vpo", "inpo", "mnpo"])
def test_a_nan_log_prob_is_never_swallowed(name, seed):
    fields, params = draw(name, seed)
    losses, gradients = call(name, {**fields, "chosen": np.full(4, np.nan)}, params)
    assert np.isnan(losses).all()
    assert np.isnan(gradients["chosen"]).all()


def draw_masked(name, seed):
    """A draw in which every side has a mask, and the mask by field."""
    fields, params = draw(name, seed)
    masks = {"chosen": "chosen_mask", "rejected": "rejected_mask"} if name == "cpl" else {"logps": "mask"}
    for shape_of, mask in masks.items():
        fields[mask] = np.random.default_rng(seed).integers(2, size=fields[shape_of].shape).astype(bool)
    covered = {key: mask for key in fields for side, mask in masks.items() if key.endswith(side)}
    if name != "cpl":
        covered |= {key: "mask" for key in ("scores", "lengths") if key in fields}
    return fields, params, {key: fields[mask] for key, mask in covered.items()}


masked_objectives = pytest.mark.parametrize("name", ["pro", "cpl", "cpl_ranking"])


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

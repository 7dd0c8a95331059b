"""Every float64 reference against its witness: the textbook formula in 50 digits and its derivative, on drawn batches."""

import ast
import dataclasses
import functools
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import witness
from together import together
from witness._maths import exact, mp
from witness.pairs.lcpo import both

import poz
import poz.reference
from poz.domains import Choice
from poz.families import layout_of
from poz.testing import draw_case, draw_values
from poz.testing.answers import reference
from poz.testing.draws import Deck
from poz.testing.runners import log_prob_fields

SEEDS = range(16)  # of a choice each option comes as often as the others
SIZE = 4
WIDEST = 30.0  # nats
NEAR = 2.0**-10  # nats from a kink, where no derivative is asked for
# Slopes that are a difference between two terms, and off by an eps of those: at most β times a few units.
DIFFERENCES = ("apo_down", "nca", "info_nca", "ranklist", "spce", "aot", "aot_unpaired", "gpm", "vpl")
WHOLE = ("calibration", "ref_calibration", "kl_logps", "kl_ref_logps")  # samples of no example

BASES = [
    name
    for name, spec in poz.zoo.items()
    if spec.family is poz.Pairs and {"chosen", "rejected"} <= spec.reads and not spec.coupled
    if "margin" not in spec.reads  # a known gap is the same for both orders
    if name not in ("lcpo", "odpo", "arpo")  # odpo has no loss for the swapped pair; arpo may hold a factor constant
]

every_name = pytest.mark.parametrize("name", poz.zoo)
every_seed = together("seed", SEEDS)


class Drawn(NamedTuple):
    """An objective as it is bound with a batch for it, and both as the exact numbers that a witness takes."""

    objective: Any
    batch: Any
    fields: dict[str, Any]
    params: dict[str, Any]

    def losses(self, **changed: Any) -> list[Any]:
        """By the textbook formula."""
        return witness.of(self.objective.name).formula(**{**self.fields, **changed}, **self.params)


def on_grid(x):
    return np.round(x * 2**20) / 2**20


@functools.cache
def draws(name: str) -> list[Drawn]:
    """By the name alone, whatever the list holds beside it; log-probs on a grid, so that their differences are exact."""
    deck, out = Deck(), []
    for seed in SEEDS:
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        out.append(made(*draw_case(poz.zoo[name], rng, SIZE, WIDEST, deck), on_grid))
        deck.count()
    return out


def drawn(name: str, seed: int) -> Drawn:
    return draws(name)[seed]


def made(objective, batch, change) -> Drawn:
    """With every log-prob of the batch changed."""
    batch = batch._replace(**{key: change(getattr(batch, key)) for key in log_prob_fields(objective, batch)})
    read = objective.reads | objective.optional
    fields = {key: x.tolist() for key, x in batch._asdict().items() if x is not None and key in read}
    params = dict(objective.values)
    if "base" in params:
        params |= {"base": params["base"].name, "base_params": dict(params["base"].values)}
    lists = {key: x.tolist() if isinstance(x, np.ndarray) else x for key, x in params.items()}
    return Drawn(objective, batch, exact(fields), exact(lists))


def extreme(name, seed) -> Drawn:
    """The same draw with every log-prob at 0 or -1e4, every error at 0 or 1e4, and scores at any of them."""
    objective, batch, *_ = drawn(name, seed)
    rng, layout = np.random.default_rng(seed), layout_of(poz.zoo[name].family)
    side = 1e4 if layout.errors else -1e4
    return made(objective, batch, lambda x: side * rng.integers(-layout.scores, 2, x.shape))


def check_losses(case, lost=0.0):
    """Each is a sum of terms of a few hundred nats, each off by a few eps of itself; LCPO adds the losses of its base."""
    losses, expected = reference(case.objective, case.batch)[0], np.array(case.losses(), float)
    terms = [expected]
    if "base" in case.params:
        fields = {key: x for key, x in case.fields.items() if key != "annotator"}
        terms += both(case.params["base"], case.params["base_params"], fields)
    size = max(1.0, float(np.max(np.abs(np.array(terms, float)))))
    np.testing.assert_allclose(losses, expected, rtol=1e-13, atol=max(lost, 1e-13 * size))


@every_name
def test_draws_reach_every_option(name):
    for key, param in poz.zoo[name].params.items():
        if isinstance(param.domain, Choice):
            assert {drawn(name, seed).objective.values[key] for seed in SEEDS} == set(param.domain.options)


@pytest.mark.parametrize("name", ["dpo", "pro", "cpl", "kto", "sppo", "mapo"])
def test_a_new_objective_changes_no_draw_of_another(name, monkeypatch):
    before = draws(name)
    newcomer = dataclasses.replace(poz.dpo, name="newcomer")
    monkeypatch.setattr(poz.zoo, "_named", {"newcomer": newcomer, **poz.zoo._named})
    assert next(iter(poz.zoo)) == "newcomer"
    assert [case[2:] for case in draws.__wrapped__(name)] == [case[2:] for case in before]


@every_name
@every_seed
def test_losses_are_the_textbook_formula(name, seed):
    check_losses(drawn(name, seed))


@every_name
@every_seed
def test_losses_are_the_textbook_formula_at_huge_margins(name, seed):
    # the log of a sum of exponentials of 1e4 nats has lost 1e4 eps
    check_losses(extreme(name, seed), 2e-12 if poz.zoo[name].family is poz.Ranked else 0.0)


@every_name
@every_seed
def test_losses_and_gradients_are_finite_at_huge_margins(name, seed):
    objective, batch, *_ = extreme(name, seed)
    losses, gradients = reference(objective, batch)
    assert np.isfinite(losses).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@every_name
@every_seed
def test_gradients_cover_every_log_prob_given(name, seed):
    objective, batch, *_ = drawn(name, seed)
    losses, gradients = reference(objective, batch)
    assert losses.shape == (SIZE,)
    assert {key: x.shape for key, x in gradients.items()} == {
        key: getattr(batch, key).shape for key in log_prob_fields(objective, batch)
    }
    assert all(array.dtype == np.float64 for array in (losses, *gradients.values()))


def entries(case, key, rng):
    """Places whose derivatives one pair of evaluations gives: an entry of each example where examples stand alone, else one."""
    shape = getattr(case.batch, key).shape
    batch_axis = 1 if key.startswith("opponents") else 0
    some = [tuple(rng.integers(shape)) for _ in range(SIZE)]
    if case.objective.coupled or key in WHOLE:
        return some[:1]
    return [(*place[:batch_axis], b, *place[batch_axis + 1 :]) for b, place in enumerate(some)]


def shifted(values, places, step):
    moved = np.array(values, dtype=object)
    for place in places:
        moved[place] += step
    return moved.tolist()


def check_gradients(case, seed, rtol, atol):
    """Relative, so that it also holds where a gradient has decayed to nothing; what is held constant stays as drawn."""
    this = witness.of(case.objective.name)
    gradients = reference(case.objective, case.batch)[1]
    held = this.constant(case.fields, case.params)
    known = {} if held is None else {"held": held}
    bent = [any(abs(far) < NEAR for far in ways) for ways in this.kinks(case.fields, case.params)] or [False] * SIZE
    rng, step = np.random.default_rng(seed), mp.mpf(2) ** -55  # truncation and rounding are both below 1e-30
    for key, gradient in gradients.items():
        for _ in range(3 if gradient.ndim > 1 or case.objective.coupled or key in WHOLE else 1):
            places = entries(case, key, rng)
            ahead, behind = (
                case.losses(**{key: shifted(case.fields[key], places, way * step)}, **known) for way in (1, -1)
            )
            slopes = [(p - q) / (2 * step) for p, q in zip(ahead, behind, strict=True)]
            if len(places) == 1:
                slopes = [mp.fsum(slopes)]
            for b, (place, slope) in enumerate(zip(places, slopes, strict=True)):
                if not bent[b]:
                    assert gradient[place] == pytest.approx(float(slope), rel=rtol, abs=atol), f"{key}{place}"


@every_name
@every_seed
def test_gradients_are_the_derivative_of_the_textbook_formula(name, seed):
    check_gradients(drawn(name, seed), seed, 1e-12, 1e-15 if name in DIFFERENCES else 1e-25)


@pytest.mark.parametrize("base", BASES)
@together("seed", range(4))
def test_lcpo_takes_every_base(base, seed):
    rng = np.random.default_rng([zlib.crc32(base.encode()), seed])
    bound = poz.zoo[base].bind(**draw_values(poz.zoo[base], rng))
    while "margin" in bound.reads or (bound.coupled and "calibration" not in bound.reads):
        bound = poz.zoo[base].bind(**draw_values(poz.zoo[base], rng))
    objective, batch = draw_case(poz.lcpo.bind(base=bound), rng, SIZE, WIDEST, held=("base",))
    case = made(objective, batch, on_grid)
    check_losses(case)
    check_gradients(case, seed, 1e-11, 1e-11)


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

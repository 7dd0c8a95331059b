"""What other people's functions gave in float64, against NumPy, torch, JAX and the reference.

`tests/authors/NAME.json` is a list of rows. `source` says whose function it was (`authors`: the objective's own), where
it stands and what was patched or how its convention maps; `losses` and `gradients` are its numbers. `reduction` says
whether they are of one loss per example (gradients of their sum), of the sum or of the mean; theirs = `scale` * ours +
`shift`. A wider `rtol` has its reason in the row.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from together import together

import poz
import poz.reference

LOSS, SLOPE = 1e-12, 1e-10
ROWS = {
    f"{path.stem}: {row['item']}": (path.stem, row)
    for path in sorted((Path(__file__).parents[1] / "authors").glob("*.json"))
    for row in json.loads(path.read_text())
}
every_row = pytest.mark.parametrize(("name", "row"), ROWS.values(), ids=ROWS)


class Numbers(NamedTuple):
    """Losses, and gradients by field."""

    losses: np.ndarray
    gradients: dict[str, np.ndarray]


def arrays(row):
    return {field: np.array(value) for field, value in row["inputs"].items()}


def bound(name, row, array=np.array):
    """The objective with the row's hyper-parameters; a base with its own, per-annotator numbers as an array."""
    values = {key: array(value) if key == "reliability" else value for key, value in row["hyper_parameters"].items()}
    if "base_params" in values:
        values["base"] = poz.zoo[values["base"]].bind(**values.pop("base_params"))
    return poz.zoo[name].bind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


def by_reference(name, row):
    losses, gradients = getattr(poz.reference, name)(**arrays(row), **row["hyper_parameters"])
    return Numbers(losses, gradients)


def by_numpy(name, row):
    objective = bound(name, row)
    return Numbers(objective(objective.family(**arrays(row))), {})


def by_torch(name, row):
    objective = bound(name, row, torch.tensor)
    fields = {key: torch.tensor(x, requires_grad=key in row["gradients"]) for key, x in arrays(row).items()}
    losses = objective(objective.family(**fields))
    wanted = [fields[key] for key in row["gradients"]]
    slopes = torch.autograd.grad(losses.sum(), wanted, allow_unused=True, materialize_grads=True)
    return Numbers(losses.detach().numpy(), {key: x.numpy() for key, x in zip(row["gradients"], slopes, strict=True)})


def by_jax(name, row):
    with jax.enable_x64(True):
        objective = bound(name, row, jnp.asarray)
        fields = {key: jnp.asarray(x) for key, x in arrays(row).items()}

        def losses(wanted):
            return objective(objective.family(**{**fields, **wanted}))

        def both(wanted):
            value, back = jax.vjp(losses, wanted)
            return value, back(jnp.ones_like(value))[0]

        # one program per row, left as it is: compiling it is all that takes time here
        quick = {"xla_cpu_use_fusion_emitters": False}
        value, slopes = jax.jit(both, compiler_options=quick)({key: fields[key] for key in row["gradients"]})
        return Numbers(np.asarray(value), {key: np.asarray(x) for key, x in slopes.items()})


@every_row
@together("ours", [by_reference, by_numpy, by_torch])
def test_agrees_with_what_their_function_gave(ours, name, row):
    agrees(ours, name, row)


LAST = {name: (name, row) for name, row in ROWS.values()}
ONE_EACH = dict([*LAST.items()][::4])
"""The last row of every fourth: JAX compiles a program for each, and `conform` holds all to the reference, as rows do it."""


@pytest.mark.parametrize(("name", "row"), ONE_EACH.values(), ids=ONE_EACH)
def test_jax_agrees_with_the_last_row_of_each(name, row):
    agrees(by_jax, name, row)


def agrees(ours, name, row):
    found = ours(name, row)
    scale, rtol = row.get("scale", 1.0), row.get("rtol", {})
    reduced = {"none": lambda x: x, "sum": np.sum, "mean": np.mean}[row["reduction"]]
    share = scale / len(found.losses) if row["reduction"] == "mean" else scale
    wanted = np.array(row["losses"]) - row.get("shift", 0.0)
    close = rtol.get("losses", LOSS)
    # A reduced loss has the rounding of its largest summand.
    rest = (1e-15 if row["reduction"] == "none" else close) * np.abs(scale * found.losses).max()
    np.testing.assert_allclose(scale * reduced(found.losses), wanted, rtol=close, atol=rest)
    if ours is by_numpy:
        return
    for field, theirs in row["gradients"].items():
        theirs = np.array(theirs)
        bound = rtol.get("gradients", SLOPE)
        np.testing.assert_allclose(
            share * found.gradients[field],
            theirs,
            rtol=bound,
            atol=bound * np.abs(theirs).max(initial=0),
            err_msg=field,
        )


@together("row", [row for _, row in ROWS.values()])
def test_a_row_says_where_it_comes_from(row):
    source = row["source"]
    assert set(row) <= {
        *("item", "source", "inputs", "hyper_parameters", "reduction", "losses", "gradients", "scale", "shift", "rtol")
    }
    assert set(source) == {"repository", "path", "function", "commit", "licence", "authors", "note"}
    assert re.fullmatch(r"[0-9a-f]{40}|v\d+(\.\d+)+", source["commit"]), "a commit, or the version of a release"
    assert isinstance(source["authors"], bool)
    assert {"scale", "shift"}.isdisjoint(row) or source["note"], "another convention is said"
    assert "rtol" not in row or row["rtol"]["why"]
    assert row["gradients"], "a loss alone does not tell its gradient"


def cited(source):
    """How `basis` names a source."""
    return f"{source['repository']}@{source['commit'] if source['commit'].startswith('v') else source['commit'][:7]}"


@pytest.mark.parametrize("name", poz.zoo)
def test_basis_names_a_row_or_a_theorem_or_says_that_nothing_could_be_run(name, root):
    basis = poz.zoo[name].basis
    sources = {cited(row["source"]) for owner, row in ROWS.values() if owner == name}
    theorems = re.findall(r"tests/(test_\w+)\.py::(test_\w+)", basis)
    for file, test in theorems:
        assert f"def {test}(" in next((root / "tests").rglob(f"{file}.py")).read_text()
    if sources:
        assert any(source in basis for source in sources), f"basis names one of {sorted(sources)}"
    else:
        assert theorems or "Nothing could be run" in basis


def test_how_many_objectives_stand_beside_other_peoples_code():
    theirs = {name for name, row in ROWS.values() if row["source"]["authors"]}
    assert len({name for name, _ in ROWS.values()}) >= 90
    assert len(theirs) >= 55


def test_most_rows_are_away_from_the_defaults():
    """With defaults alone a wrong use of a hyper-parameter stays unseen."""
    usual = {
        name
        for name, spec in poz.zoo.items()
        if spec.params and any(owner == name for owner, _ in ROWS.values())
        if all(
            all(
                spec.params[key].default == value
                for key, value in row["hyper_parameters"].items()
                if key in spec.params
            )
            for owner, row in ROWS.values()
            if owner == name
        )
    }
    assert not usual

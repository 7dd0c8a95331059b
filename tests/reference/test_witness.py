"""Every objective has a witness: a file of its name, in the folder of its family, that knows nothing of poz."""

import ast
import re

import pytest
import witness

import poz


def test_every_objective_has_a_witness_and_no_witness_is_of_none():
    assert set(witness.FILES) == set(poz.zoo)


@pytest.mark.parametrize("name", poz.zoo)
def test_a_witness_has_a_formula_and_rows_in_the_folder_of_its_family(name):
    this = witness.of(name)
    assert callable(this.formula)
    assert this.ROWS
    assert any(row.gradients for row in this.ROWS)
    family = re.sub("(?<=.)(?=[A-Z])", "_", poz.zoo[name].family.__name__).lower()
    assert witness.FILES[name].parent.name == family


def test_what_has_no_witness_is_told_where_to_write_one():
    with pytest.raises(LookupError, match=r"`none` has no witness; write tests/witness/<family>/none\.py"):
        witness.of("none")


@pytest.mark.parametrize("path", witness.FILES.values(), ids=lambda path: path.stem)
def test_a_witness_shares_nothing_with_poz(path):
    """It may borrow from another one, as a paper does from a paper."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert imported
    assert {module.split(".")[0] for module in imported} == {"witness"}

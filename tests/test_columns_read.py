"""The columns of a data set that an objective reads."""

import pytest

import poz
from poz.columns import check_columns, columns_read
from poz.layouts import COLUMNS

WITH = [name for name, spec in poz.zoo.items() if columns_read(spec)[0]]


@pytest.mark.parametrize("name", WITH)
def test_each_that_is_missing_is_named_with_what_it_is(name):
    """And with the side that it is of, where it is of one."""
    required = columns_read(poz.zoo[name])[0]
    for column in required:
        others = [other for other in required if other != column]
        with pytest.raises(ValueError, match=rf"reads the column '{column}', which the file does not have") as said:
            check_columns(poz.zoo[name], others, "the file")
        side = [word for word in ("chosen", "rejected") if column.startswith(word)]
        assert all(f"of {word}" in str(said.value) for word in side)
    check_columns(poz.zoo[name], required, "the file")


def test_single_completions_read_no_columns_but_weights_and_a_known_divergence():
    """Rollouts none, samples made of pairs how likely chosen is the better one."""
    for name, spec in poz.zoo.items():
        required, optional = columns_read(spec)
        assert not {*required} & {*optional}, name
        if spec.family in (poz.Unpaired, poz.Rollouts, poz.Denoising):
            assert {*required} == {"kl"} & spec.reads, name
            assert {*optional} == ({"weights"} if spec.family is poz.Unpaired else set()), name
        if spec.family is poz.Samples:
            assert (required, optional) == ((), ("label",)), name


def test_columns_are_read_where_an_objective_on_pairs_reads_them():
    for name, spec in poz.zoo.items():
        if spec.family in (poz.Pairs, poz.TokenPairs):
            required, optional = columns_read(spec)
            assert {*required, *optional} >= {*COLUMNS} & (spec.reads | spec.optional), name

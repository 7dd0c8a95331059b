"""docs/rollouts.md has the numbers that trainers' functions gave, and each is what the setting of poz beside it gives."""

import json
import re

import numpy as np
import pytest
import torch

import poz


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/rollouts.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def theirs(root):
    return json.loads((root / "tests/authors/rollouts/same_name.json").read_text(encoding="utf-8"))


def cells(page, columns, head):
    """The rows of the table whose head begins with that."""
    lines = page[page.index(f"| {head} |") :].splitlines()[2:]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines[: lines.index("") if "" in lines else None]
    ]
    assert {len(row) for row in rows} == {columns}
    return rows


def called(text):
    """The name and the settings of a call in backticks."""
    name, settings = re.match(r"`(\w+)\((.*)\)`", text).groups()
    return name, dict(re.findall(r"(\w+)=([^,]+)", settings))


def inputs(theirs, which):
    fields = {key: np.array(x) for key, x in theirs["inputs"]["empty" if which == "empty" else "four"].items()}
    if which == "no advantage":
        fields["advantages"] = np.zeros(4)
    return fields | ({"old_logps": fields["sampler_logps"]} if "= sampler_logps" in which else {})


def test_a_setting_of_poz_gives_the_number_of_each_trainer(page, theirs):
    rows = cells(page, 5, "what")
    assert len(rows) == len(theirs["rows"]) > 15
    for (what, who, setting, loss, slopes), row in zip(rows, theirs["rows"], strict=True):
        assert [what, who] == [row["what"], row["who"]]
        assert called(setting) == (
            row["objective"],
            {key: repr(value).strip('"') for key, value in row["settings"].items()},
        )
        assert ("`old_logps=sampler_logps`" in setting) == ("sampler_logps" in row["inputs"])
        given = {key: torch.tensor(x) for key, x in inputs(theirs, row["inputs"]).items()}
        given["logps"].requires_grad_()
        found = poz.zoo[row["objective"]](poz.Rollouts(**given), **row["settings"]).mean()
        (slope,) = torch.autograd.grad(found, given["logps"])
        rtol = 2e-8 if "1e-8" in row["source"]["note"] else 1e-12  # what theirs adds to a count of at least 1
        assert found.item() == pytest.approx(row["loss"], rel=rtol), (what, who)
        np.testing.assert_allclose(slope, row["gradient"], rtol=rtol, atol=rtol, err_msg=f"{what}, {who}")
        assert [loss, slopes] == [f"{found.item():.4f}", f"{slope.abs().sum().item():.4f}"], (what, who)
    for what in {row[0] for row in rows}:
        assert len({tuple(row[3:]) for row in rows if row[0] == what}) > 1, f"{what}: nothing differs"


def test_a_row_says_where_its_number_comes_from(theirs):
    for row in theirs["rows"]:
        assert set(row["source"]) == {"repository", "path", "function", "commit", "note"}
        assert all(row["source"][key] for key in ("repository", "path", "function", "commit"))


def test_a_setting_of_the_advantages_gives_the_number_of_each_trainer(page, root):
    known = json.loads((root / "tests/authors/advantages/trainers.json").read_text(encoding="utf-8"))
    rows = cells(page, 4, "trainer | in `poz.advantages`")
    assert len(rows) == 4
    for who, setting, *numbers in rows:
        name, settings = called(setting)
        settings = {key: json.loads(value.lower()) for key, value in settings.items()}
        by = "RL" if who == "NeMo-RL" else who.lower()
        assert [
            r
            for r in known
            if r["call"] == name and r["settings"] == settings and r["item"].lower().endswith(by.lower())
        ], who
        found = getattr(poz.advantages, name)(np.array([1.0, 0, 0, 0]), np.zeros(4, int), **settings)
        assert numbers == [f"{x:.4f}" for x in found[:2]]
        np.testing.assert_array_equal(found[1:], found[1])

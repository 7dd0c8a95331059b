"""The specs: names match files, signatures match references, nothing is imported that was not given."""

import ast
import importlib
import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
import tomllib

import pytest

import poz
from poz.domains import Choice, Real
from poz.objective import Base, Objective

RUN = [sys.executable, "-P", "-c"]


def test_a_name_is_a_file(root):
    files = {p.stem for p in (root / "poz/objectives").rglob("[a-z]*.py")}
    references = {p.stem for p in (root / "reference").rglob("[a-z]*.py")}
    assert files == set(poz.zoo) == references
    assert all(poz.zoo[name].name == name and getattr(poz, name) is poz.zoo[name] for name in poz.zoo)


@pytest.mark.parametrize("part", ["poz/objectives", "reference", "kernels", "tests/witness"])
def test_the_folder_is_the_family(root, part):
    for path in (root / part).glob("*/[a-z]*.py"):
        assert path.parent.name == poz.zoo[path.stem].family.__module__.removeprefix("poz.families."), path


@pytest.mark.parametrize("name", poz.zoo)
def test_the_spec_is_complete(name):
    spec = poz.zoo[name]
    assert spec.title
    assert spec.paper.startswith("arXiv:")
    assert spec.equation
    assert spec.formula
    assert spec.basis
    assert spec.function.__doc__.rstrip().endswith(".")
    for one in spec.published:
        assert one.where, "a published value says where it was read"
        assert set(one.values) <= set(spec.params), "published values are of parameters"
        assert all(isinstance(tried, tuple) for tried in one.values.values())
    assert all(param.domain.meaning for param in spec.params.values())
    assert all(param.domain.problem(param.default) is None for param in spec.params.values())
    assert spec.reads | spec.optional <= set(spec.family._fields)


@pytest.mark.parametrize("name", poz.zoo)
def test_the_reference_takes_the_same_parameters_and_defaults(name):
    signature = inspect.signature(getattr(importlib.import_module("poz.reference"), name)).parameters
    for parameter, spec in poz.zoo[name].params.items():
        if isinstance(spec.domain, Base):
            assert {parameter, f"{parameter}_params"} <= set(signature)
        else:
            assert signature[parameter].default == spec.default, parameter


@pytest.mark.parametrize("name", poz.zoo)
def test_what_a_formula_calls_by_a_letter_is_defined_in_it(name):
    """a, b and A are log-ratios or advantages, f is a function: none of them goes without saying (an action is a_t)."""
    loss, *given = poz.zoo[name].formula.split(r"\quad", 1)
    for letter in set(re.findall(r"(?<![a-zA-Z\\])([abAf])(?![a-zA-Z]|_t)", loss)):
        defined = rf"(?<![a-zA-Z\\]){letter}(_i|_{{ij}})?(\(z\)|\(m\))?(=|\\in)|\((\w,)*{letter}(,\w)*\)="
        assert re.search(defined, "".join(given)), letter


@pytest.mark.parametrize("name", poz.zoo)
def test_a_default_that_nobody_published_is_explained(root, name):
    """By `basis`, a deviation that names the parameter, or docs/design.md where it speaks of defaults; None is no value."""
    spec = poz.zoo[name]
    decisions = (root / "docs/design.md").read_text().splitlines()
    told = "".join(line for line in decisions if "default" in line or "published" in line)
    for parameter, param in spec.params.items():
        tried = [one.values.get(parameter) for one in spec.published]
        if isinstance(param.domain, Choice) and None in tried:
            continue  # a source that does not say takes the default
        used = {value for values in tried for value in values or ()}
        if used and param.default is not None and param.default not in used:
            deviates = any(f"{parameter}=" in deviation.here for deviation in spec.deviations)
            decided = f"`{name}`" in told or f"`{name}({parameter}=" in told
            assert "default" in spec.basis or deviates or decided, (parameter, param.default, used)


def test_objective_files_stay_short(root):
    """At most 50 lines compute and check, the helpers of a file included; the rest declares, and has a bound of its own."""
    for path in (root / "poz/objectives").rglob("[a-z]*.py"):
        code = 0
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                body = node.body[bool(ast.get_docstring(node)) :]
                code += 1 + body[-1].end_lineno - body[0].lineno + 1
            elif not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
                code += node.end_lineno - node.lineno + 1
        assert code <= 50, path.name
        assert len(path.read_text().splitlines()) <= (175 if path.stem == "mnpo" else 120), path.name


def test_no_function_of_an_objective_is_long(root):
    """A formula fits a page: signature and body, without decorator and docstring."""
    sizes = {}
    for path in (root / "poz/objectives").rglob("[a-z_]*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                said = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
                sizes[path.stem, node.name] = node.end_lineno - node.lineno + 1 - said
    assert len(sizes) >= len(poz.zoo)
    assert max(sizes.values()) <= 50, sorted(sizes, key=sizes.__getitem__)[-3:]


def test_kernels_of_objectives_stay_short(root):
    lines = {path.stem: len(path.read_text().splitlines()) for path in (root / "kernels").glob("*/[!_]*.py")}
    assert "dpo" in lines
    assert max(lines.values()) <= 90, lines


def test_no_kernel_borrows_from_that_of_another_objective(root):
    """What several use is in the `_points.py` of a family, or in kernels/; the plumbing asks for an objective's file by name."""
    own = {path.stem: path.parent.name for path in (root / "kernels").glob("*/[!_]*.py")}
    files = {f"poz.kernels.{name}" for name in own} | {f"poz.kernels.{family}.{name}" for name, family in own.items()}
    assert "poz.kernels.pairs.dpo" in files
    for path in (root / "kernels").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert not imported & files, path


def test_aliases_are_unique_and_resolve():
    aliases = [alias for spec in poz.zoo.values() for alias in spec.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(poz.zoo)
    assert poz.zoo["sigmoid"] is poz.dpo


def test_objectives_are_imported_in_order_of_publication(root):
    lines = ast.parse((root / "poz/objectives/__init__.py").read_text()).body
    lines = [node for node in lines if isinstance(node, ast.ImportFrom) and node.module.startswith("poz.objectives.")]
    names = [node.names[0].name for node in lines]
    assert names == sorted(names, key=lambda name: poz.zoo[name].paper)  # arXiv:YYMM.number
    assert names == list(poz.zoo)


@pytest.mark.parametrize("name", poz.zoo)
def test_what_deviations_recommend_exists(name):
    """Each `parameter=value` is of this objective, of one that is named, or a field; plain values are in its domain."""
    for deviation in poz.zoo[name].deviations:
        named = [poz.zoo[other] for other in re.findall(r"poz\.(\w+)", deviation.here) if other in poz.zoo]
        for parameter, value in re.findall(r"(\w+)=([^,;\s]+)", deviation.here):
            specs = [spec for spec in (*named, poz.zoo[name]) if parameter in spec.params]
            assert specs or parameter in poz.zoo[name].family._fields, deviation
            try:
                plain = ast.literal_eval(value)
            except (ValueError, SyntaxError):  # a formula
                continue
            assert all(spec.params[parameter].domain.problem(plain) is None for spec in specs[:1]), deviation


def test_help_shows_what_may_be_given():
    assert inspect.getdoc(Objective).startswith("A preference-optimization objective.")
    shown = inspect.getdoc(poz.dpo.bind(beta=0.25))
    assert shown.startswith(inspect.getdoc(poz.dpo.function))
    for part in (
        "-(1 - ε) log σ(βh) - ε log σ(-βh)",
        "arXiv:2305.18290",
        "poz.Pairs: chosen, rejected, ref_chosen",
        "(0, inf), here 0.25.",
    ):
        assert part in shown, part
    assert str(inspect.signature(poz.dpo)).endswith("/, *, beta: float = 0.1, label_smoothing: float = 0.0)")
    assert inspect.signature(poz.dpo.bind(beta=0.5)).parameters["beta"].default == 0.5
    assert "name" in inspect.signature(Objective).parameters
    with pytest.raises(poz.UnknownObjective):
        poz.zoo["none"]


def test_import_costs_numpy_only():
    code = "import sys, poz; print(sorted({'torch', 'jax', 'triton', 'rich', 'hypothesis'} & set(sys.modules)))"
    assert subprocess.run([*RUN, code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_our_folders_shadow_nobody():
    """Hugging Face has a package named kernels."""
    found = importlib.util.find_spec("kernels")
    assert found is None or "poz" not in str(found.origin)
    assert importlib.util.find_spec("reference") is None
    assert importlib.util.find_spec("bench") is None


def test_the_package_list_is_the_tree(root):
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"poz", "poz.bench", "poz.kernels", "poz.reference"}
    for part, package in (("poz", "poz"), ("kernels", "poz.kernels"), ("reference", "poz.reference")):
        for init in (root / part).rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(root / part).parts]))
    assert set(listed) == found


def test_the_version_is_in_the_changelog(root):
    assert f"## {poz.__version__}" in (root / "CHANGELOG.md").read_text()


def test_references_and_objectives_share_no_code(root):
    for path in (root / "reference").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith("poz") or name.startswith("poz.reference"), f"{path.name} imports {name}"


def test_binding_makes_a_new_objective_and_pickles():
    bound = poz.simpo.bind(beta=2.5, gamma=1.0)
    assert isinstance(bound, Objective)
    assert poz.simpo.values["beta"] == 2.0
    assert dict(pickle.loads(pickle.dumps(bound)).values) == dict(bound.values)
    assert bound.reads == {"chosen", "rejected", "chosen_len", "rejected_len"}
    assert bound.reference_free
    assert not poz.dpo.reference_free
    assert "chosen_len" in poz.ipo.bind(length_normalized=True).reads - poz.ipo.reads


@pytest.mark.parametrize("name", poz.zoo)
def test_draws_reach_the_ends_of_every_domain(name):
    """Else a mistake that shows only there, or only away from the default, would never be seen."""
    import numpy as np

    from poz.testing import draw_values

    rng = np.random.default_rng(0)
    drawn = [draw_values(poz.zoo[name], rng) for _ in range(300)]
    for parameter, spec in poz.zoo[name].params.items():
        values = [d[parameter] for d in drawn]
        if isinstance(spec.domain, Choice):
            assert set(values) == set(spec.domain.options)
        if isinstance(spec.domain, Real):
            numbers = np.concatenate([np.ravel(v) for v in values if v is not None])
            assert len(np.unique(numbers)) > (2 if spec.domain.whole else 50)
            ends = [e for e in (spec.domain.low, spec.domain.high) if spec.domain.problem(e) is None]
            assert all(e in numbers for e in ends)


def test_the_page_of_theorems_is_what_the_tests_say(root):
    script = importlib.util.spec_from_file_location("theorems_table", root / "docs/theorems_table.py")
    module = importlib.util.module_from_spec(script)
    script.loader.exec_module(module)
    assert (root / "docs/theorems.md").read_text() == module.table(), "run `python docs/theorems_table.py`"

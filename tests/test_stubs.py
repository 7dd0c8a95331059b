"""The stubs are what tests/stubs.py writes; `make types` holds tests/typed.py against them."""

import ast
import importlib.util
import inspect

import poz


def test_stubs_are_what_the_signatures_say(root):
    spec = importlib.util.spec_from_file_location("stubs", root / "tests/stubs.py")
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    for path, write in stubs.STUBS.items():
        assert ast.dump(ast.parse((root / path).read_text())) == ast.dump(ast.parse(write())), (
            f"{path}: python tests/stubs.py"
        )


def test_the_stub_of_an_objective_has_its_own_hyper_parameters(root):
    """Read from the file, beside the signature that Python shows."""
    tree = ast.parse((root / "poz/objectives/__init__.pyi").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    names = {node.target.id: node.annotation.id for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert list(names) == list(poz.zoo)
    for name, kind in names.items():
        call, bind = (one for one in classes[kind].body if isinstance(one, ast.FunctionDef))
        _, *wanted = inspect.signature(poz.zoo[name]).parameters
        assert [one.arg for one in call.args.kwonlyargs] == [one.arg for one in bind.args.kwonlyargs] == wanted
        assert poz.zoo[name].family.__name__ in ast.unparse(call.args.posonlyargs[1].annotation)

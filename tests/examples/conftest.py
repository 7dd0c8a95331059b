"""The files of examples/, as modules."""

import importlib.util

import pytest


@pytest.fixture
def example(root, capsys):
    """`example("inpo")` is examples/inpo.py."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"example_{name}", root / "examples" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load

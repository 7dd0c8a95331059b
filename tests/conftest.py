"""What every test needs: our folders off the import path, quiet threads, and the list of objectives."""

import gc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
# `python -m pytest` puts the checkout on sys.path, where kernels/ would shadow Hugging Face's package of that name.
sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]


class Shared:
    """Finds `witness` and the tables beside it. With tests/ itself on the path, tests/kernels would be that package as well."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        files = [ROOT / "tests" / f"{name}.py", ROOT / "tests" / name / "__init__.py"]
        found = next((file for file in files if path is None and file.exists()), None)
        return importlib.util.spec_from_file_location(name, found) if found else None


sys.meta_path.append(Shared)

hypothesis.settings.register_profile("poz", deadline=None, derandomize=True, max_examples=16, print_blob=True)
hypothesis.settings.load_profile("poz")


def pytest_collection_finish() -> None:
    """Twenty thousand tests and the modules under them stay to the end: looking through them for garbage costs minutes."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Libraries look for what leaked when Python ends."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT

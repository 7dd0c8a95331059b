"""What every test needs: our folders off the import path, quiet threads, and the list of objectives."""

import gc
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
# `python -m pytest` puts the checkout on sys.path, where kernels/ would shadow Hugging Face's package of that name.
sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]

hypothesis.settings.register_profile("poz", deadline=None, derandomize=True, max_examples=25, print_blob=True)
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

"""The models of the tests of trainers, and data sets without bars."""

import datasets
import pytest
from trl_tiny import tiny


@pytest.fixture(scope="session")
def policy():
    return tiny(0)


@pytest.fixture(scope="session")
def reference():
    return tiny(1)


@pytest.fixture
def no_bars():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()

"""Interpreted kernels take a process of their own a minute, which begins before a worker waits for it."""

import os

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """With several workers, where any of their tests asks for it."""
    waits = [item for item in session.items if "interpreted" in getattr(item, "fixturenames", ())]
    if waits and "PYTEST_XDIST_WORKER" in os.environ:
        waits[0].module._begin("interpret", session.config._tmp_path_factory, TRITON_INTERPRET="1")
